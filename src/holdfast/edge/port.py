"""The edge port: what stands before the workloads that have domains.

Adapters translate; they decide nothing. They raise only ``HoldfastError`` subclasses: ``Unavailable`` where nothing
answers or nothing can be started, ``Failed`` and ``Refused`` for what it does not take; then it serves what it did.
``tests/contract/edge.py`` is the suite that every adapter passes, the fake included.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from holdfast.domain.edge import Route


class Edge(Protocol):
    """What brings requests for domains to instances.

    Attributes:
        pause: seconds after which it is worth looking again whether it still serves what it should.
    """

    pause: float

    async def serve(self, routes: Sequence[Route]) -> None:
        """Have it serve these routes and no others of this installation's, from one moment to the next.

        Where it does already, nothing is touched. Requests that are under way end as they began.

        Raises:
            Unavailable: ``edge_unavailable``, ``edge_not_caddy``, ``edge_not_installed``, ``edge_not_started``.
            Failed: ``edge_refused`` with the edge's own words, ``edge_port_in_use`` with who has the port.
            Refused: ``domain_at_edge_already``: the edge serves one of the domains for somebody else.
        """

    async def under_way(self, upstreams: Collection[str]) -> bool:
        """Whether a request is still under way at one of these, which are served no more: ``address:port`` each."""

    async def close(self) -> None:
        """Let go of connections. What is served goes on being served."""
