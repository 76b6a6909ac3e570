"""What a workload uses of the machine, on the wire."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from holdfast.domain.metrics import Used
from holdfast.domain.times import from_unix
from holdfast.services.metrics import WorkloadMetrics


class MetricsPointView(BaseModel):
    """What all instances together used in one step, or in the part of it in which they ran."""

    at: Annotated[str, Field(description="When the step begins.")]
    covered_seconds: Annotated[int, Field(description="For how long of it something is known.")]
    cpu_cores: Annotated[float, Field(description="Cores that were busy, on average.")]
    cpu_cores_max: Annotated[float, Field(description="The most of them in one sample.")]
    memory_bytes: Annotated[int, Field(description="On average, without what the kernel only keeps of files.")]
    memory_bytes_max: int
    received_bytes: int
    sent_bytes: int

    @classmethod
    def of(cls, used: Used) -> MetricsPointView:
        """The view of ``used``."""
        return cls(
            at=from_unix(used.at),
            covered_seconds=used.seconds,
            cpu_cores=round(used.cpu / used.seconds / 1000, 3),
            cpu_cores_max=used.cpu_max / 1000,
            memory_bytes=used.memory,
            memory_bytes_max=used.memory_max,
            received_bytes=used.received,
            sent_bytes=used.sent,
        )


class VolumeSizeView(BaseModel):
    """How large a volume was when it was looked at."""

    target: str
    at: str
    bytes: Annotated[int, Field(description="On disk, holes not counted.")]


class MetricsView(BaseModel):
    """What a workload used in some time."""

    since: str
    until: str
    step_seconds: Annotated[int, Field(description="How long the time of each item is; maybe not as was asked for.")]
    cpu_limit_cores: Annotated[float | None, Field(description="What an instance may use; null: all.")]
    memory_limit_bytes: Annotated[int | None, Field(description="What an instance may use; null: all.")]
    items: Annotated[list[MetricsPointView], Field(description="Oldest first; none for a step in which nothing ran.")]
    volumes: Annotated[
        list[VolumeSizeView],
        Field(description="Oldest first: each time that a volume was looked at since then, and the last time before."),
    ]

    @classmethod
    def of(cls, metrics: WorkloadMetrics) -> MetricsView:
        """The view of ``metrics``."""
        return cls(
            since=from_unix(metrics.query.since),
            until=from_unix(metrics.query.until),
            step_seconds=metrics.query.step,
            cpu_limit_cores=metrics.limits.cpus,
            memory_limit_bytes=metrics.limits.memory,
            items=[MetricsPointView.of(used) for used in metrics.points],
            volumes=[
                VolumeSizeView(target=size.target, at=from_unix(size.at), bytes=size.bytes) for size in metrics.volumes
            ],
        )
