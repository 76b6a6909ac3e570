"""Logins of registries. Passwords only ever come here sealed."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Row, bindparam, delete, select

from holdfast.store.database import Database, upsert
from holdfast.store.tables import registries

_OF_HOST = select(registries).where(registries.c.host == bindparam("host"))
_ALL = select(registries).order_by(registries.c.host)
_DELETE = delete(registries).where(registries.c.host == bindparam("host"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedLogin:
    """A login with its password sealed."""

    host: str
    username: str
    sealed: bytes
    set_at: str


class RegistryStore:
    """All logins, one a registry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, login: SealedLogin) -> None:
        """Keep a login, in place of the one that there was."""
        values = {"username": login.username, "sealed": login.sealed, "set_at": login.set_at}
        await self._database.write(lambda connection: upsert(connection, registries, {"host": login.host}, values))

    async def find(self, host: str) -> SealedLogin | None:
        """The login of a registry."""
        row = await self._database.row(_OF_HOST, host=host)
        return None if row is None else _login(row)

    async def list(self) -> tuple[SealedLogin, ...]:
        """All, by host."""
        return tuple(map(_login, await self._database.rows(_ALL)))

    async def delete(self, host: str) -> None:
        """Forget a login. Fine if there is none."""
        await self._database.change(_DELETE, host=host)


def _login(row: Row[tuple[object, ...]]) -> SealedLogin:
    return SealedLogin(host=row.host, username=row.username, sealed=row.sealed, set_at=row.set_at)
