"""Logs of a workload, merged over its instances."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from holdfast.domain.errors import NotFound, Unavailable
from holdfast.domain.logs import OWN_STREAM, LogLine, LogQuery
from holdfast.domain.restore import RootRef
from holdfast.domain.workload import DesiredState, Volume, Workload, WorkloadSpec
from holdfast.engine.fs import Fs
from holdfast.engine.kept_logs import KeptLogFiles
from holdfast.runtime.port import LABEL_INSTALLATION, LABEL_WORKLOAD, ContainerLog, ContainerSpec
from holdfast.services.instances import Instances
from holdfast.services.logs import Logs
from holdfast.services.quiesce import facts_of
from holdfast.testing.caddies import until
from holdfast.testing.fake_runtime import Call, FakeRuntime


class NoVolumes:
    def resolve(self, spec: WorkloadSpec, volume: Volume) -> RootRef:
        raise AssertionError("no volume is asked for")


class NoSecrets:
    async def environment(self, workload: Workload) -> dict[str, str]:
        raise AssertionError("no secret is asked for")


class Keeping:
    """Keeps all of a log, at once."""

    def __init__(self, runtime: FakeRuntime, files: KeptLogFiles) -> None:
        self._runtime = runtime
        self._files = files

    async def keep(self, workload_id: str, container_id: str, instance: str) -> None:
        lines = [(line.at, line.stream, line.text) async for line in self._runtime.logs(container_id)]
        self._files.write(workload_id, container_id, instance, lines)


class Bench:
    def __init__(self, directory: Path) -> None:
        self.now = 1000.0
        self.runtime = FakeRuntime(clock=self.clock, timeout=0.0)
        self.image = self.runtime.add_image("notes:1")
        self.files = KeptLogFiles(Fs(), directory, 1 << 20)
        keeping = Keeping(self.runtime, self.files)
        self.instances = Instances(self.runtime, "i", NoVolumes(), NoSecrets(), keeping)
        self.logs = Logs(self.runtime, self.instances, self.files, self._workload)

    async def _workload(self, ref: str) -> Workload:
        if ref != "w":
            raise NotFound("workload_unknown", "There is none.", next_step="Look.")
        spec = WorkloadSpec(name="notes", image="notes:1", project="home")
        return Workload(id="w", spec=spec, desired=DesiredState.RUNNING, created_at="", updated_at="")

    def clock(self) -> float:
        self.now += 1.0
        return self.now

    async def instance(self, name: str, workload: str = "w") -> str:
        labels = {LABEL_INSTALLATION: "i", LABEL_WORKLOAD: workload}
        container = await self.runtime.create(ContainerSpec(name=name, image=self.image.id, labels=labels))
        await self.runtime.start(container)
        return container

    async def remove(self, container_id: str) -> None:
        """As a deployment does."""
        await self.instances.remove(facts_of(await self.runtime.inspect(container_id)), force=True)

    async def read(self, query: LogQuery | None = None, *, tail: int = 1000) -> list[str]:
        return texts(await self.logs.read("w", query or LogQuery(), tail=tail))

    def reads(self) -> list[Call]:
        """The readings of logs that were begun."""
        return [call for call in self.runtime.calls if call.name == "logs"]

    async def downloaded(self, query: LogQuery | None = None) -> list[str]:
        _, lines = await self.logs.download("w", query or LogQuery())
        return texts([line async for line in lines])


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def texts(lines: Sequence[LogLine]) -> list[str]:
    return [line.text for line in lines]


async def test_the_lines_of_all_instances_are_merged_by_time(bench: Bench) -> None:
    one, two = await bench.instance("one"), await bench.instance("two")
    other = await bench.instance("other", workload="another")
    for container, text in ((one, "1"), (two, "2"), (other, "not ours"), (one, "3"), (two, "4")):
        bench.runtime.print(container, text)
    assert await bench.read() == ["1", "2", "3", "4"]


async def test_the_last_lines_are_the_last_of_all_instances_together(bench: Bench) -> None:
    one, two = await bench.instance("one"), await bench.instance("two")
    for number in range(6):
        bench.runtime.print((one, two)[number % 2], str(number))
    assert await bench.read(tail=3) == ["3", "4", "5"]
    assert await bench.read(tail=0) == []


async def test_what_a_stopped_instance_printed_can_still_be_read(bench: Bench) -> None:
    one = await bench.instance("one")
    bench.runtime.print(one, "last words")
    await bench.runtime.stop(one, 1.0)
    assert await bench.read() == ["last words"]


async def test_following_gives_lines_as_they_are_printed(bench: Bench) -> None:
    one, two = await bench.instance("one"), await bench.instance("two")
    bench.runtime.print(one, "before")
    async with aclosing(await bench.logs.follow("w", LogQuery(), tail=100)) as lines:
        assert (await anext(lines)).text == "before"
        bench.runtime.print(two, "after")
        assert (await anext(lines)).text == "after"


async def test_following_goes_on_with_instances_that_start_later(bench: Bench) -> None:
    one = await bench.instance("one")
    bench.runtime.print(one, "old version")
    async with aclosing(await bench.logs.follow("w", LogQuery(), tail=100)) as lines:
        assert (await anext(lines)).text == "old version"
        await bench.remove(one)
        two = await bench.instance("two")
        bench.runtime.print(two, "new version")
        assert (await anext(lines)).text == "new version"


async def test_following_goes_on_with_an_instance_that_starts_again_and_repeats_nothing(bench: Bench) -> None:
    one = await bench.instance("one")
    bench.runtime.print(one, "first life")
    async with aclosing(await bench.logs.follow("w", LogQuery(), tail=100)) as lines:
        assert (await anext(lines)).text == "first life"
        await bench.runtime.stop(one, 1.0)
        for _ in range(10):  # let the reader see the end
            await asyncio.sleep(0)
        await bench.runtime.start(one)
        bench.runtime.print(one, "second life")
        assert (await anext(lines)).text == "second life"


async def test_a_follower_learns_that_the_engine_went_away(bench: Bench) -> None:
    await bench.instance("one")
    async with aclosing(await bench.logs.follow("w", LogQuery(), tail=100)) as lines:
        waiting = asyncio.ensure_future(anext(lines))
        for _ in range(10):
            await asyncio.sleep(0)
        bench.runtime.restart_engine()
        with pytest.raises(Unavailable):
            await waiting


async def test_little_is_read_ahead_of_a_slow_reader(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    given = 0

    async def endless(_container_id: str, *, follow: bool = False, **_which: object) -> AsyncGenerator[ContainerLog]:
        nonlocal given
        while follow:
            given += 1
            yield ContainerLog(at="2026-11-26T10:00:00Z", stream="stdout", text="a mebibyte, for instance")

    await bench.instance("one")
    monkeypatch.setattr(bench.runtime, "logs", endless)
    async with aclosing(await bench.logs.follow("w", LogQuery(), tail=1)) as lines:
        await anext(lines)
        for _ in range(100):
            await asyncio.sleep(0)
        assert given <= 64


async def test_closing_ends_what_the_follower_started(bench: Bench) -> None:
    one = await bench.instance("one")
    bench.runtime.print(one, "line")
    before = asyncio.all_tasks()
    async with aclosing(await bench.logs.follow("w", LogQuery(), tail=100)) as lines:
        await anext(lines)
        assert asyncio.all_tasks() != before
    assert asyncio.all_tasks() == before


async def test_reading_while_the_engine_is_away_says_so(bench: Bench) -> None:
    bench.runtime.fail("containers")
    with pytest.raises(Unavailable):
        await bench.read()


async def test_each_line_says_which_instance_printed_it(bench: Bench) -> None:
    one = await bench.instance("one")
    two = await bench.instance("two")
    bench.runtime.print(one, "1")
    bench.runtime.print(two, "2", stream="stderr")
    lines = await bench.logs.read("w", LogQuery(), tail=9)
    assert [(line.instance, line.stream, line.text) for line in lines] == [
        ("one", "stdout", "1"),
        ("two", "stderr", "2"),
    ]


async def test_what_a_removed_instance_printed_is_read_with_the_rest(bench: Bench) -> None:
    one, two = await bench.instance("one"), await bench.instance("two")
    for number in range(6):
        bench.runtime.print((one, two)[number % 2], str(number))
    await bench.remove(one)
    assert await bench.read() == list("012345")
    assert await bench.read(tail=3) == list("345")
    assert await bench.downloaded() == list("012345")
    await bench.remove(two)
    assert await bench.read() == list("012345")
    assert await bench.downloaded() == list("012345")


async def test_a_log_that_is_kept_and_there_is_read_once(bench: Bench) -> None:
    one = await bench.instance("one")
    bench.runtime.print(one, "1")
    bench.runtime.fail("remove", times=1)
    with pytest.raises(Unavailable):
        await bench.remove(one)  # it was kept by then
    bench.runtime.print(one, "2")
    assert await bench.read() == ["1", "2"]
    assert await bench.downloaded() == ["1", "2"]


async def test_lines_are_searched_whoever_printed_them_and_whenever(bench: Bench) -> None:
    one, two = await bench.instance("one"), await bench.instance("two")
    for number, text in enumerate(["an Error", "fine", "ERROR again", "fine", "fine", "error"]):
        bench.runtime.print((one, two)[number % 2], text)
    await bench.remove(one)
    found = ["an Error", "ERROR again", "error"]
    assert await bench.read(LogQuery(search="error")) == found
    assert await bench.read(LogQuery(search="error"), tail=2) == found[1:]
    assert await bench.downloaded(LogQuery(search="error")) == found


async def test_lines_between_two_times_are_read(bench: Bench) -> None:
    one, two = await bench.instance("one"), await bench.instance("two")
    for number in range(6):
        bench.runtime.print((one, two)[number % 2], str(number))
    times = [line.at for line in await bench.logs.read("w", LogQuery(), tail=9)]
    await bench.remove(one)
    query = LogQuery(since=times[1], until=times[4])
    assert await bench.read(query) == list("1234")
    assert await bench.downloaded(query) == list("1234")
    assert await bench.read(query, tail=2) == list("34")


async def test_a_damaged_kept_log_is_told_between_the_lines_of_others(bench: Bench, tmp_path: Path) -> None:
    one, two = await bench.instance("one"), await bench.instance("two")
    bench.runtime.print(one, "1")
    bench.runtime.print(two, "2")
    await bench.remove(one)
    (path,) = (tmp_path / "w").iterdir()
    path.write_bytes(b"rubbish")
    told, fine = await bench.logs.read("w", LogQuery(), tail=9)
    assert (told.stream, path.name in told.text, fine.text) == (OWN_STREAM, True, "2")


async def test_a_follower_sees_what_was_printed_before_in_order_and_once(bench: Bench) -> None:
    one, two = await bench.instance("one"), await bench.instance("two")
    for number in range(6):
        bench.runtime.print((one, two)[number % 2], str(number))
    await bench.remove(one)
    async with aclosing(await bench.logs.follow("w", LogQuery(), tail=4)) as lines:
        before = [(await anext(lines)).text for _ in range(4)]
        bench.runtime.print(two, "6")
        three = await bench.instance("three")
        bench.runtime.print(three, "7")
        assert before == list("2345")
        assert {(await anext(lines)).text for _ in range(2)} == {"6", "7"}


async def test_a_follower_may_want_only_what_comes(bench: Bench) -> None:
    one = await bench.instance("one")
    bench.runtime.print(one, "before")
    async with aclosing(await bench.logs.follow("w", LogQuery(search="o"), tail=0)) as lines:
        waiting = asyncio.ensure_future(anext(lines))
        await until(lambda: len(bench.reads()) == 2)  # one for what was printed, and one that follows
        for text in ("first", "one", "nor this", "two"):
            bench.runtime.print(one, text)
        assert (await waiting).text == "one"
        assert [(await anext(lines)).text for _ in range(2)] == ["nor this", "two"]


async def test_an_instance_that_starts_again_at_once_is_followed_on(bench: Bench) -> None:
    one = await bench.instance("one")
    bench.runtime.print(one, "first life")
    async with aclosing(await bench.logs.follow("w", LogQuery(), tail=9)) as lines:
        assert (await anext(lines)).text == "first life"
        bench.runtime.print(one, "followed")
        assert (await anext(lines)).text == "followed"
        for life in ("second", "third"):  # before the reader could see that it had ended
            await bench.runtime.stop(one, 1.0)
            await bench.runtime.start(one)
            bench.runtime.print(one, life)
            assert (await anext(lines)).text == life


async def test_logs_of_nobody_are_refused_before_anything_is_sent(bench: Bench) -> None:
    for reading in (bench.logs.read("x", LogQuery(), tail=1), bench.logs.follow("x", LogQuery(), tail=1)):
        with pytest.raises(NotFound):
            await reading
    with pytest.raises(NotFound):
        await bench.logs.download("x", LogQuery())
