"""The snapshots that workloads ask for by a schedule."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.config import Settings
from holdfast.domain.drill import is_throw_away
from holdfast.domain.operation import Operation
from holdfast.domain.schedule import Schedule, ScheduleHealth, ScheduleKind
from holdfast.domain.snapshot import SnapshotReason
from holdfast.domain.told import TextOrTold, Told, told
from holdfast.domain.workload import Workload
from holdfast.services.doctor import ScheduleFacts
from holdfast.services.locks import LifecycleLocks
from holdfast.services.repository_care import RepositoryCare
from holdfast.services.scheduler import Scheduler, Standing
from holdfast.services.snapshots import Snapshots
from holdfast.store.previews import PreviewStore
from holdfast.store.workloads import WorkloadStore


class ScheduledSnapshots:
    """Snapshots of all workloads that say when. One that was never deployed has nothing to capture yet."""

    def __init__(
        self,
        *,
        settings: Settings,
        workloads: WorkloadStore,
        previews: PreviewStore,
        snapshots: Snapshots,
        care: RepositoryCare,
        locks: LifecycleLocks,
    ) -> None:
        self._settings = settings
        self._workloads = workloads
        self._previews = previews
        self._snapshots = snapshots
        self._care = care
        self._locks = locks

    async def schedules(self, subject: str | None = None) -> Sequence[Schedule]:
        """One for each workload that says when."""
        return [
            Schedule(
                kind=ScheduleKind.SNAPSHOT,
                subject=workload.id,
                name=workload.name,
                cron=workload.spec.snapshots.schedule,
                zone=workload.spec.time_zone or self._settings.time_zone,
                missed=workload.spec.snapshots.missed,
            )
            for workload in await self._deployed(subject)
            if workload.spec.snapshots.schedule is not None
        ]

    async def unprotected(self) -> Sequence[str]:
        """The names of deployed workloads whose data no schedule captures; previews are for a while, and have none."""
        previews = {preview.workload_id for preview, _ in await self._previews.list()}
        return [
            workload.name
            for workload in await self._deployed(None)
            if workload.spec.captured_volumes
            and workload.spec.snapshots.schedule is None
            and not is_throw_away(workload.spec)
            and workload.id not in previews
        ]

    def busy(self, schedule: Schedule) -> TextOrTold | None:
        """Who is at work on the workload."""
        return self._locks.holder(schedule.subject)

    async def start(self, schedule: Schedule, *, actor: str, idempotency_key: str) -> Operation:
        """Take one, as by hand; then delete those that the workload no longer keeps."""
        return await self._snapshots.create(
            schedule.subject,
            reason=SnapshotReason.SCHEDULED,
            note="",
            actor=actor,
            idempotency_key=idempotency_key,
            then=self._care.retain,
        )

    async def _deployed(self, workload_id: str | None) -> Sequence[Workload]:
        """All workloads of which a deployment succeeded, or the one of this id."""
        return [each for each in await self._workloads.deployed() if workload_id in (None, each.id)]


def _ailing(standing: Standing) -> Told:
    schedule = standing.schedule.told
    if standing.health is ScheduleHealth.OVERDUE:
        return told("ailing_overdue", "{schedule} (overdue)", schedule=schedule)
    if standing.health is ScheduleHealth.MISSED:
        return told("ailing_missed", "{schedule} (missed)", schedule=schedule)
    return told("ailing_failed", "{schedule} (failed)", schedule=schedule)


async def schedule_facts(scheduler: Scheduler, snapshots: ScheduledSnapshots) -> ScheduleFacts:
    """How all schedules are, and whose data none captures, for the doctor."""
    found = await scheduler.list()
    return ScheduleFacts(
        total=len(found),
        ailing=tuple(_ailing(each) for each in found if not each.health.well),
        unprotected=tuple(await snapshots.unprotected()),
    )
