"""What the operator has done to the repositories by a schedule: prunes, verifications, copies."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.config import Settings
from holdfast.domain.operation import Operation
from holdfast.domain.schedule import Schedule, ScheduleKind
from holdfast.domain.told import TextOrTold, told
from holdfast.services.copies import Copies
from holdfast.services.repositories import Repositories
from holdfast.services.repository_care import RepositoryCare


class ScheduledCare:
    """One schedule each for prunes and verifications, and one for copies to each second repository."""

    def __init__(self, *, settings: Settings, care: RepositoryCare, copies: Copies, repositories: Repositories) -> None:
        self._settings = settings
        self._care = care
        self._copies = copies
        self._repositories = repositories

    async def schedules(self, subject: str | None = None) -> Sequence[Schedule]:
        """Those that the settings give a time."""
        settings = self._settings
        wanted = [
            (ScheduleKind.PRUNE, "", "", settings.prune_schedule),
            (ScheduleKind.VERIFY, "", "", settings.verify_schedule),
        ]
        if settings.copy_schedule:
            for second in await self._repositories.list():
                wanted.append((ScheduleKind.COPY, second.id, second.name, settings.copy_schedule))
        return [
            Schedule(kind=kind, subject=of, name=name, cron=cron, zone=settings.time_zone)
            for kind, of, name, cron in wanted
            if cron and subject in (None, of)
        ]

    def busy(self, schedule: Schedule) -> TextOrTold | None:
        """Who is at the same work already."""
        match schedule.kind:
            case ScheduleKind.PRUNE:
                return told("a_prune", "prune {id}", id=self._care.pruning) if self._care.pruning else None
            case ScheduleKind.COPY:
                running = self._copies.running(schedule.name)
                return told("a_copy", "copy {id}", id=running) if running else None
            case _:
                return None

    async def start(self, schedule: Schedule, *, actor: str, idempotency_key: str) -> Operation:
        """Begin it, as by hand."""
        match schedule.kind:
            case ScheduleKind.PRUNE:
                return await self._care.prune(None, dry_run=False, actor=actor, idempotency_key=idempotency_key)
            case ScheduleKind.COPY:
                return await self._copies.copy_everything(schedule.name, actor=actor, idempotency_key=idempotency_key)
            case _:
                return await self._care.verify(
                    percent=self._settings.verify_share, actor=actor, idempotency_key=idempotency_key
                )
