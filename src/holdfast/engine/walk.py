"""Reads a live tree: parents before children, names in byte order, without trusting anything in it.

Invariants:

- No symlink is followed and no mount is crossed, whatever a container plants meanwhile (I7): every name is opened once,
  as itself (``O_PATH``), and all that is read of it is read through that descriptor. Mounts are told apart by mount,
  not by device, so that btrfs subvolumes belong to the tree and bind mounts of the same disk don't.
- Nothing but regular files, directories and symlinks is opened for reading; sockets, FIFOs and devices never are.
- Memory is bounded: one open directory per level, the names of those directories, and one map entry per inode whose
  other names are still to come.
- What is left out or uncertain is named in the :class:`WalkReport`; nothing is left out silently.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from holdfast.domain.errors import TooLarge
from holdfast.engine.entries import Entry, EntryKind, display_path
from holdfast.engine.file_content import FileContent, describe_file, read_xattrs
from holdfast.engine.fs import Fs
from holdfast.engine.limits import MAX_DEPTH
from holdfast.engine.os_errors import translate

_RETRIES: Final = 3
_VANISHED: Final = frozenset({errno.ENOENT, errno.ESTALE})
_REPORTED_NAMES: Final = 100
_NAMES_IN_A_SENTENCE: Final = 10


@dataclass(slots=True)
class Names:
    """How many there were, and the first hundred of them, fit to be shown."""

    first: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, path: bytes, what: str = "") -> None:
        """Count one more."""
        self.count += 1
        if len(self.first) < _REPORTED_NAMES:
            self.first.append(f"{display_path(path)} ({what})" if what else display_path(path))

    def __str__(self) -> str:
        shown = self.first[:_NAMES_IN_A_SENTENCE]
        more = self.count - len(shown)
        return ", ".join(shown) + (f", and {more} more" if more else "")


@dataclass(slots=True)
class WalkReport:
    """What a walk did not, or not surely, give.

    Attributes:
        skipped: sockets, FIFOs, devices and other mounts.
        changed: files that were written to while they were read, after retries.
        vanished: names that were gone between listing and opening.
    """

    skipped: Names = field(default_factory=Names)
    changed: Names = field(default_factory=Names)
    vanished: Names = field(default_factory=Names)

    def warnings(self) -> tuple[str, ...]:
        """One sentence for each kind of thing that happened."""
        sentences = (
            (self.skipped, "not captured, since it is no file, directory or symlink of this filesystem"),
            (self.changed, "changed while it was read; what was captured may mix old and new content"),
            (self.vanished, "removed while the tree was read"),
        )
        return tuple(f"{names.count} × {what}: {names}" for names, what in sentences if names.count)


class Walked:
    """One entry of a tree that is being walked. Good until the walk goes on.

    Attributes:
        entry: what it is, as found when it was met.
        stat: the inode's own facts (number, ctime), by which an unchanged file is recognised.
    """

    __slots__ = ("_fd", "_fs", "_report", "entry", "stat")

    def __init__(self, fs: Fs, fd: int, report: WalkReport, entry: Entry, facts: os.stat_result) -> None:
        self._fs = fs
        self._fd = fd
        self._report = report
        self.entry = entry
        self.stat = facts

    @contextmanager
    def open(self) -> Iterator[FileContent]:
        """Open a FILE's data.

        What is handed out is a :class:`FileContent`: iterate over it for the concatenated data regions, exactly
        ``content.entry.data_bytes`` bytes. **Store ``content.entry``, not the ``entry`` from before**: where the file
        changed in between, the former is the one that fits the data (and ``self.entry`` is replaced by it).

        A change that is noticed before the first byte is handed out is retried; files of up to a mebibyte are read as
        a whole first, so for them that is any change. A later one is reported by name; a file that shrank is filled up
        with zeros.

        Raises:
            Failed: the file can't be read.
        """
        try:
            content = self._settle()
        except OSError as error:
            raise translate(error, f"reading {display_path(self.entry.path)}") from error
        self.entry, self.stat = content.entry, content.stat
        yield content
        if not content.consistent():
            self._report.changed.add(self.entry.path)

    def _settle(self) -> FileContent:
        content = FileContent(self._fs, self._fd, self.entry, self.stat)
        for _ in range(_RETRIES):
            if content.prefetch():
                break
            content = FileContent(self._fs, self._fd, *describe_file(self._fs, self._fd, self.entry.path))
        return content


@dataclass(slots=True)
class _Level:
    """A directory that the walk is in."""

    fd: int
    prefix: bytes
    names: list[bytes]


class _Groups:
    """Which inodes with several names were met, by the name that they were met under first."""

    def __init__(self) -> None:
        self._met: dict[tuple[int, int], tuple[bytes, int]] = {}

    def first_name(self, facts: os.stat_result) -> bytes | None:
        """The path under which the inode was met before. Forgets it with its last name, to bound the memory."""
        key = (facts.st_dev, facts.st_ino)
        if key not in self._met:
            return None
        path, seen = self._met.pop(key)
        if seen + 1 < facts.st_nlink:
            self._met[key] = (path, seen + 1)
        return path

    def remember(self, facts: os.stat_result, path: bytes) -> None:
        """Note the first name of an inode that has others."""
        self._met[facts.st_dev, facts.st_ino] = (path, 1)


T = TypeVar("T")

Recognise = Callable[[bytes, os.stat_result], T | None]
"""Asked about each regular file with one name, by its path and what the kernel says of it: what it is known as, or
``None``."""


def walk(fs: Fs, root_fd: int, report: WalkReport) -> Generator[Walked, None, None]:
    """Walk the tree below an open directory, the root itself (``b""``) first.

    Close the generator where the walk is broken off, so that its descriptors are let go at once.

    Args:
        root_fd: stays the caller's, and stays open.
        report: filled while the walk goes on.

    Raises:
        TooLarge: ``tree_too_deep``.
        Failed: something can't be read for another reason than that it is gone.
    """
    return walk_recognising(fs, root_fd, report, None)


def walk_recognising(
    fs: Fs, root_fd: int, report: WalkReport, recognise: Recognise[T] | None
) -> Generator[Walked | T, None, None]:
    """As :func:`walk`, but files that ``recognise`` knows are not opened: what it returns is given in their place.

    The facts that it is asked with are those of the name itself, not of what a symlink there leads to; inode and ctime
    in them say whether it is the same file.
    """
    walker = _Walker(fs, report, recognise)
    try:
        yield walker.start(root_fd)
        while walker.levels:
            walked = walker.step()
            if walked is not None:
                yield walked
    finally:
        walker.close()


class _Walker(Generic[T]):
    """The walk's state: the open levels, and the descriptor of the file that was handed out last."""

    def __init__(self, fs: Fs, report: WalkReport, recognise: Recognise[T] | None) -> None:
        self.levels: list[_Level] = []
        self._fs = fs
        self._report = report
        self._recognise = recognise
        self._groups = _Groups()
        self._current: int | None = None

    def close(self) -> None:
        """Let go of every descriptor."""
        self._release()
        while self.levels:
            self._fs.close(self.levels.pop().fd)

    def step(self) -> Walked | T | None:
        """Go to the next name; ``None`` if there was nothing to give at it."""
        self._release()
        level = self.levels[-1]
        if not level.names:
            self._fs.close(self.levels.pop().fd)
            return None
        name = level.names.pop()
        path = level.prefix + name
        if len(self.levels) > MAX_DEPTH:
            raise TooLarge(
                "tree_too_deep",
                f"Directories lie more than {MAX_DEPTH} below each other at {display_path(path[:512])}.",
                next_step="Flatten that part of the volume; it can't be captured as it is.",
            )
        try:
            return self._visit(level.fd, name, path)
        except OSError as error:
            if error.errno in _VANISHED:
                self._report.vanished.add(path)
                return None
            raise translate(error, f"reading {display_path(path)}") from error

    def start(self, root_fd: int) -> Walked:
        """Enter the root."""
        try:
            return self._enter(root_fd, b"")
        except OSError as error:
            raise translate(error, "opening the root of a tree") from error

    def _enter(self, at_fd: int, path: bytes) -> Walked:
        """Open a directory and list it. It stays the same directory whatever stands at its name from now on."""
        fd = self._fs.openat(at_fd, b".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            facts = self._fs.fstat(fd)
            entry = _entry(EntryKind.DIRECTORY, path, facts, xattrs=read_xattrs(self._fs, fd))
            names = sorted(self._fs.listdir(fd), reverse=True)
        except BaseException:
            self._fs.close(fd)
            raise
        self.levels.append(_Level(fd=fd, prefix=path + b"/" if path else b"", names=names))
        return Walked(self._fs, fd, self._report, entry, facts)

    def _visit(self, dirfd: int, name: bytes, path: bytes) -> Walked | T | None:
        if self._recognise is not None:
            facts = self._fs.statat(dirfd, name)
            if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1:
                known = self._recognise(path, facts)
                if known is not None:
                    return known
        try:
            fd = self._fs.open_beneath(dirfd, name, os.O_PATH | os.O_NOFOLLOW, no_xdev=True)
        except OSError as error:
            if error.errno == errno.EXDEV:
                self._report.skipped.add(path, "mount")
                return None
            raise
        try:
            return self._give(fd, path, self._fs.fstat(fd))
        finally:
            self._fs.close(fd)

    def _give(self, fd: int, path: bytes, facts: os.stat_result) -> Walked | None:
        kind = stat.S_IFMT(facts.st_mode)
        if kind == stat.S_IFREG:
            return self._file(fd, path, facts)
        if kind == stat.S_IFDIR:
            return self._enter(fd, path)
        if kind == stat.S_IFLNK:
            target = self._fs.readlinkat(fd, b"")
            xattrs = read_xattrs(self._fs, fd, opened=False)
            entry = _entry(EntryKind.SYMLINK, path, facts, link_target=target, xattrs=xattrs)
            return Walked(self._fs, -1, self._report, entry, facts)
        self._report.skipped.add(path, _SPECIAL.get(kind, "unknown type"))
        return None

    def _file(self, path_fd: int, path: bytes, facts: os.stat_result) -> Walked:
        if facts.st_nlink > 1:
            first = self._groups.first_name(facts)
            if first is not None:
                entry = _entry(EntryKind.HARDLINK, path, facts, link_target=first)
                return Walked(self._fs, -1, self._report, entry, facts)
        fd = self._fs.reopen(path_fd, os.O_RDONLY | os.O_NOATIME)
        self._current = fd
        entry, facts = describe_file(self._fs, fd, path)
        if facts.st_nlink > 1:
            # Only now that it is surely given: a first name that vanished must not leave the others without content.
            self._groups.remember(facts, path)
        return Walked(self._fs, fd, self._report, entry, facts)

    def _release(self) -> None:
        if self._current is not None:
            self._fs.close(self._current)
            self._current = None


def _entry(
    kind: EntryKind,
    path: bytes,
    facts: os.stat_result,
    *,
    link_target: bytes = b"",
    xattrs: tuple[tuple[bytes, bytes], ...] = (),
) -> Entry:
    return Entry(
        path=path,
        kind=kind,
        mode=stat.S_IMODE(facts.st_mode),
        uid=facts.st_uid,
        gid=facts.st_gid,
        mtime_ns=facts.st_mtime_ns,
        link_target=link_target,
        xattrs=xattrs,
    )


_SPECIAL: Final = {
    stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "FIFO",
    stat.S_IFBLK: "block device",
    stat.S_IFCHR: "character device",
}
