"""What takes space on disks, on the wire."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from holdfast.api.schemas.errors import ErrorView
from holdfast.domain.disk import Cause, CauseUse, DiskItem, Forecast
from holdfast.domain.times import from_unix
from holdfast.engine.space import FilesystemSpace
from holdfast.services.disk import DiskReport


class ForecastView(BaseModel):
    """How a filesystem fills, by the median of the last weeks, a month at most."""

    since: Annotated[str, Field(description="The beginning of the time that it is made of.")]
    bytes_per_day: Annotated[int, Field(description="By how much it fills; negative where it empties.")]
    full_at: Annotated[str | None, Field(description="When it is full if it goes on so; null: not within a year.")]

    @classmethod
    def of(cls, forecast: Forecast) -> ForecastView:
        """The view of ``forecast``."""
        return cls(
            since=from_unix(forecast.since),
            bytes_per_day=forecast.bytes_per_day,
            full_at=None if forecast.full_at is None else from_unix(forecast.full_at),
        )


class FilesystemView(BaseModel):
    """A filesystem that volumes or Holdfast's own data are on."""

    mount_point: str
    type: str
    total_bytes: int
    free_bytes: Annotated[int, Field(description="Without what is reserved for root.")]
    forecast: Annotated[ForecastView | None, Field(description="Null: it has not been looked at for a day yet.")]

    @classmethod
    def of(cls, space: FilesystemSpace, forecast: Forecast | None) -> FilesystemView:
        """The view of ``space``."""
        return cls(
            mount_point=space.mount_point,
            type=space.type,
            total_bytes=space.total_bytes,
            free_bytes=space.free_bytes,
            forecast=None if forecast is None else ForecastView.of(forecast),
        )


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
    problem: Annotated[ErrorView | None, Field(description="Why it is not known; null if it is.")]

    @classmethod
    def of(cls, use: CauseUse) -> CauseView:
        """The view of ``use``."""
        return cls(
            cause=use.cause,
            bytes=use.bytes,
            items=[DiskItemView.of(item) for item in use.items],
            problem=ErrorView.of_any(use.problem),
        )


class DiskView(BaseModel):
    """What takes space."""

    filesystems: list[FilesystemView]
    causes: list[CauseView]

    @classmethod
    def of(cls, report: DiskReport) -> DiskView:
        """The view of ``report``."""
        return cls(
            filesystems=[FilesystemView.of(each, report.forecasts[each.mount_point]) for each in report.filesystems],
            causes=[CauseView.of(use) for use in report.causes],
        )
