"""Small files, one for each operation that has something to undo: on disk before it is done, whatever dies.

Each is named by its operation, and written before the first thing is touched. What is found at start is undone first.
"""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from holdfast.domain.errors import Damaged
from holdfast.engine.fs import Fs
from holdfast.engine.os_errors import translate

_MAX_BYTES: Final = 16 << 20
"""Of one that is read: what it holds is described in a few kilobytes."""


class OfOperation(Protocol):
    """What is kept of an operation."""

    @property
    def operation_id(self) -> str: ...


T = TypeVar("T", bound=OfOperation)


class OperationFiles(ABC, Generic[T]):
    """A directory of such files.

    Args:
        kind: what each of them holds.
    """

    def __init__(self, fs: Fs, directory: Path, kind: type[T]) -> None:
        self._fs = fs
        self._directory = directory
        self._kind = kind

    @abstractmethod
    def _damaged(self, path: Path) -> Damaged:
        """What is told of one that can't be read."""

    def write(self, record: T) -> None:
        """Make ``record`` durable, in place of an earlier one of its operation.

        Raises:
            NoSpace, Failed: the disk does not take it.
        """
        name = self._name(record.operation_id)
        try:
            directory = self._fs.open_root(str(self._directory))
            try:
                self._fs.write_file_durable(directory, name, msgspec.json.encode(record))
            finally:
                os.close(directory)
        except OSError as error:
            raise translate(error, f"writing {self._directory}/{name.decode()}") from error

    def remove(self, operation_id: str) -> None:
        """Forget what an operation wrote; fine if there is nothing.

        Raises:
            Failed: the disk does not take it.
        """
        name = self._name(operation_id)
        try:
            directory = self._fs.open_root(str(self._directory))
            try:
                self._fs.unlinkat(directory, name)
                self._fs.fsync(directory)
            finally:
                os.close(directory)
        except FileNotFoundError:
            return
        except OSError as error:
            raise translate(error, f"removing {self._directory}/{name.decode()}") from error

    def all(self) -> tuple[list[T], list[Damaged]]:
        """All that are found, oldest first, and why the others can't be read."""
        found: list[T] = []
        damaged: list[Damaged] = []
        for path in sorted(self._directory.glob("*.json")):
            try:
                found.append(self._read(path))
            except (OSError, ValueError, msgspec.MsgspecError, RecursionError):
                damaged.append(self._damaged(path))
        return found, damaged

    def _read(self, path: Path) -> T:
        """One of them; ``ValueError`` if it is none, or not the one that its file is named by, which gets removed."""
        directory = self._fs.open_root(str(self._directory))
        try:
            fd = self._fs.openat(directory, os.fsencode(path.name), os.O_RDONLY | os.O_NONBLOCK)
            try:
                data = self._fs.read(fd, _MAX_BYTES) if stat.S_ISREG(self._fs.fstat(fd).st_mode) else b""
            finally:
                self._fs.close(fd)
        finally:
            self._fs.close(directory)
        record = msgspec.json.decode(data, type=self._kind)
        if record.operation_id != path.stem:
            raise ValueError("it is the file of another operation")
        return record

    @staticmethod
    def _name(operation_id: str) -> bytes:
        return f"{operation_id}.json".encode()
