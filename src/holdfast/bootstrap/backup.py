"""A backup of Holdfast's own state, brought back into an empty data directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from holdfast.bootstrap.data_directory import LOCK_WAIT, make_directories
from holdfast.config import Settings
from holdfast.domain.errors import Conflict
from holdfast.engine.backup_file import BackupEntry, BackupFacts, read_backup
from holdfast.engine.data_lock import DataLock
from holdfast.engine.fs import Fs
from holdfast.engine.os_errors import translate
from holdfast.services.state_backup import DATABASE, SETTINGS, look_into, working_directory


class Recovered(NamedTuple):
    """What an empty data directory was filled with.

    Attributes:
        workloads: their names.
        repositories: the names of the second repositories.
    """

    facts: BackupFacts
    workloads: tuple[str, ...]
    repositories: tuple[str, ...]


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
            working_directory(settings.backups_dir) as staged,
        ):
            with file.open("rb") as opened:
                facts, entries = read_backup(opened, passphrase, lambda name, pieces: _stage(staged, name, pieces))
            workloads, repositories = look_into(staged / DATABASE, facts)
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
    names = [entry.name for entry in entries if entry.name not in (DATABASE, SETTINGS)]
    for name in [*names, DATABASE]:
        target = settings.data_dir / name
        os.rename(staged / name, target)
        directory = fs.open_root(str(target.parent))
        try:
            fs.fsync(directory)
        finally:
            fs.close(directory)
