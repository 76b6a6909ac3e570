"""What is asked of the repository, on the wire."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field


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
