"""Removing what settled restores displaced: in the background, never failing a restore, never blocking anything.

What can't be removed now (a file that was made immutable, a mount) keeps its journal, is told with the path and what to
do about it, and is tried again: at the next restore of the workload, now and then, and at the next start.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import structlog

from holdfast.domain.errors import Conflict, Failed, HoldfastError
from holdfast.domain.restore import RecordType, RestoreFacts
from holdfast.domain.restore_records import DoneRecord, allowed_next
from holdfast.domain.told import Told, told
from holdfast.engine.journal import Journal
from holdfast.engine.wrapper_place import staged_path
from holdfast.services.restore_files import RestoreFiles
from holdfast.services.worker_process import WORKER_DIED

RETRY_SECONDS: Final = 600.0
"""How often what could not be removed is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """What a settled restore left beside its volumes, and what keeps it there.

    Attributes:
        why: what stands in the way, with its path, and what to do about it.
    """

    facts: RestoreFacts
    why: Told

    @property
    def told(self) -> Told:
        """That it is still there, and why."""
        return told(
            "restore_left_something",
            "{workload}: what restore {restore} left is still there. {why}",
            "{step}",
            workload=self.facts.workload_name,
            restore=self.facts.restore_id,
            why=self.why,
            step=self.why.next_step,
        )


class Reaper:
    """Removes wrappers and ends journals.

    Args:
        retry_seconds: how often what could not be removed is tried again.
    """

    def __init__(self, files: RestoreFiles, *, retry_seconds: float = RETRY_SECONDS) -> None:
        self._files = files
        self._retry_seconds = retry_seconds
        self._running: dict[str, tuple[RestoreFacts, asyncio.Task[None]]] = {}
        self._left: dict[str, Leftover] = {}
        self._watch: asyncio.Task[None] | None = None
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
        """As :meth:`reap`, without anybody waiting for it. What can't be removed is tried again."""
        self._begin(_facts(journal), journal)

    async def reap_or_leave(self, journal: Journal) -> Leftover | None:
        """As :meth:`reap`. What can't be removed is told, and tried again."""
        facts = _facts(journal)
        await asyncio.shield(self._begin(facts, journal))
        return self._left.get(facts.restore_id)

    async def release(self, workload_id: str) -> list[str]:
        """Remove the trees that reverted restores of a workload keep for looking at. Returns the restores' ids.

        Raises:
            HoldfastError: something could not be removed; doing it again goes on.
        """
        released = []
        # Only looked at until it is sure whose it is: the journals of others are being written to.
        for facts in await self._files.kept(workload_id):
            await self.reap(await self._files.reopen(self._path(facts)))
            released.append(facts.restore_id)
        return released

    async def kept(self, workload_id: str) -> list[str]:
        """The trees that reverted restores of a workload keep for looking at."""
        return [staged_path(volume) for facts in await self._files.kept(workload_id) for volume in facts.volumes]

    async def clear(self, workload_id: str) -> None:
        """Remove everything that settled restores of a workload left, what they keep for looking at included.

        Raises:
            HoldfastError: something could not be removed; doing it again goes on.
        """
        await self.release(workload_id)
        self.try_again(workload_id)
        while tasks := [task for facts, task in self._running.values() if facts.workload_id == workload_id]:
            await asyncio.wait(tasks)
        for left in self.left(workload_id):
            raise Failed("leftovers_in_the_way", f"{left.told}", next_step=left.why.next_step)

    def left(self, workload_id: str | None = None) -> tuple[Leftover, ...]:
        """What could not be removed yet, of one workload or of all."""
        return tuple(left for left in self._left.values() if workload_id in (None, left.facts.workload_id))

    def try_again(self, workload_id: str | None = None) -> None:
        """Begin to remove once more what could not be removed, of one workload or of all."""
        for left in self.left(workload_id):
            self._begin(left.facts)

    def start(self) -> None:
        """From now on try again now and then."""
        self._watch = asyncio.create_task(self._keep_trying(), name="reaper")

    async def idle(self) -> None:
        """Wait until nothing is being reaped."""
        while self._running:
            await asyncio.wait([task for _, task in self._running.values()])

    async def close(self) -> None:
        """Stop; what is left is found again at the next start."""
        tasks = [task for _, task in self._running.values()]
        if self._watch is not None:
            tasks.append(self._watch)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, facts: RestoreFacts, journal: Journal | None = None) -> asyncio.Task[None]:
        """Begin to reap a restore, unless that is under way."""
        if facts.restore_id in self._running:
            return self._running[facts.restore_id][1]
        task = asyncio.create_task(self._try(facts, journal), name=f"reaping {facts.restore_id}")
        self._running[facts.restore_id] = facts, task
        task.add_done_callback(lambda _task: self._running.pop(facts.restore_id))
        return task

    async def _try(self, facts: RestoreFacts, journal: Journal | None) -> None:
        try:
            try:
                await self.reap(journal or await self._files.reopen(self._path(facts)))
            except HoldfastError as error:
                if error.code != WORKER_DIED:
                    raise
                # Nothing stands in the way: who did it is gone, and another can do it at once.
                await self.reap(await self._files.reopen(self._path(facts)))
        except HoldfastError as error:
            self._left[facts.restore_id] = Leftover(facts=facts, why=Told.of(error))
            self._log.warning("not reaped yet", restore=facts.restore_id, code=error.code, reason=error.message)
        else:
            self._left.pop(facts.restore_id, None)

    def _path(self, facts: RestoreFacts) -> str:
        return f"{self._files.journal_dir}/{facts.restore_id}.journal"

    async def _keep_trying(self) -> None:
        while True:
            await asyncio.sleep(self._retry_seconds)
            self.try_again()


def _facts(journal: Journal) -> RestoreFacts:
    if journal.facts is None:
        raise ValueError(f"{journal.path} says nothing of a restore")
    return journal.facts


def _require_settled(journal: Journal) -> None:
    if RecordType.DONE not in allowed_next(journal.records):
        raise Conflict(
            "journal_needed",
            f"The restore of {journal.path} is not settled: what it left beside the volumes is still needed.",
            next_step="Let recovery finish the restore.",
            details={"journal": journal.path},
        )
