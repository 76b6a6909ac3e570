"""What is told of containers is what they are, however often it is asked."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from holdfast.domain.errors import Unavailable
from holdfast.domain.workload import RestartPolicy
from holdfast.runtime.port import LABEL_INSTALLATION, Container, ContainerSpec, ContainerState, ImageHealth
from holdfast.services.engine_watch import EngineWatch
from holdfast.services.readiness import Readiness
from holdfast.services.restore_registry import RestoreRegistry
from holdfast.services.sightings import Sightings
from holdfast.testing.fake_records import Behaviour
from holdfast.testing.fake_runtime import Call, FakeRuntime


async def nothing(_: object) -> None:
    """Nothing has to be done, or nobody is told."""


@dataclass(slots=True)
class Bench:
    runtime: FakeRuntime
    sightings: Sightings
    watch: EngineWatch
    on_call: Callable[[Call], Awaitable[None]] = nothing
    now: float = 1.0
    called: defaultdict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))

    async def calling(self, call: Call) -> None:
        self.called[call.name].set()
        await self.on_call(call)

    async def run(self, image: str = "app:1", name: str = "app") -> str:
        container_id = await self.runtime.create(
            ContainerSpec(name=name, image=image, labels={LABEL_INSTALLATION: "here"})
        )
        await self.runtime.start(container_id)
        return container_id

    async def told(self) -> list[Container]:
        """What is told, once the events until now have arrived, as they do while an engine's list comes."""
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return list(await self.sightings.all())

    def looks(self) -> list[str]:
        looked = [call.subject for call in self.runtime.calls if call.name == "inspect"]
        self.runtime.calls.clear()
        return looked


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    runtime = FakeRuntime(clock=lambda: made.now, on_call=lambda call: made.calling(call))
    sightings = Sightings(runtime, "here")
    watch = EngineWatch(runtime, Readiness(RestoreRegistry()), nothing, sightings.happened, sightings.follow, pause=0.0)
    made = Bench(runtime, sightings, watch)
    runtime.add_image("app:1", Behaviour())
    watch.start()
    await followed(made)
    yield made
    await watch.close()


async def followed(bench: Bench) -> None:
    await bench.called["events"].wait()
    bench.called.clear()
    bench.runtime.calls.clear()


async def test_a_container_is_looked_at_once(bench: Bench) -> None:
    first, second = await bench.run(), await bench.run(name="other")
    assert [container.id for container in await bench.told()] == [second, first]
    assert bench.looks() == [second, first]
    assert [container.id for container in await bench.told()] == [second, first]
    assert bench.looks() == []


async def test_a_restart_a_kill_and_a_removal_by_hand_show_at_once(bench: Bench) -> None:
    container_id = await bench.run()
    await bench.told()
    await bench.runtime.stop(container_id, 1)
    await bench.runtime.start(container_id)
    assert await bench.told() == [await bench.runtime.inspect(container_id)]
    bench.runtime.crash(container_id, 137)
    [killed] = await bench.told()
    assert (killed.state, killed.exit_code) == (ContainerState.EXITED, 137)
    await bench.runtime.remove(container_id)
    assert await bench.told() == []


async def test_a_kill_shows_even_before_its_event_has_come(bench: Bench) -> None:
    container_id = await bench.run()
    untold = Sightings(bench.runtime, "here")
    untold.follow(True)
    assert [container.state for container in await untold.all()] == [ContainerState.RUNNING]
    bench.runtime.crash(container_id)
    assert [container.state for container in await untold.all()] == [ContainerState.EXITED]


async def test_what_no_list_shows_is_told_by_the_event(bench: Bench) -> None:
    container_id = await bench.run()
    await bench.told()
    await bench.runtime.set_restart_policy(container_id, RestartPolicy.ALWAYS)
    await bench.runtime.rename(container_id, "renamed")
    [told] = await bench.told()
    assert (told.restart, told.name) == (RestartPolicy.ALWAYS, "renamed")


async def test_another_health_or_state_than_the_one_known_is_looked_at_without_an_event(bench: Bench) -> None:
    bench.runtime.add_image("checked:1", Behaviour(health=ImageHealth.HEALTHY, healthy_after=10.0))
    await bench.run("checked:1")
    assert [container.health for container in await bench.told()] == [ImageHealth.STARTING]
    bench.now += 10.0
    assert [container.health for container in await bench.told()] == [ImageHealth.HEALTHY]


async def test_what_was_seen_before_an_event_is_not_kept(bench: Bench) -> None:
    container_id = await bench.run()

    async def changes_while_it_is_looked_at(call: Call) -> None:
        if call.name == "inspect":
            bench.on_call = nothing
            await bench.runtime.set_restart_policy(container_id, RestartPolicy.ALWAYS)
            await asyncio.sleep(0)

    bench.on_call = changes_while_it_is_looked_at
    await bench.told()
    bench.looks()
    await bench.told()
    assert bench.looks() == [container_id]


async def test_nothing_is_kept_while_the_events_are_not_followed(bench: Bench) -> None:
    container_id = await bench.run()
    await bench.told()
    bench.runtime.fail("info")
    bench.runtime.restart_engine()
    await bench.called["info"].wait()
    for _ in range(2):
        bench.looks()
        await bench.told()
        assert bench.looks() == [container_id]
    bench.runtime.heal()
    await followed(bench)
    await bench.told()
    assert bench.looks() == [container_id]
    await bench.told()
    assert bench.looks() == []


async def test_an_engine_that_does_not_answer_is_told(bench: Bench) -> None:
    await bench.run()
    await bench.told()
    bench.runtime.fail("listed")
    with pytest.raises(Unavailable):
        await bench.told()
