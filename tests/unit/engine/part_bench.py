"""A volume of which only chosen paths are restored: staged, caught up, and compared with what it has to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.domain import times
from holdfast.domain.chosen_paths import ChosenPaths
from holdfast.domain.ids import new_id
from holdfast.domain.restore import VolumeFacts
from holdfast.domain.snapshot import CapturedVolume, Consistency, SnapshotManifest, SnapshotReason
from holdfast.domain.workload import Scope
from holdfast.engine.fs import Fs
from holdfast.engine.job import Job, QuietJob
from holdfast.engine.limits import Limits
from holdfast.engine.live import LiveRoots
from holdfast.engine.part_staging import (
    CaughtUp,
    PartLook,
    PartSource,
    PartsStaged,
    catch_up,
    look_at_part,
    stage_parts,
)
from holdfast.engine.repository.manifests import VolumeTree
from holdfast.engine.repository.parts import Part
from holdfast.engine.repository.repository import Repository
from holdfast.engine.repository.store import RepositoryStore
from holdfast.engine.snapshot_store import CaptureSource
from holdfast.engine.staging import stage
from holdfast.engine.swap import remove_wrapper
from holdfast.testing.live_volumes import live_tree, live_volume, staged_tree
from holdfast.testing.stores import INSTALLATION
from holdfast.testing.trees import TreeDescription

KEY = bytes(range(32))
WORKLOAD = new_id()
TOUCHED_NS = 1_700_000_000_000_000_000


class PartBench:
    """One volume beside a repository. Close it."""

    def __init__(self, base: Path, fs: Fs | None = None, *, encrypt: bool = False) -> None:
        self.fs = fs or Fs()
        (base / "volumes").mkdir()
        self.roots = LiveRoots(self.fs, [str(base / "volumes")])
        self.facts: VolumeFacts = live_volume(base / "volumes")
        self.live = live_tree(self.facts)
        (self.live / "which").unlink()
        self.repository = Repository.open_local(self.fs, base / "store", KEY, owner=INSTALLATION, encrypt=encrypt)
        self.store = RepositoryStore(self.fs, self.repository, self.roots, KEY)
        self.known: tuple[VolumeTree, ...] = ()

    def close(self) -> None:
        self.repository.close()
        self.roots.close()

    @property
    def staged(self) -> Path:
        return staged_tree(self.facts)

    def capture(self) -> str:
        """Take a snapshot of what is live. Returns its id."""
        source = CaptureSource(index=0, live=self.facts.live, expected=self.facts.live_identity)
        volume = CapturedVolume(index=0, target=self.facts.target, scope=Scope.STAGE, source="data")
        draft = SnapshotManifest(
            id=new_id(),
            workload_id=WORKLOAD,
            workload_name="notes",
            created_at=times.now(),
            reason=SnapshotReason.SAFETY,
            consistency=Consistency.STOPPED,
            volumes=(volume,),
        )
        return self.store.capture(draft, [source], QuietJob()).id

    def look(self, snapshot_id: str, *paths: bytes) -> PartLook:
        part = Part(index=0, paths=ChosenPaths(paths).paths)
        return look_at_part(self.fs, self.roots, self.store.parts, snapshot_id, part, self.facts.live, QuietJob())

    def stage(self, snapshot_id: str, *paths: bytes, job: Job | None = None) -> PartsStaged:
        """Stage the chosen paths, and the rest as it is live now."""
        self.parts = (Part(index=0, paths=ChosenPaths(paths).paths),)
        self.snapshot_id = snapshot_id
        staged = stage_parts(
            self.fs,
            self.roots,
            self.store,
            snapshot_id,
            WORKLOAD,
            [self.facts],
            self.parts,
            TOUCHED_NS,
            job or QuietJob(),
        )
        self.known = staged.live
        self.facts = replace(self.facts, staged_identity=staged.result.identities[0])
        return staged

    def restage(self, live: tuple[VolumeTree, ...]) -> None:
        """Stage once more what was staged before, with the rest as it was found to be then."""
        remove_wrapper(self.fs, self.roots, self.facts)
        source = PartSource(self.fs, self.roots, self.store, [self.facts], self.parts, live, TOUCHED_NS)
        made = stage(
            self.fs, self.roots, source, self.snapshot_id, [self.facts], Limits.for_own_snapshots(), QuietJob()
        )
        self.known = live
        self.facts = replace(self.facts, staged_identity=made.identities[0])

    def catch_up(self, stopped_as: str | None = None, job: Job | None = None) -> CaughtUp:
        """Bring the rest up to what is live, or to the safety snapshot."""
        caught_up = catch_up(
            self.fs,
            self.roots,
            self.store,
            self.snapshot_id,
            WORKLOAD,
            [self.facts],
            self.parts,
            self.known,
            TOUCHED_NS,
            stopped_as,
            job or QuietJob(),
        )
        self.known = caught_up.live
        return caught_up


def expected(snapshot: TreeDescription, live: TreeDescription, chosen: Sequence[bytes]) -> TreeDescription:
    """What a restore of chosen paths has to make of a live tree; told from descriptions alone."""

    def is_chosen(path: bytes) -> bool:
        return any(path == each or not each or path.startswith(each + b"/") for each in chosen)

    found = {path: facts for path, facts in live.items() if not is_chosen(path)}
    regroup(found)
    inside = {path: facts for path, facts in snapshot.items() if is_chosen(path)}
    regroup(inside)
    for path in ChosenPaths(chosen).paths:
        for above in _above(path):
            found.setdefault(above, snapshot[above])
        parent = path.rpartition(b"/")[0]
        if path and parent in live and not is_chosen(parent):
            kind, mode, uid, gid, _, *more = found[parent]
            found[parent] = (kind, mode, uid, gid, TOUCHED_NS, *more)
    return {**found, **inside}


def blocked(live: TreeDescription, chosen: Sequence[bytes]) -> bool:
    """Whether something else is live where a directory must lead to a chosen path."""
    return any(
        above in live and live[above][0] != "directory" for path in ChosenPaths(chosen).paths for above in _above(path)
    )


def regroup(part: TreeDescription) -> None:
    """Let names be hardlinks of each other only within the part."""
    groups: dict[object, list[bytes]] = {}
    for path, facts in part.items():
        if facts[0] == "file" and facts[-1] is not None:
            groups.setdefault(facts[-1], []).append(path)
    for paths in groups.values():
        for path in paths:
            part[path] = (*part[path][:-1], min(paths) if len(paths) > 1 else None)


def _above(path: bytes) -> list[bytes]:
    parts = path.split(b"/")
    return [b"/".join(parts[:count]) for count in range(1, len(parts))]
