"""The repository that holds all snapshots: free what nothing needs, read back."""

from __future__ import annotations

from fastapi import APIRouter, Response

from holdfast.api.answers import accepted, accepted_or
from holdfast.api.auth import Admin, Operator
from holdfast.api.schemas.operation import OperationView
from holdfast.api.schemas.repository import PruneBody, RepositoryVerifyBody
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
    response: Response, services: Services, caller: Admin, request: PruneBody | None = None
) -> OperationView:
    wanted = request or PruneBody()
    return accepted(response, await services.care.prune(wanted.workload, dry_run=wanted.dry_run, actor=caller.name))


@router.post(
    "/verify",
    summary="Read a share of the repository back, and tell which snapshots and files damage touches",
    status_code=202,
    responses=accepted_or(409),
)
async def verify_repository(
    response: Response, services: Services, caller: Operator, request: RepositoryVerifyBody | None = None
) -> OperationView:
    wanted = request or RepositoryVerifyBody()
    return accepted(response, await services.care.verify(percent=wanted.share, actor=caller.name))
