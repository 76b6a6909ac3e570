"""Snapshots: take, list, verify, pin, delete, export, import.

The store's manifest says what was captured; what was decided about it since (pinned, verified) is in the database. A
row without a manifest is nothing, a manifest without a row is an unpinned, unverified snapshot.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from holdfast.domain import times
from holdfast.domain.errors import Conflict, Damaged, HoldfastError, NotFound, Problem, Refused
from holdfast.domain.ids import new_id
from holdfast.domain.operation import Operation, OperationKind
from holdfast.domain.preview import STAGE
from holdfast.domain.snapshot import Protection, SafetyKept, Snapshot, SnapshotManifest, SnapshotReason, protection_of
from holdfast.domain.workload import Quiesce, Workload, WorkloadSpec
from holdfast.engine.job import QuietJob
from holdfast.engine.requests import ImportRequest, VerifyRequest
from holdfast.engine.snapshot_store import SnapshotStore
from holdfast.services.capture import Capture
from holdfast.services.doctor import SnapshotFacts
from holdfast.services.hooks import check_hooks
from holdfast.services.in_use import SnapshotsInUse
from holdfast.services.operations import OperationContext, Operations
from holdfast.services.paging import MAX_LIMIT, Page, check_page, make_page
from holdfast.services.pump import pumped
from holdfast.services.workers import Workers
from holdfast.services.workloads import Workloads
from holdfast.store.snapshots import SnapshotState, SnapshotStateStore
from holdfast.store.workloads import WorkloadStore


class Snapshots:
    """What people do with snapshots, apart from restoring one."""

    def __init__(
        self,
        *,
        workloads: Workloads,
        store: SnapshotStore,
        states: SnapshotStateStore,
        operations: Operations,
        workers: Workers,
        capture: Capture,
        in_use: SnapshotsInUse,
    ) -> None:
        self._workloads = workloads
        self._store = store
        self._states = states
        self._operations = operations
        self._workers = workers
        self._capture = capture
        self._in_use = in_use
        self._importing = asyncio.Lock()

    async def create(
        self,
        ref: str,
        *,
        quiesce: Quiesce | None = None,
        reason: SnapshotReason = SnapshotReason.MANUAL,
        note: str,
        actor: str,
        idempotency_key: str | None = None,
        then: Callable[[OperationContext, str], Awaitable[None]] | None = None,
    ) -> Operation:
        """Take a snapshot of all captured volumes.

        Args:
            quiesce: how the writers are held; ``None`` as the workload is configured.
            reason: for what it is taken.
            then: what else the operation does once the snapshot is there, with the workload's id.

        Raises:
            NotFound: ``workload_unknown``.
            Refused: ``nothing_to_capture``, ``hooks_missing``.
        """
        workload = await self._workloads.get(ref)
        if not workload.spec.captured_volumes:
            raise Refused(
                [
                    Problem(
                        code="nothing_to_capture",
                        message=f"The workload {workload.name} has no volume that snapshots hold.",
                        next_step="Give it a volume of a scope that is captured (all but ephemeral).",
                    )
                ]
            )

        held = quiesce or workload.spec.snapshots.quiesce
        if held is Quiesce.HOOKS:
            check_hooks(workload)

        async def run(ctx: OperationContext) -> dict[str, object]:
            manifest = await self._capture.take(ctx, workload.id, held, reason=reason, note=note)
            if then is not None:
                await then(ctx, workload.id)
            return _told(manifest)

        return await self._operations.start(
            OperationKind.SNAPSHOT, workload.id, actor, run, idempotency_key=idempotency_key
        )

    async def list(self, ref: str, *, limit: int, cursor: str | None) -> Page[Snapshot]:
        """A workload's snapshots, newest first."""
        check_page(limit, cursor)
        workload = await self._workloads.get(ref)
        states = {state.snapshot_id: state for state in await self._states.list(workload.id)}
        manifests = await asyncio.to_thread(lambda: list(self._store.manifests()))
        found = sorted(
            (m for m in manifests if m.workload_id == workload.id and (cursor is None or m.id < cursor)),
            key=lambda manifest: manifest.id,
            reverse=True,
        )
        return make_page(
            [_joined(m, states.get(m.id)) for m in found[: limit + 1]], limit, lambda snapshot: snapshot.id
        )

    async def list_all(self, *, of: str | None, limit: int, cursor: str | None) -> Page[Snapshot]:
        """All snapshots that the store holds, newest first, also those of workloads that were deleted.

        Args:
            of: only those of this workload: its id, or its name of now or then.
        """
        check_page(limit, cursor)
        ids = {of}
        if of is not None:
            with suppress(NotFound):
                ids.add((await self._workloads.get(of)).id)
        manifests = await asyncio.to_thread(lambda: list(self._store.manifests()))
        found = sorted(
            (
                m
                for m in manifests
                if (of is None or m.workload_id in ids or m.workload_name == of) and (cursor is None or m.id < cursor)
            ),
            key=lambda manifest: manifest.id,
            reverse=True,
        )[: limit + 1]
        return make_page([_joined(m, await self._states.get(m.id)) for m in found], limit, lambda snapshot: snapshot.id)

    async def anywhere(self, snapshot_id: str) -> Snapshot:
        """One snapshot, whosever it is; also of a workload that was deleted.

        Raises:
            NotFound: ``snapshot_unknown``.
        """
        manifest = await asyncio.to_thread(self._store.manifest, snapshot_id)
        return _joined(manifest, await self._states.get(snapshot_id))

    async def protection(self) -> tuple[Protection, ...]:
        """What there is to go back to for each workload, newest workload first."""
        states = {state.snapshot_id: state for state in await self._states.list_all()}
        theirs: defaultdict[str, list[Snapshot]] = defaultdict(list)
        for manifest in await asyncio.to_thread(lambda: list(self._store.manifests())):
            theirs[manifest.workload_id].append(_joined(manifest, states.get(manifest.id)))
        found: list[Protection] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await self._workloads.list(MAX_LIMIT, cursor or None)
            found += [protection_of(workload, theirs[workload.id]) for workload in page.items]
            cursor = page.next_cursor
        return tuple(found)

    async def safety_kept(self, ref: str) -> SafetyKept:
        """The workload's safety snapshots that are still pinned."""
        workload = await self._workloads.get(ref)
        pinned = [s.snapshot_id for s in await self._states.list(workload.id) if s.pinned and s.safety_for is not None]
        found = await asyncio.to_thread(self._readable, pinned)
        if not found:
            return SafetyKept()
        oldest = min(found, key=lambda manifest: manifest.id)
        return SafetyKept(
            count=len(found),
            stored_bytes=sum(manifest.stored_bytes for manifest in found),
            oldest_id=oldest.id,
            oldest_at=oldest.created_at,
        )

    def _readable(self, snapshot_ids: Sequence[str]) -> Sequence[SnapshotManifest]:
        found = []
        for snapshot_id in snapshot_ids:
            with suppress(HoldfastError):  # of a capture that failed only its state is left; the doctor tells of damage
                found.append(self._store.manifest(snapshot_id))
        return found

    async def get(self, ref: str, snapshot_id: str) -> Snapshot:
        """One snapshot of a workload.

        Raises:
            NotFound: ``snapshot_unknown``, also for a snapshot of another workload.
        """
        workload = await self._workloads.get(ref)
        manifest = await asyncio.to_thread(self._store.manifest, snapshot_id)
        if manifest.workload_id != workload.id:
            raise NotFound(
                "snapshot_unknown",
                f"The workload {workload.name} has no snapshot {snapshot_id}.",
                next_step=f"List them with `holdfast snapshot list {workload.name}`. One of another workload is "
                f"cloned: holdfast clone {snapshot_id} --into {workload.name}",
            )
        return _joined(manifest, await self._states.get(snapshot_id))

    async def delete(self, ref: str, snapshot_id: str, *, actor: str) -> None:
        """Delete a snapshot.

        Raises:
            Conflict: ``snapshot_pinned``, ``snapshot_in_use``.
        """
        del actor
        snapshot = await self.get(ref, snapshot_id)
        self._in_use.check_free(snapshot_id)
        if snapshot.pinned:
            raise Conflict(
                "snapshot_pinned",
                "The snapshot is pinned" + (": it is the way back from a restore." if snapshot.safety_for else "."),
                next_step="Release it first with `holdfast snapshot unpin`, if nobody will want to go back.",
                details={"safety_for": snapshot.safety_for},
            )
        with self._in_use.hold(snapshot_id, "its deletion"):
            await asyncio.to_thread(self._store.delete, snapshot_id)
        await self._states.delete(snapshot_id)

    async def set_pinned(self, ref: str, snapshot_id: str, pinned: bool, *, actor: str) -> Snapshot:  # noqa: FBT001 - the value to set
        """Pin a snapshot, or release it. The only thing that ever releases a safety snapshot (I5)."""
        del actor
        snapshot = await self.get(ref, snapshot_id)
        await self._states.pin(snapshot_id, snapshot.manifest.workload_id, pinned)
        return dataclasses.replace(snapshot, pinned=pinned)

    async def verify(self, ref: str, snapshot_id: str, *, actor: str, idempotency_key: str | None = None) -> Operation:
        """Read all of a snapshot back and compare it with what was captured."""
        snapshot = await self.get(ref, snapshot_id)

        async def run(ctx: OperationContext) -> dict[str, object]:
            ctx.step("verifying")
            with self._in_use.hold(snapshot_id, f"verification {ctx.id}"):
                async with self._workers.session(ctx) as worker:
                    damage = await worker.run(VerifyRequest(snapshot_id=snapshot_id))
                now = times.now()
                await self._states.verified(snapshot_id, snapshot.manifest.workload_id, now, damage)
            if damage:
                raise snapshot_damaged(
                    damage, "Don't rely on it. Take a new one now, and look after the disk that holds it."
                )
            return {"snapshot_id": snapshot_id, "verified_at": now}

        return await self._operations.start(
            OperationKind.VERIFY, snapshot.manifest.workload_id, actor, run, idempotency_key=idempotency_key
        )

    async def facts(self) -> SnapshotFacts:
        """How the snapshots of all workloads are, for the doctor."""
        unreadable = await asyncio.to_thread(self._store.damaged_manifests)
        manifests = await asyncio.to_thread(lambda: list(self._store.manifests()))
        states = {s.snapshot_id: s for m in {m.workload_id for m in manifests} for s in await self._states.list(m)}
        known = [states.get(manifest.id) for manifest in manifests]
        return SnapshotFacts(
            total=len(manifests),
            never_verified=sum(1 for state in known if state is None or state.verified_at is None),
            damaged=tuple(state.snapshot_id for state in known if state is not None and state.damaged),
            unreadable=tuple(str(problem.details["snapshot"]) for problem in unreadable),
        )

    async def export(self, ref: str, snapshot_id: str) -> tuple[str, AsyncIterator[bytes]]:
        """A snapshot as a portable archive: a file name, and its content as a stream."""
        snapshot = await self.get(ref, snapshot_id)
        suffix = await asyncio.to_thread(self._store.archive_suffix, snapshot_id)
        return f"{snapshot.manifest.workload_name}-{snapshot_id}{suffix}", self._stream(snapshot_id)

    async def _stream(self, snapshot_id: str) -> AsyncIterator[bytes]:
        with self._in_use.hold(snapshot_id, "an export"):
            async for chunk in pumped(lambda write: self._store.export(snapshot_id, write, QuietJob())):
                yield chunk

    async def import_archive(
        self, ref: str, upload: Path, *, allow_links: bool, actor: str, idempotency_key: str | None = None
    ) -> Operation:
        """Take an uploaded archive as a snapshot of this workload. The upload is taken over, or removed.

        Args:
            allow_links: take symlinks and hardlinks from an archive that Holdfast did not make itself.
        """
        begun = False
        try:
            workload = await self._workloads.get(ref)
            async with self._importing:  # of two that come at once with the same key, one upload has no taker
                known = await self._operations.begun(OperationKind.IMPORT, workload.id, actor, idempotency_key)
                if known is not None:
                    return known
                operation = await self._operations.start(
                    OperationKind.IMPORT,
                    workload.id,
                    actor,
                    lambda ctx: self._import(ctx, workload, upload, allow_links),
                    idempotency_key=idempotency_key,
                )
                begun = True
                return operation
        finally:
            if not begun:
                await asyncio.to_thread(upload.unlink, missing_ok=True)

    async def _import(
        self,
        ctx: OperationContext,
        workload: Workload,
        upload: Path,
        allow_links: bool,  # noqa: FBT001 - passed on
    ) -> dict[str, object]:
        ctx.step("importing")
        try:
            async with self._workers.session(ctx) as worker:
                manifest: SnapshotManifest = await worker.run(
                    ImportRequest(
                        upload=str(upload),
                        workload_id=workload.id,
                        workload_name=workload.name,
                        snapshot_id=new_id(),
                        allow_links=allow_links,
                        actor=ctx.actor,
                    )
                )
        finally:
            await asyncio.to_thread(upload.unlink, missing_ok=True)
        for warning in manifest.warnings:
            ctx.log(warning, level="warning")
        return _told(manifest)


async def former_workload(
    store: SnapshotStore,
    workloads: WorkloadStore,
    spec: WorkloadSpec,
    elsewhere: Callable[[], Awaitable[Sequence[SnapshotManifest]]],
) -> str | None:
    """The id of a workload of this name that is no more and left snapshots, the newest one's; ``None`` if none did.

    What a preview left is for the same preview, made again, and what others left for others.

    Args:
        elsewhere: snapshots that are not in ``store``, for where that has none: a machine that was set up anew.
    """
    taken = {workload.id for workload in await workloads.list()}

    def newest(manifests: Iterable[SnapshotManifest]) -> str | None:
        left = [m for m in manifests if m.workload_name == spec.name and m.workload_id not in taken]
        previews = {m.workload_id for m in left if m.stage == STAGE}
        alike = [m for m in left if (m.workload_id in previews) is (spec.stage == STAGE)]
        return max(alike, key=lambda manifest: manifest.id).workload_id if alike else None

    return await asyncio.to_thread(lambda: newest(store.manifests())) or newest(await elsewhere())


def snapshot_damaged(damage: Sequence[str], next_step: str) -> Damaged:
    """A snapshot was read back, and something of it is damaged: this, in words."""
    return Damaged(
        "snapshot_damaged",
        f"The snapshot is damaged: {damage[0]}",
        next_step=next_step,
        details={"damage": list(damage)},
    )


def _told(manifest: SnapshotManifest) -> dict[str, object]:
    return {
        "snapshot_id": manifest.id,
        "consistency": manifest.consistency,
        "files": manifest.files,
        "bytes": manifest.bytes,
        "stored_bytes": manifest.stored_bytes,
        "duration_seconds": manifest.duration_seconds,
        "warnings": len(manifest.warnings),
    }


def _joined(manifest: SnapshotManifest, state: SnapshotState | None) -> Snapshot:
    if state is None:
        return Snapshot(manifest=manifest)
    return Snapshot(
        manifest=manifest,
        pinned=state.pinned,
        safety_for=state.safety_for,
        verified_at=state.verified_at,
        proved_at=state.proved_at,
        damaged=state.damaged,
    )
