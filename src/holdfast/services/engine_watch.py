"""Watching the container engine: when it answers (again), what was deployed is compared with what is there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from holdfast.domain.errors import HoldfastError
from holdfast.runtime.port import ContainerEvent, ContainerRuntime, EngineInfo
from holdfast.services.readiness import Readiness

PAUSE = 2.0
_PART = "engine"


class EngineWatch:
    """Follows the engine's events, and tells each; each time it comes (back), calls ``on_arrival``.

    Args:
        on_follow: told ``True`` once each event is told from then on, and ``False`` when that is over.
        pause: seconds between two looks at an engine that does not answer.
    """

    def __init__(
        self,
        runtime: ContainerRuntime,
        readiness: Readiness,
        on_arrival: Callable[[EngineInfo], Awaitable[object]],
        on_event: Callable[[ContainerEvent], object],
        on_follow: Callable[[bool], object],
        *,
        pause: float = PAUSE,
    ) -> None:
        self._runtime = runtime
        self._readiness = readiness
        self._on_arrival = on_arrival
        self._on_event = on_event
        self._on_follow = on_follow
        self._pause = pause
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("engine_watch")

    def start(self) -> None:
        """Begin to watch, in the background."""
        self._readiness.wait_for(_PART, "the container engine has not answered yet")
        self._task = asyncio.create_task(self._watch(), name="engine watch")

    async def close(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            try:
                info = await self._runtime.info()
                self._readiness.arrived(_PART)
                self._log.info("engine answers", version=info.version, api=info.api_version)
                await self._on_arrival(info)
                await self._follow()
            except HoldfastError as error:
                self._readiness.wait_for(_PART, error.message)
                self._log.warning("engine does not answer", code=error.code, reason=error.message)
            except Exception:  # noqa: BLE001 - a defect met once must not end the watching for good, and unseen
                self._readiness.wait_for(_PART, "what was found at the engine could not be looked at; see the log")
                self._log.exception("engine_watch_failed_unforeseen")
            await asyncio.sleep(self._pause)

    async def _follow(self) -> None:
        try:
            async for event in self._runtime.events(lambda: self._on_follow(True)):
                self._on_event(event)
        finally:
            self._on_follow(False)
