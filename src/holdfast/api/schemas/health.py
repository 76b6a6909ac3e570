"""How a workload was over time, on the wire."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from holdfast.domain.health_history import Health
from holdfast.domain.times import from_unix
from holdfast.services.health_watch import WorkloadHealth


class HealthStateView(BaseModel):
    """A state, which holds until the next one."""

    at: Annotated[str, Field(description="Since when; the first since the time that was asked for.")]
    state: Annotated[
        Health,
        Field(
            description="`healthy`: it runs. `unhealthy`: its image's own health check fails, or the engine starts it "
            "again and again. `down`: it should run, and doesn't. `stopped`: it should not. `unknown`: nobody looked."
        ),
    ]


class HealthHistoryView(BaseModel):
    """How a workload was in some time."""

    since: str
    until: str
    items: Annotated[list[HealthStateView], Field(description="Oldest first; at least one.")]

    @classmethod
    def of(cls, found: WorkloadHealth) -> HealthHistoryView:
        """The view of ``found``."""
        return cls(
            since=from_unix(found.since),
            until=from_unix(found.until),
            items=[HealthStateView(at=from_unix(held.at), state=held.state) for held in found.states],
        )
