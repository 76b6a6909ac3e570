"""The deployments that workloads ask for by a schedule: their source is asked, and what it names anew is deployed.

A run is a deployment as by hand, with its checks, its lock, its snapshot before and its way back, but for this:

- It changes nothing where a person has to decide (``domain/update.py``).
- An attempt that failed is not made again, and the schedule counts as failing until there is another image, or somebody
  deployed it.
- Where a pattern says to which newer tags it may move on (``domain/newer_tags.py``), the registry is asked for its tags
  first. What is chosen becomes the configured reference by success, as with every deployment of another image.
- What the registry can't be asked about has failed: the image on this host is no answer to what is new there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from holdfast.config import Settings
from holdfast.domain.deployment import DeployReason
from holdfast.domain.errors import Failed
from holdfast.domain.image_ref import parse_image_ref
from holdfast.domain.newer_tags import TagSearch, no_newer, search
from holdfast.domain.operation import Operation, OperationKind
from holdfast.domain.schedule import Schedule, ScheduleKind
from holdfast.domain.told import TextOrTold, Told, told
from holdfast.domain.update import failed_before, held_back
from holdfast.domain.workload import DesiredState, Workload
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.deployer import Deployer, DeployIntent, outcome_of
from holdfast.services.image_source import ImageSource, PullPolicy, Version
from holdfast.services.locks import LifecycleLocks
from holdfast.services.operations import OperationContext, Operations
from holdfast.store.workloads import WorkloadStore


class _UpToDate(Exception):
    """The source names the image that was deployed last."""


class _LeftAlone(Exception):
    """Nothing is deployed, and why."""

    def __init__(self, why: Told) -> None:
        super().__init__(why)
        self.why = why


class ScheduledUpdates:
    """Updates of all workloads that say when. One that is stopped is not started by them."""

    def __init__(
        self,
        *,
        settings: Settings,
        workloads: WorkloadStore,
        records: DeployRecords,
        images: ImageSource,
        deployer: Deployer,
        operations: Operations,
        locks: LifecycleLocks,
    ) -> None:
        self._settings = settings
        self._workloads = workloads
        self._records = records
        self._images = images
        self._deployer = deployer
        self._operations = operations
        self._locks = locks

    async def schedules(self, subject: str | None = None) -> Sequence[Schedule]:
        """One for each workload that says when, and runs."""
        return [
            Schedule(
                kind=ScheduleKind.UPDATE,
                subject=workload.id,
                name=workload.name,
                cron=workload.spec.updates.schedule,
                zone=workload.spec.time_zone or self._settings.time_zone,
            )
            for workload in await self._workloads.deployed()
            if workload.spec.updates.schedule is not None
            and workload.desired is DesiredState.RUNNING
            and subject in (None, workload.id)
        ]

    def busy(self, schedule: Schedule) -> TextOrTold | None:
        """Who is at work on the workload."""
        return self._locks.holder(schedule.subject)

    async def start(self, schedule: Schedule, *, actor: str, idempotency_key: str) -> Operation:
        """Deploy what the source names by now, if that is another image."""
        workload_id = schedule.subject

        async def run(ctx: OperationContext) -> dict[str, object]:
            looked: dict[str, object] = {}
            intent = self._intent(workload_id, looked)
            try:
                return outcome_of(await self._deployer.dispatch(workload_id, intent, ctx), ctx) | looked
            except _UpToDate:
                return {"result": "already_there"} | looked
            except _LeftAlone as left:
                ctx.log(told("update_left_alone", "Nothing was deployed: {why}.", why=left.why))
                return {"result": "left_alone", "why": left.why.message}

        return await self._operations.start(
            OperationKind.DEPLOY, workload_id, actor, run, idempotency_key=idempotency_key
        )

    def _intent(self, workload_id: str, looked: dict[str, object]) -> DeployIntent:
        """What is asked of the deployer.

        Args:
            looked: what was found among the tags is put here, for the outcome.
        """

        async def require() -> None:
            why = held_back(
                await self._records.workload(workload_id),
                await self._records.last_successful(workload_id),
                await self._records.last_wished(workload_id),
            )
            if why is not None:
                raise _LeftAlone(why)

        async def choose(workload: Workload, ctx: OperationContext) -> str | None:
            found = await self._newer(workload, ctx)
            if found is None:
                return None
            ref = parse_image_ref(workload.spec.image)
            looked.update(tags_seen=found.seen, tag=found.newer or ref.tag)
            return None if found.newer is None else str(replace(ref, tag=found.newer))

        async def accept(version: Version) -> None:
            last = await self._records.last_successful(workload_id)
            if last is not None and last.image_id == version.image_id:
                raise _UpToDate  # what runs is not replaced by the same, whatever its health is
            workload = await self._records.workload(workload_id)
            failed = failed_before(version.image_id, await self._records.history(workload_id))
            if failed is not None:
                raise Failed(
                    "update_failed_before",
                    f"{version.reference} is still the image that failed at "
                    f"{failed.started_at[:16].replace('T', ' ')} UTC. It was not tried again; what ran still runs.",
                    next_step=f"See why: holdfast deployment show {workload.name} {failed.id}. The next image is tried "
                    "by itself; this one once you deploy it.",
                    details={"deployment_id": failed.id},
                )

        return DeployIntent(
            reason=DeployReason.UPDATE,
            require=require,
            choose=choose,
            accept=accept,
            pull=PullPolicy.INSISTING,
            note=told("update_asks", "asked for by the schedule of updates"),
        )

    async def _newer(self, workload: Workload, ctx: OperationContext) -> TagSearch | None:
        """Look for a newer tag; ``None`` where none is wanted, or none can be."""
        pattern, image = workload.spec.updates.tags, workload.spec.image
        if pattern is None or workload.spec.plugin is not None:
            return None
        why = no_newer(image)
        if why is not None:  # a promotion or a webhook may have brought it
            raise _LeftAlone(why)
        ref = parse_image_ref(image)
        last = await self._records.last_successful(workload.id)
        if ref.registry is None and (last is None or last.digest is None):
            # As with pulls: the name is whose who built the image here. In a registry it may be a stranger's.
            ctx.log(
                told("no_tag_looked_for", "No newer tag was looked for: {image} was built on this host.", image=image)
            )
            return None
        with ctx.interruptible():
            tags = await self._images.tags(image)
        found = await asyncio.to_thread(search, ref.tag or "", tags, pattern)  # there may be a hundred thousand
        newest = told("no_tag_newer", "none is newer")
        if found.newer is not None:
            newest = told("newest_tag", "the newest is {tag}", tag=found.newer)
        ctx.log(
            told(
                "tags_seen",
                "{name} has {count} tags, of which {alike} match {pattern} and are written like {tag}: {newest}",
                name=ref.name,
                count=found.seen,
                alike=found.alike,
                pattern=pattern,
                tag=ref.tag or "",
                newest=newest,
            )
        )
        return found
