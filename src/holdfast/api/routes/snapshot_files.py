"""What is in a snapshot: its folders, downloads, and what differs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from starlette.responses import StreamingResponse

from holdfast.api.answers import accepted, accepted_or, problems
from holdfast.api.auth import Operator
from holdfast.api.parameters import Limit, PrintableText, SnapshotId, WorkloadRef
from holdfast.api.schemas.operation import OperationView
from holdfast.api.schemas.snapshot_files import CompareRequest, FolderView, decode_path
from holdfast.api.services import Services
from holdfast.api.strict_route import StrictRoute
from holdfast.domain.snapshot import FolderFormat

router = APIRouter(prefix="/api/workloads/{workload}/snapshots/{snapshot}", tags=["snapshots"], route_class=StrictRoute)

Target = Annotated[
    PrintableText | None,
    Query(alias="volume", description="The volume's target; needed where there are several.", max_length=512),
]
Path = Annotated[str, Query(description="Plain text, from the volume's root; or see `encoded`.", max_length=2048)]
Encoded = Annotated[bool, Query(description="Whether `path` is as a listing gave it, and not plain text.")]


@router.get("/files", summary="List a folder of a snapshot", responses=problems(404, 409))
async def list_files(
    services: Services,
    _caller: Operator,
    ref: WorkloadRef,
    snapshot_id: SnapshotId,
    *,
    target: Target = None,
    path: Path = "",
    encoded: Encoded = False,
    after: Annotated[str, Query(description="`next_after` of the page before this one.", max_length=1024)] = "",
    limit: Limit = 100,
) -> FolderView:
    folder = await services.snapshot_files.folder(
        ref,
        snapshot_id,
        target=target,
        path=decode_path(path, encoded=encoded),
        after=decode_path(after, encoded=True),
        limit=limit,
    )
    return FolderView.of(folder)


@router.get(
    "/content",
    summary="Download a file of a snapshot, or a folder as a tar or zip stream",
    description="Always as an attachment, and never as what it says that it is. A failure midway breaks the "
    "connection.",
    response_class=StreamingResponse,
    responses=problems(404, 409)
    | {200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def download(
    services: Services,
    _caller: Operator,
    ref: WorkloadRef,
    snapshot_id: SnapshotId,
    *,
    target: Target = None,
    path: Path = "",
    encoded: Encoded = False,
    kind: Annotated[FolderFormat, Query(alias="format", description="How a folder is sent.")] = FolderFormat.TAR,
) -> StreamingResponse:
    found = await services.snapshot_files.download(
        ref, snapshot_id, target=target, path=decode_path(path, encoded=encoded), kind=kind
    )
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in found.name).lstrip(".") or "file"
    headers = {"Content-Disposition": f'attachment; filename="{safe}"'}
    if found.size is not None:
        headers["Content-Length"] = str(found.size)
    return StreamingResponse(found.content, media_type="application/octet-stream", headers=headers)


@router.post(
    "/compare",
    summary="Tell what is other in another snapshot, or in the live data",
    status_code=202,
    responses=accepted_or(404, 409),
)
async def compare(
    response: Response,
    services: Services,
    caller: Operator,
    ref: WorkloadRef,
    snapshot_id: SnapshotId,
    request: CompareRequest | None = None,
) -> OperationView:
    against = None if request is None else request.against
    return accepted(
        response, await services.snapshot_files.compare(ref, snapshot_id, against=against, actor=caller.name)
    )
