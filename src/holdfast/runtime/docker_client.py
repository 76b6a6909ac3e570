"""The connection to a Docker Engine: where time limits are kept and the engine's errors become Holdfast's.

All requests of the adapter go through the two methods here. Every request has a connection of its own: one that an
engine's restart broke is then never met a second time, and on a local socket it costs nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
from aiodocker import Docker, DockerError

from holdfast.domain.errors import Failed, HoldfastError, InvalidInput, NotFound, Unavailable

_UNREACHABLE: Final = 900
"""The status that aiodocker gives to a connection that failed."""
_NOT_FOUND: Final = 404
_MISSING_BIND: Final = "bind source path does not exist"
_PORT_TAKEN: Final = re.compile(
    r"(?:Bind for|listen \w+|bind host port(?: for)?) (\S+?:\d+)(?![\d\]]).*(?:already allocated|already in use)"
)
"""What engines say of a host port that another container, or a program of the host, has."""


class DockerClient:
    """Requests to one engine.

    Args:
        host: ``unix:///path`` or ``tcp://address:port``.
        timeout: seconds that an answer may take.
    """

    def __init__(self, host: str, timeout: float) -> None:
        scheme, separator, place = host.partition("://")
        if not separator or not place or scheme not in ("unix", "tcp", "http"):
            raise InvalidInput(
                "docker_host_malformed",
                f"{host!r} is not the address of a Docker Engine.",
                next_step="Write it as unix:///path/of/docker.sock or tcp://address:port.",
            )
        self.host = host
        self.timeout = timeout
        self._scheme = scheme
        self._place = place
        self._docker: Docker | None = None

    async def close(self) -> None:
        """Let go of the connections; a later request opens them anew."""
        docker, self._docker = self._docker, None
        if docker is not None:
            await docker.close()
            await docker.connector.close()

    @property
    def api_version(self) -> str:
        """The version that was agreed upon, e.g. ``1.41``; ``auto`` before the first request."""
        return self._docker.api_version.removeprefix("v") if self._docker is not None else "auto"

    async def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int | bool] | None = None,
        body: object = None,
        extra_time: float = 0.0,
    ) -> Any:
        """One request and its whole answer, decoded; ``None`` where the engine answers with nothing.

        Args:
            extra_time: seconds that the request itself takes, on top of the time limit.

        Raises:
            DockerError: what the engine refused, for the caller to judge.
            Unavailable: ``engine_unavailable`` or ``engine_timeout``.
        """
        limits = self._limits(f"{method} {path}", self.timeout + extra_time)
        async with limits, self._request(method, path, params, body) as response:
            text = await response.read()
        try:
            return json.loads(text) if text.strip() else None
        except ValueError as error:
            raise Failed(
                "engine_error",
                f"The container engine's answer could not be read ({method} {path}).",
                next_step="See whether it is a Docker Engine that answers at this address.",
                details={"host": self.host},
            ) from error

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int | bool] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        silence: float | None = None,
        opening: float | None = None,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """One request and its answer in pieces, as they come.

        Args:
            silence: seconds without a piece after which the engine counts as hanging; ``None``: it may be silent.
            opening: seconds until the answer begins; the time limit unless given.

        Raises:
            DockerError: what the engine refused, for the caller to judge.
            Unavailable: ``engine_unavailable`` or ``engine_timeout``.
        """
        doing = f"{method} {path}"
        request = self._request(method, path, params, body, headers)
        async with self._limits(doing, opening or self.timeout):
            response = await request.__aenter__()
        try:
            yield self._pieces(response, doing, silence)
        finally:
            await request.__aexit__(None, None, None)

    async def _pieces(
        self, response: aiohttp.ClientResponse, doing: str, silence: float | None
    ) -> AsyncIterator[bytes]:
        while True:
            async with self._limits(doing, silence):
                piece = await response.content.readany()
            if not piece:
                return
            yield piece

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int | bool] | None,
        body: object,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        data = None if body is None else json.dumps(body)
        docker = self._open()
        async with docker._query(path, method, params=params, data=data, headers=dict(headers or {})) as response:
            try:
                yield response
            finally:
                response.close()

    def _open(self) -> Docker:
        if self._docker is None:
            unbounded = aiohttp.ClientTimeout(total=None, sock_connect=None)
            connector: aiohttp.BaseConnector
            if self._scheme == "unix":
                connector = aiohttp.UnixConnector(self._place, force_close=True, limit=0)
                address = "unix://localhost"
            else:
                connector = aiohttp.TCPConnector(force_close=True, limit=0)
                address = f"http://{self._place}"
            self._docker = Docker(address, connector=connector, timeout=unbounded)
        return self._docker

    @asynccontextmanager
    async def _limits(self, doing: str, seconds: float | None) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError as error:
            raise Unavailable(
                "engine_timeout",
                f"The container engine at {self.host} did not answer within {seconds or 0:g} s ({doing}).",
                next_step="See whether the engine is overloaded or stuck; its log says more.",
            ) from error
        except DockerError as error:
            if error.status == _UNREACHABLE:
                raise self._unavailable(error) from error
            raise
        except (aiohttp.ClientError, OSError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> Unavailable:
        if self._docker is not None:
            self._docker.api_version = "auto"  # what comes back may be another engine
        return engine_gone(self.host, str(error))


def engine_gone(host: str, why: str) -> Unavailable:
    """Nothing answers at ``host``."""
    return Unavailable(
        "engine_unavailable",
        f"The container engine at {host} does not answer.",
        next_step="Start the Docker Engine, or point docker_host at it.",
        details={"host": host, "reason": why},
    )


def refused(error: DockerError, missing: NotFound | None = None) -> HoldfastError:
    """The engine's refusal as an error of ours.

    Args:
        missing: what the caller asked about, in case it is this that is not there; a network can be missing, too.
    """
    if error.status == _NOT_FOUND and missing is not None and "no such" in error.message.lower():
        return missing
    if _MISSING_BIND in error.message:
        path = error.message.partition(_MISSING_BIND)[2].strip(": \n")
        return Failed(
            "bind_source_missing",
            f"The container engine refused a mount: {_MISSING_BIND}: {path}",
            next_step="Put the directory back, or mount the disk that holds it.",
            details={"path": path},
        )
    if taken := _PORT_TAKEN.search(error.message):
        return port_in_use(taken[1])
    return Failed(
        "engine_error",
        f"The container engine refused: {error.message.strip().rstrip('.')}.",
        next_step="See the engine's log.",
        details={"status": error.status},
    )


def port_in_use(address: str) -> Failed:
    """For a host port that somebody else has."""
    return Failed(
        "port_in_use",
        f"The host port {address} is taken, by another container or a program of the host.",
        next_step="See who listens (`ss -ltnup`, `docker ps`); stop that, or publish another port.",
        details={"address": address},
    )


def unknown_container(container_id: str) -> NotFound:
    """For a container that is not there."""
    return NotFound(
        "container_unknown",
        f"The engine knows no container {container_id}.",
        next_step="List the containers; it may have been removed by hand.",
    )


def unknown_image(reference: str) -> NotFound:
    """For an image that is not there."""
    return NotFound(
        "image_unknown", f"The image {reference} is not on this host.", next_step="Pull it, or check its name."
    )
