"""A real engine crashes or hangs during a restore: what runs, what is told, and how it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.bootstrap import Holdfast, Seams
from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.restore import RecordType
from holdfast.domain.restore_records import Record
from holdfast.domain.workload import RestartPolicy, Workload
from holdfast.engine.journal import Journal
from holdfast.services.restore_files import RestoreFiles
from holdfast.testing.docker_engine import DockerEngine, private_engine
from holdfast.testing.installation import deployed, ended, restore, snapshotted, succeeded
from tests.integration.engine_bench import DockerPlace, build_keeper, containers, keeper, the_one_running, until

pytestmark = pytest.mark.xdist_group("private engine")

Hook = Callable[[RecordType], Awaitable[None]]


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerEngine]:
    with private_engine() as engine:
        asyncio.run(build_keeper(engine.host))
        yield engine


@pytest.fixture
async def place(tmp_path: Path, engine: DockerEngine) -> AsyncIterator[DockerPlace]:
    place = DockerPlace(directory=tmp_path, docker_host=engine.host)
    yield place
    engine.resume()
    if not engine.answers():
        await asyncio.to_thread(engine.start)
    await place.clean()


def with_hook(place: DockerPlace, hook: Hook) -> DockerPlace:
    """The same, with something that happens right after each record of a restore's journal."""

    class HookedFiles(RestoreFiles):
        async def append(self, to: Journal, record: Record) -> None:
            await super().append(to, record)
            await hook(record.type)

    return replace(place, seams=Seams(files=HookedFiles))


class Story:
    """A workload with a snapshot, and damage since."""

    def __init__(self, place: DockerPlace, workload: Workload, snapshot: str) -> None:
        self.data, self.media = place.volumes / "keeper/data", place.volumes / "@house/media"
        self.workload, self.snapshot = workload, snapshot

    def which(self) -> tuple[str, str]:
        return (self.data / "which").read_text(), (self.media / "which").read_text()

    def write(self, text: str) -> None:
        for tree in (self.data, self.media):
            (tree / "which").write_text(text)


async def prepared(place: DockerPlace, holdfast: Holdfast) -> Story:
    workload = await deployed(holdfast, keeper())
    story = Story(place, workload, "")
    story.write("good")
    story.snapshot = await snapshotted(holdfast, workload)
    story.write("damaged")
    return story


async def waits_for_engine(holdfast: Holdfast, operation: Operation) -> None:
    async def waits() -> bool:
        return "container engine" in (await holdfast.operations.get(operation.id)).waiting_for

    await until(waits)


async def test_an_engine_that_crashes_during_a_restore_brings_nothing_back(
    place: DockerPlace, engine: DockerEngine
) -> None:
    seen: dict[RecordType, list[tuple[str, bool, RestartPolicy]]] = {}

    async def restart_engine(record: RecordType) -> None:
        if record not in (RecordType.SAFE, RecordType.SWAPPED):
            return
        await asyncio.to_thread(engine.kill)
        await asyncio.to_thread(engine.start)
        found = await containers(holdfast, story.workload.id)
        seen[record] = [(c.started_at, c.running, c.restart) for c in found]

    async with with_hook(place, restart_engine).running() as holdfast:
        story = await prepared(place, holdfast)
        began = (await the_one_running(holdfast, story.workload.id)).started_at
        end = await succeeded(holdfast, await restore(holdfast, story.workload, story.snapshot))
        assert end.outcome["result"] == "restored"
        # A container that had run in between would have another time of its start.
        stopped = [(began, False, RestartPolicy.NO)]
        assert seen == {RecordType.SAFE: stopped, RecordType.SWAPPED: stopped}
        assert story.which() == ("good", "good")
        assert (await the_one_running(holdfast, story.workload.id)).restart is RestartPolicy.ALWAYS

    await asyncio.to_thread(engine.kill)
    await asyncio.to_thread(engine.start)
    async with place.running() as holdfast:
        assert (await the_one_running(holdfast, story.workload.id)).restart is RestartPolicy.ALWAYS


async def test_an_engine_that_hangs_before_the_decision_has_everything_put_back_once_it_answers(
    place: DockerPlace, engine: DockerEngine
) -> None:
    async def hang(record: RecordType) -> None:
        if record is RecordType.SAFE:
            engine.suspend()

    async with place.running() as holdfast:
        story = await prepared(place, holdfast)
    async with with_hook(replace(place, engine_timeout=5.0), hang).running() as holdfast:
        before = await the_one_running(holdfast, story.workload.id)
        operation = await restore(holdfast, story.workload, story.snapshot)
        await waits_for_engine(holdfast, operation)
        engine.resume()
        end = await ended(holdfast, operation)
        assert end.state is OperationState.FAILED
        assert end.error is not None
        assert end.error["code"] == "engine_timeout"
        assert story.which() == ("damaged", "damaged")
        now = await the_one_running(holdfast, story.workload.id)
        assert (now.id, now.restart) == (before.id, RestartPolicy.ALWAYS)
        await holdfast.reaper.idle()
        assert place.leftovers() == []
