"""Watching the edge: what it should serve is made anew whenever something changed, and whenever it came back."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import structlog

from holdfast.domain.errors import HoldfastError
from holdfast.services.traffic import Traffic

LONGEST_PAUSE: Final = 10.0
"""Seconds between two tries while the edge can't be brought to serve; it begins with the edge's own pause."""


class EdgeWatch:
    """Has the edge serve what it should, again and again.

    Args:
        pause: seconds after which it is looked at again.
    """

    def __init__(self, traffic: Traffic, *, pause: float) -> None:
        self._traffic = traffic
        self._pause = pause
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("edge_watch")

    def start(self) -> None:
        """Begin to watch, in the background."""
        self._task = asyncio.create_task(self._watch(), name="edge watch")

    async def close(self) -> None:
        """Stop watching. What is served goes on being served."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        pause, told, anew = self._pause, "", True
        while True:
            self._traffic.changed.clear()
            try:
                await self._traffic.sync(look_at=None if anew else ())
                pause, told, anew = self._pause, "", False
            except HoldfastError as error:
                if error.message != told:
                    self._log.warning("edge_does_not_serve", code=error.code, reason=error.message)
                pause, told, anew = min(2 * pause, LONGEST_PAUSE), error.message, True
            except Exception:  # noqa: BLE001 - a defect met once must not end the watching for good, and unseen
                self._log.exception("edge_watch_failed_unforeseen")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._traffic.changed.wait()
            anew = anew or self._traffic.changed.is_set()
