"""The database: embedded SQLite, written so that a PostgreSQL address works as well.

- What :meth:`Database.write` committed is on disk (``synchronous=FULL``) before it returns.
- Writers queue for one lock instead of spinning on SQLite's, and take SQLite's write lock at their beginning
  (``BEGIN IMMEDIATE``), so that no transaction reads first and then fails to write. Readers never wait (WAL).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final

from sqlalchemy import URL, Connection, Table, event, insert, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from holdfast.domain.errors import Failed, NoSpace
from holdfast.store.migrations import migrate

_WRITES: Final = "holdfast_writes"
_PRAGMAS: Final = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000")


class Database:
    """Connections to the state.

    Args:
        url: where it is; :meth:`at` for a file.
    """

    def __init__(self, url: URL) -> None:
        self._engine = create_async_engine(url, pool_size=4, max_overflow=28)
        self._writer: AsyncEngine = self._engine.execution_options(**{_WRITES: True})
        self._writing = asyncio.Lock()
        self._file = Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
        if self._file is not None:
            event.listen(self._engine.sync_engine, "connect", _configure)
            event.listen(self._engine.sync_engine, "begin", _begin)

    @classmethod
    def at(cls, path: Path) -> Database:
        """The database in a file. Nothing is opened yet."""
        return cls(URL.create("sqlite+aiosqlite", database=str(path)))

    async def open(self) -> None:
        """Open it, make it if it is not there, and bring its schema up to date.

        Raises:
            Failed: ``schema_newer`` or ``database_failed``.
            NoSpace: ``database_no_space``.
        """
        if self._file is not None:
            await asyncio.to_thread(_make_private, self._file)
        async with self.write() as connection:
            await connection.run_sync(migrate)

    async def close(self) -> None:
        """Let go of all connections."""
        await self._engine.dispose()

    async def check(self) -> list[str]:
        """What the database's own quick check finds wrong, in its words."""
        async with self.read() as connection:
            if connection.dialect.name != "sqlite":
                return []
            found = (await connection.exec_driver_sql("PRAGMA quick_check(10)")).scalars().all()
        return [str(line) for line in found if line != "ok"]

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees one consistent state and changes nothing."""
        with _translated():
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: durable when the block has ended, undone when it raises.

        Raises:
            Failed: ``database_failed``; nothing was changed.
            NoSpace: ``database_no_space``; nothing was changed.
            IntegrityError: a constraint does not hold; stores translate it.
        """
        with _translated():
            async with self._writing, self._writer.begin() as connection:
                yield connection


async def upsert(
    connection: AsyncConnection,
    table: Table,
    key: Mapping[str, object],
    values: Mapping[str, object],
    *,
    new: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Change the row that ``key`` (column → value) names, or make it. For use inside of a write.

    Args:
        new: what else a row gets that is made.
    """
    found = await connection.execute(
        update(table).where(*(table.c[column] == value for column, value in key.items())).values(**values)
    )
    if not found.rowcount:
        await connection.execute(insert(table).values({**new, **key, **values}))


def _make_private(path: Path) -> None:
    """Make the file with mode 0600 before SQLite would make it readable for others; its side files follow it."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise Failed(
            "database_failed",
            f"The database {path} can't be opened: {error.strerror}.",
            next_step="Check that the data directory exists and belongs to the user who runs Holdfast.",
        ) from error


def _configure(connection: object, _entry: ConnectionPoolEntry) -> None:
    """Set a new connection up. ``connection`` is the driver's."""
    connection.isolation_level = None  # type: ignore[attr-defined] # transactions begin where _begin says so
    cursor = connection.cursor()  # type: ignore[attr-defined]
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _translated() -> Iterator[None]:
    """The driver's errors as Holdfast's own, but for broken constraints."""
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as error:
        reason = str(error.orig)
        if "disk is full" in reason:
            raise NoSpace(
                "database_no_space",
                "The filesystem of Holdfast's database is full; the change was not made.",
                next_step="Free some space, then try again.",
            ) from error
        raise Failed(
            "database_failed",
            f"Holdfast's database failed: {reason}. The change was not made.",
            next_step="Check the disk that holds the data directory, then try again.",
        ) from error
