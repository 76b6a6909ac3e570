"""A workload on trial: brought up on data that a restore just put in place, and confirmed or left to the restore.

- Trial instances keep the restart policy ``no`` until they are confirmed: the engine brings none back by itself.
- An unhealthy trial is told and left as it is: whether to go back is the restore's to decide.
- Nothing that ran before is removed here; the way back needs it. Reconciliation and the next deployment tidy up.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

from holdfast.domain.deploy_plan import DeployStep, check_spec, instance_count
from holdfast.domain.deployment import Deployment, DeploymentState, DeployReason
from holdfast.domain.errors import Failed, HoldfastError, Refused, Unavailable
from holdfast.domain.workload import DesiredState, Workload
from holdfast.runtime.port import LABEL_DEPLOYMENT
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.health_gate import Uncancellable
from holdfast.services.hooks import HookRunner
from holdfast.services.image_source import Version
from holdfast.services.instances import Instances
from holdfast.services.locks import Held
from holdfast.services.operations import OperationContext
from holdfast.services.quiesce import facts_of
from holdfast.services.rollout import Previous, Rollout, log_lines
from holdfast.services.traffic import Traffic


class Trials:
    """Runs trials for the deployer."""

    def __init__(
        self,
        *,
        records: DeployRecords,
        rollout: Rollout,
        hooks: HookRunner,
        instances: Instances,
        traffic: Traffic,
    ) -> None:
        self._records = records
        self._rollout = rollout
        self._hooks = hooks
        self._instances = instances
        self._traffic = traffic

    async def run(
        self,
        held: Held,
        workload: Workload,
        version: Version,
        ctx: OperationContext,
        reason: DeployReason,
        *,
        snapshot_id: str | None,
    ) -> Deployment:
        """Bring a workload up and judge it. Its deployment stays open until it is confirmed.

        Args:
            snapshot_id: the snapshot of the data right before it.

        Raises:
            Failed: ``deploy_unhealthy`` (its details hold the last lines as ``logs``), ``post_restore_failed``, or the
                engine's refusal.
            Refused: a volume is not what it must be.
            Unavailable: the engine does not answer; the attempt may be repeated.
            Cancelled: a person cancelled.
        """
        held.require(workload.id)
        problems = check_spec(workload.spec, image_has_healthcheck=version.has_healthcheck)
        if problems:
            raise Refused(problems)
        await self._rollout.require_secrets(workload)
        await self._rollout.check_volumes(workload, version, await self._records.workloads())
        there = await self._instances.of(workload.id)
        if any(container.running for container in there):
            # Who runs here was started behind the restore's back; two writers would share what was restored.
            await self._rollout.hold(Previous(workload=workload, containers=tuple(facts_of(c) for c in there)), ctx)
        deployment = await self._records.begin(workload, version, reason, ctx.id, snapshot_id=snapshot_id)
        try:
            await self._records.keep_image(deployment)
            count = instance_count(workload.spec)
            with _timed(ctx, "start"):
                made = await self._rollout.make(workload, version, deployment.id, count, _in_silence)
            with _timed(ctx, "gate"):
                await self._rollout.judge(made, workload, ctx)
            if workload.spec.hooks.post_restore:
                with _timed(ctx, "hooks"):
                    await self._hooks.restored(ctx, workload, made)
                    await self._look_again(workload, made, ctx)
        except Unavailable:
            raise
        except HoldfastError as error:
            error.details.setdefault("deployment_id", deployment.id)
            await self._records.failed(deployment, DeploymentState.FAILED, error, lines=log_lines(error))
            raise
        return deployment

    async def _look_again(self, workload: Workload, made: Sequence[str], ctx: OperationContext) -> None:
        """See that what was healthy before the hooks is so after them, or becomes it.

        Raises:
            Failed: ``deploy_unhealthy``.
        """
        there = [container for container in await self._instances.of(workload.id) if container.id in made]
        healthy = len(there) == len(made) and await self._rollout.verify(there, workload.spec.health, ctx)
        if not healthy:
            await self._rollout.judge(made, workload, ctx)

    async def confirm(self, held: Held, workload: Workload) -> Deployment | None:
        """Give the trial's instances their configured restart policy, and close its deployment. Idempotent.

        Returns:
            The deployment: succeeded, or failed as it was where an unhealthy trial is kept; ``None`` if there is none.
        """
        held.require(workload.id)
        there = await self._instances.of(workload.id)
        newest = max((container.labels.get(LABEL_DEPLOYMENT, "") for container in there), default="")
        mine = [container.id for container in there if container.labels.get(LABEL_DEPLOYMENT) == newest]
        await self._rollout.arm(mine, workload.spec.restart)
        deployment = await self._records.get(newest)
        if deployment is not None and deployment.reason in (DeployReason.DEPLOY, DeployReason.ROLLBACK) and mine:
            # The first of a new workload, or what a rollback brings back: only now it can be relied on that it runs.
            await self._records.want(workload, DesiredState.RUNNING)
        if deployment is None or deployment.state not in (DeploymentState.RUNNING, DeploymentState.INTERRUPTED):
            return deployment
        ended = await self._records.end(deployment, DeploymentState.SUCCEEDED)
        self._traffic.changed.set()
        return ended

    async def gate_instances(self, workload: Workload, container_ids: Iterable[str], ctx: OperationContext) -> None:
        """Judge instances that are on trial already, after an interruption, of a workload without ``post_restore``.

        Raises:
            Failed: ``deploy_unhealthy``; see :meth:`run`.
        """
        try:
            await self._rollout.judge(container_ids, workload, ctx)
        except Failed as error:
            for deployment in await self._records.cut_off(workload.id):
                await self._records.failed(deployment, DeploymentState.FAILED, error, lines=log_lines(error))
            raise

    async def wait_healthy(self, workload: Workload, ctx: OperationContext) -> bool:
        """Whether all running instances become healthy within the gate's deadline; ``False`` if none runs."""
        running = [container.id for container in await self._instances.of(workload.id) if container.running]
        try:
            await self._rollout.judge(running, workload, ctx)
        except Failed:
            return False
        return bool(running)

    async def healthy_now(self, workload: Workload) -> bool:
        """Whether all running instances are healthy right now; ``False`` if none runs.

        Raises:
            HoldfastError: the engine can't say (:meth:`Rollout.verify`).
        """
        running = [container for container in await self._instances.of(workload.id) if container.running]
        return bool(running) and await self._rollout.verify(running, workload.spec.health, Uncancellable())


@contextmanager
def _timed(ctx: OperationContext, part: str) -> Iterator[None]:
    """Count the block's time to a part of the downtime, as the outcome tells it."""
    before = time.monotonic()
    try:
        yield
    finally:
        seconds = cast("dict[str, float]", ctx.outcome.setdefault("seconds", {}))
        seconds[part] = round(seconds.get(part, 0.0) + time.monotonic() - before, 3)


def _in_silence(_step: DeployStep) -> None:
    """A restore's steps are told by the restore."""
