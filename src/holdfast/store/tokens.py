"""Bearer tokens, as hashes: who reads the database can't use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, or_, select
from sqlalchemy.exc import IntegrityError

from holdfast.domain.accounts import ApiToken, Role, TokenScope
from holdfast.domain.errors import Conflict
from holdfast.domain.ids import new_id
from holdfast.domain.times import now
from holdfast.store.codec import decode, encode
from holdfast.store.database import Database
from holdfast.store.tables import tokens, users

MOST_TOKENS: Final = 100
"""Tokens that a user may have."""

_JOINED = select(tokens, users.c.name.label("user"), users.c.role.label("user_role")).join(
    users, users.c.id == tokens.c.user_id, isouter=True
)
_BY_HASH = _JOINED.where(tokens.c.hash == bindparam("hash"), or_(tokens.c.user_id.is_(None), ~users.c.disabled))
_ALL = _JOINED.where(tokens.c.user_id.is_not(None)).order_by(tokens.c.id.desc())
_OF_USER = _ALL.where(tokens.c.user_id == bindparam("user_id"))
_BY_ID = _ALL.where(tokens.c.id == bindparam("id"))
_COUNT = select(func.count().label("all")).where(tokens.c.user_id == bindparam("user_id"))
_WAYS_IN = select(
    select(tokens.c.id).where(tokens.c.user_id.is_(None)).exists().label("first"),
    select(users.c.id).where(users.c.role == Role.ADMIN.value, ~users.c.disabled).exists().label("admin"),
)
_INSERT = insert(tokens)
_DELETE = delete(tokens).where(tokens.c.id == bindparam("id"))
_END_FIRST = delete(tokens).where(tokens.c.user_id.is_(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundToken:
    """A token, and what its user may do now.

    Attributes:
        token: ``None`` for the first token.
        user_role: likewise.
    """

    token: ApiToken | None
    user_role: Role | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaysIn:
    """Whether there is a first token, and whether there is an admin who can get in."""

    first: bool
    admin: bool


class TokenStore:
    """All tokens.

    Args:
        most: how many a user may have.
    """

    def __init__(self, database: Database, *, most: int = MOST_TOKENS) -> None:
        self._database = database
        self._most = most

    async def insert(self, token: ApiToken, token_hash: str) -> None:
        """Keep a user's new token, durably.

        Raises:
            Conflict: ``token_exists``, ``tokens_too_many``, ``user_gone``.
        """
        row = {
            "id": token.id,
            "hash": token_hash,
            "name": token.name,
            "role": token.role.value,
            "created_at": token.created_at,
            "user_id": token.user_id,
            "scopes": encode(token.scopes),
            "expires_at": token.expires_at,
        }

        def write(connection: Connection) -> None:
            if connection.execute(_COUNT, {"user_id": token.user_id}).scalar_one() >= self._most:
                raise Conflict(
                    "tokens_too_many",
                    f"{token.user} has {self._most} tokens, which is the most.",
                    next_step="Remove those that nothing uses. Nothing was changed.",
                )
            connection.execute(_INSERT, row)

        try:
            await self._database.write(write)
        except IntegrityError as error:
            if "FOREIGN KEY" in str(error.orig):
                raise Conflict(
                    "user_gone",
                    f"{token.user} was removed meanwhile.",
                    next_step="Look at what there is with `holdfast user list`. Nothing was changed.",
                ) from error
            raise Conflict(
                "token_exists",
                f"{token.user} has a token {token.name} already.",
                next_step="Choose another name, or remove that one first. Nothing was changed.",
            ) from error

    async def put_first(self, token_hash: str, name: str) -> None:
        """Keep the first token, durably, in place of the one that there was."""
        row = {
            "id": new_id(),
            "hash": token_hash,
            "name": name,
            "role": Role.ADMIN.value,
            "created_at": now(),
            "scopes": encode(()),
        }

        def write(connection: Connection) -> None:
            connection.execute(_END_FIRST)
            connection.execute(_INSERT, row)

        await self._database.write(write)

    async def ways_in(self) -> WaysIn:
        """How somebody could get in."""
        (row,) = await self._database.rows(_WAYS_IN)
        return WaysIn(first=bool(row.first), admin=bool(row.admin))

    async def find(self, token_hash: str) -> FoundToken | None:
        """The token with this hash, if its user may get in."""
        row = await self._database.row(_BY_HASH, hash=token_hash)
        if row is None:
            return None
        if row.user_id is None:
            return FoundToken(token=None, user_role=None)
        return FoundToken(token=_token(row), user_role=Role(row.user_role))

    async def get(self, token_id: str) -> ApiToken | None:
        """The user's token with this id."""
        row = await self._database.row(_BY_ID, id=token_id)
        return None if row is None else _token(row)

    async def list(self, user_id: str | None = None) -> tuple[ApiToken, ...]:
        """The tokens of a user, or of all, newest first."""
        found = self._database.rows(_ALL) if user_id is None else self._database.rows(_OF_USER, user_id=user_id)
        return tuple(map(_token, await found))

    async def delete(self, token_id: str) -> None:
        """End a token. Fine if it is gone."""
        await self._database.change(_DELETE, id=token_id)


def _token(row: Row[tuple[object, ...]]) -> ApiToken:
    return ApiToken(
        id=row.id,
        user_id=row.user_id,
        user=row.user,
        name=row.name,
        role=Role(row.role),
        scopes=tuple(decode(list[TokenScope], row.scopes)),
        created_at=row.created_at,
        expires_at=row.expires_at,
    )
