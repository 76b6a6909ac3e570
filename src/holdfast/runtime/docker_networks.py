"""Networks of the Docker Engine: made and removed by name."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from aiodocker import DockerError

from holdfast.runtime.docker_client import DockerClient, refused

_FORBIDDEN, _NOT_FOUND, _CONFLICT = 403, 404, 409


async def ensure(client: DockerClient, name: str, labels: Mapping[str, str], *, internal: bool) -> None:
    """Make a bridge network if it is not there."""
    try:
        await client.ask("GET", _path(name))
    except DockerError as error:
        if error.status != _NOT_FOUND:
            raise refused(error) from error
    else:
        return
    body = {
        "Name": name,
        "Driver": "bridge",
        "CheckDuplicate": True,
        "Internal": internal,
        "Labels": dict(labels),
    }
    try:
        await client.ask("POST", "networks/create", body=body)
    except DockerError as error:
        if error.status != _CONFLICT:  # somebody else was faster
            raise refused(error) from error


async def remove(client: DockerClient, name: str) -> None:
    """Remove it; fine if it is gone or in use."""
    try:
        await client.ask("DELETE", _path(name))
    except DockerError as error:
        if error.status not in (_FORBIDDEN, _NOT_FOUND, _CONFLICT):
            raise refused(error) from error


def _path(name: str) -> str:
    return f"networks/{quote(name, safe='')}"
