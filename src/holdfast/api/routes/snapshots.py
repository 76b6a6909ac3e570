"""Snapshots of a workload: take, look, verify, pin, delete, and carry out and in as archives."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import StreamingResponse

from holdfast.api.answers import accepted, accepted_or, problems
from holdfast.api.auth import Admin, Operator, Viewer
from holdfast.api.parameters import Cursor, IdempotencyKey, Limit, SnapshotId, WorkloadRef
from holdfast.api.schemas.operation import OperationView
from holdfast.api.schemas.pages import PageView, page_view
from holdfast.api.schemas.snapshot import DrillBody, SnapshotPatch, SnapshotRequest, SnapshotView
from holdfast.api.services import Services
from holdfast.api.strict_route import StrictRoute
from holdfast.api.uploads import ARCHIVE_TYPES, receive_upload

router = APIRouter(prefix="/api/workloads/{workload}/snapshots", tags=["snapshots"], route_class=StrictRoute)


@router.get("", summary="List a workload's snapshots, newest first", responses=problems(404))
async def list_snapshots(
    services: Services, _caller: Viewer, ref: WorkloadRef, limit: Limit = 50, cursor: Cursor = None
) -> PageView[SnapshotView]:
    return page_view(await services.snapshots.list(ref, limit=limit, cursor=cursor), SnapshotView.of)


@router.post("", summary="Take a snapshot", status_code=202, responses=accepted_or(404, 409, 422, 507))
async def create_snapshot(
    response: Response,
    services: Services,
    caller: Operator,
    ref: WorkloadRef,
    request: SnapshotRequest | None = None,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    wanted = request or SnapshotRequest()
    operation = await services.snapshots.create(
        ref, quiesce=wanted.quiesce, note=wanted.note, actor=caller.name, idempotency_key=idempotency_key
    )
    return accepted(response, operation)


@router.post(
    "/import",
    summary="Import an archive as a snapshot",
    description="The body is the archive itself, as `snapshot export` or `tar` made it, compressed with zstd or gzip. "
    "It is treated as hostile: what it holds beside files and directories is left out and listed, unless links are "
    "allowed.",
    status_code=202,
    responses=accepted_or(404, 409, 422, 507),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in ARCHIVE_TYPES},
        }
    },
)
async def import_snapshot(
    request: Request,
    response: Response,
    services: Services,
    caller: Admin,
    ref: WorkloadRef,
    *,
    allow_links: Annotated[bool, Query(description="Also take symbolic and hard links.")] = False,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    workload = await services.workloads.get(ref)  # before an upload of many gigabytes, not after it
    async with receive_upload(request, services.uploads_dir, reserve_bytes=services.disk_reserve_bytes) as upload:
        operation = await services.snapshots.import_archive(
            workload.id,
            upload.path,
            allow_links=allow_links,
            actor=caller.name,
            idempotency_key=idempotency_key,
        )
        upload.hand_over()
    return accepted(response, operation)


@router.get("/{snapshot}", summary="Look at a snapshot", responses=problems(404))
async def get_snapshot(services: Services, _caller: Viewer, ref: WorkloadRef, snapshot_id: SnapshotId) -> SnapshotView:
    return SnapshotView.of(await services.snapshots.get(ref, snapshot_id))


@router.patch("/{snapshot}", summary="Pin or unpin a snapshot", responses=problems(404, 409))
async def patch_snapshot(
    services: Services, caller: Admin, ref: WorkloadRef, snapshot_id: SnapshotId, request: SnapshotPatch
) -> SnapshotView:
    return SnapshotView.of(await services.snapshots.set_pinned(ref, snapshot_id, request.pinned, actor=caller.name))


@router.delete(
    "/{snapshot}", summary="Delete a snapshot", status_code=204, response_class=Response, responses=problems(404, 409)
)
async def delete_snapshot(services: Services, caller: Admin, ref: WorkloadRef, snapshot_id: SnapshotId) -> Response:
    await services.snapshots.delete(ref, snapshot_id, actor=caller.name)
    return Response(status_code=204)


@router.post(
    "/{snapshot}/verify",
    summary="Read all of a snapshot back and compare it with its hashes",
    status_code=202,
    responses=accepted_or(404, 409),
)
async def verify_snapshot(
    response: Response,
    services: Services,
    caller: Operator,
    ref: WorkloadRef,
    snapshot_id: SnapshotId,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    operation = await services.snapshots.verify(ref, snapshot_id, actor=caller.name, idempotency_key=idempotency_key)
    return accepted(response, operation)


@router.post(
    "/{snapshot}/drill",
    summary="Prove that a snapshot can be restored, in a throw-away copy of the workload",
    description="The copy gets a name, an internal network, and directories of its own; the workload itself "
    "is not touched. It runs the image of then, has to become healthy and to pass the check, and is removed with its "
    "data however that ends. The snapshot then says when it was proved (`proved_at`).",
    status_code=202,
    responses=accepted_or(404, 409),
)
async def drill_snapshot(
    response: Response,
    services: Services,
    caller: Operator,
    ref: WorkloadRef,
    snapshot_id: SnapshotId,
    request: DrillBody | None = None,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    command = None if request is None else request.command
    operation = await services.drills.start(
        ref, snapshot_id, command=command, actor=caller.name, idempotency_key=idempotency_key
    )
    return accepted(response, operation)


@router.get(
    "/{snapshot}/archive",
    summary="Download a snapshot as a portable archive",
    description="A tar file, compressed with zstd, that `tar` can open. A failure midway breaks the connection.",
    response_class=StreamingResponse,
    responses=problems(404, 409, 422)
    | {200: {"content": {"application/zstd": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def export_snapshot(
    services: Services, _caller: Operator, ref: WorkloadRef, snapshot_id: SnapshotId
) -> StreamingResponse:
    name, chunks = await services.snapshots.export(ref, snapshot_id)
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in name)
    return StreamingResponse(
        chunks, media_type="application/zstd", headers={"Content-Disposition": f'attachment; filename="{safe}"'}
    )
