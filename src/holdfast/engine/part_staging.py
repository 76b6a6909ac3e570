"""Stages volumes of which only chosen paths come from the snapshot, and brings the rest up to a later moment.

Nothing live is touched (I1), and of it nothing is read but by captures and to find FIFOs, sockets and devices. Whatever
fails leaves the staged tree to be thrown away; that is the caller's, who aborts the restore.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final

from holdfast.domain.chosen_paths import ChosenPaths
from holdfast.domain.errors import Failed, Problem, Refused
from holdfast.domain.restore import RootRef, VolumeFacts
from holdfast.domain.snapshot import SnapshotManifest
from holdfast.domain.told import Told, told
from holdfast.engine.entries import EntryKind, display_path
from holdfast.engine.fs import Fs
from holdfast.engine.job import Job
from holdfast.engine.limits import Limits
from holdfast.engine.live import LiveRoots
from holdfast.engine.live_clone import WORTH_BYTES, LiveClones, Share, can_clone
from holdfast.engine.os_errors import translate
from holdfast.engine.repository.manifests import VolumeTree
from holdfast.engine.repository.part_trees import parent_not_directory
from holdfast.engine.repository.parts import Part, Parts
from holdfast.engine.repository.recognition import MARGIN_NS
from holdfast.engine.repository.store import RepositoryStore
from holdfast.engine.repository.tree import TreeEntry
from holdfast.engine.snapshot_store import CaptureSource
from holdfast.engine.special_files import SpecialFile, special_files
from holdfast.engine.staging import StageResult, flush, open_flushers, stage
from holdfast.engine.tree_editor import TreeEditor
from holdfast.engine.tree_writer import TreeWriter
from holdfast.engine.walk import Names, WalkReport, walk
from holdfast.engine.wrapper_place import STAGED, opened_parent, opened_wrapper, staged_path

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY


@dataclass(frozen=True, slots=True, kw_only=True)
class PartLook:
    """What was found of one volume before anything is touched.

    Attributes:
        live_bytes: what capturing all that is live may store.
        chosen_bytes, chosen_inodes: what is chosen in the snapshot.
        staged_bytes, staged_inodes: what the staged tree will hold, the rest included.
        problems: why it can't be done.
        warnings: what a person should know.
    """

    live_bytes: int
    chosen_bytes: int
    chosen_inodes: int
    staged_bytes: int
    staged_inodes: int
    problems: tuple[Problem, ...]
    warnings: tuple[Told, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsStaged:
    """What was staged, and what the rest of each volume is: its live tree as it was captured for that."""

    result: StageResult
    live: tuple[VolumeTree, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaughtUp:
    """What the rest of each staged tree is now.

    Attributes:
        changed: how many paths were other than before.
        again: whether catching up once more, while the workload runs, could make the last time any shorter.
    """

    live: tuple[VolumeTree, ...]
    changed: int
    again: bool


def look_at_part(
    fs: Fs, roots: LiveRoots, parts: Parts, snapshot_id: str, part: Part, live: RootRef, job: Job
) -> PartLook:
    """See whether chosen paths of a volume can be restored, and how much that takes.

    Raises:
        NotFound, Damaged: from the repository.
        Refused, Failed: the live directory can't be read.
        Cancelled: as asked.
    """
    chosen = part.chosen
    size = parts.size(snapshot_id, part, job)
    split = size.split
    blocked: list[bytes] = []
    live_bytes = rest_bytes = rest_inodes = 0
    above = frozenset(chosen.above)
    settled_before = _shared_if_before(fs, roots, live)
    fd = roots.open(live)
    try:
        for walked in walk(fs, fd, WalkReport(), leave_out=roots.not_of_volume(live)):
            job.check()
            entry = walked.entry
            inside = chosen.covers(entry.path)
            live_bytes += entry.data_bytes + len(entry.path) + 1024
            if not inside:
                if entry.data_bytes < WORTH_BYTES or walked.stat.st_ctime_ns >= settled_before:
                    rest_bytes += entry.data_bytes
                rest_inodes += 1
            if entry.path in above and entry.kind is not EntryKind.DIRECTORY:
                blocked.append(entry.path)
            if entry.kind is EntryKind.HARDLINK and inside is not chosen.covers(entry.link_target):
                split.add(entry.path)
        special = special_files(fs, fd, chosen.covers, job.check)
    finally:
        fs.close(fd)
    return PartLook(
        live_bytes=live_bytes,
        chosen_bytes=size.bytes,
        chosen_inodes=size.inodes,
        staged_bytes=rest_bytes + size.bytes,
        staged_inodes=rest_inodes + size.inodes + len(special) + len(chosen.above),
        problems=(*map(parent_not_directory, blocked), *_in_the_way(special, chosen)),
        warnings=_split_warning(split),
    )


def _shared_if_before(fs: Fs, roots: LiveRoots, live: RootRef) -> int:
    """Large files that nobody has written to since then take no more room in the staged tree."""
    parent, _ = roots.open_parent(live)
    try:
        return time.time_ns() - MARGIN_NS if can_clone(fs, parent) else 0
    finally:
        fs.close(parent)


def stage_parts(
    fs: Fs,
    roots: LiveRoots,
    store: RepositoryStore,
    snapshot_id: str,
    workload_id: str,
    volumes: Sequence[VolumeFacts],
    parts: Sequence[Part],
    touched_ns: int,
    job: Job,
) -> PartsStaged:
    """Capture what is live, then stage the chosen paths from the snapshot and all else from that capture, flushed.

    Args:
        parts: one for each volume, in the same order.
        touched_ns: the modification time for live directories in which a chosen path lies.

    Raises:
        HoldfastError: as :func:`holdfast.engine.staging.stage`, and what capturing raises.
        Refused: ``path_parent_not_directory``.
    """
    _, live = store.parts.read_ahead(workload_id, _sources(volumes), job)
    source = PartSource(fs, roots, store, volumes, parts, live, touched_ns)
    result = stage(fs, roots, source, snapshot_id, volumes, Limits.for_own_snapshots(), job)
    return PartsStaged(result=result, live=live)


def catch_up(
    fs: Fs,
    roots: LiveRoots,
    store: RepositoryStore,
    snapshot_id: str,
    workload_id: str,
    volumes: Sequence[VolumeFacts],
    parts: Sequence[Part],
    staged: Sequence[VolumeTree],
    touched_ns: int,
    stopped_as: str | None,
    job: Job,
) -> CaughtUp:
    """Bring the rest of the staged trees up to what is live, and flush them.

    Args:
        staged: what the rest was when it was staged or caught up last.
        stopped_as: the safety snapshot, which holds what is live now that nobody writes; ``None`` while the workload
            runs: then it is captured once more.

    Raises:
        Failed: ``staged_tree_moved``, ``staged_rest_unknown``, ``staging_not_flushed`` and others.
        Refused: ``path_parent_not_directory``, ``device_in_volume``.
        Damaged, NoSpace, Cancelled: as for staging.
    """
    again = False
    if stopped_as is None:
        found, live = store.parts.read_ahead(workload_id, _sources(volumes), job)
        again = found.useful
    else:
        live = store.parts.trees(stopped_as)
    changed = 0
    with ExitStack() as opened:
        flushers = open_flushers(fs, roots, volumes, opened)
        for facts, part, before, now in zip(volumes, parts, staged, live, strict=True):
            special = _special_of(fs, roots, facts, part.chosen, job) if stopped_as is not None else ()
            tree = _open_staged(fs, roots, facts, opened)
            editor = TreeEditor(fs, tree, lambda _count: job.check())
            changed += store.parts.catch_up(snapshot_id, part, before, now, editor, touched_ns, job, special=special)
        flush(fs, flushers)
    return CaughtUp(live=live, changed=changed, again=again)


class PartSource:
    """A snapshot of which only parts are taken, and live trees for the rest, as a source of staged trees."""

    def __init__(
        self,
        fs: Fs,
        roots: LiveRoots,
        store: RepositoryStore,
        volumes: Sequence[VolumeFacts],
        parts: Sequence[Part],
        live: Sequence[VolumeTree],
        touched_ns: int,
    ) -> None:
        self._fs, self._roots, self._store, self._volumes = fs, roots, store, volumes
        self._parts, self._live, self._touched_ns = parts, live, touched_ns

    def manifest(self, snapshot_id: str) -> SnapshotManifest:
        """As Holdfast's own: the rest is; what is taken of a snapshot that is not, :meth:`Parts.write` decides."""
        return replace(self._store.manifest(snapshot_id), own=True)

    def stage(self, snapshot_id: str, writers: Mapping[int, TreeWriter], job: Job) -> None:
        """Write both parts."""
        with ExitStack() as opened:
            shares = {}
            for facts, part, captured in zip(self._volumes, self._parts, self._live, strict=True):
                fd = self._roots.open(facts.live)
                opened.callback(self._fs.close, fd)
                shares[part.index] = _clones(self._fs, fd, captured, facts)
            self._store.parts.write(snapshot_id, self._parts, self._live, writers, shares, self._touched_ns, job)


def _clones(fs: Fs, live: int, captured: VolumeTree, facts: VolumeFacts) -> Callable[[TreeEntry], Share | None]:
    try:
        return LiveClones(fs, live, captured).of
    except OSError as error:
        raise translate(error, f"looking at {facts.live.path}") from error


def _sources(volumes: Sequence[VolumeFacts]) -> tuple[CaptureSource, ...]:
    return tuple(
        CaptureSource(index=number, live=facts.live, expected=facts.live_identity)
        for number, facts in enumerate(volumes)
    )


def _open_staged(fs: Fs, roots: LiveRoots, facts: VolumeFacts, opened: ExitStack) -> int:
    """The staged tree, which has to be the one that the journal names."""
    try:
        with opened_parent(fs, roots, facts) as place, opened_wrapper(fs, place.fd, facts) as wrapper:
            fd = fs.open_beneath(wrapper, STAGED, _DIRECTORY, no_xdev=True)
            opened.callback(fs.close, fd)
            found = fs.identity(fd)
    except OSError as error:
        raise translate(error, f"opening {staged_path(facts)}") from error
    if found != facts.staged_identity:
        raise Failed(
            "staged_tree_moved",
            f"{staged_path(facts)} is not the directory that was staged.",
            next_step="Find out who moves directories there. Nothing was exchanged; start the restore again.",
            details={"path": staged_path(facts)},
        )
    return fd


def _special_of(fs: Fs, roots: LiveRoots, facts: VolumeFacts, chosen: ChosenPaths, job: Job) -> Sequence[SpecialFile]:
    fd = roots.open(facts.live)
    try:
        found = special_files(fs, fd, chosen.covers, job.check)
    finally:
        fs.close(fd)
    if problems := _in_the_way(found, chosen):
        raise Refused(problems)
    return found


def _in_the_way(found: Sequence[SpecialFile], chosen: ChosenPaths) -> list[Problem]:
    """What forbids a restore of chosen paths among FIFOs, sockets and devices."""
    above = frozenset(chosen.above)
    return [parent_not_directory(each.path) for each in found if each.path in above and not each.is_device] + [
        Problem(
            code="device_in_volume",
            message=f"{display_path(each.path)[:1000]} is a device, which Holdfast does not make anew. A restore of "
            "chosen paths keeps all else as it is, so it can't be done beside a device.",
            next_step="Remove it, or restore the whole volume, which leaves devices out.",
            details={"path": display_path(each.path)[:1000]},
        )
        for each in found
        if each.is_device
    ]


def _split_warning(split: Names) -> tuple[Told, ...]:
    if not split.count:
        return ()
    warning = told(
        "hardlinks_split",
        "{count} × a hardlink between a chosen path and one that is not, which becomes a file of its own: {names}",
        count=split.count,
        names=split.told,
    )
    return (warning,)
