"""Deployments: each attempt to run a workload at one version, with the configuration of then."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Row, func, insert, select, update

from holdfast.domain.deployment import Deployment, DeploymentState, DeployReason
from holdfast.domain.times import now
from holdfast.domain.workload import DesiredState, WorkloadSpec
from holdfast.store.codec import decode, encode
from holdfast.store.database import Database
from holdfast.store.tables import deployments, workloads


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
        async with self._database.write() as connection:
            await connection.execute(insert(deployments).values(**row))

    async def set_snapshot(self, deployment_id: str, snapshot_id: str) -> None:
        """Keep which snapshot holds the data from right before it."""
        async with self._database.write() as connection:
            await connection.execute(
                update(deployments).where(deployments.c.id == deployment_id).values(snapshot_id=snapshot_id)
            )

    async def finish(self, deployment_id: str, state: DeploymentState, error: dict[str, str] | None = None) -> None:
        """Record how it ended, now."""
        async with self._database.write() as connection:
            await connection.execute(
                update(deployments)
                .where(deployments.c.id == deployment_id)
                .values(state=state.value, finished_at=now(), error=None if error is None else encode(error))
            )

    async def succeed(self, deployment: Deployment, *, adopt: bool) -> None:
        """Record a success, now, and what it makes of the workload: both, or neither if the host dies.

        Args:
            adopt: the deployment's configuration is the workload's from now on.
        """
        at = now()
        settled = {"desired": DesiredState.RUNNING.value, "updated_at": at}
        if adopt:
            settled["spec"] = encode(deployment.spec.declared)
        async with self._database.write() as connection:
            await connection.execute(
                update(deployments)
                .where(deployments.c.id == deployment.id)
                .values(state=DeploymentState.SUCCEEDED.value, finished_at=at, error=None)
            )
            await connection.execute(
                update(workloads).where(workloads.c.id == deployment.workload_id).values(**settled)
            )

    async def get(self, deployment_id: str) -> Deployment | None:
        """The deployment with this id."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(deployments).where(deployments.c.id == deployment_id))).one_or_none()
        return None if row is None else _deployment(row)

    async def list(
        self, workload_id: str, *, limit: int | None = None, before: str | None = None
    ) -> tuple[Deployment, ...]:
        """A workload's deployments, newest first; with ``before`` only those older than the one with that id."""
        query = (
            select(deployments)
            .where(deployments.c.workload_id == workload_id)
            .order_by(deployments.c.id.desc())
            .limit(limit)
        )
        if before is not None:
            query = query.where(deployments.c.id < before)
        async with self._database.read() as connection:
            return tuple(_deployment(row) for row in await connection.execute(query))

    async def last_successful(self, workload_id: str, *, besides: Sequence[DeployReason] = ()) -> Deployment | None:
        """The newest deployment of a workload that succeeded.

        Args:
            besides: those that came for one of these reasons don't count.
        """
        query = (
            select(deployments)
            .where(
                deployments.c.workload_id == workload_id,
                deployments.c.state == DeploymentState.SUCCEEDED.value,
                deployments.c.reason.not_in([reason.value for reason in besides]),
            )
            .order_by(deployments.c.id.desc())
            .limit(1)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _deployment(row)

    async def last_successful_of_all(self) -> dict[str, Deployment]:
        """The newest deployment of each workload that succeeded, by the workload's id."""
        newest = (
            select(func.max(deployments.c.id))
            .where(deployments.c.state == DeploymentState.SUCCEEDED.value)
            .group_by(deployments.c.workload_id)
        )
        async with self._database.read() as connection:
            rows = await connection.execute(select(deployments).where(deployments.c.id.in_(newest)))
            return {row.workload_id: _deployment(row) for row in rows}

    async def unfinished(self) -> tuple[Deployment, ...]:
        """All deployments that have not ended, newest first; at start: those that the last server left behind."""
        query = (
            select(deployments)
            .where(deployments.c.state == DeploymentState.RUNNING.value)
            .order_by(deployments.c.id.desc())
        )
        async with self._database.read() as connection:
            return tuple(_deployment(row) for row in await connection.execute(query))


def _deployment(row: Row[tuple[object, ...]]) -> Deployment:
    return Deployment(
        id=row.id,
        workload_id=row.workload_id,
        state=DeploymentState(row.state),
        reason=DeployReason(row.reason),
        spec=decode(WorkloadSpec, row.spec),
        image_id=row.image_id,
        digest=row.digest,
        operation_id=row.operation_id,
        started_at=row.started_at,
        finished_at=row.finished_at,
        snapshot_id=row.snapshot_id,
        error=None if row.error is None else decode(dict[str, str], row.error),
    )
