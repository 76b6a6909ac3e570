"""Networks of the Docker Engine: made and removed by name."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from aiodocker import DockerError

from holdfast.domain.errors import Failed
from holdfast.runtime.docker_client import DockerClient, refused

_FORBIDDEN, _NOT_FOUND, _CONFLICT = 403, 404, 409


class DockerNetworks:
    """Makes and removes them, one at a time: asked by two at once, the engine makes two networks of one name, and from
    then on neither can be used by it.
    """

    def __init__(self, client: DockerClient) -> None:
        self._client = client
        self._turn = asyncio.Lock()

    async def ensure(self, name: str, labels: Mapping[str, str], *, internal: bool) -> None:
        """Make a bridge network if it is not there."""
        body = {
            "Name": name,
            "Driver": "bridge",
            "CheckDuplicate": True,
            "Internal": internal,
            "Labels": dict(labels),
        }
        async with self._turn:
            if await self._there(name):
                return
            try:
                await self._client.ask("POST", "networks/create", body=body)
            except DockerError as error:
                if error.status != _CONFLICT:  # somebody else was faster
                    raise refused(error) from error

    async def has(self, name: str) -> bool:
        """Whether there is one of this name."""
        return await self._there(name)

    async def require(self, names: Sequence[str]) -> None:
        """Raises ``Failed`` where one is not there: the engine takes it for a container that doesn't run, and fails to
        start that (20.10, measured).
        """
        for name in names:
            if not await self._there(name):
                raise Failed(
                    "network_unknown",
                    f"The container engine has no network {name}.",
                    next_step="Make it again, then try again.",
                    details={"network": name},
                )

    async def join(self, container_id: str, name: str, aliases: Sequence[str]) -> None:
        """Have a container be on one more, by ``aliases``."""
        body = {"Container": container_id, "EndpointConfig": {"Aliases": list(aliases)}}
        try:
            await self._client.ask("POST", f"{_path(name)}/connect", body=body)
        except DockerError as error:
            raise refused(error) from error

    async def remove(self, name: str) -> None:
        """Remove it; fine if it is gone or in use."""
        async with self._turn:
            try:
                await self._client.ask("DELETE", _path(name))
            except DockerError as error:
                if error.status not in (_FORBIDDEN, _NOT_FOUND, _CONFLICT):
                    raise refused(error) from error

    async def _there(self, name: str) -> bool:
        try:
            await self._client.ask("GET", _path(name))
        except DockerError as error:
            if error.status != _NOT_FOUND:
                raise refused(error) from error
            return False
        return True


def _path(name: str) -> str:
    return f"networks/{quote(name, safe='')}"
