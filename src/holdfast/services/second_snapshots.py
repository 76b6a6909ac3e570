"""The snapshots in second repositories: list, look at, read back, delete, and care for the repository that holds them.

They are found by the workload's id or name that stands in them: what they are of may not exist on this machine.
"""

from __future__ import annotations

import dataclasses

from holdfast.domain.errors import Busy
from holdfast.domain.operation import Operation, OperationKind
from holdfast.domain.snapshot import Snapshot, SnapshotManifest
from holdfast.engine.repository.second import Second
from holdfast.engine.requests import AuditRequest, PruneRequest, VerifyRequest
from holdfast.services.in_use import SnapshotsInUse
from holdfast.services.operations import OperationContext, Operations
from holdfast.services.paging import Page, check_page, make_page
from holdfast.services.repositories import Repositories
from holdfast.services.repository_care import repository_damaged
from holdfast.services.snapshots import snapshot_damaged
from holdfast.services.workers import Workers


def use_of(name: str, snapshot_id: str) -> str:
    """By what a snapshot of a second repository is known as used: the primary's own is another one."""
    return f"{name}/{snapshot_id}"


class SecondSnapshots:
    """What people do with snapshots that are in a second repository, apart from restoring one."""

    def __init__(
        self,
        *,
        repositories: Repositories,
        operations: Operations,
        workers: Workers,
        in_use: SnapshotsInUse,
        unused_percent: int,
    ) -> None:
        self._repositories = repositories
        self._operations = operations
        self._workers = workers
        self._in_use = in_use
        self._unused_percent = unused_percent
        self._pruning: dict[str, str] = {}

    async def list(self, name: str, *, workload: str | None, limit: int, cursor: str | None) -> Page[Snapshot]:
        """The snapshots that are there, newest first.

        Args:
            workload: only those of the workload of this id or name.
        """
        check_page(limit, cursor)
        listing = await self._repositories.look(name, lambda repository: repository.manifests.load())
        found = [
            manifest
            for manifest in (stored.manifest for stored in reversed(listing.snapshots))
            if workload in (None, manifest.workload_id, manifest.workload_name)
            and (cursor is None or manifest.id < cursor)
        ]
        return make_page(
            [Snapshot(manifest=manifest) for manifest in found[: limit + 1]], limit, lambda snapshot: snapshot.id
        )

    async def get(self, name: str, snapshot_id: str) -> Snapshot:
        """One of them.

        Raises:
            NotFound: ``snapshot_unknown``.
        """
        return Snapshot(manifest=await self.manifest(name, snapshot_id))

    async def manifest(self, name: str, snapshot_id: str) -> SnapshotManifest:
        """What is known of one of them."""
        stored = await self._repositories.look(name, lambda repository: repository.manifests.read(snapshot_id))
        return stored.manifest

    async def delete(self, name: str, snapshot_id: str) -> None:
        """Delete one there. The primary's stays, and so does what was decided about it.

        Raises:
            NotFound: ``snapshot_unknown``.
            Conflict: ``snapshot_in_use``.
        """
        used = use_of(name, snapshot_id)
        self._in_use.check_free(used)
        with self._in_use.hold(used, "its deletion"):
            await self._repositories.look(name, lambda repository: repository.manifests.delete([snapshot_id]))

    async def verify(self, name: str, snapshot_id: str, *, actor: str, idempotency_key: str | None = None) -> Operation:
        """Read all of one back, and compare it with its hashes."""
        manifest = await self.manifest(name, snapshot_id)

        async def run(ctx: OperationContext) -> dict[str, object]:
            ctx.step("verifying")
            with self._in_use.hold(use_of(name, snapshot_id), f"verification {ctx.id}"):
                async with self._repositories.using(name) as second, self._workers.session(ctx) as worker:
                    damage = await worker.run(VerifyRequest(snapshot_id=snapshot_id, second=second))
            if damage:
                raise snapshot_damaged(damage, "Copy it again: what is damaged there is sent again.")
            return {"snapshot_id": snapshot_id, "repository": name}

        return await self._operations.start(
            OperationKind.VERIFY, manifest.workload_id, actor, run, idempotency_key=idempotency_key
        )

    async def verify_all(self, name: str, *, percent: int, actor: str, idempotency_key: str | None = None) -> Operation:
        """Read a share of a repository back, what was not read for longest first.

        Args:
            percent: how much, 1 to 100.
        """
        await self._repositories.get(name)

        async def run(ctx: OperationContext) -> dict[str, object]:
            ctx.step("verifying")
            async with self._repositories.using(name) as second, self._workers.session(ctx) as worker:
                result = await worker.run(AuditRequest(share=percent / 100, second=second))
            for problem in result.problems:
                ctx.log(problem, level="warning")
            found = {
                key: value for key, value in dataclasses.asdict(result).items() if key not in ("problems", "whole")
            }
            ctx.outcome.update({"repository": name, "share": percent} | found)
            if result.touched:
                raise repository_damaged(result, "Copy these snapshots again: what is damaged there is sent again.")
            return {}

        return await self._operations.start(OperationKind.VERIFY, None, actor, run, idempotency_key=idempotency_key)

    async def prune(self, name: str, *, dry_run: bool, actor: str, idempotency_key: str | None = None) -> Operation:
        """Free what no snapshot there needs. No snapshot is deleted.

        Raises:
            NotFound: ``repository_unknown``.
            Busy: ``prune_running``.
        """
        await self._repositories.get(name)
        known = await self._operations.begun(OperationKind.PRUNE, None, actor, idempotency_key)
        if known is not None:
            return known
        if name in self._pruning and not dry_run:
            raise Busy(
                "prune_running",
                f"A prune of {name} is running already ({self._pruning[name]}).",
                next_step="Watch that one; start another when it has ended.",
                details={"operation_id": self._pruning[name]},
            )

        async def run(ctx: OperationContext) -> dict[str, object]:
            async with self._repositories.using(name) as second:
                if dry_run:
                    return await self._prune(ctx, second, dry_run=True)
                self._pruning[name] = ctx.id
                try:
                    return await self._prune(ctx, second, dry_run=False)
                finally:
                    self._pruning.pop(name, None)

        return await self._operations.start(OperationKind.PRUNE, None, actor, run, idempotency_key=idempotency_key)

    async def _prune(self, ctx: OperationContext, second: Second, *, dry_run: bool) -> dict[str, object]:
        ctx.step("pruning")
        ctx.outcome.update({"repository": second.name, "dry_run": dry_run})
        async with self._workers.session(ctx) as worker:
            result = await worker.run(
                PruneRequest(dry_run=dry_run, without=(), unused_percent=self._unused_percent, second=second)
            )
        for problem in result.problems:
            ctx.log(problem, level="warning")
        if result.postponed is not None:
            ctx.log(result.postponed)
        return {key: value for key, value in dataclasses.asdict(result).items() if key != "problems"}
