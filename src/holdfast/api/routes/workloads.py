"""Workloads: list, look, create, change, preview a change, delete."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from holdfast.api.answers import accepted, accepted_or, problems
from holdfast.api.auth import Admin, Operator, Viewer
from holdfast.api.parameters import Cursor, Limit, MadeFrom, WorkloadRef
from holdfast.api.schemas.operation import OperationView
from holdfast.api.schemas.pages import PageView, page_view
from holdfast.api.schemas.status import StatusInBriefView, StatusView
from holdfast.api.schemas.workload import json_schema
from holdfast.api.schemas.workload_view import ApplyView, WorkloadView
from holdfast.api.services import Services
from holdfast.api.strict_route import StrictRoute
from holdfast.api.workload_body import BODY, Declaration
from holdfast.domain.accounts import Principal, Role
from holdfast.domain.errors import Forbidden, NotFound
from holdfast.domain.workload import Scope, Workload, WorkloadSpec
from holdfast.services.workloads import ApplyResult

router = APIRouter(prefix="/api", tags=["workloads"], route_class=StrictRoute)

_ETAG = {"ETag": {"description": "The configuration's `revision`, in quotes.", "schema": {"type": "string"}}}
_REVISION = {"headers": _ETAG}
_MADE = {
    "headers": _ETAG | {"Location": {"description": "Where the workload is.", "schema": {"type": "string"}}},
}


@router.get("/workloads", summary="List workloads, newest first", responses=problems())
async def list_workloads(
    services: Services, _caller: Viewer, limit: Limit = 50, cursor: Cursor = None
) -> PageView[WorkloadView]:
    return page_view(await services.workloads.list(limit, cursor), WorkloadView.of)


@router.post(
    "/workloads",
    summary="Create a workload",
    status_code=201,
    responses=problems(409, 422) | {201: _MADE},
    openapi_extra=BODY,
)
async def create_workload(response: Response, services: Services, caller: Operator, spec: Declaration) -> ApplyView:
    _check_allowed(caller, spec)
    result = await services.workloads.apply(spec, actor=caller.name, create=True)
    _locate(response, result)
    return ApplyView.of(spec.name, result)


@router.post(
    "/workloads/preview",
    summary="Show what applying a configuration would change",
    responses=problems(409, 422),
    openapi_extra=BODY,
)
async def preview_workload(services: Services, _caller: Operator, spec: Declaration) -> ApplyView:
    return ApplyView.of(spec.name, await services.workloads.preview(spec))


@router.get("/workloads/{workload}", summary="Look at a workload", responses=problems(404) | {200: _REVISION})
async def get_workload(response: Response, services: Services, _caller: Viewer, ref: WorkloadRef) -> WorkloadView:
    workload = await services.workloads.get(ref)
    response.headers["ETag"] = _etag(workload)
    return WorkloadView.of(workload)


@router.put(
    "/workloads/{workload}",
    summary="Create or change a workload",
    description="By name it is created if there is none; by id it must exist. What runs changes with the next deploy. "
    "With `If-Match` only if nobody has changed the configuration since.",
    responses=problems(404, 409, 412, 422)
    | {200: _REVISION, 201: {"model": ApplyView, "description": "Created."} | _MADE},
    openapi_extra=BODY,
)
async def put_workload(
    response: Response,
    services: Services,
    caller: Operator,
    ref: WorkloadRef,
    spec: Declaration,
    made_from: MadeFrom,
) -> ApplyView:
    before = await _existing(services, ref, spec.name)
    allowed = partial(_check_allowed, caller, spec)
    allowed(None if before is None else before.spec)
    expect_id = None if before is None else before.id
    result = await services.workloads.apply(
        spec, actor=caller.name, expect_id=expect_id, made_from=made_from, allowed=allowed
    )
    response.status_code = 201 if result.created else 200
    _locate(response, result)
    return ApplyView.of(spec.name, result)


@router.delete(
    "/workloads/{workload}",
    summary="Delete a workload",
    description="Its instances are removed. Its data stays unless `delete_data` says otherwise (and that of absolute "
    "volumes even then); its snapshots stay, and a workload made again under its name takes them up.",
    status_code=202,
    responses=accepted_or(404, 409),
)
async def delete_workload(
    response: Response,
    services: Services,
    caller: Admin,
    ref: WorkloadRef,
    *,
    delete_data: Annotated[bool, Query(description="Also remove the data of its volumes.")] = False,
) -> OperationView:
    return accepted(response, await services.workloads.delete(ref, delete_data=delete_data, actor=caller.name))


@router.get("/workloads/{workload}/status", summary="Tell how a workload is doing", responses=problems(404))
async def get_workload_status(services: Services, _caller: Viewer, ref: WorkloadRef) -> StatusView:
    status = await services.workloads.status(ref)
    of = status.workload.id
    return StatusView.of(status, await services.snapshots.safety_kept(of), await services.schedules.of(of))


@router.get("/statuses", summary="Tell how all workloads are doing, newest first", responses=problems())
async def list_statuses(
    services: Services, _caller: Viewer, limit: Limit = 50, cursor: Cursor = None
) -> PageView[StatusInBriefView]:
    return page_view(await services.workloads.statuses(limit, cursor), StatusInBriefView.of)


@router.get("/schemas/workload", summary="Get the JSON Schema of a workload's declaration", responses=problems())
async def get_workload_schema(_caller: Viewer) -> dict[str, Any]:
    return json_schema()


def _check_allowed(caller: Principal, spec: WorkloadSpec, before: WorkloadSpec | None = None) -> None:
    """What of the host's or the engine's own a container is given, or no longer given, is for admins to say.

    Args:
        before: the configuration that ``spec`` takes the place of.

    Raises:
        Forbidden: ``absolute_volume_forbidden``, ``engine_volume_forbidden``, ``network_forbidden``.
    """
    if caller.role is Role.ADMIN:
        return
    if joined := sorted(set(spec.networks) ^ set(() if before is None else before.networks)):
        raise Forbidden(
            "network_forbidden",
            f"Networks of the engine's ({', '.join(joined)}) are configured by admins only: who is on one reaches all "
            "that is.",
            next_step="Leave them as they are, or ask an admin.",
            details={"networks": joined},
        )
    now = frozenset(spec.volumes)
    then = frozenset(() if before is None else before.volumes)
    touched = sorted(now ^ then, key=lambda volume: volume.target)
    if taken := [volume.target for volume in touched if volume.engine_volume]:
        raise Forbidden(
            "engine_volume_forbidden",
            f"Volumes that name one of the engine's own ({', '.join(taken)}) are configured by admins only.",
            next_step="Leave them as they are, use one that is made for the workload, or ask an admin.",
            details={"targets": taken},
        )
    if absolute := [volume.target for volume in touched if volume.scope is Scope.ABSOLUTE]:
        raise Forbidden(
            "absolute_volume_forbidden",
            f"Volumes of scope absolute ({', '.join(absolute)}) are configured by admins only.",
            next_step="Leave them as they are, use the scope stage or project, or ask an admin.",
            details={"targets": absolute},
        )


async def _existing(services: Services, ref: str, name: str) -> Workload | None:
    """The workload that the change must hit; ``None`` where a new one is meant."""
    try:
        return await services.workloads.get(ref)
    except NotFound:
        if ref != name:
            raise
        return None


def _locate(response: Response, result: ApplyResult) -> None:
    assert result.workload is not None  # an apply always has one; only the preview of a new workload has none
    response.headers["Location"] = f"/api/workloads/{result.workload.id}"
    response.headers["ETag"] = _etag(result.workload)


def _etag(workload: Workload) -> str:
    return f'"{workload.spec.revision}"'
