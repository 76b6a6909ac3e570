"""Restores: who asks for what, one at a time per workload, from the request to the outcome.

The steps are told by :mod:`holdfast.services.restore_run` (to the exchanged trees) and
:mod:`holdfast.services.restore_trial` (from there to the end); here are the request, its confirmation, the locks,
undo, and a person's decisions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

from holdfast.domain.errors import HoldfastError, NotFound, Problem, Refused
from holdfast.domain.ids import new_id
from holdfast.domain.operation import Operation, OperationKind
from holdfast.domain.restore import OnUnhealthy, RestoreStep
from holdfast.domain.snapshot import Snapshot
from holdfast.domain.told import Told, as_json, told
from holdfast.domain.workload import Workload
from holdfast.engine.requests import MeasureRequest
from holdfast.services.active_restore import ActiveRestore
from holdfast.services.active_restores import ActiveRestores
from holdfast.services.confirmation import require_confirmed
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.image_source import ImageSource
from holdfast.services.in_use import SnapshotsInUse
from holdfast.services.locks import Held, LifecycleLocks
from holdfast.services.operations import OperationContext, Operations
from holdfast.services.reaper import Reaper
from holdfast.services.restore_files import RestoreFiles
from holdfast.services.restore_parts import RestoreParts
from holdfast.services.restore_plan import RestorePlan, RestoreRequest, Runs, describe_plan
from holdfast.services.restore_preflight import RestorePreflight
from holdfast.services.restore_registry import DECIDABLE, Decision, RestoreRegistry, Undecided
from holdfast.services.restore_run import RestoreRun
from holdfast.services.restore_sources import RestoreSources
from holdfast.services.restore_trial import Outcome, RestoreTrial
from holdfast.services.retrying import until_engine_answers
from holdfast.services.snapshots import Snapshots
from holdfast.services.volumes import VolumeResolver
from holdfast.services.workers import Workers, WorkerSession
from holdfast.services.workloads import Workloads
from holdfast.store.operations import OperationStore

UNDOABLE = frozenset({"restored", "restored_stopped", "restored_unhealthy", "restored_deploy_failed"})
"""Results of a restore after which the workload stands on restored data, so that there is something to undo."""

FirstSteps = Callable[[OperationContext, Callable[[RestoreRequest], Awaitable[Outcome]]], Awaitable[Outcome]]
"""What an operation does around a restore: given its context, and what carries out the restore that it asks for."""


class Restores:
    """Restores snapshots onto live workloads."""

    def __init__(
        self,
        *,
        workloads: Workloads,
        volumes: VolumeResolver,
        snapshots: Snapshots,
        operations: Operations,
        operation_store: OperationStore,
        locks: LifecycleLocks,
        workers: Workers,
        files: RestoreFiles,
        registry: RestoreRegistry,
        in_use: SnapshotsInUse,
        preflight: RestorePreflight,
        run: RestoreRun,
        trial: RestoreTrial,
        reaper: Reaper,
        active: ActiveRestores,
        images: ImageSource,
        parts: RestoreParts,
        sources: RestoreSources,
        records: DeployRecords,
    ) -> None:
        self._workloads = workloads
        self._volumes = volumes
        self._snapshots = snapshots
        self._operations = operations
        self._operation_store = operation_store
        self._locks = locks
        self._workers = workers
        self._files = files
        self._registry = registry
        self._in_use = in_use
        self._preflight = preflight
        self._run = run
        self._trial = trial
        self._reaper = reaper
        self._active = active
        self._images = images
        self._parts = parts
        self._sources = sources
        self._records = records

    async def restore(
        self,
        ref: str,
        snapshot_id: str,
        *,
        confirm: str | None,
        volumes: tuple[str, ...] | None,
        paths: tuple[bytes, ...] = (),
        on_unhealthy: OnUnhealthy | None,
        with_image: bool,
        runs: Runs | None = None,
        create_missing: bool = False,
        accept_replaced: bool = False,
        repository: str | None = None,
        dry_run: bool,
        actor: str,
        idempotency_key: str | None = None,
        kind: OperationKind = OperationKind.RESTORE,
    ) -> Operation:
        """Restore a snapshot onto the live workload, or say what that would do.

        Args:
            confirm: the snapshot's id, once more; not asked for a dry run.
            volumes: container targets; ``None`` for all.
            paths: only these paths, as the container sees them (:func:`container_path`); all else stays as it is.
            with_image: return to the image of then as well.
            runs: run this on the data instead of what runs now.
            create_missing: make the directory of a volume that is missing.
            accept_replaced: restore onto a directory that is another one than the one last seen, too.
            repository: take the snapshot from the second repository of this name.

        Raises:
            ConfirmationMissing, Refused: ``confirmation_missing``, ``confirmation_mismatch``.
            Busy: ``restore_in_flight``.
            Refused: everything that the preflight found. Nothing was touched.
        """
        workload = await self._workloads.get(ref)
        if repository is None:
            await self._snapshots.get(ref, snapshot_id)  # one of another workload is cloned, and never restored
        else:
            await self._sources.require(workload, snapshot_id, repository, paths)
        request = RestoreRequest(
            workload_id=workload.id,
            snapshot_id=snapshot_id,
            volumes=volumes,
            paths=paths,
            on_unhealthy=on_unhealthy,
            with_image=with_image,
            runs=runs,
            create_missing=create_missing,
            accept_replaced=accept_replaced,
            repository=repository,
            actor=actor,
        )
        if dry_run:
            return await self.rehearse(kind, request, workload)
        require_confirmed(confirm, snapshot_id)
        return await self.begin(kind, request, workload, idempotency_key=idempotency_key)

    async def rehearse(self, kind: OperationKind, request: RestoreRequest, workload: Workload) -> Operation:
        """Check everything, or refuse it, and start telling what would change, also of a workload yet to be made."""
        await self._preflight.check(request, workload, await self._preflight.lock_ids(request, workload))
        belongs_to = workload.id if request.starts is None else None
        return await self._operations.start(
            kind, belongs_to, request.actor, lambda ctx: self._dry_run(ctx, request, workload)
        )

    async def begin(
        self,
        kind: OperationKind,
        request: RestoreRequest,
        workload: Workload,
        *,
        idempotency_key: str | None = None,
        first: FirstSteps | None = None,
    ) -> Operation:
        """Check everything, or refuse it, and start a restore that was confirmed.

        Args:
            first: what belongs to the operation besides.
        """
        known = await self._operations.begun(kind, workload.id, request.actor, idempotency_key)
        if known is not None:
            return known
        restore_id = new_id()

        async def run(ctx: OperationContext) -> Outcome:
            async def carry_out(final: RestoreRequest) -> Outcome:
                return await self._restore_claimed(ctx, final, restore_id)

            try:
                return await (carry_out(request) if first is None else first(ctx, carry_out))
            finally:
                self._registry.end(workload.id, restore_id)

        self._registry.begin(workload.id, restore_id)
        try:
            await self._preflight.check(request, workload, await self._preflight.lock_ids(request, workload))
            return await self._operations.start(kind, workload.id, request.actor, run, idempotency_key=idempotency_key)
        except BaseException:
            self._registry.end(workload.id, restore_id)
            raise

    async def carry_out_locked(self, ctx: OperationContext, held: Held, request: RestoreRequest) -> Outcome:
        """Carry out a restore as part of an operation that holds the locks.

        Raises:
            Busy: ``restore_in_flight``; nothing was touched.
            HoldfastError: as any restore; the outcome's ``result`` says where it ended, if it got to COMMIT.
        """
        workload = await self._workloads.get(request.workload_id)
        lock_ids = await self._preflight.lock_ids(request, workload)
        held.require(*lock_ids)
        restore_id = new_id()
        self._registry.begin(workload.id, restore_id)
        try:
            return await self._carry_out(ctx, held, workload, lock_ids, request, restore_id)
        finally:
            self._registry.end(workload.id, restore_id)

    async def undo_target(self, ref: str) -> Snapshot | None:
        """The safety snapshot of the newest restore that is still in effect.

        ``None`` if there is nothing to undo, or nothing to return to any more: the snapshot was released and deleted.
        """
        found = await self._undoable(ref)
        return None if found is None else found[1]

    async def _undoable(self, ref: str) -> tuple[Operation, Snapshot] | None:
        """The newest restore that is still in effect, and its safety snapshot, unless somebody let that go."""
        workload = await self._workloads.get(ref)
        newest = await self._newest(workload.id, lambda operation: operation.outcome.get("result") in UNDOABLE)
        if newest is None:
            return None
        try:
            return newest, await self._snapshots.get(ref, str(newest.outcome["safety_snapshot_id"]))
        except NotFound:
            return None

    async def _newest(self, workload_id: str, wanted: Callable[[Operation], bool]) -> Operation | None:
        """The newest operation of a workload that is as it is wanted."""
        cursor: str | None = None
        while True:
            page = await self._operations.list(limit=100, cursor=cursor, workload_id=workload_id)
            for operation in page.items:
                if wanted(operation):
                    return operation
            if page.next_cursor is None:
                return None
            cursor = page.next_cursor

    async def undo(
        self,
        ref: str,
        *,
        confirm: str | None,
        create_missing: bool = False,
        accept_replaced: bool = False,
        dry_run: bool,
        actor: str,
        idempotency_key: str | None = None,
    ) -> Operation:
        """Return to the data from before the last restore: an ordinary restore of its safety snapshot.

        It takes a safety snapshot of its own, so that undo of undo is redo. If the restore had moved code and data
        together, so does the undo; after a rollback that is the version, image and configuration, that it left.

        Args:
            confirm: the id of the safety snapshot that is to be restored.

        Raises:
            NotFound: ``nothing_to_undo``.
        """
        if not dry_run:  # by now another one may be the last that can be undone
            workload = await self._workloads.get(ref)
            known = await self._operations.begun(OperationKind.UNDO, workload.id, actor, idempotency_key)
            if known is not None:
                return known
        found = await self._undoable(ref)
        if found is None:
            raise NotFound(
                "nothing_to_undo",
                "No restore can be undone: none is in effect, or its safety snapshot was released and deleted.",
                next_step=f"Choose a snapshot with `holdfast snapshot list {ref}`.",
            )
        undone, target = found
        left = await self._records.get(str(undone.outcome.get("rolled_back_from", "")))
        return await self.restore(
            ref,
            target.id,
            confirm=confirm,
            volumes=tuple(volume.target for volume in target.manifest.volumes),
            on_unhealthy=None,
            with_image=bool(undone.outcome.get("with_image")) and bool(target.manifest.image_id),
            runs=Runs(deployment=left, adopt=True, laid_out=False) if left else None,
            create_missing=create_missing,
            accept_replaced=accept_replaced,
            dry_run=dry_run,
            actor=actor,
            idempotency_key=idempotency_key,
            kind=OperationKind.UNDO,
        )

    async def undecided(self, ref: str) -> Undecided | None:
        """What a person has to decide for this workload, if anything."""
        return self._registry.undecided((await self._workloads.get(ref)).id)

    async def kept_trees(self, ref: str) -> list[str]:
        """The trees that reverted restores of this workload keep for looking at, until they are released."""
        return await self._reaper.kept((await self._workloads.get(ref)).id)

    async def decide(
        self, ref: str, choice: Decision, *, confirm: str | None, actor: str, idempotency_key: str | None = None
    ) -> Operation:
        """Carry out what a person decided about a restore that waits for them.

        Args:
            confirm: the restore's id, from the error or from the workload's status.

        Raises:
            NotFound: ``nothing_to_decide``.
            Refused: ``restore_not_decidable``.
        """
        workload = await self._workloads.get(ref)
        known = await self._operations.begun(OperationKind.RESTORE, workload.id, actor, idempotency_key)
        if known is not None:  # what waited is decided by now
            return known
        if choice is Decision.RELEASE:
            return await self._operations.start(
                OperationKind.RESTORE,
                workload.id,
                actor,
                lambda ctx: self._release_kept(ctx, workload),
                idempotency_key=idempotency_key,
            )
        pending = self._registry.undecided(workload.id)
        if pending is None:
            raise NotFound(
                "nothing_to_decide",
                f"No restore of {workload.name} waits for a decision.",
                next_step="Look at its operations with `holdfast operation list`.",
            )
        if pending.restore_id is None:
            raise Refused([_not_decidable(pending.why)])
        require_confirmed(confirm, pending.restore_id)
        restore_id = pending.restore_id
        return await self._operations.start(
            OperationKind.RESTORE,
            workload.id,
            actor,
            lambda ctx: self._decide(ctx, workload.id, restore_id, choice),
            idempotency_key=idempotency_key,
        )

    async def unfinished(self) -> list[Told]:
        """Restores whose journals are still there, for the doctor."""
        return [
            told("restore_unfinished", "{workloads}: {why}", workloads=each.workload_ids, why=each.told)
            for each in self._registry.all_undecided()
        ]

    # --- what runs as an operation -------------------------------------------------------------------------------

    async def _dry_run(self, ctx: OperationContext, request: RestoreRequest, workload: Workload) -> Outcome:
        """Exactly the preflight, and what would change."""
        ctx.step(RestoreStep.PREFLIGHT)
        plan = await self._preflight.check(request, workload, await self._preflight.lock_ids(request, workload))
        async with self._sources.reading(request, f"dry run {ctx.id}") as second, self._workers.session(ctx) as worker:
            await self._sources.check(worker, plan, second)
            plan, live_bytes = await self._measure(worker, replace(plan, second=second))
            await self._preflight.check_space(plan, live_bytes)
            ctx.step("comparing")
            diffs = [await worker.run(comparison) for comparison in plan.comparisons]
        last = await self._newest(workload.id, lambda operation: "downtime_seconds" in operation.outcome)
        return describe_plan(plan, diffs, live_bytes, last.outcome["downtime_seconds"] if last else None)

    async def _restore_claimed(self, ctx: OperationContext, request: RestoreRequest, restore_id: str) -> Outcome:
        ctx.step(RestoreStep.REQUESTED)
        async with self._locked(ctx, request) as (held, workload, lock_ids):
            return await self._carry_out(ctx, held, workload, lock_ids, request, restore_id)

    async def _carry_out(
        self,
        ctx: OperationContext,
        held: Held,
        workload: Workload,
        lock_ids: tuple[str, ...],
        request: RestoreRequest,
        restore_id: str,
    ) -> Outcome:
        """From the preflight to the end, under the locks."""

        def keep() -> bool:
            return "result" in ctx.outcome or self._registry.pending(workload.id) is not None

        ctx.step(RestoreStep.PREFLIGHT)
        async with self._volumes.made_by_engine(request.wanting(workload), keep):
            return await self._on_volumes(ctx, held, workload, lock_ids, request, restore_id)

    async def _on_volumes(
        self,
        ctx: OperationContext,
        held: Held,
        workload: Workload,
        lock_ids: tuple[str, ...],
        request: RestoreRequest,
        restore_id: str,
    ) -> Outcome:
        """From the preflight to the end; volumes of the container engine's that are to be made are there."""
        plan = await self._preflight.check(request, workload, lock_ids)
        async with self._sources.reading(request, f"restore {ctx.id}") as second:
            for image in plan.images.to_pull:
                await self._images.fetch(image, ctx)
            async with self._workers.session(ctx) as worker:
                await self._sources.check(worker, plan, second)
                plan, live_bytes = await self._measure(worker, replace(plan, second=second))
                for warning in plan.warnings:
                    ctx.log(warning, level="warning")
                await self._preflight.check_space(plan, live_bytes)
                ctx.check()
                restore = await self._active.begin(ctx, held, plan, restore_id)
                ctx.outcome.update(restore.told, warnings=[as_json(warning) for warning in plan.warnings])
                for left in self._reaper.left(request.workload_id):
                    ctx.log(told("left_tried_again", "{what} It is tried again now.", what=left.told), level="warning")
                self._reaper.try_again(request.workload_id)
                async with self._active.guarded(restore):
                    await self._to_swapped(restore, plan, worker)
                    return await self.finish(restore)

    async def _to_swapped(self, restore: ActiveRestore, plan: RestorePlan, worker: WorkerSession) -> None:
        try:
            await self._run.to_swapped(restore, plan, worker)
        except HoldfastError as error:
            if not restore.committed:
                raise
            why = Told.of(error)
            await until_engine_answers(restore.ctx, lambda: self._trial.backward(restore, why))

    async def finish(self, restore: ActiveRestore) -> Outcome:
        """From exchanged trees to the end, waiting for the engine wherever it is needed."""
        return await until_engine_answers(restore.ctx, lambda: self._trial.run(restore))

    @asynccontextmanager
    async def _locked(
        self, ctx: OperationContext, request: RestoreRequest
    ) -> AsyncIterator[tuple[Held, Workload, tuple[str, ...]]]:
        """Hold the locks of the workload and of all that share its volumes; look again until the set is right."""
        while True:
            workload = await self._workloads.get(request.workload_id)
            ids = await self._preflight.lock_ids(request, workload)
            async with self._hold(ctx, ids) as held:
                workload = await self._workloads.get(request.workload_id)
                if await self._preflight.lock_ids(request, workload) != ids:
                    continue
                for locked in ids:
                    self._registry.require_decided(locked)
                ctx.step(RestoreStep.LOCKED)
                yield held, workload, ids
                return

    def _hold(self, ctx: OperationContext, ids: tuple[str, ...]) -> AbstractAsyncContextManager[Held]:
        return self._locks.hold(
            ids, told("a_restore", "restore {id}", id=ctx.id), on_wait=ctx.waiting, waits_in=ctx.interruptible
        )

    async def _measure(self, worker: WorkerSession, plan: RestorePlan) -> tuple[RestorePlan, int]:
        """The plan with what a look at the live trees adds to it, and what they hold now, in bytes on disk."""
        if plan.in_parts:
            return await self._parts.look(worker, plan)
        return plan, await worker.run(MeasureRequest(live=plan.there))

    async def _decide(self, ctx: OperationContext, workload_id: str, restore_id: str, choice: Decision) -> Outcome:
        pending = self._registry.undecided(workload_id)
        async with self._hold(ctx, (workload_id,) if pending is None else pending.workload_ids) as held:
            pending = self._registry.undecided(workload_id)
            if pending is None or pending.restore_id != restore_id:
                raise Refused([_not_decidable("it was decided in the meantime.")])
            journal = await self._files.reopen(f"{self._files.journal_dir}/{restore_id}.journal")
            if choice not in DECIDABLE.get(journal.direction, ()):
                journal.close()
                raise Refused([_not_decidable(f"its journal says {journal.direction}.")])
            restore = await self._active.revived(ctx, held, journal)
            ctx.outcome.update(restore.told)
            async with self._active.guarded(restore):
                if choice is Decision.REVERT:
                    return await until_engine_answers(
                        ctx, lambda: self._trial.backward(restore, told("back_by_decision", "a person decided so"))
                    )
                return await until_engine_answers(ctx, lambda: self._trial.keep(restore))

    async def _release_kept(self, ctx: OperationContext, workload: Workload) -> Outcome:
        """Remove the trees that reverted restores of this workload left for looking at."""
        ctx.step(RestoreStep.REAPING)
        async with self._hold(ctx, (workload.id,)):
            return {"released": await self._reaper.release(workload.id)}


def _not_decidable(why: str) -> Problem:
    return Problem(
        code="restore_not_decidable",
        message=f"This can't be decided as things are: {why}",
        next_step="Mend what is named, then restart Holdfast: recovery looks again.",
    )
