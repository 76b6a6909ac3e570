"""A real registry tells of a push, and what was pushed runs; what was answered outlives the server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.testing.images import build_image
from holdfast.testing.registry import push, registry
from holdfast.testing.server_process import ServerProcess, server, until
from tests.integration.engine_bench import DockerPlace

SECRET = "the-registry-s-own"
WEBHOOKS = "/api/workloads/pushed/webhooks"
SCRIPT = "trap 'exit 0' TERM; while :; do sleep 0.1 & wait $!; done"


@pytest.fixture
def place(tmp_path: Path, docker_host: str) -> Iterator[DockerPlace]:
    place = DockerPlace(directory=tmp_path, docker_host=docker_host)
    yield place
    asyncio.run(place.clean())


def declaration(image: str) -> dict[str, Any]:
    return {
        "name": "pushed",
        "source": {"type": "image", "image": image},
        "health": {"type": "command", "command": ["true"], "interval": "100ms", "deadline": "40s"},
        "stop_grace": "3s",
    }


def succeeded(running: ServerProcess, webhook: str) -> list[dict[str, Any]]:
    """The deliveries that led to something, once one has ended well."""

    def found() -> list[dict[str, Any]]:
        items = running.http.get(f"{WEBHOOKS}/{webhook}/deliveries").json()["items"]
        return [each for each in items if each["state"] != "ignored"]

    until(lambda: any(each["state"] == "succeeded" for each in found()))
    return found()


def deployed(running: ServerProcess) -> list[dict[str, Any]]:
    """The deployments that succeeded, newest first."""
    items = running.http.get("/api/workloads/pushed/deployments").json()["items"]
    return [each for each in items if each["state"] == "succeeded"]


@pytest.mark.xdist_group("registry")
def test_what_is_pushed_runs_and_what_was_answered_outlives_the_server(
    place: DockerPlace, docker_host: str, tmp_path: Path
) -> None:
    log, later = tmp_path / "server.log", tmp_path / "later.log"
    with server(place.settings, log) as running:
        assert running.http.post("/api/workloads", json=declaration("none:main")).is_success
        told = running.http.post(WEBHOOKS, json={"provider": "registry", "secret": SECRET}).json()
        asked = running.http.post(WEBHOOKS, json={"provider": "generic"}).json()
        address = str(running.http.base_url).rstrip("/") + told["address"]
        with registry(tmp_path, tells=address, secret=SECRET) as host:
            image = f"{host}/holdfast-test/pushed"
            assert running.http.put("/api/workloads/pushed", json=declaration(f"{image}:main")).is_success
            image_id = asyncio.run(build_image(docker_host, "holdfast-test/to-push", script=SCRIPT))
            digest = asyncio.run(push(docker_host, image_id, f"{image}:main"))
            (delivery,) = succeeded(running, told["id"])
            outcome = running.succeeded(delivery["operation_id"])
            assert (outcome["digest"], outcome["image_id"]) == (digest, image_id)
            assert [each["reason"] for each in deployed(running)] == ["webhook"]
            assert running.http.get(f"{WEBHOOKS}/{told['id']}").json()["refused"]["count"] == 0

            other_id = asyncio.run(build_image(docker_host, "holdfast-test/to-push", script=f"{SCRIPT} #"))
            asyncio.run(push(docker_host, other_id, f"{image}:next"))
            flood = running.http.post(asked["address"], json={"tag": "next", "more": "x" * 10_000_000})
            assert (flood.status_code, flood.json()["error"]["code"]) == (413, "body_too_large")
            assert flood.json()["error"]["next_step"]
            answer = running.http.post(asked["address"], json={"tag": "next"})
            assert answer.is_success, answer.text
            assert len(answer.json()["deliveries"]) == 1
            running.kill()
            with server(place.settings, later) as next_one:
                (delivery,) = succeeded(next_one, asked["id"])
                assert delivery["id"] == answer.json()["deliveries"][0]["id"]
                assert [each["image_id"] for each in deployed(next_one)] == [other_id, image_id]
                next_one.succeeded(next_one.start("POST", "/api/workloads/pushed/stop"))
    for printed in (log.read_text(), later.read_text()):
        assert told["address"].rpartition("/")[2] not in printed
        assert SECRET not in printed
