"""Following the lines of a workload's instances: of those that are there, and of all that start later.

What was printed before and what comes are joined without a gap and without a repetition: of each container it is known
how far its lines were given, through its restarts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Final, TypeAlias

from holdfast.domain.errors import NotFound
from holdfast.domain.logs import LogLine, LogQuery
from holdfast.runtime.port import LABEL_WORKLOAD, ContainerLog, ContainerRuntime
from holdfast.services.instances import Instances

_WAITING_LINES: Final = 32
"""Lines read ahead of a slow reader. Each may be as long as the engine's stream hands one on: a mebibyte."""
_CATCH_UP: Final = 10_000
"""Lines of a container that may be printed between two looks at it."""


class Place:
    """How far the lines of a container were given.

    Args:
        instance: the container's name.
    """

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self.at: str | None = None
        """The time of the last line."""
        self._given = 0
        self._to_skip = 0
        self._known = False

    def again(self) -> None:
        """From here on lines are read again that begin at the last one's time."""
        self._to_skip = self._given
        self._known = self.at is not None

    def is_new(self, line: ContainerLog) -> bool:
        """Whether this line, the next one that was read, was not given before. It counts as given from now on."""
        if self._known and self.at is not None:
            if line.at < self.at:
                return False
            if line.at == self.at and self._to_skip:
                self._to_skip -= 1
                return False
            self._known = False
        self._given = self._given + 1 if line.at == self.at else 1
        self.at = line.at
        return True


Printed: TypeAlias = Callable[[], Awaitable[tuple[list[LogLine], dict[str, Place]]]]
"""Reads what was printed so far, and says how far that goes in each container, by its id."""


class Follower:
    """One reader who follows one workload."""

    def __init__(self, runtime: ContainerRuntime, instances: Instances, workload_id: str, query: LogQuery) -> None:
        self._runtime = runtime
        self._instances = instances
        self._workload_id = workload_id
        self._query = query
        self._queue: asyncio.Queue[LogLine | Exception] = asyncio.Queue(_WAITING_LINES)
        self._readers: dict[str, asyncio.Task[None]] = {}
        self._places: dict[str, Place] = {}
        self._started_again: set[str] = set()
        self._looked = asyncio.Event()

    async def lines(self, printed: Printed) -> AsyncGenerator[LogLine, None]:
        """What was printed, and what comes."""
        watching = asyncio.create_task(self._told(self._watch()))
        try:
            before, self._places = await printed()
            for line in before:
                yield line
            for container in reversed(await self._instances.of(self._workload_id)):
                if container.running:
                    self._read(container.id, container.name)
            self._looked.set()
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
            await self._looked.wait()
            if event.action != "start" or event.labels.get(LABEL_WORKLOAD) != self._workload_id:
                continue
            for container in await self._instances.of(self._workload_id):
                if container.id == event.container_id:
                    self._read(container.id, container.name)

    def _read(self, container_id: str, instance: str) -> None:
        reader = self._readers.get(container_id)
        if reader is None or reader.done():
            place = self._places.setdefault(container_id, Place(instance))
            self._readers[container_id] = asyncio.create_task(self._told(self._follow(container_id, place)))
        else:
            self._started_again.add(container_id)  # while its reader has not seen yet that it had ended

    async def _follow(self, container_id: str, place: Place) -> None:
        while True:
            place.again()
            since = place.at or self._query.since
            tail = None if place.at is None else _CATCH_UP
            async with aclosing(self._runtime.logs(container_id, follow=True, tail=tail, since=since)) as lines:
                async for line in lines:
                    if place.is_new(line) and self._query.takes(line.at, line.stream, line.text):
                        await self._queue.put(
                            LogLine(at=line.at, instance=place.instance, stream=line.stream, text=line.text)
                        )
            if container_id not in self._started_again:
                return
            self._started_again.discard(container_id)

    async def _told(self, work: Coroutine[object, object, None]) -> None:
        """Do it, and hand its failure to the reader instead of losing it with the task."""
        try:
            await work
        except NotFound:
            return  # the instance was removed
        except Exception as error:  # noqa: BLE001 - raised again where the lines are read
            await self._queue.put(error)
