"""Shares the content of live files with staged ones where the filesystem can (reflinks of XFS and btrfs).

A live file may be written to at any moment. What was shared counts only if the file is the one that was captured, by
the rule by which captures recognise files (:mod:`holdfast.engine.repository.recognition`), and still is so afterwards:
then no write came between the capture and the sharing, and what is shared is what the capture's chunks say.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Final

from holdfast.engine.fs import Fs
from holdfast.engine.repository.manifests import VolumeTree
from holdfast.engine.repository.recognition import MARGIN_NS
from holdfast.engine.repository.tree import TreeEntry
from holdfast.engine.volume_identity import volume_identity
from holdfast.engine.written_tree import open_steps

WORTH_BYTES: Final = 128 << 10
"""Smaller files are written from their chunks: that takes no longer, and every byte is checked."""

_ELSEWHERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG})
_CANNOT: Final = frozenset(
    {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ETXTBSY, errno.EPERM, errno.ENOSYS}
)

Share = Callable[[int], bool]
"""Gives an open, empty file its content; ``False`` if that can't be: then the file is empty still."""


class LiveClones:
    """What can be shared of one live directory.

    Args:
        root_fd: the live directory; stays the caller's.
        captured: a capture of it.
    """

    def __init__(self, fs: Fs, root_fd: int, captured: VolumeTree) -> None:
        self._fs, self._root_fd = fs, root_fd
        self._safe_before = captured.scan_started_ns - MARGIN_NS
        self._able = captured.root is not None and volume_identity(fs, root_fd) == captured.root

    def of(self, entry: TreeEntry) -> Share | None:
        """How to share a file of the capture; ``None`` if it is to be written."""
        if not self._able or entry.kind or entry.data_bytes < WORTH_BYTES or entry.ctime_ns >= self._safe_before:
            return None
        return lambda fd: self._share(entry, fd)

    def _share(self, entry: TreeEntry, fd: int) -> bool:
        source = self._open(entry)
        if source is None:
            return False
        try:
            self._fs.clone(fd, source)
            same = _is_it(entry, self._fs.fstat(source))
            if not same:
                self._fs.ftruncate(fd, 0)
        except OSError as error:
            if error.errno in _CANNOT:
                self._able = error.errno in (errno.ETXTBSY, errno.EPERM)
                return False
            raise
        else:
            return same
        finally:
            self._fs.close(source)

    def _open(self, entry: TreeEntry) -> int | None:
        """The live file, if it is the one that was captured. Nothing else is opened for reading (I7)."""
        try:
            path_fd = open_steps(self._fs, self._root_fd, entry.path)
        except OSError as error:
            if error.errno in _ELSEWHERE:
                return None
            raise
        try:
            if not _is_it(entry, self._fs.fstat(path_fd)):
                return None
            return self._fs.reopen(path_fd, os.O_RDONLY | os.O_NOATIME)
        finally:
            self._fs.close(path_fd)


def can_clone(fs: Fs, dirfd: int) -> bool:
    """Whether files of the filesystem that a directory is on can share their content. Leaves nothing behind."""
    try:
        one = fs.open_unnamed(dirfd)
        try:
            other = fs.open_unnamed(dirfd)
            try:
                fs.clone(one, other)
            finally:
                fs.close(other)
        finally:
            fs.close(one)
    except OSError:
        return False
    return True


def _is_it(entry: TreeEntry, facts: os.stat_result) -> bool:
    return stat.S_ISREG(facts.st_mode) and (entry.inode, entry.size, entry.mtime_ns, entry.ctime_ns) == (
        facts.st_ino,
        facts.st_size,
        facts.st_mtime_ns,
        facts.st_ctime_ns,
    )
