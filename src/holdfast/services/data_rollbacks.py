"""Rollbacks with data: version, configuration and data return to one point, in one operation.

Such a rollback *is* a restore, of the snapshot from before the deployment by which the version was left: with its
confirmation, preflight, journal, safety snapshot, way back and undo. What it adds is what runs on the data then.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.domain.deployment import Deployment, left_by
from holdfast.domain.errors import Conflict, NotFound
from holdfast.domain.operation import Operation, OperationKind
from holdfast.domain.snapshot import Snapshot
from holdfast.services.confirmation import require_confirmed
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.restore import Restores
from holdfast.services.restore_plan import RestoreRequest, Runs
from holdfast.services.rollbacks import RollbackPlan, Rollbacks
from holdfast.services.snapshots import Snapshots


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRollbackPlan:
    """What a rollback with data would do.

    Attributes:
        snapshot: the data that returns: what the version left that is returned to.
    """

    plan: RollbackPlan
    snapshot: Snapshot


class DataRollbacks:
    """Shows what a rollback with data would do, and begins it."""

    def __init__(
        self, *, rollbacks: Rollbacks, records: DeployRecords, snapshots: Snapshots, restores: Restores
    ) -> None:
        self._rollbacks = rollbacks
        self._records = records
        self._snapshots = snapshots
        self._restores = restores

    async def plan(self, ref: str, deployment_id: str | None) -> DataRollbackPlan:
        """What a rollback with data would do now; how the data would change, only its dry run can tell.

        Raises:
            NotFound, Conflict, Unavailable: as :meth:`Rollbacks.plan`.
            Conflict: ``no_snapshot_before_deploy``.
        """
        plan = await self._rollbacks.plan(ref, deployment_id)
        return DataRollbackPlan(plan=plan, snapshot=await self._left(ref, plan.rollback.to))

    async def rollback(
        self,
        ref: str,
        deployment_id: str,
        *,
        confirm: str | None,
        accept_volumes: bool = False,
        dry_run: bool,
        actor: str,
        idempotency_key: str | None = None,
    ) -> Operation:
        """Return to a deployment, and to the data that it left.

        Args:
            confirm: the id of the snapshot that is to be restored; not asked for a dry run.

        Raises:
            NotFound: ``workload_unknown``, ``deployment_unknown``.
            Conflict: ``deployment_not_successful``, ``no_snapshot_before_deploy``.
            ConfirmationMissing, Busy, Refused: as for a restore.
        """
        workload = await self._records.workload(ref)
        to = await self._rollbacks.successful(workload, deployment_id)
        snapshot = await self._left(ref, to)
        request = RestoreRequest(
            workload_id=workload.id,
            snapshot_id=snapshot.id,
            runs=Runs(deployment=to, adopt=True, laid_out=True),
            accept_replaced=accept_volumes,
            actor=actor,
        )
        if dry_run:
            return await self._restores.rehearse(OperationKind.ROLLBACK, request, workload)
        require_confirmed(confirm, snapshot.id)
        return await self._restores.begin(OperationKind.ROLLBACK, request, workload, idempotency_key=idempotency_key)

    async def _left(self, ref: str, to: Deployment) -> Snapshot:
        """The snapshot of the data that the version of ``to`` left."""
        workload = await self._records.workload(ref)
        leaving = left_by(await self._records.history(workload.id), to)
        if leaving is None:
            why = f"The version of the deployment {to.id} is still the present one: there is nothing to return from."
        elif leaving.snapshot_id is None:
            why = f"No snapshot was taken before the deployment {leaving.id}, by which that version was left."
        else:
            try:
                return await self._snapshots.get(ref, leaving.snapshot_id)
            except NotFound:
                why = f"The snapshot {leaving.snapshot_id} from before the deployment {leaving.id} was deleted."
        raise Conflict(
            "no_snapshot_before_deploy",
            why,
            next_step=f"Return without the data: leave with_data (--with-data) out. Or choose a snapshot (holdfast "
            f"snapshot list {workload.name}) and restore it with its image: holdfast restore {workload.name} SNAPSHOT "
            "--with-image",
        )
