"""The sealer of encrypted repositories."""

from __future__ import annotations

from typing import Final

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.engine.repository.blobs import Piece
from holdfast.engine.repository.seal import SALT_BYTES, seal_broken

_NONCE_BYTES: Final = 12


class AesSealer:
    """Seals with AES-256-GCM, as :mod:`holdfast.engine.repository.seal` tells.

    Args:
        key: the repository's key of seals, 32 bytes.
    """

    sealed: Final = True

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, salt: bytes, number: int, what: bytes, data: Piece) -> bytes:
        """See the protocol."""
        nonce = number.to_bytes(_NONCE_BYTES, "big")
        return self._cipher(salt).encrypt(nonce, data, _associated(what, nonce))

    def open(self, salt: bytes, number: int, what: bytes, data: Piece) -> bytes:
        """See the protocol."""
        nonce = number.to_bytes(_NONCE_BYTES, "big")
        try:
            return self._cipher(salt).decrypt(nonce, data, _associated(what, nonce))
        except InvalidTag as error:
            raise seal_broken() from error

    def _cipher(self, salt: bytes) -> AESGCM:
        if len(salt) != SALT_BYTES:
            raise ValueError(f"a salt has {SALT_BYTES} bytes")
        return AESGCM(blake3(salt, key=self._key).digest())


def _associated(what: bytes, nonce: bytes) -> bytes:
    return what + b"\0" + nonce
