"""Where each schedule stands: what is due when, and how its last run went."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, bindparam, delete, select

from holdfast.domain.schedule import ScheduleState
from holdfast.store.codec import decode, encode
from holdfast.store.database import Database, upsert
from holdfast.store.tables import schedules

_ALL = select(schedules)
_BY_ID = select(schedules).where(schedules.c.id == bindparam("id"))
_DELETE = delete(schedules).where(schedules.c.id.in_(bindparam("ids", expanding=True)))


class ScheduleStore:
    """The states of all schedules, by the schedule's id."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> dict[str, ScheduleState]:
        """Every state that is known."""
        return {row.id: decode(ScheduleState, row.state) for row in await self._database.rows(_ALL)}

    async def get(self, schedule_id: str) -> ScheduleState | None:
        """The state of one schedule."""
        row = await self._database.row(_BY_ID, id=schedule_id)
        return None if row is None else decode(ScheduleState, row.state)

    async def save(self, states: Mapping[str, ScheduleState]) -> None:
        """Record how these stand, durably and together."""

        def write(connection: Connection) -> None:
            for schedule_id, state in states.items():
                upsert(connection, schedules, {"id": schedule_id}, {"state": encode(state)})

        if states:
            await self._database.write(write)

    async def forget(self, ids: Iterable[str]) -> None:
        """Forget schedules that are no more."""
        if gone := list(ids):
            await self._database.change(_DELETE, ids=gone)
