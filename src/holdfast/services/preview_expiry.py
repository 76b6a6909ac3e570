"""Removes previews that have expired, in the background.

Nothing is read while there are no previews, and no more than once a minute while there are. A removal that fails is
tried again after a while; each attempt is an operation that says why.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from holdfast.domain import times
from holdfast.domain.errors import HoldfastError
from holdfast.services.health_gate import Clock
from holdfast.services.operations import Operations
from holdfast.services.previews import Previews
from holdfast.store.previews import PreviewStore

ACTOR: Final = "expiry"
FIRST: Final = 10.0
"""Seconds from the start to the first look."""
PAUSE: Final = 60.0
"""Seconds between two looks, while there are previews."""
AGAIN: Final = timedelta(minutes=30)
"""From a removal that failed to the next attempt."""


class PreviewExpiry:
    """Looks for previews that have expired.

    Args:
        clock: by which they expire. How long it waits between two looks is counted by the machine's.
        changed: set when a preview was made, or expires at another time.
    """

    def __init__(
        self,
        *,
        previews: Previews,
        store: PreviewStore,
        operations: Operations,
        clock: Clock,
        changed: asyncio.Event,
    ) -> None:
        self._previews = previews
        self._store = store
        self._operations = operations
        self._clock = clock
        self._changed = changed
        self._begun: dict[str, tuple[datetime, str | None]] = {}
        """When a removal was begun, and which operation that is, unless it was refused; by the preview's workload."""
        self._looking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("previews")

    def start(self) -> None:
        """Begin to look, in the background."""
        self._task = asyncio.create_task(self._run(), name="preview expiry")

    async def close(self) -> None:
        """Stop looking. Removals that were begun go on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def look(self) -> None:
        """Begin to remove what has expired."""
        async with self._looking:
            await self._look(datetime.fromtimestamp(self._clock.time(), UTC))

    async def _look(self, now: datetime) -> None:
        at = times.rfc3339(now)
        expired = await self._store.expired(at)
        begun, self._begun = self._begun, {}
        for preview in expired:
            before = begun.get(preview.workload_id)
            if before is not None and not await self._may_try_again(before, now):
                self._begun[preview.workload_id] = before
                continue
            try:
                operation = await self._previews.end(preview.workload_id, expired_at=at, actor=ACTOR)
            except HoldfastError as error:
                self._begun[preview.workload_id] = (now, None)
                self._log.warning(
                    "an expired preview stays", parent=preview.parent, key=preview.key, reason=error.message
                )
            else:
                self._begun[preview.workload_id] = (now, operation.id)

    async def _may_try_again(self, before: tuple[datetime, str | None], now: datetime) -> bool:
        at, operation_id = before
        if now - at < AGAIN:
            return False
        return operation_id is None or (await self._operations.get(operation_id)).state.ended

    async def _run(self) -> None:
        wait: float | None = FIRST
        while True:
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
            wait = PAUSE
            try:
                await self.look()
                if await self._store.next_expiry() is None:
                    wait = None
            except HoldfastError as error:
                self._log.warning("expired previews could not be looked for", code=error.code, reason=error.message)
            except Exception:  # noqa: BLE001 - a defect met once must not keep all previews for good, and unseen
                self._log.exception("preview_expiry_failed_unforeseen")
