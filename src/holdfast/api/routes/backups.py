"""Backups of Holdfast's own state: for admins only, and what seals and opens them for no confined token."""

from __future__ import annotations

from fastapi import APIRouter, Response
from starlette.responses import StreamingResponse

from holdfast.api.answers import accepted, accepted_or, problems
from holdfast.api.auth import Admin, WholeAdmin
from holdfast.api.parameters import BackupId, ConfirmRestore, IdempotencyKey
from holdfast.api.schemas.backups import BackupPassphraseBody, BackupsView, PassphraseBody
from holdfast.api.schemas.operation import OperationView
from holdfast.api.services import Services
from holdfast.api.strict_route import StrictRoute

router = APIRouter(prefix="/api/backups", tags=["backups"], route_class=StrictRoute)


@router.get("", summary="List the backups of Holdfast's own state, newest first", responses=problems())
async def list_backups(services: Services, _caller: Admin) -> BackupsView:
    return BackupsView.of(await services.backups.list(), await services.backups.passphrase_state())


@router.post(
    "",
    summary="Make a backup, and read it back",
    status_code=202,
    responses=accepted_or(409, 422, 507),
)
async def create_backup(
    response: Response, services: Services, caller: Admin, idempotency_key: IdempotencyKey = None
) -> OperationView:
    return accepted(response, await services.backups.create(actor=caller.name, idempotency_key=idempotency_key))


@router.put(
    "/passphrase",
    summary="Set the passphrase of the backups that are made from now on",
    description="Not for a token that is confined: who knows the passphrase can open backups, and all secrets in them.",
    status_code=204,
    response_class=Response,
    responses=problems(507),
)
async def set_backup_passphrase(services: Services, _caller: WholeAdmin, body: PassphraseBody) -> Response:
    await services.backups.set_passphrase(body.passphrase.get_secret_value())
    return Response(status_code=204)


@router.get(
    "/{backup}/file",
    summary="Download a backup: sealed, as it is",
    response_class=StreamingResponse,
    responses=problems(404)
    | {200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def download_backup(services: Services, _caller: Admin, backup_id: BackupId) -> StreamingResponse:
    found = await services.backups.download(backup_id)
    headers = {"Content-Disposition": f'attachment; filename="{found.name}"', "Content-Length": str(found.size)}
    return StreamingResponse(found.content, media_type="application/octet-stream", headers=headers)


@router.post(
    "/{backup}/verify",
    summary="Read a backup to its end, and check all of it",
    status_code=202,
    responses=accepted_or(404, 422),
)
async def verify_backup(
    response: Response,
    services: Services,
    caller: Admin,
    backup_id: BackupId,
    request: BackupPassphraseBody | None = None,
    idempotency_key: IdempotencyKey = None,
) -> OperationView:
    passphrase = None if request is None else request.plain
    operation = await services.backups.verify(backup_id, passphrase, actor=caller.name, idempotency_key=idempotency_key)
    return accepted(response, operation)


@router.post(
    "/{backup}/restore",
    summary="Bring the state in a backup back; the server starts anew for it",
    description="Needs `X-Confirm-Restore: <id of the backup>`. What is there is backed up first, and checked. The "
    "operation is known to the server that starts anew, too; sessions are not. Not for a token that is confined.",
    status_code=202,
    responses=accepted_or(404, 409, 422, 428, 507),
)
async def restore_backup(
    response: Response,
    services: Services,
    caller: WholeAdmin,
    backup_id: BackupId,
    request: BackupPassphraseBody | None = None,
    confirm: ConfirmRestore = None,
) -> OperationView:
    operation = await services.backup_restores.restore(
        backup_id,
        confirm=confirm,
        passphrase=None if request is None else request.plain,
        actor=caller.name,
    )
    return accepted(response, operation)


@router.delete(
    "/{backup}",
    summary="Delete a backup for good",
    status_code=204,
    response_class=Response,
    responses=problems(404, 409),
)
async def delete_backup(services: Services, caller: Admin, backup_id: BackupId) -> Response:
    await services.backups.delete(backup_id, actor=caller.name)
    return Response(status_code=204)
