"""How the tree writer finds its way in what it wrote: parent directories by descriptor, and files by their entries."""

from __future__ import annotations

import errno
import os
import stat
from array import array
from bisect import bisect_left
from collections.abc import Callable
from typing import Final

from holdfast.engine.descent import Descent
from holdfast.engine.entries import Entry
from holdfast.engine.fs import Fs

OPEN_LEVELS: Final = 8
"""Directories of one tree that are open at a time; the trees of all volumes of a snapshot are written side by side."""

_LONGEST_STEP: Final = 2048
"""Bytes of path that are opened in one call, well below the kernel's 4096."""
_RECENT: Final = 65_536
_LEADS_NOWHERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG})


class Directory:
    """A directory that was written. It knows its own name only: the paths of a deep tree would take more than there is.

    Attributes:
        parent: ``None`` for the root.
        entry: its metadata; ``path`` in it is its name. ``None`` as long as only what is below it was met.
    """

    __slots__ = ("children", "depth", "entry", "name", "parent")

    def __init__(self, parent: Directory | None, name: bytes) -> None:
        self.parent, self.name = parent, name
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.entry: Entry | None = None
        self.children: dict[bytes, Directory] = {}

    def add(self, name: bytes) -> Directory:
        """A new directory in this one."""
        made = Directory(self, name)
        self.children[name] = made
        return made

    def path_of(self, name: bytes) -> bytes:
        """The path of a name in it."""
        parts, at = [name], self
        while at.parent is not None:
            parts.append(at.name)
            at = at.parent
        return b"/".join(reversed(parts))

    @property
    def path(self) -> bytes:
        """Its own path; ``b""`` for the root."""
        return b"" if self.parent is None else self.parent.path_of(self.name)

    def parents_first(self) -> list[Directory]:
        """It and all below it, none before its parent, each one's children in byte order."""
        found: list[Directory] = []
        waiting = [self]
        while waiting:
            directory = waiting.pop()
            found.append(directory)
            waiting += sorted(directory.children.values(), key=lambda child: child.name, reverse=True)
        return found


class Parents:
    """The way from the root to the parent of the entry at hand, kept from one entry to the next.

    Args:
        root: the directory that ``root_fd`` is.
        make_missing: called with (parent's descriptor, parent, name) where a directory is not there; must make it.
    """

    def __init__(
        self, fs: Fs, root_fd: int, root: Directory, make_missing: Callable[[int, Directory, bytes], None]
    ) -> None:
        self._fs = fs
        self._root = root
        self._make_missing = make_missing
        self._descent = Descent(fs, root_fd, keep=OPEN_LEVELS, flags=os.O_PATH)
        self._at = root
        self._path = b""

    def split(self, path: bytes) -> tuple[int, Directory, bytes]:
        """The directory that holds ``path``, its descriptor, good until the next call, and the last component."""
        parent, _, name = path.rpartition(b"/")
        if parent != self._path:
            while self._at is not self._root and not parent.startswith(self._path + b"/") and parent != self._path:
                self._up()
            rest = parent[len(self._path) :].removeprefix(b"/")
            for component in rest.split(b"/") if rest else ():
                self._down(component)
        return self._descent.fd, self._at, name

    def go(self, directory: Directory) -> int:
        """Go to a directory that was written. Returns its descriptor, good until the next call."""
        names: list[bytes] = []
        while directory.depth > self._at.depth:
            names.append(directory.name)
            directory = _parent(directory)
        while self._at.depth > directory.depth:
            self._up()
        while self._at is not directory:
            names.append(directory.name)
            directory = _parent(directory)
            self._up()
        for name in reversed(names):
            self._down(name)
        return self._descent.fd

    def close(self) -> None:
        """Let go of every descriptor."""
        self._descent.close()
        self._at, self._path = self._root, b""

    def _up(self) -> None:
        self._descent.leave()
        self._path = self._path[: max(0, len(self._path) - len(self._at.name) - 1)]
        self._at = _parent(self._at)

    def _down(self, name: bytes) -> None:
        at = self._descent.fd
        try:
            fd = self._open_directory(at, name)
        except FileNotFoundError:
            self._make_missing(at, self._at, name)
            fd = self._open_directory(at, name)
        self._descent.enter(fd)
        self._at = self._at.children[name]
        self._path = self._path + b"/" + name if self._path else name

    def _open_directory(self, at: int, name: bytes) -> int:
        return self._fs.openat(at, name, os.O_PATH | os.O_DIRECTORY)


def _parent(directory: Directory) -> Directory:
    if directory.parent is None:
        raise ValueError("nothing is above the root")
    return directory.parent


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
        fd = open_steps(fs, root_fd, path)
    except OSError as error:
        if error.errno in _LEADS_NOWHERE:
            return None
        raise
    facts = fs.fstat(fd)
    if stat.S_ISREG(facts.st_mode) and facts.st_ino in written:
        return fd
    fs.close(fd)
    return None


def open_steps(fs: Fs, root_fd: int, path: bytes, flags: int = os.O_PATH | os.O_NOFOLLOW) -> int:
    """Open what stands at a path of any length, through no symlink and across no mount. Raises ``OSError``."""
    at, rest = root_fd, path
    while len(rest) > _LONGEST_STEP and (cut := rest.rfind(b"/", 0, _LONGEST_STEP)) > 0:
        try:
            below = fs.open_beneath(at, rest[:cut], os.O_PATH | os.O_DIRECTORY, no_xdev=True)
        finally:
            if at != root_fd:
                fs.close(at)
        at, rest = below, rest[cut + 1 :]
    try:
        return fs.open_beneath(at, rest, flags, no_xdev=True)
    finally:
        if at != root_fd:
            fs.close(at)
