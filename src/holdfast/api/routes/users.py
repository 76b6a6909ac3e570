"""Users: list, make, change, remove."""

from __future__ import annotations

from fastapi import APIRouter, Response

from holdfast.api.answers import problems
from holdfast.api.auth import Admin
from holdfast.api.parameters import UserName
from holdfast.api.schemas.accounts import PasswordBody, UserBody, UserChangeBody, UsersView, UserView
from holdfast.api.services import Services
from holdfast.api.strict_route import StrictRoute

router = APIRouter(prefix="/api/users", tags=["users"], route_class=StrictRoute)


@router.get("", summary="List the users, by name", responses=problems())
async def list_users(services: Services, _caller: Admin) -> UsersView:
    return UsersView(items=[UserView.of(user) for user in await services.accounts.list()])


@router.post(
    "", summary="Make a user; the first token ends with an admin", status_code=201, responses=problems(409, 429)
)
async def create_user(services: Services, caller: Admin, body: UserBody) -> UserView:
    password = body.password.get_secret_value()
    user = await services.accounts.create(
        body.name, password, body.role, actor=caller.name, by_first_token=caller.user_id is None
    )
    return UserView.of(user)


@router.patch(
    "/{user}",
    summary="Change a user's role, disable or enable them",
    description="At once, also for tokens. Who is disabled is signed out everywhere.",
    responses=problems(404, 409),
)
async def change_user(services: Services, caller: Admin, user: UserName, body: UserChangeBody) -> UserView:
    changed = await services.accounts.change(user, role=body.role, disabled=body.disabled, actor=caller.name)
    return UserView.of(changed)


@router.put(
    "/{user}/password",
    summary="Give a user another password; all of their sessions end",
    responses=problems(404, 429),
)
async def set_password(services: Services, caller: Admin, user: UserName, body: PasswordBody) -> UserView:
    password = body.password.get_secret_value()
    return UserView.of(await services.accounts.set_password(user, password, actor=caller.name))


@router.delete(
    "/{user}",
    summary="Remove a user, with their sessions and tokens",
    status_code=204,
    response_class=Response,
    responses=problems(404, 409),
)
async def remove_user(services: Services, caller: Admin, user: UserName) -> Response:
    await services.accounts.delete(user, actor=caller.name)
    return Response(status_code=204)
