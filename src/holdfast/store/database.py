"""The database: embedded SQLite, written so that a PostgreSQL address works as well.

- What :meth:`Database.write` committed is on disk (``synchronous=FULL``) before it returns.
- Writers queue for one lock instead of spinning on SQLite's, and take SQLite's write lock at their beginning
  (``BEGIN IMMEDIATE``), so that no transaction reads first and then fails to write. Readers never wait (WAL).
- A transaction is a function that runs in a thread, to its end: who is cancelled meanwhile goes on only afterwards.
  (SQLAlchemy's own asyncio extension would load its ORM, a tenth of the server's memory, and change threads for each
  statement, which costs more than a small statement does.)
- Statements are built once, with ``bindparam`` for what differs: to build one costs more than to execute it.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Executable,
    Row,
    Table,
    Update,
    bindparam,
    create_engine,
    event,
    insert,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import ConnectionPoolEntry

from holdfast.domain.errors import Failed, NoSpace
from holdfast.store.migrations import migrate

_WRITES: Final = "holdfast_writes"
_PRAGMAS: Final = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000")
_KEPT: Final = 4
_MOST: Final = 32
"""Connections that are kept open, and that there are at most. Each has a thread while it works."""

T = TypeVar("T")


class Database:
    """Connections to the state.

    Args:
        url: where it is; :meth:`at` for a file.
        engine: what makes the connections, where there is one of :func:`engine_of` already.
    """

    def __init__(self, url: URL, engine: Engine | None = None) -> None:
        self._engine = engine or engine_of(url)
        self._writer = self._engine.execution_options(**{_WRITES: True})
        self._threads = ThreadPoolExecutor(_MOST, thread_name_prefix="database")
        self._connections = asyncio.Semaphore(_MOST)
        self._writing = asyncio.Lock()
        self._file = Path(url.database) if _in_a_file(url) and url.database else None

    @classmethod
    def at(cls, path: Path) -> Database:
        """The database in a file. Nothing is opened yet."""
        return cls(URL.create("sqlite", database=str(path)))

    async def open(self) -> None:
        """Open it, make it if it is not there, and bring its schema up to date, with a copy of it from before.

        Raises:
            Failed: ``schema_newer``, ``upgrade_copy_failed``, ``upgrade_failed`` or ``database_failed``.
            NoSpace: ``database_no_space``.
        """
        if self._file is not None:
            await asyncio.to_thread(_make_private, self._file)
        await self.write(partial(migrate, file=self._file))

    async def close(self) -> None:
        """Let go of all connections, and of their threads: what forks afterwards forks alone."""
        await asyncio.to_thread(self._engine.dispose)
        await asyncio.to_thread(self._threads.shutdown)

    async def check(self) -> list[str]:
        """What the database's own quick check finds wrong, in its words."""

        def found(connection: Connection) -> list[str]:
            if connection.dialect.name != "sqlite":
                return []
            return [str(line) for line in connection.exec_driver_sql("PRAGMA quick_check(10)").scalars()]

        return [line for line in await self.read(found) if line != "ok"]

    async def read(self, work: Callable[[Connection], T]) -> T:
        """What ``work`` finds, in one consistent state. It changes nothing, and is called in a thread.

        Raises:
            Failed: ``database_failed``.
        """

        def reading() -> T:
            with self._engine.connect() as connection:
                return work(connection)

        with translated():
            async with self._connections:
                return await self._to_its_end(reading)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Do what ``work`` does, in a thread, in one transaction: durable when this returns, undone if it raises.

        Raises:
            Failed: ``database_failed``; nothing was changed.
            NoSpace: ``database_no_space``; nothing was changed.
            IntegrityError: a constraint does not hold; stores translate it.
        """

        def writing() -> T:
            with self._writer.connect() as connection:
                done = work(connection)
                connection.commit()
                return done

        with translated():
            async with self._writing, self._connections:
                return await self._to_its_end(writing)

    async def rows(self, statement: Executable, /, **parameters: object) -> Sequence[Row[Any]]:
        """The rows that a statement finds. Raises as :meth:`read`."""
        return await self.read(lambda connection: connection.execute(statement, parameters).all())

    async def row(self, statement: Executable, /, **parameters: object) -> Row[Any] | None:
        """The one row that a statement finds, or none. Raises as :meth:`read`."""
        return await self.read(lambda connection: connection.execute(statement, parameters).one_or_none())

    async def change(self, statement: Executable, /, **parameters: object) -> None:
        """Make one change. Raises as :meth:`write`."""
        await self.write(lambda connection: connection.execute(statement, parameters))

    async def _to_its_end(self, work: Callable[[], T]) -> T:
        running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        cancelled: asyncio.CancelledError | None = None
        while not running.done():
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            running.exception()
            raise cancelled
        return running.result()


def engine_of(url: URL) -> Engine:
    """What makes the connections, and keeps a few. Nothing is opened yet."""
    engine = create_engine(url, pool_size=_KEPT, max_overflow=_MOST - _KEPT)
    if _in_a_file(url):
        event.listen(engine, "connect", _configure)
        event.listen(engine, "begin", _begin)
    return engine


def _in_a_file(url: URL) -> bool:
    return url.get_backend_name() == "sqlite" and bool(url.database)


def upsert(
    connection: Connection,
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
    this = {f"this_{column}": value for column, value in key.items()}
    if not connection.execute(_update(table, tuple(key)), {**values, **this}).rowcount:
        connection.execute(insert(table), {**new, **key, **values})


@cache
def _update(table: Table, key: tuple[str, ...]) -> Update:
    return update(table).where(*(table.c[column] == bindparam(f"this_{column}") for column in key))


def upgrade_file(path: Path) -> None:
    """Bring the database in a file to the newest schema, where nobody else has it open. Blocks.

    Raises:
        Failed: ``schema_newer``, ``upgrade_failed`` or ``database_failed``; nothing of it was changed.
        NoSpace: ``database_no_space``; likewise.
    """
    engine = engine_of(URL.create("sqlite", database=str(path)))
    try:
        with translated(), engine.execution_options(**{_WRITES: True}).connect() as connection:
            migrate(connection)
            connection.commit()
    finally:
        engine.dispose()


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
    try:
        # By the driver itself: as a statement of SQLAlchemy's it would cost more than a small read does.
        connection.connection.driver_connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")  # type: ignore[union-attr]
    except sqlite3.Error as error:
        raise DBAPIError.instance("BEGIN", None, error, sqlite3.Error, dialect=connection.dialect) from error


@contextmanager
def translated() -> Iterator[None]:
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
