"""Builds the staged trees of a restore beside the live ones, whole, verified and flushed, or not at all.

Nothing live is touched (I1): of a live directory only its owner, mode and no-copy-on-write flag are read. Each
filesystem is flushed once, by a descriptor that was opened before the first write to it, and believed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final, Protocol

from holdfast.domain.errors import Failed, HoldfastError
from holdfast.domain.restore import Identity, LiveBefore, VolumeFacts
from holdfast.domain.snapshot import SnapshotManifest
from holdfast.engine.entries import Entry, EntryKind
from holdfast.engine.file_content import read_xattrs
from holdfast.engine.fs import FLAG_NO_COW, Fs
from holdfast.engine.job import Job
from holdfast.engine.limits import Limits, Tally
from holdfast.engine.live import LiveRoots
from holdfast.engine.metadata import MetadataKeeper
from holdfast.engine.missing import remove_parents
from holdfast.engine.os_errors import is_full, translate
from holdfast.engine.step_swap import require_listable
from holdfast.engine.swap import make_wrapper, remove_wrapper
from holdfast.engine.tree_writer import TreeWriter, WritePolicy, Written
from holdfast.engine.wrapper_place import opened_home, opened_parent, opened_wrapper, staged_path, wrapper_path

_MODE_OF_A_MISSING_ROOT: Final = 0o755
"""Where neither the snapshot nor a live directory says what mode the root of a tree has; it belongs to root then."""
LEFT_BEHIND: Final = "left_behind"
"""Key in an error's ``details``: the wrappers that could not be removed after it, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """What was staged: by volume index the identity of each staged tree, and what it consists of.

    Attributes:
        parents: the identities of directories that hold staged trees, of those that were missing.
        wrappers: the identities of wrappers that lie in their volumes.
    """

    identities: dict[int, Identity]
    written: dict[int, Written]
    parents: dict[int, Identity] = field(default_factory=dict)
    wrappers: dict[int, Identity] = field(default_factory=dict)


class TreeSource(Protocol):
    """Where the trees come from; every snapshot store is one."""

    def manifest(self, snapshot_id: str) -> SnapshotManifest:
        """The authenticated manifest of what is staged."""

    def stage(self, snapshot_id: str, writers: Mapping[int, TreeWriter], job: Job) -> None:
        """Write the trees, every byte verified, without finishing the writers."""


def stage(
    fs: Fs,
    roots: LiveRoots,
    store: TreeSource,
    snapshot_id: str,
    volumes: Sequence[VolumeFacts],
    limits: Limits,
    job: Job,
) -> StageResult:
    """Write the trees of ``volumes`` from the snapshot into new wrappers, with their final metadata, and flush them.

    Links, setuid bits and ``security.*`` attributes come from Holdfast's own snapshots only; links also from an import
    whose caller allowed them. A root without an entry in the snapshot gets the live root's metadata. Where the
    live directory is missing, the directories above it are made if need be.

    Raises:
        Failed: ``wrapper_exists``, ``parent_replaced``, ``staging_not_flushed``, ``metadata_not_kept`` and others.
        Damaged, NoSpace, TooLarge, InvalidInput, NotFound, Refused, Cancelled: from the store, the writers and the
            live roots. After any of them the wrappers made here are gone, but for those that ``details["left_behind"]``
            names.
    """
    manifest = store.manifest(snapshot_id)
    with _Cleanup(fs, roots) as cleanup, ExitStack() as opened:
        for facts in volumes:
            if facts.missing_parents:
                cleanup.parents.append(facts)
                roots.create_parents(facts.live)
        flushers = open_flushers(fs, roots, volumes, opened)
        staged: dict[int, int] = {}
        for facts in volumes:
            staged[facts.index] = make_wrapper(fs, roots, facts)
            cleanup.made.append(facts)
            opened.callback(fs.close, staged[facts.index])
        tally = Tally(limits)
        policy = policy_of(manifest, limits)
        writers: dict[int, _StagedTree] = {}
        for facts in volumes:
            root = _like_live(fs, roots, facts, staged[facts.index])
            writers[facts.index] = _StagedTree(fs, staged[facts.index], policy, tally, root)
            opened.callback(writers[facts.index].close)
        store.stage(snapshot_id, writers, job)
        written = {index: writer.finish() for index, writer in writers.items()}
        for facts in volumes:
            if facts.way.inside:
                require_listable(fs, roots, facts, staged[facts.index])
        job.check()
        flush(fs, flushers)
        identities = {facts.index: _identity(fs, facts, staged[facts.index]) for facts in volumes}
        parents = {facts.index: _parent(fs, roots, facts) for facts in volumes if facts.parent_identity is None}
        wrappers = {facts.index: _wrapper(fs, roots, facts) for facts in volumes if facts.way.inside}
    return StageResult(identities=identities, written=written, parents=parents, wrappers=wrappers)


class _StagedTree(TreeWriter):
    """A writer that knows what to do for a root that the snapshot has no entry of.

    Args:
        root: what the live root is. Nothing of it comes from the archive, so that all of it is taken, privileges too.
    """

    def __init__(self, fs: Fs, root_fd: int, policy: WritePolicy, tally: Tally, root: Entry) -> None:
        super().__init__(fs, root_fd, policy, tally)
        self._root: Entry | None = root
        self._keeper = MetadataKeeper(fs, privileged=True, leave_out=self.leave_out)

    def add(
        self, entry: Entry, data: Iterable[bytes | memoryview] = (), share: Callable[[int], bool] | None = None
    ) -> None:
        if not entry.path:
            self._root = None
        super().add(entry, data, share)

    def finish(self) -> Written:
        written = super().finish()
        if self._root is not None:
            self._dress_like_live(self._root)
        return written

    def _dress_like_live(self, root: Entry) -> None:
        try:
            fd = self._fs.openat(self._root_fd, b".", os.O_RDONLY | os.O_DIRECTORY)
            try:
                self._keeper.dress(fd, root)
            finally:
                self._fs.close(fd)
        except OSError as error:
            raise translate(error, "preparing the root of a staged tree like the live one") from error


class _Cleanup:
    """Removes the wrappers it is told of if the block fails, and reports what it can't without hiding the failure."""

    def __init__(self, fs: Fs, roots: LiveRoots) -> None:
        self._fs = fs
        self._roots = roots
        self.made: list[VolumeFacts] = []
        self.parents: list[VolumeFacts] = []

    def __enter__(self) -> _Cleanup:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            return
        left: list[str] = []
        for facts in self.made:
            try:
                remove_wrapper(self._fs, self._roots, facts)
            except HoldfastError as also:
                left.append(f"{wrapper_path(facts)}: {also.message}")
        for facts in self.parents:
            try:
                remove_parents(self._fs, self._roots, facts)
            except HoldfastError as also:
                left.append(also.message)
        if left:
            error.add_note(f"Left behind: {'; '.join(left)}")
            if isinstance(error, HoldfastError):
                error.details[LEFT_BEHIND] = left


def policy_of(manifest: SnapshotManifest, limits: Limits) -> WritePolicy:
    """What is taken of a snapshot."""
    return WritePolicy(links=manifest.own or manifest.allow_links, privileged=manifest.own, limits=limits)


def open_flushers(
    fs: Fs, roots: LiveRoots, volumes: Sequence[VolumeFacts], opened: ExitStack
) -> Mapping[int, tuple[int, VolumeFacts]]:
    """One descriptor for each filesystem (by ``st_dev``) that is written to, with the first volume on it."""
    flushers: dict[int, tuple[int, VolumeFacts]] = {}
    for facts in volumes:
        fd = roots.open(facts.live) if facts.way.inside else roots.open_parent(facts.live)[0]
        opened.callback(fs.close, fd)
        try:
            flushers.setdefault(fs.fstat(fd).st_dev, (fd, facts))
        except OSError as error:
            raise translate(error, f"looking at the directory that holds {wrapper_path(facts)}") from error
    return flushers


def _like_live(fs: Fs, roots: LiveRoots, facts: VolumeFacts, staged: int) -> Entry:
    """Take over the live root's no-copy-on-write flag, which files inherit when they are made; describe the root."""
    missing = facts.before is LiveBefore.MISSING
    live = fs.duplicate(staged) if missing else roots.open(facts.live)
    try:
        if fs.flags(live) & FLAG_NO_COW:
            fs.set_flags(staged, fs.flags(staged) | FLAG_NO_COW)
        seen = fs.fstat(live)
        xattrs = () if missing else read_xattrs(fs, live)
    except OSError as error:
        raise translate(error, f"preparing {staged_path(facts)} like {facts.live.path}") from error
    finally:
        fs.close(live)
    return Entry(
        path=b"",
        kind=EntryKind.DIRECTORY,
        mode=_MODE_OF_A_MISSING_ROOT if missing else stat.S_IMODE(seen.st_mode),
        uid=seen.st_uid,
        gid=seen.st_gid,
        mtime_ns=seen.st_mtime_ns,
        xattrs=xattrs,
    )


def flush(fs: Fs, flushers: Mapping[int, tuple[int, VolumeFacts]]) -> None:
    """Make durable what was written since the descriptors were opened. Raises ``Failed``, ``NoSpace``."""
    for fd, facts in flushers.values():
        try:
            fs.syncfs(fd)
        except OSError as error:
            if is_full(error):
                raise translate(error, f"flushing {wrapper_path(facts)}") from error
            raise Failed(
                "staging_not_flushed",
                f"What was staged in {wrapper_path(facts)} could not be made durable: {error.strerror}. "
                "Nothing was replaced.",
                next_step="Look at the disk (kernel log, free space) before you trust it, then restore again.",
                details={"path": wrapper_path(facts)},
            ) from error


def _parent(fs: Fs, roots: LiveRoots, facts: VolumeFacts) -> Identity:
    """The directory that was made to hold live and wrapper."""
    with opened_parent(fs, roots, facts) as place:
        try:
            return fs.identity(place.fd)
        except OSError as error:
            raise translate(error, f"looking at the directory that holds {facts.live.path}") from error


def _wrapper(fs: Fs, roots: LiveRoots, facts: VolumeFacts) -> Identity:
    """The wrapper itself, which a container could put another directory in the place of."""
    try:
        with opened_home(fs, roots, facts) as home, opened_wrapper(fs, home, facts) as wrapper:
            return fs.identity(wrapper)
    except OSError as error:
        raise translate(error, f"looking at {wrapper_path(facts)}") from error


def _identity(fs: Fs, facts: VolumeFacts, staged: int) -> Identity:
    try:
        return fs.identity(staged)
    except OSError as error:
        raise translate(error, f"asking for the identity of {staged_path(facts)}") from error
