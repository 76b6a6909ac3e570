"""Conditions that somebody should hear of: when they begin, once a day while they last, and when they are over.

What was told is in the database together with the notices: a restart neither forgets a condition nor tells it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog

from holdfast.domain.errors import HoldfastError
from holdfast.domain.notice import AGAIN, SETTLED, Level, Notice, NoticeKind
from holdfast.domain.schedule import ScheduleHealth
from holdfast.domain.times import rfc3339
from holdfast.services.doctor import Finding, FindingLevel
from holdfast.services.health_gate import Clock
from holdfast.services.scheduler import Standing
from holdfast.store.notices import Outbox

PAUSE: Final = 15.0
"""Seconds between two looks."""

_DISK: Final = "disk:"
_SCHEDULE: Final = "schedule:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that lasts, and is not as it should be.

    Attributes:
        at_once: it does not come and go by itself, so that it is told without waiting whether it lasts.
    """

    kind: NoticeKind
    title: str
    message: str
    next_step: str
    at_once: bool


class Alarms:
    """Looks at all conditions now and then.

    Args:
        schedules: how all schedules stand.
        space: what is left on each filesystem, as the doctor finds it.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        outbox: Outbox,
        schedules: Callable[[], Awaitable[tuple[Standing, ...]]],
        space: Callable[[], Awaitable[Mapping[str, Finding]]],
    ) -> None:
        self._clock = clock
        self._outbox = outbox
        self._schedules = schedules
        self._space = space
        self._since: dict[str, tuple[bool, float]] = {}
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("alarms")

    def start(self) -> None:
        """Begin to look, in the background."""
        self._task = asyncio.create_task(self._run(), name="alarms")

    async def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def look(self) -> None:
        """Tell what began, what lasts for another day, and what is over."""
        now = datetime.fromtimestamp(self._clock.time(), UTC)
        conditions = await self._conditions()
        told = await self._outbox.told()
        notices: list[Notice] = []
        lasting: dict[str, str] = {}
        over: list[str] = []
        for key, condition in conditions.items():
            new, settled = key not in told, self._settled(key, ailing=True)
            if new and not (condition.at_once or settled):
                continue
            if new or abs(now - told[key][0]) >= AGAIN:
                lasting[key] = condition.title
                notices.append(_notice(condition.kind, Level.PROBLEM, condition.title, now, condition))
        for key, (_, title) in told.items():
            if key not in conditions and (key.startswith(_SCHEDULE) or self._settled(key, ailing=False)):
                over.append(key)
                kind = NoticeKind.DISK_LOW if key.startswith(_DISK) else NoticeKind.SCHEDULE
                notices.append(_notice(kind, Level.OVER, f"Over: {title}", now))
        self._since = {key: since for key, since in self._since.items() if key in conditions or key in told}
        if notices:
            await self._outbox.tell(notices, now=now, lasting=lasting, over=over)

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except HoldfastError as error:
                self._log.warning("conditions could not be looked at", code=error.code, reason=error.message)
            except Exception:  # noqa: BLE001 - a defect met once must not end all alarms for good, and unseen
                self._log.exception("alarms_failed_unforeseen")
            await self._clock.sleep(PAUSE)

    async def _conditions(self) -> dict[str, Condition]:
        found: dict[str, Condition] = {}
        for standing in await self._schedules():
            if not standing.health.well:
                found[_SCHEDULE + standing.schedule.id] = _of_schedule(standing)
        for place, finding in (await self._space()).items():
            if finding.level is not FindingLevel.OK:
                found[_DISK + place] = Condition(
                    kind=NoticeKind.DISK_LOW,
                    title=f"The disk of {place} is nearly full",
                    message=finding.message,
                    next_step=finding.mend,
                    at_once=False,
                )
        return found

    def _settled(self, key: str, *, ailing: bool) -> bool:
        """Whether a condition lasts, or is over, for long enough to be told."""
        now = self._clock.monotonic()
        if self._since.get(key, (not ailing, now))[0] is not ailing:
            self._since[key] = (ailing, now)
        return now - self._since[key][1] >= SETTLED.total_seconds()


def _of_schedule(standing: Standing) -> Condition:
    last = standing.state.last
    overdue = standing.health is ScheduleHealth.OVERDUE
    message = standing.waiting_for if overdue or last is None else last.message
    return Condition(
        kind=NoticeKind.SCHEDULE,
        title=f"{standing.schedule.words}: {standing.health}".capitalize(),
        message=message,
        next_step="See holdfast schedule list; do by hand what can't wait.",
        at_once=not overdue,  # what was missed while the server was down is being caught up
    )


def _notice(kind: NoticeKind, level: Level, title: str, now: datetime, condition: Condition | None = None) -> Notice:
    return Notice(
        kind=kind,
        level=level,
        title=title,
        at=rfc3339(now),
        message="" if condition is None else condition.message,
        next_step="" if condition is None else condition.next_step,
    )
