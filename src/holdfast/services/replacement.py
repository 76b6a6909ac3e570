"""Replacing what runs: the story of a deployment under the lifecycle lock, with every way back.

- An attempt is on record before anything is touched, and what ran before is removed only after success is on record.
- A version that fails its health gate is removed, and what ran before runs again; where that fails too, the deployment
  has failed and says so (I10).
- "Already running" is said only of instances just verified running and healthy, of this image and configuration.
- A cancel before the old version was stopped leaves all as it was; after that it is treated like a failed health gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from holdfast.domain.deploy_plan import DeployStep, already_running, check_spec, instance_count
from holdfast.domain.deployment import Deployment, DeploymentState, DeployReason
from holdfast.domain.errors import Cancelled, Conflict, Failed, HoldfastError, Refused
from holdfast.domain.stopping import UncleanStop
from holdfast.domain.told import told
from holdfast.domain.workload import DesiredState, Strategy, Workload
from holdfast.runtime.port import LABEL_DEPLOYMENT, Container
from holdfast.services.data_returns import DataReturns, Returned
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.deploy_snapshots import DeploySnapshots
from holdfast.services.image_care import ImageCare
from holdfast.services.image_source import ImageSource, Version
from holdfast.services.instances import Instances, instance_facts
from holdfast.services.locks import Held
from holdfast.services.operations import OperationContext
from holdfast.services.quiesce import facts_of
from holdfast.services.rollout import Previous, Rollout, log_lines
from holdfast.services.take_back import take_back_cut_off
from holdfast.services.traffic import Traffic


class Replacement:
    """Deploys, starts and stops one workload at a time, for whoever holds its lock."""

    def __init__(
        self,
        *,
        records: DeployRecords,
        images: ImageSource,
        image_care: ImageCare,
        instances: Instances,
        rollout: Rollout,
        snapshots: DeploySnapshots,
        data: DataReturns,
        traffic: Traffic,
    ) -> None:
        self._records = records
        self._images = images
        self._image_care = image_care
        self._instances = instances
        self._rollout = rollout
        self._snapshots = snapshots
        self._data = data
        self._traffic = traffic

    async def deploy(
        self,
        held: Held,
        workload: Workload,
        version: Version,
        ctx: OperationContext,
        reason: DeployReason,
        *,
        adopt: bool = False,
        accept: bool = False,
    ) -> Deployment:
        """Have the workload run ``version``; see :meth:`holdfast.services.deployer.Deployer.redeploy_locked`.

        Args:
            adopt: a success makes ``workload``'s configuration the stored one.
            accept: a person accepts the volumes' directories as they are.
        """
        held.require(workload.id)
        ctx.step(DeployStep.CHECKING)
        problems = [
            *check_spec(workload.spec, image_has_healthcheck=version.has_healthcheck),
            *await self._traffic.problems(workload.spec, reason),
        ]
        if problems:
            raise Refused(problems)
        await take_back_cut_off(
            held,
            await self._records.workload(workload.id),
            records=self._records,
            instances=self._instances,
            rollout=self._rollout,
            data=self._data,
            ctx=ctx,
        )
        there = await self._instances.of(workload.id)
        running = await self._verified_running(workload, version, there, ctx)
        if running is not None:
            ctx.log(
                told("already_there", "{workload} already runs this version, and is healthy", workload=workload.name)
            )
            return await self._records.confirmed(running, workload, version, adopted_by=ctx.actor if adopt else None)
        await self._rollout.require_secrets(workload)
        await self._rollout.require_ports(workload, there)
        await self._rollout.require_networks(workload)
        everyone = await self._records.workloads()
        for warning in await self._rollout.check_volumes(workload, version, everyone, accept=accept):
            ctx.log(warning, "warning")
        previous = await self._previous(workload, there)
        ctx.check()
        deployment = await self._records.begin(workload, version, reason, ctx.id)
        try:
            await self._records.keep_image(deployment)
            await self._replace(held, workload, version, deployment, previous, ctx)
            ctx.step(DeployStep.RECORDING)
            await self._rollout.remember_volumes(workload)
            deployment = await self._records.succeeded(deployment, adopted_by=ctx.actor if adopt else None)
        except Exception as error:
            await self._return(held, deployment, previous, error, ctx)
            raise
        finally:
            await self._traffic.let_go((workload.id,))
        await self._reap(workload, deployment, ctx)
        return deployment

    async def start(self, held: Held, workload_id: str, ctx: OperationContext) -> Deployment:
        """Run the last successful deployment: its own instances if they are there, else new ones.

        Raises:
            Conflict: ``never_deployed``.
            Refused: a volume is not what it must be; nothing was touched.
            Failed: ``start_unhealthy``; the instances are left as they are, with their configured restart policy.
        """
        held.require(workload_id)
        workload = await self._records.workload(workload_id)
        ctx.step(DeployStep.CHECKING)
        last = await self._records.last_successful(workload_id)
        if last is None:
            raise Conflict(
                "never_deployed",
                f"{workload.name} was never deployed successfully, so there is nothing to start.",
                next_step="Deploy it.",
            )
        then = replace(workload, spec=last.spec)
        there = await self._instances.of(workload_id)
        mine = [container for container in there if container.labels.get(LABEL_DEPLOYMENT) == last.id]
        if len(mine) != instance_count(last.spec) or any(c.running for c in there if c not in mine):
            version = await self._images.pinned(last.image_id, reference=last.spec.image)
            return await self.deploy(held, then, version, ctx, DeployReason.START)
        await self._rollout.require_ports(then, there)
        await self._rollout.require_networks(then)
        await self._rollout.require_out_of_reach(then)
        ctx.point_of_no_return()
        await self._records.want(workload, DesiredState.RUNNING)
        ctx.step(DeployStep.STARTING)
        for container in mine:
            await self._rollout.wake(container)
        await self._rollout.arm([container.id for container in mine], last.spec.restart)
        ctx.step(DeployStep.GATING)
        await self._rollout.judge([c.id for c in mine], then, ctx, code="start_unhealthy")
        return last

    async def stop(self, held: Held, workload: Workload, ctx: OperationContext) -> bool:
        """Stop a workload durably: first the wish, then the instances. Returns whether all of them ended well."""
        held.require(workload.id)
        ctx.point_of_no_return()
        await self._records.want(workload, DesiredState.STOPPED)
        ctx.step(DeployStep.STOPPING)
        return not await self._rollout.hold(await self._previous(workload), ctx)

    async def _replace(
        self,
        held: Held,
        workload: Workload,
        version: Version,
        deployment: Deployment,
        previous: Previous,
        ctx: OperationContext,
    ) -> None:
        """Bring the new version up and have it replace the old one; nothing is removed yet."""
        strategy, count = workload.spec.effective_strategy, instance_count(workload.spec)
        async with self._snapshots.warmed(held, workload, deployment, ctx) as capture:
            stops: tuple[UncleanStop, ...] | None = None
            if strategy is Strategy.RECREATE:
                ctx.check()
                if previous.containers:
                    ctx.step(DeployStep.STOPPING)
                    await self._traffic.close((workload.id,))
                    stops = await self._rollout.hold(previous, ctx)
            await capture(stops if previous.running else None)
        made = await self._rollout.make(workload, version, deployment.id, count, ctx.step)
        ctx.step(DeployStep.GATING)
        await self._rollout.judge(made, workload, ctx)
        ctx.point_of_no_return()
        ctx.step(DeployStep.SWITCHING)
        await self._traffic.switch(workload, made, deployment.reason)
        await self._rollout.arm(made, workload.spec.restart)
        if strategy is Strategy.BLUE_GREEN:
            await self._drain(previous, ctx)
            await self._rollout.hold(previous, ctx)

    async def _drain(self, previous: Previous, ctx: OperationContext) -> None:
        """Let the old version answer what it was asked before the switch."""
        if not previous.running:
            return
        ctx.step(DeployStep.DRAINING)
        grace = previous.workload.spec.stop_grace
        if not await self._traffic.drain(previous.workload.id, grace):
            ctx.log(
                told(
                    "requests_under_way",
                    "requests to the old version were still under way after {grace_seconds}",
                    grace_seconds=grace,
                ),
                "warning",
            )

    async def _return(
        self, held: Held, deployment: Deployment, previous: Previous, error: Exception, ctx: OperationContext
    ) -> None:
        """Bring back what ran before, and say truthfully what runs now.

        Raises:
            HoldfastError: in place of ``error``, which is its cause; nothing if ``error`` was not foreseen.
        """
        cause = error if isinstance(error, HoldfastError) else _unforeseen()
        lines = log_lines(cause)
        with suppress(HoldfastError):  # a full disk must not keep the old version from coming back
            ctx.step(DeployStep.RETURNING)
        deployment = await self._with_snapshot(deployment)
        ran = await self._data.ran(deployment)
        details = {**cause.details, "deployment_id": deployment.id, "ran_on_data": ran}
        await self._traffic.let_go((deployment.workload_id,))
        fact, step = await self._data.told(deployment) if ran else ("", "")
        returned = await self._data.bring_back(held, deployment, ctx) if await self._data.due(deployment) else None
        try:
            if returned is not None and returned.how in (Returned.UNDECIDED, Returned.BACK_BUT_DOWN):
                assert returned.why is not None
                raise returned.why
            if returned is not None and returned.how is Returned.BACK:
                now, step = "The data of before is back, and what ran before runs on it.", ""
            else:
                now = await self._bring_back(deployment, previous, ctx)
                if returned is not None and returned.why is not None:
                    fact = f"{fact} The data of before could not be brought back: {returned.why.message}"
                now = f"{fact} {now}".lstrip()
        except HoldfastError as second:
            failed = Failed(
                "deploy_return_failed",
                " ".join(
                    part
                    for part in (
                        cause.message,
                        fact,
                        f"What ran before could not be brought back: {second.message}",
                        f"{previous.workload.name} may not be running.",
                    )
                    if part
                ),
                next_step=f"{second.next_step} Then start {previous.workload.name}, or deploy a version that works. "
                f"{step}".rstrip(),
                details={**details, "cause": cause.code, "return_failed_with": second.code},
            )
            await self._records.failed(deployment, DeploymentState.FAILED, failed, lines=lines)
            raise failed from error
        state = DeploymentState.RETURNED if previous.running else DeploymentState.FAILED
        if isinstance(cause, Cancelled):
            told: HoldfastError = Cancelled(f"The deployment was cancelled. {now}")
        else:
            told = Failed(
                cause.code,
                f"{cause.message} {now}",
                next_step=f"{cause.next_step} {step}".rstrip(),
                details={**details, "state": state.value},
            )
        await self._records.failed(deployment, state, told, lines=lines)
        if cause is error:
            raise told from error

    async def _bring_back(self, deployment: Deployment, previous: Previous, ctx: OperationContext) -> str:
        """Have what ran before run again, on the data as it is. Returns what runs now, in words."""
        restarted = await self._rollout.bring_back(deployment.id, previous, ctx)
        if not previous.running:
            return "Nothing ran before, and nothing runs now."
        return "What ran before runs again." if restarted else "What ran before still runs."

    async def _with_snapshot(self, deployment: Deployment) -> Deployment:
        """The deployment as it is on record by now, if that can be read."""
        with suppress(HoldfastError):
            return await self._records.get(deployment.id) or deployment
        return deployment

    async def _reap(self, workload: Workload, deployment: Deployment, ctx: OperationContext) -> None:
        """Remove what is no longer needed. The deployment has succeeded whatever happens here."""
        with suppress(HoldfastError):  # what is left over is reaped by reconciliation, or the next deployment
            ctx.step(DeployStep.REAPING)
            for failure in await self._rollout.reap(workload, deployment.id):
                ctx.log(failure, "warning")
            await self._image_care.tidy(workload.id, ctx)

    async def _previous(self, workload: Workload, there: Sequence[Container] | None = None) -> Previous:
        """What is there, with the configuration that what runs was deployed with."""
        found = await self._instances.of(workload.id) if there is None else there
        then = next((c.labels.get(LABEL_DEPLOYMENT, "") for c in found if c.running), None)
        deployment = None if then is None else await self._records.get(then)
        return Previous(
            workload=workload if deployment is None else replace(workload, spec=deployment.spec),
            containers=tuple(facts_of(container) for container in found),
        )

    async def _verified_running(
        self, workload: Workload, version: Version, there: Sequence[Container], ctx: OperationContext
    ) -> Deployment | None:
        """The deployment that runs this very version already, if all of its instances are healthy right now."""
        facts = already_running(workload.spec, version.image_id, [instance_facts(c) for c in there])
        if facts is None:
            return None
        deployment = await self._records.get(facts[0].deployment_id)
        if deployment is None or deployment.state is not DeploymentState.SUCCEEDED:
            return None
        if deployment.digest is None and version.digest is not None:
            return None  # it was made here, and a registry has it since: who promotes goes by the deployment's digest
        ids = {instance.id for instance in facts}
        candidates = [container for container in there if container.id in ids]
        try:
            if not await self._rollout.verify(candidates, workload.spec.health, ctx):
                return None
        except Failed:
            return None  # What can't be judged is replaced.
        await self._rollout.arm(
            [c.id for c in candidates if c.restart is not workload.spec.restart], workload.spec.restart
        )
        return deployment


def _unforeseen() -> Failed:
    return Failed(
        "internal_error",
        "The deployment failed for a reason that Holdfast did not foresee.",
        next_step="Look into Holdfast's own log, and report the defect.",
    )
