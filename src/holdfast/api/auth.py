"""Who is asking, and whether they may.

Every route declares who may use it: the role that it needs with :class:`Requires`, or :class:`Public`. A route that
declares neither, or both, can't be made (:mod:`holdfast.api.strict_route`).

Programs prove who they are by a token in a header; who signed in, in a browser or on the command line, by a cookie.
Browsers attach cookies by themselves, also to what a foreign page sends, or that of a workload on a neighbouring
domain, which counts as the same site. So what comes with a cookie and is to change something needs a header
(:data:`HEADER`) that such a page can only send with a CORS permission, never given here. A token's own header is one
that it can't send either.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import Depends, Query, Request, Response, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from holdfast.api.services import ApiServices, services_of
from holdfast.api.sse import Onlooker
from holdfast.domain.accounts import MAX_USER_NAME, Principal, Role, TokenScope
from holdfast.domain.errors import Forbidden, TooMany, Unauthorized

HEADER: Final = "X-Holdfast-Request"
COOKIE: Final = "holdfast"
TLS_COOKIE: Final = "__Host-holdfast"
"""With TLS: of this name browsers take a cookie from this very host only, from no neighbour."""
MOST_STREAMS: Final = 100
"""That one user follows at a time: each holds a connection for good, and nobody may take all that there are."""
_MAX_SECRET_LENGTH: Final = 512
_CHANGES_NOTHING: Final = frozenset({"GET", "HEAD", "OPTIONS"})

_bearer = HTTPBearer(auto_error=False, scheme_name="token", description="A token, see `holdfast token`.")
_cookie = APIKeyCookie(
    name=TLS_COOKIE,
    auto_error=False,
    scheme_name="session",
    description=f"As `POST /api/session` sets it; without TLS its name is `{COOKIE}`. "
    f"What changes something needs the header `{HEADER}` as well, with any value.",
)


class Public:
    """A dependency: anybody may."""

    async def __call__(self) -> None:
        """Nothing is asked of anybody."""


class Requires:
    """A dependency: the caller, who has at least ``role``.

    Args:
        session: whether they have to be signed in: a token is not enough.
        whole: whether a token that is confined is refused, also to the part that this belongs to.
    """

    def __init__(self, role: Role, *, session: bool = False, whole: bool = False) -> None:
        self.role = role
        self.session = session
        self.whole = whole

    async def __call__(
        self,
        request: Request,
        _token: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
        _session: Annotated[str | None, Security(_cookie)],
        services: Annotated[ApiServices, Depends(services_of)],
    ) -> Principal:
        """The caller.

        Raises:
            Unauthorized: ``token_missing``, ``token_unknown`` or ``session_over``.
            Forbidden: ``role_insufficient``, ``scope_insufficient``, ``session_needed`` or ``request_header_missing``.
            Unavailable: ``audit_unwritable``.
        """
        principal = await _caller(request, services)
        request.state.principal = principal  # stands in the audit log, also where the rest refuses
        require_role(principal, self.role)
        _require_scope(principal, request, whole=self.whole)
        if self.session and principal.session_id is None:
            raise Forbidden(
                "session_needed",
                "This is for who is signed in with a password; a token is not enough.",
                next_step="Sign in with `holdfast login`. Nothing was changed.",
            )
        if getattr(request.state, "recorded", False):
            await services.audit.require_writable()
        return principal


def require_role(principal: Principal, role: Role) -> None:
    """Make sure that a caller has at least a role, where what they ask for decides which one.

    Raises:
        Forbidden: ``role_insufficient``.
    """
    if not principal.role.includes(role):
        raise Forbidden(
            "role_insufficient",
            f"This needs the role {role}; {principal.name} has {principal.role}.",
            next_step=f"Ask someone with the role {role}.",
            details={"needed": str(role), "role": str(principal.role)},
        )


def require_header(request: Request) -> None:
    """Make sure that no foreign page sent what is to change something.

    Raises:
        Forbidden: ``request_header_missing``.
    """
    if request.method not in _CHANGES_NOTHING and not request.headers.get(HEADER):
        raise Forbidden(
            "request_header_missing",
            f"What changes something needs the header {HEADER}, so that no other site can send it.",
            next_step=f"Send {HEADER}: 1 with it. Nothing was changed.",
        )


def cookie_name(services: ApiServices) -> str:
    """The name of the cookie that holds a session."""
    return TLS_COOKIE if services.tls else COOKIE


def set_session(response: Response, services: ApiServices, secret: str, seconds: float) -> None:
    """Have the browser keep a session, out of reach for scripts and for what other sites send."""
    response.set_cookie(
        cookie_name(services), secret, max_age=int(seconds), path="/", secure=True, httponly=True, samesite="strict"
    )


def forget_session(response: Response, services: ApiServices) -> None:
    """Have the browser forget a session."""
    response.delete_cookie(cookie_name(services), path="/", secure=True, httponly=True, samesite="strict")


def address_of(request: Request, services: ApiServices) -> str:
    """Where a request comes from. Of what a proxy tells only what it saw itself is believed: the end of the list."""
    peer = request.client.host if request.client is not None else ""
    told = ",".join(request.headers.getlist("X-Forwarded-For")).rpartition(",")[2].strip()
    try:
        address = _plain(peer)
        return str(_plain(told)) if any(address in proxy for proxy in services.proxies) else peer
    except ValueError:
        return peer


def _plain(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address; one of IPv4 that came in by a socket of IPv6 as what it is."""
    address = ipaddress.ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address


async def _caller(request: Request, services: ApiServices) -> Principal:
    """Who sent a request, as things are now.

    Raises:
        Unauthorized: ``token_missing``, ``token_unknown`` or ``session_over``.
        Forbidden: ``request_header_missing``.
    """
    credentials = await _bearer(request)
    if credentials is not None:
        return await _by_token(services, credentials.credentials)
    if secret := request.cookies.get(cookie_name(services)):
        require_header(request)
        return await _by_session(services, secret)
    raise Unauthorized(
        "token_missing",
        "This address needs a token, or somebody who is signed in.",
        next_step="Sign in with `holdfast login`, or set HOLDFAST_TOKEN or HOLDFAST_TOKEN_FILE; programs send "
        "'Authorization: Bearer …'. The first token is in the server's data directory (admin-token).",
    )


async def onlooker(
    request: Request,
    services: Annotated[ApiServices, Depends(services_of)],
    meant: Annotated[
        str | None,
        Query(
            alias="user",
            description="For whom a stream is asked for; refused if it is another user who asks. A browser sends the "
            "cookie of whoever signed in last, whoever may be looking on.",
            max_length=MAX_USER_NAME,
        ),
    ] = None,
) -> AsyncIterator[Onlooker]:
    """Who follows a stream; it is looked again whether they may, and raised as at first if not.

    Raises:
        Unauthorized: ``session_over``, where it is not the user who is meant.
        TooMany: ``streams_too_many``.
    """

    async def check() -> None:
        require_role(await _caller(request, services), Role.VIEWER)

    user = (await _caller(request, services)).user
    if meant not in (None, user):
        raise _session_over()
    following: Counter[str] = request.app.state.following
    if following[user] >= MOST_STREAMS:
        raise TooMany(
            "streams_too_many",
            f"{user} follows {MOST_STREAMS} streams at a time already, which is the most.",
            next_step="Close pages, or end commands, that nobody looks at.",
        )
    following[user] += 1
    try:
        yield Onlooker(still_allowed=check, closing=request.app.state.closing)
    finally:  # once the answer has ended
        following[user] -= 1
        if not following[user]:
            del following[user]


async def _by_token(services: ApiServices, token: str) -> Principal:
    principal = await services.tokens.verify(token) if 0 < len(token) <= _MAX_SECRET_LENGTH else None
    if principal is None:
        raise Unauthorized(
            "token_unknown",
            "The token is not one of this server's, or not any more.",
            next_step="Check HOLDFAST_TOKEN, sign in with `holdfast login`, or, before there is an admin, use the file "
            "admin-token in the server's data directory.",
        )
    return principal


async def _by_session(services: ApiServices, secret: str) -> Principal:
    principal = await services.sessions.verify(secret) if len(secret) <= _MAX_SECRET_LENGTH else None
    if principal is None:
        raise _session_over()
    return principal


def _session_over() -> Unauthorized:
    return Unauthorized(
        "session_over",
        "You are not signed in any more.",
        next_step="Sign in again; on the command line with `holdfast login`.",
    )


_WHO_MAY_WHAT: Final = frozenset({TokenScope.USERS, TokenScope.SESSIONS, TokenScope.TOKENS})


def _require_scope(principal: Principal, request: Request, *, whole: bool) -> None:
    """Make sure that a token that is confined to parts of the API stays there. A route's tag is its part."""
    (part,) = request.scope["route"].tags
    if principal.scopes and part not in principal.scopes:
        raise Forbidden(
            "scope_insufficient",
            f"{principal.name} is confined to {', '.join(sorted(principal.scopes))}; this belongs to {part}.",
            next_step=f"Use a token whose scopes include {part}.",
            details={"needed": part, "scopes": sorted(principal.scopes)},
        )
    if principal.scopes and (whole or (part in _WHO_MAY_WHAT and request.method not in _CHANGES_NOTHING)):
        why = "this reaches all parts" if whole else "who makes users or changes them could do everything with them"
        raise Forbidden(
            "scope_insufficient",
            f"{principal.name} is confined to {', '.join(sorted(principal.scopes))}; {why}.",
            next_step="Sign in with `holdfast login`, or use a token without scopes. Nothing was changed.",
            details={"needed": part, "scopes": sorted(principal.scopes)},
        )


PUBLIC: Final = Depends(Public())
"""Declares, among a route's ``dependencies``, that anybody may use it."""

Viewer = Annotated[Principal, Depends(Requires(Role.VIEWER))]
Operator = Annotated[Principal, Depends(Requires(Role.OPERATOR))]
Admin = Annotated[Principal, Depends(Requires(Role.ADMIN))]
WholeAdmin = Annotated[Principal, Depends(Requires(Role.ADMIN, whole=True))]
"""What reaches all parts of the API is for nobody who is confined to some."""
Follower = Annotated[Onlooker, Depends(onlooker)]
"""For what goes on long after its caller was let in."""
SignedIn = Annotated[Principal, Depends(Requires(Role.VIEWER, session=True))]
