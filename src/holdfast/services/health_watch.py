"""Watching how workloads are, and telling how they were: recorded when it changes, and kept as long as what they used.

- It is looked a moment after something happened to a container, so that what is over at once (one instance in another's
  place) is not told, and once a minute besides.
- What is recorded is what can be seen all the time: whether instances run, and what their image's own health check
  says. How a deployment's health check went is told with the deployment.
- Nobody waits for it, and it decides nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from holdfast.domain.errors import HoldfastError
from holdfast.domain.health_history import KEEP, Health, Held, health_history
from holdfast.domain.metrics import time_asked_for
from holdfast.domain.workload import DesiredState, Workload
from holdfast.runtime.port import (
    LABEL_INSTALLATION,
    LABEL_WORKLOAD,
    Container,
    ContainerEvent,
    ContainerState,
    ImageHealth,
)
from holdfast.services.health_gate import Clock
from holdfast.store.health import HealthStore

PAUSE: Final = 2.0
"""Seconds from an event to the look."""
LONGEST_PAUSE: Final = 60.0
"""Seconds without an event after which it is looked all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadHealth:
    """How a workload was from ``since`` through ``until``; see :func:`health_history`."""

    since: int
    until: int
    states: tuple[Held, ...]


class HealthWatch:
    """Looks how workloads are, and tells how they were.

    Args:
        installation: the id of this Holdfast.
        containers: those of this installation, as they were seen last.
        workload: finds one by its id or name, or raises ``NotFound``.
        tell: told the id of each workload that is otherwise now.
        pause: see :data:`PAUSE`.
    """

    def __init__(
        self,
        *,
        installation: str,
        containers: Callable[[], Awaitable[Sequence[Container]]],
        workloads: Callable[[], Awaitable[Sequence[Workload]]],
        workload: Callable[[str], Awaitable[Workload]],
        store: HealthStore,
        tell: Callable[[str], object],
        clock: Clock,
        pause: float = PAUSE,
    ) -> None:
        self._installation = installation
        self._containers = containers
        self._workloads = workloads
        self._workload = workload
        self._store = store
        self._tell = tell
        self._clock = clock
        self._pause = pause
        self._anew = True
        self._told = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("health_watch")

    def start(self) -> None:
        """Begin to look, in the background."""
        self._told.set()
        self._task = asyncio.create_task(self._watch(), name="health watch")

    async def close(self) -> None:
        """Look no more. How workloads are from now on is unknown to the next one who looks."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if not self._anew:
            with contextlib.suppress(HoldfastError):  # then it is unknown since the last look
                await self._store.looked(int(self._clock.time()))

    def happened(self, event: ContainerEvent) -> None:
        """Something happened to a container."""
        if event.labels.get(LABEL_INSTALLATION) == self._installation:
            self._told.set()

    def follow(self, _followed: bool) -> None:  # noqa: FBT001 - the state, as it is told
        """The engine came, or went."""
        self._told.set()

    async def look(self) -> None:
        """Look how all workloads are, and keep what is other than before. An engine that is away makes it unknown.

        Raises:
            HoldfastError: the database fails.
        """
        theirs: defaultdict[str, list[Container]] = defaultdict(list)
        seen = True
        try:
            for container in await self._containers():
                theirs[container.labels.get(LABEL_WORKLOAD, "")].append(container)
        except HoldfastError:
            seen = False
        found = {
            each.id: health_of(each.desired, theirs[each.id]) if seen else Health.UNKNOWN
            for each in await self._workloads()
        }
        others = await self._store.keep(int(self._clock.time()), found, anew=self._anew)
        self._anew = False
        for workload_id in others:
            self._tell(workload_id)

    async def of(self, ref: str, *, since: int | None = None, until: int | None = None) -> WorkloadHealth:
        """How a workload was from ``since`` through ``until`` (seconds since 1970); all that is kept if not given.

        Args:
            ref: the workload's id or name.

        Raises:
            NotFound: ``workload_unknown``.
            InvalidInput: ``metrics_range_empty``.
        """
        workload = await self._workload(ref)
        since, until = time_asked_for(since, until, now=int(self._clock.time()), usual=KEEP)
        rows = await self._store.read(workload.id, since=since, until=until)
        return WorkloadHealth(since=since, until=until, states=health_history(rows, since=since, until=until))

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LONGEST_PAUSE):
                    await self._told.wait()
            await asyncio.sleep(self._pause)
            self._told.clear()
            try:
                await self.look()
            except HoldfastError as error:
                self._log.warning("how workloads are can't be kept", code=error.code, reason=error.message)
            except Exception:  # noqa: BLE001 - a defect met once must not end the watching for good, and unseen
                self._log.exception("health_watch_failed_unforeseen")


def health_of(desired: DesiredState, containers: Sequence[Container]) -> Health:
    """How a workload is that has these containers."""
    running = [container for container in containers if container.running]
    if not running:
        return Health.DOWN if desired is DesiredState.RUNNING else Health.STOPPED
    unwell = any(c.health is ImageHealth.UNHEALTHY or c.state is ContainerState.RESTARTING for c in running)
    return Health.UNHEALTHY if unwell else Health.HEALTHY
