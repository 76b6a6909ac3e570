"""Environment and secrets of a workload: list, set, remove, take over a file. No answer holds a value."""

from __future__ import annotations

from fastapi import APIRouter

from holdfast.api.answers import problems
from holdfast.api.auth import Operator, Viewer
from holdfast.api.parameters import SecretName, WorkloadRef
from holdfast.api.schemas.secrets import EnvBody, SecretBody, SecretsView, SecretView
from holdfast.api.schemas.workload_view import ApplyView
from holdfast.api.services import Services
from holdfast.api.strict_route import StrictRoute

router = APIRouter(prefix="/api/workloads/{workload}", tags=["secrets"], route_class=StrictRoute)


@router.get("/secrets", summary="List a workload's secrets, by name", responses=problems(404))
async def list_secrets(services: Services, _caller: Viewer, ref: WorkloadRef) -> SecretsView:
    return SecretsView(items=[SecretView.of(facts) for facts in await services.secrets.list(ref)])


@router.put(
    "/secrets/{secret}",
    summary="Set a secret",
    description="A change of the configuration: what runs gets the value with the next deploy.",
    responses=problems(404, 409, 413),
)
async def set_secret(
    services: Services, caller: Operator, ref: WorkloadRef, name: SecretName, body: SecretBody
) -> ApplyView:
    result = await services.secrets.set(ref, name, body.value.get_secret_value(), actor=caller.name)
    return ApplyView.of(ref, result)


@router.delete(
    "/secrets/{secret}",
    summary="Remove a secret from a workload's configuration",
    description="Its values go, but for those that a rollback to an earlier deployment would need.",
    responses=problems(404, 409),
)
async def remove_secret(services: Services, caller: Operator, ref: WorkloadRef, name: SecretName) -> ApplyView:
    return ApplyView.of(ref, await services.secrets.remove(ref, name, actor=caller.name))


@router.post(
    "/env",
    summary="Take over the variables of a .env file",
    description="Variables that the file does not name stay as they are. What runs gets them with the next deploy.",
    responses=problems(404, 409, 413),
)
async def import_env(services: Services, caller: Operator, ref: WorkloadRef, body: EnvBody) -> ApplyView:
    result = await services.secrets.import_env(
        ref, body.text.get_secret_value(), body.secrets, dry_run=body.dry_run, actor=caller.name
    )
    return ApplyView.of(ref, result)
