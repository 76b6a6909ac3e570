"""Room for what is too much for memory and is needed for the length of one job only."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from types import TracebackType
from typing import Any, Final, Self

from holdfast.domain.errors import Failed, NoSpace

PAGE: Final = 4096
"""Rows that are read or written at once."""


class Scratch:
    """A database without a name: on disk as far as it is large, and gone when it is closed, or its process is.

    A context manager, for one thread.

    Args:
        schema: statements that make its tables.

    Raises (every method):
        NoSpace: ``no_space``.
        Failed: ``temporary_list_failed``.
    """

    def __init__(self, schema: str) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        with _told():
            self._database.executescript(
                "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -32768;" + schema
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._database.close()

    def rows(self, statement: str, arguments: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """What a query gives."""
        with _told():
            return self._database.execute(statement, arguments).fetchall()

    def insert(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Run a statement for each of ``rows``, which may be drawn from other queries."""
        rows = iter(rows)
        while some := list(islice(rows, PAGE)):
            with _told():
                self._database.execute("BEGIN")
                self._database.executemany(statement, some)
                self._database.execute("COMMIT")

    def ids(self, table: str, condition: str = "true") -> Iterator[bytes]:
        """The column ``id`` of a table, ascending."""
        after = b""
        while found := self.rows(
            f"SELECT id FROM {table} WHERE {condition} AND id > ? ORDER BY id LIMIT {PAGE}",  # noqa: S608 - constants
            (after,),
        ):
            for (after,) in found:
                yield after


class ChunkSet:
    """A set of ids in a scratch database. A context manager."""

    def __init__(self) -> None:
        self._scratch = Scratch("CREATE TABLE members (id BLOB PRIMARY KEY) WITHOUT ROWID;")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._scratch.__exit__(kind, error, traceback)

    def __contains__(self, chunk_id: object, /) -> bool:
        return bool(self._scratch.rows("SELECT 1 FROM members WHERE id = ?", (chunk_id,)))

    def add(self, chunk_id: bytes, /) -> None:
        """Add an id. Fine if it is there."""
        self._scratch.insert("INSERT OR IGNORE INTO members VALUES (?)", [(chunk_id,)])


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
            raise NoSpace(
                "no_space",
                "There is no room for a temporary list of chunks.",
                next_step="Free space where temporary files are kept (/var/tmp), then try again.",
            ) from error
        raise Failed(
            "temporary_list_failed",
            f"A temporary list of chunks can't be used: {error}.",
            next_step="Check the filesystem of /var/tmp, then try again.",
        ) from error
