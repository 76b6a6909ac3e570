"""Opaque, sortable identifiers.

An id is 26 characters of lower-case Crockford base 32: 48 bits of milliseconds since 1970, then 80 random bits
(the layout of a ULID). Later ids sort after earlier ones; nothing else may be read from one.
"""

from __future__ import annotations

import re
import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PATTERN = re.compile(rf"[0-7][{_ALPHABET}]{{25}}")


def new_id() -> str:
    """A new id, unique, sortable by the time of its making (millisecond resolution)."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def is_id(text: str) -> bool:
    """Whether ``text`` has the form of an id. Says nothing about whether the thing exists."""
    return _PATTERN.fullmatch(text) is not None
