"""Deployments of a workload: deploy, start, stop, look back."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from holdfast.api.answers import accepted, accepted_or, problems
from holdfast.api.auth import Operator, Viewer, require_role
from holdfast.api.parameters import (
    ConfirmRestore,
    Cursor,
    DeploymentId,
    IdempotencyKey,
    Limit,
    WorkloadRef,
)
from holdfast.api.schemas.deployment import (
    DeploymentDetailView,
    DeploymentView,
    DeployPlanView,
    DeployRequest,
    PromoteRequest,
    PromotionView,
    RollbackRequest,
    RollbackView,
)
from holdfast.api.schemas.operation import OperationView
from holdfast.api.schemas.pages import PageView, page_view
from holdfast.api.services import Services
from holdfast.api.strict_route import StrictRoute
from holdfast.domain.accounts import Role

router = APIRouter(prefix="/api/workloads/{workload}", tags=["deployments"], route_class=StrictRoute)


@router.post("/deploy", summary="Deploy a workload", status_code=202, responses=accepted_or(404, 409, 422))
async def deploy_workload(
    response: Response,
    services: Services,
    caller: Operator,
    ref: WorkloadRef,
    request: DeployRequest | None = None,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    wanted = request or DeployRequest()
    operation = await services.deployer.deploy(
        ref,
        image=wanted.image,
        accept_volumes=wanted.accept_volumes,
        actor=caller.name,
        idempotency_key=idempotency_key,
    )
    return accepted(response, operation)


@router.get(
    "/deploy",
    summary="Look at what a deploy would change",
    description="Of the configuration, since the newest successful deployment. No registry is asked.",
    responses=problems(404),
)
async def get_deploy_plan(
    services: Services,
    _caller: Viewer,
    ref: WorkloadRef,
    image: Annotated[
        str | None, Query(description="Another image than the configured one.", min_length=1, max_length=512)
    ] = None,
) -> DeployPlanView:
    return DeployPlanView.of(await services.deployment_changes.plan(ref, image))


@router.get(
    "/rollback",
    summary="Look at what a rollback would do",
    description="Without `deployment`: to what ran before the present version. `with_data` tells the data, too.",
    responses=problems(404, 409, 503),
)
async def get_rollback(
    services: Services,
    _caller: Viewer,
    ref: WorkloadRef,
    deployment: Annotated[str | None, Query(description="The deployment to return to.", max_length=64)] = None,
    *,
    with_data: Annotated[bool, Query(description="Return to the data of then as well.")] = False,
) -> RollbackView:
    if not with_data:
        return RollbackView.of(await services.rollbacks.plan(ref, deployment))
    found = await services.data_rollbacks.plan(ref, deployment)
    return RollbackView.of(found.plan, found.snapshot)


@router.post(
    "/rollback",
    summary="Return to an earlier deployment: its image, its configuration, and its data if asked for",
    description="The data stays, unless `with_data` asks for it: then this is a restore of the snapshot that was taken "
    "before that version was left. It needs the role `admin` and `X-Confirm-Restore: <id of that snapshot>` (`GET` "
    "tells it), but for a dry run; an undo takes all of it back.",
    status_code=202,
    responses=accepted_or(404, 409, 422, 428, 507),
)
async def roll_back_workload(
    response: Response,
    services: Services,
    caller: Operator,
    ref: WorkloadRef,
    request: RollbackRequest,
    confirm: ConfirmRestore = None,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    if request.with_data:
        require_role(caller, Role.ADMIN)
        with_data = await services.data_rollbacks.rollback(
            ref,
            request.deployment,
            confirm=confirm,
            accept_volumes=request.accept_volumes,
            dry_run=request.dry_run,
            actor=caller.name,
            idempotency_key=idempotency_key,
        )
        return accepted(response, with_data)
    operation = await services.rollbacks.rollback(
        ref,
        request.deployment,
        accept_volumes=request.accept_volumes,
        volumes_of_others=caller.role is Role.ADMIN,
        actor=caller.name,
        idempotency_key=idempotency_key,
    )
    return accepted(response, operation)


@router.get(
    "/promote",
    summary="Look at what a promotion would do",
    description="Asks the instances of the workload whether they are healthy.",
    responses=problems(404, 409, 503),
)
async def get_promotion(
    services: Services,
    _caller: Viewer,
    ref: WorkloadRef,
    to: Annotated[str, Query(description="The workload that gets it, by id or name.", min_length=1, max_length=64)],
) -> PromotionView:
    return PromotionView.of(await services.promotions.plan(ref, to))


@router.post(
    "/promote",
    summary="Have another workload run the image that this one runs, by its digest",
    description="The operation belongs to the workload that gets it; no data and no configuration goes over.",
    status_code=202,
    responses=accepted_or(404, 409, 422, 503),
)
async def promote_workload(
    response: Response,
    services: Services,
    caller: Operator,
    ref: WorkloadRef,
    request: PromoteRequest,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    operation = await services.promotions.promote(
        ref,
        request.to,
        request.deployment,
        accept_volumes=request.accept_volumes,
        actor=caller.name,
        idempotency_key=idempotency_key,
    )
    return accepted(response, operation)


@router.post("/start", summary="Start a workload", status_code=202, responses=accepted_or(404, 409, 422))
async def start_workload(
    response: Response,
    services: Services,
    caller: Operator,
    ref: WorkloadRef,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    operation = await services.deployer.start(ref, actor=caller.name, idempotency_key=idempotency_key)
    return accepted(response, operation)


@router.post("/stop", summary="Stop a workload", status_code=202, responses=accepted_or(404, 409, 422))
async def stop_workload(
    response: Response,
    services: Services,
    caller: Operator,
    ref: WorkloadRef,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    operation = await services.deployer.stop(ref, actor=caller.name, idempotency_key=idempotency_key)
    return accepted(response, operation)


@router.get("/deployments", summary="List a workload's deployments, newest first", responses=problems(404))
async def list_deployments(
    services: Services, _caller: Viewer, ref: WorkloadRef, limit: Limit = 50, cursor: Cursor = None
) -> PageView[DeploymentView]:
    return page_view(await services.deployer.deployments(ref, limit, cursor), DeploymentView.of)


@router.get(
    "/deployments/{deployment}", summary="Look at a deployment, and at what it changed", responses=problems(404)
)
async def get_deployment(
    services: Services, _caller: Viewer, ref: WorkloadRef, deployment: DeploymentId
) -> DeploymentDetailView:
    return DeploymentDetailView.of_detail(await services.deployment_changes.show(ref, deployment))
