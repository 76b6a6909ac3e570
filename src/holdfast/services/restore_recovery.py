"""Recovery after the exchanges are decided: what an interrupted restore or capture still owes is done as operations.

:meth:`RestoreRecovery.resume` returns once each operation holds its workloads' locks, so that nothing else gets in
between; redeploy, gate, releasing of containers and reaping go on while the API serves, and wait for an engine that
is not there yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from holdfast.domain.deployment import DeploymentState
from holdfast.domain.errors import Failed, HoldfastError, NotFound
from holdfast.domain.operation import Operation, OperationKind, OperationState
from holdfast.domain.recovery import Direction
from holdfast.domain.restore import RestoreFacts, RestoreResult
from holdfast.domain.told import Told, told
from holdfast.engine.holds import Hold, HoldFiles
from holdfast.engine.journal import Journal
from holdfast.services.active_restore import abort_incomplete, left_stopped
from holdfast.services.active_restores import ActiveRestores
from holdfast.services.capture import Capture
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.hooks import release_failed
from holdfast.services.locks import Held, LifecycleLocks
from holdfast.services.operations import OperationContext, Operations, Run
from holdfast.services.restore import Restores
from holdfast.services.restore_registry import RESTART, RestoreRegistry, Undecided
from holdfast.services.restore_run import COMMIT_UNCERTAIN, RestoreRun
from holdfast.services.restore_trial import Outcome, RestoreTrial
from holdfast.services.retrying import until_engine_answers
from holdfast.services.swap_recovery import Decided, SwapRecovery, Unfinished
from holdfast.services.take_back import interrupted_with

_RESULTS: Final = {
    Direction.CONFIRMED: frozenset(
        {
            RestoreResult.RESTORED,
            RestoreResult.RESTORED_STOPPED,
            RestoreResult.RESTORED_UNHEALTHY,
            RestoreResult.RESTORED_DEPLOY_FAILED,
        }
    ),
    Direction.REVERTED: frozenset({RestoreResult.REVERTED, RestoreResult.REVERTED_UNHEALTHY}),
}
"""How an operation ended that got as far as its journal says."""

_INTERRUPTED: Final = "the server was interrupted"

_BLOCKED: Final = "blocked"
"""In an operation's outcome: recovery was kept from going on, so that the operation's end is not the restore's."""


class RestoreRecovery:
    """Finishes interrupted restores and lets interrupted captures' containers go."""

    def __init__(
        self,
        *,
        swaps: SwapRecovery,
        registry: RestoreRegistry,
        operations: Operations,
        locks: LifecycleLocks,
        restores: Restores,
        active: ActiveRestores,
        run: RestoreRun,
        trial: RestoreTrial,
        holds: HoldFiles,
        capture: Capture,
        reap_in_background: Callable[[Journal], object],
        records: DeployRecords,
        reconcile: Callable[[str], Awaitable[object]],
    ) -> None:
        self._swaps = swaps
        self._registry = registry
        self._operations = operations
        self._locks = locks
        self._restores = restores
        self._active = active
        self._run = run
        self._trial = trial
        self._holds = holds
        self._capture = capture
        self._reap_in_background = reap_in_background
        self._records = records
        self._reconcile = reconcile
        self._log = structlog.get_logger("recovery")

    async def resume(self, decided: Decided) -> None:
        """Start what is left of each interrupted restore and capture; return when each holds its locks."""
        for facts, failure in decided.blocked:
            await self._take_up(facts.operation_id, OperationKind.RESTORE, facts.workload_id, _failing(failure))
        for unfinished in decided.unfinished:
            await self._resume_one(unfinished)
        holds, damaged = await asyncio.to_thread(self._holds.all)
        for hold in holds:
            await self._resume_hold(hold)
        for error in damaged:
            self._log.error("hold not recovered", code=error.code, reason=error.message)
            self._registry.notice(f"{error.message} {error.next_step}")

    async def _resume_one(self, unfinished: Unfinished) -> None:
        facts = unfinished.facts
        locked = asyncio.Event()

        async def run(ctx: OperationContext) -> Outcome:
            try:
                holder = told("recovery_of_restore", "recovery of restore {id}", id=facts.operation_id)
                async with self._locks.hold(facts.lock_ids, holder) as held:
                    locked.set()
                    outcome = await self._finish(ctx, held, unfinished)
            finally:
                self._registry.end(facts.workload_id, facts.restore_id)
            if facts.returns_from:
                raise await self._way_back_ended(facts)
            return outcome

        async def way_back(ctx: OperationContext) -> Outcome:
            try:
                return await run(ctx)
            except HoldfastError:
                await self._reconcile(facts.workload_id)  # what was called off is tried again, or what ran comes back
                raise

        direction = unfinished.journal.direction
        if await self._ended_as(facts, direction):
            if direction is Direction.CONFIRMED or unfinished.found is Direction.ABORTED:
                # The containers were let go back then; what a person did with them since counts.
                self._reap_in_background(unfinished.journal)
                return
            if direction is Direction.REVERTED:
                unfinished.journal.close()  # Its tree is kept until somebody releases it.
                return
        try:
            self._registry.begin(facts.workload_id, facts.restore_id)
        except HoldfastError as error:  # another journal keeps everybody off the workload, this restore included
            unfinished.journal.close()
            await self._take_up(facts.operation_id, OperationKind.RESTORE, facts.workload_id, _failing(error))
            return
        operation = await self._take_up(
            facts.operation_id, OperationKind.RESTORE, facts.workload_id, way_back if facts.returns_from else run
        )
        if not await self._until(locked, operation):  # its record can't be written to: it ended before it began
            self._registry.end(facts.workload_id, facts.restore_id)
            self._keep_off(
                unfinished,
                told(
                    "undecided_not_taken_up", "it could not be taken up: its operation can't be written down.", RESTART
                ),
            )

    async def _way_back_ended(self, facts: RestoreFacts) -> Failed:
        """The data of before is back, after a deployment that failed: it has not succeeded because of that."""
        runs = "and what ran before runs on it" if facts.redeploys else "and nothing runs on it, as before"
        failed = interrupted_with(f"The data of before is back, {runs}.")
        deployment = await self._records.get(facts.returns_from)
        if deployment is not None:
            await self._records.end(deployment, DeploymentState.INTERRUPTED, failed)
        return failed

    async def _until(self, locked: asyncio.Event, operation: Operation) -> bool:
        """Wait until an operation holds its locks; whether it ever did."""
        waits = [asyncio.create_task(locked.wait()), asyncio.create_task(self._operations.wait(operation.id))]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return locked.is_set()

    def _keep_off(self, unfinished: Unfinished, why: Told) -> None:
        """Nobody goes on with a restore: keep everybody else off its workloads until the next start (I8)."""
        facts = unfinished.facts
        self._registry.set_undecided(Undecided(restore_id=facts.restore_id, workload_ids=facts.lock_ids, told=why))
        unfinished.journal.close()

    async def _ended_as(self, facts: RestoreFacts, direction: Direction) -> bool:
        """Whether an operation came to the end that the journal names, and so saw to the containers, too.

        The restore itself, or a person's decision about it. A record whose flush failed may be on disk all the same:
        then the operation stopped short of what belongs to it, and says another end than the journal.
        """
        cursor: str | None = None
        while True:
            page = await self._operations.list(limit=100, cursor=cursor, workload_id=facts.workload_id)
            for operation in page.items:
                about_it = operation.outcome.get("restore_id") == facts.restore_id
                if (about_it or operation.id == facts.operation_id) and _ended_as(operation, direction):
                    return True
            if page.next_cursor is None or page.next_cursor <= facts.operation_id:
                return False
            cursor = page.next_cursor

    async def _take_up(self, operation_id: str, kind: OperationKind, workload_id: str | None, run: Run) -> Operation:
        """Go on under the interrupted operation's own id, or under a new one if its record is gone."""
        try:
            return await self._operations.resume(operation_id, run)
        except NotFound:
            return await self._operations.start(kind, workload_id, "recovery", run)

    async def _finish(self, ctx: OperationContext, held: Held, unfinished: Unfinished) -> Outcome:
        try:
            restore = await self._active.revived(ctx, held, unfinished.journal)
        except HoldfastError as error:
            self._keep_off(unfinished, told("undecided_unread", "{why}", RESTART, why=Told.of(error)))
            raise
        ctx.outcome.update(restore.told)
        async with self._active.guarded(restore):
            if unfinished.plan.record is not None:
                await until_engine_answers(ctx, lambda: self._trial.stop_everything(restore))
                await self._swaps.carry_out(unfinished)
            match restore.journal.direction:
                case Direction.ABORTED:
                    try:
                        left = await self._run.abort(restore, "interrupted")
                    except HoldfastError as error:
                        raise abort_incomplete(restore, error, _INTERRUPTED, "restore_interrupted") from error
                    if left:
                        raise left_stopped(restore, left, _INTERRUPTED, "restore_interrupted")
                    raise Failed(
                        "restore_interrupted",
                        "The server was interrupted before the restore was committed. The data is what it was before.",
                        next_step="Start the restore again.",
                    )
                case Direction.REVERTED:
                    return await until_engine_answers(
                        ctx, lambda: self._trial.settle_reverted(restore, "the server was interrupted on the way back")
                    )
                case Direction.CONFIRMED:
                    return await self._trial.settle_confirmed(restore)
                case _:
                    return await self._restores.finish(restore)

    async def _resume_hold(self, hold: Hold) -> None:
        locked = asyncio.Event()
        ids = {container.workload_id for container in hold.containers}

        async def run(ctx: OperationContext) -> Outcome:
            async with self._locks.hold(
                ids, told("recovery_of_snapshot", "recovery of snapshot {id}", id=hold.operation_id)
            ):
                locked.set()
                not_undone = await self._capture.let_go(ctx, hold)
            if not_undone:
                raise release_failed(not_undone, what_stands="The server was interrupted while it took the snapshot.")
            raise Failed(
                "snapshot_interrupted",
                "The server was interrupted while it took the snapshot. The containers are as they were before.",
                next_step="Take the snapshot again.",
            )

        operation = await self._take_up(hold.operation_id, OperationKind.SNAPSHOT, min(ids, default=None), run)
        if not await self._until(locked, operation):
            self._registry.notice(
                f"What the snapshot {hold.operation_id} holds could not be let go: its operation can't be written "
                "down. Restart Holdfast: it tries again."
            )


def _ended_as(operation: Operation, direction: Direction) -> bool:
    if not operation.state.ended or operation.state is OperationState.INTERRUPTED:
        return False
    if operation.outcome.get("recovery") == _BLOCKED:
        return False
    if direction is Direction.ABORTED:
        code = "" if operation.error is None else str(operation.error.get("code", ""))
        # A full database may have ended it before it began to let the containers go: better twice than never.
        return code not in ("", COMMIT_UNCERTAIN) and not code.startswith("database_")
    return operation.outcome.get("result") in _RESULTS.get(direction, ())


def _failing(failure: HoldfastError) -> Run:
    async def run(ctx: OperationContext) -> Outcome:
        ctx.outcome["recovery"] = _BLOCKED
        raise failure

    return run
