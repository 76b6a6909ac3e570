"""Volumes of the Docker Engine: made, looked at and removed by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import quote

from aiodocker import DockerError

from holdfast.domain.errors import Conflict, Failed
from holdfast.runtime import docker_view
from holdfast.runtime.docker_client import DockerClient, refused
from holdfast.runtime.port import EngineVolume

_NOT_FOUND, _CONFLICT = 404, 409


async def find(client: DockerClient, name: str) -> EngineVolume | None:
    """The volume as the engine knows it; ``None`` if it knows none of that name."""
    try:
        return docker_view.volume(await client.ask("GET", _path(name)))
    except DockerError as error:
        if error.status == _NOT_FOUND:
            return None
        raise refused(error) from error


async def make(client: DockerClient, name: str, labels: Mapping[str, str]) -> None:
    """Make a volume of the driver ``local`` without options. One that is there already stays as it is."""
    try:
        await client.ask("POST", "volumes/create", body={"Name": name, "Driver": "local", "Labels": dict(labels)})
    except DockerError as error:
        raise refused(error) from error


async def remove(client: DockerClient, name: str) -> None:
    """Remove a volume with its data. Fine if it is gone."""
    try:
        await client.ask("DELETE", _path(name))
    except DockerError as error:
        if error.status == _CONFLICT:
            raise volume_in_use(name) from error
        if error.status != _NOT_FOUND:
            raise refused(error) from error


async def require(client: DockerClient, names: Iterable[str]) -> None:
    """Raise ``Failed`` (``engine_volume_missing``) for a volume that the engine would make by itself."""
    for name in names:
        if await find(client, name) is None:
            raise volume_missing(name)


def volume_missing(name: str) -> Failed:
    """For a mount of a volume that is not there."""
    return Failed(
        "engine_volume_missing",
        f"The container engine has no volume {name}.",
        next_step="Restore a snapshot with --create-missing (create_missing), which has it made.",
        details={"volume": name},
    )


def volume_in_use(name: str) -> Conflict:
    """For a volume that can't be removed while a container mounts it."""
    return Conflict(
        "engine_volume_in_use",
        f"A container mounts the volume {name} of the container engine; it stays.",
        next_step=f"See which (docker ps --all --filter volume={name}), remove it, then try again.",
        details={"volume": name},
    )


def _path(name: str) -> str:
    return f"volumes/{quote(name, safe='')}"
