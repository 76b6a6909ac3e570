"""The drills that workloads ask for by a schedule: of the newest snapshot that is not known to be damaged."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.config import Settings
from holdfast.domain.errors import NotFound
from holdfast.domain.operation import Operation
from holdfast.domain.schedule import Schedule, ScheduleKind
from holdfast.domain.told import TextOrTold, told
from holdfast.services.drills import Drills
from holdfast.services.snapshots import Snapshots
from holdfast.store.workloads import WorkloadStore

_LOOKED_AT = 100
"""So many of the newest snapshots are looked at for one that is not damaged."""


class ScheduledDrills:
    """Drills of all workloads that say when. One that was never deployed has no snapshots."""

    def __init__(
        self,
        *,
        settings: Settings,
        workloads: WorkloadStore,
        snapshots: Snapshots,
        drills: Drills,
    ) -> None:
        self._settings = settings
        self._workloads = workloads
        self._snapshots = snapshots
        self._drills = drills

    async def schedules(self, subject: str | None = None) -> Sequence[Schedule]:
        """One for each workload that says when."""
        deployed = await self._workloads.deployed()
        return [
            Schedule(
                kind=ScheduleKind.DRILL,
                subject=workload.id,
                name=workload.name,
                cron=workload.spec.snapshots.drill.schedule,
                zone=workload.spec.time_zone or self._settings.time_zone,
            )
            for workload in deployed
            if workload.spec.snapshots.drill.schedule is not None and subject in (None, workload.id)
        ]

    def busy(self, schedule: Schedule) -> TextOrTold | None:
        """The drill that is under way already."""
        running = self._drills.running(schedule.subject)
        return told("a_drill", "drill {id}", id=running) if running else None

    async def start(self, schedule: Schedule, *, actor: str, idempotency_key: str) -> Operation:
        """Drill the newest snapshot, as by hand.

        Raises:
            NotFound: ``drill_without_snapshot``.
        """
        page = await self._snapshots.list(schedule.subject, limit=_LOOKED_AT, cursor=None)
        newest = next((snapshot for snapshot in page.items if not snapshot.damaged), None)
        if newest is None:
            raise NotFound(
                "drill_without_snapshot",
                f"{schedule.name} has no snapshot that could be drilled.",
                next_step=f"Take one: holdfast snapshot create {schedule.name}.",
            )
        return await self._drills.start(schedule.subject, newest.id, actor=actor, idempotency_key=idempotency_key)
