"""All snapshots, whosever they are, and the cloning of one into another workload, or into a new one.

Here snapshots are addressed by themselves: one of a workload that was deleted has no other address.
"""

from __future__ import annotations

from anyio import to_thread
from fastapi import APIRouter, Response

from holdfast.api.answers import accepted, accepted_or, problems
from holdfast.api.auth import Admin, Viewer
from holdfast.api.parameters import ConfirmRestore, Cursor, IdempotencyKey, Limit, SnapshotId, WorkloadFilter
from holdfast.api.schemas.clone import CloneRequest
from holdfast.api.schemas.operation import OperationView
from holdfast.api.schemas.pages import PageView, page_view
from holdfast.api.schemas.snapshot import SnapshotView
from holdfast.api.services import Services
from holdfast.api.strict_route import StrictRoute
from holdfast.services.clones import CloneWish

router = APIRouter(prefix="/api/snapshots", tags=["clones"], route_class=StrictRoute)


@router.get(
    "",
    summary="List all snapshots, newest first",
    description="Also those of workloads that were deleted: `workload` finds them by the name of then.",
    responses=problems(),
)
async def list_all_snapshots(
    services: Services, _caller: Viewer, of: WorkloadFilter = None, limit: Limit = 50, cursor: Cursor = None
) -> PageView[SnapshotView]:
    return page_view(await services.snapshots.list_all(of=of, limit=limit, cursor=cursor), SnapshotView.of)


@router.get("/{snapshot}", summary="Look at a snapshot, whosever it is", responses=problems(404))
async def get_any_snapshot(services: Services, _caller: Viewer, snapshot_id: SnapshotId) -> SnapshotView:
    return SnapshotView.of(await services.snapshots.anywhere(snapshot_id))


@router.post(
    "/{snapshot}/clone",
    summary="Restore a snapshot into another workload, or into a new one",
    description="Needs `X-Confirm-Restore: <id of the snapshot>`, but for a dry run. The operation belongs to the "
    "workload that the data goes to, and so does the safety snapshot; `undo` of that workload takes it back. A new "
    "workload gets its data before it runs for the first time; `create_missing` goes without saying there.",
    status_code=202,
    responses=accepted_or(404, 409, 422, 428, 507),
)
async def clone_snapshot(
    response: Response,
    services: Services,
    caller: Admin,
    snapshot_id: SnapshotId,
    request: CloneRequest,
    confirm: ConfirmRestore = None,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    wish = CloneWish(
        snapshot_id=snapshot_id,
        confirm=confirm,
        volumes=tuple(request.volumes) if request.volumes is not None else None,
        renames=request.map,
        with_image=request.with_image,
        dry_run=request.dry_run,
        actor=caller.name,
        idempotency_key=idempotency_key,
    )
    if request.into is not None:
        operation = await services.clones.into(
            wish,
            request.into,
            on_unhealthy=request.on_unhealthy,
            create_missing=request.create_missing,
            accept_replaced=request.accept_replaced,
        )
    else:
        # It is read in a thread: a large one takes a moment, and others wait.
        operation = await services.clones.new(wish, await to_thread.run_sync(request.wanted))
    return accepted(response, operation)
