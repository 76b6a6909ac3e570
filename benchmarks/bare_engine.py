"""The engine without Holdfast: what it takes by itself to have a container that answers, over the same API."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

import httpx

from benchmarks import web

_PAUSE: Final = 0.01
"""Seconds between two questions whether it answers yet."""
_PATIENCE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Bare:
    """Seconds that the engine took.

    Attributes:
        up: to create the container, to start it, and until it answered for the first time.
        away: to stop and to remove it.
    """

    up: float
    away: float


class BareEngine:
    """Asks the engine for containers, one request after the other, on one connection.

    Args:
        docker_host: ``unix://…`` or ``tcp://…``.
    """

    def __init__(self, docker_host: str) -> None:
        scheme, _, place = docker_host.partition("://")
        unix = scheme == "unix"
        self._engine = httpx.Client(
            base_url="http://engine" if unix else f"http://{place}",
            transport=httpx.HTTPTransport(uds=place) if unix else None,
            timeout=_PATIENCE,
            trust_env=False,
        )
        self._visitor = httpx.Client(timeout=_PATIENCE, trust_env=False)

    def close(self) -> None:
        """Hang up."""
        self._engine.close()
        self._visitor.close()

    def measure(self, network: str) -> Bare:
        """Have a container of :mod:`benchmarks.web`, and remove it again."""
        asked = {"Image": web.IMAGE, "Env": ["VERSION=bare"], "HostConfig": {"NetworkMode": network}}
        began = time.monotonic()
        container = f"/containers/{self._ask('POST', '/containers/create', asked)['Id']}"
        try:
            self._ask("POST", f"{container}/start")
            address = self._ask("GET", f"{container}/json")["NetworkSettings"]["Networks"][network]["IPAddress"]
            while not self._answers(f"http://{address}:{web.PORT}{web.PATH}"):
                if time.monotonic() - began > _PATIENCE:
                    raise RuntimeError(f"the container at {address} never answered")
                time.sleep(_PAUSE)
            up = time.monotonic() - began
            self._ask("POST", f"{container}/stop")
        finally:
            self._ask("DELETE", f"{container}?force=1")
        return Bare(up=up, away=time.monotonic() - began - up)

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        answer = self._engine.request(method, path, json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def _answers(self, url: str) -> bool:
        try:
            return self._visitor.get(url).is_success
        except httpx.TransportError:
            return False
