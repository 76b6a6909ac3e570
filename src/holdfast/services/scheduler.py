"""Begins what is due by a schedule, and knows how each schedule is doing.

- A run is an operation like one that a person begins: the same checks, the same locks, the same records.
- A run begins at most once, whatever dies when: its operation carries a key made of the schedule, the due moment and
  when that was reckoned. A moment that comes twice, since the clock was ahead the first time, is another run each time.
- Only so many run at a time, and one that would only wait for a busy workload lets others go first, for a while.
- What a look could not do is tried at the next; nothing ends the looking.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, Protocol

import structlog

from holdfast.cron import Cron
from holdfast.domain.errors import Busy, Failed, HoldfastError, NotFound, Unavailable
from holdfast.domain.operation import Operation
from holdfast.domain.schedule import (
    ACTOR,
    Following,
    OnMissed,
    RunResult,
    Schedule,
    ScheduleHealth,
    ScheduleKind,
    ScheduleState,
    begins_at,
    begun,
    ended,
    health,
    in_force,
    is_due,
    is_overdue,
    not_begun,
)
from holdfast.domain.told import TextOrTold, Told, told
from holdfast.services.health_gate import Clock
from holdfast.services.operations import Operations
from holdfast.store.schedules import ScheduleStore
from holdfast.zones import zone_or

PAUSE: Final = 10.0
"""Seconds between two looks, unless something that runs has ended before."""

PATIENCE: Final = timedelta(minutes=10)
"""How long a run lets others go first while its workload is busy; then it gets in line."""


class Scheduled(Protocol):
    """A kind of work that is scheduled."""

    async def schedules(self, subject: str | None = None) -> Sequence[Schedule]:
        """What is configured now; with ``subject`` only what is about that."""

    def busy(self, schedule: Schedule) -> TextOrTold | None:
        """Whom a run would only wait for; ``None`` if for nobody."""

    async def start(self, schedule: Schedule, *, actor: str, idempotency_key: str) -> Operation:
        """Begin a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A schedule as it stands.

    Attributes:
        next_at: when the next run begins; past while it waits.
        waiting: what keeps a run that is due from beginning; ``None`` if nothing does.
    """

    schedule: Schedule
    state: ScheduleState
    health: ScheduleHealth
    next_at: datetime
    waiting: Told | None = None

    @property
    def waiting_for(self) -> str:
        """The same in words; empty if nothing does."""
        return str(self.waiting or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A schedule, who does its work, when it comes due, and where it stands."""

    work: Scheduled
    schedule: Schedule
    following: Following
    state: ScheduleState

    def begins_at(self) -> datetime:
        return begins_at(self.schedule, self.state, self.following)


class Scheduler:
    """Looks at all schedules now and then.

    Args:
        zone: in which expressions are meant whose own zone this host doesn't know.
        most: how many runs there are at a time.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        zone: tzinfo,
        store: ScheduleStore,
        operations: Operations,
        work: Sequence[Scheduled],
        most: int,
    ) -> None:
        self._clock = clock
        self._zone = zone
        self._store = store
        self._operations = operations
        self._work = work
        self._most = most
        self._waiting: dict[str, Told] = {}
        self._watched: dict[str, asyncio.Task[Operation]] = {}
        self._looking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("scheduler")

    def start(self) -> None:
        """Begin to look, in the background."""
        self._task = asyncio.create_task(self._run(), name="scheduler")

    async def close(self) -> None:
        """Stop looking. What runs goes on."""
        tasks = [*self._watched.values(), *([self._task] if self._task is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def list(self) -> tuple[Standing, ...]:
        """All schedules, by kind and name."""
        now = self._now()
        states = await self._store.all()
        found = [self._standing(known, now) for known in await self._known(states, now)]
        return tuple(sorted(found, key=lambda each: (each.schedule.kind, each.schedule.name)))

    async def of(self, subject: str) -> Standing | None:
        """The schedule of a workload's snapshots; ``None`` if it has none, or none that is in force."""
        now = self._now()
        for known in await self._known({}, now, subject):
            if known.schedule.kind is not ScheduleKind.SNAPSHOT:
                continue
            state = await self._store.get(known.schedule.id)
            state = in_force(known.schedule, state, now, known.following)
            return self._standing(dataclasses.replace(known, state=state), now)
        return None

    async def look(self) -> None:
        """Record what has ended, and begin what is due: as much as may run at a time."""
        async with self._looking:
            await self._look(self._now())

    async def _look(self, now: datetime) -> None:
        before = await self._store.all()
        known = [await self._settled(each, now) for each in await self._known(before, now)]
        await self._store.forget(before.keys() - {each.schedule.id for each in known})
        await self._store.save(
            {each.schedule.id: each.state for each in known if each.state != before.get(each.schedule.id)}
        )
        waited, self._waiting = self._waiting, {}
        free = self._most - sum(each.state.running for each in known)
        due = [each for each in known if is_due(each.schedule, each.state, now, each.following)]
        for each in sorted(due, key=lambda each: (each.begins_at(), each.schedule.id)):
            schedule_id = each.schedule.id
            if each.schedule.missed is OnMissed.TELL and is_overdue(each.schedule, each.state, now, each.following):
                await self._give_up(each, now, RunResult.MISSED, _missed(waited.get(schedule_id)))
            elif (waiting := self._obstacle(each, now, free)) is not None:
                self._waiting[schedule_id] = waiting
            else:
                free -= await self._begin(each, now)

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except HoldfastError as error:
                self._log.warning("schedules could not be looked at", code=error.code, reason=error.message)
            except Exception:  # noqa: BLE001 - a defect met once must not end all schedules for good, and unseen
                self._log.exception("scheduler_failed_unforeseen")
            pause = asyncio.ensure_future(self._clock.sleep(PAUSE))
            try:
                await asyncio.wait([pause, *self._watched.values()], return_when=asyncio.FIRST_COMPLETED)
            finally:
                pause.cancel()

    async def _known(
        self, states: Mapping[str, ScheduleState], now: datetime, subject: str | None = None
    ) -> Sequence[_Known]:
        """The schedules that are configured, by what the clock says."""
        known: list[_Known] = []
        for work in self._work:
            for each in await work.schedules(subject):
                following = Cron(each.cron, zone_or(each.zone, self._zone)).following
                state = in_force(each, states.get(each.id), now, following)
                known.append(_Known(work=work, schedule=each, following=following, state=state))
        return known

    async def _settled(self, known: _Known, now: datetime) -> _Known:
        """The same, once it was looked how its run stands."""
        if not known.state.running:
            return known
        assert known.state.last is not None
        operation: Operation | None = None
        try:
            operation = await self._operations.get(known.state.last.operation_id)
        except NotFound:
            self._log.warning("the operation of a scheduled run is gone", schedule=known.schedule.id)
        if operation is not None and not operation.state.ended:
            self._watch(operation.id)
            return known
        state = ended(known.schedule, known.state, now, operation)
        self._log.info("scheduled_run_ended", schedule=known.schedule.id, name=known.schedule.name, run=state.last)
        return dataclasses.replace(known, state=state)

    def _obstacle(self, known: _Known, now: datetime, free: int) -> Told | None:
        """What a run that is due has to wait for; ``None`` if for nothing."""
        busy = known.work.busy(known.schedule)
        if busy is not None and now < known.begins_at() + PATIENCE:
            return told("waiting_for", "waiting for {whom}", whom=busy)
        return None if free > 0 else told("waiting_for_runs", "waiting for other scheduled runs to end")

    async def _begin(self, known: _Known, now: datetime) -> bool:
        """Begin a run that is due. Whether it runs."""
        schedule, state = known.schedule, known.state
        key = f"{schedule.id}@{state.due_at.isoformat()}@{state.reckoned_at.isoformat()}"
        try:
            operation = await known.work.start(schedule, actor=ACTOR, idempotency_key=key)
        except (Unavailable, Busy) as error:  # the server is about to stop, or a person was faster
            self._waiting[schedule.id] = Told.of(error)
            return False
        except HoldfastError as error:
            await self._give_up(known, now, RunResult.FAILED, error)
            return False
        await self._store.save({schedule.id: begun(state, now, known.following, operation_id=operation.id)})
        self._watch(operation.id)
        self._log.info("scheduled_run_begun", schedule=schedule.id, name=schedule.name, operation_id=operation.id)
        return True

    async def _give_up(self, known: _Known, now: datetime, result: RunResult, error: HoldfastError) -> None:
        """Record that a run that is due is not made."""
        state = not_begun(known.state, now, known.following, result=result, code=error.code, message=error.message)
        await self._store.save({known.schedule.id: state})
        self._log.warning("scheduled_run_not_made", schedule=known.schedule.id, reason=error.message)

    def _watch(self, operation_id: str) -> None:
        """Look again once an operation has ended."""
        if operation_id not in self._watched:
            task = asyncio.create_task(self._operations.wait(operation_id))
            self._watched[operation_id] = task
            task.add_done_callback(lambda _: self._watched.pop(operation_id, None))

    def _standing(self, known: _Known, now: datetime) -> Standing:
        return Standing(
            schedule=known.schedule,
            state=known.state,
            health=health(known.schedule, known.state, now, known.following),
            next_at=known.begins_at(),
            waiting=self._waiting.get(known.schedule.id),
        )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)


def _missed(waited_for: Told | None) -> Failed:
    return Failed(
        "schedule_missed",
        f"It could not begin in time: {waited_for or 'Holdfast was not running'}. It was left out.",
        next_step="Do it by hand if need be; the schedule goes on when it is due next.",
    )
