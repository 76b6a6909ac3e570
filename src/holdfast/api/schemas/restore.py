"""Restores on the wire."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from holdfast.api.parameters import PrintableText, RepositoryNameText
from holdfast.api.schemas.errors import ErrorView
from holdfast.api.schemas.snapshot import SnapshotView
from holdfast.api.schemas.snapshot_files import decode_path
from holdfast.domain.chosen_paths import container_path
from holdfast.domain.restore import OnUnhealthy
from holdfast.services.restore_registry import Decision


class Rehearsable(BaseModel, extra="forbid"):
    """What restores and undos have in common."""

    dry_run: Annotated[
        bool,
        Field(description="Check everything, tell what would change, touch nothing. Needs no confirmation."),
    ] = False
    create_missing: Annotated[
        bool,
        Field(description="Make the directory of a volume that is missing; refused as `volume_missing` otherwise."),
    ] = False
    accept_replaced: Annotated[
        bool,
        Field(
            description="Restore onto a directory that is another one than the one last seen; refused as "
            "`volume_replaced` otherwise. What it holds is in the safety snapshot."
        ),
    ] = False


class EncodedPath(BaseModel, extra="forbid"):
    volume: Annotated[PrintableText, Field(description="The volume's target.", min_length=1, max_length=1024)]
    path: Annotated[str, Field(description="base64url of the raw path in the volume.", max_length=8192)]

    @property
    def raw(self) -> bytes:
        """The path as the container sees it."""
        return self.volume.encode().rstrip(b"/") + b"/" + decode_path(self.path, encoded=True)


class RestoreRequest(Rehearsable):
    volumes: Annotated[
        list[Annotated[PrintableText, Field(min_length=1, max_length=1024)]] | None,
        Field(description="Container targets to restore; null for all volumes.", min_length=1, max_length=64),
    ] = None
    paths: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=4096)]] | None,
        Field(
            description="Only these paths, as the container sees them (`/data/uploads`); null for whole volumes. A "
            "directory becomes exactly what it was: what was added since goes, what was removed comes back. All else "
            "stays as it is. The root of a volume, or one named in `volumes` as well, is that whole volume.",
            min_length=1,
            max_length=1000,
        ),
    ] = None
    encoded_paths: Annotated[
        list[EncodedPath] | None,
        Field(
            description="Likewise, as a listing gave them, for names that are no text.", min_length=1, max_length=1000
        ),
    ] = None
    on_unhealthy: Annotated[
        OnUnhealthy | None,
        Field(description="What to do when the workload is not healthy on the data; null for the safe default."),
    ] = None
    with_image: Annotated[
        bool,
        Field(
            description="Go back to the snapshot's own image as well. The configuration keeps its image: the next "
            "deployment returns to that."
        ),
    ] = False
    repository: Annotated[
        RepositoryNameText | None,
        Field(description="Take the snapshot from this second repository; null for the primary one."),
    ] = None

    @property
    def raw_paths(self) -> tuple[bytes, ...]:
        """The chosen paths as the container sees them.

        Raises:
            InvalidInput: ``path_malformed``.
        """
        plain = [each.encode("utf-8", "surrogatepass") for each in self.paths or ()]
        return tuple(map(container_path, [*plain, *(each.raw for each in self.encoded_paths or ())]))


class UndoRequest(Rehearsable):
    """An undo returns to the image of before as well, if the restore had moved it."""


class UndoTargetView(BaseModel):
    snapshot: Annotated[
        SnapshotView | None,
        Field(description="The safety snapshot that an undo would return to; null for none."),
    ]


class PendingDecisionView(BaseModel):
    """A restore that waits for a person."""

    restore_id: Annotated[str | None, Field(description="What to confirm with; null if its journal can't be read.")]
    why: Annotated[str, Field(description="What happened, and what is where, in words.")]
    problem: Annotated[ErrorView, Field(description="The same with its code and values.")]
    choices: Annotated[
        list[Decision],
        Field(description="What can be chosen; nothing where what `why` names has to be mended first."),
    ]


class PendingView(BaseModel):
    pending: Annotated[PendingDecisionView | None, Field(description="Null if nothing waits for a decision.")]
    kept_trees: Annotated[
        list[str],
        Field(description="What reverted restores keep for looking at, by path, until it is released."),
    ]


class DecisionRequest(BaseModel, extra="forbid"):
    choice: Annotated[
        Decision,
        Field(
            description="`keep` the restored data; `revert` to what was live before; `release` the tree of a reverted "
            "restore that was kept for looking at."
        ),
    ]
