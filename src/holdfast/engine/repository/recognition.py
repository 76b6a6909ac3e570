"""Recognises files that did not change since an earlier capture, so that they need not be read.

A file is the one that was captured if path, inode, size, mtime and ctime are the same. That is only safe because:

- any write since then must have changed ctime: the earlier capture flushed the filesystem before it read, so that a
  later store through an mmap has to fault and update ctime;
- ctime is coarse, and a file may be written to after it was read: one whose ctime is at or after the earlier scan's
  start, less a second, is read again. The start was sampled before that scan's flush;
- the clock did not go back since: if it did, nothing is recognised;
- the filesystem is one whose ctime was looked into (ext4, XFS, btrfs). tmpfs never moves it for an mmap store.

mtime alone is never believed: every program can set it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from holdfast.domain.restore import Identity
from holdfast.engine.fs import MAGIC_BTRFS, MAGIC_EXT4, MAGIC_XFS, Fs
from holdfast.engine.repository.tree import TreeEntry, sort_key
from holdfast.engine.volume_identity import volume_identity

MARGIN_NS: Final = 1_000_000_000
_END: Final = (b"", None)
_TRUSTED: Final = frozenset({MAGIC_EXT4, MAGIC_XFS, MAGIC_BTRFS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What has to be known of one scan of a live directory, so that the next may rely on it.

    Attributes:
        root: the directory's identity; ``None`` where nothing may be recognised by this scan.
        started_ns: wall-clock time at its start, before it flushed the filesystem.
    """

    root: Identity | None
    started_ns: int


def begin_scan(fs: Fs, root_fd: int, now_ns: int) -> Scan:
    """Flush the filesystem, and note what the next capture needs to recognise files.

    Args:
        now_ns: wall-clock time, sampled by the caller right before.

    Raises:
        OSError: the filesystem can't be flushed.
    """
    if fs.filesystem_type(root_fd) not in _TRUSTED:
        return Scan(root=None, started_ns=now_ns)
    fs.syncfs(root_fd)
    return Scan(root=volume_identity(fs, root_fd), started_ns=now_ns)


class Recogniser:
    """Compares a walk with the entries of an earlier capture of the same directory, both in the same order.

    Args:
        entries: the earlier tree's, in walk order, each with its sort key.
        started_ns: when that capture began.
    """

    def __init__(self, entries: Iterator[tuple[bytes, TreeEntry]], started_ns: int) -> None:
        self._entries = entries
        self._safe_before = started_ns - MARGIN_NS
        self._key = b""
        self._next: TreeEntry | None = None
        self._key, self._next = next(entries, _END)

    def find(self, path: bytes, facts: os.stat_result) -> TreeEntry | None:
        """The earlier entry of a regular file that is still the same. Paths are asked about in walk order."""
        wanted = sort_key(path)
        while self._next is not None and self._key < wanted:
            self._key, self._next = next(self._entries, _END)
        found = self._next
        if (
            found is not None
            and self._key == wanted
            and found.kind == 0
            and found.ctime_ns == facts.st_ctime_ns
            and found.inode == facts.st_ino
            and found.size == facts.st_size
            and found.mtime_ns == facts.st_mtime_ns
            and found.ctime_ns < self._safe_before
        ):
            return found
        return None

    def changed(self, path: bytes) -> TreeEntry | None:
        """The earlier entry of a regular file that :meth:`find` was asked about last, whatever became of it since."""
        found = self._next
        return found if found is not None and found.kind == 0 and found.path == path else None
