"""What a backup of Holdfast's own state is made of, and what one has to be to be brought back. All of it blocks.

A backup is consistent: the database is copied by SQLite's own online backup, also while a server runs, and the copy is
checked. What is in flight (journals, holds, uploads) is not in it: it belongs to the volumes as they are.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Final, NamedTuple

from holdfast import __version__
from holdfast.config import Settings
from holdfast.domain.audit import EMPTY
from holdfast.domain.backup import GUESS_COST, BackupReason
from holdfast.domain.errors import Failed, NotFound
from holdfast.domain.ids import new_id
from holdfast.domain.times import now
from holdfast.engine.backup_file import BackupEntry, BackupFacts, read_backup, write_backup
from holdfast.engine.fs import TEMPORARY_PREFIX
from holdfast.engine.os_errors import translate
from holdfast.engine.passphrases import check_passphrase
from holdfast.services.state_records import require_settled
from holdfast.store.migrations import REVISIONS

DATABASE: Final = "state.db"
SETTINGS: Final = "settings.json"
"""For a person to look at: settings are the machine's own."""


class Content(NamedTuple):
    """What a database holds, by name."""

    workloads: tuple[str, ...]
    repositories: tuple[str, ...]


def _nobody(_done: int, _total: int) -> None:
    """Nobody watches."""


def create_backup(
    settings: Settings,
    passphrase: str,
    out: BinaryIO,
    *,
    reason: BackupReason = BackupReason.MANUAL,
    progress: Callable[[int, int], object] = _nobody,
    scrypt_n: int = GUESS_COST,
) -> BackupFacts:
    """Write a backup of the data directory. Also while a server runs.

    Args:
        out: a file that is for its owner only.
        progress: told how many bytes are in it, of how many; what it raises ends the writing.
        scrypt_n: what each guess at the passphrase costs; a power of two.

    Raises:
        NotFound: ``data_dir_empty``.
        Conflict: ``state_restore_unfinished``.
        InvalidInput: ``passphrase_too_short``.
        Failed: ``backup_failed``, or the file system refused.
        NoSpace: there is no room for it.
    """
    check_passphrase(passphrase)
    require_settled(settings)
    if not settings.database_file.is_file() or not settings.installation_file.is_file():
        raise NotFound(
            "data_dir_empty",
            f"There is no Holdfast in {settings.data_dir}.",
            next_step="Name the data directory with --data-dir, or HOLDFAST_DATA_DIR.",
        )
    try:
        settings.backups_dir.mkdir(mode=0o700, exist_ok=True)
        with working_directory(settings.backups_dir) as place:
            copy, told = place / DATABASE, place / SETTINGS
            schema, head = _copy_database(settings.database_file, copy)
            told.write_text(json.dumps(dataclasses.asdict(settings), default=str, indent=2), encoding="utf-8")
            facts = BackupFacts(
                id=new_id(),
                created_at=now(),
                holdfast=__version__,
                schema=schema,
                installation=settings.installation_file.read_text(encoding="ascii").strip(),
                audit_head=head,
                reason=reason,
                scrypt_n=scrypt_n,
            )
            files = {DATABASE: copy, SETTINGS: told, "installation": settings.installation_file}
            if settings.admin_token_file.is_file():
                files["admin-token"] = settings.admin_token_file
            if settings.keys_dir.is_dir():
                files |= {
                    f"keys/{key.name}": key
                    for key in sorted(settings.keys_dir.iterdir())
                    if key.is_file() and not key.name.startswith(".")
                }
            total = sum(path.stat().st_size for path in files.values())
            write_backup(out, facts, files, passphrase, _sum(progress, total))
    except OSError as error:
        raise translate(error, f"making a backup of {settings.data_dir}") from error
    return facts


def verify_backup(
    file: Path, passphrase: str, progress: Callable[[int, int], object] = _nobody
) -> tuple[BackupFacts, tuple[BackupEntry, ...]]:
    """Read a backup to its end and check all of it.

    Args:
        progress: told how many bytes of its content were read, of as many as there seem to be.

    Raises:
        InvalidInput, Refused, Damaged: see :func:`holdfast.engine.backup_file.read_backup`.
        Failed: the file system refused.
    """
    try:
        with file.open("rb") as opened:
            return read_backup(opened, passphrase, done=_sum(progress, file.stat().st_size))
    except OSError as error:
        raise translate(error, f"reading {file}") from error


def look_into(database: Path, schema: str) -> Content:
    """Check the database of a backup.

    Args:
        schema: that it has, as the backup says.

    Raises:
        Failed: ``schema_newer``, ``backup_failed``.
    """
    if schema not in REVISIONS:
        raise Failed(
            "schema_newer",
            f"The database was written by a newer version of Holdfast (schema {schema}, this one knows "
            f"{REVISIONS[-1]}).",
            next_step="Nothing was changed. Update Holdfast, then try again.",
            details={"found": schema, "known": REVISIONS[-1]},
        )
    try:
        with closing(sqlite3.connect(database)) as connection:
            _require_whole(connection)
            (found,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            if found != schema:
                raise backup_failed(f"its database has the schema {found}, and not {schema}, as it says")
            names = [
                tuple(str(name) for (name,) in connection.execute(query))
                for query in ("SELECT name FROM workloads ORDER BY name", "SELECT name FROM repositories ORDER BY name")
            ]
    except sqlite3.Error as error:
        raise backup_failed(f"the database in the backup can't be used: {error}") from error
    return Content(*names)


class working_directory(TemporaryDirectory[str]):  # noqa: N801 - it reads as what it does
    """A directory for a while, of a name that the next start of a server removes if nobody else does."""

    def __init__(self, parent: Path) -> None:
        super().__init__(prefix=os.fsdecode(TEMPORARY_PREFIX), dir=parent)

    def __enter__(self) -> Path:  # type: ignore[override] # a path, not its text
        return Path(super().__enter__())


def backup_failed(why: str) -> Failed:
    """There is none, or none that can be used."""
    return Failed(
        "backup_failed",
        f"There is no usable backup: {why}.",
        next_step="Nothing was changed. Check the disk, and holdfast doctor; use another backup if this one was read.",
    )


def _sum(progress: Callable[[int, int], object], total: int) -> Callable[[int], None]:
    done = 0

    def add(count: int) -> None:
        nonlocal done
        done += count
        progress(done, max(done, total))

    return add


def _copy_database(source: Path, target: Path) -> tuple[str, str]:
    """A consistent copy of the database. Returns its schema, and where its audit log ends."""
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(source)) as live, closing(sqlite3.connect(target)) as copy:
            live.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
            _require_whole(copy)
            (schema,) = copy.execute("SELECT version_num FROM alembic_version").fetchone()
            head = copy.execute("SELECT number, hash FROM audit_head").fetchone()
    except sqlite3.Error as error:
        raise backup_failed(f"the database {source} can't be copied: {error}") from error
    return str(schema), str(EMPTY) if head is None else f"{head[0]}:{head[1]}"


def _require_whole(connection: sqlite3.Connection) -> None:
    found = [str(line) for (line,) in connection.execute("PRAGMA integrity_check(5)")]
    if found != ["ok"]:
        raise backup_failed(f"the database is damaged: {'; '.join(found)}")
