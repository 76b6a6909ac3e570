"""Workloads with what is on record of their deployments, as far as it tells how they stand: many in one read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Executable, ScalarSelect, bindparam, or_, select

from holdfast.domain.deployment import Deployment, DeploymentState, DeployReason
from holdfast.domain.workload import Workload
from holdfast.store.database import Database
from holdfast.store.deployments import deployment_of
from holdfast.store.tables import deployments, workloads
from holdfast.store.workloads import workload_of


def _newest(*conditions: ColumnElement[bool]) -> ScalarSelect[str]:
    own = deployments.c.workload_id == workloads.c.id
    newest_first = select(deployments.c.id).where(own, *conditions).order_by(deployments.c.id.desc())
    return newest_first.limit(1).correlate(workloads).scalar_subquery()


_SUCCEEDED = deployments.c.state == DeploymentState.SUCCEEDED.value
_RECORDS = select(
    workloads,
    _newest().label("newest_id"),
    _newest(_SUCCEEDED).label("deployed_id"),
    _newest(_SUCCEEDED, deployments.c.reason.not_in(bindparam("repeating", expanding=True))).label("wished_id"),
)
_ALL = _RECORDS.order_by(workloads.c.id.desc()).limit(bindparam("limit"))
_BEFORE = _ALL.where(workloads.c.id < bindparam("before"))
_BY_REF = (
    _RECORDS.where(or_(workloads.c.id == bindparam("ref"), workloads.c.name == bindparam("ref")))
    .order_by(workloads.c.id != bindparam("ref"))
    .limit(1)
)
_DEPLOYMENTS = select(deployments).where(deployments.c.id.in_(bindparam("ids", expanding=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadRecord:
    """A workload and its deployments, as far as they tell how it stands.

    Attributes:
        newest: the newest attempt, successful or not.
        deployed: the newest that succeeded.
        wished: the newest that succeeded and that only repeated no other.
    """

    workload: Workload
    newest: Deployment | None
    deployed: Deployment | None
    wished: Deployment | None


class WorkloadRecordStore:
    """All workloads.

    Args:
        repeating: deployments for these reasons repeat a version that somebody had deployed for another.
    """

    def __init__(self, database: Database, repeating: Sequence[DeployReason]) -> None:
        self._database = database
        self._repeating = [reason.value for reason in repeating]

    async def find(self, ref: str) -> WorkloadRecord | None:
        """The workload with this id or, failing that, this name."""
        found = await self._read(_BY_REF, ref=ref)
        return found[0] if found else None

    async def list(self, *, limit: int, before: str | None = None) -> tuple[WorkloadRecord, ...]:
        """Workloads, newest first; with ``before`` only those older than the one with that id."""
        if before is None:
            return await self._read(_ALL, limit=limit)
        return await self._read(_BEFORE, limit=limit, before=before)

    async def _read(self, statement: Executable, **parameters: object) -> tuple[WorkloadRecord, ...]:
        def work(connection: Connection) -> tuple[WorkloadRecord, ...]:
            rows = connection.execute(statement, {"repeating": self._repeating, **parameters}).all()
            ids = {each for row in rows for each in (row.newest_id, row.deployed_id, row.wished_id) if each is not None}
            theirs: Mapping[str | None, Deployment] = {
                row.id: deployment_of(row) for row in connection.execute(_DEPLOYMENTS, {"ids": sorted(ids)})
            }
            return tuple(
                WorkloadRecord(
                    workload=workload_of(row),
                    newest=theirs.get(row.newest_id),
                    deployed=theirs.get(row.deployed_id),
                    wished=theirs.get(row.wished_id),
                )
                for row in rows
            )

        return await self._database.read(work)
