"""Caring for all snapshots: deleting those that their workloads no longer keep, freeing what is unused, reading back.

- What a workload keeps is judged anew before each single deletion: what was pinned, is read, or turned out to be the
  newest good one meanwhile stays. A workload that says nothing keeps everything, and so does one that is gone.
- One prune at a time. The repository's own lock keeps it apart from captures and restores.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime

from holdfast.config import Settings
from holdfast.domain import times
from holdfast.domain.errors import Busy, Cancelled, Conflict, Damaged, HoldfastError, NotFound
from holdfast.domain.operation import Operation, OperationKind
from holdfast.domain.retention import Candidate, Verdict, judge
from holdfast.domain.snapshot import SnapshotManifest
from holdfast.domain.told import Told, told
from holdfast.domain.workload import Workload
from holdfast.engine.repository.audit import AuditResult
from holdfast.engine.requests import AuditRequest, PruneRequest
from holdfast.engine.snapshot_store import SnapshotStore
from holdfast.services.in_use import SnapshotsInUse
from holdfast.services.operations import OperationContext, Operations
from holdfast.services.restore_registry import RestoreRegistry
from holdfast.services.snapshots import Snapshots
from holdfast.services.workers import Workers
from holdfast.store.snapshots import SnapshotState, SnapshotStateStore
from holdfast.store.workloads import WorkloadStore
from holdfast.zones import zone_or


class RepositoryCare:
    """Prunes and verifies."""

    def __init__(
        self,
        *,
        settings: Settings,
        workloads: WorkloadStore,
        snapshots: Snapshots,
        store: SnapshotStore,
        states: SnapshotStateStore,
        operations: Operations,
        workers: Workers,
        in_use: SnapshotsInUse,
        registry: RestoreRegistry,
    ) -> None:
        self._settings = settings
        self._workloads = workloads
        self._snapshots = snapshots
        self._store = store
        self._states = states
        self._operations = operations
        self._workers = workers
        self._in_use = in_use
        self._registry = registry
        self._pruning = ""

    @property
    def pruning(self) -> str:
        """The id of the prune that runs; empty if none does."""
        return self._pruning

    async def prune(
        self, ref: str | None, *, dry_run: bool, actor: str, idempotency_key: str | None = None
    ) -> Operation:
        """Delete the snapshots that their workloads no longer keep, then free what no snapshot needs.

        Args:
            ref: delete snapshots of this workload only; ``None`` of all. What is freed is freed in all cases.
            dry_run: tell what would go, and change nothing.

        Raises:
            NotFound: ``workload_unknown``.
            Busy: ``prune_running``.
        """
        workload_id = None
        if ref is not None:
            found = await self._workloads.find(ref)
            if found is None:
                raise NotFound(
                    "workload_unknown",
                    f"There is no workload {ref}.",
                    next_step="List the workloads with `holdfast workload list`.",
                )
            workload_id = found.id
        known = await self._operations.begun(OperationKind.PRUNE, workload_id, actor, idempotency_key)
        if known is not None:
            return known
        if self._pruning and not dry_run:
            raise Busy(
                "prune_running",
                f"A prune is running already ({self._pruning}).",
                next_step="Watch that one; start another when it has ended.",
                details={"operation_id": self._pruning},
            )

        async def run(ctx: OperationContext) -> dict[str, object]:
            if dry_run:
                return await self._prune(ctx, workload_id, dry_run=True)
            self._pruning = ctx.id
            try:
                return await self._prune(ctx, workload_id, dry_run=False)
            finally:
                self._pruning = ""

        return await self._operations.start(
            OperationKind.PRUNE, workload_id, actor, run, idempotency_key=idempotency_key
        )

    async def retain(self, ctx: OperationContext, workload_id: str) -> None:
        """Delete the snapshots that a workload no longer keeps, as part of an operation on it. Nothing is freed yet.

        What fails is told in the operation's log, and tried again by the next prune.
        """
        workload = await self._workloads.get(workload_id)
        if workload is None or workload.spec.snapshots.keep is None:
            return
        try:
            ctx.outcome["deleted_snapshots"] = len(await self._delete(ctx, workload))
        except Cancelled:
            raise
        except HoldfastError as error:
            ctx.log(
                told("outdated_not_deleted", "what is no longer kept was not deleted: {why}", why=Told.of(error)),
                level="warning",
            )

    async def _prune(self, ctx: OperationContext, workload_id: str | None, *, dry_run: bool) -> dict[str, object]:
        ctx.step("judging")
        verdicts: list[dict[str, object]] = []
        doomed: list[str] = []
        for workload in await self._workloads.list():
            if workload.spec.snapshots.keep is None or workload_id not in (None, workload.id):
                continue
            found = await self._judged(workload)
            gone = {verdict.id for verdict in found if not verdict.kept}
            if not dry_run:
                gone = await self._delete(ctx, workload)
            verdicts += [_told(workload, verdict, gone=verdict.id in gone) for verdict in found]
            doomed += sorted(gone)
        ctx.outcome.update({"dry_run": dry_run, "deleted_snapshots": len(doomed), "snapshots": verdicts})
        ctx.step("pruning")
        async with self._workers.session(ctx) as worker:
            result = await worker.run(
                PruneRequest(
                    dry_run=dry_run,
                    without=tuple(doomed) if dry_run else (),
                    unused_percent=self._settings.prune_unused_percent,
                )
            )
        for problem in result.problems:
            ctx.log(problem, level="warning")
        if result.postponed is not None:
            ctx.log(result.postponed)
        return {name: value for name, value in dataclasses.asdict(result).items() if name != "problems"}

    async def _delete(self, ctx: OperationContext, workload: Workload) -> set[str]:
        """Delete what a workload no longer keeps, oldest first. Returns what was deleted."""
        ctx.step("deleting")
        deleted: set[str] = set()
        tried: set[str] = set()
        while True:
            ctx.check()
            left = [v.id for v in await self._judged(workload) if not v.kept and v.id not in tried]
            if not left:
                return deleted
            tried.add(left[-1])
            try:
                await self._snapshots.delete(workload.id, left[-1], actor=ctx.actor)
            except (Conflict, NotFound) as error:
                ctx.log(
                    told("snapshot_stays", "snapshot {snapshot} stays: {why}", snapshot=left[-1], why=Told.of(error))
                )
                continue
            deleted.add(left[-1])
            ctx.log(
                told(
                    "snapshot_deleted",
                    "deleted snapshot {snapshot} of {workload}",
                    snapshot=left[-1],
                    workload=workload.name,
                )
            )

    async def _judged(self, workload: Workload) -> tuple[Verdict, ...]:
        """What becomes of a workload's snapshots by what it says now."""
        now = await self._workloads.get(workload.id)
        if now is None or now.spec.snapshots.keep is None:
            return ()
        manifests = await asyncio.to_thread(lambda: list(self._store.manifests()))
        states = {state.snapshot_id: state for state in await self._states.list(workload.id)}
        restoring = self._registry.unfinished(workload.id)
        return judge(
            [self._candidate(manifest, states.get(manifest.id), restoring=restoring) for manifest in manifests],
            now.spec.snapshots.keep,
            workload_id=workload.id,
            zone=zone_or(now.spec.time_zone, self._settings.zone),
            now=datetime.now(UTC),
        )

    def _candidate(self, manifest: SnapshotManifest, state: SnapshotState | None, *, restoring: bool) -> Candidate:
        return Candidate(
            id=manifest.id,
            workload_id=manifest.workload_id,
            taken_at=times.parse(manifest.created_at),
            damaged=state is not None and bool(state.damaged),
            pinned=state is not None and state.pinned,
            safety=restoring and state is not None and state.safety_for is not None,
            in_use=self._in_use.is_used(manifest.id),
        )

    async def verify(self, *, percent: int, actor: str, idempotency_key: str | None = None) -> Operation:
        """Read a share of the repository back, what was not read for longest first.

        Args:
            percent: how much, 1 to 100.
        """

        async def run(ctx: OperationContext) -> dict[str, object]:
            ctx.step("verifying")
            async with self._workers.session(ctx) as worker:
                result = await worker.run(AuditRequest(share=percent / 100))
            for problem in result.problems:
                ctx.log(problem, level="warning")
            await self._note(result, all_was_read=percent == 100)
            ctx.outcome.update(
                {"share": percent}
                | {
                    name: value
                    for name, value in dataclasses.asdict(result).items()
                    if name not in ("problems", "whole")
                }
            )
            if result.touched:
                raise repository_damaged(
                    result,
                    "Take new snapshots now: what is still live is stored again, which heals the damaged ones too. "
                    "Check the disk (dmesg, smartctl). The other snapshots can be used.",
                )
            return {}

        return await self._operations.start(OperationKind.VERIFY, None, actor, run, idempotency_key=idempotency_key)

    async def _note(self, result: AuditResult, *, all_was_read: bool) -> None:
        """Record what was found of each snapshot."""
        manifests = {m.id: m for m in await asyncio.to_thread(lambda: list(self._store.manifests()))}
        found: list[tuple[str, Sequence[str]]] = [(touched.id, touched.lacking) for touched in result.touched]
        if all_was_read:
            found += [(snapshot_id, ()) for snapshot_id in result.whole]
        for snapshot_id, lacking in found:
            manifest = manifests.get(snapshot_id)
            if manifest is None:
                continue  # deleted since, or its manifest itself can't be read
            await self._states.verified(snapshot_id, manifest.workload_id, times.now(), tuple(lacking))


def _told(workload: Workload, verdict: Verdict, *, gone: bool) -> dict[str, object]:
    return {
        "id": verdict.id,
        "workload": workload.name,
        "taken_at": times.rfc3339(verdict.taken_at),
        "deleted": gone,
        "reasons": [reason.value for reason in verdict.reasons],
    }


def repository_damaged(result: AuditResult, next_step: str) -> Damaged:
    """A repository was read back, and something is damaged that snapshots need."""
    first = result.touched[0]
    more = f", and {len(result.touched) - 1} other snapshots" if len(result.touched) > 1 else ""
    return Damaged(
        "repository_damaged",
        f"Something can't be read that snapshot {first.id} needs ({first.lacking[0]}){more}.",
        next_step=next_step,
        details={"snapshots": [dataclasses.asdict(touched) for touched in result.touched]},
    )
