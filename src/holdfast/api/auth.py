"""Who is asking, and whether they may.

Every route declares the role that it needs with :class:`Requires`; a test walks all routes and fails on one that
declares none. The bearer token is also what makes every request one that a foreign page cannot forge: browsers attach
cookies by themselves, never an ``Authorization`` header, and sending one needs a CORS permission, never given here.
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Depends, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from holdfast.api.services import ApiServices, services_of
from holdfast.domain.accounts import Principal, Role
from holdfast.domain.errors import Forbidden, Unauthorized

_MAX_TOKEN_LENGTH: Final = 512

_bearer = HTTPBearer(auto_error=False, scheme_name="token", description="A token, see `holdfast serve`.")


class Requires:
    """A dependency: the caller, who has at least ``role``."""

    def __init__(self, role: Role) -> None:
        self.role = role

    async def __call__(
        self,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
        services: Annotated[ApiServices, Depends(services_of)],
    ) -> Principal:
        """The caller.

        Raises:
            Unauthorized: ``token_missing`` or ``token_unknown``.
            Forbidden: ``role_insufficient``.
        """
        if credentials is None:
            raise Unauthorized(
                "token_missing",
                "This address needs a token.",
                next_step="Set HOLDFAST_TOKEN or HOLDFAST_TOKEN_FILE; programs send 'Authorization: Bearer …'. "
                "The first token is in the server's data directory (admin-token).",
            )
        token = credentials.credentials
        principal = await services.tokens.verify(token) if 0 < len(token) <= _MAX_TOKEN_LENGTH else None
        if principal is None:
            raise Unauthorized(
                "token_unknown",
                "The token is not one of this server's.",
                next_step="Check HOLDFAST_TOKEN, or use the file admin-token in the server's data directory.",
            )
        require_role(principal, self.role)
        return principal


def require_role(principal: Principal, role: Role) -> None:
    """Make sure that a caller has at least a role, where what they ask for decides which one.

    Raises:
        Forbidden: ``role_insufficient``.
    """
    if not principal.role.includes(role):
        raise Forbidden(
            "role_insufficient",
            f"This needs the role {role}; the token has {principal.role}.",
            next_step=f"Ask someone with the role {role}.",
            details={"needed": str(role), "role": str(principal.role)},
        )


Viewer = Annotated[Principal, Depends(Requires(Role.VIEWER))]
Operator = Annotated[Principal, Depends(Requires(Role.OPERATOR))]
Admin = Annotated[Principal, Depends(Requires(Role.ADMIN))]
