"""The database file behind the index: opened, made anew where it is of no use, or done without.

Invariants:

- Nothing in the file is worth an error to whoever opens it: a file that is damaged, of another schema or of another
  repository is removed and made anew.
- A file is only removed while nobody else has it open (SQLite's own files beside it would be mixed up): all who have it
  open share a lock on its directory. Whoever can't have that lock alone, or can't write there, gets a database without
  a name, which is gone when it is closed.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final
from zlib import crc32

from holdfast.domain.errors import Busy, Failed, HoldfastError, NoSpace, Problem
from holdfast.engine.fs import Fs

_SCHEMA: Final = """
CREATE TABLE meta (repository TEXT NOT NULL, losses INTEGER NOT NULL);
CREATE TABLE packs (
    no INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, salvaged INTEGER NOT NULL,
    condemned INTEGER NOT NULL DEFAULT 0, verified_ns INTEGER
);
CREATE INDEX condemned_packs ON packs (no) WHERE condemned;
CREATE TABLE chunks (
    id BLOB NOT NULL, pack INTEGER NOT NULL, frame_offset INTEGER NOT NULL, frame_length INTEGER NOT NULL,
    start INTEGER NOT NULL, length INTEGER NOT NULL, PRIMARY KEY (id, pack)
) WITHOUT ROWID;
CREATE TABLE damaged (id BLOB NOT NULL, pack INTEGER NOT NULL, PRIMARY KEY (id, pack)) WITHOUT ROWID;
CREATE TABLE whole (name TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_TEMPORARY: Final = """
CREATE TEMP TABLE recent_packs (
    no INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, salvaged INTEGER NOT NULL
);
CREATE TEMP TABLE recent (
    id BLOB NOT NULL, pack INTEGER NOT NULL, frame_offset INTEGER NOT NULL, frame_length INTEGER NOT NULL,
    start INTEGER NOT NULL, length INTEGER NOT NULL, PRIMARY KEY (id, pack)
) WITHOUT ROWID;
CREATE TEMP TABLE marked (name TEXT PRIMARY KEY) WITHOUT ROWID;
"""
"""What belongs to one connection: packs that are not merged yet, and the argument of statements about many packs."""
_VERSION: Final = crc32(_SCHEMA.encode()) & 0x7FFF_FFFF or 1
_CACHE_KIB: Final = 32 << 10
_WAL_PAGES: Final = 4096
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR})
_MARK: Final = b".damaged"


class IndexFile:
    """An open database that has the index' tables.

    Attributes:
        connection: for any thread, one at a time; transactions are begun by hand.
        not_kept: why the database is one without a name; ``None`` where it is in its file.
    """

    def __init__(self, fs: Fs, path: Path, repository: str, patience: float) -> None:
        self._fs, self._path, self._repository, self._patience = fs, path, repository, patience
        self._name = os.fsencode(path.name)
        self._dirfd: int | None = None
        self.not_kept: Problem | None = None
        try:
            self._dirfd = _open_directory(fs, path.parent)
            self.connection = self._opened()
        except (OSError, sqlite3.Error, _Unusable) as error:
            self.not_kept = _not_kept(path, error)
            self._close_directory()
            self.connection = _prepared("", repository, patience)
        except BaseException:
            self._close_directory()
            raise

    def close(self) -> None:
        """Let go of the file and the lock."""
        self.connection.close()
        self._close_directory()

    def translated(self, error: sqlite3.Error) -> HoldfastError:
        """The Holdfast error for what the database says. A damaged file is marked, to be made anew when opened next."""
        code = _primary_code(error)
        details = {"path": str(self._path), "reason": str(error)}
        if code == sqlite3.SQLITE_FULL:
            return NoSpace(
                "no_space",
                f"The filesystem is full or out of quota (while writing {self._path}): {error}.",
                next_step="Free space or inodes on that filesystem, then try again.",
                details=details,
            )
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return Busy(
                "repository_index_busy",
                f"Something else has been writing to the index {self._path} all the time.",
                next_step="Try again when the other captures, verifications and prunes have ended.",
                details=details,
            )
        if code in _DAMAGED:
            self._mark_damaged()
        return Failed(
            "repository_index_unusable",
            f"The index {self._path} can't be used: {error}. It is only a cache: no data is lost.",
            next_step="Try again: a damaged index is made anew when it is opened next.",
            details=details,
        )

    def _opened(self) -> sqlite3.Connection:
        self._lock(exclusive=False)
        try:
            return self._checked()
        except (sqlite3.Error, _Unusable):
            self._lock(exclusive=True)
        try:
            connection = self._checked()  # somebody may have made it anew since
        except (sqlite3.Error, _Unusable):
            for name in (self._name + b"-wal", self._name + b"-shm", self._name, self._name + _MARK):
                self._remove(name)
            connection = self._checked()
        self._lock(exclusive=False)
        return connection

    def _lock(self, *, exclusive: bool) -> None:
        if not self._fs.try_lock(self._directory, exclusive=exclusive):
            raise _Unusable("it has to be made anew, and something else has it open")

    def _checked(self) -> sqlite3.Connection:
        try:
            self._fs.statat(self._directory, self._name + _MARK)
        except FileNotFoundError:
            return _prepared(str(self._path), self._repository, self._patience)
        raise _Unusable("it was found damaged")

    def _remove(self, name: bytes) -> None:
        try:
            self._fs.unlinkat(self._directory, name)
        except FileNotFoundError:
            return

    def _mark_damaged(self) -> None:
        if self._dirfd is None:
            return
        try:
            self._fs.write_file_durable(self._dirfd, self._name + _MARK, b"")
        except OSError:
            return  # then the next one meets the damage as well, and says the same

    @property
    def _directory(self) -> int:
        assert self._dirfd is not None
        return self._dirfd

    def _close_directory(self) -> None:
        fd, self._dirfd = self._dirfd, None
        if fd is not None:
            self._fs.close(fd)


class _Unusable(Exception):
    """Why a database is of no use."""


def _prepared(path: str, repository: str, patience: float) -> sqlite3.Connection:
    """A connection to a database that is what it should be and can be written; without a name if ``path`` is empty."""
    connection = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
    try:
        _configure(connection)
        _create_if_empty(connection, repository)
        _check(connection, repository)
        for statement in _TEMPORARY.split(";"):
            connection.execute(statement)
    except UnicodeDecodeError as error:  # what SQLite says of a damaged schema repeats its bytes, which may be no text
        connection.close()
        raise _Unusable("its schema is damaged") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    connection.execute("PRAGMA temp_store = MEMORY")


def _create_if_empty(connection: sqlite3.Connection, repository: str) -> None:
    """Beginning to write tells whether the file can be written, too."""
    connection.execute("BEGIN IMMEDIATE")
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not objects:
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute("INSERT INTO meta VALUES (?, 0)", (repository,))
        connection.execute(f"PRAGMA user_version = {_VERSION}")
    connection.execute("COMMIT")


def _check(connection: sqlite3.Connection, repository: str) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != _VERSION:
        raise _Unusable("it is of another version of Holdfast")
    if connection.execute("SELECT repository FROM meta").fetchall() != [(repository,)]:
        raise _Unusable("it is of another repository")
    connection.execute("SELECT count(name), total(size) FROM packs").fetchone()


def _open_directory(fs: Fs, path: Path) -> int:
    parent = fs.open_root(str(path.parent))
    try:
        with suppress(FileExistsError):
            fs.mkdirat(parent, os.fsencode(path.name), 0o700)
        return fs.openat(parent, os.fsencode(path.name), os.O_RDONLY | os.O_DIRECTORY)
    finally:
        fs.close(parent)


def _primary_code(error: Exception) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _not_kept(path: Path, error: Exception) -> Problem:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return Problem(
        code="repository_index_not_kept",
        message=f"The index {path} can't be kept ({reason}); a temporary one is used, and everything takes longer.",
        next_step="Check that its filesystem is writable and has room, and try again when nothing else is at work.",
        details={"path": str(path), "reason": str(error)},
    )
