"""The server itself: alive, ready, its version, its doctor, its own description."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from holdfast import __version__
from holdfast.api.answers import problems
from holdfast.api.auth import PUBLIC, Admin, Viewer
from holdfast.api.schemas.system import (
    DoctorView,
    FindingView,
    HealthView,
    ReadinessView,
    SourcesView,
    SourceView,
    VersionView,
)
from holdfast.api.services import Services
from holdfast.api.strict_route import StrictRoute
from holdfast.services.doctor import worst

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
