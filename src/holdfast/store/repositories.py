"""Second repositories: their names and where they are. What opens them is in files of their own."""

from __future__ import annotations

from sqlalchemy import Row, bindparam, delete, insert, select
from sqlalchemy.exc import IntegrityError

from holdfast.domain.errors import Conflict
from holdfast.domain.repository import RepositoryPlace, SecondRepository
from holdfast.store.codec import decode, encode
from holdfast.store.database import Database
from holdfast.store.tables import repositories

_BY_NAME = select(repositories).where(repositories.c.name == bindparam("name"))
_ALL = select(repositories).order_by(repositories.c.name)
_INSERT = insert(repositories)
_DELETE = delete(repositories).where(repositories.c.name == bindparam("name"))


class RepositoryNames:
    """All second repositories."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, repository: SecondRepository) -> None:
        """Keep a new one, durably.

        Raises:
            Conflict: ``repository_known``: the name, or the repository itself, is there already.
        """
        row = {
            "id": repository.id,
            "name": repository.name,
            "place": encode(repository.place),
            "repository_id": repository.repository_id,
            "encrypted": repository.encrypted,
            "created_at": repository.created_at,
        }
        try:
            await self._database.change(_INSERT, **row)
        except IntegrityError as error:
            raise Conflict(
                "repository_known",
                f"The name {repository.name} is taken, or this very repository was added before under another name.",
                next_step="Look at what there is with `holdfast repository list`.",
            ) from error

    async def find(self, name: str) -> SecondRepository | None:
        """The one of this name."""
        row = await self._database.row(_BY_NAME, name=name)
        return None if row is None else _repository(row)

    async def list(self) -> tuple[SecondRepository, ...]:
        """All, by name."""
        return tuple(map(_repository, await self._database.rows(_ALL)))

    async def delete(self, name: str) -> None:
        """Forget one, durably. Fine if there is none."""
        await self._database.change(_DELETE, name=name)


def _repository(row: Row[tuple[object, ...]]) -> SecondRepository:
    return SecondRepository(
        id=row.id,
        name=row.name,
        place=decode(RepositoryPlace, row.place),
        repository_id=row.repository_id,
        encrypted=row.encrypted,
        created_at=row.created_at,
    )
