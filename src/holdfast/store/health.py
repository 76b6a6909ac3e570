"""How workloads were: a row whenever one became another, and one that says until when somebody looked.

What is older than is kept goes, but for the last of each workload, which may hold still; what workloads left that are
gone goes as well. Rows of later than now (the clock was set back) would be in the way until that time has come.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, and_, delete, exists, func, or_, select

from holdfast.domain.health_history import FLAPPING_WITHIN, KEEP, Health, Held, is_flapping
from holdfast.store.database import Database, upsert
from holdfast.store.tables import health, workloads

_NOBODY: Final = ""
"""The workload of the row that says until when somebody looked."""


class HealthStore:
    """All states."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, at: int, found: Mapping[str, Health], *, anew: bool) -> frozenset[str]:
        """Keep how workloads (by id) are since ``at``. Returns those that were otherwise before.

        One that is flapping is kept as its worst; see :func:`is_flapping`.

        Args:
            anew: whether nobody looked since the last time: how they were meanwhile is unknown.
        """

        def write(connection: Connection) -> frozenset[str]:
            connection.execute(delete(health).where(health.c.at > at))
            last = _last(connection)
            looked = last.pop(_NOBODY, None)
            if anew and looked is not None and looked.at < at:
                for key, held in last.items():
                    if held.state is not Health.UNKNOWN:
                        last[key] = Held(looked.at, Health.UNKNOWN)
                        _put(connection, key, last[key])
            others = frozenset(
                key
                for key, state in found.items()
                if key not in last
                or (
                    last[key].state is not state
                    and not is_flapping(last[key].state, state, _falls(connection, key, at - FLAPPING_WITHIN))
                )
            )
            for key in others:
                _put(connection, key, Held(at, found[key]))
            _put_looked(connection, at)
            if others:
                _trim(connection, at)
            return others

        return await self._database.write(write)

    async def looked(self, at: int) -> None:
        """Somebody looked until ``at``, and looks no more."""
        await self._database.write(lambda connection: _put_looked(connection, at))

    async def read(self, workload_id: str, *, since: int, until: int) -> list[Held]:
        """How a workload was, oldest first: what was found from ``since`` through ``until``, and the last before."""
        theirs = health.c.workload_id == workload_id
        last = select(func.max(health.c.at)).where(theirs, health.c.at <= since).scalar_subquery()
        wanted = or_(and_(health.c.at > since, health.c.at <= until), health.c.at == last)
        rows = await self._database.rows(select(health).where(theirs, wanted).order_by(health.c.at))
        return [Held(row.at, Health(row.state)) for row in rows]


def _last(connection: Connection) -> dict[str, Held]:
    newest = select(health.c.workload_id, func.max(health.c.at).label("at")).group_by(health.c.workload_id).subquery()
    same = and_(health.c.workload_id == newest.c.workload_id, health.c.at == newest.c.at)
    rows = connection.execute(select(health).join(newest, same))
    return {row.workload_id: Held(row.at, Health(row.state)) for row in rows}


def _falls(connection: Connection, workload_id: str, since: int) -> int:
    fell = health.c.state.in_((str(Health.UNHEALTHY), str(Health.DOWN)))
    theirs = and_(health.c.workload_id == workload_id, health.c.at > since, fell)
    return connection.execute(select(func.count()).select_from(health).where(theirs)).scalar_one()


def _put(connection: Connection, workload_id: str, held: Held) -> None:
    upsert(connection, health, {"workload_id": workload_id, "at": held.at}, {"state": str(held.state)})


def _put_looked(connection: Connection, at: int) -> None:
    connection.execute(delete(health).where(health.c.workload_id == _NOBODY))
    _put(connection, _NOBODY, Held(at, Health.UNKNOWN))


def _trim(connection: Connection, now: int) -> None:
    later = health.alias()
    held_no_longer = exists().where(
        later.c.workload_id == health.c.workload_id, later.c.at > health.c.at, later.c.at <= now - KEEP
    )
    gone = and_(health.c.workload_id != _NOBODY, health.c.workload_id.not_in(select(workloads.c.id)))
    connection.execute(delete(health).where(health.c.at < now - KEEP, held_no_longer))
    connection.execute(delete(health).where(gone))
