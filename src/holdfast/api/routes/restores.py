"""Restores of a workload: return to a snapshot, undo it, decide what only a person can decide.

Admin only, and never by accident: what is about to replace live data must be named in ``X-Confirm-Restore``.
"""

from __future__ import annotations

from fastapi import APIRouter, Response

from holdfast.api.answers import accepted, accepted_or, problems
from holdfast.api.auth import Admin, Viewer
from holdfast.api.parameters import ConfirmRestore, IdempotencyKey, SnapshotId, WorkloadRef
from holdfast.api.schemas.errors import ErrorView
from holdfast.api.schemas.operation import OperationView
from holdfast.api.schemas.restore import (
    DecisionRequest,
    PendingDecisionView,
    PendingView,
    RestoreRequest,
    UndoRequest,
    UndoTargetView,
)
from holdfast.api.schemas.snapshot import SnapshotView
from holdfast.api.services import Services
from holdfast.api.strict_route import StrictRoute

router = APIRouter(prefix="/api/workloads/{workload}", tags=["restores"], route_class=StrictRoute)


@router.post(
    "/snapshots/{snapshot}/restore",
    summary="Return a workload's data to a snapshot",
    description="Needs `X-Confirm-Restore: <id of the snapshot>`, but for a dry run. The operation's outcome says how "
    "it ended; that of a dry run holds the plan. With `paths`, only these are brought back, each with "
    "all that lay below it; all else stays as it is, also what is written while the restore is under way.",
    status_code=202,
    responses=accepted_or(404, 409, 422, 428, 507),
)
async def restore_snapshot(
    response: Response,
    services: Services,
    caller: Admin,
    ref: WorkloadRef,
    snapshot_id: SnapshotId,
    request: RestoreRequest | None = None,
    confirm: ConfirmRestore = None,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    wanted = request or RestoreRequest()
    operation = await services.restores.restore(
        ref,
        snapshot_id,
        confirm=confirm,
        volumes=tuple(wanted.volumes) if wanted.volumes is not None else None,
        paths=wanted.raw_paths,
        on_unhealthy=wanted.on_unhealthy,
        with_image=wanted.with_image,
        create_missing=wanted.create_missing,
        accept_replaced=wanted.accept_replaced,
        repository=wanted.repository,
        dry_run=wanted.dry_run,
        actor=caller.name,
        idempotency_key=idempotency_key,
    )
    return accepted(response, operation)


@router.get("/undo", summary="Look at what an undo would return to", responses=problems(404))
async def get_undo_target(services: Services, _caller: Viewer, ref: WorkloadRef) -> UndoTargetView:
    target = await services.restores.undo_target(ref)
    return UndoTargetView(snapshot=SnapshotView.of(target) if target else None)


@router.post(
    "/undo",
    summary="Undo the last restore",
    description="Needs `X-Confirm-Restore: <id of the safety snapshot>`, but for a dry run. An undo can be undone.",
    status_code=202,
    responses=accepted_or(404, 409, 422, 428, 507),
)
async def undo_restore(
    response: Response,
    services: Services,
    caller: Admin,
    ref: WorkloadRef,
    request: UndoRequest | None = None,
    confirm: ConfirmRestore = None,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    wanted = request or UndoRequest()
    operation = await services.restores.undo(
        ref,
        confirm=confirm,
        create_missing=wanted.create_missing,
        accept_replaced=wanted.accept_replaced,
        dry_run=wanted.dry_run,
        actor=caller.name,
        idempotency_key=idempotency_key,
    )
    return accepted(response, operation)


@router.get("/restore-decision", summary="Look at what waits for a decision", responses=problems(404))
async def get_pending_decision(services: Services, _caller: Viewer, ref: WorkloadRef) -> PendingView:
    pending = await services.restores.undecided(ref)
    told = None
    if pending is not None:
        choices = list(pending.choices)
        told = PendingDecisionView(
            restore_id=pending.restore_id, why=pending.why, problem=ErrorView.of(pending.told), choices=choices
        )
    return PendingView(pending=told, kept_trees=await services.restores.kept_trees(ref))


@router.post(
    "/restore-decision",
    summary="Decide about a restore that ended as needs_decision",
    description="Needs `X-Confirm-Restore: <id of the restore>` (`GET` tells it), but for `release`.",
    status_code=202,
    responses=accepted_or(404, 409, 422, 428),
)
async def decide_restore(
    response: Response,
    services: Services,
    caller: Admin,
    ref: WorkloadRef,
    request: DecisionRequest,
    confirm: ConfirmRestore = None,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    operation = await services.restores.decide(
        ref, request.choice, confirm=confirm, actor=caller.name, idempotency_key=idempotency_key
    )
    return accepted(response, operation)
