"""What is asked of the repository, on the wire."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from holdfast.services.unreadable_snapshots import UnreadableSnapshot


class PruneBody(BaseModel, extra="forbid"):
    workload: Annotated[
        str | None,
        Field(
            description="Delete snapshots of this workload only (id or name); of all if left out.",
            pattern="^[a-z0-9][a-z0-9-]{0,63}$",
        ),
    ] = None
    dry_run: Annotated[bool, Field(description="Only tell what would go.")] = False


class RepositoryVerifyBody(BaseModel, extra="forbid"):
    share: Annotated[
        int,
        Field(
            ge=1, le=100, description="How much to read back, in percent; what was not read for longest comes first."
        ),
    ] = 100


class UnreadableSnapshotView(BaseModel):
    """A snapshot whose manifest can't be read, and what is known of it all the same."""

    id: str
    code: Annotated[str, Field(description="Why, as an error's code.")]
    message: str
    workload: Annotated[
        str | None, Field(description="Its workload by name, or by id if that is gone; null if unknown.")
    ]
    pinned: bool
    safety_for: Annotated[str | None, Field(description="The restore whose way back it was.")]

    @classmethod
    def of(cls, snapshot: UnreadableSnapshot) -> UnreadableSnapshotView:
        """The view of ``snapshot``."""
        return cls(
            id=snapshot.id,
            code=snapshot.code,
            message=snapshot.message,
            workload=snapshot.workload,
            pinned=snapshot.pinned,
            safety_for=snapshot.safety_for,
        )


class UnreadableView(BaseModel):
    items: list[UnreadableSnapshotView]
