"""What removed instances printed: a compressed file for each, in a directory for each workload.

Invariants:

- A file is complete or not there: it is written beside its place, flushed and renamed, and its frame has a checksum.
- A workload's files together take so many bytes at most; the oldest go first.
- Names hold the times of the first and the last line, so that nobody opens a file to find that it is not wanted.
- The directory of a workload is made by its first kept log, and goes with the workload.

A file is one zstd frame of JSON lines: an object that names the instance, then an array (time, stream, text) per line.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
import zstandard

from holdfast.domain.errors import Damaged
from holdfast.domain.logs import LogLine, LogQuery
from holdfast.engine.fs import TEMPORARY_PREFIX, Fs
from holdfast.engine.os_errors import translate

Printed: TypeAlias = tuple[str, str, str]
"""A line: when (RFC 3339), to which stream, what."""

MOST_TEXT: Final = 16 << 20
"""Bytes of a log that are kept of one instance, before they are compressed."""
_MOST_PLAIN: Final = 8 * MOST_TEXT
"""Bytes of a file that is read: text grows in JSON, at most so much."""
_MONTH: Final = 30 * 86400.0
_MOST_FILE: Final = MOST_TEXT * 2
_AT: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"
_TIME: Final = re.compile(_AT)
_NAME: Final = re.compile(rf"(?P<first>{_AT})_(?P<last>{_AT})_(?P<container>[0-9a-zA-Z]{{1,64}})\.zst")


class _Head(msgspec.Struct, frozen=True):
    instance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLog:
    """A kept log, as its name tells.

    Attributes:
        container: the container's id.
        first, last: when its first and its last line were printed.
        size: bytes on the disk.
    """

    name: str
    container: str
    first: str
    last: str
    size: int


class KeptLogFiles:
    """The directory of kept logs.

    Args:
        most: bytes that the logs of one workload may take.
    """

    def __init__(self, fs: Fs, directory: Path, most: int) -> None:
        self._fs = fs
        self._directory = directory
        self.most = most

    def write(self, workload_id: str, container_id: str, instance: str, lines: Sequence[Printed]) -> None:
        """Keep the lines of a container in place of what was kept of it before, and let go of what is too much.

        Args:
            lines: oldest first; the older half goes as often as it takes until the file is not too large.

        Raises:
            Failed, NoSpace: it could not be written; nothing is left of it.
        """
        lines = [line for line in lines if _TIME.fullmatch(line[0])]
        while len(content := _encoded(instance, lines)) > self.most and lines:
            lines = lines[len(lines) // 2 + 1 :]
        if not lines:
            return
        name = f"{min(lines)[0]}_{max(lines)[0]}_{container_id}.zst"
        with self._opened(workload_id, make=True) as directory:
            self._fs.write_file_durable(directory, name.encode(), content)
            for former in self._listed(directory):
                if former.container == container_id and former.name != name:
                    self._fs.unlinkat(directory, former.name.encode())
            self._bound(directory)

    def of(self, workload_id: str) -> list[KeptLog]:
        """What is kept of a workload, in the order in which it ended."""
        try:
            with self._opened(workload_id) as directory:
                return self._listed(directory)
        except FileNotFoundError:
            return []

    def read(self, workload_id: str, kept: KeptLog, query: LogQuery) -> list[LogLine]:
        """The lines of a kept log that are asked for; none where it has gone since it was listed.

        Raises:
            Damaged: ``kept_log_damaged``.
        """
        try:
            with self._opened(workload_id) as directory:
                fd = self._fs.openat(directory, kept.name.encode(), os.O_RDONLY | os.O_NONBLOCK)
                try:
                    content = self._fs.read(fd, _MOST_FILE)
                finally:
                    self._fs.close(fd)
        except FileNotFoundError:
            return []
        try:
            return _decoded(content, query)
        except (ValueError, zstandard.ZstdError, msgspec.MsgspecError) as error:
            raise Damaged(
                "kept_log_damaged",
                f"The kept log {self._directory / workload_id / kept.name} can't be read: {error}.",
                next_step="Check the disk (dmesg, smartctl); then remove the file.",
                details={"file": kept.name},
            ) from error

    def forget(self, workload_id: str) -> None:
        """Remove all that is kept of a workload; fine if nothing is."""
        try:
            with self._opened(workload_id) as directory:
                for name in self._fs.listdir(directory):
                    self._fs.unlinkat(directory, name)
            with self._root() as root:
                self._fs.rmdirat(root, workload_id.encode())
        except FileNotFoundError:
            return

    def clean(self, workload_ids: Collection[str]) -> None:
        """Remove what a killed server had not put in its place yet, and what is kept of workloads that are no more.

        That is for a month: a backup that was brought back may know nothing of them, and the next one of all.
        """
        long_since = time.time() - _MONTH
        with self._root() as root:
            found = {os.fsdecode(name): self._fs.statat(root, name).st_mtime for name in self._fs.listdir(root)}
        for workload_id, changed in found.items():
            if workload_id not in workload_ids:
                if changed < long_since:
                    self.forget(workload_id)
                continue
            with self._opened(workload_id) as directory:
                for name in self._fs.listdir(directory):
                    if name.startswith(TEMPORARY_PREFIX):
                        self._fs.unlinkat(directory, name)
                self._bound(directory)

    def _listed(self, directory: int) -> list[KeptLog]:
        found = []
        for name in sorted(map(os.fsdecode, self._fs.listdir(directory))):
            if known := _NAME.fullmatch(name):
                with suppress(FileNotFoundError):
                    size = self._fs.statat(directory, name.encode()).st_size
                    found.append(KeptLog(name=name, size=size, **known.groupdict()))
        return sorted(found, key=lambda each: each.last)

    def _bound(self, directory: int) -> None:
        """Let go of the oldest logs while all together are too large."""
        kept = self._listed(directory)
        total = sum(each.size for each in kept)
        for each in kept:
            if total <= self.most:
                return
            self._fs.unlinkat(directory, each.name.encode())
            total -= each.size

    @contextmanager
    def _root(self) -> Iterator[int]:
        try:
            root = self._fs.open_root(str(self._directory))
            try:
                yield root
            finally:
                self._fs.close(root)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise translate(error, f"looking after the kept logs in {self._directory}") from error

    @contextmanager
    def _opened(self, workload_id: str, *, make: bool = False) -> Iterator[int]:
        """A workload's directory. ``FileNotFoundError`` where it is not there."""
        name = workload_id.encode()
        with self._root() as root:
            if make:
                with suppress(FileExistsError):
                    self._fs.mkdirat(root, name)
            directory = self._fs.openat(root, name, os.O_RDONLY | os.O_DIRECTORY)
            try:
                yield directory
            finally:
                self._fs.close(directory)


def _encoded(instance: str, lines: Sequence[Printed]) -> bytes:
    encoder = msgspec.json.Encoder()
    plain = b"\n".join([encoder.encode(_Head(instance)), *map(encoder.encode, lines)])
    return zstandard.ZstdCompressor(level=6, write_checksum=True).compress(plain)


def _decoded(content: bytes, query: LogQuery) -> list[LogLine]:
    """``ValueError`` and the libraries' own errors for what is not a kept log."""
    if not 0 < zstandard.get_frame_parameters(content).content_size <= _MOST_PLAIN:
        raise ValueError("it announces an impossible length")
    plain = zstandard.ZstdDecompressor().decompress(content, max_output_size=_MOST_PLAIN)
    head, *lines = plain.split(b"\n")
    instance = msgspec.json.decode(head, type=_Head).instance
    decoder = msgspec.json.Decoder(Printed)
    return [
        LogLine(at=at, instance=instance, stream=stream, text=text)
        for at, stream, text in map(decoder.decode, lines)
        if query.takes(at, stream, text)
    ]
