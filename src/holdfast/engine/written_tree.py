"""How the tree writer finds its way in what it wrote: parent directories by descriptor, and files by their entries."""

from __future__ import annotations

import errno
import os
import stat
from array import array
from bisect import bisect_left
from collections.abc import Callable
from typing import Final

from holdfast.engine.fs import Fs

_LONGEST_STEP: Final = 2048
"""Bytes of path that are opened in one call, well below the kernel's 4096."""
_RECENT: Final = 65_536
_LEADS_NOWHERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG})


class Parents:
    """The open directories from the root to the parent of the entry at hand, kept from one entry to the next.

    Args:
        make_missing: called with (parent descriptor, name, path) where a directory is not there; must make it.
    """

    def __init__(self, fs: Fs, root_fd: int, make_missing: Callable[[int, bytes, bytes], None]) -> None:
        self._fs = fs
        self._root_fd = root_fd
        self._make_missing = make_missing
        self._path = b""
        self._open: list[tuple[bytes, int]] = []

    def split(self, path: bytes) -> tuple[int, bytes]:
        """The descriptor of the directory that holds ``path``, good until the next call, and the last component."""
        parent, _, name = path.rpartition(b"/")
        if parent != self._path:
            self._go(parent)
        return (self._open[-1][1] if self._open else self._root_fd), name

    def close(self) -> None:
        """Let go of every descriptor."""
        self._shorten(0)
        self._path = b""

    def _go(self, path: bytes) -> None:
        components = path.split(b"/") if path else []
        common = 0
        for wanted, (name, _) in zip(components, self._open, strict=False):
            if wanted != name:
                break
            common += 1
        self._shorten(common)
        for depth in range(common, len(components)):
            at = self._open[-1][1] if self._open else self._root_fd
            name = components[depth]
            try:
                fd = self._open_directory(at, name)
            except FileNotFoundError:
                self._make_missing(at, name, b"/".join(components[: depth + 1]))
                fd = self._open_directory(at, name)
            self._open.append((name, fd))
        self._path = path

    def _open_directory(self, at: int, name: bytes) -> int:
        return self._fs.openat(at, name, os.O_PATH | os.O_DIRECTORY)

    def _shorten(self, length: int) -> None:
        # The path is set again when the way down is complete; in between it must match no entry's parent.
        self._path = b"/"
        while len(self._open) > length:
            self._fs.close(self._open.pop()[1])


class WrittenFiles:
    """The inode numbers of the files that were written, in about eight bytes each: there may be millions."""

    def __init__(self) -> None:
        self._sorted: array[int] = array("Q")
        self._recent: set[int] = set()

    def add(self, inode: int) -> None:
        """Note one more."""
        self._recent.add(inode)
        # A growing share, so that sorting stays a small part of the work however many there are.
        if len(self._recent) > max(_RECENT, len(self._sorted) // 4):
            self._sorted.extend(sorted(self._recent))
            self._sorted = array("Q", sorted(self._sorted))
            self._recent.clear()

    def __contains__(self, inode: int) -> bool:
        if inode in self._recent:
            return True
        at = bisect_left(self._sorted, inode)
        return at < len(self._sorted) and self._sorted[at] == inode


def open_written(fs: Fs, root_fd: int, path: bytes, written: WrittenFiles) -> int | None:
    """Open the regular file that was written as the entry ``path``; ``None`` if there was no such entry.

    No symlink stands in the tree yet and none would be followed, so that ``path`` can only mean its entry; the inode is
    compared with those that were written all the same.
    """
    try:
        fd = _open_steps(fs, root_fd, path)
    except OSError as error:
        if error.errno in _LEADS_NOWHERE:
            return None
        raise
    facts = fs.fstat(fd)
    if stat.S_ISREG(facts.st_mode) and facts.st_ino in written:
        return fd
    fs.close(fd)
    return None


def _open_steps(fs: Fs, root_fd: int, path: bytes) -> int:
    at, rest = root_fd, path
    while len(rest) > _LONGEST_STEP and (cut := rest.rfind(b"/", 0, _LONGEST_STEP)) > 0:
        try:
            below = fs.open_beneath(at, rest[:cut], os.O_PATH | os.O_DIRECTORY, no_xdev=True)
        finally:
            if at != root_fd:
                fs.close(at)
        at, rest = below, rest[cut + 1 :]
    try:
        return fs.open_beneath(at, rest, os.O_PATH | os.O_NOFOLLOW, no_xdev=True)
    finally:
        if at != root_fd:
            fs.close(at)
