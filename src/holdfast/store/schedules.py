"""Where each schedule stands: what is due when, and how its last run went."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import delete, select

from holdfast.domain.schedule import ScheduleState
from holdfast.store.codec import decode, encode
from holdfast.store.database import Database, upsert
from holdfast.store.tables import schedules


class ScheduleStore:
    """The states of all schedules, by the schedule's id."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> dict[str, ScheduleState]:
        """Every state that is known."""
        async with self._database.read() as connection:
            return {row.id: decode(ScheduleState, row.state) for row in await connection.execute(select(schedules))}

    async def get(self, schedule_id: str) -> ScheduleState | None:
        """The state of one schedule."""
        async with self._database.read() as connection:
            query = select(schedules).where(schedules.c.id == schedule_id)
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else decode(ScheduleState, row.state)

    async def save(self, states: Mapping[str, ScheduleState]) -> None:
        """Record how these stand, durably and together."""
        if not states:
            return
        async with self._database.write() as connection:
            for schedule_id, state in states.items():
                await upsert(connection, schedules, {"id": schedule_id}, {"state": encode(state)})

    async def forget(self, ids: Iterable[str]) -> None:
        """Forget schedules that are no more."""
        if gone := list(ids):
            async with self._database.write() as connection:
                await connection.execute(delete(schedules).where(schedules.c.id.in_(gone)))
