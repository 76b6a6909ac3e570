"""Which workloads are previews. They are put on record with their workloads, and go with them."""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, select, update

from holdfast.domain.preview import Preview
from holdfast.domain.workload import Workload
from holdfast.store.codec import decode
from holdfast.store.database import Database
from holdfast.store.tables import previews, workloads
from holdfast.store.workloads import preview_row, workload_of


class PreviewStore:
    """All previews."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, workload_id: str) -> Preview | None:
        """What a workload is a preview of; ``None`` if it is none."""
        return await self._one(previews.c.workload_id == workload_id)

    async def find(self, parent_id: str, key: str) -> Preview | None:
        """The one of a parent for a key."""
        return await self._one((previews.c.parent_id == parent_id) & (previews.c.key == key))

    async def list(self) -> tuple[tuple[Preview, Workload], ...]:
        """All, with their workloads, newest first."""
        query = (
            select(previews.c.preview, workloads)
            .join(workloads, workloads.c.id == previews.c.workload_id)
            .order_by(workloads.c.id.desc())
        )
        async with self._database.read() as connection:
            return tuple((decode(Preview, row.preview), workload_of(row)) for row in await connection.execute(query))

    async def renew(self, preview: Preview) -> None:
        """Keep what is on record of one as it is now. Fine if it is gone."""
        this = previews.c.workload_id == preview.workload_id
        async with self._database.write() as connection:
            await connection.execute(update(previews).where(this).values(**preview_row(preview)))

    async def expired(self, at: str) -> tuple[Preview, ...]:
        """Those that had to be gone by then, the longest overdue first."""
        query = select(previews.c.preview).where(previews.c.expires_at <= at).order_by(previews.c.expires_at)
        async with self._database.read() as connection:
            return tuple(decode(Preview, row.preview) for row in await connection.execute(query))

    async def next_expiry(self) -> str | None:
        """When the first one expires; ``None`` if there is none."""
        async with self._database.read() as connection:
            found: str | None = (await connection.execute(select(func.min(previews.c.expires_at)))).scalar()
        return found

    async def _one(self, condition: ColumnElement[bool]) -> Preview | None:
        async with self._database.read() as connection:
            row = (await connection.execute(select(previews.c.preview).where(condition))).one_or_none()
        return None if row is None else decode(Preview, row.preview)
