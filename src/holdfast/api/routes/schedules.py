"""Schedules: what happens by itself, and whether it did."""

from __future__ import annotations

from fastapi import APIRouter

from holdfast.api.answers import problems
from holdfast.api.auth import Viewer
from holdfast.api.schemas.schedule import SchedulesView, ScheduleView
from holdfast.api.services import Services
from holdfast.api.strict_route import StrictRoute

router = APIRouter(prefix="/api/schedules", tags=["schedules"], route_class=StrictRoute)


@router.get(
    "", summary="List the schedules: what is next, how the last run went, what is overdue", responses=problems()
)
async def list_schedules(services: Services, _caller: Viewer) -> SchedulesView:
    return SchedulesView(items=[ScheduleView.of(each) for each in await services.schedules.list()])
