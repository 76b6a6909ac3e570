"""Backups of Holdfast's own state in a second repository, beside the snapshots: ``backups/<id>.backup``.

They are sealed with a passphrase of their own, whatever the repository is: without any key they are found and fetched,
on a machine that has nothing yet.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Final

from holdfast.domain.errors import NotFound
from holdfast.domain.ids import is_id
from holdfast.engine.os_errors import translate
from holdfast.engine.repository.blobs import BlobStore

FOLDER: Final = "backups"
_SUFFIX: Final = ".backup"
_PIECE: Final = 4 << 20


def send_backup(blobs: BlobStore, backup_id: str, file: Path) -> None:
    """Store a backup: whole, or not at all. It is held in memory for that: a state is small.

    Raises:
        HoldfastError: the storage refuses, or does not answer.
    """
    try:
        with file.open("rb") as opened:
            pieces = list(iter(lambda: opened.read(_PIECE), b""))
    except OSError as error:
        raise translate(error, f"reading {file}") from error
    blobs.put(f"{FOLDER}/{backup_id}{_SUFFIX}", pieces)


def backups_in(blobs: BlobStore) -> dict[str, int]:
    """The sizes of all backups, by their ids, newest first. Raises as the storage does."""
    found = {
        info.name.removeprefix(f"{FOLDER}/").removesuffix(_SUFFIX): info.size
        for info in reversed(blobs.list_blobs(FOLDER))
        if info.name.endswith(_SUFFIX)
    }
    return {backup_id: size for backup_id, size in found.items() if is_id(backup_id)}


def fetch_backup(blobs: BlobStore, backup_id: str | None, out: BinaryIO) -> str:
    """Write a backup to a file.

    Args:
        backup_id: ``None``: the newest.

    Returns:
        Its id.

    Raises:
        NotFound: ``backup_missing``.
        HoldfastError: the storage refuses, or does not answer.
    """
    found = backups_in(blobs)
    chosen = next(iter(found), None) if backup_id is None else backup_id
    if chosen is None or chosen not in found:
        raise NotFound(
            "backup_missing",
            "There is no backup of Holdfast's own state." if chosen is None else f"There is no backup {chosen} there.",
            next_step=f"Those that are there: {', '.join(found) or 'none'}.",
        )
    size = found[chosen]
    try:
        for at in range(0, size, _PIECE):
            out.write(blobs.get_range(f"{FOLDER}/{chosen}{_SUFFIX}", at, min(_PIECE, size - at)))
    except OSError as error:
        raise translate(error, "writing a backup") from error
    return chosen


def forget_backups(blobs: BlobStore, keep: int) -> tuple[str, ...]:
    """Delete all but the newest. Returns the ids of those that went. Raises as the storage does."""
    old = tuple(backups_in(blobs))[keep:]
    blobs.delete([f"{FOLDER}/{backup_id}{_SUFFIX}" for backup_id in old])
    return old
