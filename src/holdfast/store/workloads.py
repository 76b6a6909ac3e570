"""Workloads: their configuration and what state is wanted of them."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import ColumnElement, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from holdfast.domain.deployment import DeploymentState
from holdfast.domain.errors import Conflict, NotFound
from holdfast.domain.preview import Preview
from holdfast.domain.times import now
from holdfast.domain.workload import DesiredState, Workload, WorkloadSpec
from holdfast.store.codec import decode, encode
from holdfast.store.database import Database, Transaction
from holdfast.store.tables import deployments, previews, workloads


class WorkloadStore:
    """All workloads, by id and by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, workload: Workload, preview: Preview | None = None) -> None:
        """Keep a new workload.

        Args:
            preview: kept together with it: what it is a preview of.

        Raises:
            Conflict: ``workload_exists``; another one has its name.
        """
        row = {
            "id": workload.id,
            "name": workload.name,
            "spec": encode(workload.spec),
            "desired": workload.desired.value,
            "created_at": workload.created_at,
            "updated_at": workload.updated_at,
        }
        try:
            async with self._database.write() as connection:
                await connection.execute(insert(workloads).values(**row))
                if preview is not None:
                    preview = replace(preview, workload_id=workload.id)
                    await connection.execute(insert(previews).values(**preview_row(preview)))
        except IntegrityError as error:
            raise _name_taken(workload.name) from error

    async def update_spec(self, workload_id: str, spec: WorkloadSpec) -> Workload:
        """Give a workload another configuration. Returns it as it is now.

        Raises:
            NotFound: ``workload_unknown``.
            Conflict: ``workload_exists``; another one has the new name.
        """
        try:
            return await self._update(workload_id, name=spec.name, spec=encode(spec))
        except IntegrityError as error:
            raise _name_taken(spec.name) from error

    async def set_desired(self, workload_id: str, desired: DesiredState) -> Workload:
        """Record whether it should run. Returns it as it is now.

        Raises:
            NotFound: ``workload_unknown``.
        """
        return await self._update(workload_id, desired=desired.value)

    async def get(self, workload_id: str) -> Workload | None:
        """The workload with this id."""
        return await self._one(workloads.c.id == workload_id)

    async def find(self, ref: str) -> Workload | None:
        """The workload with this id or, failing that, this name."""
        return await self.get(ref) or await self._one(workloads.c.name == ref)

    async def list(self, *, limit: int | None = None, before: str | None = None) -> tuple[Workload, ...]:
        """Workloads, newest first; with ``before`` only those older than the one with that id."""
        query = select(workloads).order_by(workloads.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(workloads.c.id < before)
        async with self._database.read() as connection:
            return tuple(workload_of(row) for row in await connection.execute(query))

    async def deployed(self) -> tuple[Workload, ...]:
        """All of which a deployment succeeded, newest first."""
        succeeded = select(deployments.c.workload_id).where(deployments.c.state == DeploymentState.SUCCEEDED.value)
        query = select(workloads).where(workloads.c.id.in_(succeeded)).order_by(workloads.c.id.desc())
        async with self._database.read() as connection:
            return tuple(workload_of(row) for row in await connection.execute(query))

    async def delete(self, workload_id: str) -> None:
        """Forget a workload, its deployments and volume states. Fine if it is gone. Touches no data."""
        async with self._database.write() as connection:
            await connection.execute(delete(workloads).where(workloads.c.id == workload_id))

    async def _one(self, condition: ColumnElement[bool]) -> Workload | None:
        async with self._database.read() as connection:
            row = (await connection.execute(select(workloads).where(condition))).one_or_none()
        return None if row is None else workload_of(row)

    async def _update(self, workload_id: str, **values: str) -> Workload:
        async with self._database.write() as connection:
            return await _updated(connection, workload_id, **values)


def preview_row(preview: Preview) -> dict[str, str]:
    """A preview as its table holds it."""
    return {
        "workload_id": preview.workload_id,
        "parent_id": preview.parent_id,
        "key": preview.key,
        "expires_at": preview.expires_at,
        "preview": encode(preview),
    }


async def change_spec(connection: Transaction, workload_id: str, spec: WorkloadSpec) -> Workload:
    """Give a workload another configuration, in a transaction of the caller's. Returns it as it is then.

    Raises:
        NotFound: ``workload_unknown``.
    """
    return await _updated(connection, workload_id, spec=encode(spec))


async def _updated(connection: Transaction, workload_id: str, **values: str) -> Workload:
    this = workloads.c.id == workload_id
    await connection.execute(update(workloads).where(this).values(**values, updated_at=now()))
    row = (await connection.execute(select(workloads).where(this))).one_or_none()
    if row is None:
        raise NotFound(
            "workload_unknown",
            f"There is no workload {workload_id}.",
            next_step="List the workloads to see which there are.",
        )
    return workload_of(row)


def workload_of(row: Row[tuple[object, ...]]) -> Workload:
    """The workload of a row of its table."""
    return Workload(
        id=row.id,
        spec=decode(WorkloadSpec, row.spec),
        desired=DesiredState(row.desired),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _name_taken(name: str) -> Conflict:
    return Conflict(
        "workload_exists",
        f"There is a workload named {name} already.",
        next_step="Choose another name, or apply the configuration to the existing workload.",
        details={"name": name},
    )
