"""Deploys under load: whether a request fails while one version replaces another.

People ask for a domain through a real Caddy, without a pause, while one version after the other is deployed. Every
third of their requests takes 0.3 s, longer than a switch does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from benchmarks import web
from benchmarks.server import Program, Server, serving
from benchmarks.service import clean
from benchmarks.tables import counted, table, told
from holdfast.testing.caddies import own_address, own_directory
from holdfast.testing.steady_load import steady_load

DOMAIN: Final = "web.test"
CLIENTS: Final = 4

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderLoad:
    """What became of requests while versions were deployed.

    Attributes:
        seconds: what each deploy took.
        failed: what went wrong, in words.
        resent: requests on a connection that was closed while it was idle, sent again on a new one, as browsers do.
        versions: how many of the versions answered somebody.
    """

    seconds: Sequence[float]
    requests: int
    failed: Sequence[str]
    resent: int
    slow: int
    versions: int


def measure(program: Program, deploys: int, say: Say) -> dict[str, Any]:
    """Deploy so many versions, one after the other, under load."""
    return asdict(asyncio.run(_under_load(program, deploys, say)))


async def _under_load(program: Program, deploys: int, say: Say) -> UnderLoad:
    address = own_address()
    settings = {"HOLDFAST_EDGE": "caddy", "HOLDFAST_EDGE_LISTEN": address, "HOLDFAST_EDGE_TLS": "off"}
    async with own_directory() as directory:
        try:
            with serving(replace(program, settings=settings), directory / "data") as server:
                _version(server, 0)
                async with steady_load(
                    address, 80, DOMAIN, paths=(web.PATH, web.SLOW, web.PATH), clients=CLIENTS
                ) as load:
                    seconds = await asyncio.to_thread(_versions, server, deploys, say)
        finally:
            await asyncio.to_thread(clean, directory)
    return UnderLoad(
        seconds=seconds,
        requests=load.requests,
        failed=load.failed,
        resent=load.resent,
        slow=load.answers["slow"],
        versions=sum(answer.startswith("version ") for answer in load.answers),
    )


def _versions(server: Server, deploys: int, say: Say) -> list[float]:
    seconds = []
    for number in range(1, deploys + 1):
        seconds.append(_version(server, number))
        if number % 10 == 0:
            say(f"  {number} versions deployed")
    return seconds


def _version(server: Server, number: int) -> float:
    web.declare(server, "web", version=f"version {number}", more={"domains": [DOMAIN]})
    began = time.monotonic()
    web.deploy(server, "web")
    return time.monotonic() - began


def targets(figures: Mapping[str, Any]) -> list[list[str]]:
    """Rows: what, wanted, measured."""
    what = f"failed requests of {figures['requests']:,} in {len(figures['seconds'])} deploys"
    return [[what, "0", counted(len(figures["failed"]), 0)]]


def report(figures: Mapping[str, Any]) -> list[str]:
    """The table, and what failed."""
    rows = [
        ["seconds a deploy", told(figures["seconds"])],
        ["versions deployed", str(len(figures["seconds"]))],
        ["versions that answered somebody, with the first", str(figures["versions"])],
        [f"requests of {CLIENTS} people through the edge", f"{figures['requests']:,}"],
        ["of those, that took 0.3 s", f"{figures['slow']:,}"],
        ["failed", f"{len(figures['failed']):,}"],
        ["sent again on a new connection, since an idle one had been closed", f"{figures['resent']:,}"],
    ]
    return table(["deploys under load", ""], rows) + [f"- failed: {each}" for each in figures["failed"][:10]]
