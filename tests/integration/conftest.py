"""A Docker Engine for the tests that need a real one. Where none answers they fail; they never skip."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from aiodocker import Docker

from holdfast.runtime.docker import DockerRuntime
from holdfast.runtime.port import LABEL_INSTALLATION
from holdfast.services.image_source import KEPT_REPOSITORY
from holdfast.testing.docker_engine import DEFAULT_HOST, answers
from holdfast.testing.registry import registry


@pytest.fixture(scope="session")
def docker_host() -> str:
    """The address of the engine that the tests use."""
    host = os.environ.get("DOCKER_HOST") or DEFAULT_HOST
    if not answers(host):
        pytest.fail(
            f"No Docker Engine answers at {host}. Run the tests by `make test`, or a part of them by "
            "`.venv/bin/python scripts/with_engine.py -- .venv/bin/python -m pytest tests/integration`.",
            pytrace=False,
        )
    return host


@pytest.fixture
async def docker_runtime(docker_host: str) -> AsyncIterator[DockerRuntime]:
    """The adapter on that engine."""
    runtime = DockerRuntime(docker_host)
    yield runtime
    await runtime.close()


@pytest.fixture
async def installation(docker_host: str) -> AsyncIterator[str]:
    """A label value of this test's own; containers and networks that carry it are removed afterwards."""
    name = f"test-{secrets.token_hex(6)}"
    yield name
    await remove_labelled(docker_host, name)


@pytest.fixture
def new_reference() -> Callable[[str], str]:
    """Makes references of images that no other test has."""
    suffix = secrets.token_hex(6)
    return lambda name: f"holdfast-test/{name}-{suffix}:latest"


async def remove_labelled(docker_host: str, installation: str) -> None:
    """Remove the containers, networks and volumes of an installation, and the names by which it keeps images."""
    filters = f'{{"label": ["{LABEL_INSTALLATION}={installation}"]}}'
    async with Docker(docker_host) as docker:
        for container in await docker.containers.list(all=True, filters=filters):
            await container.delete(force=True, v=True)
        for network in await docker.networks.list(filters={"label": [f"{LABEL_INSTALLATION}={installation}"]}):
            await (await docker.networks.get(network["Id"])).delete()
        labelled = {"label": [f"{LABEL_INSTALLATION}={installation}"]}
        volumes = await docker.volumes.list(filters=labelled)  # type: ignore[no-untyped-call] # the library's
        for volume in volumes["Volumes"] or ():
            found = await docker.volumes.get(volume["Name"])  # type: ignore[no-untyped-call] # the library's
            await found.delete()
        for image in await docker.images.list():
            for tag in image["RepoTags"] or ():
                if tag.startswith(f"{KEPT_REPOSITORY}/{installation}/"):
                    await docker.images.delete(tag)


@pytest.fixture
def registry_address(tmp_path: Path) -> Iterator[str]:
    """The address of an empty registry on this host."""
    with registry(tmp_path) as address:
        yield address
