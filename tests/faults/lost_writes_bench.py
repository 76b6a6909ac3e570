"""Power cuts on a model of a disk: what a server did is recorded, and every state that a cut may leave is recovered.

What is recovered are real files, with the product's own recovery: the model says which files there are, and what is in
them. The database is taken for durable as soon as it says so.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from tests.faults.crash_scenarios import RunningWorkload

from holdfast.bootstrap import Seams
from holdfast.bootstrap.data_directory import store_settings_of
from holdfast.config import Settings
from holdfast.domain.errors import HoldfastError
from holdfast.domain.recovery import Direction
from holdfast.domain.restore import RecordType, RestoreFacts, TreeSide, VolumeFacts
from holdfast.domain.restore_records import DoneRecord, Record, SafeRecord
from holdfast.engine.fs import Fs
from holdfast.engine.holds import HoldFiles
from holdfast.engine.job import QuietJob
from holdfast.engine.journal import Journal, journals, read_journal
from holdfast.engine.live import LiveRoots
from holdfast.engine.missing import remove_empty, remove_parents
from holdfast.engine.probes import remove_left_directories
from holdfast.engine.stores import open_stores
from holdfast.engine.swap import observe, remove_wrapper
from holdfast.services.restore_files import RestoreFiles
from holdfast.services.restore_registry import RestoreRegistry
from holdfast.services.swap_recovery import SwapRecovery
from holdfast.store.workloads import WorkloadStore
from holdfast.testing.crash import QuickClock
from holdfast.testing.lossy_disk import LossyDisk, Passed, State, Step
from holdfast.testing.quick_workers import QuickWorkers
from holdfast.testing.recording_fs import Careless, RecordingFs
from holdfast.testing.trees import TreeDescription, describe_tree, wrappers_below

SEED = 4
_BACK = frozenset({RecordType.ABORTED, RecordType.BACKWARD, RecordType.REVERTED})
_FORTH = frozenset({RecordType.COMMIT, RecordType.SWAPPED, RecordType.TRIAL, RecordType.CONFIRMED})
_VOLUMES = slice(0, 2)
_STORE = slice(2, 5)


class LostWriteError(AssertionError):
    """A power cut at some point leaves what must not be."""


def roots_of(settings: Settings) -> tuple[Path, ...]:
    """The directories whose loss would matter, each taken for a filesystem of its own."""
    return (
        settings.volumes_base,
        settings.journal_dir,
        settings.holds_dir,
        settings.keys_dir,
        settings.repository_dir,
    )


def recording_seams(fs: RecordingFs) -> Seams:
    """Seams of a server that records what it does, and when its journal said what."""

    class RecordedFiles(RestoreFiles):
        async def begin(self, facts: RestoreFacts) -> Journal:
            fs.passed("begin STAGING")
            journal = await super().begin(facts)
            fs.passed("wrote STAGING")
            return journal

        async def append(self, to: Journal, record: Record) -> None:
            await super().append(to, record)
            fs.passed(f"wrote {record.type}")

    return Seams(fs=fs, clock=QuickClock(), files=RecordedFiles, workers=partial(QuickWorkers, fs=fs))


class _Recovering(RestoreFiles):
    """A restore's files, whose wrappers are removed without a worker, and whose records are noted."""

    async def append(self, to: Journal, record: Record) -> None:
        await super().append(to, record)
        assert isinstance(self.fs, RecordingFs)
        self.fs.passed(f"wrote {record.type}")

    async def reap(self, volumes: Sequence[VolumeFacts]) -> None:
        for facts in volumes:
            remove_empty(self.fs, self.roots, facts)
            remove_wrapper(self.fs, self.roots, facts)
            remove_parents(self.fs, self.roots, facts)


class _Nobody:
    """No workload is known: only a journal that can't be read asks who they are."""

    async def list(self) -> list[object]:
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was found of a restore after a power cut, and what recovery made of it.

    Attributes:
        written: the records of the journal that was found; ``None`` if there was none, or not a whole record in it.
        before, after: on which sides the volumes were found, and were left.
        trouble: what recovery could not do.
    """

    written: tuple[Record, ...] | None
    before: tuple[str, ...]
    after: tuple[str, ...]
    trouble: str = ""

    @property
    def types(self) -> frozenset[RecordType]:
        return frozenset(record.type for record in self.written or ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What was found of the snapshots after a power cut: those that are whole, and what else was found."""

    whole: frozenset[str]
    trouble: str = ""


@dataclass(kw_only=True)
class LossyBench:
    """Recovers one disk after the other.

    Attributes:
        limit: states that are looked at for each point; where there are more, so many of them at random.
        recoveries_cut: whether the power fails everywhere in recovery, too, once for each kind of it.
        cuts: power cuts, each with a point and a state; those that were told apart are ``states``.
        sampled: points at which there are more states than were looked at.
    """

    settings: Settings
    installation: str
    fs: RecordingFs
    volumes: tuple[Path, ...]
    old: tuple[TreeDescription, ...] = field(repr=False)
    new: tuple[TreeDescription, ...] = field(repr=False)
    limit: int
    recoveries_cut: bool = False
    points: int = 0
    cuts: int = 0
    sampled: int = 0
    _kinds: set[tuple[object, ...]] = field(default_factory=set, repr=False)
    _restored: dict[State, Restored] = field(default_factory=dict, repr=False)
    _stored: dict[State, Stored] = field(default_factory=dict, repr=False)

    @property
    def states(self) -> int:
        return len(self._restored) + len(self._stored)

    def cut_everywhere(self) -> None:
        """Have the power fail before the first step that was recorded, and after each of them.

        Raises:
            LostWriteError: there is a state from which recovery does not keep the promise.
        """
        self._cut_everywhere(self.fs.disk(), tuple(self.fs.steps), (), self._look)

    def _cut_everywhere(
        self,
        disk: LossyDisk,
        steps: Sequence[Step],
        before: Sequence[str],
        look: Callable[[State, Sequence[str]], object],
    ) -> None:
        dice = random.Random(SEED)
        passed = list(before)
        for number, step in enumerate((Passed("power on"), *steps)):
            if isinstance(step, Passed):
                passed.append(step.what)
            else:
                disk.do(step)
            self.points += 1
            for state in disk.states(self.limit, dice):
                self.cuts += 1
                try:
                    look(state, passed)
                except LostWriteError as error:
                    error.add_note(f"after step {number} of {len(steps)}, {type(step).__name__}, and {passed[-1]}")
                    raise
            self.sampled += not disk.exhaustive

    def _look(self, state: State, passed: Sequence[str]) -> None:
        """Recover a state, and see that all is as it must be."""
        volumes, store = state[_VOLUMES], state[_STORE]
        if store not in self._stored:
            self._stored[store] = self._read(store)
        restored, stored = self._look_at_volumes(volumes, passed), self._stored[store]
        safe = {record.snapshot_id for record in restored.written or () if isinstance(record, SafeRecord)}
        took = {what.removeprefix("took ") for what in passed if what.startswith("took ")}
        if stored.trouble:
            raise LostWriteError(stored.trouble)
        if lost := (safe | took) - stored.whole:
            raise LostWriteError(f"snapshots that had been taken are not there: {sorted(lost)}")

    def _look_at_volumes(self, state: State, passed: Sequence[str]) -> Restored:
        """Recover the volumes of a state; each one once."""
        if state not in self._restored:
            fs = self.fs.with_roots(0, 2)
            fs.put(state)
            self._restored[state] = restored = asyncio.run(self._recovered(fs))
            kind = restored.types, restored.before
            if self.recoveries_cut and kind not in self._kinds:
                self._kinds.add(kind)
                known = (*passed, *(f"wrote {record}" for record in sorted(restored.types)))
                self._cut_everywhere(fs.disk(), tuple(fs.steps), known, self._look_at_volumes)
        for problem in problems(passed, self._restored[state]):
            raise LostWriteError(f"{problem}\n{self._restored[state]}")
        return self._restored[state]

    # --- restores ----------------------------------------------------------------------------------------------------

    async def _recovered(self, fs: RecordingFs) -> Restored:
        with LiveRoots(fs, [str(self.settings.volumes_base)]) as roots:
            written, before = self._found(fs, roots)
            try:
                trouble = await self._recover(fs, roots)
            except HoldfastError as error:
                trouble = error.message
        after = tuple(map(self._side, self.volumes, self.old, self.new))
        return Restored(written=written, before=before, after=after, trouble=trouble)

    def _found(self, fs: Fs, roots: LiveRoots) -> tuple[tuple[Record, ...] | None, tuple[str, ...]]:
        """What the journal says before anything is recovered, and which directories are live."""
        for path in journals(fs, str(self.settings.journal_dir)):
            parsed = read_journal(fs, path)
            if parsed.facts is not None:
                sides = tuple(str(observe(fs, roots, volume).live) for volume in parsed.volumes)
                return parsed.records, sides
        return None, ()

    async def _recover(self, fs: Fs, roots: LiveRoots) -> str:
        """What a start does without an engine, and then the tidying up. Returns what went wrong."""
        files = _Recovering(fs=fs, roots=roots, journal_dir=self.settings.journal_dir, workers=cast("Any", None))
        swaps = SwapRecovery(files=files, registry=RestoreRegistry(), workloads=cast("WorkloadStore", _Nobody()))
        decided = await swaps.decide()
        if decided.blocked or decided.unreadable:
            return "; ".join((*(error.message for _, error in decided.blocked), *decided.unreadable))
        for unfinished in decided.unfinished:
            journal = unfinished.journal
            if journal.direction in (Direction.ABORTED, Direction.CONFIRMED):
                await files.reap(journal.volumes)
                await files.append(journal, DoneRecord())
                await files.remove(journal)
            else:
                journal.close()
        for parent in {volume.parent for volume in self.volumes}:
            dirfd = fs.open_root(str(parent))
            remove_left_directories(fs, dirfd)
            fs.close(dirfd)
        left = wrappers_below(self.settings.volumes_base)
        settled = not journals(fs, str(self.settings.journal_dir))
        return f"{left} are left" if settled and left else ""

    def _side(self, volume: Path, old: TreeDescription, new: TreeDescription) -> str:
        now = describe_tree(volume) if volume.is_dir() else {}
        return "old" if now == old else "new" if now == new else "neither"

    # --- snapshots ---------------------------------------------------------------------------------------------------

    def _read(self, state: State) -> Stored:
        fs = self.fs.with_roots(2, 5)
        fs.put(state)
        trouble: list[str] = []
        trouble += (error.message for error in HoldFiles(fs, self.settings.holds_dir).all()[1])
        try:
            with (
                LiveRoots(fs, [str(self.settings.volumes_base)]) as roots,
                closing(open_stores(fs, roots, store_settings_of(self.settings, self.installation))) as stores,
            ):
                stores.clean_orphans()
                trouble += (problem.message for problem in stores.damaged_manifests())
                listed = [manifest.id for manifest in stores.manifests()]
                for snapshot_id in listed:
                    trouble += stores.verify(snapshot_id, QuietJob())
        except HoldfastError as error:
            return Stored(whole=frozenset(), trouble=error.message)
        return Stored(whole=frozenset(listed), trouble="; ".join(trouble))


def problems(passed: Sequence[str], restored: Restored) -> list[str]:
    """What is not as it must be of a restore after a power cut.

    Args:
        passed: what the program had done until then, among it ``wrote <record>``.
    """
    found = [restored.trouble] if restored.trouble else []
    wrote = {RecordType(what.removeprefix("wrote ")) for what in passed if what.startswith("wrote ")}
    over = RecordType.DONE in wrote
    if not (wrote <= restored.types or (over and restored.written is None)):
        found.append(f"records that had been written are not there: {sorted(wrote - restored.types)}")
    if TreeSide.NEW in restored.before and not _FORTH & restored.types:
        found.append("volumes were exchanged without a record of it")
    known = restored.types or (wrote if over else frozenset())
    side = "old" if _BACK & known or not _FORTH & known else "new"
    if set(restored.after) != {side}:
        found.append(f"volumes are {restored.after} where all must be {side}")
    return found


def recorded(
    scenario: RunningWorkload, *, limit: int, careless: Careless | None = None, exchanges: bool = True
) -> LossyBench:
    """Have a server do what the scenario says, and record it.

    Args:
        careless: which flushes it leaves out.
        exchanges: whether its filesystems can exchange two names.
    """
    settings = scenario.place.settings
    repository = settings.repository_dir
    but = (repository / "cache", repository / "lock")
    fs = RecordingFs(roots_of(settings), but=but, careless=careless, exchanges=exchanges)
    place = replace(scenario.place, seams=recording_seams(fs))

    async def run() -> None:
        async with place.running() as holdfast:
            await scenario.begin(holdfast)
            await scenario.wear(holdfast, "old")
            fs.begin()
            await scenario.act(holdfast)
            for snapshot in (await holdfast.api.snapshots.list(scenario.workload.id, limit=10, cursor=None)).items:
                fs.passed(f"took {snapshot.id}")
            fs.end()

    asyncio.run(run())
    return LossyBench(
        settings=settings,
        installation=settings.installation_file.read_text().strip(),
        fs=fs,
        volumes=scenario.volumes,
        old=scenario.old,
        new=scenario.new,
        limit=limit,
    )
