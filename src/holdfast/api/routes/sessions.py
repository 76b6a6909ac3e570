"""Signing in and out, and one's own password."""

from __future__ import annotations

from contextlib import suppress

from fastapi import APIRouter, Request, Response

from holdfast.api.answers import problems
from holdfast.api.auth import (
    PUBLIC,
    SignedIn,
    Viewer,
    address_of,
    forget_session,
    require_header,
    require_role,
    set_session,
)
from holdfast.api.parameters import SessionId, UserFilter
from holdfast.api.schemas.accounts import (
    CallerView,
    EndedView,
    NewPasswordBody,
    SessionsView,
    SessionView,
    SetupView,
    SignInBody,
)
from holdfast.api.services import ApiServices, Services
from holdfast.api.strict_route import StrictRoute
from holdfast.domain.accounts import Principal, Role
from holdfast.domain.errors import NotFound
from holdfast.services.sessions import LONGEST_SECONDS

router = APIRouter(prefix="/api", tags=["sessions"], route_class=StrictRoute)


@router.post(
    "/session",
    summary="Sign in",
    description="The session is in the cookie that is set. Needs the header `X-Holdfast-Request`, with any value.",
    status_code=201,
    dependencies=[PUBLIC],
    responses=problems(429),
)
async def sign_in(services: Services, request: Request, response: Response, body: SignInBody) -> CallerView:
    require_header(request)
    secret, session, user = await services.sessions.sign_in(
        body.username,
        body.password.get_secret_value(),
        address=address_of(request, services),
        agent=request.headers.get("User-Agent", ""),
    )
    set_session(response, services, secret, LONGEST_SECONDS)
    caller = Principal(name=user.name, role=user.role, user_id=user.id, session_id=session.id)
    request.state.principal = caller
    return CallerView.of(caller, services.updates.position)


@router.get(
    "/setup",
    summary="Tell whether the first admin is yet to be made",
    description="That is done by `POST /api/users` with the first token.",
    dependencies=[PUBLIC],
    responses=problems(),
)
async def get_setup(services: Services) -> SetupView:
    return SetupView(pending=await services.tokens.setup_pending())


@router.get("/session", summary="Tell who is asking", responses=problems())
async def get_session(services: Services, caller: Viewer) -> CallerView:
    return CallerView.of(caller, services.updates.position)


@router.delete("/session", summary="Sign out here", status_code=204, response_class=Response, responses=problems())
async def sign_out(services: Services, caller: SignedIn) -> Response:
    with suppress(NotFound):  # it ended meanwhile, which is what was asked for
        await services.sessions.end(caller.user_id or "", caller.session_id or "")
    response = Response(status_code=204)
    forget_session(response, services)
    return response


@router.get(
    "/sessions",
    summary="List where one is signed in, newest first",
    description="Those of another user are for admins.",
    responses=problems(404),
)
async def list_sessions(services: Services, caller: SignedIn, user: UserFilter = None) -> SessionsView:
    found = await services.sessions.list(await _whose(services, caller, user))
    return SessionsView(items=[SessionView.of(session, caller) for session in found])


@router.delete(
    "/sessions",
    summary="Sign out everywhere, also here",
    description="Another user is signed out by admins.",
    responses=problems(404),
)
async def sign_out_everywhere(services: Services, caller: SignedIn, user: UserFilter = None) -> EndedView:
    return EndedView(ended=await services.sessions.end_all(await _whose(services, caller, user)))


@router.delete(
    "/sessions/{session}",
    summary="Sign out of one session of one's own",
    status_code=204,
    response_class=Response,
    responses=problems(404),
)
async def end_session(services: Services, caller: SignedIn, session: SessionId) -> Response:
    await services.sessions.end(caller.user_id or "", session)
    return Response(status_code=204)


@router.put(
    "/password",
    summary="Give oneself another password; all other sessions end",
    status_code=204,
    response_class=Response,
    responses=problems(409, 429),
)
async def change_password(services: Services, request: Request, caller: SignedIn, body: NewPasswordBody) -> Response:
    await services.accounts.change_password(
        caller,
        body.current.get_secret_value(),
        body.password.get_secret_value(),
        address=address_of(request, services),
    )
    return Response(status_code=204)


async def _whose(services: ApiServices, caller: Principal, user: str | None) -> str:
    """The id of the user that is meant: the caller, or the one that is named."""
    if user is None or user == caller.user:
        return caller.user_id or ""
    require_role(caller, Role.ADMIN)
    return (await services.accounts.get(user)).id
