"""The server itself: alive, ready, its version, its doctor, its own description."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from holdfast import __version__
from holdfast.api.answers import problems
from holdfast.api.auth import PUBLIC, Admin, Follower, Viewer
from holdfast.api.schemas.system import (
    DoctorView,
    FindingView,
    HealthView,
    ReadinessView,
    SourcesView,
    SourceView,
    UpdatesView,
    VersionView,
)
from holdfast.api.services import Services
from holdfast.api.sse import STREAM, event_stream
from holdfast.api.strict_route import StrictRoute
from holdfast.services.doctor import worst
from holdfast.services.updates import Update

router = APIRouter(tags=["system"], route_class=StrictRoute)


@router.get("/healthz", summary="Tell that the server is alive", dependencies=[PUBLIC], responses=problems())
async def healthz() -> HealthView:
    return HealthView(status="ok")


@router.get(
    "/readyz",
    summary="Tell whether the server is ready, and what it waits for",
    dependencies=[PUBLIC],
    responses=problems() | {503: {"model": ReadinessView, "description": "Not ready yet."}},
)
async def readyz(response: Response, services: Services) -> ReadinessView:
    ready, waiting_for = services.readiness.ready()
    response.status_code = 200 if ready else 503
    return ReadinessView(ready=ready, waiting_for=waiting_for)


@router.get("/api/version", summary="Tell the server's version", responses=problems())
async def get_version(_caller: Viewer) -> VersionView:
    return VersionView(version=__version__)


@router.get(
    "/api/events",
    summary="Be told of whatever changes, as server-sent events",
    description="Each `event: updates` says where to look again: in which part of the API, of which workload. Begins "
    "with one that says everywhere, so that nothing is missed by connecting anew; who knows its `position` already, "
    "from an earlier one or from `GET /api/session`, has missed nothing.",
    response_class=StreamingResponse,
    responses=problems() | {200: STREAM},
)
async def follow_updates(services: Services, _caller: Viewer, onlooker: Follower) -> StreamingResponse:
    return event_stream("updates", _documents(services.updates.follow()), onlooker)


async def _documents(updates: AsyncIterator[tuple[str, frozenset[Update]]]) -> AsyncIterator[str]:
    async for position, told in updates:
        yield UpdatesView.of(position, told).model_dump_json()


@router.get("/api/doctor", summary="Check everything a support person would ask", responses=problems())
async def get_doctor(services: Services, _caller: Admin) -> DoctorView:
    findings = await services.doctor.findings()
    return DoctorView(level=worst(findings), findings=[FindingView.of(finding) for finding in findings])


@router.get(
    "/api/sources",
    summary="List the sources that are installed",
    description="Loads each of them, to tell whether it can be used.",
    responses=problems(),
)
async def list_sources(services: Services, _caller: Viewer) -> SourcesView:
    return SourcesView(items=[SourceView.of(facts) for facts in await services.sources.list()])


@router.get("/api/openapi.json", summary="Describe the API", responses=problems())
async def get_openapi(request: Request, _caller: Viewer) -> dict[str, Any]:
    document: dict[str, Any] = request.app.openapi()
    return document
