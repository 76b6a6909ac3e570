"""The way from a tree's root down to one of its directories, of which only the last ones are kept open.

A container can nest directories without end; open descriptors have one. Who goes up again opens the parent as ``..`` of
where he is, and takes it only if its file handle says that it is the very directory that he came through: whatever was
moved meanwhile, nothing outside of the tree is ever taken for part of it (I7).
"""

from __future__ import annotations

import errno
import os
from collections import deque

from holdfast.domain.restore import Identity
from holdfast.engine.fs import Fs


class Descent:
    """Open directories below a root.

    Args:
        root_fd: stays the caller's, and stays open.
        keep: how many directories are open at a time, the root not counted.
        flags: how a directory is opened again, besides ``O_DIRECTORY``.
    """

    def __init__(self, fs: Fs, root_fd: int, *, keep: int, flags: int) -> None:
        self._fs = fs
        self._root_fd = root_fd
        self._keep = keep
        self._flags = flags | os.O_DIRECTORY
        self._open: deque[int] = deque()
        self._closed: list[Identity] = []

    @property
    def fd(self) -> int:
        """The directory that one is in. Good until the next step."""
        return self._open[-1] if self._open else self._root_fd

    def enter(self, fd: int) -> None:
        """Go down, into an open directory of the present one. The descriptor is taken over, also by an error."""
        self._open.append(fd)
        if len(self._open) > self._keep:
            self._closed.append(self._fs.identity(self._open[0]))
            self._fs.close(self._open.popleft())

    def leave(self) -> None:
        """Go up. Not for the root.

        Raises:
            OSError: ``ESTALE`` if what is above is not the directory that one came through; one is at the root then.
        """
        child = self._open.pop()
        try:
            if not self._open and self._closed:
                self._open.append(self._reopen(child, self._closed.pop()))
        except OSError:
            self._closed.clear()
            raise
        finally:
            self._fs.close(child)

    def close(self) -> None:
        """Let go of all; one is at the root then. Harmless when repeated."""
        self._closed.clear()
        while self._open:
            self._fs.close(self._open.pop())

    def _reopen(self, child: int, expected: Identity) -> int:
        fd = self._fs.openat(child, b"..", self._flags)
        try:
            found = self._fs.identity(fd)
        except OSError:
            self._fs.close(fd)
            raise
        if found != expected:
            self._fs.close(fd)
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return fd
