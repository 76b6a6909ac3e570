"""Copies of the database from before it was upgraded, beside it: what to go back to with the version of then.

A copy is on disk, whole and checked, before the upgrade changes anything. It is named by its schema, and the newest few
stay.
"""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from holdfast.domain.errors import Failed

KEPT: Final = 3
"""How many stay: that of the upgrade under way, and of the others those of the newest schemas."""


def copy_of(database: Path, revision: str) -> Path:
    """Where the copy of a schema is, if there is one: ``state.schema-0013.db`` beside ``state.db``."""
    return database.with_name(f"{database.stem}.schema-{revision}{database.suffix}")


def newest_copy(database: Path, known: tuple[str, ...]) -> Path | None:
    """The copy of the newest schema among those that are known."""
    return next((copy for name in reversed(known) if (copy := copy_of(database, name)).is_file()), None)


def keep_copy(database: Path, revision: str) -> Path:
    """Copy the database as it is, durably, in place of an earlier copy of the same schema.

    For whoever holds SQLite's write lock and has written nothing yet: so it is what the upgrade begins with.

    Raises:
        Failed: ``upgrade_copy_failed``; an earlier copy is still there.
    """
    copy = copy_of(database, revision)
    unfinished = copy.with_name(f"{copy.name}.part")
    try:
        unfinished.unlink(missing_ok=True)
        fd = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            _copy(database, unfinished)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(unfinished, copy)
        _flush(copy.parent)
        _let_go(database, copy)
    except (OSError, sqlite3.Error) as error:
        unfinished.unlink(missing_ok=True)
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Failed(
            "upgrade_copy_failed",
            f"The database has to be upgraded from schema {revision}, and can't be copied to {copy} before: {reason}. "
            "Nothing was changed.",
            next_step="Give its filesystem room for a second copy of the database, check its disk, and start again.",
        ) from error
    return copy


def _copy(database: Path, target: Path) -> None:
    """By SQLite's own online backup, as one file that needs no other beside it."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
        wrong = [str(line) for (line,) in copy.execute("PRAGMA integrity_check(3)") if line != "ok"]
        if wrong:
            raise sqlite3.DatabaseError(f"it is damaged: {'; '.join(wrong)}")


def _let_go(database: Path, made: Path) -> None:
    """Remove all but the newest, without fail the one just made."""
    pattern = re.compile(rf"{re.escape(database.stem)}\.schema-[0-9]{{4}}{re.escape(database.suffix)}")
    others = sorted(path for path in database.parent.iterdir() if pattern.fullmatch(path.name) and path != made)
    for old in others[: max(0, len(others) - (KEPT - 1))]:
        old.unlink()


def _flush(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
