"""Recovery after the exchanges are decided: what an interrupted restore or capture still owes is done as operations.

:meth:`RestoreRecovery.resume` returns once each operation holds its workloads' locks, so that nothing else gets in
between; redeploy, gate, releasing of containers and reaping go on while the API serves, and wait for an engine that
is not there yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from holdfast.domain.errors import Failed, HoldfastError, NotFound
from holdfast.domain.operation import OperationKind, OperationState
from holdfast.domain.recovery import Direction
from holdfast.engine.holds import Hold, HoldFiles
from holdfast.engine.journal import Journal
from holdfast.services.active_restores import ActiveRestores
from holdfast.services.capture import Capture
from holdfast.services.locks import Held, LifecycleLocks
from holdfast.services.operations import OperationContext, Operations, Run
from holdfast.services.restore import Restores
from holdfast.services.restore_registry import RestoreRegistry
from holdfast.services.restore_run import RestoreRun
from holdfast.services.restore_trial import Outcome, RestoreTrial
from holdfast.services.retrying import until_engine_answers
from holdfast.services.swap_recovery import Decided, SwapRecovery, Unfinished

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

    async def resume(self, decided: Decided) -> None:
        """Start what is left of each interrupted restore and capture; return when each holds its locks."""
        for facts, failure in decided.blocked:
            await self._take_up(facts.operation_id, OperationKind.RESTORE, facts.workload_id, _failing(failure))
        for unfinished in decided.unfinished:
            await self._resume_one(unfinished)
        for hold in self._holds.all():
            await self._resume_hold(hold)

    async def _resume_one(self, unfinished: Unfinished) -> None:
        facts = unfinished.facts
        locked = asyncio.Event()

        async def run(ctx: OperationContext) -> Outcome:
            try:
                async with self._locks.hold(facts.lock_ids, f"recovery of restore {facts.operation_id}") as held:
                    locked.set()
                    return await self._finish(ctx, held, unfinished)
            finally:
                self._registry.end(facts.workload_id, facts.restore_id)

        direction = unfinished.journal.direction
        if await self._ended(facts.operation_id):
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
        await self._take_up(facts.operation_id, OperationKind.RESTORE, facts.workload_id, run)
        await locked.wait()

    async def _ended(self, operation_id: str) -> bool:
        """Whether the operation had come to its end before the server did."""
        try:
            operation = await self._operations.get(operation_id)
        except NotFound:
            return False
        blocked = operation.outcome.get("recovery") == _BLOCKED
        return operation.state.ended and operation.state is not OperationState.INTERRUPTED and not blocked

    async def _take_up(self, operation_id: str, kind: OperationKind, workload_id: str | None, run: Run) -> None:
        """Go on under the interrupted operation's own id, or under a new one if its record is gone."""
        try:
            await self._operations.resume(operation_id, run)
        except NotFound:
            await self._operations.start(kind, workload_id, "recovery", run)

    async def _finish(self, ctx: OperationContext, held: Held, unfinished: Unfinished) -> Outcome:
        restore = await self._active.revived(ctx, held, unfinished.journal)
        ctx.outcome.update(
            restore_id=restore.facts.restore_id,
            snapshot_id=restore.facts.snapshot_id,
            volumes=[volume.target for volume in restore.volumes],
        )
        async with self._active.guarded(restore):
            if unfinished.plan.record is not None:
                await until_engine_answers(ctx, lambda: self._trial.stop_everything(restore))
                await self._swaps.carry_out(unfinished)
            match restore.journal.direction:
                case Direction.ABORTED:
                    await self._run.abort(restore, "interrupted")
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
            async with self._locks.hold(ids, f"recovery of snapshot {hold.operation_id}"):
                locked.set()
                await self._capture.let_go(ctx, hold)
            raise Failed(
                "snapshot_interrupted",
                "The server was interrupted while it took the snapshot. The containers are as they were before.",
                next_step="Take the snapshot again.",
            )

        await self._take_up(hold.operation_id, OperationKind.SNAPSHOT, min(ids, default=None), run)
        await locked.wait()


def _failing(failure: HoldfastError) -> Run:
    async def run(ctx: OperationContext) -> Outcome:
        ctx.outcome["recovery"] = _BLOCKED
        raise failure

    return run
