"""Lines that instances print: which of them are asked for, and the newest of many.

Times are compared as text: all are RFC 3339 in UTC, with a ``Z`` and as many digits of a second as
whoever wrote them had.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Final

OWN_STREAM: Final = "holdfast"
"""The stream of a line that no instance printed: what Holdfast has to say about the lines around it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A line.

    Attributes:
        instance: the name of the container that printed it.
        stream: ``stdout``, ``stderr``, or :data:`OWN_STREAM`.
    """

    at: str
    instance: str
    stream: str
    text: str


class LogQuery:
    """Which lines are asked for.

    Args:
        since, until: RFC 3339; only lines from then on, and up to then.
        search: only lines that hold this text, upper and lower case being the same.
    """

    def __init__(self, *, since: str | None = None, until: str | None = None, search: str = "") -> None:
        self.since = since
        self.until = until
        self.search = search
        self._since = "" if since is None else _comparable(since)
        self._until = None if until is None else _comparable(until)
        self._search = search.casefold()

    @property
    def picks(self) -> bool:
        """Whether lines after ``since`` may be passed over: the newest lines then aren't those that are wanted."""
        return bool(self._search) or self._until is not None

    def takes(self, at: str, stream: str, text: str) -> bool:
        """Whether this line is asked for. What Holdfast says is, whatever is searched for."""
        moment = _comparable(at)
        if moment < self._since or self.is_over(at):
            return False
        return not self._search or stream == OWN_STREAM or self._search in text.casefold()

    def is_over(self, at: str) -> bool:
        """Whether this time, and all later ones, come after what is asked for."""
        return self._until is not None and _comparable(at) > self._until

    def meets(self, first: str, last: str) -> bool:
        """Whether lines between these two times can be among those that are asked for."""
        return _comparable(last) >= self._since and not self.is_over(first)


class Newest:
    """The newest of many lines.

    Args:
        count: so many at most.
        size: so many characters of text at most.
    """

    def __init__(self, count: int, size: int) -> None:
        self._count = count
        self._size = size
        self._held = 0
        self._given = 0
        self._heap: list[tuple[str, int, LogLine]] = []

    def add(self, line: LogLine) -> None:
        """Take a line in, and let go of the oldest beyond the bounds. Lines of one time keep their order."""
        self._given += 1
        self._held += len(line.text)
        heapq.heappush(self._heap, (_comparable(line.at), self._given, line))
        while len(self._heap) > self._count or (self._held > self._size and self._heap):
            self._held -= len(heapq.heappop(self._heap)[2].text)

    def wants(self, last: str) -> bool:
        """Whether lines up to this time may be among the newest."""
        if not self._count:
            return False
        full = len(self._heap) >= self._count or self._held >= self._size
        return not full or _comparable(last) >= self._heap[0][0]

    def lines(self) -> list[LogLine]:
        """They, oldest first."""
        return [line for _, _, line in sorted(self._heap)]


def _comparable(at: str) -> str:
    return at.removesuffix("Z")
