"""Reconciliation: what differs from what was deployed, and the mending of what Holdfast itself owns.

Run when Holdfast starts, whenever the engine comes back, and for a workload of which somebody removed an instance
(``removal_watch.py``). For each workload whose lock is free:

1. A deployment that a death of the server cut off is taken back: what it made is removed, and what ran before it runs
   again if the workload is meant to run.
2. What differs is told (``domain/deploy_plan.py`` says what). A missing instance is deployed again, once; forgotten
   policies are set, leftovers removed. What a person stopped or started by hand is only told.

Containers of others are never seen, and so never touched. A workload with an unfinished restore is left to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from holdfast.domain.deploy_plan import Difference, InstanceFacts, Mend, differences, unrecorded
from holdfast.domain.deployment import Deployment, DeploymentState, DeployReason
from holdfast.domain.errors import Busy, HoldfastError
from holdfast.domain.operation import OperationKind
from holdfast.domain.told import told
from holdfast.domain.workload import Workload
from holdfast.runtime.port import LABEL_WORKLOAD, Container
from holdfast.services.data_returns import DataReturns
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.deployer import Deployer
from holdfast.services.instances import Instances, instance_facts
from holdfast.services.locks import Held, LifecycleLocks
from holdfast.services.operations import OperationContext, Operations
from holdfast.services.rollout import Rollout
from holdfast.services.take_back import take_back_cut_off

ACTOR = "reconciliation"
"""Who started the operations that mend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What was found of one workload, and what was done.

    Attributes:
        workload: its name; the id where no workload of that id is known any more.
        taken_back: ids of the interrupted deployments that were taken back.
        operation_id: the operation that deploys again what is missing.
        skipped: why it was not looked at; empty if it was.
    """

    workload: str
    differences: tuple[Difference, ...] = ()
    taken_back: tuple[str, ...] = ()
    operation_id: str | None = None
    skipped: str = ""

    @property
    def notable(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.differences or self.taken_back or self.skipped)


class Reconciler:
    """Compares and mends.

    Args:
        restore_pending: whether a restore of the workload (by id) is unfinished.
    """

    def __init__(
        self,
        *,
        records: DeployRecords,
        instances: Instances,
        rollout: Rollout,
        deployer: Deployer,
        data: DataReturns,
        operations: Operations,
        locks: LifecycleLocks,
        restore_pending: Callable[[str], bool],
    ) -> None:
        self._records = records
        self._instances = instances
        self._rollout = rollout
        self._deployer = deployer
        self._data = data
        self._operations = operations
        self._locks = locks
        self._restore_pending = restore_pending
        self._log = structlog.get_logger("reconcile")

    async def run(self) -> tuple[Reconciled, ...]:
        """Look at every workload, side by side, and mend what is to be mended.

        Returns:
            What was found, workloads without any difference left out.

        Raises:
            Unavailable: the engine does not answer; nothing was done.
        """
        everything = await self._instances.all()
        workloads = await self._records.workloads()
        found = list(await asyncio.gather(*(self._reconcile(workload) for workload in workloads)))
        known = {workload.id for workload in workloads}
        orphans = {c.labels.get(LABEL_WORKLOAD, "") for c in everything} - known
        found += [_orphaned(orphan, everything) for orphan in sorted(orphans)]
        told = tuple(each for each in found if each.notable)
        for each in told:
            self._tell(each)
        return told

    async def look(self, workload_id: str) -> Reconciled:
        """Look at one workload: what kept others off it has ended, or an instance of it was removed.

        Raises:
            NotFound: ``workload_unknown``.
        """
        found = await self._reconcile(await self._records.workload(workload_id))
        if not found.skipped:  # it is looked at again, for days where a decision is waited for
            self._tell(found)
        return found

    def _tell(self, found: Reconciled) -> None:
        if found.notable:
            self._log.warning(
                "differs from what was deployed",
                workload=found.workload,
                found=[difference.code for difference in found.differences],
                taken_back=found.taken_back,
                skipped=found.skipped,
            )

    async def _reconcile(self, workload: Workload) -> Reconciled:
        if self._restore_pending(workload.id):
            return Reconciled(workload=workload.name, skipped="a restore is unfinished")
        try:
            async with self._locks.hold_briefly([workload.id], told("a_look", "a look at what runs")) as held:
                return await self._look(held, workload.id)
        except Busy as busy:
            return Reconciled(workload=workload.name, skipped=busy.message)
        except HoldfastError as error:
            return Reconciled(workload=workload.name, skipped=error.message)

    async def _look(self, held: Held, workload_id: str) -> Reconciled:
        workload = await self._records.workload(workload_id)
        taken_back = await take_back_cut_off(
            held, workload, records=self._records, instances=self._instances, rollout=self._rollout, data=self._data
        )
        if any([await self._data.due(left) for left in await self._records.cut_off(workload_id)]):
            returning = await self._return_data(workload)
            return Reconciled(workload=workload.name, taken_back=taken_back, operation_id=returning)
        last = await self._records.last_successful(workload_id)
        there = await self._instances.of(workload_id)
        facts = [instance_facts(container) for container in there]
        found = await self._unrecorded(facts, last) or differences(workload.desired, last, facts)
        operation_id = None
        for difference in found:
            match difference.mend:
                case Mend.SET_RESTART_POLICY:
                    await self._rollout.arm([difference.instance_id], difference.restart)
                case Mend.REMOVE if last is not None:
                    await self._rollout.reap(workload, last.id)
                case Mend.REDEPLOY if not await self._was_tried(workload_id):
                    operation_id = await self._deploy_again(workload)
                case _:
                    pass
        return Reconciled(
            workload=workload.name,
            differences=tuple(found),
            taken_back=taken_back,
            operation_id=operation_id,
        )

    async def _unrecorded(self, instances: Sequence[InstanceFacts], last: Deployment | None) -> list[Difference]:
        """Instances of deployments that no record tells of, such as those after a backup that was brought back.

        Nothing is mended then: what would take their place is an earlier version, on data that they may have written.
        """
        known = "" if last is None else last.id
        return [
            unrecorded(instance)
            for instance in instances
            if instance.deployment_id != known and await self._records.get(instance.deployment_id) is None
        ]

    async def _was_tried(self, workload_id: str) -> bool:
        """Whether deploying again by itself has failed since anything else was done: it is not tried for ever."""
        newest = await self._records.newest(workload_id)
        return newest is not None and (
            newest.reason is DeployReason.RECONCILE and newest.state is not DeploymentState.SUCCEEDED
        )

    async def _deploy_again(self, workload: Workload) -> str:
        """Deploy the last successful version again, as an operation that people see. Returns its id."""

        async def run(ctx: OperationContext) -> dict[str, object]:
            async with self._locks.hold(
                [workload.id],
                told("a_reconciliation", "reconciliation {id}", id=ctx.id),
                on_wait=ctx.waiting,
                waits_in=ctx.interruptible,
            ) as held:
                return await self._deploy_missing(held, workload.id, ctx)

        return (await self._operations.start(OperationKind.DEPLOY, workload.id, ACTOR, run)).id

    async def _return_data(self, workload: Workload) -> str:
        """Take back what was cut off, with its data, as an operation that people see. Returns its id."""

        async def run(ctx: OperationContext) -> dict[str, object]:
            async with self._locks.hold(
                [workload.id],
                told("a_reconciliation", "reconciliation {id}", id=ctx.id),
                on_wait=ctx.waiting,
                waits_in=ctx.interruptible,
            ) as held:
                taken_back = await take_back_cut_off(
                    held,
                    await self._records.workload(workload.id),
                    records=self._records,
                    instances=self._instances,
                    rollout=self._rollout,
                    data=self._data,
                    ctx=ctx,
                )
            return {"taken_back": list(taken_back)}

        return (await self._operations.start(OperationKind.ROLLBACK, workload.id, ACTOR, run)).id

    async def _deploy_missing(self, held: Held, workload_id: str, ctx: OperationContext) -> dict[str, object]:
        """Look once more, now that the lock is held for good: somebody may have been faster."""
        workload = await self._records.workload(workload_id)
        last = await self._records.last_successful(workload_id)
        there = [instance_facts(container) for container in await self._instances.of(workload_id)]
        still = any(each.mend is Mend.REDEPLOY for each in differences(workload.desired, last, there))
        if last is None or not still or self._restore_pending(workload_id):
            return {"result": "already_there"}
        then = replace(workload, spec=last.spec)
        version = await self._deployer.version_of(last.image_id, then)
        deployment = await self._deployer.redeploy_locked(
            held, then, version, ctx, trial=False, reason=DeployReason.RECONCILE
        )
        return {"result": "deployed", "deployment_id": deployment.id}


def _orphaned(workload_id: str, everything: Sequence[Container]) -> Reconciled:
    return Reconciled(
        workload=workload_id,
        differences=tuple(
            Difference(
                code="workload_gone",
                message=f"{container.name} is of a workload that is gone; remove it by hand if it may go.",
                instance_id=container.id,
            )
            for container in everything
            if container.labels.get(LABEL_WORKLOAD, "") == workload_id
        ),
    )
