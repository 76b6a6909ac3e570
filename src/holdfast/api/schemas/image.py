"""Images that are kept, on the wire."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from holdfast.services.image_care import KeptImage


class PruneImagesBody(BaseModel, extra="forbid"):
    dry_run: Annotated[bool, Field(description="Only tell what would go.")] = False


class KeptImageView(BaseModel):
    """An image that was deployed, and is kept on the host."""

    id: str
    names: Annotated[list[str], Field(description="What it was built or pulled as.")]
    size: Annotated[int, Field(description="Bytes; layers that it shares with other images are counted in each.")]
    needed_by: Annotated[
        list[str], Field(description="Workloads that run it, or can go back to it; empty: a prune would let it go.")
    ]

    @classmethod
    def of(cls, image: KeptImage) -> KeptImageView:
        """The view of ``image``."""
        return cls(id=image.id, names=list(image.names), size=image.size, needed_by=list(image.needed_by))


class KeptImagesView(BaseModel):
    items: list[KeptImageView]
