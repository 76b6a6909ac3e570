"""The repository's key, out of the data directory and into it. Never over HTTP: only who can read the directory may."""

from __future__ import annotations

from typing import NamedTuple

from holdfast.bootstrap.data_directory import LOCK_WAIT, make_directories
from holdfast.config import Settings
from holdfast.domain.errors import Conflict, NotFound
from holdfast.engine.data_lock import DataLock
from holdfast.engine.fs import Fs
from holdfast.engine.keys import load_key, replace_key
from holdfast.engine.repository import key_export
from holdfast.engine.repository.seal import RepositoryKeys
from holdfast.services.state_records import require_settled


class ImportedKey(NamedTuple):
    """What an import did.

    Attributes:
        key_check: of the key that is there now.
        changed: whether it was not there before.
        former: name of the file, beside the key's, in which the former key was kept; empty if there was none.
    """

    key_check: str
    changed: bool
    former: str


def export_repository_key(settings: Settings, passphrase: str) -> bytes:
    """The repository's key, sealed with a passphrase. Also while a server runs.

    Raises:
        NotFound: ``repository_key_missing``.
        InvalidInput: ``passphrase_too_short``.
        Failed: the key can't be read.
    """
    key = load_key(Fs(), settings.repository_key_file)
    if key is None:
        raise key_missing(settings)
    return key_export.export_key(key, passphrase)


def key_missing(settings: Settings) -> NotFound:
    """There is no key to work with."""
    return NotFound(
        "repository_key_missing",
        f"There is no key of a repository in {settings.keys_dir}.",
        next_step="Check the data directory, or import the key (holdfast repository key import).",
    )


def import_repository_key(
    settings: Settings, data: bytes, passphrase: str, *, replace: bool, lock_wait: float = LOCK_WAIT
) -> ImportedKey:
    """Put an exported key in its place, under the data directory's lock.

    Args:
        data: the exported file.
        replace: whether another key that is there may give way. It is kept beside.
        lock_wait: seconds to wait for the data directory's lock.

    Raises:
        Busy: ``data_dir_in_use``; a server runs.
        Conflict: ``repository_key_differs``, there is another key.
        InvalidInput, Refused, Damaged: the file is none, or the passphrase another; see
            :func:`holdfast.engine.repository.key_export.import_key`.
    """
    key = key_export.import_key(data, passphrase)
    check = RepositoryKeys.derive(key).check
    fs, path = Fs(), settings.repository_key_file
    make_directories(settings, fs)
    with DataLock.acquire(settings.data_dir, lock_wait):
        require_settled(settings)
        present = load_key(fs, path)
        if present == key:
            return ImportedKey(check, changed=False, former="")
        former = "" if present is None else f"{path.name}.{RepositoryKeys.derive(present).check}"
        if former and not replace:
            raise Conflict(
                "repository_key_differs",
                f"There is another key in {path}; snapshots that were taken with it need it.",
                next_step="Nothing was changed. With --replace it gives way, and is kept in a file beside it.",
            )
        replace_key(fs, path, key, keep_as=former or None)
    return ImportedKey(check, changed=True, former=former)
