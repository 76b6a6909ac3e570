"""When something is due that happens by a schedule, and how a schedule is doing.

Pure: the present time is given, and what comes next by an expression is a function that is given (:data:`Following`).

Invariants:

- However many due moments have passed (the server was away, the clock leapt, a run took long), they make one run, or
  one record that they were missed; never as many as there were.
- A clock that was set back by up to :data:`SET_BACK` repeats nothing. One that was far ahead and is right again keeps
  nothing from running until then.
- A schedule counts as failed from the first run that did not succeed until one does.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.told import Told, told

ACTOR: Final = "schedule"
"""Who begins what is scheduled."""

SPREAD: Final = timedelta(minutes=5)
"""Within how much time those begin that are due at the same moment; a tenth of their interval where that is less."""

GRACE: Final = timedelta(hours=1)
"""How late a run may begin before it is overdue; its interval where that is less."""

SET_BACK: Final = timedelta(hours=1)

Following = Callable[[datetime], datetime]
"""The first due moment after the one given."""


class ScheduleKind(StrEnum):
    """What happens by a schedule."""

    SNAPSHOT = "snapshot"
    PRUNE = "prune"
    VERIFY = "verify"
    COPY = "copy"
    DRILL = "drill"
    BACKUP = "backup"
    UPDATE = "update"


class OnMissed(StrEnum):
    """What becomes of a run that is overdue, once it could begin."""

    CATCH_UP = "catch_up"
    """It is made, once."""
    TELL = "tell"
    """It is not made any more, and counts as failed."""


class RunResult(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    MISSED = "missed"


class ScheduleHealth(StrEnum):
    """How a schedule is doing, in one word."""

    WAITING = "waiting"
    """It has not come to its first run."""
    ON_TIME = "on_time"
    RUNNING = "running"
    OVERDUE = "overdue"
    """A run should have begun, and has not."""
    FAILED = "failed"
    MISSED = "missed"

    @property
    def well(self) -> bool:
        """Whether nobody has to do anything."""
        return self in (ScheduleHealth.WAITING, ScheduleHealth.ON_TIME, ScheduleHealth.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What is configured.

    Attributes:
        subject: the id of what it is about; empty where there is only one.
        name: the same for people: of a workload or a second repository; empty where there is only one.
        cron: when, as cron writes it; in ``zone``.
    """

    kind: ScheduleKind
    subject: str
    name: str
    cron: str
    zone: str
    missed: OnMissed = OnMissed.CATCH_UP

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.subject}"

    @property
    def words(self) -> str:
        """What happens, for people."""
        return self.told.message

    @property
    def told(self) -> Told:
        """What happens, for people: a part of a sentence."""
        match self.kind:
            case ScheduleKind.SNAPSHOT:
                return told("schedule_snapshot", "snapshots of {name}", name=self.name)
            case ScheduleKind.PRUNE:
                return told("schedule_prune", "prunes")
            case ScheduleKind.VERIFY:
                return told("schedule_verify", "verifications")
            case ScheduleKind.COPY:
                return told("schedule_copy", "copies to {name}", name=self.name)
            case ScheduleKind.DRILL:
                return told("schedule_drill", "drills of {name}", name=self.name)
            case ScheduleKind.BACKUP:
                return told("schedule_backup", "backups of Holdfast's own state")
            case ScheduleKind.UPDATE:
                return told("schedule_update", "updates of {name}", name=self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run, or one that was missed.

    Attributes:
        due_at: the first due moment that it serves.
        operation_id: empty where no operation was begun.
        again: it makes up for one that the server's end cut off.
        code, message: why it did not succeed.
    """

    due_at: datetime
    started_at: datetime
    operation_id: str = ""
    result: RunResult = RunResult.RUNNING
    finished_at: datetime | None = None
    again: bool = False
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleState:
    """Where a schedule stands.

    Attributes:
        cron, zone: what ``due_at`` was reckoned by.
        reckoned_at: when; all due moments until then are served, or told as missed.
        again: the run that is due makes up for one that was cut off.
        failures: runs in a row that did not succeed, missed ones included.
    """

    cron: str
    zone: str
    reckoned_at: datetime
    due_at: datetime
    again: bool = False
    last: Run | None = None
    succeeded_at: datetime | None = None
    failures: int = 0

    @property
    def running(self) -> bool:
        return self.last is not None and self.last.result is RunResult.RUNNING


def in_force(schedule: Schedule, state: ScheduleState | None, now: datetime, following: Following) -> ScheduleState:
    """The state by what is configured and what the clock says now."""
    if state is None:
        return ScheduleState(cron=schedule.cron, zone=schedule.zone, reckoned_at=now, due_at=following(now))
    changed = (state.cron, state.zone) != (schedule.cron, schedule.zone)
    was_ahead = state.reckoned_at - now > SET_BACK
    if changed or was_ahead:
        return dataclasses.replace(
            state, cron=schedule.cron, zone=schedule.zone, reckoned_at=now, due_at=following(now), again=False
        )
    return state


def begins_at(schedule: Schedule, state: ScheduleState, following: Following) -> datetime:
    """When the run that is due next begins: a little after its due moment, each schedule at a time of its own."""
    share = int.from_bytes(hashlib.sha256(schedule.id.encode()).digest()[:4], "big") / 2**32
    return state.due_at + min(SPREAD, _interval(state, following) / 10) * share


def is_due(schedule: Schedule, state: ScheduleState, now: datetime, following: Following) -> bool:
    """Whether a run has to begin. While one runs, the next waits for its end."""
    return not state.running and now >= begins_at(schedule, state, following)


def is_overdue(schedule: Schedule, state: ScheduleState, now: datetime, following: Following) -> bool:
    """Whether a run should have begun long since."""
    return now >= begins_at(schedule, state, following) + min(GRACE, _interval(state, following))


def begun(state: ScheduleState, now: datetime, following: Following, *, operation_id: str) -> ScheduleState:
    """The run that was due has begun."""
    run = Run(due_at=state.due_at, started_at=now, operation_id=operation_id, again=state.again)
    return dataclasses.replace(state, reckoned_at=now, due_at=following(now), again=False, last=run)


def not_begun(
    state: ScheduleState, now: datetime, following: Following, *, result: RunResult, code: str, message: str
) -> ScheduleState:
    """The run that was due can't begin, or is too late."""
    run = Run(due_at=state.due_at, started_at=now, result=result, finished_at=now, code=code, message=message)
    return dataclasses.replace(
        state, reckoned_at=now, due_at=following(now), again=False, last=run, failures=state.failures + 1
    )


def ended(schedule: Schedule, state: ScheduleState, now: datetime, operation: Operation | None) -> ScheduleState:
    """The run that was under way is over.

    Args:
        operation: what it was; ``None`` if its record is gone.
    """
    run = state.last
    assert run is not None
    if operation is not None and operation.state is OperationState.SUCCEEDED:
        done = dataclasses.replace(run, result=RunResult.SUCCEEDED, finished_at=now)
        return dataclasses.replace(state, last=done, succeeded_at=now, failures=0)
    error = {} if operation is None or operation.error is None else operation.error
    failed = dataclasses.replace(
        run,
        result=RunResult.FAILED,
        finished_at=now,
        code=str(error.get("code", "interrupted")),
        message=str(error.get("message", "Nothing is known about how it ended.")),
    )
    state = dataclasses.replace(state, last=failed, failures=state.failures + 1)
    cut_off = operation is None or operation.state is OperationState.INTERRUPTED
    # Once only: a run that takes the server down with it must not do so for ever.
    if cut_off and not run.again and schedule.missed is OnMissed.CATCH_UP:
        return dataclasses.replace(state, due_at=now, again=True)
    return state


def health(schedule: Schedule, state: ScheduleState, now: datetime, following: Following) -> ScheduleHealth:
    """How the schedule is doing."""
    if is_overdue(schedule, state, now, following):
        return ScheduleHealth.OVERDUE
    if state.failures:
        missed = state.last is not None and state.last.result is RunResult.MISSED
        return ScheduleHealth.MISSED if missed else ScheduleHealth.FAILED
    if state.running:
        return ScheduleHealth.RUNNING
    return ScheduleHealth.WAITING if state.succeeded_at is None else ScheduleHealth.ON_TIME


def _interval(state: ScheduleState, following: Following) -> timedelta:
    return following(state.due_at) - state.due_at
