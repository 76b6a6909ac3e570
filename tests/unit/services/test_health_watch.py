"""How workloads are is looked at when something happens, and kept when it is other than before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from tests.unit.services.hand_clock import HandClock
from tests.unit.services.test_engine_watch import until

from holdfast.bootstrap import Holdfast, Seams
from holdfast.domain.errors import NotFound, Unavailable
from holdfast.domain.health_history import Health
from holdfast.domain.workload import DesiredState, Workload
from holdfast.runtime.port import (
    LABEL_INSTALLATION,
    LABEL_WORKLOAD,
    Container,
    ContainerEvent,
    ContainerSpec,
    ContainerState,
    ImageHealth,
)
from holdfast.services.health_gate import SystemClock
from holdfast.services.health_watch import HealthWatch, health_of
from holdfast.store.database import Database
from holdfast.store.health import HealthStore
from holdfast.store.workloads import WorkloadStore
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.installation import deployed, installation, spec_of

MINE = {LABEL_INSTALLATION: "mine", LABEL_WORKLOAD: "w"}
WORKLOAD = Workload(id="w", spec=spec_of(), desired=DesiredState.RUNNING, created_at="", updated_at="")


class Ahead(SystemClock):
    """A clock that shows another minute each time that it is looked at."""

    minutes = 30_000_000

    def time(self) -> float:
        self.minutes += 1
        return 60.0 * self.minutes


@dataclass(kw_only=True)
class Bench:
    runtime: FakeRuntime
    watch: HealthWatch
    told: list[str] = field(default_factory=list)
    engine_away: bool = False

    async def instance(self) -> str:
        image = self.runtime.add_image("notes:1")
        container_id = await self.runtime.create(ContainerSpec(name="one", image=image.id, labels=MINE))
        await self.runtime.start(container_id)
        return container_id

    async def states(self) -> list[Health]:
        return [held.state for held in (await self.watch.of("notes")).states]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    runtime = FakeRuntime()
    database = Database.at(tmp_path / "state.db")
    await database.open()
    await WorkloadStore(database).insert(WORKLOAD, None)

    async def containers() -> tuple[Container, ...]:
        if here.engine_away:
            raise Unavailable("engine_unavailable", "It is away.", next_step="Start it.")
        return tuple(await runtime.containers(MINE))

    async def workloads() -> tuple[Workload, ...]:
        return (WORKLOAD,)

    async def find(ref: str) -> Workload:
        if ref != "notes":
            raise NotFound("workload_unknown", f"There is no workload {ref}.")
        return WORKLOAD

    watch = HealthWatch(
        installation="mine",
        containers=containers,
        workloads=workloads,
        workload=find,
        store=HealthStore(database),
        tell=lambda key: here.told.append(key),
        clock=Ahead(),
        pause=0.0,
    )
    here = Bench(runtime=runtime, watch=watch)
    yield here
    await watch.close()
    await database.close()


def event(installation: str = "mine") -> ContainerEvent:
    return ContainerEvent(action="die", container_id="c", labels=MINE | {LABEL_INSTALLATION: installation}, at="")


async def test_it_is_looked_at_the_start_and_when_something_happens_to_an_own_container(bench: Bench) -> None:
    container_id = await bench.instance()
    bench.watch.start()
    async with asyncio.timeout(10):
        await until(lambda: bench.told == ["w"], lambda: asyncio.sleep(0.01))
        bench.runtime.crash(container_id)
        bench.watch.happened(event("another"))
        assert not bench.watch._told.is_set()
        bench.watch.happened(event())
        await until(lambda: bench.told == ["w", "w"], lambda: asyncio.sleep(0.01))
    assert (await bench.states())[-2:] == [Health.HEALTHY, Health.DOWN]


async def test_an_engine_that_is_away_makes_it_unknown_until_it_is_back(bench: Bench) -> None:
    await bench.instance()
    for bench.engine_away in (False, True, True, False):
        await bench.watch.look()
    assert (await bench.states())[-3:] == [Health.HEALTHY, Health.UNKNOWN, Health.HEALTHY]
    assert bench.told == ["w"] * 3


async def test_what_was_while_no_server_looked_is_unknown(bench: Bench) -> None:
    await bench.instance()
    await bench.watch.look()
    await bench.watch.look()
    bench.watch._anew = True
    await bench.watch.look()
    assert (await bench.states())[-3:] == [Health.HEALTHY, Health.UNKNOWN, Health.HEALTHY]


async def test_of_what_is_not_there_nothing_is_told(bench: Bench) -> None:
    with pytest.raises(NotFound):
        await bench.watch.of("others")


async def test_what_a_workload_is_follows_from_its_instances_and_from_what_it_should_be(bench: Bench) -> None:
    runs = await bench.runtime.inspect(await bench.instance())
    ended = replace(runs, state=ContainerState.EXITED)
    restarting = replace(runs, state=ContainerState.RESTARTING)
    paused = replace(runs, state=ContainerState.PAUSED)
    unwell = replace(runs, health=ImageHealth.UNHEALTHY)
    starting = replace(runs, health=ImageHealth.STARTING)
    running, stopped = DesiredState.RUNNING, DesiredState.STOPPED
    for desired, containers, state in (
        (running, [runs], Health.HEALTHY),
        (running, [starting], Health.HEALTHY),
        (running, [paused], Health.HEALTHY),
        (running, [runs, unwell], Health.UNHEALTHY),
        (running, [restarting], Health.UNHEALTHY),
        (running, [ended, replace(ended, health=ImageHealth.UNHEALTHY)], Health.DOWN),
        (running, [], Health.DOWN),
        (stopped, [ended], Health.STOPPED),
        (stopped, [runs], Health.HEALTHY),
    ):
        assert health_of(desired, containers) is state


async def test_a_server_keeps_how_its_workloads_were_and_what_was_while_it_was_away_is_unknown(tmp_path: Path) -> None:
    clock = HandClock(-1)
    place = replace(installation(tmp_path), health_pause=0.0, seams=Seams(clock=clock))

    async def become(holdfast: Holdfast, *wanted: Health) -> None:
        """Wait until this is how it was at last."""
        states: list[Health] = []

        async def look() -> None:
            await asyncio.sleep(0.01)
            states[:] = [held.state for held in (await holdfast.api.health.of("notes", since=0)).states]

        async with asyncio.timeout(10):
            await until(lambda: states[-len(wanted) :] == [*wanted], look)

    async with place.running() as holdfast:
        workload = await deployed(holdfast)
        clock.ahead += 100
        await become(holdfast, Health.HEALTHY)
        await holdfast.operations.wait((await holdfast.api.deployer.stop(workload.id, actor="test")).id)
        clock.ahead += 100
        await become(holdfast, Health.HEALTHY, Health.STOPPED)
    clock.ahead += 100
    async with place.running() as holdfast:
        clock.ahead += 100
        await become(holdfast, Health.HEALTHY, Health.STOPPED, Health.UNKNOWN, Health.STOPPED)
