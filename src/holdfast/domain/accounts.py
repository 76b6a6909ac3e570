"""Who asks, and what they may do.

A user signs in with a name and a password, which makes a session; or makes tokens for programs, each of which may do no
more than its user. The first token, made at a first start, belongs to no user: it is there to make the first admin, and
ends with that.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from holdfast.domain.errors import InvalidInput, NotFound

USER_NAME: Final = "[a-z0-9][a-z0-9._-]{0,62}"
"""What a user's name looks like. It has no '/', which parts it from its tokens' names where both are told."""
MAX_USER_NAME: Final = 63
TOKEN_NAME: Final = USER_NAME
MIN_PASSWORD: Final = 12
MAX_PASSWORD: Final = 1024
"""Characters of a password."""
_FEWEST_DIFFERENT: Final = 5
"""Different characters that a password has at least."""
FIRST_ADMIN: Final = "first-token"
"""Who acts with the first token, in what is recorded."""
ON_HOST: Final = "host"
"""Who acts on the server's host, without the server, in what is recorded."""
RESERVED_NAMES: Final = frozenset({FIRST_ADMIN, ON_HOST, "drill", "expiry", "reconciliation", "schedule", "webhook"})
"""Who acts without being a user, in what is recorded."""


class Role(StrEnum):
    """What an account may do; each role includes those before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, other: Role) -> bool:
        """Whether whoever has this role may do what ``other`` may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


class TokenScope(StrEnum):
    """A part of the API that a token may be confined to; each route belongs to one."""

    AUDIT = "audit"
    BACKUPS = "backups"
    CLONES = "clones"
    DEPLOYMENTS = "deployments"
    IMAGES = "images"
    IMPORT = "import"
    LOGS = "logs"
    METRICS = "metrics"
    NOTIFICATIONS = "notifications"
    OPERATIONS = "operations"
    PREVIEWS = "previews"
    REGISTRIES = "registries"
    REPOSITORIES = "repositories"
    REPOSITORY = "repository"
    RESTORES = "restores"
    SCHEDULES = "schedules"
    SECRETS = "secrets"
    SESSIONS = "sessions"
    SNAPSHOTS = "snapshots"
    SYSTEM = "system"
    TOKENS = "tokens"
    USERS = "users"
    WEBHOOKS = "webhooks"
    WORKLOADS = "workloads"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Somebody who proved who they are.

    Attributes:
        name: as what they are recorded: a user's name; with one of the user's tokens ``user/token``.
        user_id: ``None`` for the first token.
        session_id: of those who signed in.
        scopes: the only parts of the API that they may use; empty for all.
    """

    name: str
    role: Role
    user_id: str | None = None
    session_id: str | None = None
    scopes: frozenset[TokenScope] = frozenset()

    @property
    def user(self) -> str:
        """The user's name, also with a token."""
        return self.name.partition("/")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An account.

    Attributes:
        password: what is kept of the password, never the password itself.
        disabled: whether nobody may get in as this user.
    """

    id: str
    name: str
    role: Role
    password: str = field(repr=False)
    disabled: bool = False
    created_at: str
    password_set_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Where a user is signed in.

    Attributes:
        used_at: when it was used last, to within an hour.
        expires_at: when it ends at the latest.
        address: where the user signed in from.
        agent: with which program, as that says itself.
    """

    id: str
    user_id: str
    created_at: str
    used_at: str
    expires_at: str
    address: str
    agent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """A token of a user, for a program.

    Attributes:
        role: what it may do, unless its user may do less by now.
        scopes: the only parts of the API that it may use; empty for all.
        expires_at: ``None`` for never.
    """

    id: str
    user_id: str
    user: str
    name: str
    role: Role
    scopes: tuple[TokenScope, ...] = ()
    created_at: str
    expires_at: str | None


def lesser(one: Role, other: Role) -> Role:
    """The role that may do less."""
    return one if other.includes(one) else other


def check_user_name(name: str) -> None:
    """Make sure that a user can be called so.

    Raises:
        InvalidInput: ``user_name_malformed``.
    """
    if not re.fullmatch(USER_NAME, name) or name in RESERVED_NAMES:
        shown = name if name.isprintable() and len(name) <= MAX_USER_NAME else f"{name[:MAX_USER_NAME]!r}…"
        raise InvalidInput(
            "user_name_malformed",
            f"{shown} can't be a user's name.",
            next_step="Use 1 to 63 lower-case letters, digits, '.', '_' and '-'; begin with a letter or digit. "
            f"Not taken are {', '.join(sorted(RESERVED_NAMES))}. Nothing was changed.",
        )


def check_password(name: str, password: str) -> None:
    """Make sure that a password is not one of those that are tried first.

    Raises:
        InvalidInput: ``password_unfit``.
    """
    plain = normal_password(password)
    if len(plain) < MIN_PASSWORD:
        why = f"it has less than {MIN_PASSWORD} characters"
    elif len(plain) > MAX_PASSWORD:
        why = f"it has more than {MAX_PASSWORD} characters"
    elif len(set(plain)) < _FEWEST_DIFFERENT:
        why = f"it has less than {_FEWEST_DIFFERENT} different characters"
    elif name in plain.lower() and len(plain) - len(name) < MIN_PASSWORD - 4:
        why = "it is little more than the user's name"
    else:
        return
    raise InvalidInput(
        "password_unfit",
        f"That is no good password: {why}.",
        next_step="Choose a longer one, of several words for example. Nothing was changed.",
    )


def user_unknown(name: str) -> NotFound:
    """There is no user of that name."""
    return NotFound(
        "user_unknown",
        f"There is no user {name}.",
        next_step="Look at what there is with `holdfast user list`.",
    )


def normal_password(password: str) -> str:
    """The same text for what people type the same, whatever their keyboards make of it."""
    return unicodedata.normalize("NFKC", password)
