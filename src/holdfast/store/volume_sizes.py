"""How large volumes were, each time that they were looked at, for a month."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, delete, func, insert, select

from holdfast.domain.disk import KEEP_SIZES, VolumeSize
from holdfast.store.database import Database
from holdfast.store.tables import volume_sizes


class VolumeSizeStore:
    """All sizes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, size: VolumeSize) -> None:
        """Keep a size, and let go of those whose time is over."""
        facts = {"workload_id": size.workload_id, "target": size.target, "at": size.at, "bytes": size.bytes}
        same = [volume_sizes.c[name] == facts[name] for name in ("workload_id", "target", "at")]
        async with self._database.write() as connection:
            await connection.execute(delete(volume_sizes).where(*same))
            await connection.execute(insert(volume_sizes).values(**facts))
            await connection.execute(delete(volume_sizes).where(volume_sizes.c.at < size.at - KEEP_SIZES))

    async def newest(self) -> dict[tuple[str, str], VolumeSize]:
        """The last size of each volume, by its workload's id and its target."""
        key = (volume_sizes.c.workload_id, volume_sizes.c.target)
        last = select(*key, func.max(volume_sizes.c.at).label("at")).group_by(*key).subquery()
        those = and_(*(volume_sizes.c[name] == last.c[name] for name in ("workload_id", "target", "at")))
        async with self._database.read() as connection:
            rows = await connection.execute(select(volume_sizes).join(last, those))
            return {(row.workload_id, row.target): VolumeSize(**row._mapping) for row in rows}

    async def of(self, workload_id: str, *, until: int) -> Sequence[VolumeSize]:
        """All sizes of a workload's volumes up to a time, oldest first."""
        asked = (volume_sizes.c.workload_id == workload_id, volume_sizes.c.at <= until)
        query = select(volume_sizes).where(*asked).order_by(volume_sizes.c.at)
        async with self._database.read() as connection:
            return [VolumeSize(**row._mapping) for row in await connection.execute(query)]
