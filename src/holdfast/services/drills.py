"""Restore drills: a snapshot is proved restorable by restoring it.

A drill does what a person could do, one after the other: clone into a throw-away workload (with the image that ran when
the snapshot was taken), run the workload's own check in it, delete it with its data. Each has its own guarantees; the
workload that the snapshot is of is neither locked nor stopped, and its directories are not written to.

- The copy is removed however the drill ends. What a server that died left of one, the next removes (``clear``).
- Proved is only what was restored, passed its health gate, and passed the check.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import structlog

from holdfast.domain import times
from holdfast.domain.drill import ThrowAway, drill_name, is_throw_away
from holdfast.domain.errors import Busy, Conflict, Failed, HoldfastError
from holdfast.domain.operation import Operation, OperationKind, OperationState
from holdfast.domain.snapshot import Snapshot
from holdfast.domain.told import Told, told
from holdfast.domain.workload import Workload
from holdfast.runtime.port import ContainerRuntime
from holdfast.services.clones import Clones, CloneWish
from holdfast.services.instances import Instances
from holdfast.services.operations import OperationContext, Operations
from holdfast.services.snapshots import Snapshots
from holdfast.services.workload_deletion import WorkloadDeletion
from holdfast.services.workloads import Workloads
from holdfast.store.snapshots import SnapshotStateStore
from holdfast.store.workloads import WorkloadStore

_LINES: Final = 20
"""So many last lines of a check's output are told."""


class Drills:
    """Proves that snapshots can be restored."""

    def __init__(
        self,
        *,
        operations: Operations,
        workloads: Workloads,
        store: WorkloadStore,
        snapshots: Snapshots,
        states: SnapshotStateStore,
        clones: Clones,
        deletion: WorkloadDeletion,
        instances: Instances,
        runtime: ContainerRuntime,
    ) -> None:
        self._operations = operations
        self._workloads = workloads
        self._store = store
        self._snapshots = snapshots
        self._states = states
        self._clones = clones
        self._deletion = deletion
        self._instances = instances
        self._runtime = runtime
        self._running: dict[str, str] = {}

    def running(self, workload_id: str) -> str | None:
        """The drill of a workload that is under way."""
        return self._running.get(workload_id)

    async def start(
        self,
        ref: str,
        snapshot_id: str,
        *,
        command: Sequence[str] | None = None,
        actor: str,
        idempotency_key: str | None = None,
    ) -> Operation:
        """Begin to prove a snapshot.

        Args:
            command: what has to end with 0 in the healthy copy; as the workload says if not given.

        Raises:
            NotFound: ``workload_unknown``, ``snapshot_unknown``.
            Busy: ``drill_running``.
        """
        workload = await self._workloads.get(ref)
        snapshot = await self._snapshots.get(ref, snapshot_id)
        under_way = self._running.get(workload.id)
        if under_way is not None and idempotency_key is None:
            raise _busy(workload, under_way)
        policy = workload.spec.snapshots.drill
        check = tuple(policy.command if command is None else command)

        async def run(ctx: OperationContext) -> dict[str, object]:
            holder = self._running.setdefault(workload.id, ctx.id)
            if holder != ctx.id:  # two that were asked for at the same moment
                raise _busy(workload, holder)
            try:
                return await self._run(ctx, workload, snapshot, check, policy.timeout)
            finally:
                del self._running[workload.id]

        return await self._operations.start(
            OperationKind.DRILL, workload.id, actor, run, idempotency_key=idempotency_key
        )

    async def clear(self) -> None:
        """Begin to remove the copies of drills that a server did not come to the end of."""
        log = structlog.get_logger("drills")
        for workload in await self._store.list():
            if is_throw_away(workload.spec) and workload.name not in map(drill_name, self._running.values()):
                try:
                    await self._deletion.start(workload, delete_data=True, actor="drill")
                except HoldfastError as error:
                    log.warning("the copy of a drill stays", workload=workload.name, reason=error.message)

    async def _run(
        self, ctx: OperationContext, workload: Workload, snapshot: Snapshot, check: Sequence[str], timeout: float
    ) -> dict[str, object]:
        targets = tuple(volume.target for volume in snapshot.manifest.volumes)
        copy = ThrowAway.of(ctx.id, workload.spec.stage, targets)
        try:
            ctx.step("restoring")
            await self._restored(ctx, snapshot, copy)
            if check:
                ctx.step("checking")
                await self._checked(ctx, copy.name, check, timeout)
        finally:
            removed = await self._removed(ctx, copy.name)
        at = times.now()
        await self._states.proved(snapshot.id, workload.id, at)
        return {"snapshot_id": snapshot.id, "proved_at": at, "checked": bool(check), "removed": removed}

    async def _restored(self, ctx: OperationContext, snapshot: Snapshot, copy: ThrowAway) -> None:
        """Clone, and wait until the copy is healthy."""
        wish = CloneWish(snapshot_id=snapshot.id, confirm=snapshot.id, with_image=True, actor=ctx.actor)
        begun = await self._clones.new(wish, copy)
        ctx.log(told("drill_clone", "the clone {clone} restores it into {copy}", clone=begun.id, copy=copy.name))
        ctx.outcome["clone_id"] = begun.id
        end = await self._ended(ctx, begun)
        if end.state is not OperationState.SUCCEEDED:
            error = end.error or {}
            raise Failed(
                "drill_failed",
                f"The snapshot {snapshot.id} was not proved: {error.get('message') or 'its clone did not end well.'}",
                next_step=f"See why: holdfast operation show {begun.id}. Then drill an earlier snapshot, so that you "
                "know which one you can rely on.",
                details={"snapshot_id": snapshot.id, "operation_id": begun.id, "cause": error.get("code", "")},
            )

    async def _checked(self, ctx: OperationContext, name: str, command: Sequence[str], timeout: float) -> None:
        """Run the check in the copy."""
        workload = await self._workloads.get(name)
        container = next(each for each in await self._instances.of(workload.id) if each.running)
        with ctx.interruptible():
            result = await self._runtime.exec(container.id, command, timeout)
        lines = result.output.splitlines()[-_LINES:]
        ctx.log_lines(lines)
        if result.code:
            raise Failed(
                "drill_check_failed",
                f"The restored copy is healthy, but the check ({command[0]}) ended with {result.code}.",
                next_step="Read what it printed in the log of the drill; then drill an earlier snapshot.",
                details={"code": result.code, "output": lines},
            )

    async def _removed(self, ctx: OperationContext, name: str) -> bool:
        """Remove the copy with its data. Whether it is gone; what keeps it is told, and tried at the next start."""
        workload = await self._store.find(name)
        if workload is None:
            return True
        ctx.step("removing")
        try:
            end = await self._operations.wait(
                (await self._deletion.start(workload, delete_data=True, actor=ctx.actor)).id
            )
        except HoldfastError as error:
            ctx.log(told("not_removed", "{name} could not be removed: {why}", name=name, why=Told.of(error)), "warning")
            return False
        if end.state is not OperationState.SUCCEEDED:
            ctx.log(
                told(
                    "not_removed_see",
                    "{name} could not be removed: see the operation {operation}",
                    name=name,
                    operation=end.id,
                ),
                "warning",
            )
        return end.state is OperationState.SUCCEEDED

    async def _ended(self, ctx: OperationContext, begun: Operation) -> Operation:
        """Wait for an operation, with its progress told as one's own; a cancel is passed on to it."""
        last = begun
        try:
            with ctx.interruptible():
                async for last in self._operations.events(begun.id):
                    ctx.progress(last.progress)
        except HoldfastError:
            with suppress(Conflict):  # it has ended, or can't be stopped any more
                await self._operations.cancel(begun.id)
            await self._operations.wait(begun.id)
            raise
        return last


def _busy(workload: Workload, drill: str) -> Busy:
    return Busy(
        "drill_running",
        f"A drill of {workload.name} is running already ({drill}).",
        next_step="Watch that one; start another when it has ended.",
        details={"operation_id": drill},
    )
