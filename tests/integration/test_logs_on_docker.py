"""Logs of real containers: followed through a redeploy, and read when the container is gone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from aiodocker import Docker

from holdfast.domain.disk import Cause
from holdfast.domain.logs import LogLine, LogQuery
from holdfast.testing.images import build_image
from holdfast.testing.installation import deployed, snapshotted, succeeded
from tests.integration.engine_bench import PATIENT, DockerPlace, keeper, the_one_running, until

COUNTER = "holdfast-test/counter:1"
SCRIPT = """
trap 'echo the last words; exit 0' TERM
i=0
while true; do i=$((i+1)); echo "line $i"; sleep 0.02; done
"""


@pytest.fixture
async def place(tmp_path: Path, docker_host: str) -> AsyncIterator[DockerPlace]:
    await build_image(docker_host, COUNTER, script=SCRIPT)
    place = DockerPlace(directory=tmp_path, docker_host=docker_host)
    yield place
    await place.clean()


async def up_to(lines: AsyncGenerator[LogLine, None], text: str, instance: str = "") -> list[LogLine]:
    """The lines that come until this one does, it included; of another instance than ``instance``."""
    found = []
    async for line in lines:
        found.append(line)
        if line.text == text and line.instance != instance:
            return found
    raise AssertionError("it ended")


@pytest.mark.usefixtures("patient_log_keeping")
async def test_a_follower_misses_no_line_of_the_old_instance_nor_of_the_new_and_all_are_kept(
    place: DockerPlace,
) -> None:
    async with place.running() as holdfast:
        spec = replace(keeper(image=COUNTER), health=PATIENT)
        workload = await deployed(holdfast, spec)
        logs = holdfast.api.logs
        async with aclosing(await logs.follow("keeper", LogQuery(), tail=5)) as lines:
            followed = [await anext(lines) for _ in range(10)]
            other = replace(spec, env=(("VERSION", "2"),))
            await holdfast.api.workloads.apply(other, actor="test")
            await succeeded(holdfast, await holdfast.api.deployer.deploy(workload.id, actor="test"))
            followed += await up_to(lines, "line 20", followed[0].instance)
        old = [line for line in followed if line.instance == followed[0].instance]
        new = [line for line in followed if line.instance != followed[0].instance]
        numbers = [int(line.text.removeprefix("line ")) for line in old if line.text != "the last words"]
        assert all(after == before + 1 for before, after in pairwise(numbers))
        assert [line.text for line in new] == [f"line {number}" for number in range(1, 21)]

        kept = [line for line in await logs.read("keeper", LogQuery(), tail=10_000) if line.instance == old[0].instance]
        assert (kept[0].text, kept[-1].text) == ("line 1", "the last words")
        first = kept.index(old[0])
        assert kept[first : first + len(old)] == old
        later = await logs.read("keeper", LogQuery(since=new[0].at), tail=10_000)
        assert {line.instance for line in later} == {new[0].instance}
        found = await logs.read("keeper", LogQuery(search="LAST words"), tail=10)
        assert [(line.instance, line.stream) for line in found] == [(old[0].instance, "stdout")]


async def test_what_a_container_uses_is_sampled_its_log_is_bounded_and_what_takes_space_has_a_cause(
    place: DockerPlace,
) -> None:
    async with (
        replace(place, more={"metrics_interval": 0.2}).running() as holdfast,
        Docker(place.docker_host) as docker,
    ):
        workload = await deployed(holdfast, replace(keeper(image=COUNTER), health=PATIENT))
        await snapshotted(holdfast, workload)

        async def is_used() -> bool:
            points = (await holdfast.api.metrics.of("keeper")).points
            return any(point.cpu > 0 and point.memory > 0 for point in points)

        await until(is_used)
        container = await docker.containers.get((await the_one_running(holdfast, workload.id)).id)
        log = (await container.show())["HostConfig"]["LogConfig"]
        assert (log["Type"], log["Config"]) == ("json-file", {"max-size": str(10 << 20), "max-file": "3"})
        causes = {use.cause: use for use in (await holdfast.api.disk.report()).causes}
        (image,) = causes[Cause.IMAGES].items
        assert (COUNTER in image.name.split(", "), (image.bytes or 0) > 0) == (True, True)  # others may keep it, too
        assert [item.name.partition(" ")[0] for item in causes[Cause.VOLUMES].items] == [
            "keeper:/data",
            "keeper:/media",
        ]
        assert [item.name for item in causes[Cause.SNAPSHOTS].items] == ["keeper"]
