"""What a passphrase opens: scrypt makes a key of it (Unicode NFC, UTF-8), for AES-256-GCM.

What the parameters of a file cost is bounded, wherever the file comes from.
"""

from __future__ import annotations

import hashlib
import unicodedata
from typing import Annotated, Final, TypeAlias

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.domain.backup import GUESS_COST
from holdfast.domain.errors import InvalidInput

MIN_PASSPHRASE: Final = 12
"""Characters."""
SCRYPT_N: Final = GUESS_COST
SCRYPT_R: Final = 8
"""Together: 128 MiB, and about a third of a second for each guess."""
_MAX_MEMORY: Final = 1 << 30

ScryptN: TypeAlias = Annotated[int, msgspec.Meta(ge=2, le=1 << 22)]
ScryptR: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=64)]
ScryptP: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=4)]
"""The parameters, as a file may have them; see also :func:`affordable`."""


def check_passphrase(passphrase: str) -> None:
    """Make sure that a passphrase is not one of those that are tried first.

    Raises:
        InvalidInput: ``passphrase_too_short``.
    """
    if len(unicodedata.normalize("NFC", passphrase)) < MIN_PASSPHRASE:
        raise InvalidInput(
            "passphrase_too_short",
            f"A passphrase has at least {MIN_PASSPHRASE} characters.",
            next_step="Nothing was written. Choose a longer one, of several words, and keep it apart from the file.",
        )


def affordable(n: int, r: int) -> bool:
    """Whether scrypt takes these parameters, and no more than a gibibyte for them."""
    return not n & (n - 1) and _memory(n, r) <= _MAX_MEMORY


def cipher_of(passphrase: str, *, salt: bytes, n: int, r: int, p: int) -> AESGCM:
    """What seals and opens with a passphrase. The parameters are :func:`affordable`."""
    secret = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogateescape")
    return AESGCM(hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, maxmem=_memory(n, r) + (64 << 20), dklen=32))


def _memory(n: int, r: int) -> int:
    """Bytes."""
    return 128 * n * r
