"""How workloads were over time."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from holdfast.api.answers import problems
from holdfast.api.auth import Viewer
from holdfast.api.parameters import Moment, WorkloadRef
from holdfast.api.schemas.health import HealthHistoryView
from holdfast.api.services import Services
from holdfast.api.strict_route import StrictRoute

router = APIRouter(prefix="/api/workloads/{workload}/health", tags=["metrics"], route_class=StrictRoute)


@router.get(
    "",
    summary="Tell how a workload was over time",
    description="Whether it ran, and what its image's own health check said; recorded when it changes, for a month. "
    "While Holdfast or the engine was away it is unknown. Where there are very many changes they come in coarser "
    "steps, each told by the worst of it.",
    responses=problems(404),
)
async def read_health(
    services: Services,
    _caller: Viewer,
    ref: WorkloadRef,
    *,
    since: Annotated[Moment | None, Query(description="From this time on; all that is kept if not given.")] = None,
    until: Annotated[Moment | None, Query(description="Up to and with this time; now if not given.")] = None,
) -> HealthHistoryView:
    found = await services.health.of(
        ref,
        since=None if since is None else int(since.timestamp()),
        until=None if until is None else int(until.timestamp()),
    )
    return HealthHistoryView.of(found)
