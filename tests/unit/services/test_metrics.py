"""Samples of what workloads use, taken beside everything else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.unit.services.hand_clock import HandClock

from holdfast.bootstrap import Seams
from holdfast.domain.disk import VolumeSize
from holdfast.domain.errors import NotFound
from holdfast.domain.workload import DesiredState, Resources, Workload
from holdfast.runtime.port import LABEL_INSTALLATION, LABEL_WORKLOAD, ContainerSpec
from holdfast.services.metrics import Metrics, Sampled
from holdfast.store.database import Database
from holdfast.store.metrics import MetricsStore
from holdfast.store.volume_sizes import VolumeSizeStore
from holdfast.testing.fake_runtime import Call, FakeRuntime
from holdfast.testing.installation import deployed, installation, spec_of

INTERVAL = 61.0
MINE = "mine"


@dataclass(frozen=True, kw_only=True)
class Bench:
    runtime: FakeRuntime
    metrics: Metrics
    clock: HandClock
    workload: Workload
    sizes: VolumeSizeStore
    defects: list[Exception]
    """What the engine's next calls raise."""

    async def instance(self, name: str, installation: str = MINE) -> str:
        """A running instance."""
        image = self.runtime.add_image("notes:1")
        labels = {LABEL_INSTALLATION: installation, LABEL_WORKLOAD: self.workload.id}
        container_id = await self.runtime.create(ContainerSpec(name=name, image=image.id, labels=labels))
        await self.runtime.start(container_id)
        return container_id


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = HandClock(INTERVAL, still=True)
    defects: list[Exception] = []

    async def break_down(call: Call) -> None:
        if call.name == "usage" and defects:
            raise defects.pop()

    runtime = FakeRuntime(clock=clock.time, on_call=break_down)
    database = Database.at(tmp_path / "state.db")
    await database.open()
    spec = replace(spec_of(), resources=Resources(memory=1 << 30))
    workload = Workload(id="w", spec=spec, desired=DesiredState.RUNNING, created_at="", updated_at="")

    async def find(ref: str) -> Workload:
        if ref != "notes":
            raise NotFound("workload_unknown", f"There is no workload {ref}.")
        return workload

    sizes = VolumeSizeStore(database)
    metrics = Metrics(
        runtime=runtime,
        installation=MINE,
        workload=find,
        store=MetricsStore(database),
        sizes=sizes,
        interval=INTERVAL,
        clock=clock,
    )
    metrics.start()
    yield Bench(runtime=runtime, metrics=metrics, clock=clock, workload=workload, sizes=sizes, defects=defects)
    await metrics.close()
    await database.close()


async def test_what_instances_used_between_two_samples_is_told(bench: Bench) -> None:
    one, two = await bench.instance("one"), await bench.instance("two")
    await bench.instance("stranger", "another")
    await bench.clock.pass_by()
    assert (await bench.metrics.of("notes")).points == ()
    assert bench.metrics.last == {"w": Sampled(instances=2, used=None)}
    bench.runtime.use(one, cpu=30_500, memory=1000, received=600)
    bench.runtime.use(two, cpu=6_100, memory=500, sent=60)
    await bench.clock.pass_by()
    found = await bench.metrics.of("notes", step=60)
    (point,) = found.points
    assert (point.cpu, point.cpu_max, point.memory, point.received, point.sent) == (36_600, 600, 1500, 600, 60)
    assert (point.seconds, found.limits.memory) == (61, 1 << 30)


async def test_what_the_last_sample_found_is_told_while_the_next_one_is_taken(bench: Bench) -> None:
    await bench.instance("one")
    await bench.clock.pass_by()
    told = []

    async def listen(_call: Call) -> None:
        told.append(bench.metrics.last)

    bench.runtime._on_call = listen
    await bench.clock.pass_by()
    assert told == [{"w": Sampled(instances=1, used=None)}]


async def test_an_instance_that_was_started_again_used_what_it_counts_since(bench: Bench) -> None:
    one = await bench.instance("one")
    bench.runtime.use(one, cpu=90_000, memory=1)
    await bench.clock.pass_by()
    await bench.runtime.stop(one, 1)
    await bench.runtime.start(one)
    bench.runtime.use(one, cpu=2_999, memory=1)
    await bench.clock.pass_by()
    (point,) = (await bench.metrics.of("notes")).points
    assert point.cpu == 3_000


async def test_an_engine_that_is_away_leaves_a_gap_and_is_told_of_once(bench: Bench) -> None:
    one = await bench.instance("one")
    await bench.clock.pass_by()
    bench.runtime.fail("usage")
    with capture_logs() as logs:
        await bench.clock.pass_by()
        await bench.clock.pass_by()
    assert [entry["code"] for entry in logs] == ["engine_unavailable"]
    assert bench.metrics.last == {}
    bench.runtime.heal()
    bench.runtime.use(one, cpu=18_300, memory=1)
    await bench.clock.pass_by()
    (point,) = (await bench.metrics.of("notes", step=60)).points
    assert (point.seconds, point.cpu, point.cpu_max) == (183, 18_300, 100)


async def test_a_defect_met_once_does_not_end_the_sampling(bench: Bench) -> None:
    one = await bench.instance("one")
    bench.defects.append(LookupError("what nobody thought of"))
    with capture_logs() as logs:
        await bench.clock.pass_by()
    assert [entry["event"] for entry in logs] == ["metrics_failed_unforeseen"]
    await bench.clock.pass_by()
    bench.runtime.use(one, cpu=60, memory=1)
    await bench.clock.pass_by()
    assert len((await bench.metrics.of("notes")).points) == 1


async def test_how_large_volumes_are_is_told_with_the_last_time_before(bench: Bench) -> None:
    now = int(bench.clock.time())
    for at, size in ((now - 7200, 1), (now - 3700, 2), (now - 60, 3)):
        await bench.sizes.add(VolumeSize(workload_id="w", target="/data", at=at, bytes=size))
    await bench.sizes.add(VolumeSize(workload_id="other", target="/data", at=now - 60, bytes=9))
    found = await bench.metrics.of("notes", step=60)
    assert [size.bytes for size in found.volumes] == [2, 3]


async def test_an_unknown_workload_has_no_metrics(bench: Bench) -> None:
    with pytest.raises(NotFound):
        await bench.metrics.of("unknown")


async def test_a_server_samples_what_it_deployed_and_nothing_where_it_is_told_not_to(tmp_path: Path) -> None:
    clock = HandClock(INTERVAL)
    place = replace(installation(tmp_path), seams=Seams(clock=clock), more={"metrics_interval": INTERVAL})
    async with place.running() as holdfast:
        await deployed(holdfast, spec_of(volumes=()))
        await clock.pass_by()
        await clock.pass_by()
        assert len((await holdfast.api.metrics.of("notes")).points) == 1
        figures = {family.name: family.values for family in await holdfast.api.monitoring.figures()}
        assert figures["holdfast_workload_instances"] == {("notes",): 1}
        assert figures["holdfast_workload_memory_bytes"] == {("notes",): 1 << 20}
    never = replace(place, more={"metrics_interval": 0.0})
    async with never.running() as holdfast:
        assert "metrics" not in {task.get_name() for task in asyncio.all_tasks()}
        assert len((await holdfast.api.metrics.of("notes")).points) == 1
