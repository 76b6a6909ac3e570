"""After a crash in the middle of the exchange the engine comes back before Holdfast, as it does when a host boots."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.bootstrap import Seams
from holdfast.domain.operation import OperationState
from holdfast.domain.recovery import Direction
from holdfast.domain.workload import RestartPolicy
from holdfast.engine.fs import Fs
from holdfast.engine.journal import journals, read_journal
from holdfast.runtime.docker import DockerRuntime
from holdfast.testing.docker_engine import DockerEngine, private_engine
from holdfast.testing.installation import deployed, restore, snapshotted
from holdfast.testing.trees import build_sample_tree, describe_tree
from tests.integration.engine_bench import DockerPlace, build_keeper, keeper, the_one_running

pytestmark = pytest.mark.xdist_group("private engine")


class DiesBetweenExchanges(Fs):
    """Kills its process right after the first exchange of a staged tree with a live one."""

    def exchange(self, dirfd_a: int, name_a: bytes, dirfd_b: int, name_b: bytes) -> None:
        super().exchange(dirfd_a, name_a, dirfd_b, name_b)
        if {name_a, name_b} & {b"data", b"media"}:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def engine() -> Iterator[DockerEngine]:
    with private_engine() as engine:
        yield engine


def test_no_container_starts_on_half_exchanged_data_although_the_engine_is_first(
    tmp_path: Path, engine: DockerEngine
) -> None:
    place = DockerPlace(directory=tmp_path, docker_host=engine.host)
    data, media = place.volumes / "keeper/data", place.volumes / "@house/media"

    async def prepare() -> tuple[str, str]:
        await build_keeper(engine.host)
        async with place.running() as holdfast:
            workload = await deployed(holdfast, keeper())
            build_sample_tree(data)
            build_sample_tree(media)
            return workload.id, await snapshotted(holdfast, workload)

    workload_id, snapshot = asyncio.run(prepare())
    good = describe_tree(data), describe_tree(media)
    for volume in (data, media):
        (volume / "damage").write_text("damage")
    damaged = describe_tree(data), describe_tree(media)

    async def restore_and_die() -> None:
        async with replace(place, seams=Seams(fs=DiesBetweenExchanges())).running() as holdfast:
            workload = await holdfast.api.workloads.get("keeper")
            operation = await restore(holdfast, workload, snapshot)
            await holdfast.operations.wait(operation.id)

    child = os.fork()
    if child == 0:
        asyncio.run(restore_and_die())
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    (journal,) = journals(Fs(), str(place.settings.journal_dir))
    assert read_journal(Fs(), journal).direction is Direction.FORWARD
    assert (describe_tree(data), describe_tree(media)) == (good[0], damaged[1]), "one is exchanged, the other is not"

    engine.kill()
    engine.start()
    assert asyncio.run(running_containers(engine.host)) == []

    async def recover() -> None:
        async with place.running() as holdfast:
            page = await holdfast.operations.list(1, None, workload_id)
            end = await holdfast.operations.wait(page.items[0].id)
            assert end.state is OperationState.SUCCEEDED, end.error
            assert (describe_tree(data), describe_tree(media)) == good
            assert (await the_one_running(holdfast, workload_id)).restart is RestartPolicy.ALWAYS
            await holdfast.reaper.idle()

    asyncio.run(recover())
    assert place.leftovers() == []


async def running_containers(host: str) -> list[str]:
    """The names of all containers that run."""
    runtime = DockerRuntime(host)
    try:
        return [container.name for container in await runtime.containers() if container.running]
    finally:
        await runtime.close()
