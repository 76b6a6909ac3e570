"""Which directory each volume was when it was last seen, so that another one in its place is noticed."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, select

from holdfast.domain.restore import Identity
from holdfast.store.codec import decode, encode
from holdfast.store.database import Database, upsert
from holdfast.store.tables import volume_states


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeState:
    """One volume as it was last seen.

    Attributes:
        target: which of the workload's volumes.
        path: absolute path on the host.
        had_content: whether anything was in it; once true, an empty directory is suspicious.
    """

    workload_id: str
    target: str
    path: str
    identity: Identity
    had_content: bool


class VolumeStateStore:
    """The last sight of all volumes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, workload_id: str) -> dict[str, VolumeState]:
        """A workload's volumes by target."""
        query = select(volume_states).where(volume_states.c.workload_id == workload_id)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return {
            row.target: VolumeState(
                workload_id=row.workload_id,
                target=row.target,
                path=row.path,
                identity=decode(Identity, row.identity),
                had_content=row.had_content,
            )
            for row in rows
        }

    async def put(self, *states: VolumeState) -> None:
        """Record volumes as they are now, all or none. Their workload must exist."""
        async with self._database.write() as connection:
            for state in states:
                await upsert(
                    connection,
                    volume_states,
                    {"workload_id": state.workload_id, "target": state.target},
                    {"path": state.path, "identity": encode(state.identity), "had_content": state.had_content},
                )

    async def delete(self, workload_id: str, target: str | None = None) -> None:
        """Forget one volume of a workload, or all of them. Fine if there is nothing to forget."""
        query = delete(volume_states).where(volume_states.c.workload_id == workload_id)
        if target is not None:
            query = query.where(volume_states.c.target == target)
        async with self._database.write() as connection:
            await connection.execute(query)
