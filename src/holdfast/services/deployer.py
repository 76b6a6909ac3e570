"""The deployer: the one way by which instances of a workload come to run another version.

Deploy, rollback, start, stop and reconciliation pass the choke point, :meth:`Deployer.dispatch` and its siblings:
admitted by the drain barrier, then holding the workload's lifecycle lock. A restore holds that lock already and calls
what lies below, :meth:`Deployer.redeploy_locked`, which asks for the proof: taking it twice is impossible by type.

How a version replaces another is told in ``replacement.py``; bringing a workload up on restored data in ``trials.py``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from holdfast.domain.deploy_plan import DeployStep
from holdfast.domain.deployment import Deployment, DeployReason, ReturnedImage, Rollback, returned_image
from holdfast.domain.image_ref import parse_image_ref
from holdfast.domain.operation import Operation, OperationKind
from holdfast.domain.promotion import require_takes_image
from holdfast.domain.restore import ImageFacts
from holdfast.domain.told import TextOrTold, Told, told
from holdfast.domain.workload import Workload
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.deploy_snapshots import DeploySnapshots
from holdfast.services.image_source import ImageSource, PullPolicy, Version
from holdfast.services.locks import DrainBarrier, Held, LifecycleLocks
from holdfast.services.operations import OperationContext, Operations
from holdfast.services.paging import Page
from holdfast.services.replacement import Replacement
from holdfast.services.sources import Sources
from holdfast.services.trials import Trials


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployIntent:
    """What is to be deployed.

    Attributes:
        image: another reference than the configured one; it becomes the configured one on success only.
        to: an earlier deployment, whose version is to run again: its image and its configuration of then, which becomes
            the configured one on success only.
        accept_volumes: a person accepts the volumes' directories as they are now.
        note: the first line of the operation's log: where the version comes from.
        require: awaited once the workload's turn has come; raises where what was asked for holds no longer.
        choose: awaited then, with the workload as it is configured by now: the reference to take in place of ``image``.
        accept: awaited with the version that was found; raises where that is not wanted.
        pull: when a registry is asked.
    """

    reason: DeployReason
    image: str | None = None
    to: Deployment | None = None
    accept_volumes: bool = False
    note: TextOrTold = ""
    require: Callable[[], Awaitable[None]] | None = None
    choose: Callable[[Workload, OperationContext], Awaitable[str | None]] | None = None
    accept: Callable[[Version], Awaitable[None]] | None = None
    pull: PullPolicy = PullPolicy.ALWAYS


class Deployer:
    """Deploys, starts and stops workloads.

    Args:
        require_decided: raises ``Conflict`` while a restore of the workload (by id) waits for a person's decision.
    """

    def __init__(
        self,
        *,
        operations: Operations,
        barrier: DrainBarrier,
        locks: LifecycleLocks,
        require_decided: Callable[[str], object],
        records: DeployRecords,
        images: ImageSource,
        sources: Sources,
        replacement: Replacement,
        snapshots: DeploySnapshots,
        trials: Trials,
    ) -> None:
        self._operations = operations
        self._barrier = barrier
        self._locks = locks
        self._require_decided = require_decided
        self._records = records
        self._images = images
        self._sources = sources
        self._replacement = replacement
        self._snapshots = snapshots
        self._trials = trials

    # --- asked for by people -------------------------------------------------------------------------------------

    async def deploy(
        self,
        ref: str,
        *,
        image: str | None = None,
        accept_volumes: bool = False,
        actor: str,
        idempotency_key: str | None = None,
    ) -> Operation:
        """Deploy a workload as configured, or with another image.

        Args:
            ref: the workload's id or name.

        Raises:
            NotFound: ``workload_unknown``.
            InvalidInput: ``image_reference_malformed``.
        """
        workload = await self._records.workload(ref)
        if image is not None:
            parse_image_ref(image)
        intent = DeployIntent(reason=DeployReason.DEPLOY, image=image, accept_volumes=accept_volumes)
        return await self.begin(OperationKind.DEPLOY, workload.id, intent, actor=actor, idempotency_key=idempotency_key)

    async def begin(
        self,
        kind: OperationKind,
        workload_id: str,
        intent: DeployIntent,
        *,
        actor: str,
        idempotency_key: str | None = None,
    ) -> Operation:
        """Have an operation of its own pass the choke point."""

        async def run(ctx: OperationContext) -> dict[str, object]:
            return outcome_of(await self.dispatch(workload_id, intent, ctx), ctx)

        return await self._operations.start(kind, workload_id, actor, run, idempotency_key=idempotency_key)

    async def start(self, ref: str, *, actor: str, idempotency_key: str | None = None) -> Operation:
        """Run a workload as it was last deployed successfully.

        Raises:
            NotFound: ``workload_unknown``.
        """
        workload = await self._records.workload(ref)

        async def run(ctx: OperationContext) -> dict[str, object]:
            async with self._locked([workload.id], told("a_start", "start {id}", id=ctx.id), ctx) as held:
                self._require_decided(workload.id)
                return outcome_of(await self._replacement.start(held, workload.id, ctx), ctx)

        return await self._operations.start(
            OperationKind.START, workload.id, actor, run, idempotency_key=idempotency_key
        )

    async def stop(self, ref: str, *, actor: str, idempotency_key: str | None = None) -> Operation:
        """Stop a workload, and keep it stopped.

        Raises:
            NotFound: ``workload_unknown``.
        """
        workload = await self._records.workload(ref)

        async def run(ctx: OperationContext) -> dict[str, object]:
            async with self._locked([workload.id], told("a_stop", "stop {id}", id=ctx.id), ctx) as held:
                return {"clean": await self._replacement.stop(held, await self._records.workload(workload.id), ctx)}

        return await self._operations.start(
            OperationKind.STOP, workload.id, actor, run, idempotency_key=idempotency_key
        )

    async def deployments(self, ref: str, limit: int, cursor: str | None) -> Page[Deployment]:
        """A workload's deployments, newest first."""
        return await self._records.page((await self._records.workload(ref)).id, limit, cursor)

    # --- the choke point -----------------------------------------------------------------------------------------

    async def dispatch(self, workload_id: str, intent: DeployIntent, ctx: OperationContext) -> Deployment:
        """Deploy, as part of an operation: admitted, locked, resolved, rolled out.

        Raises:
            Unavailable: ``draining``, or the engine does not answer.
            Conflict: ``restore_undecided``.
            HoldfastError: see :meth:`redeploy_locked`, and :meth:`Sources.resolve`.
        """
        async with self._locked_to_deploy(workload_id, ctx) as held:
            self._require_decided(workload_id)
            workload = await self._records.workload(workload_id)
            ctx.step(DeployStep.RESOLVING)
            if intent.note:
                ctx.log(intent.note)
            if intent.require is not None:
                await intent.require()
            wanted, version = await self._resolved(workload, intent, ctx)
            if intent.accept is not None:
                await intent.accept(version)
            return await self._replacement.deploy(
                held,
                wanted,
                version,
                ctx,
                intent.reason,
                adopt=wanted.spec.declared != workload.spec,
                accept=intent.accept_volumes,
            )

    async def _resolved(
        self, workload: Workload, intent: DeployIntent, ctx: OperationContext
    ) -> tuple[Workload, Version]:
        """The workload with the configuration that is wanted, and the version that this means now."""
        if intent.to is not None:
            rollback = Rollback.of(workload, intent.to)
            ctx.log(rollback.told)
            facts = ImageFacts(id=intent.to.image_id, reference=intent.to.spec.image, digest=intent.to.digest)
            return replace(workload, spec=rollback.spec), await self._images.again(facts, ctx)
        image = intent.image if intent.choose is None else await intent.choose(workload, ctx)
        if image is not None:
            require_takes_image(workload)
            workload = replace(workload, spec=replace(workload.spec, image=image))
        version = await self._sources.resolve(workload.spec, ctx, pull=intent.pull)
        if workload.spec.plugin is not None:
            workload = replace(workload, spec=replace(workload.spec, image=version.reference))
        return workload, version

    async def redeploy_locked(
        self,
        held: Held,
        workload: Workload,
        version: Version,
        ctx: OperationContext,
        *,
        trial: bool,
        reason: DeployReason,
        snapshot_id: str | None = None,
    ) -> Deployment:
        """Have a workload run ``version`` with the configuration that ``workload`` carries.

        Args:
            held: the proof that its lifecycle lock is held.
            trial: on data that a restore put in place; see :mod:`holdfast.services.trials`.
            snapshot_id: of a trial, the snapshot of the data right before it.

        Returns:
            The deployment that runs now: a new one, or the one that was found running and healthy.

        Raises:
            Refused: with every problem found; nothing was touched.
            Failed: ``deploy_unhealthy`` or what else went wrong: what ran before runs again, or, with a trial, nothing
                was put back; ``deploy_return_failed``: it could not be brought back, and the message says why.
            Cancelled: a person cancelled; what ran before runs.
            Unavailable: the engine does not answer; nothing was touched.
        """
        held.require(workload.id)
        if trial:
            return await self._trials.run(held, workload, version, ctx, reason, snapshot_id=snapshot_id)
        return await self._replacement.deploy(held, workload, version, ctx, reason)

    # --- for restores and other services, under their lock -------------------------------------------------------

    async def version_of(self, image_id: str, workload: Workload) -> Version:
        """The version of an image on this host. Raises ``Failed`` (``image_missing``)."""
        return await self._images.pinned(image_id, reference=workload.spec.image)

    async def returned_image(self, workload: Workload) -> ReturnedImage | None:
        """Whether the workload runs an image that a restore went back to, and that a deploy would replace again."""
        return returned_image(
            workload.spec.image_words,
            await self._records.last_successful(workload.id),
            await self._records.last_wished(workload.id),
        )

    async def adopt(self, held: Held, workload: Workload, actor: str) -> None:
        """Make the configuration that ``workload`` carries the stored one, on somebody's behalf. Idempotent."""
        held.require(workload.id)
        await self._records.adopt(workload, actor)

    async def confirm_trial(self, held: Held, workload: Workload) -> Deployment | None:
        """See :meth:`Trials.confirm`."""
        return await self._trials.confirm(held, workload)

    async def gate_instances(self, workload: Workload, container_ids: Sequence[str], ctx: OperationContext) -> None:
        """See :meth:`Trials.gate_instances`."""
        await self._trials.gate_instances(workload, container_ids, ctx)

    async def wait_healthy(self, workload: Workload, ctx: OperationContext) -> bool:
        """See :meth:`Trials.wait_healthy`."""
        return await self._trials.wait_healthy(workload, ctx)

    async def healthy_now(self, workload: Workload) -> bool:
        """See :meth:`Trials.healthy_now`."""
        return await self._trials.healthy_now(workload)

    # --- how it begins ------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _locked(self, ids: Iterable[str], why: Told, ctx: OperationContext) -> AsyncIterator[Held]:
        with self._barrier.admit():
            async with self._locks.hold(ids, why, on_wait=ctx.waiting, waits_in=ctx.interruptible) as held:
                yield held

    @asynccontextmanager
    async def _locked_to_deploy(self, workload_id: str, ctx: OperationContext) -> AsyncIterator[Held]:
        """Lock all that a deployment needs locked; look again until it is the right ones."""
        while True:
            ids = await self._snapshots.lock_ids(workload_id)
            async with self._locked(ids, told("a_deploy", "deploy {id}", id=ctx.id), ctx) as held:
                if await self._snapshots.lock_ids(workload_id) == ids:
                    yield held
                    return


def outcome_of(deployment: Deployment, ctx: OperationContext) -> dict[str, object]:
    """What is told of an operation that had a workload run a deployment: its own, or one that ran already."""
    return {
        "deployment_id": deployment.id,
        "image_id": deployment.image_id,
        "digest": deployment.digest,
        "result": "deployed" if deployment.operation_id == ctx.id else "already_there",
    }
