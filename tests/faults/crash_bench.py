"""An installation on which servers are killed and started again, as often as there are points.

One installation serves many crashes, one after the other: each begins where the recovery from the one before ended, so
that each also shows that what was recovered can be restored again.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.faults.crash_checks import (
    Crash,
    Trees,
    check_crash,
    check_kept,
    check_running,
    check_safe,
    check_told,
    expected_side,
)

from holdfast.bootstrap import Holdfast
from holdfast.domain.operation import Operation, OperationKind
from holdfast.domain.workload import DesiredState, Workload
from holdfast.engine.fs import Fs
from holdfast.engine.journal import journals, read_journal
from holdfast.runtime.port import LABEL_WORKLOAD
from holdfast.testing import one_at_a_time
from holdfast.testing.crash import Ended, crashing, in_child
from holdfast.testing.fake_records import FakeContainer, Outage
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.installation import Installation, deployed, ended, restore, snapshotted, succeeded
from holdfast.testing.kill_points import KillPoints
from holdfast.testing.quick_workers import QuickWorkers
from holdfast.testing.trees import TreeDescription, describe_tree

Act = Callable[[Holdfast], Coroutine[None, None, None]]

TORTURE = os.environ.get("HOLDFAST_TORTURE") == "1"
PROCESSES_EVERY = 1 if TORTURE else 20
"""For which of the crashes the engine's work is done by worker processes, as a sample. They are idle whenever a server
gets to a point; at the other crashes the server does the same work itself, one thing at a time, in a third of the
time."""
KILLED_EVERY = 1 if TORTURE else 40
"""Of the points of what is enumerated call by call (``test_every_call.py``), at which a server is really killed."""
POINTS_EVERY = 1 if TORTURE else 6
"""Of the points of what isn't, likewise: captures, clones, chosen paths, swaps by renames."""
UNDO_EVERY = 10 if TORTURE else 20
"""Which of the restores that came through a crash are undone, as a sample."""


@dataclass(kw_only=True)
class Bench:
    """Kills servers, and looks. A scenario says what goes on when they are killed.

    Attributes:
        volumes: the live directories concerned, of all workloads.
        power_cut: whether the host goes down with the server, and its engine comes back before it.
        workloads: those whose containers are held; the first one is restored.
        survives: whether the workload is healthy on the restored data.
        old, new: the trees before, and those that are to be restored.
        own_failure: the codes with which the restore fails if nobody kills it.
        operations: ids of those that are known to have ended.
    """

    place: Installation
    volumes: tuple[Path, ...]
    power_cut: bool = False
    workloads: tuple[Workload, ...] = ()
    survives: bool = True
    desired: DesiredState = DesiredState.RUNNING
    old: Trees = ()
    new: Trees = ()
    kind: OperationKind = OperationKind.RESTORE
    own_failure: tuple[str, ...] = ()
    snapshot_id: str = ""
    operations: set[str] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    crashes: int = 0
    restored: int = 0

    @property
    def workload(self) -> Workload:
        return self.workloads[0]

    # --- the scenario --------------------------------------------------------------------------------------------

    async def begin(self, holdfast: Holdfast) -> None:
        """Have somebody who runs, and something to restore."""
        self.workloads = (await deployed(holdfast),)
        await self.fill(holdfast)

    async def fill(self, holdfast: Holdfast) -> None:
        """Give the volumes content, and take a snapshot of it."""
        first, *others = self.volumes
        small_tree(first)
        for volume in others:  # that each kind of entry comes back need not be shown twice
            (volume / "notes").write_text("other notes")
        self.new = tuple(map(describe_tree, self.volumes))
        self.snapshot_id = await snapshotted(holdfast, self.workload)

    async def wear(self, holdfast: Holdfast, side: str) -> None:
        """Before each crash: let the live data, which is on ``side``, differ from what is to be restored."""
        del holdfast, side
        for volume in self.volumes:
            (volume / "worn").write_text(f"{next(self.numbers)}")
        self.old = tuple(map(describe_tree, self.volumes))

    async def act(self, holdfast: Holdfast) -> None:
        """What is killed."""
        await ended(holdfast, await restore(holdfast, self.workload, self.snapshot_id))
        await holdfast.reaper.idle()

    async def rest(self, holdfast: Holdfast) -> None:
        """Wait until a started server has done what it found to do."""
        for operation in (await holdfast.operations.list(limit=20)).items:
            await ended(holdfast, operation)
        await holdfast.reaper.idle()

    @property
    def servers(self) -> Installation:
        """The installation, for the servers of the present crash."""
        if self.with_processes:
            return self.place
        return replace(self.place, seams=replace(self.place.seams, workers=QuickWorkers))

    @property
    def with_processes(self) -> bool:
        """Whether the present crash is one of the sample with worker processes."""
        return self.crashes % PROCESSES_EVERY == 0

    @property
    def runner(self) -> Callable[[Coroutine[None, None, None]], None]:
        """Runs the servers of the present crash."""
        return asyncio.run if self.with_processes else one_at_a_time.run

    # --- crashes -------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Make it ready for the first crash."""

        async def begin(holdfast: Holdfast) -> None:
            await self.begin(holdfast)
            await self.wear(holdfast, "old")
            await self.settle(holdfast)

        self.serve(begin)

    def crash_everywhere(
        self,
        part: int = 0,
        parts: int = 1,
        *,
        since: str | None = None,
        until: str | None = None,
        every: int = 1,
    ) -> int:
        """Kill the server once at each point of one part of all points.

        Args:
            since: the point to begin with, where those before it are another test's; ``None``: the first.
            until: the point to end with, likewise; ``None``: the last.
            every: which of them, as a sample.

        Returns:
            How many points there are in all parts.
        """
        self.open()
        passed = self.passed()
        points = passed[0 if since is None else passed.index(since) :]
        points = points[: len(points) if until is None else points.index(until) + 1]
        mine = points[part::parts][::every]
        crashes = 0
        for point in mine:
            self.recover(self.killed(point, self.act).reached)
            crashes += 1
        assert crashes == len(mine)
        if TORTURE and part == 0:
            assert sorted(self.passed()) == sorted(passed), "the points are not the same in every run"
        return len(points)

    def crash_recovery_everywhere(self, state: str, *, every: int = 1) -> int:
        """Kill the server at ``state``, then kill its recovery once at each of its points, or of a sample of them.

        Returns:
            How often a recovery was killed.
        """
        self.open()
        first = self.killed(state, self.act).reached
        points = self.killed(None, self.rest, from_start=True).reached
        self.recover(first + points)
        mine = points[::every]
        crashes = 0
        for point in mine:
            self.killed(state, self.act)
            self.look(first)
            self.recover(first + self.killed(point, self.rest, from_start=True).reached)
            crashes += 1
        assert crashes == len(mine)
        return crashes

    def passed(self) -> tuple[str, ...]:
        """All points that lie on the way, from a run that nobody kills."""
        reached = self.killed(None, self.act).reached
        self.recover(reached)
        return reached

    def serve(self, act: Act) -> None:
        """Have a whole server do ``act``, from its start to its orderly end."""

        async def run() -> None:
            async with self.servers.running() as holdfast:
                await act(holdfast)

        self.runner(run())

    def killed(self, kill_at: str | None, act: Act, *, from_start: bool = False) -> Ended:
        """Have a server in a process of its own do ``act`` and be killed at a point.

        Args:
            from_start: whether the points of the server's start count, too.
        """

        async def scenario(points: KillPoints) -> None:
            points.armed = from_start
            async with crashing(self.servers, points).running() as holdfast:
                points.armed = True
                await act(holdfast)
                points.armed = False

        self.crashes += 1
        end = in_child(self.place.directory, kill_at, scenario, run=self.runner)
        assert not end.trouble, end.trouble
        assert end.killed is (kill_at is not None), f"the server did not get to {kill_at}; it passed {end.reached}"
        if kill_at is not None:
            assert end.reached[-1] == kill_at
        return end

    def look(self, reached: tuple[str, ...]) -> Crash:
        """See what a killed server left, and that nobody could be harmed by it."""
        found = [read_journal(Fs(), path) for path in journals(Fs(), str(self.place.settings.journal_dir))]
        assert len(found) <= 1
        crash = Crash(
            reached=reached,
            records=found[0].records if found else None,
            direction=found[0].direction if found else None,
            sides=self.sides(),
        )
        check_crash(crash, self.containers(self.place.fake_engine()), self.containers(self._after_a_power_cut()))
        return crash

    def recover(self, reached: tuple[str, ...]) -> None:
        """Look at what the killed server left, start another one, and see that all is as it must be."""
        crash = self.look(reached)
        if self.power_cut:
            self.place.fake_engine().restart_engine(Outage.POWER)

        async def recover(holdfast: Holdfast) -> None:
            side = await self.recovered(holdfast, crash)
            await self.wear(holdfast, side)

        try:
            self.serve(recover)
        except AssertionError as error:
            error.add_note(f"after a kill {reached[-1]}; the journal said {crash.direction}, the volumes {crash.sides}")
            raise

    # --- looking -------------------------------------------------------------------------------------------------

    async def settle(self, holdfast: Holdfast) -> Operation | None:
        """Wait until a started server has done all that it found to do. Gives the operation that had been killed."""
        newest: Operation | None = None
        for operation in (await holdfast.operations.list(limit=20)).items:
            end = await ended(holdfast, operation)
            if operation.id not in self.operations:
                self.operations.add(operation.id)
                newest = newest or end
        await holdfast.reaper.idle()
        await watched(holdfast)
        return newest

    async def recovered(self, holdfast: Holdfast, crash: Crash) -> str:
        """Check all that must hold once recovery is done. Returns the side on which the data is."""
        operation = await self.settle(holdfast)
        side = expected_side(crash, survives=self.survives)
        assert set(self.sides()) == {side}, f"{self.sides()} where all volumes must be {side}"
        assert operation is None or operation.kind is self.kind
        result = "restored" if self.desired is DesiredState.RUNNING else "restored_stopped"
        check_told(operation, side, crash, survives=self.survives, result=result, own_failure=self.own_failure)
        self.check_running(self.containers(fake(holdfast)), side)
        for workload in self.workloads:
            assert (await holdfast.api.workloads.get(workload.id)).desired is self.desired
            assert await holdfast.api.restores.undecided(workload.id) is None
        await check_safe(holdfast, self.workload, operation, crash)
        if operation is not None and "kept_trees" in operation.outcome:
            self.operations.add(await check_kept(holdfast, self.place, self.workload, operation, self.new))
        assert self.place.leftovers() == []
        if side == "new":
            await self._undone(holdfast)
        return side

    async def _undone(self, holdfast: Holdfast) -> None:
        """Of a sample: what a recovered restore displaced comes back by an undo."""
        self.restored += 1
        if self.kind is OperationKind.RESTORE and self.restored % UNDO_EVERY == 1:
            target = await holdfast.api.restores.undo_target(self.workload.id)
            assert target is not None
            undo = await holdfast.api.restores.undo(self.workload.id, confirm=target.id, dry_run=False, actor="test")
            await succeeded(holdfast, undo)
            await holdfast.reaper.idle()
            self.operations.add(undo.id)
            assert set(self.sides()) == {"old"}

    def check_running(self, containers: Sequence[FakeContainer], side: str) -> None:
        """Check what runs once recovery is done, with the data on ``side``."""
        del side
        check_running(containers, self.workloads, self.desired)

    @staticmethod
    def fake(holdfast: Holdfast) -> FakeRuntime:
        """The engine of a server."""
        return fake(holdfast)

    def containers(self, engine: FakeRuntime) -> tuple[FakeContainer, ...]:
        """The workloads' containers in an engine."""
        ids = {workload.id for workload in self.workloads}
        return tuple(c for c in engine.engine.state.containers.values() if c.spec.labels.get(LABEL_WORKLOAD) in ids)

    def sides(self) -> tuple[str, ...]:
        """On which side each volume is."""
        return tuple(itertools.starmap(side_of, zip(self.volumes, self.old, self.new, strict=True)))

    def _after_a_power_cut(self) -> FakeRuntime:
        """A copy of the engine, as it would come back by itself if the host lost its power now."""
        copy = self.place.directory / "copy.json"
        shutil.copyfile(self.place.directory / "engine.json", copy)
        engine = FakeRuntime(state_file=copy, root_dir=str(self.place.directory))
        engine.restart_engine(Outage.POWER)
        return engine


def small_tree(path: Path) -> None:
    """A little of everything; that trees are kept exactly is shown elsewhere, with large ones."""
    (path / "library").mkdir(mode=0o750)
    (path / "library/notes").write_text("notes")
    os.chown(path / "library/notes", 1000, 1001)
    os.setxattr(path / "library/notes", "user.colour", b"blue")
    os.link(path / "library/notes", path / "also notes")
    (path / "to notes").symlink_to("library/notes")
    (path / "random").write_bytes(os.urandom(10_000))


async def watched(holdfast: Holdfast) -> None:
    """Wait until the watch of the engine has compared all that runs with what was deployed."""
    while not any(call.name == "events" for call in fake(holdfast).calls):  # noqa: ASYNC110 - the fake tells nobody
        await asyncio.sleep(0.001)


def fake(holdfast: Holdfast) -> FakeRuntime:
    assert isinstance(holdfast.runtime, FakeRuntime)
    return holdfast.runtime


def side_of(volume: Path, old: TreeDescription, new: TreeDescription) -> str:
    """On which side a volume is: ``old``, ``new``, or ``neither``."""
    now = describe_tree(volume)
    return "old" if now == old else "new" if now == new else "neither"
