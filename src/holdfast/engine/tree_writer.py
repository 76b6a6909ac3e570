"""Writes a tree from input that nobody vouches for; archives and the snapshot store both come through here.

Invariants (``docs/explanation/restore.md``, "Writing a tree from untrusted input"):

- Everything is made in one fresh, empty directory, through directory descriptors, every component ``O_NOFOLLOW``.
- Files are created ``O_EXCL``: nothing pre-exists, so a second entry of one name is an error.
- A hardlink is made to a regular file that this same writer wrote, looked up as one of its entries and linked by
  descriptor; symlinks are made last, as opaque text, and nothing follows them afterwards.
- Metadata goes through descriptors, children before parents, and is read back: what was not kept is an error, never
  a warning.
- What the policy does not take is named in ``not_taken``.

A writer that raised is closed and can't be finished: its tree is to be thrown away.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from msgspec.structs import replace

from holdfast.domain.errors import Failed, HoldfastError, InvalidInput
from holdfast.engine.entries import Entry, EntryKind, display_path
from holdfast.engine.entry_checks import check_entry, check_path
from holdfast.engine.file_writing import write_content
from holdfast.engine.fs import Fs
from holdfast.engine.limits import Limits, Tally
from holdfast.engine.metadata import ACL_ATTRIBUTES, MetadataKeeper
from holdfast.engine.os_errors import translate
from holdfast.engine.written_tree import Directory, Parents, WrittenFiles, open_written

_NAMED_NOT_TAKEN: Final = 1000
_PERMISSIONS: Final = 0o777
"""With which a file is made: mostly its final mode. Nobody else reaches the tree while it is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePolicy:
    """What is taken from the input.

    Attributes:
        links: symlinks and hardlinks.
        privileged: setuid and setgid bits, ``security.*`` and ``trusted.*`` attributes; only for what Holdfast captured
            itself and can prove it.
    """

    links: bool
    privileged: bool
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a finished tree consists of.

    Attributes:
        directories: without the root.
        links: symlinks, and further names of files.
        bytes: data written, holes not counted.
        not_taken: what the policy left out, in words, at most about a thousand of them.
    """

    files: int
    directories: int
    links: int
    bytes: int
    not_taken: tuple[str, ...]


class EntrySink(Protocol):
    """What takes the entries of a tree, parents before what is in them or not, a hardlink's file before it."""

    def add(
        self, entry: Entry, data: Iterable[bytes | memoryview] = (), share: Callable[[int], bool] | None = None
    ) -> None:
        """Take one entry; see :meth:`TreeWriter.add`."""


class TreeWriter:
    """Writes one tree. Call :meth:`add` for every entry, then :meth:`finish`.

    Args:
        root_fd: a fresh, empty directory that nobody else can reach; stays the caller's. For durability the caller
            opens a descriptor for ``syncfs`` before it makes the writer, and calls it after :meth:`finish`.
        tally: shared between the writers of one import, so that limits hold for all its volumes together.

    Raises:
        Failed: ``staging_not_empty``, or the directory can't be prepared.
    """

    def __init__(self, fs: Fs, root_fd: int, policy: WritePolicy, tally: Tally | None = None) -> None:
        self.not_taken: list[str] = []
        self._fs = fs
        self._root_fd = root_fd
        self._policy = policy
        self._tally = tally if tally is not None else Tally(policy.limits)
        self._metadata = MetadataKeeper(fs, privileged=policy.privileged, leave_out=self.leave_out)
        self._top = Directory(None, b"")
        self._parents = Parents(fs, root_fd, self._top, self._make_implicit)
        self._written = WrittenFiles()
        self._symlinks: list[tuple[Directory, Entry]] = []
        self._left_out = 0
        self._files = self._directories = self._links = self._bytes = 0
        self._usable = True
        # Whole seconds, since some filesystems keep no finer ones and the read-back is exact.
        self._now_ns = time.time_ns() // 1_000_000_000 * 1_000_000_000
        self._prepare_root()

    def add(
        self, entry: Entry, data: Iterable[bytes | memoryview] = (), share: Callable[[int], bool] | None = None
    ) -> None:
        """Write one entry. Parents may come later or not at all; a hardlink's file must have come before.

        Args:
            data: for a FILE its data regions, concatenated, in pieces of any size.
            share: another way to give a FILE its content, tried first: called with the empty file; ``False`` if it
                can't, and the file is empty still.

        Raises:
            InvalidInput: ``archive_…``: the entry is hostile or malformed.
            TooLarge: ``archive_…``: a limit was reached.
            NoSpace: the filesystem is full.
            Failed: the file system refused, or did not keep the metadata.
        """
        self._begin()
        try:
            check_entry(entry)
            self._tally.entry(entry)
            if entry.kind is EntryKind.FILE:
                self._add_file(entry, data, share)
            elif entry.kind is EntryKind.DIRECTORY:
                self._add_directory(entry)
            elif not self._policy.links:
                self.leave_out(entry.path, entry.kind.value)
            elif entry.kind is EntryKind.SYMLINK:
                _, parent, name = self._parents.split(entry.path)
                self._symlinks.append((parent, replace(entry, path=name)))
            else:
                self._add_hardlink(entry)
        except OSError as error:
            raise self._explain(error, entry) from error
        except BaseException:
            self.close()
            raise
        self._usable = True

    def finish(self) -> Written:
        """Make the symlinks, set the directories' metadata, and let go of all descriptors.

        The writer can't be used afterwards. Nothing is durable before the caller's ``syncfs``.

        Raises:
            InvalidInput, NoSpace, Failed: as :meth:`add`.
        """
        self._begin()
        try:
            for parent, entry in self._symlinks:
                self._make_symlink(parent, entry)
            for directory in reversed(self._top.parents_first()):
                self._dress_directory(directory)
        finally:
            self.close()
        if self._left_out > len(self.not_taken):
            self.not_taken.append(f"and {self._left_out - len(self.not_taken)} more")
        return Written(
            files=self._files,
            directories=self._directories,
            links=self._links,
            bytes=self._bytes,
            not_taken=tuple(self.not_taken),
        )

    def close(self) -> None:
        """Let go of all descriptors. Called by :meth:`finish`, and when :meth:`add` raises; harmless when repeated."""
        self._parents.close()

    def _begin(self) -> None:
        if not self._usable:
            raise Failed(
                "staging_broken_off",
                "The staged tree is not complete: an earlier entry failed, or the tree is finished already.",
                next_step="Throw the staged tree away and start again.",
            )
        self._usable = False

    # --- entries -------------------------------------------------------------------------------------------------

    def _add_file(self, entry: Entry, data: Iterable[bytes | memoryview], share: Callable[[int], bool] | None) -> None:
        parent_fd, _, name = self._parents.split(entry.path)
        fd = self._fs.openat(parent_fd, name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, entry.mode & _PERMISSIONS)
        try:
            if share is None or not share(fd):
                write_content(self._fs, fd, entry, data, lambda count: self._tally.data(count, entry.path))
            facts = self._metadata.dress(fd, entry)
        finally:
            self._fs.close(fd)
        self._written.add(facts.st_ino)
        self._files += 1
        self._bytes += entry.data_bytes

    def _add_directory(self, entry: Entry) -> None:
        parent_fd, parent, name = self._parents.split(entry.path)
        directory = parent.children.get(name) if name else self._top
        if directory is None:
            self._fs.mkdirat(parent_fd, name)
            directory = parent.add(name)
            self._directories += 1
        elif directory.entry is not None:
            raise _duplicate(entry.path)
        directory.entry = replace(entry, path=name)

    def _make_implicit(self, parent_fd: int, parent: Directory, name: bytes) -> None:
        self._tally.entry(self._implicit_entry(parent.path_of(name)))
        self._fs.mkdirat(parent_fd, name)
        parent.add(name)
        self._directories += 1

    def _implicit_entry(self, path: bytes) -> Entry:
        return Entry(path=path, kind=EntryKind.DIRECTORY, mode=0o755, uid=0, gid=0, mtime_ns=self._now_ns)

    def _add_hardlink(self, entry: Entry) -> None:
        check_path(entry.link_target)
        fd = open_written(self._fs, self._root_fd, entry.link_target, self._written)
        if fd is None:
            raise InvalidInput(
                "archive_link_target_refused",
                f"The hardlink {display_path(entry.path)} points to {display_path(entry.link_target)}, which is no "
                "earlier regular file of the same tree.",
                next_step="The archive is malformed or hostile; make a new one.",
                details={"path": display_path(entry.path), "target": display_path(entry.link_target)},
            )
        try:
            parent_fd, _, name = self._parents.split(entry.path)
            self._fs.linkat(fd, parent_fd, name)
        finally:
            self._fs.close(fd)
        self._links += 1

    # --- the end -------------------------------------------------------------------------------------------------

    def _make_symlink(self, parent: Directory, link: Entry) -> None:
        entry = replace(link, path=parent.path_of(link.path))
        try:
            parent_fd = self._parents.go(parent)
            self._fs.symlinkat(entry.link_target, parent_fd, link.path)
            self._metadata.dress_symlink(parent_fd, link.path, entry)
        except OSError as error:
            raise self._explain(error, entry) from error
        self._links += 1

    def _dress_directory(self, directory: Directory) -> None:
        path = directory.path
        entry = self._implicit_entry(path) if directory.entry is None else replace(directory.entry, path=path)
        try:
            fd = self._fs.openat(self._parents.go(directory), b".", os.O_RDONLY | os.O_DIRECTORY)
            try:
                self._metadata.dress(fd, entry)
            finally:
                self._fs.close(fd)
        except OSError as error:
            raise self._explain(error, entry) from error

    def _prepare_root(self) -> None:
        try:
            fd = self._fs.openat(self._root_fd, b".", os.O_RDONLY | os.O_DIRECTORY)
            try:
                empty = next(self._fs.scan(fd), None) is None
                if empty:
                    self._clear_inherited(fd)
            finally:
                self._fs.close(fd)
        except OSError as error:
            raise translate(error, "preparing the directory of a staged tree") from error
        if not empty:
            raise Failed(
                "staging_not_empty",
                "The directory for a staged tree is not empty.",
                next_step="Nothing was written. Try again; a fresh directory is used each time.",
            )

    def _clear_inherited(self, fd: int) -> None:
        """Take away ACLs that came from the parent's default ACL, or everything below would inherit them too."""
        for name in ACL_ATTRIBUTES:
            try:
                self._fs.removexattr(fd, name)
            except OSError as error:
                if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
                    raise
        self._fs.fchmod(fd, 0o700)

    # --- words ---------------------------------------------------------------------------------------------------

    def leave_out(self, path: bytes, what: str) -> None:
        """Note what is not taken."""
        self._left_out += 1
        if len(self.not_taken) < _NAMED_NOT_TAKEN:
            self.not_taken.append(f"{display_path(path)} ({what})")

    def _explain(self, error: OSError, entry: Entry) -> HoldfastError:
        self.close()
        if error.errno == errno.EEXIST:
            return _duplicate(entry.path)
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            return InvalidInput(
                "archive_parent_not_directory",
                f"{display_path(entry.path)} lies below something that is no directory.",
                next_step="The archive is malformed or hostile; make a new one.",
                details={"path": display_path(entry.path)},
            )
        if error.errno in (errno.ENAMETOOLONG, errno.EILSEQ):
            return InvalidInput(
                "filesystem_refuses_name",
                f"The filesystem does not take the name {display_path(entry.path)}: {error.strerror}.",
                next_step="Rename it where it comes from, or use another filesystem.",
                details={"path": display_path(entry.path)},
            )
        return translate(error, f"writing {display_path(entry.path)}")


def _duplicate(path: bytes) -> InvalidInput:
    return InvalidInput(
        "archive_duplicate_entry",
        f"{display_path(path)} occurs more than once.",
        next_step="The archive is malformed or hostile; make a new one.",
        details={"path": display_path(path)},
    )
