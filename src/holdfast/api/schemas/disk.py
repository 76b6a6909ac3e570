"""What takes space on disks, on the wire."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from holdfast.domain.disk import Cause, CauseUse, DiskItem
from holdfast.domain.times import from_unix
from holdfast.services.disk import DiskReport


class FilesystemView(BaseModel):
    """A filesystem that volumes or Holdfast's own data are on."""

    model_config = ConfigDict(from_attributes=True)

    mount_point: str
    type: str
    total_bytes: int
    free_bytes: Annotated[int, Field(description="Without what is reserved for root.")]


class DiskItemView(BaseModel):
    name: str
    bytes: Annotated[int | None, Field(description="Null: not looked at yet.")]
    at: Annotated[str | None, Field(description="When it was looked at; null: just now, or not yet.")]

    @classmethod
    def of(cls, item: DiskItem) -> DiskItemView:
        """The view of ``item``."""
        return cls(name=item.name, bytes=item.bytes, at=None if item.at is None else from_unix(item.at))


class CauseView(BaseModel):
    """What one cause takes."""

    cause: Cause
    bytes: Annotated[int, Field(description="All together, as far as it is known.")]
    items: Annotated[list[DiskItemView], Field(description="Largest first.")]
    problem: Annotated[str, Field(description="Why it is not known; empty if it is.")]

    @classmethod
    def of(cls, use: CauseUse) -> CauseView:
        """The view of ``use``."""
        return cls(
            cause=use.cause, bytes=use.bytes, items=[DiskItemView.of(item) for item in use.items], problem=use.problem
        )


class DiskView(BaseModel):
    """What takes space."""

    filesystems: list[FilesystemView]
    causes: list[CauseView]

    @classmethod
    def of(cls, report: DiskReport) -> DiskView:
        """The view of ``report``."""
        return cls(
            filesystems=[FilesystemView.model_validate(each) for each in report.filesystems],
            causes=[CauseView.of(use) for use in report.causes],
        )
