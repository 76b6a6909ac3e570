"""The keys of a repository, and sealing: nobody without the key can read what is sealed, or change it unnoticed.

One key of 32 bytes per repository. What is used are keys derived from it (BLAKE3's ``derive_key``), one per purpose, so
that none can stand in for another.

A sealed object (a pack, a manifest) has a random salt of 32 bytes, and a key of its own: keyed BLAKE3 of that salt.
Each of its parts is AES-256-GCM under that key: the nonce is the part's number, big-endian in 12 bytes; the associated
data is what the part is, a zero byte, and that nonce again; the tag of 16 bytes follows the ciphertext.

Invariants:

- A nonce is used once per key, as long as a salt is used for one object and a number for one of its parts.
- What opens is what was sealed, as the same kind of part, at the same place of the same object. Anything else is
  ``Damaged``.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final, Protocol

from blake3 import blake3

from holdfast.domain.errors import Damaged
from holdfast.engine.keys import KEY_BYTES
from holdfast.engine.repository.blobs import Piece

SALT_BYTES: Final = 32
TAG_BYTES: Final = 16
"""What sealing adds to a part."""
_CHECK_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RepositoryKeys:
    """What is derived from a repository's key. Nothing of it is ever shown but :attr:`check`.

    Attributes:
        chunk_id: keys the hash that is a chunk's id.
        pack_name: keys the hash that is a pack's name.
        manifest: keys the MAC of a manifest.
        description: keys the MAC of ``repository.json``.
        seal: from which sealed objects have their keys.
        check: by which a repository recognises its key; public.
    """

    chunk_id: bytes
    pack_name: bytes
    manifest: bytes
    description: bytes
    seal: bytes
    check: str

    @classmethod
    def derive(cls, key: bytes) -> RepositoryKeys:
        """The keys of the repository whose key is ``key``, 32 bytes."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"a repository's key has {KEY_BYTES} bytes")
        return cls(
            chunk_id=_derived(key, "chunk id"),
            pack_name=_derived(key, "pack name"),
            manifest=_derived(key, "manifest"),
            description=_derived(key, "description"),
            seal=_derived(key, "seal"),
            check=_derived(key, "check")[:_CHECK_BYTES].hex(),
        )


class Sealer(Protocol):
    """Seals the parts of an object, or leaves them as they are. Safe to use from several threads."""

    @property
    def sealed(self) -> bool:
        """Whether parts are really sealed."""

    def seal(self, salt: bytes, number: int, what: bytes, data: Piece) -> Piece:
        """Seal one part.

        Args:
            salt: of the object, random, 32 bytes.
            number: of the part within it, below 2^96, used for no other.
            what: the kind of part; no zero byte in it.
        """

    def open(self, salt: bytes, number: int, what: bytes, data: Piece) -> Piece:
        """What was sealed.

        Raises:
            Damaged: ``seal_broken``; it was changed, or belongs elsewhere.
        """


class PlainSealer:
    """Leaves everything as it is: for a repository that is not encrypted."""

    sealed: Final = False

    def seal(self, salt: bytes, number: int, what: bytes, data: Piece) -> Piece:  # noqa: ARG002 - the protocol's signature
        """See the protocol."""
        return data

    def open(self, salt: bytes, number: int, what: bytes, data: Piece) -> Piece:  # noqa: ARG002 - the protocol's signature
        """See the protocol."""
        return data


def sealer_of(keys: RepositoryKeys, *, encrypted: bool) -> Sealer:
    """The sealer of a repository."""
    if not encrypted:
        return PlainSealer()
    # Only here: the library takes as much memory as a tenth of a server at rest, which most repositories don't need.
    from holdfast.engine.repository.aes_sealer import AesSealer

    return AesSealer(keys.seal)


def seal_object(sealer: Sealer, what: bytes, data: bytes) -> bytes:
    """Seal a small object that has one part: its salt, then the part. Unchanged where nothing is sealed."""
    if not sealer.sealed:
        return data
    salt = secrets.token_bytes(SALT_BYTES)
    return salt + sealer.seal(salt, 0, what, data)


def open_object(sealer: Sealer, what: bytes, data: bytes) -> bytes:
    """What :func:`seal_object` sealed.

    Raises:
        Damaged: ``seal_broken``.
    """
    if not sealer.sealed:
        return data
    if len(data) < SALT_BYTES + TAG_BYTES:
        raise seal_broken()
    return bytes(sealer.open(data[:SALT_BYTES], 0, what, memoryview(data)[SALT_BYTES:]))


def _derived(key: bytes, purpose: str) -> bytes:
    return blake3(key, derive_key_context=f"holdfast repository 1 {purpose}").digest()


def seal_broken() -> Damaged:
    """Something sealed does not open."""
    return Damaged(
        "seal_broken",
        "Something sealed does not open: it was changed, exchanged or cut off, or is of another repository.",
        next_step="Verify the repository: that names the snapshots and files that it touches. The others can be used.",
    )
