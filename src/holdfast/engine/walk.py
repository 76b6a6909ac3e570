"""Reads a live tree: parents before children, names in byte order, without trusting anything in it.

Invariants:

- No symlink is followed and no mount is crossed, whatever a container plants meanwhile (I7): every name is opened once,
  as itself (``O_PATH``), and all that is read of it is read through that descriptor. Mounts are told apart by mount,
  not by device, so that btrfs subvolumes belong to the tree and bind mounts of the same disk don't.
- Nothing but regular files, directories and symlinks is opened for reading; sockets, FIFOs and devices never are.
- However deep the tree, a bounded number of directories is open. Memory is bounded too: the names of the directories
  that the walk is in, and one map entry per inode whose other names are still to come.
- What is left out or uncertain is named in the :class:`WalkReport`; nothing is left out silently.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from holdfast.domain.errors import TooLarge
from holdfast.domain.told import TextOrTold, Told, some, told
from holdfast.engine.descent import Descent
from holdfast.engine.entries import Entry, EntryKind, display_path
from holdfast.engine.file_content import FileContent, describe_file, read_xattrs
from holdfast.engine.fs import Fs
from holdfast.engine.limits import MAX_PATH_BYTES
from holdfast.engine.os_errors import translate
from holdfast.engine.root_names import LOST_AND_FOUND, something_was_found
from holdfast.engine.walk_levels import Groups, Level

OPEN_LEVELS: Final = 256
"""Directories that are open at a time."""

_RETRIES: Final = 3
_VANISHED: Final = frozenset({errno.ENOENT, errno.ESTALE})
_REPORTED_NAMES: Final = 100
_NAMES_IN_A_SENTENCE: Final = 10


@dataclass(slots=True)
class Names:
    """How many there were, and the first hundred of them, fit to be shown."""

    first: list[TextOrTold] = field(default_factory=list)
    count: int = 0

    def add(self, path: bytes, kind: Told | None = None) -> None:
        """Count one more."""
        self.count += 1
        if len(self.first) < _REPORTED_NAMES:
            name = display_path(path)
            self.first.append(name if kind is None else told("name_and_kind", "{name} ({kind})", name=name, kind=kind))

    @property
    def told(self) -> list[TextOrTold]:
        """For the place of a sentence."""
        return some(self.first, _NAMES_IN_A_SENTENCE, self.count)


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

    def warnings(self, volume: str) -> list[Told]:
        """One sentence for each kind of thing that happened in a volume, which is named by its target."""
        skipped, changed, vanished = self.skipped, self.changed, self.vanished
        sentences = (
            told(
                "walk_skipped",
                "{volume}: {count} × not captured, since it is no file, directory or symlink of this filesystem: "
                "{names}",
                volume=volume,
                count=skipped.count,
                names=skipped.told,
            ),
            told(
                "walk_changed",
                "{volume}: {count} × changed while it was read; what was captured may mix old and new content: {names}",
                volume=volume,
                count=changed.count,
                names=changed.told,
            ),
            told(
                "walk_vanished",
                "{volume}: {count} × removed while the tree was read: {names}",
                volume=volume,
                count=vanished.count,
                names=vanished.told,
            ),
        )
        counts = (skipped.count, changed.count, vanished.count)
        return [sentence for sentence, count in zip(sentences, counts, strict=True) if count]


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

    def open(self) -> FileContent:
        """Open a FILE's data, as a context manager.

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
        return content

    def _settle(self) -> FileContent:
        fs, fd, changed = self._fs, self._fd, self._report.changed.add
        content = FileContent(fs, fd, self.entry, self.stat, changed)
        for _ in range(_RETRIES):
            if content.prefetch():
                break
            facts = fs.fstat(fd)
            content = FileContent(fs, fd, describe_file(fs, fd, self.entry.path, facts), facts, changed)
        return content


LeaveOut = Callable[[int, Collection[bytes]], frozenset[bytes]]
"""Asked once, with the open root and the names in it: which of them are no part of the tree. May raise ``OSError``."""

T = TypeVar("T")

Recognise = Callable[[bytes, os.stat_result], T | None]
"""Asked about each regular file with one name, by its path and what the kernel says of it: what it is known as, or
``None``."""


def walk(
    fs: Fs,
    root_fd: int,
    report: WalkReport,
    *,
    leave_out: LeaveOut | None = None,
    max_path_bytes: int = MAX_PATH_BYTES,
) -> Generator[Walked, None, None]:
    """Walk the tree below an open directory, the root itself (``b""``) first.

    Close the generator where the walk is broken off, so that its descriptors are let go at once.

    Args:
        root_fd: stays the caller's, and stays open.
        report: filled while the walk goes on.
        leave_out: what to pass over in the root.
        max_path_bytes: the longest path that can be given.

    Raises:
        TooLarge: ``tree_too_deep``: a path is longer than a snapshot can name. Never is part of a tree left out for it.
        Failed: something can't be read for another reason than that it is gone.
    """
    return walk_recognising(fs, root_fd, report, None, leave_out=leave_out, max_path_bytes=max_path_bytes)


def walk_recognising(
    fs: Fs,
    root_fd: int,
    report: WalkReport,
    recognise: Recognise[T] | None,
    *,
    leave_out: LeaveOut | None = None,
    max_path_bytes: int = MAX_PATH_BYTES,
) -> Generator[Walked | T, None, None]:
    """As :func:`walk`, but files that ``recognise`` knows are not opened: what it returns is given in their place.

    The facts that it is asked with are those of the name itself, not of what a symlink there leads to; inode and ctime
    in them say whether it is the same file.
    """
    walker = _Walker(fs, root_fd, report, recognise, max_path_bytes)
    try:
        yield walker.start(leave_out)
        while not walker.done:
            walked = walker.step()
            if walked is not None:
                yield walked
    finally:
        walker.close()


class _Walker(Generic[T]):
    """The walk's state: the level that it is at, and the descriptor of the file that was handed out last."""

    def __init__(
        self, fs: Fs, root_fd: int, report: WalkReport, recognise: Recognise[T] | None, max_path_bytes: int
    ) -> None:
        self.done = False
        self._fs = fs
        self._report = report
        self._recognise = recognise
        self._max_path_bytes = max_path_bytes
        self._groups = Groups()
        self._current: int | None = None
        self._descent = Descent(fs, root_fd, keep=OPEN_LEVELS, flags=os.O_RDONLY)
        self._level = Level(parent=None, name=b"", names=[])
        self._prefix = b""

    def close(self) -> None:
        """Let go of every descriptor."""
        self._release()
        self._descent.close()

    def step(self) -> Walked | T | None:
        """Go to the next name; ``None`` if there was nothing to give at it."""
        self._release()
        level = self._level
        if not level.names:
            self._leave()
            return None
        name = level.names.pop()
        path = self._prefix + name
        if len(path) > self._max_path_bytes:
            raise TooLarge(
                "tree_too_deep",
                f"Directories lie so deep below each other that a path is longer than {self._max_path_bytes} bytes: "
                f"{display_path(path[:512])}…",
                next_step="Nothing was changed. Remove or flatten that part of the volume (rm -r copes with any "
                "depth): what can't be captured whole is not captured at all.",
                details={"path": display_path(path), "limit": self._max_path_bytes},
            )
        try:
            return self._visit(self._descent.fd, name, path)
        except OSError as error:
            if error.errno in _VANISHED:
                self._report.vanished.add(path)
                return None
            raise translate(error, f"reading {display_path(path)}") from error

    def start(self, leave_out: LeaveOut | None) -> Walked:
        """Enter the root."""
        try:
            fd = self._fs.openat(self._descent.fd, b".", os.O_RDONLY | os.O_DIRECTORY)
            try:
                walked, names = self._list(fd, b"")
                left_out = frozenset() if leave_out is None else leave_out(fd, names)
                self._level.names = [name for name in names if name not in left_out]
                if LOST_AND_FOUND in left_out and something_was_found(self._fs, fd):
                    self._report.skipped.add(
                        LOST_AND_FOUND, told("kind_found_by_check", "what a check of the filesystem found")
                    )
            except BaseException:
                self._fs.close(fd)
                raise
            self._current = fd
        except OSError as error:
            raise translate(error, "opening the root of a tree") from error
        return walked

    def _enter(self, at_fd: int, name: bytes, path: bytes) -> Walked:
        """Open a directory and list it. It stays the same directory whatever stands at its name from now on."""
        fd = self._fs.openat(at_fd, b".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            walked, names = self._list(fd, path)
        except BaseException:
            self._fs.close(fd)
            raise
        self._descent.enter(fd)
        self._level = Level(parent=self._level, name=name, names=names)
        self._prefix = path + b"/"
        return walked

    def _list(self, fd: int, path: bytes) -> tuple[Walked, list[bytes]]:
        facts = self._fs.fstat(fd)
        entry = _entry(EntryKind.DIRECTORY, path, facts, xattrs=read_xattrs(self._fs, fd))
        return Walked(self._fs, fd, self._report, entry, facts), sorted(self._fs.listdir(fd), reverse=True)

    def _leave(self) -> None:
        """Go up. Where a container has moved away what the walk came through, all that is not read yet is named."""
        level = self._level
        if level.parent is None:
            self.done = True
            return
        try:
            self._descent.leave()
        except OSError as error:
            if error.errno not in _VANISHED:
                raise translate(error, f"going back up from {display_path(self._prefix[:-1])}") from error
            self._give_up_to_root(level.parent)
            return
        self._level = level.parent
        self._prefix = self._prefix[: len(self._prefix) - len(level.name) - 1]

    def _give_up_to_root(self, level: Level) -> None:
        while level.parent is not None:
            for name in level.names:
                self._report.vanished.add(level.path_of(name))
            level = level.parent
        self._level, self._prefix = level, b""

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
                self._report.skipped.add(path, told("kind_mount", "mount"))
                return None
            raise
        try:
            return self._give(fd, name, path, self._fs.fstat(fd))
        finally:
            self._fs.close(fd)

    def _give(self, fd: int, name: bytes, path: bytes, facts: os.stat_result) -> Walked | None:
        kind = stat.S_IFMT(facts.st_mode)
        if kind == stat.S_IFREG:
            return self._file(fd, name, path, facts)
        if kind == stat.S_IFDIR:
            return self._enter(fd, name, path)
        if kind == stat.S_IFLNK:
            target = self._fs.readlinkat(fd, b"")
            xattrs = read_xattrs(self._fs, fd, opened=False)
            entry = _entry(EntryKind.SYMLINK, path, facts, link_target=target, xattrs=xattrs)
            return Walked(self._fs, -1, self._report, entry, facts)
        self._report.skipped.add(path, SPECIAL.get(kind) or told("kind_unknown", "unknown type"))
        return None

    def _file(self, path_fd: int, name: bytes, path: bytes, facts: os.stat_result) -> Walked:
        if facts.st_nlink > 1:
            first = self._groups.first_name(facts)
            if first is not None:
                entry = _entry(EntryKind.HARDLINK, path, facts, link_target=first)
                return Walked(self._fs, -1, self._report, entry, facts)
        fd = self._fs.reopen(path_fd, os.O_RDONLY | os.O_NOATIME)
        self._current = fd
        entry = describe_file(self._fs, fd, path, facts)
        if facts.st_nlink > 1:
            # Only now that it is surely given: a first name that vanished must not leave the others without content.
            self._groups.remember(facts, self._level, name)
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


SPECIAL: Final = {
    stat.S_IFSOCK: told("kind_socket", "socket"),
    stat.S_IFIFO: told("kind_fifo", "FIFO"),
    stat.S_IFBLK: told("kind_block_device", "block device"),
    stat.S_IFCHR: told("kind_character_device", "character device"),
}
"""What is no file, directory or link, by its file type."""
