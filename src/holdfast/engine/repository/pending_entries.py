"""Entries on their way into a tree that wait, in their order, for the ids of their chunks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from holdfast.engine.repository.file_ids import FileIds, OneId
from holdfast.engine.repository.tree import TreeEntry

K = TypeVar("K")

_ENTRIES: Final = 4096
"""How many may wait."""
_BYTES: Final = 8 << 20
"""What they may hold in memory all together: a path alone may be a mebibyte long."""


class PendingEntries(Generic[K]):
    """Bounded in number and in bytes: beyond that, who adds waits for the first one.

    Args:
        give: takes each entry, once it has its ids, in the order in which they were added.

    Attributes:
        waiting: those that wait, each with what it belongs to, and its weight.
    """

    def __init__(self, give: Callable[[K, TreeEntry], object]) -> None:
        self.waiting: deque[tuple[K, TreeEntry, FileIds | OneId | None, int]] = deque()
        self._give = give
        self._bytes = 0

    def add(self, key: K, entry: TreeEntry, ids: FileIds | OneId | None) -> None:
        """One more; ``ids`` is ``None`` if it has its content already, or needs none."""
        weight = entry.weight
        self.waiting.append((key, entry, ids, weight))
        self._bytes += weight
        while self.waiting and ((head := self.waiting[0][2]) is None or head.ready):
            self._settle()
        while len(self.waiting) > _ENTRIES or self._bytes > _BYTES:
            self._settle()

    def settle_all(self) -> None:
        """Give them all, waiting for their ids."""
        while self.waiting:
            self._settle()

    def _settle(self) -> None:
        key, entry, ids, weight = self.waiting.popleft()
        self._bytes -= weight
        self._give(key, entry if ids is None else ids.named_in(entry))
