"""Which workloads are previews. They are put on record with their workloads, and go with them."""

from __future__ import annotations

from sqlalchemy import Select, bindparam, func, select, update

from holdfast.domain.preview import Preview
from holdfast.domain.workload import Workload
from holdfast.store.codec import decode
from holdfast.store.database import Database
from holdfast.store.tables import previews, workloads
from holdfast.store.workloads import preview_row, workload_of

_OF_WORKLOAD = select(previews.c.preview).where(previews.c.workload_id == bindparam("workload_id"))
_OF_PARENT = select(previews.c.preview).where(
    previews.c.parent_id == bindparam("parent_id"), previews.c.key == bindparam("key")
)
_ALL = (
    select(previews.c.preview, workloads)
    .join(workloads, workloads.c.id == previews.c.workload_id)
    .order_by(workloads.c.id.desc())
)
_EXPIRED = select(previews.c.preview).where(previews.c.expires_at <= bindparam("at")).order_by(previews.c.expires_at)
_NEXT_EXPIRY = select(func.min(previews.c.expires_at).label("at"))
_UPDATE = update(previews).where(previews.c.workload_id == bindparam("this"))


class PreviewStore:
    """All previews."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, workload_id: str) -> Preview | None:
        """What a workload is a preview of; ``None`` if it is none."""
        return await self._one(_OF_WORKLOAD, workload_id=workload_id)

    async def find(self, parent_id: str, key: str) -> Preview | None:
        """The one of a parent for a key."""
        return await self._one(_OF_PARENT, parent_id=parent_id, key=key)

    async def list(self) -> tuple[tuple[Preview, Workload], ...]:
        """All, with their workloads, newest first."""
        return tuple((decode(Preview, row.preview), workload_of(row)) for row in await self._database.rows(_ALL))

    async def renew(self, preview: Preview) -> None:
        """Keep what is on record of one as it is now. Fine if it is gone."""
        await self._database.change(_UPDATE, this=preview.workload_id, **preview_row(preview))

    async def expired(self, at: str) -> tuple[Preview, ...]:
        """Those that had to be gone by then, the longest overdue first."""
        return tuple(decode(Preview, row.preview) for row in await self._database.rows(_EXPIRED, at=at))

    async def next_expiry(self) -> str | None:
        """When the first one expires; ``None`` if there is none."""
        row = await self._database.row(_NEXT_EXPIRY)
        return None if row is None else row.at

    async def _one(self, query: Select[tuple[str]], **parameters: str) -> Preview | None:
        row = await self._database.row(query, **parameters)
        return None if row is None else decode(Preview, row.preview)
