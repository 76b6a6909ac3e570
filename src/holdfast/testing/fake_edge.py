"""An edge that serves nothing and remembers what it was told, for tests of everything above the port."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace

from holdfast.domain.edge import Route
from holdfast.domain.errors import HoldfastError, Problem, Refused, Unavailable
from holdfast.edge.port import Edge


class FakeEdge(Edge):
    """The port, in memory.

    Attributes:
        served: what it serves now.
        told: everything that it was told to serve and did not serve before, in order.
        failure: what every call raises; ``None``: calls are answered.
        taken: domains that it serves for somebody else.
        answering: cleared, every call waits.
        busy: whether requests are under way wherever it is looked.
        looked_at: where it was looked whether any is, in order.
    """

    pause = 0.01

    def __init__(self) -> None:
        self.served: tuple[Route, ...] = ()
        self.told: list[tuple[Route, ...]] = []
        self.failure: HoldfastError | None = None
        self.taken: set[str] = set()
        self.answering = asyncio.Event()
        self.answering.set()
        self.busy = False
        self.looked_at: list[tuple[str, ...]] = []
        self.closed = False

    def go_away(self) -> None:
        """It does not answer from now on."""
        self.failure = Unavailable("edge_unavailable", "Caddy does not answer.", next_step="Start Caddy.")

    def come_back(self) -> None:
        """It answers again, and has forgotten everything."""
        self.failure, self.served = None, ()

    async def serve(self, routes: Sequence[Route]) -> None:
        """See the port."""
        await self.answering.wait()
        if self.failure is not None:
            raise self.failure
        free = [replace(route, domains=tuple(d for d in route.domains if d not in self.taken)) for route in routes]
        served = tuple(route for route in free if route.domains)
        if served != self.served:
            self.served = served
            self.told.append(self.served)
        taken = sorted(self.taken.intersection(domain for route in routes for domain in route.domains))
        if taken:
            raise Refused([_taken(domain) for domain in taken])

    async def under_way(self, upstreams: Collection[str]) -> bool:
        """See the port."""
        self.looked_at.append(tuple(upstreams))
        return self.busy

    async def close(self) -> None:
        """See the port."""
        self.closed = True


def _taken(domain: str) -> Problem:
    return Problem(
        code="domain_at_edge_already",
        message=f"{domain} is served for somebody else already.",
        next_step="Choose another domain.",
        details={"domain": domain, "server": "theirs"},
    )
