"""What workloads use of the machine, and figures of all for Prometheus."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Response

from holdfast.api.answers import problems
from holdfast.api.auth import Viewer
from holdfast.api.exposition import exposed
from holdfast.api.parameters import Moment, WorkloadRef
from holdfast.api.schemas.metrics import MetricsView
from holdfast.api.services import Services
from holdfast.api.strict_route import StrictRoute

router = APIRouter(prefix="/api/workloads/{workload}/metrics", tags=["metrics"], route_class=StrictRoute)
figures = APIRouter(tags=["metrics"], route_class=StrictRoute)

_LONGEST_STEP = 31 * 24 * 3600


@router.get(
    "",
    summary="Tell what a workload used of processors, memory and network",
    description="Of the last month at most, all instances together. The older, the coarser: samples are kept for a "
    "day, quarters of an hour for a week, hours for a month.",
    responses=problems(404),
)
async def read_metrics(
    services: Services,
    _caller: Viewer,
    ref: WorkloadRef,
    *,
    since: Annotated[
        Moment | None, Query(description="From this time on; an hour before `until` if not given.")
    ] = None,
    until: Annotated[Moment | None, Query(description="Up to this time; now if not given.")] = None,
    step: Annotated[
        int | None,
        Query(
            description="Seconds that an item is about; if not given, such that there are some dozens of them. "
            "Raised where it is finer than what is kept, or where there would be more than 1500 items.",
            ge=1,
            le=_LONGEST_STEP,
        ),
    ] = None,
) -> MetricsView:
    found = await services.metrics.of(
        ref,
        since=None if since is None else int(since.timestamp()),
        until=None if until is None else int(until.timestamp()),
        step=step,
    )
    return MetricsView.of(found)


@figures.get(
    "/metrics",
    summary="Tell figures in the text form of Prometheus",
    description="Operations, workloads, snapshots, volumes, schedules and filesystems, from what is known: the engine "
    "is not asked for it.",
    response_class=Response,
    responses=problems() | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def get_figures(services: Services, _caller: Viewer) -> Response:
    families = await services.monitoring.figures()
    text, media_type = await asyncio.to_thread(exposed, families)
    return Response(text, headers={"Content-Type": media_type})
