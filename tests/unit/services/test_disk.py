"""What takes space is told by its cause, and costs no walk through volumes."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from tests.unit.services.hand_clock import HandClock

from holdfast.bootstrap import Seams
from holdfast.domain.disk import Cause, CauseUse, FreeSpace
from holdfast.domain.drill import LABEL_DRILL
from holdfast.domain.workload import Scope, Volume
from holdfast.engine.fs import Fs
from holdfast.services.disk import DiskReport
from holdfast.services.filesystems import Filesystems
from holdfast.services.volume_looks import PAUSE
from holdfast.store.free_space import FreeSpaceStore
from holdfast.testing.fake_records import Behaviour
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.installation import deployed, installation, snapshotted, spec_of, succeeded
from holdfast.testing.quick_workers import QuickWorkers

DATA = Volume(target="/data", scope=Scope.STAGE, source="data")
SHARED = Volume(target="/media", scope=Scope.PROJECT, source="media")

DAY = 86400
GIB = 1 << 30


def uses(report: DiskReport) -> dict[Cause, CauseUse]:
    return {use.cause: use for use in report.causes}


class Share(Fs):
    """What is free on it is not told while it is silent, nor once it is gone."""

    def __init__(self) -> None:
        self.asked, self.talks = threading.Event(), threading.Event()
        self.talks.set()
        self.gone = False
        self.times = 0

    def statvfs(self, fd: int) -> os.statvfs_result:
        self.times += 1
        self.asked.set()
        self.talks.wait()
        if self.gone:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return super().statvfs(fd)


async def test_everything_is_told_by_its_cause(tmp_path: Path) -> None:
    clock, share = HandClock(PAUSE), Share()
    place = replace(
        installation(tmp_path, behaviour=Behaviour(logs=("hello",))),
        seams=Seams(clock=clock, workers=QuickWorkers, fs=share),
        more={"volumes_base": tmp_path / "data/for/volumes"},
    )
    async with place.running() as holdfast:
        notes = await deployed(holdfast, spec_of(volumes=(DATA, SHARED)))
        other = await deployed(holdfast, spec_of("other", volumes=(SHARED,)))
        await deployed(holdfast, replace(spec_of("trial", volumes=(DATA,)), labels=((LABEL_DRILL, "s"),)))
        (place.volumes / "notes/data/file").write_bytes(bytes(100_000))
        (place.settings.uploads_dir / "archive").write_bytes(bytes(9000))
        before = uses(await holdfast.api.disk.report())
        assert [item.bytes for item in before[Cause.VOLUMES].items] == [None, None]
        await snapshotted(holdfast, notes)
        runtime = holdfast.runtime
        assert isinstance(runtime, FakeRuntime)
        runtime.add_image("notes:1", version="2")
        await succeeded(holdfast, await holdfast.api.deployer.deploy(other.id, actor="ann"))
        await clock.pass_by()
        report = await holdfast.api.disk.report()
        found = uses(report)
        assert list(found) == list(Cause)
        data, media = found[Cause.VOLUMES].items
        assert data.name == f"notes:/data ({place.volumes}/notes/data)"
        assert media.name == f"notes:/media, other:/media ({place.volumes}/@home/media)"
        assert data.bytes is not None
        assert 100_000 <= data.bytes < 200_000
        assert found[Cause.VOLUMES].bytes == data.bytes
        assert [item.name.partition(":")[0] for item in found[Cause.TRIALS].items] == ["trial"]
        assert found[Cause.SNAPSHOTS].bytes > 0
        assert [item.name for item in found[Cause.SNAPSHOTS].items] == ["notes"]
        assert [item.name for item in found[Cause.LOGS].items] == ["other"]
        assert {item.name: item.bytes for item in found[Cause.LEFTOVERS].items} == {"received: archive": 12288}
        assert found[Cause.DATABASE].bytes > 0
        assert "keys" in {item.name for item in found[Cause.OTHER].items}
        assert not {"for", "repository", "logs", "uploads"} & {item.name for item in found[Cause.OTHER].items}
        assert found[Cause.IMAGES].bytes > 0
        assert report.filesystems[0].total_bytes > report.filesystems[0].free_bytes > 0
        (size,) = [size for size in (await holdfast.api.metrics.of("notes")).volumes if size.target == "/data"]
        assert size.bytes == data.bytes
        figures = {family.name: family.values for family in await holdfast.api.monitoring.figures()}
        assert figures["holdfast_ready"] == {(): 1}
        assert figures["holdfast_operations_unfinished"] == {(): 0}
        assert figures["holdfast_operations_ended"] == {("deploy", "succeeded"): 4, ("snapshot", "succeeded"): 1}
        assert figures["holdfast_workload_wanted"] == {("notes",): 1, ("other",): 1, ("trial",): 1}
        assert figures["holdfast_workload_instances"] == {}
        assert figures["holdfast_snapshots"] == {("notes",): 1, ("other",): 0, ("trial",): 0}
        assert figures["holdfast_snapshots_stored_bytes"]["notes",] > 0
        assert figures["holdfast_snapshot_newest_timestamp_seconds"].keys() == {("notes",)}
        assert figures["holdfast_volume_bytes"]["notes", "/data"] == data.bytes
        assert figures["holdfast_schedule_well"] == {}
        assert report.filesystems[0].mount_point in {place for (place,) in figures["holdfast_filesystem_free_bytes"]}
        runtime.fail("images")
        away = uses(await holdfast.api.disk.report())[Cause.IMAGES]
        assert (away.bytes, bool(away.problem)) == (0, True)
        share.gone = True
        figures = {family.name: family.values for family in await holdfast.api.monitoring.figures()}
        assert (figures["holdfast_ready"], figures["holdfast_filesystem_free_bytes"]) == ({(): 1}, {})
        share.gone = False


async def test_what_is_free_is_noted_seldom_and_tells_when_a_filesystem_will_be_full(tmp_path: Path) -> None:
    clock = HandClock(PAUSE)
    place = replace(installation(tmp_path), seams=Seams(clock=clock, workers=QuickWorkers))
    async with place.running() as holdfast:
        report = await holdfast.api.disk.report()
        (here, *_) = report.filesystems
        assert report.forecasts[here.mount_point] is None
        store = FreeSpaceStore(holdfast.database)
        await clock.pass_by()
        await clock.pass_by()
        (first,) = (await store.by_filesystem())[here.mount_point]
        ago = [
            FreeSpace(mount_point=here.mount_point, at=first.at - days * DAY, free_bytes=first.free_bytes + days * GIB)
            for days in (2, 1)
        ]
        await store.add(ago)
        forecast = (await holdfast.api.disk.report()).forecasts[here.mount_point]
        assert forecast is not None
        assert (forecast.since, forecast.bytes_per_day) == (first.at - 2 * DAY, GIB)


async def test_a_filesystem_that_does_not_answer_holds_one_thread_however_many_ask(tmp_path: Path) -> None:
    fs, nothing = Share(), cast("Any", None)
    filesystems = Filesystems(
        settings=installation(tmp_path).settings, fs=fs, store=nothing, clock=nothing, patience=0.01
    )
    fs.talks.clear()
    try:
        assert await asyncio.gather(*(filesystems.all() for _ in range(20))) == [()] * 20
        assert await asyncio.to_thread(fs.asked.wait, 60)
        assert await filesystems.all() == ()
        assert fs.times == 1
    finally:
        fs.talks.set()
    async with asyncio.timeout(60):
        while not await filesystems.all():
            pass
