"""What warm passes found, kept until the capture that relies on it: a cache beside the index, never more."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from holdfast.domain.ids import is_id, new_id
from holdfast.engine.fs import Fs
from holdfast.engine.repository.manifests import VolumeTree

_MAX_BYTES: Final = 8 << 20
_NAME: Final = re.compile(rb"warm-[0-9a-z]{26}\.json")


class Warm(msgspec.Struct, frozen=True, kw_only=True):
    """One warm pass over all volumes of a workload.

    Attributes:
        name: what the index knows its trees by.
        stored_bytes: what it and the passes before it added to the repository, for the capture that relies on it.
    """

    name: str
    trees: tuple[VolumeTree, ...]
    stored_bytes: int = 0

    @classmethod
    def new(cls, trees: tuple[VolumeTree, ...], stored_bytes: int) -> Warm:
        """Of a pass that just ended."""
        return cls(name=f"warm {new_id()}", trees=trees, stored_bytes=stored_bytes)


class WarmFiles:
    """The files of warm passes in the repository's cache directory, one a workload."""

    def __init__(self, fs: Fs, directory: Path) -> None:
        self._fs, self._directory = fs, directory

    def write(self, workload_id: str, warm: Warm) -> None:
        """Keep a pass, in place of the one before. Raises ``OSError``."""
        directory = self._fs.open_root(str(self._directory))
        try:
            self._fs.write_file_durable(directory, _name(workload_id), msgspec.json.encode(warm))
        finally:
            self._fs.close(directory)

    def read(self, workload_id: str) -> Warm | None:
        """The last pass; ``None`` if there is none that can be understood."""
        return self._read(_name(workload_id))

    def younger_than(self, seconds: float, now: float) -> Iterator[Warm]:
        """Passes of any workload that ended less than ``seconds`` before ``now``, seconds since 1970."""
        try:
            directory = self._fs.open_root(str(self._directory))
        except OSError:
            return
        try:
            names = [name for name in self._fs.listdir(directory) if _NAME.fullmatch(name)]
            young = [name for name in names if abs(now - self._fs.statat(directory, name).st_mtime) < seconds]
        except OSError:
            young = []
        finally:
            self._fs.close(directory)
        yield from (warm for name in sorted(young) if (warm := self._read(name)) is not None)

    def _read(self, name: bytes) -> Warm | None:
        try:
            fd = self._fs.open_read(str(self._directory / os.fsdecode(name)))
        except OSError:
            return None
        try:
            return msgspec.json.decode(self._fs.read(fd, _MAX_BYTES), type=Warm)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        finally:
            self._fs.close(fd)

    def forget(self, workload_id: str) -> None:
        """Remove a pass: a snapshot stands in its place now."""
        directory = self._fs.open_root(str(self._directory))
        try:
            self._fs.unlinkat(directory, _name(workload_id))
        except FileNotFoundError:
            pass
        finally:
            self._fs.close(directory)


def _name(workload_id: str) -> bytes:
    if not is_id(workload_id):
        raise ValueError("not an id")
    return f"warm-{workload_id}.json".encode()
