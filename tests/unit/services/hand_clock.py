"""A clock for what happens now and then."""

from __future__ import annotations

import asyncio

from holdfast.services.health_gate import SystemClock

BEGIN = 1_800_000_000.0


class HandClock(SystemClock):
    """A clock that a test moves on. Who sleeps for just ``interval`` seconds wakes when it does.

    Args:
        still: no time passes but that.
    """

    def __init__(self, interval: float, *, still: bool = False) -> None:
        self.interval = interval
        self._still = still
        self.ahead = 0.0
        self._moved = asyncio.Queue[None]()
        self.waiting = asyncio.Event()

    def time(self) -> float:
        return self.ahead + (BEGIN if self._still else super().time())

    async def sleep(self, seconds: float) -> None:
        if seconds != self.interval:
            await super().sleep(seconds)
            return
        self.waiting.set()
        await self._moved.get()

    async def pass_by(self) -> None:
        """Let one interval pass, until what comes of it is done."""
        await self.waiting.wait()
        self.waiting.clear()
        self.ahead += self.interval
        self._moved.put_nowait(None)
        await self.waiting.wait()
