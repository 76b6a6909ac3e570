"""Real containers behind a real Caddy: no request fails while versions change, or who asks is told to come back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from holdfast.domain.edge import Tls
from holdfast.domain.workload import Domain, HealthType, RestartPolicy, Scope, Strategy, Volume, WorkloadSpec
from holdfast.testing.caddies import StrangersCaddy, own_address, own_directory
from holdfast.testing.images import build_image
from holdfast.testing.installation import deployed, restore, snapshotted, succeeded
from holdfast.testing.steady_load import PACE, steady_load
from tests.integration.engine_bench import PATIENT, DockerPlace, the_one_running, until

DEPLOYS = 100 if os.environ.get("HOLDFAST_TORTURE") == "1" else 3
IMAGE = "holdfast-test/behind-caddy:1"
WEB = """
mkdir -p /www/cgi-bin
echo "$VERSION" > /www/version
printf '#!/bin/sh\\nsleep 0.3\\nprintf "Content-Type: text/plain\\\\r\\\\n\\\\r\\\\nslow"\\n' > /www/cgi-bin/slow
chmod +x /www/cgi-bin/slow
trap 'exit 0' TERM
httpd -f -p 8080 -h /www & wait $!
"""
"""A server that drops everything at TERM: what it had under way is lost unless somebody waited for it."""


@pytest.fixture
async def place(docker_host: str) -> AsyncIterator[tuple[DockerPlace, str]]:
    """Where Holdfast runs, and the address at which its Caddy listens."""
    await build_image(docker_host, IMAGE, script=WEB)
    address = own_address()
    async with own_directory() as directory:
        more = {"edge": "caddy", "edge_listen": address, "edge_tls": Tls.OFF}
        place = DockerPlace(directory=directory, docker_host=docker_host, more=more)
        yield place, address
        await place.clean()


def web(version: int) -> WorkloadSpec:
    return WorkloadSpec(
        name="web",
        image=IMAGE,
        project="web",
        env=(("VERSION", f"version {version}"),),
        domains=(Domain(name="web.test", port=8080),),
        health=replace(PATIENT, type=HealthType.HTTP, port=8080, path="/version"),
        restart=RestartPolicy.ALWAYS,
        stop_grace=30.0,
    )


@pytest.mark.timeout(120 + 10 * DEPLOYS)
async def test_no_request_fails_while_one_version_after_the_other_is_deployed(place: tuple[DockerPlace, str]) -> None:
    docker, address = place
    async with docker.running() as holdfast:
        workload = await deployed(holdfast, web(0))
        assert workload.spec.effective_strategy is Strategy.BLUE_GREEN
        async with steady_load(address, 80, "web.test", paths=("/version", "/cgi-bin/slow", "/version")) as load:
            for number in range(1, DEPLOYS + 1):
                await holdfast.api.workloads.apply(web(number), actor="test")
                await succeeded(holdfast, await holdfast.api.deployer.deploy(workload.id, actor="test"))
        assert load.failed == []
        assert load.answers["slow"] > DEPLOYS
        assert load.answers[f"version {DEPLOYS}"] > 0
        await the_one_running(holdfast, workload.id)


@pytest.fixture(params=["own", "somebody else's"])
async def edged(
    request: pytest.FixtureRequest, docker_host: str, tmp_path: Path
) -> AsyncIterator[tuple[DockerPlace, str, int]]:
    """Where Holdfast runs, and address and port of the Caddy before it: its own, or one that somebody else runs."""
    await build_image(docker_host, IMAGE, script=WEB)
    async with own_directory() as directory:
        address, theirs = own_address(), StrangersCaddy(tmp_path)
        if request.param == "own":
            more, port = {"edge": "caddy", "edge_listen": address, "edge_tls": Tls.OFF}, 80
        else:
            await theirs.start()
            more, address, port = {"edge": theirs.admin}, theirs.address, 443
        place = DockerPlace(directory=directory, docker_host=docker_host, more=more)
        yield place, address, port
        theirs.stop()
        await place.clean()


async def test_who_asks_while_a_container_is_replaced_or_restored_is_told_to_come_back(
    edged: tuple[DockerPlace, str, int],
) -> None:
    place, address, port = edged
    data = Volume(target="/www", scope=Scope.STAGE, source="www")
    seen: list[tuple[int, str]] = []

    async def keep_asking() -> None:
        headers = {"Host": "web.test", "Connection": "close"}
        async with httpx.AsyncClient(trust_env=False, headers=headers, timeout=60.0) as client:
            while True:
                try:
                    answer = await client.get(f"http://{address}:{port}/version")
                    seen.append((answer.status_code, answer.text))
                except httpx.TransportError as error:
                    seen.append((0, repr(error)))
                await asyncio.sleep(PACE)

    async def meanwhile() -> set[str]:
        """The versions that answered since the last look; whoever got none was told so on the page for that."""

        async def served() -> bool:
            return bool(seen) and seen[-1][0] == 200

        await until(served)
        told, seen[:] = [*seen], []
        others = [(status, text) for status, text in told if status != 200]
        assert others, "it was held off"
        assert [each for each in others if each[0] != 503 or "web.test" not in each[1]] == []
        return {text.strip() for status, text in told if status == 200}

    async with place.running() as holdfast:
        workload = await deployed(holdfast, replace(web(1), volumes=(data,)))
        assert workload.spec.effective_strategy is Strategy.RECREATE
        snapshot_id = await snapshotted(holdfast, workload)
        asking = asyncio.create_task(keep_asking())
        try:
            await holdfast.api.workloads.apply(replace(web(2), volumes=(data,)), actor="test")
            await succeeded(holdfast, await holdfast.api.deployer.deploy(workload.id, actor="test"))
            assert "version 2" in await meanwhile()
            await succeeded(holdfast, await restore(holdfast, workload, snapshot_id))
            assert "version 2" in await meanwhile(), "the program writes its own version at its start"
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        await the_one_running(holdfast, workload.id)
