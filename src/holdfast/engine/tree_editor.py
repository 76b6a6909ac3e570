"""Changes a staged tree that was written before, entry by entry, until it is another one.

The tree is nobody else's: it lies in a wrapper that only Holdfast can enter. All the same every name is reached through
descriptors, and no symlink is followed (I7). Metadata is read back, as the tree writer does it. Nothing is durable
before the caller's ``syncfs``.

What stands at a path is removed before something of another kind is made there; a file that stays one keeps its inode,
so that its other names stay names of it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from holdfast.engine.entries import Entry, EntryKind, display_path
from holdfast.engine.file_writing import write_content
from holdfast.engine.fs import Fs
from holdfast.engine.metadata import ACL_ATTRIBUTES, MetadataKeeper
from holdfast.engine.os_errors import translate
from holdfast.engine.special_files import SpecialFile
from holdfast.engine.written_tree import open_steps

_WRITE = os.O_WRONLY


class TreeEditor:
    """Edits one tree. Directories get their metadata last, in :meth:`finish`.

    Args:
        root_fd: the tree's root; stays the caller's.
        count: called with the bytes of each piece of data before it is written.
    """

    def __init__(self, fs: Fs, root_fd: int, count: Callable[[int], object]) -> None:
        self._fs, self._root_fd, self._count = fs, root_fd, count
        self._metadata = MetadataKeeper(fs, privileged=True, leave_out=_nothing_is_left_out)
        self._directories: dict[bytes, tuple[Entry | None, frozenset[bytes]]] = {}

    def remove(self, path: bytes, *, directory: bool) -> None:
        """Remove one name; a directory must be empty by now."""
        with self._at(path) as (parent, name):
            (self._fs.rmdirat if directory else self._fs.unlinkat)(parent, name)
        self._directories.pop(path, None)

    def add(self, entry: Entry, data: Iterable[bytes | memoryview]) -> None:
        """Make what is not there yet. Parents, and the file of a hardlink, must be there."""
        with self._at(entry.path) as (parent, name):
            if entry.kind is EntryKind.FILE:
                fd = self._fs.openat(parent, name, _WRITE | os.O_CREAT | os.O_EXCL)
                try:
                    self._clear_inherited(fd)
                    write_content(self._fs, fd, entry, data, self._count)
                    self._metadata.dress(fd, entry)
                finally:
                    self._fs.close(fd)
            elif entry.kind is EntryKind.DIRECTORY:
                self._fs.mkdirat(parent, name)
                with self._opened(parent, name, os.O_RDONLY | os.O_DIRECTORY) as fd:
                    self._clear_inherited(fd)
                self._directories[entry.path] = (entry, frozenset())
            elif entry.kind is EntryKind.SYMLINK:
                self._fs.symlinkat(entry.link_target, parent, name)
                self._metadata.dress_symlink(parent, name, entry)
            else:
                target = open_steps(self._fs, self._root_fd, entry.link_target)
                try:
                    self._fs.linkat(target, parent, name)
                finally:
                    self._fs.close(target)

    def change(self, old: Entry, new: Entry, data: Iterable[bytes | memoryview] | None) -> None:
        """Let a file or directory be what ``new`` says. ``data``: a file's new content; ``None`` if it is the same."""
        gone = frozenset(name for name, _ in old.xattrs) - {name for name, _ in new.xattrs}
        if new.kind is EntryKind.DIRECTORY:
            self._directories[new.path] = (new, gone)
            return
        with self._at(new.path, marks=False) as (parent, name), self._opened(parent, name, _WRITE) as fd:
            if data is not None:
                self._fs.ftruncate(fd, 0)
                write_content(self._fs, fd, new, data, self._count)
            self._drop(fd, gone)
            self._metadata.dress(fd, new)

    def patch(self, old: Entry, new: Entry, pieces: Iterable[tuple[int, bytes | memoryview]]) -> None:
        """As :meth:`change`, for a file without holes of which only some pieces are other: offsets, and their data."""
        gone = frozenset(name for name, _ in old.xattrs) - {name for name, _ in new.xattrs}
        with self._at(new.path, marks=False) as (parent, name), self._opened(parent, name, _WRITE) as fd:
            for offset, piece in pieces:
                self._count(len(piece))
                self._fs.pwrite_all(fd, piece, offset)
            self._fs.ftruncate(fd, new.size)
            self._drop(fd, gone)
            self._metadata.dress(fd, new)

    def add_special(self, special: SpecialFile) -> None:
        """Make a FIFO or a socket."""
        with self._at(special.path) as (parent, name):
            self._fs.mknodat(parent, name, special.kind | 0o600)
            fd = self._fs.open_path(parent, name)
            try:
                self._fs.chownat_nofollow(parent, name, special.uid, special.gid)
                self._drop(fd, frozenset(ACL_ATTRIBUTES), self._fs.removexattr_path)
                for attribute, value in special.xattrs:
                    self._fs.setxattr_path(fd, attribute, value)
                self._fs.chmod_path(fd, special.mode)
                self._fs.utimeat_nofollow(parent, name, special.mtime_ns)
            finally:
                self._fs.close(fd)

    def finish(self, directory: Callable[[bytes], Entry]) -> None:
        """Give each directory in which something was made or removed its metadata.

        Args:
            directory: what one is to be of which :meth:`change` was told nothing.
        """
        for path in sorted(self._directories, reverse=True):
            entry, gone = self._directories[path]
            with self._doing(path):
                fd = self._open_directory(path, os.O_RDONLY)
                try:
                    self._drop(fd, gone)
                    self._metadata.dress(fd, directory(path) if entry is None else entry)
                finally:
                    self._fs.close(fd)

    @contextmanager
    def _at(self, path: bytes, *, marks: bool = True) -> Iterator[tuple[int, bytes]]:
        """The directory that holds a path, open, and the path's last component in it."""
        above, _, name = path.rpartition(b"/")
        with self._doing(path):
            parent = self._open_directory(above, os.O_PATH)
            try:
                yield parent, name
            finally:
                self._fs.close(parent)
        if marks:
            self._directories.setdefault(above, (None, frozenset()))

    def _open_directory(self, path: bytes, flags: int) -> int:
        if not path:
            return self._fs.openat(self._root_fd, b".", flags | os.O_DIRECTORY)
        return open_steps(self._fs, self._root_fd, path, flags | os.O_DIRECTORY)

    @contextmanager
    def _opened(self, parent: int, name: bytes, flags: int) -> Iterator[int]:
        fd = self._fs.openat(parent, name, flags)
        try:
            yield fd
        finally:
            self._fs.close(fd)

    def _clear_inherited(self, fd: int) -> None:
        """Take away ACLs that came from the parent's default ACL: the tree says itself which there are."""
        self._drop(fd, frozenset(ACL_ATTRIBUTES))

    def _drop(self, fd: int, names: frozenset[bytes], remove: Callable[[int, bytes], None] | None = None) -> None:
        """Take attributes away, as far as they are there; ``remove``: how, where ``fd`` is none that is open."""
        for name in sorted(names):
            try:
                (remove or self._fs.removexattr)(fd, name)
            except OSError as error:
                if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
                    raise

    @contextmanager
    def _doing(self, path: bytes) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise translate(error, f"bringing {display_path(path)[:1000]} up to date in the staged tree") from error


def _nothing_is_left_out(path: bytes, what: str) -> None:
    raise AssertionError(f"{what} of {display_path(path)} left out of Holdfast's own data")
