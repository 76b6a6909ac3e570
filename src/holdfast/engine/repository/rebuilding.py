"""Writing ``repository.json`` anew where it was lost or damaged: all that it says can be found out but the id.

Whether the repository is encrypted is told by its snapshots: they authenticate as sealed ones or as plain ones, and
under this key or not at all. Another id costs the caches of the repository, which are made anew.
"""

from __future__ import annotations

from holdfast.domain.errors import Damaged, NotFound, Problem, Refused
from holdfast.engine.repository.blobs import BlobStore
from holdfast.engine.repository.manifests import Manifests
from holdfast.engine.repository.repository_file import RepositoryFile, replace_repository_file, take_over
from holdfast.engine.repository.seal import RepositoryKeys, sealer_of


def take_over_or_rebuild(
    blobs: BlobStore, keys: RepositoryKeys, *, owner: str, sealed_only: bool = False
) -> tuple[RepositoryFile, bool]:
    """Make this installation the repository's owner, also where ``repository.json`` is missing or damaged.

    Args:
        sealed_only: a repository whose snapshots are not sealed is not recognised as one. Whoever can write to the
            storage could put such ones there, and what is copied there from then on would lie open.

    Returns:
        What the file says now, and whether it had to be written anew.

    Raises:
        NotFound: ``repository_missing``, there is nothing of a repository.
        Refused: ``repository_not_recognised``, no snapshot here opens with this key; or as :func:`take_over`.
            Nothing was changed.
    """
    try:
        return take_over(blobs, keys, owner=owner), False
    except (Damaged, NotFound):
        if not blobs.list_blobs("manifests"):
            raise
    for encrypted in (True,) if sealed_only else (True, False):
        if Manifests(blobs, keys, sealer_of(keys, encrypted=encrypted)).load().snapshots:
            return replace_repository_file(blobs, keys, owner=owner, encrypted=encrypted), True
    raise Refused(
        [
            Problem(
                code="repository_not_recognised",
                message="None of the snapshots here opens with this key.",
                next_step="Nothing was changed. Import the repository's own key (holdfast repository key import), then "
                "try again.",
            )
        ]
    )
