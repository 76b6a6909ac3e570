"""How large volumes were, each time that they were looked at, for a month."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, and_, bindparam, delete, func, select

from holdfast.domain.disk import KEEP_SIZES, VolumeSize
from holdfast.store.database import Database, upsert
from holdfast.store.tables import volume_sizes

_KEY = (volume_sizes.c.workload_id, volume_sizes.c.target)
_LAST = select(*_KEY, func.max(volume_sizes.c.at).label("at")).group_by(*_KEY).subquery()
_NEWEST = select(volume_sizes).join(
    _LAST, and_(*(volume_sizes.c[name] == _LAST.c[name] for name in ("workload_id", "target", "at")))
)
_OF_WORKLOAD = (
    select(volume_sizes)
    .where(volume_sizes.c.workload_id == bindparam("workload_id"), volume_sizes.c.at <= bindparam("until"))
    .order_by(volume_sizes.c.at)
)
_DELETE_BEFORE = delete(volume_sizes).where(volume_sizes.c.at < bindparam("at"))


class VolumeSizeStore:
    """All sizes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, size: VolumeSize) -> None:
        """Keep a size, and let go of those whose time is over."""
        key = {"workload_id": size.workload_id, "target": size.target, "at": size.at}

        def write(connection: Connection) -> None:
            upsert(connection, volume_sizes, key, {"bytes": size.bytes})
            connection.execute(_DELETE_BEFORE, {"at": size.at - KEEP_SIZES})

        await self._database.write(write)

    async def newest(self) -> dict[tuple[str, str], VolumeSize]:
        """The last size of each volume, by its workload's id and its target."""
        rows = await self._database.rows(_NEWEST)
        return {(row.workload_id, row.target): VolumeSize(**row._mapping) for row in rows}

    async def of(self, workload_id: str, *, until: int) -> Sequence[VolumeSize]:
        """All sizes of a workload's volumes up to a time, oldest first."""
        rows = await self._database.rows(_OF_WORKLOAD, workload_id=workload_id, until=until)
        return [VolumeSize(**row._mapping) for row in rows]
