"""Sealed values of secrets. Only ever sealed ones come here.

Invariants:

- A value and the configuration that names it are stored together, or neither.
- A value goes when it is not the present one of its name and no deployment names it: every deployment that can be
  returned to finds its values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, and_, bindparam, delete, exists, insert, select, update

from holdfast.domain.workload import Workload, WorkloadSpec
from holdfast.store.database import Database
from holdfast.store.tables import deployments, secrets
from holdfast.store.workloads import change_spec

_OF_WORKLOAD = select(secrets).where(secrets.c.workload_id == bindparam("workload_id")).order_by(secrets.c.id)
_NAMED = and_(secrets.c.workload_id == bindparam("of"), secrets.c.name.in_(bindparam("names", expanding=True)))
_NAMED_BY_A_DEPLOYMENT = exists().where(
    deployments.c.workload_id == secrets.c.workload_id, deployments.c.spec.contains(secrets.c.id)
)
_INSERT = insert(secrets)
_REMOVE = update(secrets).where(_NAMED).values(removed=True)
_DELETE_UNUSED = delete(secrets).where(
    _NAMED, secrets.c.id.not_in(bindparam("present", expanding=True)), ~_NAMED_BY_A_DEPLOYMENT
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedSecret:
    """One value of a secret.

    Attributes:
        id: the version that configurations name.
        removed: a person removed it; only deployments of before still name it.
    """

    id: str
    workload_id: str
    name: str
    sealed: bytes
    set_at: str
    removed: bool = False


class SecretStore:
    """The sealed values of all workloads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, workload_id: str) -> tuple[SealedSecret, ...]:
        """All values of a workload's secrets, oldest first."""
        return tuple(
            SealedSecret(
                id=row.id,
                workload_id=row.workload_id,
                name=row.name,
                sealed=row.sealed,
                set_at=row.set_at,
                removed=row.removed,
            )
            for row in await self._database.rows(_OF_WORKLOAD, workload_id=workload_id)
        )

    async def set(self, workload_id: str, spec: WorkloadSpec, values: Sequence[SealedSecret], by: str) -> Workload:
        """Keep new values and the configuration that names them. Returns the workload as it is now.

        Args:
            by: on whose behalf.

        Raises:
            NotFound: ``workload_unknown``.
        """
        return await self._change(workload_id, spec, values, by, removed=None)

    async def remove(self, workload_id: str, spec: WorkloadSpec, name: str, by: str) -> Workload:
        """Keep a configuration that names a secret no more; its values go, or are marked. Raises as :meth:`set`."""
        return await self._change(workload_id, spec, (), by, removed=name)

    async def _change(
        self, workload_id: str, spec: WorkloadSpec, values: Sequence[SealedSecret], by: str, *, removed: str | None
    ) -> Workload:
        names = [value.name for value in values] if removed is None else [removed]
        present = [secret.version for secret in spec.secrets]

        def write(connection: Connection) -> Workload:
            workload = change_spec(connection, workload_id, spec, by)
            for value in values:
                connection.execute(_INSERT, asdict(value))
            if removed is not None:
                connection.execute(_REMOVE, {"of": workload_id, "names": names})
            connection.execute(_DELETE_UNUSED, {"of": workload_id, "names": names, "present": present})
            return workload

        return await self._database.write(write)
