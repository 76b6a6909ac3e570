"""What was free on filesystems, each time that it was noted, for a month."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, bindparam, delete, select

from holdfast.domain.disk import KEEP_SIZES, FreeSpace
from holdfast.store.database import Database, upsert
from holdfast.store.tables import free_space

_ALL = select(free_space).order_by(free_space.c.at)
_DELETE_BEFORE = delete(free_space).where(free_space.c.at < bindparam("until"))


class FreeSpaceStore:
    """All notes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, notes: Sequence[FreeSpace]) -> None:
        """Keep notes of one time, and let go of those whose time is over."""

        def write(connection: Connection) -> None:
            for note in notes:
                key = {"mount_point": note.mount_point, "at": note.at}
                upsert(connection, free_space, key, {"free_bytes": note.free_bytes})
            connection.execute(_DELETE_BEFORE, {"until": notes[-1].at - KEEP_SIZES})

        if notes:
            await self._database.write(write)

    async def by_filesystem(self) -> Mapping[str, Sequence[FreeSpace]]:
        """All of them, oldest first, by the mount point."""
        found: dict[str, list[FreeSpace]] = defaultdict(list)
        for row in await self._database.rows(_ALL):
            found[row.mount_point].append(FreeSpace(**row._mapping))
        return found
