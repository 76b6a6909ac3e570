"""The data directory: what is in it, and what is read from it before anything else can be built."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Final

import structlog

from holdfast.config import Settings
from holdfast.domain.errors import Problem, Refused
from holdfast.domain.ids import is_id, new_id
from holdfast.engine.fs import TEMPORARY_PREFIX, Fs
from holdfast.engine.live import LiveRoots
from holdfast.engine.os_errors import translate
from holdfast.engine.requests import WorkerSettings
from holdfast.engine.stores import StoreSettings

_OTHERS: Final = 0o077
_BITS: Final = 0o7777
LOCK_WAIT: Final = 5.0
"""Seconds that a start waits for the workers of a server that was killed to notice and end."""


def store_settings_of(settings: Settings, installation: str) -> StoreSettings:
    """Where snapshots are, and the keys for them."""
    return StoreSettings(
        installation=installation,
        archives_dir=str(settings.snapshots_dir),
        archive_key_file=str(settings.archive_key_file),
        repository_dir=str(settings.repository_dir),
        repository_key_file=str(settings.repository_key_file),
        encrypt=settings.encrypt_repository,
        limits=settings.limits,
        reserve_bytes=settings.disk_reserve_bytes,
    )


def worker_settings_of(settings: Settings, installation: str) -> WorkerSettings:
    """What worker processes need to know."""
    return WorkerSettings(
        roots=(str(settings.volumes_base), *map(str, settings.allowed_roots)),
        late_roots=(str(settings.docker_volumes),),
        stores=store_settings_of(settings, installation),
        journals=str(settings.journal_dir),
    )


def live_roots_of(settings: Settings, fs: Fs) -> LiveRoots:
    """The roots of all volumes, held. The caller closes them."""
    return LiveRoots(
        fs,
        [str(settings.volumes_base), *map(str, settings.allowed_roots)],
        str(settings.journal_dir),
        late=[str(settings.docker_volumes)],
    )


def make_directories(settings: Settings, fs: Fs) -> None:
    """Holdfast's own directories, for nobody else; the volumes base for the containers' users to pass through.

    What is made is durable before anything is put into it.

    What is there already and open to others is closed to them, the files that lie directly in it too, as long as it can
    only be Holdfast's own.

    Raises:
        Refused: ``data_dir_foreign``, ``data_dir_shared``; nothing was changed.
        Failed, NoSpace: a directory can't be made.
    """
    holders: set[Path] = set()
    try:
        _make(settings.data_dir, 0o700, holders)
        _close_to_others(settings.data_dir, own=settings.installation_file.is_file() or _holds_nothing_else(settings))
        for directory in (
            settings.journal_dir,
            settings.holds_dir,
            settings.take_overs_dir,
            settings.snapshots_dir,
            settings.repository_dir,
            settings.uploads_dir,
            settings.keys_dir,
            settings.backups_dir,
            settings.logs_dir,
        ):
            _make(directory, 0o700, holders)
            _close_to_others(directory, own=True)
        _make(settings.volumes_base, 0o755, holders)
        for holder in sorted(holders):
            fd = fs.open_root(str(holder))
            try:
                fs.fsync(fd)
            finally:
                fs.close(fd)
    except OSError as error:
        raise translate(error, f"preparing the data directory {settings.data_dir}") from error


def _make(directory: Path, mode: int, holders: set[Path]) -> None:
    """Make a directory, and what is missing above it; add to ``holders`` whose names have to be flushed for that."""
    holders.update(made.parent for made in (directory, *directory.parents) if not made.exists())
    directory.mkdir(mode=mode, parents=True, exist_ok=True)


def _holds_nothing_else(settings: Settings) -> bool:
    """Whether the data directory is empty but for what is Holdfast's, and what a new filesystem has."""
    known = {path.name for path in (settings.keys_dir, settings.lock_file, settings.volumes_base)} | {"lost+found"}
    return all(path.name in known for path in settings.data_dir.iterdir())


def _close_to_others(directory: Path, *, own: bool) -> None:
    """Make a directory 0700, and 0600 the files in it.

    Args:
        own: whether it is known to be Holdfast's.
    """
    facts = directory.stat()
    if facts.st_uid != os.geteuid():
        raise _refused(
            "data_dir_foreign",
            f"{directory} belongs to user {facts.st_uid}, who could exchange what is in it.",
            f"Give it to the user that Holdfast runs as: chown {os.geteuid()} {directory}. Or choose another data_dir.",
        )
    if not facts.st_mode & _OTHERS:
        return
    if not own:
        raise _refused(
            "data_dir_shared",
            f"{directory} is open to other users and holds things that are not Holdfast's.",
            f"Choose a directory of Holdfast's own as data_dir. If all of it is, close it: chmod 700 {directory}",
        )
    directory.chmod(0o700)
    for path in directory.iterdir():
        if path.is_file() and not path.is_symlink():
            path.chmod(path.stat().st_mode & ~_OTHERS & _BITS)
    structlog.get_logger("bootstrap").warning(
        "closed a directory of Holdfast's own to other users",
        directory=str(directory),
        mode=oct(stat.S_IMODE(facts.st_mode)),
    )


def _refused(code: str, message: str, next_step: str) -> Refused:
    return Refused([Problem(code=code, message=message, next_step=next_step)])


def installation_of(settings: Settings, fs: Fs) -> str:
    """The id by which this Holdfast knows its own containers; made once."""
    try:
        kept = settings.installation_file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        kept = ""
    if is_id(kept):
        return kept
    made = new_id()
    directory = fs.open_root(str(settings.data_dir))
    try:
        fs.write_file_durable(directory, settings.installation_file.name.encode(), f"{made}\n".encode())
    finally:
        fs.close(directory)
    return made


def clean_temporaries(settings: Settings, fs: Fs) -> None:
    """Remove the files of our own that a killed server had not put in their place yet. Needs the lock.

    Raises:
        Failed: one of our own directories can't be read or written to.
    """
    for path in (settings.data_dir, settings.holds_dir, settings.take_overs_dir, settings.keys_dir):
        try:
            directory = fs.open_root(str(path))
            try:
                for name in fs.listdir(directory):
                    if name.startswith(TEMPORARY_PREFIX):
                        fs.unlinkat(directory, name)
            finally:
                fs.close(directory)
        except OSError as error:
            raise translate(error, f"tidying up {path}") from error


def clean_backups(settings: Settings) -> None:
    """Remove what a server, or a command, that was killed was making a backup of."""
    for left in settings.backups_dir.glob(f"{os.fsdecode(TEMPORARY_PREFIX)}*"):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()


def clean_uploads(settings: Settings) -> None:
    """What was being uploaded when the last server ended can't be continued."""
    for left in settings.uploads_dir.iterdir():
        structlog.get_logger("bootstrap").warning("removing an upload that was cut off", name=left.name)
        left.unlink()
