"""Holdfast as a service of the host restores a real workload."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

import holdfast
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


def in_a_container(place: DockerPlace, name: str) -> list[str]:
    """The server in a container, as the guide says: of an image that borrows this host's Python; or ``TRIED_IMAGE``."""
    tried = os.environ.get("TRIED_IMAGE")
    program = [tried] if tried else [f"--entrypoint={sys.executable}", IMAGE, "-m", "holdfast", "serve"]
    python = ("/usr", "/lib", "/lib64", sys.base_prefix, sys.prefix, str(Path(holdfast.__file__).parent.parent))
    borrowed = [f"{path}:{path}:ro" for path in dict.fromkeys(python) if Path(path).exists() and not tried]
    shared = [f"{path}:{path}" for path in (place.directory, place.docker_host.removeprefix("unix://"))]
    variables = ("DATA_DIR", "DOCKER_HOST", "LISTEN", "STEADY_SECONDS", "DISK_RESERVE_BYTES", "DISK_RESERVE_INODES")
    return [
        *("docker", "--host", place.docker_host, "run", "--rm", "--name", name),
        *("--pid=host", "--network=host", "--security-opt=apparmor=unconfined", "--security-opt=seccomp=unconfined"),
        *(f"--cap-add={name}" for name in ("SYS_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH", "LINUX_IMMUTABLE")),
        *(f"--volume={mount}" for mount in (*borrowed, *shared)),
        *(f"--env=HOLDFAST_{variable}" for variable in variables),
        *program,
    ]


def test_in_a_container_with_the_hosts_paths_and_processes_it_restores_a_workload(place: DockerPlace) -> None:
    name = f"holdfast-test-{secrets.token_hex(6)}"
    try:
        with server(place.settings, place.directory / "log", in_a_container(place, name)) as running:
            restores_a_workload(running, place.volumes / "served/data")
    finally:
        subprocess.run(["docker", "--host", place.docker_host, "rm", "--force", name], capture_output=True, check=False)
