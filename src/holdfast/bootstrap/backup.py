"""Backups of Holdfast's own state, made from the data directory and brought back into an empty one.

A backup is consistent: the database is copied by SQLite's own online backup, also while a server runs, and the copy is
checked. What is in flight (journals, holds, uploads) is not in it: it belongs to the volumes as they are.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Final, NamedTuple

from holdfast import __version__
from holdfast.bootstrap.data_directory import LOCK_WAIT, make_directories
from holdfast.config import Settings
from holdfast.domain.audit import EMPTY
from holdfast.domain.errors import Conflict, Failed, NotFound
from holdfast.domain.ids import new_id
from holdfast.domain.times import now
from holdfast.engine.backup_file import BackupEntry, BackupFacts, read_backup, write_backup
from holdfast.engine.data_lock import DataLock
from holdfast.engine.fs import TEMPORARY_PREFIX, Fs
from holdfast.engine.os_errors import translate
from holdfast.engine.passphrases import SCRYPT_N
from holdfast.store.migrations import REVISIONS

_DATABASE: Final = "state.db"


class Recovered(NamedTuple):
    """What an empty data directory was filled with.

    Attributes:
        workloads: their names.
        repositories: the names of the second repositories.
    """

    facts: BackupFacts
    workloads: tuple[str, ...]
    repositories: tuple[str, ...]


def create_backup(settings: Settings, passphrase: str, out: BinaryIO, *, scrypt_n: int = SCRYPT_N) -> BackupFacts:
    """Write a backup of the data directory. Also while a server runs.

    Args:
        out: a file that is for its owner only.
        scrypt_n: what each guess at the passphrase costs; a power of two.

    Raises:
        NotFound: ``data_dir_empty``.
        InvalidInput: ``passphrase_too_short``.
        Failed: ``backup_failed``, or the file system refused.
    """
    if not settings.database_file.is_file() or not settings.installation_file.is_file():
        raise NotFound(
            "data_dir_empty",
            f"There is no Holdfast in {settings.data_dir}.",
            next_step="Name the data directory with --data-dir, or HOLDFAST_DATA_DIR.",
        )
    try:
        with TemporaryDirectory(prefix=os.fsdecode(TEMPORARY_PREFIX), dir=settings.data_dir) as place:
            copy, told = Path(place, _DATABASE), Path(place, "settings.json")
            schema, head = _copy_database(settings.database_file, copy)
            told.write_text(json.dumps(dataclasses.asdict(settings), default=str, indent=2), encoding="utf-8")
            facts = BackupFacts(
                id=new_id(),
                created_at=now(),
                holdfast=__version__,
                schema=schema,
                installation=settings.installation_file.read_text(encoding="ascii").strip(),
                audit_head=head,
                scrypt_n=scrypt_n,
            )
            files = {_DATABASE: copy, "settings.json": told, "installation": settings.installation_file}
            if settings.admin_token_file.is_file():
                files["admin-token"] = settings.admin_token_file
            if settings.keys_dir.is_dir():
                files |= {
                    f"keys/{key.name}": key
                    for key in sorted(settings.keys_dir.iterdir())
                    if key.is_file() and not key.name.startswith(".")
                }
            write_backup(out, facts, files, passphrase)
    except OSError as error:
        raise translate(error, f"making a backup of {settings.data_dir}") from error
    return facts


def verify_backup(file: Path, passphrase: str) -> tuple[BackupFacts, tuple[BackupEntry, ...]]:
    """Read a backup to its end and check all of it.

    Raises:
        InvalidInput, Refused, Damaged: see :func:`holdfast.engine.backup_file.read_backup`.
    """
    with file.open("rb") as opened:
        return read_backup(opened, passphrase)


def recover_from_backup(settings: Settings, file: Path, passphrase: str) -> Recovered:
    """Fill an empty data directory from a backup: all of it is checked before any of it is in its place.

    Raises:
        Conflict: ``data_dir_not_empty``.
        Busy: ``data_dir_in_use``.
        Failed: ``schema_newer``, ``backup_failed``, or the file system refused.
        InvalidInput, Refused, Damaged: the backup is none; see :func:`holdfast.engine.backup_file.read_backup`.
    """
    _require_empty(settings)
    fs = Fs()
    make_directories(settings, fs)
    try:
        with (
            DataLock.acquire(settings.data_dir, LOCK_WAIT),
            TemporaryDirectory(prefix=os.fsdecode(TEMPORARY_PREFIX), dir=settings.data_dir) as place,
        ):
            staged = Path(place)
            with file.open("rb") as opened:
                facts, entries = read_backup(opened, passphrase, lambda name, pieces: _stage(staged, name, pieces))
            workloads, repositories = _look(staged / _DATABASE, facts)
            _put_in_place(settings, fs, staged, entries)
    except OSError as error:
        raise translate(error, f"recovering into {settings.data_dir}") from error
    return Recovered(facts, workloads, repositories)


def _require_empty(settings: Settings) -> None:
    """Volumes may be there: a disk with them could have survived."""
    if not settings.data_dir.is_dir():
        return
    known = {settings.data_dir / "lost+found", settings.lock_file, settings.volumes_base}
    for path in sorted(settings.data_dir.iterdir()):
        if path not in known and not (path.is_dir() and not any(path.iterdir())):
            raise Conflict(
                "data_dir_not_empty",
                f"{settings.data_dir} is not empty: {path.name} is there.",
                next_step="Nothing was changed. Name another data directory, or move this one away.",
            )


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
        raise _failed(f"the database {source} can't be copied: {error}") from error
    return str(schema), str(EMPTY) if head is None else f"{head[0]}:{head[1]}"


def _look(database: Path, facts: BackupFacts) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Check the database of a backup. Returns the names of workloads and of second repositories."""
    if facts.schema not in REVISIONS:
        raise Failed(
            "schema_newer",
            f"The database was written by a newer version of Holdfast (schema {facts.schema}, this one knows "
            f"{REVISIONS[-1]}).",
            next_step="Nothing was changed. Update Holdfast, then try again.",
            details={"found": facts.schema, "known": REVISIONS[-1]},
        )
    try:
        with closing(sqlite3.connect(database)) as connection:
            _require_whole(connection)
            names = [
                tuple(str(name) for (name,) in connection.execute(query))
                for query in ("SELECT name FROM workloads ORDER BY name", "SELECT name FROM repositories ORDER BY name")
            ]
    except sqlite3.Error as error:
        raise _failed(f"the database in the backup can't be used: {error}") from error
    return names[0], names[1]


def _require_whole(connection: sqlite3.Connection) -> None:
    found = [str(line) for (line,) in connection.execute("PRAGMA integrity_check(5)")]
    if found != ["ok"]:
        raise _failed(f"the database is damaged: {'; '.join(found)}")


def _stage(directory: Path, name: str, pieces: Iterator[bytes]) -> None:
    path = directory / name
    path.parent.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def _put_in_place(settings: Settings, fs: Fs, staged: Path, entries: tuple[BackupEntry, ...]) -> None:
    """Put what was staged where it belongs, durably; the database last, by which a Holdfast is there."""
    names = [entry.name for entry in entries if entry.name not in (_DATABASE, "settings.json")]
    for name in [*names, _DATABASE]:
        target = settings.data_dir / name
        os.rename(staged / name, target)
        directory = fs.open_root(str(target.parent))
        try:
            fs.fsync(directory)
        finally:
            fs.close(directory)


def _failed(why: str) -> Failed:
    return Failed(
        "backup_failed",
        f"There is no usable backup: {why}.",
        next_step="Nothing was changed. Check the disk, and holdfast doctor; use another backup if this one was read.",
    )
