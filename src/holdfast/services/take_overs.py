"""Take-overs: workloads take the place of containers that others made, on the data that these have.

- What was is on disk before the first container is stopped (``<data>/take-overs``). Until every workload has proved
  healthy, a failure, a cancel or a death of the server puts all of it back: names, restart policies, what ran. From
  there on it is finished. No data is moved, on neither way.
- An old container is stopped, its exit confirmed and its data captured before anything else starts on that data, and it
  is still stopped when the take-over succeeds.
- That first snapshot is pinned before anything else runs on the data: it is the way back to how the others left it.
- An old container is removed only once all have succeeded, and never with its volumes.
- The new instances come through the deployer, under the lifecycle locks, as any others do.

What forbids a take-over is told in :mod:`holdfast.services.take_over_checks`, the way back in
:mod:`holdfast.services.take_over_return`.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

import structlog

from holdfast.domain.deployment import DeployReason
from holdfast.domain.errors import Cancelled, Failed, HoldfastError, NotFound, Refused
from holdfast.domain.operation import Operation, OperationKind
from holdfast.domain.restore import ContainerFacts
from holdfast.domain.snapshot import SnapshotReason
from holdfast.domain.stopping import UncleanStop
from holdfast.domain.told import Told, told
from holdfast.domain.workload import Quiesce, Workload, WorkloadSpec
from holdfast.engine.take_over_files import TakeOver, TakeOverFiles
from holdfast.runtime.port import ContainerRuntime
from holdfast.services.capture import Capture
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.deployer import Deployer
from holdfast.services.locks import Held, LifecycleLocks
from holdfast.services.operations import OperationContext, Operations
from holdfast.services.quiesce import Quiescer, facts_of
from holdfast.services.retrying import until_engine_answers, until_journal_takes
from holdfast.services.secrets import Secrets
from holdfast.services.sharing import Sharing
from holdfast.services.take_over_checks import TakeOverChecks, TakeOverWish, not_running
from holdfast.services.take_over_errors import INTERRUPTED, Gone, not_put_back, overtaken, some_gone, started
from holdfast.services.take_over_return import TakeOverReturn
from holdfast.services.unclean_stops import tell_unclean_stops
from holdfast.services.workers import Workers
from holdfast.services.workloads import Workloads
from holdfast.store.snapshots import SnapshotStateStore

_SHORT: Final = 6
"""Characters of the operation's id in the name of a container that is out of the way."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """A container, and the workload that takes its place."""

    wish: TakeOverWish
    workload: Workload


class TakeOvers:
    """Takes containers over, and finishes or undoes what was cut off.

    Args:
        notice: tells people what recovery can't mend by itself.
    """

    def __init__(
        self,
        *,
        checks: TakeOverChecks,
        workloads: Workloads,
        secrets: Secrets,
        sharing: Sharing,
        runtime: ContainerRuntime,
        deployer: Deployer,
        records: DeployRecords,
        capture: Capture,
        states: SnapshotStateStore,
        workers: Workers,
        quiescer: Quiescer,
        back: TakeOverReturn,
        locks: LifecycleLocks,
        operations: Operations,
        files: TakeOverFiles,
        notice: Callable[[str], None],
    ) -> None:
        self._checks = checks
        self._workloads = workloads
        self._secrets = secrets
        self._sharing = sharing
        self._runtime = runtime
        self._deployer = deployer
        self._records = records
        self._capture = capture
        self._states = states
        self._workers = workers
        self._quiescer = quiescer
        self._back = back
        self._locks = locks
        self._operations = operations
        self._files = files
        self._notice = notice
        self._beginning = asyncio.Lock()
        self._log = structlog.get_logger("take_overs")

    async def begin(
        self,
        wishes: Sequence[TakeOverWish],
        *,
        confirm: str | None,
        accept_left_out: bool,
        keep: bool,
        actor: str,
    ) -> Operation:
        """Take containers over, all of them or none.

        Args:
            wishes: in the order in which the workloads are deployed.
            confirm: the names of the containers, joined by commas.
            accept_left_out: whether what can't be carried over is given up.
            keep: leave the old containers there, stopped.

        Raises:
            Refused: with all that forbids it; nothing was touched.
            ConfirmationMissing: ``confirmation_missing``.
            Conflict: ``workload_exists``.
        """
        async with self._beginning:  # of two at once, the second would take what the first has made for its own
            await self._checks.require(wishes, accept_left_out=accept_left_out)
            self._checks.require_confirmed(wishes, confirm)
            return await self._begin(wishes, keep=keep, actor=actor)

    async def _begin(self, wishes: Sequence[TakeOverWish], *, keep: bool, actor: str) -> Operation:
        members: list[_Member] = []
        made_here: list[str] = []
        try:
            for wish in wishes:
                is_new = await self._is_new(wish.spec)
                made = await self._workloads.apply(wish.spec, actor=actor, create=is_new or None)
                assert made.workload is not None  # an apply always has one
                members.append(_Member(wish=wish, workload=made.workload))
                made_here += [made.workload.id] if is_new else []
                for name, value in wish.proposed.secrets.items():
                    await self._secrets.set(made.workload.id, name, value, actor=actor)
            members = [dataclasses.replace(m, workload=await self._workloads.get(m.workload.id)) for m in members]

            async def run(ctx: OperationContext) -> dict[str, object]:
                async with self._locked(ctx, [member.workload for member in members]) as held:
                    return await self._carry_out(ctx, held, members, keep=keep)

            return await self._operations.start(OperationKind.TAKE_OVER, members[0].workload.id, actor, run)
        except HoldfastError:
            for workload_id in made_here:
                with suppress(HoldfastError):  # what is left of it was never deployed, and is gone on with
                    await self._workloads.delete(workload_id, delete_data=False, actor=actor)
            raise

    async def _is_new(self, spec: WorkloadSpec) -> bool:
        """Whether it has to be made: an attempt that was cut off left one of this configuration, without anything."""
        try:
            there = await self._records.workload(spec.name)
        except NotFound:
            return True
        return there.spec.without_values != spec or await self._records.newest(there.id) is not None

    @asynccontextmanager
    async def _locked(self, ctx: OperationContext, workloads: Sequence[Workload]) -> AsyncIterator[Held]:
        """Lock the workloads and all that share a volume with one; look again until it is the right ones."""
        while True:
            ids = await self._sharing.lockable(*workloads)
            async with self._locks.hold(
                ids, told("a_take_over", "take-over {id}", id=ctx.id), on_wait=ctx.waiting, waits_in=ctx.interruptible
            ) as held:
                if await self._sharing.lockable(*workloads) == ids:
                    yield held
                    return

    # The story

    async def _carry_out(
        self, ctx: OperationContext, held: Held, members: Sequence[_Member], *, keep: bool
    ) -> dict[str, object]:
        record = None
        try:
            ctx.step("checking")
            record = TakeOver(
                operation_id=ctx.id,
                containers=tuple([await self._facts(member) for member in members]),
                keep=keep,
            )
            snapshots = await self._hold_and_capture(ctx, members, record)
            ctx.step("renaming")
            for facts in record.containers:
                await self._runtime.rename(facts.id, _aside(facts, ctx.id))
            deployed = [await self._deploy(ctx, held, member) for member in members]
            await self._require_stopped(record)
        except BaseException as error:
            # Also where the server is told to stop: the containers run again before it does.
            try:
                gone = await asyncio.shield(self._return(ctx, members, record))
            except HoldfastError as second:
                raise not_put_back(
                    error.message if isinstance(error, HoldfastError) else INTERRUPTED, second
                ) from error
            if gone and isinstance(error, HoldfastError):
                raise some_gone(error.message, gone) from error
            if isinstance(error, Cancelled):
                raise Cancelled("The take-over was cancelled. The containers are as they were before.") from error
            if record is None or not isinstance(error, HoldfastError):
                raise
            raise Failed(
                "take_over_failed",
                f"{error.message} The containers that were there are put back, and run on their data as it is.",
                next_step=f"{error.next_step} Then take them over again.".lstrip(),
                details={**error.details, "cause": error.code},
            ) from error
        committed = dataclasses.replace(record, committed=True)
        meanwhile = told("stands_taken_over", "The workloads run; the old containers stay stopped beside them.")
        await until_journal_takes(ctx, lambda: asyncio.to_thread(self._files.write, committed), meanwhile=meanwhile)
        await self._finish(ctx, committed)
        return {
            "result": "taken_over",
            "workloads": [
                {"workload": member.workload.name, "container": facts.name, "deployment_id": deployment_id}
                for member, facts, deployment_id in zip(members, record.containers, deployed, strict=True)
            ],
            "snapshots": snapshots,
            "kept": [_aside(facts, ctx.id) for facts in record.containers] if keep else [],
        }

    async def _facts(self, member: _Member) -> ContainerFacts:
        """The container as it is now: what is put back if need be.

        Raises:
            Conflict: ``take_over_overtaken``; while this one waited, the workload was deployed.
            Refused: ``container_not_running``.
        """
        workload = await self._records.workload(member.workload.id)
        if await self._records.newest(workload.id) is not None:
            raise overtaken(workload.spec.name)
        now = await self._runtime.inspect(member.wish.proposed.container.id)
        if not now.running:
            raise Refused([not_running(now.name, now.state.value)])
        return dataclasses.replace(facts_of(now), workload_id=workload.id)

    async def _require_stopped(self, record: TakeOver) -> None:
        """Raise ``Failed`` where somebody has started an old container beside the new one."""
        for facts in record.containers:
            with suppress(NotFound):
                if (await self._runtime.inspect(facts.id)).running:
                    raise started(facts.name)

    async def _hold_and_capture(
        self, ctx: OperationContext, members: Sequence[_Member], record: TakeOver
    ) -> list[dict[str, object]]:
        """Stop the containers, the last of them first; take the first snapshot of each one's data, and pin it."""
        async with self._workers.session(ctx) as worker:
            warmed = [
                await self._capture.warm(ctx, worker, member.workload)
                for member in members
                if member.workload.spec.captured_volumes
            ]
            ctx.check()
            await asyncio.to_thread(self._files.write, record)
            ctx.step("stopping")
            stops: dict[str, tuple[UncleanStop, ...]] = {}
            graces = {member.workload.id: member.workload.spec.stop_grace for member in members}
            for facts in reversed(record.containers):
                stops[facts.workload_id] = await self._quiescer.stop([facts], graces)
                await tell_unclean_stops(ctx, stops[facts.workload_id])
            taken: list[dict[str, object]] = []
            for each in warmed:
                manifest = await self._capture.finish(
                    ctx,
                    each,
                    Quiesce.STOP,
                    reason=SnapshotReason.BEFORE_DEPLOY,
                    note="before Holdfast took the container over",
                    stops=stops[each.workload.id],
                )
                await self._states.pin(manifest.id, each.workload.id, True)
                taken.append({"workload": each.workload.name, "snapshot_id": manifest.id})
        return taken

    async def _deploy(self, ctx: OperationContext, held: Held, member: _Member) -> str:
        image_id = str(member.wish.proposed.container.container["Image"])
        version = await self._deployer.version_of(image_id, member.workload)
        deployment = await self._deployer.redeploy_locked(
            held, member.workload, version, ctx, trial=False, reason=DeployReason.DEPLOY
        )
        return deployment.id

    # Ends

    async def _finish(self, ctx: OperationContext, record: TakeOver) -> None:
        """Remove the old containers, unless they are kept. Idempotent."""
        ctx.step("removing")
        for facts in () if record.keep else record.containers:
            try:
                await until_engine_answers(ctx, partial(self._runtime.remove, facts.id, keep_volumes=True))
            except HoldfastError as error:
                name = _aside(facts, record.operation_id)
                ctx.log(
                    told("not_removed", "{name} could not be removed: {why}", name=name, why=Told.of(error)), "warning"
                )
        with suppress(HoldfastError):  # what is left of it is removed at the next start
            await asyncio.to_thread(self._files.remove, record.operation_id)

    async def _return(
        self, ctx: OperationContext, members: Sequence[_Member], record: TakeOver | None
    ) -> tuple[Gone, ...]:
        """Put everything back, whatever was done. Idempotent. Returns what is gone."""
        if record is not None:
            return await self._back.undo(ctx, record)
        for member in members:
            if await self._records.newest(member.workload.id) is None:
                await self._back.forget(ctx, member.workload.id)
        return ()

    # Recovery

    async def recover(self) -> None:
        """Take up what was cut off. Returns once each holds its locks, so that nothing else gets in between."""
        records, damaged = await asyncio.to_thread(self._files.all)
        for error in damaged:
            self._log.error("take-over not recovered", code=error.code, reason=error.message)
            self._notice(f"{error.message} {error.next_step}")
        for record in records:
            await self._take_up(record)

    async def _take_up(self, record: TakeOver) -> None:
        ids = [facts.workload_id for facts in record.containers]
        locked = asyncio.Event()

        async def run(ctx: OperationContext) -> dict[str, object]:
            async with self._locks.hold(
                ids, told("recovery_of_take_over", "recovery of take-over {id}", id=record.operation_id)
            ):
                locked.set()
                if record.committed:
                    await self._finish(ctx, record)
                    return {"result": "taken_over"}
                try:
                    gone = await self._back.undo(ctx, record)
                except HoldfastError as error:
                    raise not_put_back(INTERRUPTED, error) from error
            if gone:
                raise some_gone(INTERRUPTED, gone)
            raise Failed(
                "take_over_interrupted",
                "The server was interrupted while it took the containers over. They are as they were before.",
                next_step="Take them over again.",
            )

        try:
            operation = await self._operations.resume(record.operation_id, run)
        except NotFound:
            operation = await self._operations.start(OperationKind.TAKE_OVER, ids[0], "recovery", run)
        waits = [asyncio.create_task(locked.wait()), asyncio.create_task(self._operations.wait(operation.id))]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()


def _aside(facts: ContainerFacts, operation_id: str) -> str:
    """The name of a container that is out of the way."""
    return f"{facts.name}-before-{operation_id[-_SHORT:]}"
