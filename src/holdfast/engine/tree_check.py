"""Trees that lay where containers could write, compared with the snapshots that they came from.

Name by name and byte by byte, before anything is decided by them:

- Everything is opened below the tree's root, through no symlink and across no mount (I7); nothing is changed.
- What is there besides counts as a difference, too. In a displaced tree FIFOs, sockets and devices don't: no snapshot
  holds them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Final

from holdfast.domain.errors import Failed, Problem, Refused
from holdfast.domain.restore import TreeSide, VolumeFacts
from holdfast.engine.entries import Entry, EntryKind, display_path
from holdfast.engine.file_content import read_xattrs
from holdfast.engine.fs import Fs
from holdfast.engine.job import Job
from holdfast.engine.limits import Limits
from holdfast.engine.live import LiveRoots
from holdfast.engine.metadata import MetadataKeeper
from holdfast.engine.os_errors import translate
from holdfast.engine.snapshot_store import SnapshotStore
from holdfast.engine.staging import open_flushers, policy_of
from holdfast.engine.tree_writer import WritePolicy
from holdfast.engine.walk import WalkReport, walk_recognising
from holdfast.engine.wrapper_place import STAGED, opened_home, opened_wrapper, staged_path
from holdfast.engine.written_tree import open_steps

_PIECE: Final = 1 << 20
_TYPES: Final = {
    EntryKind.FILE: stat.S_IFREG,
    EntryKind.HARDLINK: stat.S_IFREG,
    EntryKind.DIRECTORY: stat.S_IFDIR,
    EntryKind.SYMLINK: stat.S_IFLNK,
}


class Differs(Exception):
    """A tree is not what it is compared with; ``str()`` says how."""

    def __init__(self, facts: VolumeFacts, how: str) -> None:
        super().__init__(how)
        self.facts = facts


def check_wrapped(
    fs: Fs,
    roots: LiveRoots,
    source: SnapshotStore,
    snapshot_id: str,
    volumes: Mapping[int, VolumeFacts],
    side: TreeSide,
    job: Job,
) -> None:
    """Compare what is in wrappers with a snapshot, and flush it: what is alike may have been written anew.

    Args:
        volumes: the volume's index in the snapshot → whose wrapper it is that holds it.
        side: NEW for staged trees and the snapshot that is restored; OLD for displaced ones and the safety snapshot.

    Raises:
        Refused: ``staged_tree_changed``.
        Failed: ``displaced_tree_changed``, ``parent_replaced``, ``wrapper_replaced``, or it can't be read.
        Damaged, NotFound, Cancelled: from the store.
    """
    policy = policy_of(source.manifest(snapshot_id), Limits.for_own_snapshots())
    with ExitStack() as opened:
        flushers = open_flushers(fs, roots, list(volumes.values()), opened)
        checks: dict[int, TreeCheck] = {}
        for index, facts in sorted(volumes.items()):
            like, fd = _open_wrapped(fs, roots, facts, side, opened)
            checks[index] = TreeCheck(fs, fd, like, facts, policy, special=side is TreeSide.OLD)
        try:
            source.stage(snapshot_id, checks, job)
            for check in checks.values():
                check.finish()
            for fd, _ in flushers.values():
                fs.syncfs(fd)
        except Differs as how:
            raise _changed(how.facts, side, str(how)) from how
        except OSError as error:
            raise translate(error, "comparing what waits in a wrapper") from error


class TreeCheck:
    """Compares one tree with the entries that it is told.

    Args:
        root_fd: the tree's root; stays the caller's.
        like: the live root, which its root was made like if the snapshot says nothing of it.
        facts: whose it is, for the telling.
        policy: what of the entries was taken when the tree was written.
        special: whether FIFOs, sockets and devices may be there besides.
    """

    def __init__(
        self, fs: Fs, root_fd: int, like: int, facts: VolumeFacts, policy: WritePolicy, *, special: bool
    ) -> None:
        self._fs, self._root_fd, self._like, self._facts = fs, root_fd, like, facts
        self._policy, self._special = policy, special
        self._keeper = MetadataKeeper(fs, privileged=policy.privileged, leave_out=lambda _path, _what: None)
        self._directories: set[bytes] = set()
        self._others = 0
        self._has_root = False

    def add(
        self, entry: Entry, data: Iterable[bytes | memoryview] = (), share: Callable[[int], bool] | None = None
    ) -> None:
        """Compare what stands at one entry's path.

        Raises:
            Differs: it is something else.
            OSError: it can't be read.
        """
        del share
        if entry.kind in (EntryKind.SYMLINK, EntryKind.HARDLINK) and not self._policy.links:
            return
        self._count(entry)
        self._has_root |= not entry.path
        try:
            fd = open_steps(self._fs, self._root_fd, entry.path or b".")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Differs(self._facts, f"{display_path(entry.path)} is not there") from error
        try:
            self._compare(fd, entry, data)
        finally:
            self._fs.close(fd)

    def finish(self) -> None:
        """See that nothing is there besides. Raises as :meth:`add`, and ``Failed``."""
        if not self._has_root and self._own_of(self._root_fd) != self._own_of(self._like):
            raise Differs(self._facts, "its root has not what the live one has")
        report = WalkReport()
        # What is in regular files was compared: they need not be opened to be counted.
        walked = walk_recognising(self._fs, self._root_fd, report, lambda _path, _facts: True)
        found = sum(1 for _ in walked) - 1
        if found != self._others + len(self._directories):
            raise Differs(self._facts, f"{found} names are in it where {self._others + len(self._directories)} belong")
        if report.skipped.count and not self._special:
            raise Differs(self._facts, f"{', '.join(map(str, report.skipped.told))} is in it besides")

    def _own_of(self, fd: int) -> tuple[object, ...]:
        """What a root that the snapshot says nothing of was given like the live one."""
        facts = self._fs.fstat(fd)
        return facts.st_mode, facts.st_uid, facts.st_gid, read_xattrs(self._fs, fd)

    def _count(self, entry: Entry) -> None:
        parent = entry.path.rpartition(b"/")[0]
        while parent and parent not in self._directories:
            self._directories.add(parent)
            parent = parent.rpartition(b"/")[0]
        if entry.kind is not EntryKind.DIRECTORY:
            self._others += 1
        elif entry.path:
            self._directories.add(entry.path)

    def _compare(self, fd: int, entry: Entry, data: Iterable[bytes | memoryview]) -> None:
        facts = self._fs.fstat(fd)
        if stat.S_IFMT(facts.st_mode) != _TYPES[entry.kind]:
            raise Differs(self._facts, f"{display_path(entry.path)} is no {entry.kind}")
        if entry.kind is EntryKind.HARDLINK:
            self._same_file(facts, entry)
            return
        wrong = self._keeper.differences(fd, facts, entry)
        if entry.kind is EntryKind.SYMLINK and self._fs.readlinkat(fd, b"") != entry.link_target:
            wrong.append("target")
        if wrong:
            raise Differs(self._facts, f"{display_path(entry.path)} has another {', '.join(wrong)}")
        if entry.kind is EntryKind.FILE:
            opened = self._fs.reopen(fd, os.O_RDONLY)
            try:
                self._same_content(opened, entry, data)
            finally:
                self._fs.close(opened)

    def _same_file(self, facts: os.stat_result, entry: Entry) -> None:
        fd = open_steps(self._fs, self._root_fd, entry.link_target)
        try:
            target = self._fs.fstat(fd)
        finally:
            self._fs.close(fd)
        if (facts.st_dev, facts.st_ino) != (target.st_dev, target.st_ino):
            other = display_path(entry.link_target)
            raise Differs(self._facts, f"{display_path(entry.path)} is no further name of {other}")

    def _same_content(self, fd: int, entry: Entry, data: Iterable[bytes | memoryview]) -> None:
        regions = iter(entry.extents if entry.extents is not None else ((0, entry.size),))
        position = end = 0
        for piece in data:
            rest = memoryview(piece)
            while rest:
                if position == end:
                    position, length = next(regions)
                    end = position + length
                part = rest[: end - position]
                if self._fs.pread(fd, len(part), position) != part:
                    raise Differs(self._facts, f"{display_path(entry.path)} has another content")
                position += len(part)
                rest = rest[len(part) :]
        for start, length in self._in_holes(fd, entry):
            while length:
                found = self._fs.pread(fd, min(length, _PIECE), start)
                if not found or any(found):
                    raise Differs(self._facts, f"{display_path(entry.path)} has another content")
                start, length = start + len(found), length - len(found)

    def _in_holes(self, fd: int, entry: Entry) -> Iterator[tuple[int, int]]:
        """Where the file has data and the entry has none."""
        if entry.extents is None:
            return
        expected = iter((*entry.extents, (entry.size, 0)))
        known, size = next(expected)
        for start, length in self._fs.extents(fd, entry.size):
            position, end = start, start + length
            while position < end:
                if known > position:
                    yield position, min(known, end) - position
                position = max(position, min(known + size, end))
                if known + size <= position < entry.size:
                    known, size = next(expected)
                elif known >= end:
                    break


def _open_wrapped(fs: Fs, roots: LiveRoots, facts: VolumeFacts, side: TreeSide, opened: ExitStack) -> tuple[int, int]:
    """The live root, and the root of what waits in the wrapper."""
    try:
        home = opened.enter_context(opened_home(fs, roots, facts))
        wrapper = opened.enter_context(opened_wrapper(fs, home, facts))
        fd = fs.open_beneath(wrapper, STAGED, os.O_RDONLY | os.O_DIRECTORY, no_xdev=True)
        opened.callback(fs.close, fd)
        if fs.identity(fd) != facts.staged_identity:
            raise _changed(facts, side, "it is another directory")
    except OSError as error:
        raise translate(error, f"opening {staged_path(facts)}") from error
    return home, fd


def _changed(facts: VolumeFacts, side: TreeSide, how: str) -> Refused | Failed:
    where = staged_path(facts)
    details: dict[str, object] = {"path": where, "target": facts.target}
    lies = "It lies in a volume that is a mount point, where containers can get at it."
    if side is TreeSide.NEW:
        return Refused(
            [
                Problem(
                    code="staged_tree_changed",
                    message=f"What was staged in {where} is not what the snapshot holds: {how}. {lies} Nothing was "
                    "exchanged.",
                    next_step="Find out which container writes to .holdfast- directories, then restore again.",
                    details=details,
                )
            ]
        )
    return Failed(
        "displaced_tree_changed",
        f"The data from before the restore waits in {where}, and is not what the safety snapshot holds: {how}. {lies}",
        next_step="Keep the restored data, then return to the safety snapshot with `holdfast undo`, which is whole.",
        details=details,
    )
