"""What tokens and sessions are proved by: a prefix and 43 characters of randomness (256 bits), shown once.

The database keeps the SHA-256 only; with that much randomness a slow hash would protect nothing more. They are looked
up by it, so that what timing could tell is about a hash that nobody can choose.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final

OF_TOKEN: Final = "hf_"  # noqa: S105 - how all of them begin
OF_SESSION: Final = "hfs_"


def new_secret(prefix: str) -> str:
    """A new one."""
    return f"{prefix}{secrets.token_urlsafe(32)}"


def is_secret(prefix: str, text: str) -> bool:
    """Whether ``text`` could be one."""
    return re.fullmatch(rf"{prefix}[A-Za-z0-9_-]{{43}}", text) is not None


def hash_of(secret: str) -> str:
    """What is kept of it, in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()
