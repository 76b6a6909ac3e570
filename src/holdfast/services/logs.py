"""Logs of a workload: the lines of all its instances, those of removed ones that are kept included, merged by time.

What was printed is merged by time. Followed, lines come as they are printed, of instances that start later too, until
the reader goes away; slow readers slow the reading down instead of filling memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from heapq import heapify, heappop, heappush
from typing import Final

from holdfast.domain.errors import HoldfastError, NotFound
from holdfast.domain.logs import OWN_STREAM, LogLine, LogQuery, Newest
from holdfast.domain.workload import Workload
from holdfast.engine.kept_logs import KeptLog, KeptLogFiles
from holdfast.runtime.port import Container, ContainerLog, ContainerRuntime
from holdfast.services.instances import Instances
from holdfast.services.log_following import Follower, Place

MAX_LINES: Final = 10_000
"""The most lines that are given at once; older ones are left out."""
_MOST_TEXT: Final = 32 << 20
"""Characters that the lines which are given at once have at most."""


class Logs:
    """Reads logs.

    Args:
        kept: the logs of removed instances.
        workload: finds one by its id or name, or raises ``NotFound``.
    """

    def __init__(
        self,
        runtime: ContainerRuntime,
        instances: Instances,
        kept: KeptLogFiles,
        workload: Callable[[str], Awaitable[Workload]],
    ) -> None:
        self._runtime = runtime
        self._instances = instances
        self._kept = kept
        self._workload = workload

    async def read(self, ref: str, query: LogQuery, *, tail: int) -> list[LogLine]:
        """The last lines of all instances of a workload, oldest first.

        Args:
            ref: the workload's id or name.
            tail: how many, up to :data:`MAX_LINES`.

        Raises:
            NotFound: ``workload_unknown``.
            Unavailable: the engine does not answer.
        """
        workload = await self._workload(ref)
        lines, _ = await self._printed(workload.id, query, tail)
        return lines

    async def follow(self, ref: str, query: LogQuery, *, tail: int) -> AsyncGenerator[LogLine, None]:
        """As :meth:`read`, and then each line as it is printed, until the iterator is closed.

        Raises:
            NotFound: ``workload_unknown``.
            Unavailable: while reading, if the engine does not answer or goes away.
        """
        workload = await self._workload(ref)
        follower = Follower(self._runtime, self._instances, workload.id, query)
        return follower.lines(lambda: self._printed(workload.id, query, tail))

    async def download(self, ref: str, query: LogQuery) -> tuple[str, AsyncGenerator[LogLine, None]]:
        """The workload's name, and all lines that there are, oldest first. They never are in memory together.

        Raises:
            NotFound: ``workload_unknown``.
            Unavailable: the engine does not answer; while reading, if it goes away.
        """
        workload = await self._workload(ref)
        containers = await self._instances.of(workload.id)
        removed = await self._removed(workload.id, query, containers)
        sources = [(each.first, self._lines_of_kept(workload.id, each, query)) for each in removed]
        sources += [(each.created_at, self._lines_of(each, query)) for each in containers]
        return workload.name, _merged(sources)

    async def _printed(self, workload_id: str, query: LogQuery, tail: int) -> tuple[list[LogLine], dict[str, Place]]:
        """The last lines, and how far those of each container were read."""
        tail = min(tail, MAX_LINES)
        newest = Newest(tail, _MOST_TEXT)
        places: dict[str, Place] = {}
        read = []
        limit = None if query.picks and tail else max(tail, 1)  # where the last line stands is looked up in any case
        for container in reversed(await self._instances.of(workload_id)):
            place = Place(container.name)
            try:
                async with aclosing(self._runtime.logs(container.id, tail=limit, since=query.since)) as lines:
                    async for line in lines:
                        place.is_new(line)
                        if query.takes(line.at, line.stream, line.text):
                            newest.add(_of(container.name, line))
            except NotFound:
                continue  # it was removed just now; what was kept of it is read below
            places[container.id] = place
            read.append(container)
        for kept in reversed(await self._removed(workload_id, query, read)):
            if newest.wants(kept.last):
                async for found in self._lines_of_kept(workload_id, kept, query):
                    newest.add(found)
        return newest.lines(), places

    async def _removed(self, workload_id: str, query: LogQuery, there: Collection[Container]) -> list[KeptLog]:
        """The kept logs that may hold lines that are asked for, but of those who are there, oldest first."""
        kept = await asyncio.to_thread(self._kept.of, workload_id)
        ids = {container.id for container in there}
        return [each for each in kept if query.meets(each.first, each.last) and each.container not in ids]

    async def _lines_of(self, container: Container, query: LogQuery) -> AsyncGenerator[LogLine, None]:
        try:
            async with aclosing(self._runtime.logs(container.id, since=query.since)) as lines:
                async for line in lines:
                    if query.takes(line.at, line.stream, line.text):
                        yield _of(container.name, line)
        except NotFound:
            return  # it was removed meanwhile

    async def _lines_of_kept(self, workload_id: str, kept: KeptLog, query: LogQuery) -> AsyncGenerator[LogLine, None]:
        """The lines of a kept log; if it is damaged, one that says so."""
        try:
            lines = await asyncio.to_thread(self._kept.read, workload_id, kept, query)
        except HoldfastError as error:
            lines = [LogLine(at=kept.first, instance=kept.container[:12], stream=OWN_STREAM, text=error.message)]
        for line in lines:
            yield line


async def _merged(sources: Sequence[tuple[str, AsyncGenerator[LogLine, None]]]) -> AsyncGenerator[LogLine, None]:
    """The lines of all sources by time. A source is begun when the lines reach the time that it is given with."""
    heap: list[tuple[str, int, LogLine | None]] = [(begins, number, None) for number, (begins, _) in enumerate(sources)]
    heapify(heap)
    try:
        while heap:
            _, number, line = heappop(heap)
            if line is not None:
                yield line
            following = await anext(sources[number][1], None)
            if following is not None:
                heappush(heap, (following.at, number, following))
    finally:
        for _, lines in sources:
            await lines.aclose()


def _of(instance: str, line: ContainerLog) -> LogLine:
    return LogLine(at=line.at, instance=instance, stream=line.stream, text=line.text)
