"""Deploys under steady load through a real Caddy, with a real engine: not one request fails."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from holdfast.domain.edge import Tls
from holdfast.domain.workload import Domain, HealthType, RestartPolicy, Strategy, WorkloadSpec
from holdfast.testing.caddies import own_address, own_directory
from holdfast.testing.images import build_image
from holdfast.testing.installation import deployed, succeeded
from holdfast.testing.steady_load import steady_load
from tests.integration.engine_bench import PATIENT, DockerPlace, the_one_running

DEPLOYS = 100 if os.environ.get("HOLDFAST_TORTURE") == "1" else 3
IMAGE = "holdfast-test/web:1"
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
