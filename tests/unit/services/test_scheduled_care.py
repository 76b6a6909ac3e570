"""A whole installation by night: prunes, verifications and copies happen by themselves, as by hand."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from holdfast.bootstrap import Seams
from holdfast.config import Settings
from holdfast.domain.operation import Operation, OperationKind
from holdfast.domain.repository import RepositoryKind, RepositoryPlace
from holdfast.domain.retention import Keep
from holdfast.domain.schedule import SPREAD, ScheduleHealth
from holdfast.domain.workload import DrillPolicy, SnapshotPolicy
from holdfast.testing.installation import Installation, deployed, installation, snapshotted, spec_of, succeeded
from holdfast.testing.quick_workers import QuickWorkers

THREE = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
NIGHT = "0 3 * * *"


class NightClock:
    """Time of day as it was set; all else goes on as always."""

    def __init__(self) -> None:
        self.at = THREE - timedelta(hours=1)

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return self.at.timestamp()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass(frozen=True, kw_only=True)
class Scheduled(Installation):
    """One whose settings say when."""

    @property
    def settings(self) -> Settings:
        return replace(
            super().settings, prune_schedule=NIGHT, verify_schedule=NIGHT, verify_share=100, copy_schedule=NIGHT
        )


async def test_a_night_in_which_everything_is_due(tmp_path: Path) -> None:
    clock = NightClock()
    (tmp_path / "here").mkdir()
    plain = installation(tmp_path / "here")
    seams = Seams(workers=QuickWorkers, clock=clock)
    async with Scheduled(directory=plain.directory, runtime=plain.runtime, seams=seams).running() as holdfast:
        place = RepositoryPlace(kind=RepositoryKind.DIRECTORY, path=str(tmp_path / "far"))
        await holdfast.api.repositories.add("far", place, "", encrypt=False, take_over=False)
        workload = await deployed(
            holdfast, replace(spec_of(), snapshots=SnapshotPolicy(keep=Keep(last=1), drill=DrillPolicy(schedule=NIGHT)))
        )
        await snapshotted(holdfast, workload)
        kept = await snapshotted(holdfast, workload)
        await holdfast.scheduler.look()
        clock.at = THREE + SPREAD
        done: dict[OperationKind, Operation] = {}
        while not {OperationKind.PRUNE, OperationKind.VERIFY, OperationKind.COPY, OperationKind.DRILL} <= done.keys():
            await holdfast.scheduler.look()
            for operation in (await holdfast.operations.list(limit=30)).items:
                if operation.actor == "schedule":
                    done[operation.kind] = await succeeded(holdfast, operation)
        await holdfast.scheduler.look()
        assert done[OperationKind.PRUNE].outcome["deleted_snapshots"] == 1
        assert done[OperationKind.VERIFY].outcome["share"] == 100
        assert (await holdfast.api.snapshots.get("notes", kept)).proved_at == done[OperationKind.DRILL].outcome[
            "proved_at"
        ]
        copied = (await holdfast.api.second_snapshots.list("far", workload=None, limit=10, cursor=None)).items
        assert kept in [snapshot.id for snapshot in copied]
        assert [(each.schedule.words, each.health) for each in await holdfast.scheduler.list()] == [
            ("copies to far", ScheduleHealth.ON_TIME),
            ("drills of notes", ScheduleHealth.ON_TIME),
            ("prunes", ScheduleHealth.ON_TIME),
            ("verifications", ScheduleHealth.ON_TIME),
        ]
