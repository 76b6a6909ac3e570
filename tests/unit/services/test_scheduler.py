"""What is due begins once, waits where it must, and is told while it has not happened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.unit.services.deploy_bench import STATEFUL
from tests.unit.services.snapshot_bench import SnapshotBench, opened

from holdfast.config import Settings
from holdfast.domain.errors import Busy, Failed
from holdfast.domain.operation import Operation, OperationKind, OperationState
from holdfast.domain.retention import Keep
from holdfast.domain.schedule import ACTOR, GRACE, SPREAD, OnMissed, RunResult, Schedule, ScheduleHealth, ScheduleKind
from holdfast.domain.snapshot import SnapshotReason
from holdfast.domain.workload import SnapshotPolicy, Workload
from holdfast.services.locks import DrainBarrier
from holdfast.services.operations import OperationContext, Operations
from holdfast.services.repository_care import RepositoryCare
from holdfast.services.scheduled_snapshots import ScheduledSnapshots, schedule_facts
from holdfast.services.scheduler import PATIENCE, Scheduler, Standing
from holdfast.store.database import Database
from holdfast.store.operations import OperationStore
from holdfast.store.previews import PreviewStore
from holdfast.store.schedules import ScheduleStore

NIGHT = "0 3 * * *"
THREE = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
DUE = THREE + SPREAD
"""When everything that is due at three has begun."""


class SetClock:
    """A clock that shows what it was set to, and on which nobody sleeps."""

    def __init__(self) -> None:
        self.at = THREE - timedelta(hours=1)

    def monotonic(self) -> float:
        return self.at.timestamp()

    def time(self) -> float:
        return self.at.timestamp()

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()


class Work:
    """Runs that end when they are told to."""

    def __init__(self, operations: Operations, *names: str) -> None:
        self.operations = operations
        self.configured = [
            Schedule(kind=ScheduleKind.SNAPSHOT, subject=name, name=name, cron=NIGHT, zone="UTC") for name in names
        ]
        self.at_work: dict[str, str] = {}
        self.failure: Exception | None = None
        self.may_end = asyncio.Event()
        self.begun: list[str] = []
        self.ended: asyncio.Queue[str] = asyncio.Queue()

    async def schedules(self, subject: str | None = None) -> Sequence[Schedule]:
        return [each for each in self.configured if subject in (None, each.subject)]

    def busy(self, schedule: Schedule) -> str | None:
        return self.at_work.get(schedule.subject)

    async def start(self, schedule: Schedule, *, actor: str, idempotency_key: str) -> Operation:
        if self.failure is not None:
            raise self.failure

        async def run(ctx: OperationContext) -> None:
            self.begun.append(schedule.subject)
            await self.may_end.wait()
            self.ended.put_nowait(schedule.subject)
            if schedule.name == "broken":
                raise Failed("hook_failed", "The hook failed.", next_step="Mend it.")

        return await self.operations.start(
            OperationKind.SNAPSHOT, schedule.subject, actor, run, idempotency_key=idempotency_key
        )


class Bench:
    """Servers on one database, one after the other."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = SetClock()
        self.restart()

    def restart(self, *names: str, most: int = 1) -> None:
        self.operations = Operations(OperationStore(self.database), DrainBarrier())
        self.work = Work(self.operations, *names)
        self.scheduler = Scheduler(
            clock=self.clock,
            zone=UTC,
            store=ScheduleStore(self.database),
            operations=self.operations,
            work=[self.work],
            most=most,
        )

    async def look(self, at: datetime) -> None:
        self.clock.at = at
        await self.scheduler.look()

    async def standing(self, name: str = "notes") -> Standing:
        found = await self.scheduler.of(name)
        assert found is not None
        return found

    async def finish(self) -> None:
        """All runs end, and that is seen."""
        self.work.may_end.set()
        for operation in (await self.operations.list(limit=100)).items:
            await self.operations.wait(operation.id)
        await self.scheduler.look()
        self.work.may_end.clear()

    async def die(self) -> None:
        """The server ends while runs are under way."""
        await self.scheduler.close()
        await self.operations.close(0.0)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    database = Database.at(tmp_path / "state.db")
    await database.open()
    bench = Bench(database)
    yield bench
    await bench.die()
    await database.close()


async def test_what_is_due_runs_once_and_again_the_next_night(bench: Bench) -> None:
    bench.restart("notes")
    await bench.look(THREE - timedelta(hours=1))
    assert bench.work.begun == []
    await bench.look(DUE)
    await bench.look(DUE)
    assert (await bench.standing()).health is ScheduleHealth.RUNNING
    await bench.finish()
    assert bench.work.begun == ["notes"]
    assert (await bench.standing()).health is ScheduleHealth.ON_TIME
    await bench.look(DUE + timedelta(days=1))
    await bench.finish()
    assert bench.work.begun == ["notes", "notes"]


async def test_where_it_stands_survives_a_restart_and_what_was_missed_is_caught_up_once(bench: Bench) -> None:
    bench.restart("notes")
    await bench.look(THREE - timedelta(hours=1))
    bench.restart("notes")
    await bench.look(THREE + timedelta(days=3, hours=9))
    await bench.finish()
    for minutes in range(30):
        await bench.look(THREE + timedelta(days=3, hours=9, minutes=minutes))
    assert bench.work.begun == ["notes"]
    assert (await bench.standing()).state.due_at == THREE + timedelta(days=4)


async def test_where_missed_runs_are_only_told_they_are_and_count_as_failed(bench: Bench) -> None:
    bench.restart("notes")
    bench.work.configured = [replace(bench.work.configured[0], missed=OnMissed.TELL)]
    await bench.look(THREE - timedelta(hours=1))
    await bench.look(DUE + GRACE)
    standing = await bench.standing()
    assert (bench.work.begun, standing.health) == ([], ScheduleHealth.MISSED)
    assert standing.state.last is not None
    assert (standing.state.last.code, "not running" in standing.state.last.message) == ("schedule_missed", True)
    await bench.look(DUE + timedelta(days=1))
    assert bench.work.begun == ["notes"]


async def test_a_run_that_a_restart_cut_off_is_made_again(bench: Bench) -> None:
    bench.restart("notes")
    await bench.look(THREE - timedelta(hours=1))
    await bench.look(DUE)
    await bench.die()
    bench.restart("notes")
    await bench.operations.recover_unfinished()
    await bench.look(DUE + timedelta(hours=1))
    assert (await bench.standing()).health is ScheduleHealth.FAILED
    await bench.look(DUE + timedelta(hours=1) + SPREAD)
    await bench.finish()
    assert bench.work.begun == ["notes"]
    assert (await bench.standing()).health is ScheduleHealth.ON_TIME


async def test_a_run_whose_beginning_was_not_recorded_is_not_begun_twice(bench: Bench) -> None:
    bench.restart("notes")
    await bench.look(THREE - timedelta(hours=1))
    before = await ScheduleStore(bench.database).all()
    await bench.look(DUE)
    await ScheduleStore(bench.database).save(before)  # as it is where the server dies in between
    await bench.look(DUE)
    assert bench.work.begun == ["notes"]
    assert (await bench.standing()).health is ScheduleHealth.RUNNING


async def test_many_that_are_due_together_run_a_few_at_a_time(bench: Bench) -> None:
    names = [f"w{n}" for n in range(20)]
    bench.restart(*names, most=3)
    await bench.look(THREE - timedelta(hours=1))
    await bench.look(DUE)
    assert len(bench.work.begun) == 3
    assert "other scheduled runs" in next(each.waiting_for for each in await bench.scheduler.list() if each.waiting_for)
    bench.work.may_end.set()
    while len(bench.work.begun) < 20:
        for task in tuple(bench.scheduler._watched.values()):
            await task
        await bench.scheduler.look()
    assert sorted(bench.work.begun) == sorted(names)


async def test_one_whose_workload_is_busy_lets_others_go_first_and_gets_in_line_after_a_while(bench: Bench) -> None:
    bench.restart("notes", "wiki")
    bench.work.at_work["notes"] = "restore 01j"
    await bench.look(THREE - timedelta(hours=1))
    await bench.look(DUE)
    assert bench.work.begun == ["wiki"]
    assert (await bench.standing()).waiting_for == "waiting for restore 01j"
    await bench.finish()
    assert bench.work.begun == ["wiki"]
    await bench.look(DUE + PATIENCE)
    assert bench.work.begun == ["wiki", "notes"]


async def test_a_failure_is_told_with_its_reason_until_a_success(bench: Bench) -> None:
    bench.restart("broken")
    await bench.look(THREE - timedelta(hours=1))
    await bench.look(DUE)
    await bench.finish()
    standing = await bench.standing("broken")
    assert standing.health is ScheduleHealth.FAILED
    assert standing.state.last is not None
    assert standing.state.last.message == "The hook failed."


async def test_what_can_not_even_begin_has_failed_and_keeps_nothing_else_from_beginning(bench: Bench) -> None:
    bench.restart("notes")
    await bench.look(THREE - timedelta(hours=1))
    bench.work.failure = Failed("hooks_missing", "There are no hooks.", next_step="Add them.")
    await bench.look(DUE)
    last = (await bench.standing()).state.last
    assert last is not None
    assert (last.result, last.code, last.operation_id) == (RunResult.FAILED, "hooks_missing", "")
    await bench.look(DUE + timedelta(minutes=5))
    assert (await bench.standing()).state.failures == 1


async def test_where_a_person_was_faster_it_waits(bench: Bench) -> None:
    bench.restart("notes")
    await bench.look(THREE - timedelta(hours=1))
    bench.work.failure = Busy("prune_running", "A prune is running already (01j).", next_step="Watch it.")
    await bench.look(DUE)
    standing = await bench.standing()
    assert (standing.state.failures, standing.waiting_for) == (0, "A prune is running already (01j).")
    bench.work.failure = None
    await bench.look(DUE)
    await bench.finish()
    assert bench.work.begun == ["notes"]


async def test_a_server_that_stops_begins_nothing_and_the_next_one_does(bench: Bench) -> None:
    bench.restart("notes")
    await bench.look(THREE - timedelta(hours=1))
    await bench.operations.close(0.0)
    await bench.look(DUE)
    assert (await bench.standing()).state.failures == 0
    bench.restart("notes")
    await bench.look(DUE)
    assert bench.work.begun == ["notes"]


async def test_a_schedule_that_is_gone_is_forgotten(bench: Bench) -> None:
    bench.restart("notes")
    await bench.look(THREE)
    bench.work.configured = []
    await bench.look(THREE)
    assert await ScheduleStore(bench.database).all() == {}


async def test_it_looks_by_itself_and_again_when_a_run_has_ended(bench: Bench) -> None:
    bench.restart("notes", "wiki")
    await bench.look(THREE - timedelta(hours=1))
    bench.clock.at = DUE
    bench.work.may_end.set()
    bench.scheduler.start()
    assert sorted([await bench.work.ended.get(), await bench.work.ended.get()]) == ["notes", "wiki"]


# Snapshots, on real files


class Nights:
    """Scheduled snapshots of real workloads."""

    def __init__(self, bench: SnapshotBench) -> None:
        self.bench = bench
        self.clock = SetClock()
        self.snapshots = ScheduledSnapshots(
            settings=Settings(),
            workloads=bench.workloads,
            previews=PreviewStore(bench.database),
            snapshots=bench.snapshots,
            care=RepositoryCare(
                settings=Settings(),
                workloads=bench.workloads,
                snapshots=bench.snapshots,
                store=bench.store,
                states=bench.states,
                operations=bench.operations,
                workers=bench.workers,
                in_use=bench.in_use,
                registry=bench.registry,
            ),
            locks=bench.locks,
        )
        self.scheduler = Scheduler(
            clock=self.clock,
            zone=UTC,
            store=ScheduleStore(bench.database),
            operations=bench.operations,
            work=[self.snapshots],
            most=1,
        )

    async def workload(self, keep: Keep | None = None) -> Workload:
        return await self.bench.filled(replace(STATEFUL, snapshots=SnapshotPolicy(schedule=NIGHT, keep=keep)))

    async def look(self, at: datetime) -> None:
        self.clock.at = at
        await self.scheduler.look()

    async def newest(self) -> Operation:
        return (await self.bench.operations.list(limit=1)).items[0]


@pytest.fixture
async def nights(tmp_path: Path) -> AsyncIterator[Nights]:
    async with opened(tmp_path) as bench:
        nights = Nights(bench)
        yield nights
        await nights.scheduler.close()


async def test_it_is_taken_by_the_workloads_own_time_zone_and_by_the_servers_where_that_is_not_known(
    nights: Nights,
) -> None:
    workload = await nights.workload()
    await nights.look(datetime(2026, 7, 1, 12, tzinfo=UTC))
    for zone, hour in (("Asia/Tokyo", 18), ("America/Lima", 8), ("Europe/Atlantis", 3), (None, 3)):
        await nights.bench.workloads.update_spec(workload.id, replace(workload.spec, time_zone=zone), "ann")
        (standing,) = await nights.scheduler.list()
        assert (standing.state.due_at.hour, standing.schedule.zone) == (hour, zone or "UTC")


async def test_a_scheduled_snapshot_is_one_like_any_other_and_says_why_it_was_taken(nights: Nights) -> None:
    workload = await nights.workload()
    await nights.look(THREE - timedelta(hours=1))
    await nights.look(DUE)
    await nights.bench.done(await nights.newest())
    [manifest] = nights.bench.store.manifests()
    assert (manifest.reason, manifest.actor, manifest.files) == (SnapshotReason.SCHEDULED, ACTOR, 1)
    await nights.look(DUE)
    facts = await schedule_facts(nights.scheduler, nights.snapshots)
    assert (facts.total, facts.ailing, facts.unprotected) == (1, (), ())
    assert (await nights.scheduler.of(workload.id),) == await nights.scheduler.list()


async def test_after_a_scheduled_snapshot_what_the_workload_no_longer_keeps_goes(nights: Nights) -> None:
    workload = await nights.workload(Keep(last=2))
    older = [await nights.bench.taken(workload) for _ in range(3)]
    await nights.bench.snapshots.set_pinned(workload.id, older[0].id, True, actor="a")
    await nights.look(THREE - timedelta(hours=1))
    await nights.look(DUE)
    outcome = (await nights.bench.done(await nights.newest())).outcome
    left = {manifest.id for manifest in nights.bench.store.manifests()}
    assert (left, outcome["deleted_snapshots"]) == ({older[0].id, older[2].id, str(outcome["snapshot_id"])}, 1)


async def test_a_scheduled_snapshot_waits_for_a_restore_and_says_so(nights: Nights) -> None:
    workload = await nights.workload()
    await nights.look(THREE - timedelta(hours=1))
    async with nights.bench.locks.hold([workload.id], "restore 01j"):
        await nights.look(DUE)
        [standing] = await nights.scheduler.list()
        assert standing.waiting_for == "waiting for restore 01j"
        await nights.look(DUE + PATIENCE)
        operation = await nights.newest()
        assert operation.kind is OperationKind.SNAPSHOT
        async for seen in nights.bench.operations.events(operation.id):
            if seen.waiting_for:
                assert seen.waiting_for == "waiting for restore 01j"
                break
        assert list(nights.bench.store.manifests()) == []
    await nights.bench.done(operation)


async def test_what_was_never_deployed_is_not_captured_and_what_no_schedule_captures_is_told(nights: Nights) -> None:
    new = await nights.bench.add(replace(STATEFUL, name="new", snapshots=SnapshotPolicy(schedule=NIGHT)))
    assert await nights.scheduler.of(new.id) is None
    await nights.bench.filled()
    assert await nights.scheduler.list() == ()
    assert (await schedule_facts(nights.scheduler, nights.snapshots)).unprotected == ("notes",)


async def test_a_failed_scheduled_snapshot_is_an_ailing_schedule(nights: Nights) -> None:
    workload = await nights.workload()
    await nights.look(THREE - timedelta(hours=1))
    data = nights.bench.data_of(workload)
    data.rename(data.with_name("elsewhere"))
    await nights.look(DUE)
    assert (await nights.bench.ended(await nights.newest())).state is OperationState.FAILED
    await nights.look(DUE)
    facts = await schedule_facts(nights.scheduler, nights.snapshots)
    assert [str(each) for each in facts.ailing] == ["snapshots of notes (failed)"]


async def test_what_ran_while_the_clock_was_ahead_is_not_taken_for_the_run_of_that_moment(bench: Bench) -> None:
    day = timedelta(days=1)
    bench.restart("notes")
    await bench.look(THREE - timedelta(hours=1))
    await bench.look(DUE + day)  # the clock is a day ahead
    await bench.finish()
    await bench.look(THREE - timedelta(minutes=50))  # and right again
    for at in (DUE, DUE + day):
        await bench.look(at)
        await bench.finish()
    assert len(bench.work.begun) == 3
