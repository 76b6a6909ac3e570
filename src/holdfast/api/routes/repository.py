"""The repository that holds all snapshots: free what nothing needs, read back."""

from __future__ import annotations

from fastapi import APIRouter, Response

from holdfast.api.answers import accepted, accepted_or, problems
from holdfast.api.auth import Admin, Operator, Viewer
from holdfast.api.parameters import ConfirmDelete, IdempotencyKey, SnapshotId
from holdfast.api.schemas.operation import OperationView
from holdfast.api.schemas.repository import PruneBody, RepositoryVerifyBody, UnreadableSnapshotView, UnreadableView
from holdfast.api.services import Services
from holdfast.api.strict_route import StrictRoute

router = APIRouter(prefix="/api/repository", tags=["repository"], route_class=StrictRoute)


@router.post(
    "/prune",
    summary="Delete the snapshots that their workloads no longer keep, and free what no snapshot needs",
    description="What a workload keeps stands in its declaration (`snapshots.keep`); one that says nothing keeps all. "
    "The operation's outcome lists every snapshot that was judged with the reasons for which it is kept.",
    status_code=202,
    responses=accepted_or(404, 409),
)
async def prune_repository(
    response: Response,
    services: Services,
    caller: Admin,
    request: PruneBody | None = None,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    wanted = request or PruneBody()
    operation = await services.care.prune(
        wanted.workload, dry_run=wanted.dry_run, actor=caller.name, idempotency_key=idempotency_key
    )
    return accepted(response, operation)


@router.post(
    "/verify",
    summary="Read a share of the repository back, and tell which snapshots and files damage touches",
    status_code=202,
    responses=accepted_or(409),
)
async def verify_repository(
    response: Response,
    services: Services,
    caller: Operator,
    request: RepositoryVerifyBody | None = None,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    wanted = request or RepositoryVerifyBody()
    operation = await services.care.verify(percent=wanted.share, actor=caller.name, idempotency_key=idempotency_key)
    return accepted(response, operation)


@router.get("/damaged", summary="List the snapshots whose manifest can't be read", responses=problems())
async def list_damaged(services: Services, _caller: Viewer) -> UnreadableView:
    return UnreadableView(items=[UnreadableSnapshotView.of(each) for each in await services.unreadable.list()])


@router.delete(
    "/damaged/{snapshot}",
    summary="Delete a snapshot whose manifest can't be read",
    description="Needs `X-Confirm-Delete: <id of the snapshot>`. Only its manifest is removed; what others need stays.",
    status_code=204,
    response_class=Response,
    responses=problems(404, 409, 422, 428),
)
async def delete_damaged(
    services: Services, caller: Admin, snapshot_id: SnapshotId, confirm: ConfirmDelete = None
) -> Response:
    await services.unreadable.delete(snapshot_id, confirm=confirm, actor=caller.name)
    return Response(status_code=204)
