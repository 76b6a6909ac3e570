"""What changed, told to those who look on: where to look again, never what is there now.

A reader gets what came together as one set, the same thing once: however slow it is, what waits for it has a bound, and
nothing that changed is left out. Each set says where this stood then: whoever comes back to the same position has
missed nothing.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from holdfast.domain.accounts import TokenScope
from holdfast.domain.operation import Operation

MOST_WAITING = 1000
"""Updates that wait for one reader; where there are more, it is told to look at everything again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Something may be other than before.

    Attributes:
        part: of the API; ``None`` for any.
        workload_id: whose; ``None`` for any, or none.
    """

    part: TokenScope | None = None
    workload_id: str | None = None


EVERYTHING = Update()


@dataclass(eq=False, slots=True)
class _Reader:
    waiting: set[Update] = field(default_factory=set)
    some: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, update: Update) -> None:
        self.waiting = {EVERYTHING} if len(self.waiting) >= MOST_WAITING else self.waiting | {update}
        self.some.set()


class Updates:
    """Takes word of changes from wherever they are made, and passes it on."""

    def __init__(self) -> None:
        self._readers: set[_Reader] = set()
        self._operations: dict[str, tuple[object, ...]] = {}
        self._server = secrets.token_hex(4)
        self._told = 0

    @property
    def position(self) -> str:
        """Another one after whatever is told, and after each start of the server."""
        return f"{self._server}-{self._told}"

    def tell(self, update: Update) -> None:
        """Something changed. Costs nothing while nobody looks on."""
        self._told += 1
        for reader in self._readers:
            reader.tell(update)

    def of_operation(self, operation: Operation) -> None:
        """An operation is told anew. Mere progress changes nothing; its end may change anything of its workload."""
        seen = (operation.state, len(operation.steps), operation.waiting_for, operation.cancellable)
        if self._operations.get(operation.id) == seen:
            return
        if operation.state.ended:
            self._operations.pop(operation.id, None)
            self.tell(Update(workload_id=operation.workload_id))
        else:
            self._operations[operation.id] = seen
            self.tell(Update(part=TokenScope.OPERATIONS, workload_id=operation.workload_id))

    async def follow(self) -> AsyncIterator[tuple[str, frozenset[Update]]]:
        """The position and what changed up to it, as it comes.

        Begins with :data:`EVERYTHING`: who comes (back) has missed it all, unless they know that position.
        """
        reader = _Reader()
        reader.tell(EVERYTHING)
        self._readers.add(reader)
        try:
            while True:
                await reader.some.wait()
                waiting, reader.waiting = frozenset(reader.waiting), set()
                reader.some.clear()
                yield self.position, waiting
        finally:
            self._readers.discard(reader)
