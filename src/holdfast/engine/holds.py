"""Hold files: what a capture paused, stopped or hooked, on disk before it is done, so that it is undone whatever dies.

One small file per capture in ``<data>/holds``, named by the operation. It is written before the first container is
touched and removed after the last one is as it was; whatever is found at start is let go first.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from holdfast.domain.errors import Damaged
from holdfast.domain.restore import ContainerFacts
from holdfast.domain.workload import Quiesce
from holdfast.engine.fs import Fs

_MAX_BYTES: Final = 16 << 20
"""Of a hold that is read: what a capture holds is described in a few kilobytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookedContainer:
    """A container in which a pre_snapshot hook was about to run, or ran.

    Attributes:
        exec_id: by which the engine knows the hook.
        post_snapshot: the command that undoes it; empty: none.
        timeout: seconds that this gets.
    """

    id: str
    name: str
    exec_id: str
    post_snapshot: tuple[str, ...]
    timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Containers that a capture holds still, as they were before.

    Attributes:
        hooked: those whose hooks began, in this order.
    """

    operation_id: str
    quiesce: Quiesce
    containers: tuple[ContainerFacts, ...]
    hooked: tuple[HookedContainer, ...] = ()


class HoldFiles:
    """The directory of hold files."""

    def __init__(self, fs: Fs, directory: Path) -> None:
        self._fs = fs
        self._directory = directory

    def write(self, hold: Hold) -> None:
        """Make ``hold`` durable."""
        directory = self._fs.open_root(str(self._directory))
        try:
            self._fs.write_file_durable(directory, self._name(hold.operation_id), msgspec.json.encode(hold))
        finally:
            os.close(directory)

    def remove(self, operation_id: str) -> None:
        """Forget the hold of an operation; fine if there is none."""
        directory = self._fs.open_root(str(self._directory))
        try:
            self._fs.unlinkat(directory, self._name(operation_id))
            self._fs.fsync(directory)
        except FileNotFoundError:
            return
        finally:
            os.close(directory)

    def all(self) -> tuple[list[Hold], list[Damaged]]:
        """All holds found, oldest first, and why the others can't be read (``hold_damaged``)."""
        found, damaged = [], []
        for path in sorted(self._directory.glob("*.json")):
            try:
                found.append(self._read(path))
            except (OSError, ValueError, msgspec.MsgspecError, RecursionError):
                damaged.append(
                    Damaged(
                        "hold_damaged",
                        f"The hold file {path} can't be read; a container may still be paused or stopped.",
                        next_step="Look at the workloads' containers, start or unpause them, then remove the file.",
                        details={"file": str(path)},
                    )
                )
        return found, damaged

    def _read(self, path: Path) -> Hold:
        """One hold; ``ValueError`` if it is none, or not the one that its file is named by: that name gets removed."""
        directory = self._fs.open_root(str(self._directory))
        try:
            fd = self._fs.openat(directory, os.fsencode(path.name), os.O_RDONLY | os.O_NONBLOCK)
            try:
                data = self._fs.read(fd, _MAX_BYTES) if stat.S_ISREG(self._fs.fstat(fd).st_mode) else b""
            finally:
                self._fs.close(fd)
        finally:
            self._fs.close(directory)
        hold = msgspec.json.decode(data, type=Hold)
        if hold.operation_id != path.stem:
            raise ValueError("it is the hold of another operation")
        return hold

    @staticmethod
    def _name(operation_id: str) -> bytes:
        return f"{operation_id}.json".encode()
