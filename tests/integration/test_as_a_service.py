"""Holdfast as a service of the host restores a real workload."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from holdfast.testing.images import build_image
from holdfast.testing.server_process import SERVE, ServerProcess, server
from holdfast.testing.systemd_units import confined
from holdfast.testing.trees import build_sample_tree, describe_tree
from tests.integration.engine_bench import DockerPlace

IMAGE = "holdfast-test/served:1"
WORKLOAD = {
    "name": "served",
    "source": {"type": "image", "image": IMAGE},
    "volumes": [{"target": "/data", "scope": "stage", "source": "data"}],
    "health": {"type": "command", "command": ["test", "-d", "/data"], "interval": "100ms", "deadline": "40s"},
    "stop_grace": "3s",
}


@pytest.fixture
def place(tmp_path: Path, docker_host: str) -> Iterator[DockerPlace]:
    asyncio.run(build_image(docker_host, IMAGE, script="trap 'exit 0' TERM\nwhile :; do sleep 60 & wait $!; done\n"))
    place = DockerPlace(directory=tmp_path, docker_host=docker_host)
    yield place
    asyncio.run(place.clean())


def restores_a_workload(running: ServerProcess, data: Path) -> None:
    """All that a tree can hold comes back, while the container that uses it is another one."""
    assert running.http.post("/api/workloads", json=WORKLOAD).is_success
    running.succeeded(running.start("POST", "/api/workloads/served/deploy", json={}))
    build_sample_tree(data)
    good = describe_tree(data)
    snapshot = running.succeeded(running.start("POST", "/api/workloads/served/snapshots", json={}))["snapshot_id"]
    (data / "damage").write_text("damage")
    (data / "notes.txt").unlink()
    path, confirm = f"/api/workloads/served/snapshots/{snapshot}/restore", {"X-Confirm-Restore": snapshot}
    restored = running.succeeded(running.start("POST", path, json={}, headers=confirm))
    assert restored["result"] == "restored"
    assert describe_tree(data) == good


def test_the_systemd_unit_leaves_it_all_that_a_restore_needs(place: DockerPlace) -> None:
    unit = files("holdfast.cli").joinpath("holdfast.service").read_text(encoding="utf-8")
    with server(place.settings, place.directory / "log", confined(unit, SERVE)) as running:
        restores_a_workload(running, place.volumes / "served/data")
