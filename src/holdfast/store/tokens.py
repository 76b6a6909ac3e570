"""Bearer tokens, as hashes: who reads the database can't use them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Row, bindparam, func, insert, select

from holdfast.domain.accounts import Role
from holdfast.store.database import Database
from holdfast.store.tables import tokens

_BY_HASH = select(tokens).where(tokens.c.hash == bindparam("hash"))
_COUNT = select(func.count().label("all")).select_from(tokens)
_INSERT = insert(tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """One token. ``hash`` is the hexadecimal SHA-256 of its text."""

    id: str
    hash: str
    name: str
    role: Role
    created_at: str


class TokenStore:
    """All tokens."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, record: TokenRecord) -> None:
        """Keep a new token, durably."""
        row = {
            "id": record.id,
            "hash": record.hash,
            "name": record.name,
            "role": record.role.value,
            "created_at": record.created_at,
        }
        await self._database.change(_INSERT, **row)

    async def find(self, token_hash: str) -> TokenRecord | None:
        """The token with this hash."""
        row = await self._database.row(_BY_HASH, hash=token_hash)
        return None if row is None else _record(row)

    async def count(self) -> int:
        """How many tokens there are."""
        return await self._database.read(lambda connection: connection.execute(_COUNT).scalar_one())


def _record(row: Row[tuple[object, ...]]) -> TokenRecord:
    return TokenRecord(id=row.id, hash=row.hash, name=row.name, role=Role(row.role), created_at=row.created_at)
