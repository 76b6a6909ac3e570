"""Removing what settled restores displaced: in the background, never failing a restore, never blocking anything.

What can't be removed now keeps its journal, and is tried again at the next start.
"""

from __future__ import annotations

import asyncio

import structlog

from holdfast.domain.errors import Conflict, HoldfastError
from holdfast.domain.restore import RecordType
from holdfast.domain.restore_records import DoneRecord, allowed_next
from holdfast.engine.journal import Journal
from holdfast.services.restore_files import RestoreFiles


class Reaper:
    """Removes wrappers and ends journals."""

    def __init__(self, files: RestoreFiles) -> None:
        self._files = files
        self._tasks: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger("reaper")

    async def reap(self, journal: Journal) -> None:
        """Remove what the restore left beside its volumes, then its journal, which is closed whatever happens.

        Raises:
            Conflict: ``journal_needed``; the restore is not settled, and what it left may be the way back.
            HoldfastError: something could not be removed; doing it again goes on.
        """
        try:
            _require_settled(journal)
            await self._files.reap(journal.volumes)
            await self._files.append(journal, DoneRecord())
        except BaseException:
            journal.close()
            raise
        await self._files.remove(journal)

    def reap_in_background(self, journal: Journal) -> None:
        """As :meth:`reap`, without anybody waiting for it."""
        task = asyncio.create_task(self._try(journal), name=f"reaping {journal.path}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def idle(self) -> None:
        """Wait until nothing is being reaped."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def close(self) -> None:
        """Stop; what is left is found again at the next start."""
        for task in set(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _try(self, journal: Journal) -> None:
        try:
            await self.reap(journal)
        except HoldfastError as error:
            self._log.warning("not reaped yet", journal=journal.path, code=error.code, reason=error.message)


def _require_settled(journal: Journal) -> None:
    if RecordType.DONE not in allowed_next(journal.records):
        raise Conflict(
            "journal_needed",
            f"The restore of {journal.path} is not settled: what it left beside the volumes is still needed.",
            next_step="Let recovery finish the restore.",
            details={"journal": journal.path},
        )
