"""Second repositories: add, try and forget them; copy snapshots there; look at, verify and delete what is there."""

from __future__ import annotations

from fastapi import APIRouter, Response

from holdfast.api.answers import accepted, accepted_or, problems
from holdfast.api.auth import Admin, Operator, Viewer
from holdfast.api.parameters import Cursor, IdempotencyKey, Limit, RepositoryName, SnapshotId, WorkloadFilter
from holdfast.api.schemas.operation import OperationView
from holdfast.api.schemas.pages import PageView, page_view
from holdfast.api.schemas.repositories import (
    CopyBody,
    RepositoriesView,
    RepositoryBody,
    RepositoryFactsView,
    RepositoryView,
    SecondPruneBody,
)
from holdfast.api.schemas.repository import RepositoryVerifyBody
from holdfast.api.schemas.snapshot import SnapshotView
from holdfast.api.services import Services
from holdfast.api.strict_route import StrictRoute
from holdfast.domain.errors import InvalidInput

router = APIRouter(prefix="/api/repositories", tags=["repositories"], route_class=StrictRoute)


@router.get("", summary="List the second repositories", responses=problems())
async def list_repositories(services: Services, _caller: Viewer) -> RepositoriesView:
    return RepositoriesView(items=[RepositoryView.of(each) for each in await services.repositories.list()])


@router.post(
    "",
    summary="Add a second repository",
    description="Tries the place out at once, opens the repository that is there or makes one. Nothing is remembered "
    "if that fails.",
    status_code=201,
    responses=problems(404, 409, 422, 507),
)
async def add_repository(
    response: Response, services: Services, _caller: Admin, request: RepositoryBody
) -> RepositoryView:
    place = request.place
    if place is None:
        raise InvalidInput(
            "repository_place_missing",
            "A repository is either in a directory or in a bucket: exactly one of both has to be named.",
            next_step="Name `directory` or `s3`.",
        )
    added = await services.repositories.add(
        request.name,
        place,
        request.s3.secret_access_key.get_secret_value() if request.s3 is not None else "",
        encrypt=request.directory is None or request.directory.encrypt,
        take_over=request.take_over,
    )
    response.headers["Location"] = f"/api/repositories/{added.name}"
    return RepositoryView.of(added)


@router.get("/{repository}", summary="Look at a second repository", responses=problems(404))
async def get_repository(services: Services, _caller: Viewer, name: RepositoryName) -> RepositoryView:
    return RepositoryView.of(await services.repositories.get(name))


@router.delete(
    "/{repository}",
    summary="Forget a second repository; what is stored there stays",
    status_code=204,
    response_class=Response,
    responses=problems(404, 409),
)
async def remove_repository(services: Services, _caller: Admin, name: RepositoryName) -> Response:
    await services.repositories.remove(name)
    return Response(status_code=204)


@router.post(
    "/{repository}/test",
    summary="Open a second repository, and tell what is there",
    responses=problems(404, 409, 422),
)
async def check_repository(services: Services, _caller: Operator, name: RepositoryName) -> RepositoryFactsView:
    return RepositoryFactsView.of(await services.repositories.test(name))


@router.post(
    "/{repository}/copies",
    summary="Copy snapshots of a workload there; only what is missing is sent",
    status_code=202,
    responses=accepted_or(404, 409, 422, 507),
)
async def copy_snapshots(
    response: Response,
    services: Services,
    caller: Operator,
    name: RepositoryName,
    request: CopyBody,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    operation = await services.copies.copy(
        name,
        workload=request.workload,
        snapshot_id=request.snapshot,
        limit_rate=request.limit_rate,
        actor=caller.name,
        idempotency_key=idempotency_key,
    )
    return accepted(response, operation)


@router.get("/{repository}/snapshots", summary="List the snapshots that are there", responses=problems(404, 409, 422))
async def list_second_snapshots(
    services: Services,
    _caller: Viewer,
    name: RepositoryName,
    workload: WorkloadFilter = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PageView[SnapshotView]:
    page = await services.second_snapshots.list(name, workload=workload, limit=limit, cursor=cursor)
    return page_view(page, SnapshotView.of)


@router.get(
    "/{repository}/snapshots/{snapshot}", summary="Look at a snapshot that is there", responses=problems(404, 409, 422)
)
async def get_second_snapshot(
    services: Services, _caller: Viewer, name: RepositoryName, snapshot_id: SnapshotId
) -> SnapshotView:
    return SnapshotView.of(await services.second_snapshots.get(name, snapshot_id))


@router.delete(
    "/{repository}/snapshots/{snapshot}",
    summary="Delete a snapshot there",
    status_code=204,
    response_class=Response,
    responses=problems(404, 409, 422),
)
async def delete_second_snapshot(
    services: Services, _caller: Admin, name: RepositoryName, snapshot_id: SnapshotId
) -> Response:
    await services.second_snapshots.delete(name, snapshot_id)
    return Response(status_code=204)


@router.post(
    "/{repository}/snapshots/{snapshot}/verify",
    summary="Read all of a snapshot that is there back and compare it with its hashes",
    status_code=202,
    responses=accepted_or(404, 409, 422),
)
async def verify_second_snapshot(
    response: Response,
    services: Services,
    caller: Operator,
    name: RepositoryName,
    snapshot_id: SnapshotId,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    operation = await services.second_snapshots.verify(
        name, snapshot_id, actor=caller.name, idempotency_key=idempotency_key
    )
    return accepted(response, operation)


@router.post(
    "/{repository}/verify",
    summary="Read a share of a second repository back",
    status_code=202,
    responses=accepted_or(404, 409),
)
async def verify_second_repository(
    response: Response,
    services: Services,
    caller: Operator,
    name: RepositoryName,
    request: RepositoryVerifyBody | None = None,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    percent = (request or RepositoryVerifyBody()).share
    operation = await services.second_snapshots.verify_all(
        name, percent=percent, actor=caller.name, idempotency_key=idempotency_key
    )
    return accepted(response, operation)


@router.post(
    "/{repository}/prune",
    summary="Free what no snapshot in a second repository needs",
    description="Deletes no snapshot.",
    status_code=202,
    responses=accepted_or(404, 409),
)
async def prune_second_repository(
    response: Response,
    services: Services,
    caller: Admin,
    name: RepositoryName,
    request: SecondPruneBody | None = None,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    operation = await services.second_snapshots.prune(
        name,
        dry_run=(request or SecondPruneBody()).dry_run,
        actor=caller.name,
        idempotency_key=idempotency_key,
    )
    return accepted(response, operation)
