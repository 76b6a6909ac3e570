"""Workloads: their configuration and what state is wanted of them."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from sqlalchemy import Connection, Row, Select, bindparam, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from holdfast.domain.deployment import DeploymentState
from holdfast.domain.errors import Conflict, NotFound
from holdfast.domain.preview import Preview
from holdfast.domain.times import now
from holdfast.domain.workload import DesiredState, Workload, WorkloadSpec
from holdfast.store.codec import decode, encode
from holdfast.store.database import Database
from holdfast.store.tables import deployments, previews, workloads

_BY_ID = select(workloads).where(workloads.c.id == bindparam("id"))
_BY_REF = (
    select(workloads)
    .where(or_(workloads.c.id == bindparam("ref"), workloads.c.name == bindparam("ref")))
    .order_by(workloads.c.id != bindparam("ref"))
    .limit(1)
)
_ALL = select(workloads).order_by(workloads.c.id.desc())
_DEPLOYED = _ALL.where(
    workloads.c.id.in_(select(deployments.c.workload_id).where(deployments.c.state == DeploymentState.SUCCEEDED.value))
)
_INSERT = insert(workloads)
_INSERT_PREVIEW = insert(previews)
_UPDATE = update(workloads).where(workloads.c.id == bindparam("this"))
_DELETE = delete(workloads).where(workloads.c.id == bindparam("id"))


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
            "configured_at": workload.configured_at,
            "configured_by": workload.configured_by,
        }

        def write(connection: Connection) -> None:
            connection.execute(_INSERT, row)
            if preview is not None:
                connection.execute(_INSERT_PREVIEW, preview_row(replace(preview, workload_id=workload.id)))

        try:
            await self._database.write(write)
        except IntegrityError as error:
            raise _name_taken(workload.name) from error

    async def update_spec(self, workload_id: str, spec: WorkloadSpec, by: str) -> Workload:
        """Give a workload another configuration, on somebody's behalf. Returns it as it is now.

        Raises:
            NotFound: ``workload_unknown``.
            Conflict: ``workload_exists``; another one has the new name.
        """
        try:
            return await self._database.write(lambda connection: change_spec(connection, workload_id, spec, by))
        except IntegrityError as error:
            raise _name_taken(spec.name) from error

    async def set_desired(self, workload_id: str, desired: DesiredState) -> Workload:
        """Record whether it should run. Returns it as it is now.

        Raises:
            NotFound: ``workload_unknown``.
        """
        return await self._database.write(lambda connection: _updated(connection, workload_id, desired=desired.value))

    async def get(self, workload_id: str) -> Workload | None:
        """The workload with this id."""
        return await self._one(_BY_ID, id=workload_id)

    async def find(self, ref: str) -> Workload | None:
        """The workload with this id or, failing that, this name."""
        return await self._one(_BY_REF, ref=ref)

    async def list(self, *, limit: int | None = None, before: str | None = None) -> tuple[Workload, ...]:
        """Workloads, newest first; with ``before`` only those older than the one with that id."""
        query = _ALL if limit is None else _ALL.limit(limit)
        if before is not None:
            query = query.where(workloads.c.id < before)
        return tuple(map(workload_of, await self._database.rows(query)))

    async def deployed(self) -> tuple[Workload, ...]:
        """All of which a deployment succeeded, newest first."""
        return tuple(map(workload_of, await self._database.rows(_DEPLOYED)))

    async def delete(self, workload_id: str) -> None:
        """Forget a workload, its deployments and volume states. Fine if it is gone. Touches no data."""
        await self._database.change(_DELETE, id=workload_id)

    async def _one(self, query: Select[tuple[object, ...]], **parameters: str) -> Workload | None:
        row = await self._database.row(query, **parameters)
        return None if row is None else workload_of(row)


def preview_row(preview: Preview) -> dict[str, str]:
    """A preview as its table holds it."""
    return {
        "workload_id": preview.workload_id,
        "parent_id": preview.parent_id,
        "key": preview.key,
        "expires_at": preview.expires_at,
        "preview": encode(preview),
    }


def change_spec(connection: Connection, workload_id: str, spec: WorkloadSpec, by: str) -> Workload:
    """Give a workload another configuration, as part of a write. Returns it as it is then.

    Raises:
        NotFound: ``workload_unknown``.
    """
    values = {"name": spec.name, "spec": encode(spec)}
    if _there(connection, workload_id).spec.revision != spec.revision:  # a secret's other value is no other declaration
        values |= {"configured_at": now(), "configured_by": by}
    return _updated(connection, workload_id, **values)


def _updated(connection: Connection, workload_id: str, **values: str) -> Workload:
    connection.execute(_UPDATE, {"this": workload_id, "updated_at": now(), **values})
    return _there(connection, workload_id)


def _there(connection: Connection, workload_id: str) -> Workload:
    row = connection.execute(_BY_ID, {"id": workload_id}).one_or_none()
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
        spec=spec_of(row.spec),
        desired=DesiredState(row.desired),
        created_at=row.created_at,
        updated_at=row.updated_at,
        configured_at=row.configured_at,
        configured_by=row.configured_by,
    )


@lru_cache(maxsize=512)
def spec_of(text: str) -> WorkloadSpec:
    """The configuration of a column. The same text gives the same record: most are read over and over."""
    return decode(WorkloadSpec, text)


def _name_taken(name: str) -> Conflict:
    return Conflict(
        "workload_exists",
        f"There is a workload named {name} already.",
        next_step="Choose another name, or apply the configuration to the existing workload.",
        details={"name": name},
    )
