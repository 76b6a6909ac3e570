"""``repository.json``: what a repository says of itself, and whose it is.

Invariants:

- Nothing is done with a repository before this file was read: a newer format, another key, damage and another owner are
  recognised before anything is written.
- It is authenticated: whoever can write to the store, but has not the key, can't turn encryption off or change the
  owner. They can put an older version of the file back.
- It is written by :func:`create_repository`, :func:`take_over` and :func:`replace_repository_file` only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import msgspec

from holdfast.domain import times
from holdfast.domain.errors import Conflict, Damaged, NotFound, Problem, Refused
from holdfast.domain.ids import is_id, new_id
from holdfast.engine.repository.blobs import BlobStore
from holdfast.engine.repository.seal import RepositoryKeys
from holdfast.engine.signed_json import Malformed, is_authentic, parse_object, signed

NAME: Final = "repository.json"
REPOSITORY_FORMAT: Final = 1
"""Version of the repository that this program writes and reads."""

_MAX_BYTES: Final = 64 * 1024
_PUT_IT_BACK: Final = (
    "Nothing was changed. Put repository.json back from a backup, or have it written anew from the snapshots: "
    "holdfast repository take-over."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryFile:
    """What ``repository.json`` says.

    Attributes:
        id: of the repository; caches of it are known by it.
        owner: id of the installation of Holdfast that writes to it.
        encrypted: whether packs and manifests are sealed.
        key_check: by which the right key is recognised.
    """

    format: int = REPOSITORY_FORMAT
    id: str
    owner: str
    encrypted: bool
    created_at: str
    key_check: str


def create_repository(blobs: BlobStore, keys: RepositoryKeys, *, owner: str, encrypted: bool) -> RepositoryFile:
    """Make an empty repository.

    Args:
        owner: id of this installation of Holdfast.

    Raises:
        Conflict: ``repository_exists``.
        Refused: ``repository_file_missing``, there are packs or snapshots already, of an unknown repository.
    """
    if blobs.list_blobs("packs") or blobs.list_blobs("manifests"):
        _refuse_to_replace(blobs)
        raise _refused(
            "repository_file_missing",
            "There are packs or snapshots of a repository here, but no repository.json.",
            next_step=_PUT_IT_BACK,
        )
    made = _new(keys, owner, encrypted=encrypted)
    try:
        blobs.create(NAME, [_encode(made, keys)])
    except Conflict as error:
        raise _exists() from error
    return made


def read_repository(blobs: BlobStore, keys: RepositoryKeys) -> RepositoryFile:
    """What a repository says of itself, authenticated. Says nothing about whose it is: see :func:`require_owner`.

    Raises:
        NotFound: ``repository_missing``.
        Refused: ``repository_format_newer``, ``repository_key_wrong``.
        Damaged: ``repository_file_damaged``.
    """
    try:
        data = blobs.get(NAME, limit=_MAX_BYTES)
    except NotFound as error:
        raise NotFound(
            "repository_missing",
            "There is no repository here: repository.json is missing.",
            next_step="Check the path or the bucket, and that its disk is mounted. A new repository has to be made.",
        ) from error
    try:
        return _decode(data, keys)
    except Malformed as error:
        raise Damaged(
            "repository_file_damaged", f"repository.json can't be used: {error}.", next_step=_PUT_IT_BACK
        ) from error


def require_owner(repository: RepositoryFile, owner: str) -> None:
    """Make sure that the repository is this installation's, before writing to it. Reading needs no owner.

    Raises:
        Conflict: ``repository_of_another``.
    """
    if repository.owner != owner:
        raise Conflict(
            "repository_of_another",
            f"The repository {repository.id} belongs to another Holdfast, the installation {repository.owner}.",
            next_step="Use one repository per Holdfast. If the other one is gone for good, take the repository over "
            "(holdfast repository take-over; a second one: holdfast repository add … --take-over). Were both to write "
            "to it, each would delete what the other needs.",
            details={"repository": repository.id, "owner": repository.owner},
        )


def take_over(blobs: BlobStore, keys: RepositoryKeys, *, owner: str) -> RepositoryFile:
    """Make this installation the repository's owner, whoever was before. The other one is refused from then on.

    Raises:
        NotFound, Refused, Damaged: as :func:`read_repository`.
    """
    taken = replace(read_repository(blobs, keys), owner=owner)
    blobs.put(NAME, [_encode(taken, keys)])
    return taken


def replace_repository_file(blobs: BlobStore, keys: RepositoryKeys, *, owner: str, encrypted: bool) -> RepositoryFile:
    """Write the file of a repository anew, with another id, whatever is there in its place."""
    made = _new(keys, owner, encrypted=encrypted)
    blobs.put(NAME, [_encode(made, keys)])
    return made


def _new(keys: RepositoryKeys, owner: str, *, encrypted: bool) -> RepositoryFile:
    return RepositoryFile(id=new_id(), owner=owner, encrypted=encrypted, created_at=times.now(), key_check=keys.check)


def _encode(repository: RepositoryFile, keys: RepositoryKeys) -> bytes:
    return signed(msgspec.to_builtins(repository), keys.description)


def _decode(data: bytes, keys: RepositoryKeys) -> RepositoryFile:
    document = parse_object(data, _MAX_BYTES)
    version = document.get("format")
    if isinstance(version, int) and not isinstance(version, bool) and version > REPOSITORY_FORMAT:
        raise _refused(
            "repository_format_newer",
            f"The repository is of format {version}; this version of Holdfast knows formats up to {REPOSITORY_FORMAT}.",
            next_step="Nothing was changed. Update Holdfast, then try again.",
            format=version,
        )
    if isinstance(document.get("key_check"), str) and document["key_check"] != keys.check:
        raise _refused(
            "repository_key_wrong",
            "The repository has another key than the one that was given.",
            next_step="Nothing was changed. Import the repository's key (holdfast repository key import), then try "
            "again.",
        )
    if not is_authentic(document, keys.description):
        raise Malformed("it was damaged, or changed by somebody who has not the key")
    try:
        repository = msgspec.convert(document, RepositoryFile, strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise Malformed("a field of it is missing or of a wrong type") from error
    if repository.format < 1 or not is_id(repository.id) or not is_id(repository.owner):
        raise Malformed("an id or the format in it is none")
    return repository


def _refuse_to_replace(blobs: BlobStore) -> None:
    if any(info.name == NAME for info in blobs.list_blobs("")):
        raise _exists()


def _exists() -> Conflict:
    return Conflict(
        "repository_exists",
        "There is a repository here already.",
        next_step="Open that one, or choose an empty directory or bucket.",
    )


def _refused(code: str, message: str, *, next_step: str, **details: object) -> Refused:
    return Refused([Problem(code=code, message=message, next_step=next_step, details=details)])
