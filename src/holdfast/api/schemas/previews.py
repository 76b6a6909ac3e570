"""Previews on the wire."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from holdfast.api.parameters import PrintableText
from holdfast.api.schemas.workload_previews import SHORTEST
from holdfast.api.schemas.workload_values import Duration, ImageReference
from holdfast.domain.deployment import DeploymentState
from holdfast.domain.preview import MAX_KEY
from holdfast.domain.units import MAX_DURATION
from holdfast.services.previews import PreviewState, PreviewWish


class PreviewBody(BaseModel, extra="forbid"):
    """A preview that is to be there, in its newest version."""

    name: Annotated[
        PrintableText,
        Field(
            description="What it is for: a branch, `pr-17`, or any other text. The same again means the same preview.",
            min_length=1,
            max_length=MAX_KEY,
        ),
    ]
    image: Annotated[
        ImageReference | None,
        Field(description="What it runs; null for the image that it is configured with, its parent's at first."),
    ] = None
    seed: Annotated[
        str | None,
        Field(
            description="What its volumes hold at first: `empty`, `latest` (the newest snapshot), or a snapshot's id; "
            "null as `previews.seed` of the parent says. Not for one that is there already.",
            pattern="^(empty|latest|[0-7][0-9a-hjkmnp-tv-z]{25})$",
        ),
    ] = None
    expires: Annotated[
        Duration | None,
        Field(
            description="After how long without an update it is removed; null as the parent says, or as before.",
            ge=SHORTEST,
            le=MAX_DURATION,
        ),
    ] = None
    last_snapshot: Annotated[
        bool | None, Field(description="Whether a snapshot is taken before it is removed with its data; null likewise.")
    ] = None

    def wish(self, *, actor: str, idempotency_key: str | None) -> PreviewWish:
        """In the words of the services."""
        return PreviewWish(
            key=self.name,
            image=self.image,
            seed=self.seed,
            expires=self.expires,
            last_snapshot=self.last_snapshot,
            actor=actor,
            idempotency_key=idempotency_key,
        )


class PreviewView(BaseModel):
    """A preview: a workload of its own, addressed as every other."""

    id: Annotated[str, Field(description="Its workload's id.")]
    name: Annotated[str, Field(description="Its workload's name.")]
    parent_id: str
    parent: Annotated[str, Field(description="The name of the workload that it is a copy of.")]
    made_for: Annotated[str, Field(description="The branch, the pull request, or what a person called it.")]
    image: str
    deployment: Annotated[
        DeploymentState | None,
        Field(description="How its newest deployment stands; null before the first one began."),
    ]
    domains: list[str]
    seed: Annotated[str | None, Field(description="The snapshot that its data came from; null where it began empty.")]
    expires_seconds: float
    expires_at: Annotated[str, Field(description="When it is removed with its data, unless it is updated before.")]
    last_snapshot: Annotated[bool, Field(description="Whether a snapshot is taken before.")]
    created_at: str
    created_by: str

    @classmethod
    def of(cls, state: PreviewState) -> PreviewView:
        """The view of a preview."""
        preview, workload = state.preview, state.workload
        return cls(
            id=workload.id,
            name=workload.name,
            parent_id=preview.parent_id,
            parent=preview.parent,
            made_for=preview.key,
            image=workload.spec.image_words,
            deployment=state.deployment,
            domains=[domain.name for domain in workload.spec.domains],
            seed=preview.seed or None,
            expires_seconds=preview.expires,
            expires_at=preview.expires_at,
            last_snapshot=preview.last_snapshot,
            created_at=workload.created_at,
            created_by=preview.created_by,
        )


class PreviewsView(BaseModel):
    items: list[PreviewView]
