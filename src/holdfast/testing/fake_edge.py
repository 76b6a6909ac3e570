"""An edge that serves nothing and remembers what it was told, for tests of everything above the port."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from holdfast.domain.edge import Route
from holdfast.domain.errors import HoldfastError, Unavailable
from holdfast.edge.port import Edge


class FakeEdge(Edge):
    """The port, in memory.

    Attributes:
        served: what it serves now.
        told: everything that it was told to serve and did not serve before, in order.
        failure: what every call raises; ``None``: calls are answered.
        asked: set by every call.
    """

    pause = 0.01

    def __init__(self) -> None:
        self.served: tuple[Route, ...] = ()
        self.told: list[tuple[Route, ...]] = []
        self.failure: HoldfastError | None = None
        self.asked = asyncio.Event()
        self.closed = False

    def go_away(self) -> None:
        """It does not answer from now on."""
        self.failure = Unavailable("edge_unavailable", "Caddy does not answer.", next_step="Start Caddy.")

    def come_back(self) -> None:
        """It answers again, and has forgotten everything."""
        self.failure, self.served = None, ()

    async def serve(self, routes: Sequence[Route]) -> None:
        """See the port."""
        self.asked.set()
        if self.failure is not None:
            raise self.failure
        if tuple(routes) != self.served:
            self.served = tuple(routes)
            self.told.append(self.served)

    async def close(self) -> None:
        """See the port."""
        self.closed = True
