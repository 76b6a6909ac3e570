"""Restores under way: begun from a plan, or revived from a journal, and never left half done unnoticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from holdfast.domain.deployment import Rollback
from holdfast.domain.errors import Failed, HoldfastError
from holdfast.domain.recovery import Direction
from holdfast.domain.restore import Redeploy, RestoreFacts, VolumeFacts
from holdfast.domain.restore_records import CommitRecord, PreparedRecord, SafeRecord
from holdfast.domain.told import told
from holdfast.domain.workload import Workload
from holdfast.engine.journal import Journal
from holdfast.services.active_restore import ActiveRestore
from holdfast.services.image_source import ImageSource
from holdfast.services.locks import Held
from holdfast.services.operations import OperationContext
from holdfast.services.restore_files import RestoreFiles
from holdfast.services.restore_plan import RestorePlan
from holdfast.services.restore_registry import RESTART, RestoreRegistry, Undecided
from holdfast.services.traffic import Traffic
from holdfast.store.deployments import DeploymentStore
from holdfast.store.workloads import WorkloadStore


class ActiveRestores:
    """Makes :class:`ActiveRestore` objects and watches how they end."""

    def __init__(
        self,
        *,
        files: RestoreFiles,
        registry: RestoreRegistry,
        workloads: WorkloadStore,
        deployments: DeploymentStore,
        images: ImageSource,
        traffic: Traffic,
    ) -> None:
        self._files = files
        self._registry = registry
        self._workloads = workloads
        self._deployments = deployments
        self._images = images
        self._traffic = traffic

    async def begin(self, ctx: OperationContext, held: Held, plan: RestorePlan, restore_id: str) -> ActiveRestore:
        """Give the images a name that keeps them, and begin the journal. Nothing else is touched yet."""
        try:
            for redeploy in plan.images.redeploys:
                await self._images.keep(redeploy.image.id, redeploy.workload_id, restore_id)
            return await self._begun(ctx, held, plan, restore_id)
        except BaseException:
            await asyncio.shield(self._release_images(plan.images.redeploys, restore_id))
            raise

    async def _begun(self, ctx: OperationContext, held: Held, plan: RestorePlan, restore_id: str) -> ActiveRestore:
        volumes = []
        for volume in plan.volumes:
            live, parent = await self._files.identities(volume.live, volume.before, volume.missing_parents)
            volumes.append(
                VolumeFacts(
                    index=volume.index,
                    target=volume.target,
                    live=volume.live,
                    wrapper=f".holdfast-{restore_id}-{volume.index}",
                    live_identity=live,
                    parent_identity=parent,
                    before=volume.before,
                    missing_parents=volume.missing_parents,
                    way=volume.way,
                )
            )
        facts = RestoreFacts(
            restore_id=restore_id,
            operation_id=ctx.id,
            workload_id=plan.workload.id,
            workload_name=plan.workload.name,
            lock_ids=plan.lock_ids,
            snapshot_id=plan.manifest.id,
            volumes=tuple(volumes),
            desired=plan.desired,
            on_unhealthy=plan.on_unhealthy,
            actor=ctx.actor,
            image_before=plan.images.before.image if plan.images.before else None,
            deployment_before=plan.images.before.deployment_id if plan.images.before else "",
            returns_from=plan.runs.returns_from if plan.runs else "",
            with_image=plan.with_image,
            redeploys=plan.images.redeploys,
            cloned_from=plan.cloned_from,
            paths=plan.paths,
        )
        workloads = await self._workloads_of(plan.lock_ids)
        return ActiveRestore(
            facts=facts,
            ctx=ctx,
            held=held,
            workloads=workloads,
            afterwards=await self._afterwards(facts.redeploys, workloads),
            journal=await self._files.begin(facts),
        )

    async def revived(self, ctx: OperationContext, held: Held, journal: Journal) -> ActiveRestore:
        """A restore as its journal tells it, to go on with.

        Raises:
            Failed: ``journal_empty``; there is nothing to go on with.
        """
        facts = journal.facts
        if facts is None:
            raise Failed(
                "journal_empty",
                f"The restore journal {journal.path} holds nothing.",
                next_step="Restart Holdfast: it tidies such a journal up.",
            )
        safe = next((r for r in journal.records if isinstance(r, SafeRecord)), None)
        workloads = await self._workloads_of(facts.lock_ids)
        return ActiveRestore(
            facts=facts,
            journal=journal,
            ctx=ctx,
            held=held,
            workloads=workloads,
            afterwards=await self._afterwards(facts.redeploys, workloads),
            containers=next((r.containers for r in journal.records if isinstance(r, PreparedRecord)), ()),
            safety_snapshot_id=safe.snapshot_id if safe else None,
            unclean_stops=safe.unclean_stops if safe else (),
            committed=any(isinstance(r, CommitRecord) for r in journal.records),
        )

    @asynccontextmanager
    async def guarded(self, restore: ActiveRestore) -> AsyncIterator[None]:
        """Whatever ends the block: a restore that is not settled keeps everybody else off the workload (I8)."""
        try:
            yield
        finally:
            if restore.settled:
                await self._release_images(restore.facts.redeploys, restore.facts.restore_id)
            elif self._registry.undecided(restore.facts.workload_id) is None:
                self._registry.set_undecided(
                    Undecided(
                        restore_id=restore.facts.restore_id,
                        workload_ids=restore.facts.lock_ids,
                        told=told("undecided_cut_off", "it was cut off.", RESTART),
                    )
                )
            if restore.journal.direction is not Direction.CONFIRMED:  # which the reaper gets, and closes
                await asyncio.to_thread(restore.journal.close)
            await self._traffic.let_go(restore.facts.lock_ids)

    async def _release_images(self, redeploys: Sequence[Redeploy], restore_id: str) -> None:
        """Take the restore's own names off the images; what runs has those of its deployment."""
        with suppress(HoldfastError):
            for redeploy in redeploys:
                await self._images.release(redeploy.workload_id, restore_id)

    async def _afterwards(
        self, redeploys: Sequence[Redeploy], workloads: Mapping[str, Workload]
    ) -> dict[str, Workload]:
        """The workloads that run again, each with the image and the configuration that it gets."""
        found: dict[str, Workload] = {}
        for redeploy in redeploys:
            workload = workloads[redeploy.workload_id]
            then = await self._deployments.get(redeploy.as_deployed) if redeploy.as_deployed else None
            spec = workload.spec if then is None else Rollback.of(workload, then).spec
            found[workload.id] = replace(workload, spec=replace(spec, image=redeploy.image.reference or spec.image))
        return found

    async def _workloads_of(self, ids: tuple[str, ...]) -> dict[str, Workload]:
        """The workloads with these ids, as they are configured now."""
        return {w.id: w for w in await self._workloads.list() if w.id in ids}
