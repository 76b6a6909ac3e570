"""Reads one open file of a live tree: its description, and its data with a watch on changes.

A file may be written to at any moment, also between its description and its last byte. Whoever stores it has promised
a size before the data comes, so exactly that many bytes are handed out, and whether they fit together is told apart.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import Final, Self

from holdfast.engine.entries import Entry, EntryKind, display_path
from holdfast.engine.fs import Fs
from holdfast.engine.os_errors import translate

PREFETCH_BYTES: Final = 1 << 20
"""Files with up to this much data are read whole before anything is handed out."""

CHUNK_BYTES: Final = 1 << 20
"""Data comes in pieces of at most this size."""

MAX_REGIONS: Final = 65_536
"""Data regions kept apart in one sparse file; beyond, the smallest holes are stored as zeros."""

XATTR_NAMESPACES: Final = (b"user.", b"trusted.", b"security.", b"system.posix_acl_")
"""Extended attributes that belong to the tree; others (``btrfs.*``, NFS ACLs) are the filesystem's own views."""

Regions = tuple[tuple[int, int], ...]


def read_xattrs(fs: Fs, fd: int, *, opened: bool = True) -> tuple[tuple[bytes, bytes], ...]:
    """The extended attributes that belong to the tree, sorted by name.

    Args:
        opened: ``False`` for an ``O_PATH`` descriptor.
    """
    try:
        names = fs.listxattr(fd) if opened else fs.listxattr_path(fd)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return ()
        raise
    if not names:
        return ()
    found = []
    for name in sorted(names):
        if name.startswith(XATTR_NAMESPACES):
            try:
                found.append((name, fs.getxattr(fd, name) if opened else fs.getxattr_path(fd, name)))
            except OSError as error:
                # Removed since it was listed, or listed without being supported (ACLs on some network filesystems).
                if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
                    raise
    return tuple(found)


def describe_file(fs: Fs, fd: int, path: bytes, facts: os.stat_result) -> Entry:
    """The FILE entry of an open regular file, made from its facts."""
    return Entry(
        path=path,
        kind=EntryKind.FILE,
        mode=stat.S_IMODE(facts.st_mode),
        uid=facts.st_uid,
        gid=facts.st_gid,
        mtime_ns=facts.st_mtime_ns,
        size=facts.st_size,
        xattrs=read_xattrs(fs, fd),
        extents=data_regions(fs, fd, facts.st_size),
    )


def data_regions(fs: Fs, fd: int, size: int, *, max_regions: int = MAX_REGIONS) -> Regions | None:
    """Where a file has data, or ``None`` where it has no holes."""
    if fs.is_dense(fd, size):
        return None
    regions: list[tuple[int, int]] = []
    smallest_hole = 1
    for offset, length in fs.extents(fd, size):
        _append(regions, offset, length, smallest_hole)
        while len(regions) > max_regions:
            smallest_hole = max(4096, 2 * smallest_hole)
            merged: list[tuple[int, int]] = []
            for region in regions:
                _append(merged, *region, smallest_hole)
            regions = merged
    whole = [(0, size)] if size else []
    return None if regions == whole else tuple(regions)


def _append(regions: list[tuple[int, int]], offset: int, length: int, smallest_hole: int) -> None:
    if regions:
        before, before_length = regions[-1]
        if offset - (before + before_length) < smallest_hole:
            regions[-1] = (before, offset + length - before)
            return
    regions.append((offset, length))


def _same(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )


class FileContent:
    """The data of one file, to be iterated over once. A context manager: leaving it tells of changes meanwhile.

    Args:
        changed: told the path of a file that was not consistent in the end.

    Attributes:
        entry: what fits the data: iterating gives exactly ``entry.data_bytes`` bytes.
        stat: the inode's facts that ``entry`` was made from.
    """

    __slots__ = ("_changed", "_fd", "_fs", "_prefetched", "_short", "_whole", "entry", "stat")

    def __init__(
        self, fs: Fs, fd: int, entry: Entry, facts: os.stat_result, changed: Callable[[bytes], object]
    ) -> None:
        self._fs = fs
        self._changed = changed
        self._fd = fd
        self._prefetched: bytes | None = None
        self._whole = False
        self._short = False
        self.entry = entry
        self.stat = facts

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None and not self.consistent():
            self._changed(self.entry.path)

    def prefetch(self) -> bool:
        """Read a small file whole. Returns whether the file is still the one that was described."""
        if self.entry.data_bytes > PREFETCH_BYTES:
            return self.consistent()
        data = self._read_whole()
        self._whole = self.consistent()
        self._prefetched = data
        return self._whole

    def consistent(self) -> bool:
        """Whether what was handed out is the file as it was described, as far as the kernel tells."""
        if self._prefetched is not None:
            return self._whole
        return not self._short and _same(self.stat, self._fs.fstat(self._fd))

    def __iter__(self) -> Iterator[bytes]:
        if self._prefetched is None:
            yield from self._read()
        elif self._prefetched:
            yield self._prefetched

    def _read_whole(self) -> bytes:
        """All data of a small file: of one that is dense and as long as promised, by one call."""
        entry = self.entry
        if entry.extents is None:
            try:
                data = self._fs.pread(self._fd, entry.size, 0)
            except OSError as error:
                raise translate(error, f"reading {display_path(entry.path)}") from error
            if len(data) == entry.size:
                return data
        return b"".join(self._read())

    def _read(self) -> Iterator[bytes]:
        entry = self.entry
        for start, length in entry.extents if entry.extents is not None else ((0, entry.size),):
            yield from self.part(start, start + length)

    def part(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes of a data region, or of a part of one. Several threads may read at once."""
        position = start
        while position < end:
            wanted = min(CHUNK_BYTES, end - position)
            try:
                piece = self._fs.pread(self._fd, wanted, position)
            except OSError as error:
                raise translate(error, f"reading {display_path(self.entry.path)}") from error
            if not piece:
                # Shorter than promised: zeros keep the promise, and the file is reported as changed.
                self._short = True
                piece = bytes(wanted)
            yield piece
            position += len(piece)
