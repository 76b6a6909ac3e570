"""The edge on Caddy: one of Holdfast's own, or one that is there already.

- Routes switch atomically: a configuration takes effect as a whole, or not at all.
- Holdfast's own Caddy outlives Holdfast, as workloads do: it is found again by its socket, and serves meanwhile. It
  ends when the settings say that there is none (:func:`end_own`).
- In a Caddy of somebody else's, one route is Holdfast's, and nothing beside it is touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

from holdfast.domain.edge import Route
from holdfast.domain.errors import HoldfastError, Problem, Refused, Unavailable
from holdfast.edge.caddy_admin import CaddyAdmin
from holdfast.edge.caddy_config import (
    Listen,
    admin_socket,
    hosts_of_others,
    https_port,
    installation_route,
    own_config,
    route_id,
    server_for,
)
from holdfast.edge.port import Edge
from holdfast.edge.sockets import connected_to, hand_over_waiting_connections

START_PATIENCE: Final = 20.0
"""Seconds that a Caddy may take from its start to its first answer, and, where it gives none, to its end."""
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class OwnCaddy(Edge):
    """A Caddy that Holdfast starts where it does not run.

    Args:
        directory: its own; made if missing.
        pause: seconds between two looks whether it still runs.
        patience: see :data:`START_PATIENCE`.
    """

    def __init__(
        self,
        installation: str,
        directory: Path,
        listen: Listen,
        *,
        pause: float = 2.0,
        patience: float = START_PATIENCE,
    ) -> None:
        self.pause = pause
        self._patience = patience
        self._installation = installation
        self._directory = directory
        self._listen = listen
        self._admin = CaddyAdmin(admin_socket(directory))
        self._child: subprocess.Popen[bytes] | None = None

    async def serve(self, routes: Sequence[Route]) -> None:
        """See the port."""
        wanted = own_config(self._installation, routes, self._listen, self._directory)
        try:
            there = await self._admin.get("/config/")
        except Unavailable:
            if not routes:
                return  # there is nothing to serve: it is started when there is
            await self._start()
            there = None
        if there != wanted:
            await self._admin.change("POST", "/load", wanted)

    async def under_way(self, upstreams: Collection[str]) -> bool:
        """See the port."""
        return await asyncio.to_thread(connected_to, upstreams)

    async def close(self) -> None:
        """See the port."""
        with warnings.catch_warnings():  # of a child that is let go while it runs: this one is meant to stay
            warnings.simplefilter("ignore", ResourceWarning)
            self._child = None
        await self._admin.close()

    async def _start(self) -> None:
        program = shutil.which("caddy", path=f"{os.environ.get('PATH', '')}:{_PATH}")
        if program is None:
            raise Unavailable(
                "edge_not_installed",
                "There is no program caddy on this host.",
                next_step="Install it (apt-get install caddy), or correct the setting edge.",
            )
        try:
            await asyncio.to_thread(self._launch, program)
        except OSError as error:
            raise self._not_started(f"{error.filename or program}: {error.strerror}.") from error
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                while self._child is not None and self._child.poll() is None:
                    with contextlib.suppress(Unavailable):
                        await self._admin.get("/config/admin")
                        return
                    await asyncio.sleep(0.05)
        raise self._not_started(self._last_words())

    def _launch(self, program: str) -> None:
        """Start it apart from Holdfast: in a session of its own, so that it stays when Holdfast goes."""
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()  # it runs, and does not answer
            try:
                self._child.wait(self._patience)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        hand_over_waiting_connections()
        self._directory.mkdir(mode=0o700, exist_ok=True)
        admin_socket(self._directory).unlink(missing_ok=True)
        start = own_config(self._installation, (), self._listen, self._directory)
        surroundings = {"HOME": str(self._directory), "PATH": _PATH}
        with (self._directory / "start.log").open("wb") as said:
            self._child = subprocess.Popen(  # noqa: S603 - the program that the operator installed
                [program, "run", "--config", "-"],
                cwd=self._directory,
                env=surroundings,
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._child.stdin as stdin:
            stdin.write(json.dumps(start).encode())

    def _last_words(self) -> str:
        words = (self._directory / "start.log").read_text(errors="replace").strip()
        return words.splitlines()[-1] if words else "it said nothing."

    def _not_started(self, why: str) -> Unavailable:
        return Unavailable(
            "edge_not_started",
            f"Caddy can't be started: {why}",
            next_step=f"Mend what it names, and look into {self._directory}. It is started again by itself.",
        )


async def end_own(directory: Path) -> None:
    """End the Caddy that Holdfast started in ``directory`` at another time; fine if none runs."""
    if not admin_socket(directory).exists():
        return
    admin = CaddyAdmin(admin_socket(directory))
    try:
        with contextlib.suppress(HoldfastError):
            await admin.change("POST", "/stop")
    finally:
        await admin.close()


class ExistingCaddy(Edge):
    """A Caddy that somebody else runs, on this host.

    Certificates, ports and log are as its owner configured them.

    Args:
        address: of its admin API.
    """

    def __init__(self, installation: str, address: str, *, pause: float = 10.0) -> None:
        self.pause = pause
        self._installation = installation
        self._admin = CaddyAdmin(address)

    async def serve(self, routes: Sequence[Route]) -> None:
        """See the port. A domain that Caddy serves for somebody else is left to them; the others are served."""
        config = await self._admin.get("/config/")
        taken = hosts_of_others(config, self._installation)
        await self._serve_free([free for route in routes if (free := _without(route, taken)).domains], config)
        problems = [_taken(domain, taken[domain]) for route in routes for domain in route.domains if domain in taken]
        if problems:
            raise Refused(problems)

    async def _serve_free(self, routes: Sequence[Route], config: Any) -> None:
        own = f"/id/{route_id(self._installation)}"
        there = await self._admin.get(own)
        wanted = installation_route(self._installation, routes) if routes else None
        if there == wanted:
            return
        if wanted is None:
            await self._admin.change("DELETE", own)
            return
        if there is not None:
            await self._admin.change("PATCH", own, wanted)
            return
        server = server_for(config)
        if server is not None:
            # Before all others: a route of theirs that takes everything would leave nothing.
            await self._admin.change("PUT", f"/config/apps/http/servers/{server}/routes/0", wanted)
            return
        await self._admin.change(
            "PUT",
            f"/config/apps/http/servers/holdfast-{self._installation}",
            {"listen": [f":{https_port(config)}"], "routes": [wanted]},
        )

    async def under_way(self, upstreams: Collection[str]) -> bool:
        """See the port."""
        return await asyncio.to_thread(connected_to, upstreams)

    async def close(self) -> None:
        """See the port."""
        await self._admin.close()


def _without(route: Route, taken: Collection[str]) -> Route:
    return dataclasses.replace(route, domains=tuple(domain for domain in route.domains if domain not in taken))


def _taken(domain: str, server: str) -> Problem:
    return Problem(
        code="domain_at_edge_already",
        message=f"Caddy serves {domain} already: its own configuration (server {server}) names it.",
        next_step=f"Take {domain} out of Caddy's own configuration, or choose another domain.",
        details={"domain": domain, "server": server},
    )
