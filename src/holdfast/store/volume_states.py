"""Which directory each volume was when it was last seen, so that another one in its place is noticed."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, select

from holdfast.domain.restore import Identity
from holdfast.store.codec import decode, encode
from holdfast.store.database import Database, upsert
from holdfast.store.tables import volume_states

_OF_WORKLOAD = select(volume_states).where(volume_states.c.workload_id == bindparam("workload_id"))
_DELETE_OF_WORKLOAD = delete(volume_states).where(volume_states.c.workload_id == bindparam("workload_id"))
_DELETE = _DELETE_OF_WORKLOAD.where(volume_states.c.target == bindparam("target"))


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
        return {
            row.target: VolumeState(
                workload_id=row.workload_id,
                target=row.target,
                path=row.path,
                identity=decode(Identity, row.identity),
                had_content=row.had_content,
            )
            for row in await self._database.rows(_OF_WORKLOAD, workload_id=workload_id)
        }

    async def put(self, *states: VolumeState) -> None:
        """Record volumes as they are now, all or none. Their workload must exist."""

        def write(connection: Connection) -> None:
            for state in states:
                upsert(
                    connection,
                    volume_states,
                    {"workload_id": state.workload_id, "target": state.target},
                    {"path": state.path, "identity": encode(state.identity), "had_content": state.had_content},
                )

        await self._database.write(write)

    async def delete(self, workload_id: str, target: str | None = None) -> None:
        """Forget one volume of a workload, or all of them. Fine if there is nothing to forget."""
        if target is None:
            await self._database.change(_DELETE_OF_WORKLOAD, workload_id=workload_id)
        else:
            await self._database.change(_DELETE, workload_id=workload_id, target=target)
