"""Schedules on the wire."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from holdfast.api.schemas.told import ToldView
from holdfast.domain.schedule import OnMissed, Run, RunResult, ScheduleHealth, ScheduleKind
from holdfast.domain.times import rfc3339
from holdfast.services.scheduler import Standing


class RunView(BaseModel):
    """One run of a schedule, or one that was missed."""

    result: RunResult
    due_at: Annotated[str, Field(description="The first due moment that it serves.")]
    started_at: str
    finished_at: str | None
    operation_id: Annotated[str | None, Field(description="Null where nothing was begun.")]
    code: Annotated[str, Field(description="Why it did not succeed; empty if it did.")]
    message: str

    @classmethod
    def of(cls, run: Run) -> RunView:
        """The view of ``run``."""
        return cls(
            result=run.result,
            due_at=rfc3339(run.due_at),
            started_at=rfc3339(run.started_at),
            finished_at=None if run.finished_at is None else rfc3339(run.finished_at),
            operation_id=run.operation_id or None,
            code=run.code,
            message=run.message,
        )


class ScheduleView(BaseModel):
    """A schedule as it stands."""

    kind: ScheduleKind
    name: Annotated[str, Field(description="Of the workload or second repository that it is about; else empty.")]
    words: Annotated[str, Field(description="What happens, in words: `snapshots of notes`.")]
    cron: str
    time_zone: str
    missed: OnMissed
    health: Annotated[
        ScheduleHealth,
        Field(description="How it is doing. `overdue`, `failed` and `missed` need somebody, and last until a success."),
    ]
    next_at: Annotated[str, Field(description="When the next run begins; in the past while it waits.")]
    waiting_for: Annotated[str, Field(description="What keeps a run that is due from beginning, in words.")]
    waiting: Annotated[ToldView | None, Field(description="The same with its code and values; null if nothing does.")]
    last: Annotated[RunView | None, Field(description="The newest run.")]
    succeeded_at: Annotated[str | None, Field(description="When a run succeeded last.")]
    failures: Annotated[int, Field(description="Runs in a row that did not succeed, missed ones included.")]

    @classmethod
    def of(cls, standing: Standing) -> ScheduleView:
        """The view of ``standing``."""
        schedule, state = standing.schedule, standing.state
        return cls(
            kind=schedule.kind,
            name=schedule.name,
            words=schedule.words,
            cron=schedule.cron,
            time_zone=schedule.zone,
            missed=schedule.missed,
            health=standing.health,
            next_at=rfc3339(standing.next_at),
            waiting_for=standing.waiting_for,
            waiting=None if standing.waiting is None else ToldView.of(standing.waiting),
            last=None if state.last is None else RunView.of(state.last),
            succeeded_at=None if state.succeeded_at is None else rfc3339(state.succeeded_at),
            failures=state.failures,
        )


class SchedulesView(BaseModel):
    items: list[ScheduleView]
