"""Logs of a workload, merged over its instances."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from holdfast.domain.errors import Unavailable
from holdfast.domain.restore import RootRef
from holdfast.domain.workload import Volume, Workload, WorkloadSpec
from holdfast.runtime.port import LABEL_INSTALLATION, LABEL_WORKLOAD, ContainerLog, ContainerSpec
from holdfast.services.instances import Instances
from holdfast.services.logs import Logs
from holdfast.testing.fake_runtime import FakeRuntime


class NoVolumes:
    def resolve(self, spec: WorkloadSpec, volume: Volume) -> RootRef:
        raise AssertionError("no volume is asked for")


class NoSecrets:
    async def environment(self, workload: Workload) -> dict[str, str]:
        raise AssertionError("no secret is asked for")


class Bench:
    def __init__(self) -> None:
        self.now = 1000.0
        self.runtime = FakeRuntime(clock=self.clock, timeout=0.0)
        self.image = self.runtime.add_image("notes:1")
        self.logs = Logs(self.runtime, "i", Instances(self.runtime, "i", NoVolumes(), NoSecrets()))

    def clock(self) -> float:
        self.now += 1.0
        return self.now

    async def instance(self, name: str, workload: str = "w") -> str:
        labels = {LABEL_INSTALLATION: "i", LABEL_WORKLOAD: workload}
        container = await self.runtime.create(ContainerSpec(name=name, image=self.image.id, labels=labels))
        await self.runtime.start(container)
        return container


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def texts(lines: AsyncIterator[ContainerLog]) -> list[str]:
    return [line.text async for line in lines]


async def test_the_lines_of_all_instances_are_merged_by_time(bench: Bench) -> None:
    one, two = await bench.instance("one"), await bench.instance("two")
    other = await bench.instance("other", workload="another")
    for container, text in ((one, "1"), (two, "2"), (other, "not ours"), (one, "3"), (two, "4")):
        bench.runtime.print(container, text)
    assert await texts(bench.logs.read("w")) == ["1", "2", "3", "4"]


async def test_the_last_lines_are_the_last_of_all_instances_together(bench: Bench) -> None:
    one, two = await bench.instance("one"), await bench.instance("two")
    for number in range(6):
        bench.runtime.print((one, two)[number % 2], str(number))
    assert await texts(bench.logs.read("w", tail=3)) == ["3", "4", "5"]
    assert await texts(bench.logs.read("w", tail=0)) == []


async def test_what_a_stopped_instance_printed_can_still_be_read(bench: Bench) -> None:
    one = await bench.instance("one")
    bench.runtime.print(one, "last words")
    await bench.runtime.stop(one, 1.0)
    assert await texts(bench.logs.read("w")) == ["last words"]


async def test_following_gives_lines_as_they_are_printed(bench: Bench) -> None:
    one, two = await bench.instance("one"), await bench.instance("two")
    bench.runtime.print(one, "before")
    async with aclosing(bench.logs.read("w", follow=True)) as lines:
        assert (await anext(lines)).text == "before"
        bench.runtime.print(two, "after")
        assert (await anext(lines)).text == "after"


async def test_following_goes_on_with_instances_that_start_later(bench: Bench) -> None:
    one = await bench.instance("one")
    bench.runtime.print(one, "old version")
    async with aclosing(bench.logs.read("w", follow=True)) as lines:
        assert (await anext(lines)).text == "old version"
        await bench.runtime.remove(one, force=True)
        two = await bench.instance("two")
        bench.runtime.print(two, "new version")
        assert (await anext(lines)).text == "new version"


async def test_following_goes_on_with_an_instance_that_starts_again_and_repeats_nothing(bench: Bench) -> None:
    one = await bench.instance("one")
    bench.runtime.print(one, "first life")
    async with aclosing(bench.logs.read("w", follow=True)) as lines:
        assert (await anext(lines)).text == "first life"
        await bench.runtime.stop(one, 1.0)
        for _ in range(10):  # let the reader see the end
            await asyncio.sleep(0)
        await bench.runtime.start(one)
        bench.runtime.print(one, "second life")
        assert (await anext(lines)).text == "second life"


async def test_a_follower_learns_that_the_engine_went_away(bench: Bench) -> None:
    await bench.instance("one")
    async with aclosing(bench.logs.read("w", follow=True)) as lines:
        waiting = asyncio.ensure_future(anext(lines))
        for _ in range(10):
            await asyncio.sleep(0)
        bench.runtime.restart_engine()
        with pytest.raises(Unavailable):
            await waiting


async def test_closing_ends_what_the_follower_started(bench: Bench) -> None:
    one = await bench.instance("one")
    bench.runtime.print(one, "line")
    before = asyncio.all_tasks()
    async with aclosing(bench.logs.read("w", follow=True)) as lines:
        await anext(lines)
        assert asyncio.all_tasks() != before
    assert asyncio.all_tasks() == before


async def test_reading_while_the_engine_is_away_says_so(bench: Bench) -> None:
    bench.runtime.fail("containers")
    with pytest.raises(Unavailable):
        await texts(bench.logs.read("w"))
