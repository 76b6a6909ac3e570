"""How large volumes are is known from snapshots, or looked at seldom."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.unit.services.hand_clock import BEGIN, HandClock

from holdfast.domain.disk import LOOK_AGAIN, TAKE_OVER
from holdfast.domain.errors import Failed, Problem, Refused
from holdfast.domain.restore import RootRef
from holdfast.domain.snapshot import CapturedVolume, Consistency, SnapshotManifest, SnapshotReason
from holdfast.domain.times import from_unix
from holdfast.domain.workload import DesiredState, Scope, Volume, Workload, WorkloadSpec
from holdfast.engine.disk_use import Wrapper
from holdfast.engine.requests import WorkerSettings
from holdfast.services.locks import LifecycleLocks
from holdfast.services.volume_looks import LOWEST_PRIORITY, PAUSE, VolumeLooks
from holdfast.store.database import Database
from holdfast.store.volume_sizes import VolumeSizeStore
from holdfast.testing.installation import spec_of
from holdfast.testing.quick_workers import QuickWorkers
from holdfast.testing.stores import store_settings

DATA = Volume(target="/data", scope=Scope.STAGE, source="data")
NOTES = Workload(id="w", spec=spec_of(volumes=(DATA,)), desired=DesiredState.RUNNING, created_at="", updated_at="")


class Bench:
    """Real files, a real database, and snapshots as a test tells them."""

    def __init__(self, directory: Path, database: Database) -> None:
        self.base = directory / "volumes"
        self.clock = HandClock(PAUSE, still=True)
        self.sizes = VolumeSizeStore(database)
        self.locks = LifecycleLocks()
        self.taken: list[SnapshotManifest | Failed] = []
        self.kept: list[Wrapper] = []
        self.there = [NOTES]
        self.forbidden = ""
        settings = WorkerSettings(roots=(str(self.base),), stores=store_settings(directory))
        self.looks = VolumeLooks(
            workloads=self.workloads,
            volumes=self,
            manifests=self.manifests,
            sizes=self.sizes,
            locks=self.locks,
            workers=QuickWorkers(settings, count=1),
            wrappers=lambda: self.kept,
            clock=self.clock,
        )

    async def workloads(self) -> list[Workload]:
        return self.there

    def resolve(self, spec: WorkloadSpec, volume: Volume) -> RootRef:
        if spec.name == self.forbidden:
            raise Refused([Problem(code="volume_root_not_allowed", message="Not there.", next_step="")])
        return RootRef(root=str(self.base), relative=f"{spec.name}/{volume.source}")

    def manifests(self) -> Iterator[SnapshotManifest]:
        for taken in self.taken:
            if isinstance(taken, Failed):
                raise taken
            yield taken

    def snapshot(self, ago: float, size: int, reason: SnapshotReason = SnapshotReason.SCHEDULED) -> None:
        """Taken so many seconds ago."""
        volume = CapturedVolume(index=0, target="/data", scope=Scope.STAGE, source="data", disk_bytes=size)
        manifest = SnapshotManifest(
            id=f"s{len(self.taken)}",
            workload_id="w",
            workload_name="notes",
            created_at=from_unix(self.clock.time() - ago),
            reason=reason,
            consistency=Consistency.LIVE,
            volumes=(volume,),
        )
        self.taken.append(manifest)

    def write(self, size: int) -> None:
        (self.base / "notes/data/file").write_bytes(bytes(size))

    async def known(self) -> list[tuple[float, int]]:
        """All sizes: how long after the beginning, and how large."""
        found = await self.sizes.of("w", until=1 << 40)
        return [(size.at - BEGIN, size.bytes) for size in found]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    (tmp_path / "volumes" / "notes" / "data").mkdir(parents=True)
    database = Database.at(tmp_path / "state.db")
    await database.open()
    bench = Bench(tmp_path, database)
    yield bench
    await bench.looks.close()
    await database.close()


async def test_a_volume_that_no_snapshot_tells_about_is_walked_once_a_day(bench: Bench) -> None:
    bench.write(5000)
    await bench.looks.look()
    bench.clock.ahead += LOOK_AGAIN - 1
    bench.write(9000)
    await bench.looks.look()
    assert await bench.known() == [(0, 8192)]
    bench.clock.ahead += 1
    await bench.looks.look()
    assert await bench.known() == [(0, 8192), (LOOK_AGAIN, 12288)]


async def test_what_snapshots_counted_is_taken_over_now_and_then_and_nothing_is_walked(bench: Bench) -> None:
    bench.write(5000)
    bench.snapshot(50, 70)
    bench.snapshot(20, 71)
    bench.snapshot(10, 99, SnapshotReason.IMPORTED)
    await bench.looks.look()
    assert await bench.known() == [(-20, 71)]
    bench.clock.ahead += TAKE_OVER - 21
    bench.snapshot(0, 72)
    await bench.looks.look()
    bench.clock.ahead += 1
    bench.snapshot(0, 73)
    await bench.looks.look()
    assert await bench.known() == [(-20, 71), (TAKE_OVER - 20, 73)]


async def test_nothing_is_walked_while_somebody_is_at_work(bench: Bench) -> None:
    async with bench.locks.hold(["w"], "restore 1"):
        await bench.looks.look()
    assert await bench.known() == []
    await bench.looks.look()
    assert await bench.known() == [(0, 0)]


async def test_what_can_t_be_looked_at_keeps_nothing_else_from_it(bench: Bench) -> None:
    (bench.base / "notes" / "data").rmdir()
    wrapper = bench.base / "notes" / ".holdfast-r1-0"
    (wrapper / "staged").mkdir(parents=True)
    (wrapper / "staged" / "file").write_bytes(bytes(5000))
    ref = RootRef(root=str(bench.base), relative="notes/.holdfast-r1-0")
    gone = RootRef(root=str(bench.base), relative="notes/.holdfast-r2-0")
    bench.kept = [Wrapper(restore_id="1", workload_name="notes", target="/data", ref=each) for each in (gone, ref)]
    await bench.looks.look()
    assert await bench.known() == []
    assert [(item.bytes, item.at) for item in bench.looks.kept.values()] == [(None, None), (12288, BEGIN)]


def test_who_walks_gives_way_to_all_others() -> None:
    assert subprocess.check_output([*LOWEST_PRIORITY, "nice"]) == b"19\n"


async def test_a_volume_whose_place_is_forbidden_by_now_keeps_no_other_from_it(bench: Bench) -> None:
    bench.there = [replace(NOTES, id="v", spec=replace(NOTES.spec, name="forbidden")), NOTES]
    bench.forbidden = "forbidden"
    await bench.looks.look()
    assert await bench.known() == [(0, 0)]


async def test_a_look_that_fails_is_not_the_last(bench: Bench) -> None:
    bench.taken = [Failed("disk_failed", "The disk failed.")]
    bench.looks.start()
    with capture_logs() as logs:
        await bench.clock.pass_by()
    assert [entry["code"] for entry in logs] == ["disk_failed"]
    bench.taken.clear()
    await bench.clock.pass_by()
    assert await bench.known() == [(2 * PAUSE, 0)]
