"""The audit log: written before an answer leaves, read by admins.

What was done is done, whether or not its line can be written; so an answer is never withheld for that. Instead a line
that can't be written is told by the server's log at once, waits in memory to be written with the next one, and until
it is, nothing else that would need a line is begun (``audit_unwritable``). At most what was under way at that moment is
done without being on record, and only if the server ends before its disk takes writes again. What is refused meanwhile
begins nothing, and anybody can have it refused: of that, only so many lines wait.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Final

import structlog

from holdfast.domain.audit import AuditEntry, AuditLine, Head
from holdfast.domain.errors import HoldfastError, Unavailable
from holdfast.services.paging import Page
from holdfast.store.audit import AuditFilter, AuditStore

_BATCH: Final = 500
"""Lines that an export reads at a time."""
MOST_WAITING: Final = 1000
"""Lines that wait in memory; those beyond, of what was refused meanwhile, are told by the server's log only."""

_REFUSED: Final = range(400, 499)
"""Statuses of answers with which nothing was begun."""
_UNWRITABLE: Final = "audit_unwritable"


class Audit:
    """The log of what was done through the API."""

    def __init__(self, store: AuditStore) -> None:
        self._store = store
        self._waiting: list[AuditEntry] = []
        self._writing = asyncio.Lock()
        self._log = structlog.get_logger("audit")

    async def require_writable(self) -> None:
        """Make sure that what is begun now will be on record.

        Raises:
            Unavailable: ``audit_unwritable``; earlier lines still wait to be written.
        """
        if not self._waiting:
            return
        try:
            await self._write()
        except HoldfastError as error:
            raise Unavailable(
                _UNWRITABLE,
                f"The audit log can't be written, so that nothing that belongs into it is begun: {error.message}",
                next_step=error.next_step,
            ) from error

    async def record(self, entry: AuditEntry) -> None:
        """Put an entry on record, durably, if it can be. Raises nothing for what the database refuses."""
        refused = entry.status in _REFUSED or entry.outcome == _UNWRITABLE
        if not (refused and len(self._waiting) >= MOST_WAITING):
            self._waiting.append(entry)
        try:
            await self._write()
        except HoldfastError as error:
            told = {f"audit_{name}": value for name, value in dataclasses.asdict(entry).items()}
            self._log.error(_UNWRITABLE, code=error.code, reason=error.message, **told)

    async def head(self) -> Head:
        """Where the log ends."""
        return await self._store.head()

    async def list(self, wanted: AuditFilter, limit: int, cursor: int | None) -> Page[AuditLine]:
        """Lines, newest first; the cursor is the number of the last one of the page before."""
        found = await self._store.list(wanted, limit=limit + 1, before=cursor)
        items = found[:limit]
        return Page(items, str(items[-1].number) if len(found) > limit else None)

    async def export(self) -> AsyncIterator[AuditLine]:
        """All lines that there are now, oldest first."""
        return self._lines(await self._store.head())

    async def _lines(self, head: Head) -> AsyncIterator[AuditLine]:
        number = 0
        while lines := await self._store.after(number, last=head.number, limit=_BATCH):
            for line in lines:
                yield line
            number = lines[-1].number

    async def close(self) -> None:
        """Write what still waits, if it can be."""
        try:
            await self._write()
        except HoldfastError as error:
            self._log.error(_UNWRITABLE, code=error.code, reason=error.message, lines=len(self._waiting))

    async def _write(self) -> None:
        """Write all that waits, to its end, also for who is cancelled meanwhile: nothing is written twice."""
        await asyncio.shield(self._write_waiting())

    async def _write_waiting(self) -> None:
        async with self._writing:
            batch = list(self._waiting)
            if batch:
                await self._store.append(batch)
                del self._waiting[: len(batch)]
