"""Deployments: each attempt to run a workload at one version, with the configuration of then."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from holdfast.domain.deployment import Deployment, DeploymentState, DeployReason
from holdfast.domain.times import now
from holdfast.domain.workload import DesiredState, WorkloadSpec
from holdfast.store.codec import decode, encode
from holdfast.store.database import Database
from holdfast.store.tables import deployments, workloads
from holdfast.store.workloads import change_spec, spec_of

_BY_ID = select(deployments).where(deployments.c.id == bindparam("id"))
_OF_WORKLOAD = (
    select(deployments).where(deployments.c.workload_id == bindparam("workload_id")).order_by(deployments.c.id.desc())
)
_SUCCEEDED = deployments.c.state == DeploymentState.SUCCEEDED.value
_LAST_SUCCESSFUL = _OF_WORKLOAD.where(
    _SUCCEEDED, deployments.c.reason.not_in(bindparam("besides", expanding=True))
).limit(1)
_LAST_SUCCESSFUL_OF_ALL = select(deployments).where(
    deployments.c.id.in_(select(func.max(deployments.c.id)).where(_SUCCEEDED).group_by(deployments.c.workload_id))
)
_UNFINISHED = (
    select(deployments).where(deployments.c.state == DeploymentState.RUNNING.value).order_by(deployments.c.id.desc())
)
_INSERT = insert(deployments)
_UPDATE = update(deployments).where(deployments.c.id == bindparam("this"))
_SETTLE_WORKLOAD = update(workloads).where(workloads.c.id == bindparam("this"))


class DeploymentStore:
    """The history of all workloads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, deployment: Deployment) -> None:
        """Keep a new deployment."""
        row = {
            "id": deployment.id,
            "workload_id": deployment.workload_id,
            "state": deployment.state.value,
            "reason": deployment.reason.value,
            "spec": encode(deployment.spec),
            "image_id": deployment.image_id,
            "digest": deployment.digest,
            "operation_id": deployment.operation_id,
            "started_at": deployment.started_at,
            "finished_at": deployment.finished_at,
            "error": None if deployment.error is None else encode(deployment.error),
            "snapshot_id": deployment.snapshot_id,
        }
        await self._database.change(_INSERT, **row)

    async def set_snapshot(self, deployment_id: str, snapshot_id: str) -> None:
        """Keep which snapshot holds the data from right before it."""
        await self._database.change(_UPDATE, this=deployment_id, snapshot_id=snapshot_id)

    async def finish(self, deployment_id: str, state: DeploymentState, error: dict[str, str] | None = None) -> None:
        """Record how it ended, now."""
        text = None if error is None else encode(error)
        await self._database.change(_UPDATE, this=deployment_id, state=state.value, finished_at=now(), error=text)

    async def succeed(self, deployment: Deployment, *, adopted_by: str | None) -> None:
        """Record a success, now, and what it makes of the workload: both, or neither if the host dies.

        Args:
            adopted_by: on whose behalf the deployment's configuration is the workload's from now on, if it is.
        """
        at = now()
        settled = {"desired": DesiredState.RUNNING.value, "updated_at": at}
        ended = {"state": DeploymentState.SUCCEEDED.value, "finished_at": at, "error": None}

        def write(connection: Connection) -> None:
            connection.execute(_UPDATE, {"this": deployment.id, **ended})
            connection.execute(_SETTLE_WORKLOAD, {"this": deployment.workload_id, **settled})
            if adopted_by is not None:
                change_spec(connection, deployment.workload_id, deployment.spec.declared, adopted_by)

        await self._database.write(write)

    async def confirm(
        self, deployment: Deployment, spec: WorkloadSpec, digest: str | None, *, adopted_by: str | None
    ) -> None:
        """Record what a deployment that runs is by now, and what it makes of the workload, as :meth:`succeed`."""
        settled = {"desired": DesiredState.RUNNING.value, "updated_at": now()}

        def write(connection: Connection) -> None:
            connection.execute(_UPDATE, {"this": deployment.id, "spec": encode(spec), "digest": digest})
            connection.execute(_SETTLE_WORKLOAD, {"this": deployment.workload_id, **settled})
            if adopted_by is not None:
                change_spec(connection, deployment.workload_id, spec.declared, adopted_by)

        await self._database.write(write)

    async def get(self, deployment_id: str) -> Deployment | None:
        """The deployment with this id."""
        row = await self._database.row(_BY_ID, id=deployment_id)
        return None if row is None else deployment_of(row)

    async def list(
        self, workload_id: str, *, limit: int | None = None, before: str | None = None
    ) -> tuple[Deployment, ...]:
        """A workload's deployments, newest first; with ``before`` only those older than the one with that id."""
        query = _OF_WORKLOAD if limit is None else _OF_WORKLOAD.limit(limit)
        if before is not None:
            query = query.where(deployments.c.id < before)
        return tuple(map(deployment_of, await self._database.rows(query, workload_id=workload_id)))

    async def last_successful(self, workload_id: str, *, besides: Sequence[DeployReason] = ()) -> Deployment | None:
        """The newest deployment of a workload that succeeded.

        Args:
            besides: those that came for one of these reasons don't count.
        """
        reasons = [reason.value for reason in besides]
        row = await self._database.row(_LAST_SUCCESSFUL, workload_id=workload_id, besides=reasons)
        return None if row is None else deployment_of(row)

    async def last_successful_of_all(self) -> dict[str, Deployment]:
        """The newest deployment of each workload that succeeded, by the workload's id."""
        rows = await self._database.rows(_LAST_SUCCESSFUL_OF_ALL)
        return {row.workload_id: deployment_of(row) for row in rows}

    async def unfinished(self) -> tuple[Deployment, ...]:
        """All deployments that have not ended, newest first; at start: those that the last server left behind."""
        return tuple(map(deployment_of, await self._database.rows(_UNFINISHED)))


def deployment_of(row: Row[tuple[object, ...]]) -> Deployment:
    """The deployment of a row of its table."""
    return Deployment(
        id=row.id,
        workload_id=row.workload_id,
        state=DeploymentState(row.state),
        reason=DeployReason(row.reason),
        spec=spec_of(row.spec),
        image_id=row.image_id,
        digest=row.digest,
        operation_id=row.operation_id,
        started_at=row.started_at,
        finished_at=row.finished_at,
        snapshot_id=row.snapshot_id,
        error=None if row.error is None else decode(dict[str, str], row.error),
    )
