"""A backup of Holdfast's own state, brought back into an empty data directory."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from holdfast.bootstrap.backups import state_swap_of
from holdfast.bootstrap.data_directory import LOCK_WAIT, make_directories
from holdfast.bootstrap.seams import Seams
from holdfast.config import Settings
from holdfast.domain.errors import Conflict
from holdfast.domain.repository import RepositoryPlace
from holdfast.engine.data_lock import DataLock
from holdfast.engine.fs import Fs
from holdfast.engine.repository.kept_backups import fetch_backup
from holdfast.engine.repository.second import blobs_at
from holdfast.services.state_backup import DATABASE, look_into
from holdfast.services.state_records import COMMIT, NEW, Asked


class Recovered(NamedTuple):
    """What an empty data directory was filled with.

    Attributes:
        workloads: their names.
        repositories: the names of the second repositories.
    """

    backup: Asked
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
    make_directories(settings, Fs())
    with DataLock.acquire(settings.data_dir, LOCK_WAIT):
        swap = state_swap_of(settings, Seams())
        try:
            asked = swap.stage(file, passphrase, lambda _done, _total: None)
            content = look_into(settings.state_restore_dir / NEW / DATABASE, asked.schema)
            swap.fill(asked)
        except BaseException:
            if not swap.torn:
                swap.drop()
            raise
    return Recovered(asked, *content)


def recover_from_place(
    settings: Settings, place: RepositoryPlace, secret: str, backup_id: str | None, passphrase: str
) -> Recovered:
    """As :func:`recover_from_backup`, from a second repository that the backup was copied to.

    Args:
        secret: of the access key; empty for a directory.
        backup_id: ``None``: the newest there.

    Raises:
        NotFound: ``backup_missing``, ``blob_store_missing``.
        HoldfastError: the storage refuses, or does not answer.
    """
    _require_empty(settings)
    with TemporaryDirectory() as directory, blobs_at(Fs(), place, secret) as blobs:
        file = Path(directory, "backup")
        with file.open("wb") as out:
            fetch_backup(blobs, backup_id, out)
        return recover_from_backup(settings, file, passphrase)


def _require_empty(settings: Settings) -> None:
    """Volumes and the primary repository may be there: a disk with them could have survived."""
    if not settings.data_dir.is_dir():
        return
    known = {settings.data_dir / "lost+found", settings.lock_file, settings.volumes_base, settings.repository_dir}
    if not (settings.state_restore_dir / COMMIT).exists():
        known.add(settings.state_restore_dir)  # an attempt that died before it began
    for path in sorted(settings.data_dir.iterdir()):
        if path not in known and not (path.is_dir() and not any(path.iterdir())):
            raise Conflict(
                "data_dir_not_empty",
                f"{settings.data_dir} is not empty: {path.name} is there.",
                next_step="Nothing was changed. Name another data directory, or move this one away.",
            )
