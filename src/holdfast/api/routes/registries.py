"""Registries that Holdfast logs in to: list, add, remove. No answer holds a password."""

from __future__ import annotations

from fastapi import APIRouter, Response

from holdfast.api.answers import problems
from holdfast.api.auth import Admin, Viewer
from holdfast.api.parameters import RegistryHost
from holdfast.api.schemas.registries import RegistriesView, RegistryBody, RegistryView
from holdfast.api.services import Services
from holdfast.api.strict_route import StrictRoute

router = APIRouter(prefix="/api/registries", tags=["registries"], route_class=StrictRoute)


@router.get("", summary="List the registries that Holdfast logs in to", responses=problems())
async def list_registries(services: Services, _caller: Viewer) -> RegistriesView:
    return RegistriesView(items=[RegistryView.of(facts) for facts in await services.registries.list()])


@router.post(
    "",
    summary="Add a registry's login, or replace it; it is tried out first",
    status_code=201,
    responses=problems(422, 503),
)
async def add_registry(services: Services, caller: Admin, body: RegistryBody) -> RegistryView:
    password = body.password.get_secret_value()
    return RegistryView.of(await services.registries.add(body.registry, body.username, password, actor=caller.name))


@router.delete(
    "/{registry}",
    summary="Forget a registry's login; what was pulled stays",
    status_code=204,
    response_class=Response,
    responses=problems(404),
)
async def remove_registry(services: Services, caller: Admin, host: RegistryHost) -> Response:
    await services.registries.remove(host, actor=caller.name)
    return Response(status_code=204)
