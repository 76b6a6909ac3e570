"""Logs of a workload: the lines of all its instances, merged.

What was printed is merged by time. Followed, lines come as they are printed, of instances that start later too, until
the reader goes away; slow readers slow the reading down instead of filling memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Final

from holdfast.domain.errors import NotFound
from holdfast.runtime.port import LABEL_INSTALLATION, LABEL_WORKLOAD, ContainerLog, ContainerRuntime
from holdfast.services.instances import Instances

MAX_LINES: Final = 10_000
"""The most lines that are given at once, and per instance when following; older ones are left out."""
_WAITING_LINES: Final = 1000
"""Lines read ahead of a slow reader."""


class Logs:
    """Reads logs.

    Args:
        installation: the id of this Holdfast.
    """

    def __init__(self, runtime: ContainerRuntime, installation: str, instances: Instances) -> None:
        self._runtime = runtime
        self._installation = installation
        self._instances = instances

    def read(
        self, workload_id: str, *, follow: bool = False, tail: int | None = None, since: str | None = None
    ) -> AsyncGenerator[ContainerLog, None]:
        """The lines of all instances of a workload, stopped ones included, oldest first.

        Args:
            follow: go on with new lines until the iterator is closed.
            tail: how many of the last lines; ``None`` for all, up to :data:`MAX_LINES`.
            since: RFC 3339; only lines from then on.

        Raises:
            Unavailable: the engine does not answer, or went away while following.
        """
        limit = MAX_LINES if tail is None else min(tail, MAX_LINES)
        if follow:
            return _Follower(self._runtime, self._instances, self._mark(workload_id)).lines(limit, since)
        return self._printed(workload_id, limit, since)

    def _mark(self, workload_id: str) -> dict[str, str]:
        return {LABEL_INSTALLATION: self._installation, LABEL_WORKLOAD: workload_id}

    async def _printed(self, workload_id: str, limit: int, since: str | None) -> AsyncGenerator[ContainerLog, None]:
        lines = [
            line
            for container in reversed(await self._instances.of(workload_id))
            async for line in self._runtime.logs(container.id, tail=limit, since=since)
        ]
        lines.sort(key=lambda line: line.at)
        for line in lines[max(0, len(lines) - limit) :]:
            yield line


class _Follower:
    """One reader who follows one workload."""

    def __init__(self, runtime: ContainerRuntime, instances: Instances, labels: dict[str, str]) -> None:
        self._runtime = runtime
        self._instances = instances
        self._labels = labels
        self._queue: asyncio.Queue[ContainerLog | Exception] = asyncio.Queue(_WAITING_LINES)
        self._readers: dict[str, asyncio.Task[None]] = {}

    async def lines(self, limit: int, since: str | None) -> AsyncGenerator[ContainerLog, None]:
        watching = asyncio.create_task(self._told(self._watch()))
        try:
            for container in reversed(await self._instances.of(self._labels[LABEL_WORKLOAD])):
                self._read(container.id, limit, since)
            while True:
                item = await self._queue.get()
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            tasks = [watching, *self._readers.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self) -> None:
        """Read instances that start while somebody follows."""
        async for event in self._runtime.events():
            own = all(event.labels.get(key) == value for key, value in self._labels.items())
            reader = self._readers.get(event.container_id)
            if own and event.action == "start" and (reader is None or reader.done()):
                # One that ran before goes on where it ended; of a new one every line is wanted.
                self._read(event.container_id, None, None if reader is None else event.at)

    def _read(self, container_id: str, tail: int | None, since: str | None) -> None:
        async def read() -> None:
            async for line in self._runtime.logs(container_id, follow=True, tail=tail, since=since):
                await self._queue.put(line)

        if container_id not in self._readers or self._readers[container_id].done():
            self._readers[container_id] = asyncio.create_task(self._told(read()))

    async def _told(self, work: Coroutine[object, object, None]) -> None:
        """Do it, and hand its failure to the reader instead of losing it with the task."""
        try:
            await work
        except NotFound:
            return  # the instance was removed; what it printed went with it
        except Exception as error:  # noqa: BLE001 - raised again where the lines are read
            await self._queue.put(error)
