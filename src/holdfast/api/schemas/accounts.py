"""Users, sessions and tokens on the wire. A password comes in and never goes out; a token goes out once."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, Field, SecretStr

from holdfast.api.parameters import PrintableText
from holdfast.domain.accounts import (
    MAX_PASSWORD,
    MAX_USER_NAME,
    TOKEN_NAME,
    USER_NAME,
    ApiToken,
    Principal,
    Role,
    Session,
    TokenScope,
    User,
)
from holdfast.domain.units import MAX_DURATION

DEFAULT_LASTS: Final = 90 * 86400.0
"""Seconds that a token lasts, if nothing else is said."""

Password = Annotated[SecretStr, Field(min_length=1, max_length=MAX_PASSWORD, json_schema_extra={"writeOnly": True})]
UserNameText = Annotated[str, Field(pattern=f"^{USER_NAME}$", max_length=MAX_USER_NAME)]


class SignInBody(BaseModel, extra="forbid"):
    username: Annotated[PrintableText, Field(min_length=1, max_length=256)]
    password: Password


class CallerView(BaseModel):
    name: Annotated[str, Field(description="As what the caller is recorded: a user, or `user/token`.")]
    role: Role
    signed_in: Annotated[bool, Field(description="Whether by a session; else by a token.")]
    scopes: Annotated[list[TokenScope], Field(description="The only parts of the API for this token; empty for all.")]
    position: Annotated[str, Field(description="Where `GET /api/events` stands.")]

    @classmethod
    def of(cls, caller: Principal, position: str) -> CallerView:
        """The view of a caller."""
        return cls(
            name=caller.name,
            role=caller.role,
            signed_in=caller.session_id is not None,
            scopes=sorted(caller.scopes),
            position=position,
        )


class SetupView(BaseModel):
    pending: Annotated[bool, Field(description="Whether there is no admin yet who could sign in.")]


class SessionView(BaseModel):
    id: str
    current: Annotated[bool, Field(description="Whether it is the one that asks.")]
    created_at: str
    used_at: Annotated[str, Field(description="When it was used last, to within an hour.")]
    expires_at: Annotated[str, Field(description="When it ends at the latest; a week without use ends it before.")]
    address: Annotated[str, Field(description="Where its user signed in from.")]
    agent: Annotated[str, Field(description="With which program, as that says itself.")]

    @classmethod
    def of(cls, session: Session, caller: Principal) -> SessionView:
        """The view of a session."""
        return cls(
            id=session.id,
            current=session.id == caller.session_id,
            created_at=session.created_at,
            used_at=session.used_at,
            expires_at=session.expires_at,
            address=session.address,
            agent=session.agent,
        )


class SessionsView(BaseModel):
    items: list[SessionView]


class EndedView(BaseModel):
    ended: Annotated[int, Field(description="How many sessions ended.")]


class NewPasswordBody(BaseModel, extra="forbid"):
    current: Annotated[Password, Field(description="The present password.")]
    password: Annotated[Password, Field(description="The new one.")]


class PasswordBody(BaseModel, extra="forbid"):
    password: Password


class UserBody(BaseModel, extra="forbid"):
    name: UserNameText
    password: Password
    role: Role


class UserChangeBody(BaseModel, extra="forbid"):
    role: Role | None = None
    disabled: bool | None = None


class UserView(BaseModel):
    id: str
    name: str
    role: Role
    disabled: Annotated[bool, Field(description="Whether nobody gets in as this user.")]
    created_at: str
    password_set_at: str

    @classmethod
    def of(cls, user: User) -> UserView:
        """The view of a user."""
        return cls(
            id=user.id,
            name=user.name,
            role=user.role,
            disabled=user.disabled,
            created_at=user.created_at,
            password_set_at=user.password_set_at,
        )


class UsersView(BaseModel):
    items: list[UserView]


class TokenBody(BaseModel, extra="forbid"):
    name: Annotated[str, Field(description="What it is for.", pattern=f"^{TOKEN_NAME}$", max_length=MAX_USER_NAME)]
    role: Annotated[Role | None, Field(description="At most the user's own, which it is if none is given.")] = None
    scopes: Annotated[
        list[TokenScope],
        Field(
            description="The only parts of the API that it may use; empty for all. A route's tag here is its part.",
            max_length=len(TokenScope),
        ),
    ] = []
    expires_in: Annotated[
        float | None, Field(description="Seconds; null for never.", gt=0, le=MAX_DURATION, allow_inf_nan=False)
    ] = DEFAULT_LASTS


class TokenView(BaseModel):
    id: str
    user: str
    name: str
    role: Annotated[Role, Field(description="At most; what its user may do now is the other bound.")]
    scopes: list[TokenScope]
    created_at: str
    expires_at: str | None

    @classmethod
    def of(cls, token: ApiToken) -> TokenView:
        """The view of a token."""
        return cls(**_shown(token))


class CreatedTokenView(TokenView):
    token: Annotated[str, Field(description="The token itself, told this once.")]

    @classmethod
    def made(cls, token: ApiToken, secret: str) -> CreatedTokenView:
        """The view of a token that was made just now."""
        return cls(**_shown(token), token=secret)


class TokensView(BaseModel):
    items: list[TokenView]


def _shown(token: ApiToken) -> dict[str, Any]:
    return {
        "id": token.id,
        "user": token.user,
        "name": token.name,
        "role": token.role,
        "scopes": token.scopes,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
    }
