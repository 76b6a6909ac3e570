"""Second repositories: adding one, and opening it again.

They have the key of the primary one, so that the same data has the same ids in all of them: what is missing in one is
known without reading anything, and one exported key opens them all.

Invariants:

- Nothing is written before it is known that the repository is nobody else's, and of this format and key.
- One that was added is never made anew: where it is missing, its disk is not mounted or its bucket another one.
- What lies in object storage is encrypted: nothing is read from, or sent to, a repository there that is not.
- Its lock and its caches lie in the data directory, whatever it is kept in.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from holdfast.domain.errors import Conflict, Damaged, HoldfastError, NotFound, Problem, Refused
from holdfast.domain.ids import new_id
from holdfast.domain.repository import RepositoryKind, RepositoryPlace
from holdfast.engine.fs import Fs
from holdfast.engine.keys import load_key
from holdfast.engine.os_errors import translate
from holdfast.engine.repository.access_secret import access_secret
from holdfast.engine.repository.blobs import BlobStore
from holdfast.engine.repository.kept_backups import FOLDER
from holdfast.engine.repository.posix_blobs import PosixBlobs
from holdfast.engine.repository.rebuilding import take_over_or_rebuild
from holdfast.engine.repository.repository import Repository
from holdfast.engine.repository.repository_file import (
    RepositoryFile,
    create_repository,
    read_repository,
    require_owner,
)
from holdfast.engine.repository.seal import RepositoryKeys

_NOT_COUNTED: Final = frozenset({"lost+found"})
_PROBE_BYTES: Final = 4096

Pace = Callable[[int], object]
"""Is told how many bytes are about to be sent, and returns when they may be."""


class Second(msgspec.Struct, frozen=True, kw_only=True):
    """What has to be known to open a second repository. Paths are absolute.

    Attributes:
        repository_id: what it says that it is; empty for one that is being added.
        key_file: the repository key's.
        secret_file: that of the sealed secret of the access key, of object storage; empty otherwise.
        local_dir: of its lock and its caches; its parent exists.
        owner: id of this installation.
        reserve_bytes: what writing leaves free on a directory's filesystem.
        patient: whether object storage is waited for as long as makes sense; else as long as somebody waits.
    """

    name: str
    place: RepositoryPlace
    repository_id: str
    key_file: str
    secret_file: str
    local_dir: str
    owner: str
    reserve_bytes: int
    patient: bool = True


def add_second(fs: Fs, second: Second, *, encrypt: bool, take_over: bool) -> RepositoryFile:
    """Try the place out, and open the repository that is there, or make one.

    Args:
        encrypt: whether one that is made is sealed. In object storage it always is.
        take_over: make this installation the owner of the one that is there, whoever was, also where its description
            was lost.

    Raises:
        Conflict: ``repository_of_another``.
        Refused: ``repository_not_empty``, ``repository_not_encrypted``, ``blob_store_unfit``, or as
            :func:`read_repository`; nothing was changed.
        HoldfastError: what the storage refuses, or that it does not answer.
    """
    keys = _keys(fs, second)
    remote = second.place.kind is RepositoryKind.S3
    with _blobs(fs, second, make=True) as blobs:
        there = _present(blobs, keys, take_over=take_over)
        if there is None and not take_over:
            _require_empty(second, blobs)
        if there is not None:
            _require_encrypted(second, there)
        if there is not None and not take_over:
            require_owner(there, second.owner)
        _try_out(blobs)
        if take_over:
            return take_over_or_rebuild(blobs, keys, owner=second.owner, sealed_only=remote)[0]
        return there or create_repository(blobs, keys, owner=second.owner, encrypted=encrypt or remote)


@contextmanager
def opened(fs: Fs, second: Second, *, pace: Pace | None = None) -> Iterator[Repository]:
    """Open a second repository that was added before.

    Raises:
        Conflict: ``repository_of_another``, ``repository_exchanged``.
        NotFound: ``blob_store_missing``, ``repository_missing``.
        Refused, Damaged: ``repository_not_encrypted``, or as :func:`read_repository`.
        HoldfastError: what the storage refuses, or that it does not answer.
    """
    keys = _keys(fs, second)
    blobs = _blobs(fs, second, make=False, pace=pace)
    try:
        description = read_repository(blobs, keys)
        _require_encrypted(second, description)
        _require_same(second, description)
        require_owner(description, second.owner)
        local = Path(second.local_dir)
        _make(local)
        repository = Repository(fs, blobs, keys, description, local)
    except BaseException:
        blobs.close()
        raise
    with repository:
        yield repository


def _require_same(second: Second, found: RepositoryFile) -> None:
    if found.id != second.repository_id:
        raise Conflict(
            "repository_exchanged",
            f"In the place of the repository {second.name} is another one ({found.id}).",
            next_step="Mount the right disk, or add the other one under a name of its own. Nothing was changed.",
            details={"expected": second.repository_id, "found": found.id},
        )


def _require_encrypted(second: Second, found: RepositoryFile) -> None:
    if second.place.kind is RepositoryKind.S3 and not found.encrypted:
        raise _refused(
            "repository_not_encrypted",
            "The repository in this bucket is not encrypted, which what lies elsewhere always has to be.",
            "Nothing was changed. Choose another prefix; the copy there will be encrypted.",
        )


def _make(local: Path) -> None:
    try:
        for directory in (local.parent, local):
            directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise translate(error, f"making {local}") from error


def _keys(fs: Fs, second: Second) -> RepositoryKeys:
    key = load_key(fs, Path(second.key_file))
    if key is None:
        raise _refused(
            "repository_key_missing",
            f"There is no repository key {second.key_file}.",
            "Put the key file back, or import the key that was exported (holdfast repository key import).",
        )
    return RepositoryKeys.derive(key)


def _blobs(fs: Fs, second: Second, *, make: bool, pace: Pace | None = None) -> BlobStore:
    place, secret = second.place, ""
    if place.kind is RepositoryKind.DIRECTORY:
        root = Path(place.path)
        if make and root.parent.is_dir():
            PosixBlobs.made_at(fs, root).close()
    else:
        secret = access_secret(fs, Path(second.secret_file), second.name)
    return blobs_at(fs, place, secret, reserve_bytes=second.reserve_bytes, patient=second.patient, pace=pace)


def blobs_at(
    fs: Fs,
    place: RepositoryPlace,
    secret: str,
    *,
    reserve_bytes: int = 0,
    patient: bool = True,
    pace: Pace | None = None,
) -> BlobStore:
    """What lies in a place, which need not be known to be a repository.

    Args:
        secret: of the access key; empty for a directory.

    Raises:
        NotFound: ``blob_store_missing``.
        HoldfastError: it can't be used.
    """
    if place.kind is RepositoryKind.DIRECTORY:
        return PosixBlobs(fs, Path(place.path), reserve_bytes=reserve_bytes, pace=pace)
    # Only who uses object storage loads the library for it.
    from holdfast.engine.repository.object_blobs import Patience
    from holdfast.engine.repository.s3 import S3Location, s3_blobs

    location = S3Location(
        bucket=place.bucket,
        prefix=place.prefix,
        region=place.region,
        endpoint=place.endpoint,
        access_key_id=place.access_key_id,
        secret_access_key=secret,
        certificate=place.certificate,
    )
    return s3_blobs(location, Patience() if patient else Patience.of_a_person(), pace=pace)


def _present(blobs: BlobStore, keys: RepositoryKeys, *, take_over: bool) -> RepositoryFile | None:
    try:
        return read_repository(blobs, keys)
    except NotFound:
        return None
    except Damaged:
        if not take_over:
            raise
        return None


def _require_empty(second: Second, blobs: BlobStore) -> None:
    """Refuse a place that other things are in: what is Holdfast's would lie among them."""
    found = {info.name for info in blobs.list_blobs("")}
    if second.place.kind is RepositoryKind.DIRECTORY:
        found = set(os.listdir(second.place.path)) - {"packs", "manifests", FOLDER}
    found -= _NOT_COUNTED
    if found:
        raise _refused(
            "repository_not_empty",
            f"There is no repository in {second.place.words}, but other things are (such as {sorted(found)[0][:100]}).",
            "Name an empty directory or a prefix of its own; one that does not exist is made. Nothing was changed.",
        )


def _try_out(blobs: BlobStore) -> None:
    """Find out now, and not in the middle of a copy, whether the storage does what a repository needs.

    Raises:
        Refused: ``blob_store_unfit``.
    """
    name, content = f"probe-{new_id()}", secrets.token_bytes(_PROBE_BYTES)
    try:
        blobs.create(name, [content])
        with suppress(Conflict):
            blobs.create(name, [content[::-1]])
            raise _unfit("it replaces an object that it was asked to create only if there is none")
        if blobs.get_range(name, 100, 1000) != content[100:1100]:
            raise _unfit("it gives another part of an object than the one that it was asked for")
        if name not in {info.name for info in blobs.list_blobs("")}:
            raise _unfit("its list does not show what was stored a moment ago")
    finally:
        with suppress(HoldfastError):
            blobs.delete([name])


def _unfit(why: str) -> Refused:
    return _refused(
        "blob_store_unfit",
        f"The storage can't keep a repository: {why}.",
        "Nothing was kept there. Update the storage, or use another one; docs/reference/object-storage.md says what "
        "it must do.",
    )


def _refused(code: str, message: str, next_step: str) -> Refused:
    return Refused([Problem(code=code, message=message, next_step=next_step)])
