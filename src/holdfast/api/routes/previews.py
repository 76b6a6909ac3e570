"""Previews: copies of a workload for a branch, a pull request or a person, with data of their own, for a while."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import AfterValidator

from holdfast.api.answers import accepted, accepted_or, problems
from holdfast.api.auth import Operator, Viewer
from holdfast.api.parameters import NAME, IdempotencyKey, WorkloadFilter, WorkloadRef, workload_ref
from holdfast.api.schemas.operation import OperationView
from holdfast.api.schemas.previews import PreviewBody, PreviewsView, PreviewView
from holdfast.api.services import Services
from holdfast.api.strict_route import StrictRoute

router = APIRouter(prefix="/api", tags=["previews"], route_class=StrictRoute)

PreviewRef = Annotated[
    str,
    Path(
        alias="preview",
        description="The id or name of a preview's workload.",
        json_schema_extra={"pattern": f"^{NAME}$"},
    ),
    AfterValidator(workload_ref),
]


@router.get("/previews", summary="List all previews, newest first", responses=problems(404))
async def list_previews(services: Services, _caller: Viewer, of: WorkloadFilter = None) -> PreviewsView:
    return PreviewsView(items=[PreviewView.of(each) for each in await services.previews.list(of)])


@router.post(
    "/workloads/{workload}/previews",
    summary="Make a preview of a workload, or update the one that is there",
    description="The operation belongs to the preview: its deployment, or the clone that brings it its data first. Of "
    "the workload itself nothing is locked, stopped or written to.",
    status_code=202,
    responses=accepted_or(404, 409, 422, 507),
)
async def create_preview(
    response: Response,
    services: Services,
    caller: Operator,
    ref: WorkloadRef,
    body: PreviewBody,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    wish = body.wish(actor=caller.name, idempotency_key=idempotency_key)
    return accepted(response, await services.previews.begin(ref, wish))


@router.get("/previews/{preview}", summary="Look at a preview", responses=problems(404))
async def get_preview(services: Services, _caller: Viewer, preview: PreviewRef) -> PreviewView:
    return PreviewView.of(await services.previews.get(preview))


@router.delete(
    "/previews/{preview}",
    summary="Remove a preview with its data",
    description="Its snapshots stay.",
    status_code=202,
    responses=accepted_or(404, 409, 422),
)
async def delete_preview(
    response: Response,
    services: Services,
    caller: Operator,
    preview: PreviewRef,
    last_snapshot: Annotated[
        bool | None, Query(description="Whether a snapshot is taken before; left out: as it was made.")
    ] = None,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    operation = await services.previews.end(
        preview, last_snapshot=last_snapshot, actor=caller.name, idempotency_key=idempotency_key
    )
    return accepted(response, operation)
