"""Sealing what is secret, at rest: nobody without the key reads it, or puts it where it does not belong.

The key is ``sealing.key`` in the keys' directory, made with the first value that is sealed. Keys of before may lie
beside it (``sealing.key.…``) and still open what was sealed with them.

What is sealed begins with eight bytes by which its key is known, then it is an object as
:mod:`holdfast.engine.repository.seal` describes: a random salt, and AES-256-GCM with what it is as associated data.

Invariants:

- What opens is what was sealed, as the same thing: ``what`` names the workload, the secret and the version.
- Keys are read when they are needed and not kept: one that is put back is used at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from blake3 import blake3

from holdfast.domain.errors import Damaged, Failed
from holdfast.engine.fs import Fs
from holdfast.engine.keys import load_key, load_or_create_key
from holdfast.engine.os_errors import translate
from holdfast.engine.repository.seal import SALT_BYTES, TAG_BYTES, Sealer, open_object, seal_object

KEY_NAME: Final = "sealing.key"
_CHECK_BYTES: Final = 8
OVERHEAD: Final = _CHECK_BYTES + SALT_BYTES + TAG_BYTES
"""Bytes that sealing adds."""


class Sealing:
    """Seals and opens with the keys in a directory. All of it blocks.

    Args:
        directory: of the keys; its parent must exist.
    """

    def __init__(self, fs: Fs, directory: Path) -> None:
        self._fs = fs
        self._directory = directory

    @property
    def key_file(self) -> Path:
        """Where the key is, to be copied to somewhere else."""
        return self._directory / KEY_NAME

    def seal(self, what: str, value: bytes) -> bytes:
        """Seal a value with the present key; made if there is none.

        Args:
            what: it is; no zero byte in it.

        Raises:
            Failed: ``key_malformed``, ``key_readable_by_others``, or the file system refused.
            NoSpace: there is no room for the key.
        """
        key = load_or_create_key(self._fs, self.key_file)
        return _check(key) + seal_object(_sealer(key), what.encode(), value)

    def open(self, what: str, sealed: bytes) -> bytes:
        """What was sealed.

        Raises:
            Failed: ``sealing_key_missing``; or as :meth:`seal`.
            Damaged: ``sealed_value_broken``; it was changed, or belongs elsewhere.
        """
        key = next((key for key in self._keys() if _check(key) == sealed[:_CHECK_BYTES]), None)
        if key is None:
            raise Failed(
                "sealing_key_missing",
                f"The key that this was sealed with is not in {self._directory}.",
                next_step=f"Put it back from a copy, as {self.key_file} or, beside another one, as {KEY_NAME}.old.",
            )
        try:
            return open_object(_sealer(key), what.encode(), sealed[_CHECK_BYTES:])
        except Damaged as error:
            raise Damaged(
                "sealed_value_broken",
                "A sealed value does not open: it was changed, or exchanged for another one.",
                next_step="Set it again.",
            ) from error

    def _keys(self) -> Iterator[bytes]:
        try:
            directory = self._fs.open_root(str(self._directory))
            try:
                names = sorted(os.fsdecode(name) for name in self._fs.listdir(directory))
            finally:
                self._fs.close(directory)
        except FileNotFoundError:
            return
        except OSError as error:
            raise translate(error, f"looking for keys in {self._directory}") from error
        for name in names:
            if name == KEY_NAME or name.startswith(f"{KEY_NAME}."):
                key = load_key(self._fs, self._directory / name)
                if key is not None:
                    yield key


def _check(key: bytes) -> bytes:
    return blake3(key, derive_key_context="holdfast sealing 1 check").digest()[:_CHECK_BYTES]


def _sealer(key: bytes) -> Sealer:
    # Only here: the library takes as much memory as a tenth of a server at rest.
    from holdfast.engine.repository.aes_sealer import AesSealer

    return AesSealer(blake3(key, derive_key_context="holdfast sealing 1 seal").digest())
