"""Tokens: each user's own; admins see and end all."""

from __future__ import annotations

from fastapi import APIRouter, Response

from holdfast.api.answers import problems
from holdfast.api.auth import SignedIn, Viewer, require_role
from holdfast.api.parameters import TokenId, UserFilter
from holdfast.api.schemas.accounts import CreatedTokenView, TokenBody, TokensView, TokenView
from holdfast.api.services import Services
from holdfast.api.strict_route import StrictRoute
from holdfast.domain.accounts import Role

router = APIRouter(prefix="/api/tokens", tags=["tokens"], route_class=StrictRoute)


@router.get(
    "",
    summary="List tokens, newest first",
    description="Of admins' asking those of all users, of others' their own.",
    responses=problems(404),
)
async def list_tokens(services: Services, caller: Viewer, user: UserFilter = None) -> TokensView:
    if user is not None and user != caller.user:
        require_role(caller, Role.ADMIN)
    if user is not None:
        of_user: str | None = (await services.accounts.get(user)).id
    else:
        of_user = None if caller.role is Role.ADMIN else caller.user_id
    return TokensView(items=[TokenView.of(token) for token in await services.tokens.list(of_user)])


@router.post(
    "",
    summary="Make a token of one's own; it is told this once",
    description="Only for who is signed in: no token makes tokens.",
    status_code=201,
    responses=problems(409),
)
async def create_token(services: Services, caller: SignedIn, body: TokenBody) -> CreatedTokenView:
    user = await services.accounts.user_of(caller)
    secret, token = await services.tokens.create(
        user,
        body.name,
        role=body.role or user.role,
        scopes=body.scopes,
        lasts=body.expires_in,
        actor=caller.name,
    )
    return CreatedTokenView.made(token, secret)


@router.delete(
    "/{token}",
    summary="End a token at once",
    description="Those of others are for admins; no token ends one with a greater role.",
    status_code=204,
    response_class=Response,
    responses=problems(404),
)
async def remove_token(services: Services, caller: Viewer, token: TokenId) -> Response:
    of_user = None if caller.role is Role.ADMIN else caller.user_id
    up_to = caller.role if caller.session_id is None else Role.ADMIN
    await services.tokens.remove(token, of_user=of_user, up_to=up_to, actor=caller.name)
    return Response(status_code=204)
