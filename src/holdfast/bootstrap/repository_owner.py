"""Whose the repository in the data directory is, changed while no server runs."""

from __future__ import annotations

from typing import NamedTuple

from holdfast.bootstrap.data_directory import LOCK_WAIT, installation_of, make_directories
from holdfast.bootstrap.repository_key import key_missing
from holdfast.config import Settings
from holdfast.engine.data_lock import DataLock
from holdfast.engine.fs import Fs
from holdfast.engine.keys import load_key
from holdfast.engine.repository.posix_blobs import PosixBlobs
from holdfast.engine.repository.rebuilding import take_over_or_rebuild
from holdfast.engine.repository.seal import RepositoryKeys
from holdfast.services.state_records import require_settled


class TakenOver(NamedTuple):
    """What taking a repository over did.

    Attributes:
        rebuilt: whether ``repository.json`` had to be written anew.
    """

    repository_id: str
    owner: str
    encrypted: bool
    rebuilt: bool


def take_over_repository(settings: Settings, *, lock_wait: float = LOCK_WAIT) -> TakenOver:
    """Make this installation the owner of the repository in its data directory.

    Args:
        lock_wait: seconds to wait for the data directory's lock.

    Raises:
        Busy: ``data_dir_in_use``; a server runs.
        NotFound: ``repository_key_missing``, ``repository_missing``.
        Refused: ``repository_format_newer``, ``repository_key_wrong``, ``repository_not_recognised``.
    """
    fs = Fs()
    make_directories(settings, fs)
    with DataLock.acquire(settings.data_dir, lock_wait), PosixBlobs(fs, settings.repository_dir) as blobs:
        require_settled(settings)
        key = load_key(fs, settings.repository_key_file)
        if key is None:
            raise key_missing(settings)
        owner = installation_of(settings, fs)
        taken, rebuilt = take_over_or_rebuild(blobs, RepositoryKeys.derive(key), owner=owner)
    return TakenOver(taken.id, taken.owner, taken.encrypted, rebuilt)
