"""Logins of registries. Passwords only ever come here sealed."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Row, delete, insert, select

from holdfast.store.database import Database
from holdfast.store.tables import registries


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
        row = {"host": login.host, "username": login.username, "sealed": login.sealed, "set_at": login.set_at}
        async with self._database.write() as connection:
            await connection.execute(delete(registries).where(registries.c.host == login.host))
            await connection.execute(insert(registries).values(**row))

    async def find(self, host: str) -> SealedLogin | None:
        """The login of a registry."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(registries).where(registries.c.host == host))).one_or_none()
        return None if row is None else _login(row)

    async def list(self) -> tuple[SealedLogin, ...]:
        """All, by host."""
        async with self._database.read() as connection:
            return tuple(
                _login(row) for row in await connection.execute(select(registries).order_by(registries.c.host))
            )

    async def delete(self, host: str) -> None:
        """Forget a login. Fine if there is none."""
        async with self._database.write() as connection:
            await connection.execute(delete(registries).where(registries.c.host == host))


def _login(row: Row[tuple[object, ...]]) -> SealedLogin:
    return SealedLogin(host=row.host, username=row.username, sealed=row.sealed, set_at=row.set_at)
