"""Deciding interrupted restores: before anything is served, with the data directory's lock held, without an engine.

Every journal is read, its direction decided, and the exchanges finished. Idempotent: it may crash at any point and run
again. What it does not understand it leaves alone, with the workload stopped and an explanation (I2); it never
reverts on its own. What is left then (redeploy, gate, releasing containers, reaping) is
:mod:`holdfast.services.restore_recovery`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from holdfast.domain.errors import Failed, HoldfastError
from holdfast.domain.recovery import Direction, RecoveryPlan
from holdfast.domain.recovery import decide as decide_plan
from holdfast.domain.restore import RecordType, RestoreFacts
from holdfast.domain.restore_records import AbortedRecord, Record, RevertedRecord, SwappedRecord
from holdfast.domain.told import Told
from holdfast.engine import mounts
from holdfast.engine.journal import Journal
from holdfast.engine.wrapper_place import staged_path
from holdfast.services.restore_files import RestoreFiles
from holdfast.services.restore_registry import RestoreRegistry, Undecided
from holdfast.store.workloads import WorkloadStore

_RECORDS: dict[RecordType, Callable[[], Record]] = {
    RecordType.ABORTED: lambda: AbortedRecord(why="the server was interrupted before the restore was committed"),
    RecordType.SWAPPED: SwappedRecord,
    RecordType.REVERTED: RevertedRecord,
}


@dataclass(slots=True)
class Unfinished:
    """A restore whose direction is decided.

    Attributes:
        found: the direction before recovery wrote anything.
        plan: its ``record`` is set while the exchanges are still to be carried out.
    """

    journal: Journal
    facts: RestoreFacts
    found: Direction
    plan: RecoveryPlan


@dataclass(slots=True)
class Decided:
    """What was found: what goes on by itself, and what waits for a person."""

    unfinished: list[Unfinished]
    blocked: list[tuple[RestoreFacts, HoldfastError]]
    unreadable: list[str]


class SwapRecovery:
    """Decides, and finishes exchanges."""

    def __init__(self, *, files: RestoreFiles, registry: RestoreRegistry, workloads: WorkloadStore) -> None:
        self._files = files
        self._registry = registry
        self._workloads = workloads
        self._log = structlog.get_logger("recovery")

    async def decide(self) -> Decided:
        """Decide every interrupted restore, and finish the exchanges that are decided. Raises nothing but bugs."""
        decided = Decided([], [], [])
        for path in self._files.journals():
            try:
                await self._decide_one(path, decided)
            except HoldfastError as error:
                self._log.error("restore not recovered", journal=path, code=error.code, reason=error.message)
                await self._block(error)
                decided.unreadable.append(error.message)
        return decided

    async def _decide_one(self, path: str, decided: Decided) -> None:
        journal = await self._files.reopen(path)
        direction = journal.direction
        if journal.facts is None or direction is Direction.DONE:
            try:
                await self._files.remove(journal)
            except HoldfastError as error:  # it is over: nobody has to be kept off anything because of it
                self._log.warning("a journal that is over is still there", journal=path, reason=error.message)
            return
        facts = journal.facts
        plan = decide_plan(direction, await self._files.observe(journal.volumes))
        self._log.warning("found an interrupted restore", journal=path, direction=direction, exchange=plan.exchange)
        unfinished = Unfinished(journal, facts, direction, plan)
        try:
            if plan.problem is not None:
                raise Failed(plan.problem.code, plan.problem.message, next_step=plan.problem.next_step)
            if not (plan.exchange and await self._mounted(journal)):
                await self.carry_out(unfinished)
        except HoldfastError as error:
            self._log.error("restore not recovered", journal=path, code=error.code, reason=error.message)
            self._registry.set_undecided(
                Undecided(restore_id=facts.restore_id, workload_ids=facts.lock_ids, told=Told.of(error))
            )
            decided.blocked.append((facts, error))
            journal.close()
        else:
            decided.unfinished.append(unfinished)

    async def _mounted(self, journal: Journal) -> bool:
        """Whether a process still has one of the directories mounted: then its container is stopped first (I4)."""
        paths = [volume.live.path for volume in journal.volumes]
        paths += [staged_path(volume) for volume in journal.volumes]
        return bool(await asyncio.to_thread(mounts.holders, self._files.fs, paths))

    async def carry_out(self, unfinished: Unfinished) -> None:
        """Exchange what is to be exchanged, and write down that it is. No container may have the trees mounted."""
        plan = unfinished.plan
        if plan.record is None or plan.to is None:
            return
        if plan.record is not RecordType.ABORTED or plan.exchange:
            await self._files.exchange_all(unfinished.journal.volumes, plan.to)
        await self._files.append(unfinished.journal, _RECORDS[plan.record]())
        unfinished.plan = RecoveryPlan(may_start=plan.may_start, removable=plan.removable)

    async def _block(self, error: HoldfastError) -> None:
        """Keep everybody off the workload of a journal that can't be understood; off all, if it does not say whose."""
        whose = error.details.get("lock_ids")
        every = tuple(workload.id for workload in await self._workloads.list())
        ids = tuple(str(i) for i in whose) if isinstance(whose, list) else every
        self._registry.set_undecided(Undecided(restore_id=None, workload_ids=ids, told=Told.of(error)))
