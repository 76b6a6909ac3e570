"""Connections of strangers, bounded in number and in how long they may take to say what they want.

Every connection holds a descriptor, and a server without descriptors can't write its journals. So there are never more
than :data:`MAX_CONNECTIONS`, and one that doesn't finish a request's head in time is closed. How long a body may take
is for :mod:`holdfast.api.middleware`.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

MAX_CONNECTIONS: Final = 400
"""Well below 1024, the usual limit of descriptors of a process."""
HEAD_SECONDS: Final = 15.0
"""From the connection, or from the first byte of another request on it, to the end of the request's head."""


class BoundedConnection(H11Protocol):
    """One connection."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as the base class
        """Take it, or close it where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.close()
        else:
            self._late = self.loop.call_later(HEAD_SECONDS, transport.close)

    def data_received(self, data: bytes) -> None:
        """Stop the clock where a request is being answered; start it where the next one begins."""
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._stop()
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._stop()
        super().connection_lost(exc)

    def _stop(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
