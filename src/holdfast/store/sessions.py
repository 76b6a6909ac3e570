"""Where users are signed in; of what proves it a hash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Row, bindparam, delete, insert, or_, select, update

from holdfast.domain.accounts import Role, Session, User
from holdfast.store.database import Database
from holdfast.store.tables import sessions, users

MOST_SESSIONS: Final = 50
"""Sessions that a user may have; the oldest goes for a new one."""

_BY_HASH = (
    select(sessions, users.c.name, users.c.role)
    .join(users, users.c.id == sessions.c.user_id)
    .where(sessions.c.hash == bindparam("hash"), ~users.c.disabled)
)
_OF_USER = select(sessions).where(sessions.c.user_id == bindparam("user_id")).order_by(sessions.c.id.desc())
_STILL_SO = select(users.c.id).where(
    users.c.id == bindparam("id"), users.c.password == bindparam("password"), ~users.c.disabled
)
_INSERT = insert(sessions)
_USED = update(sessions).where(sessions.c.id == bindparam("this"))
_FORGET_OVER = delete(sessions).where(
    or_(sessions.c.expires_at <= bindparam("at"), sessions.c.used_at <= bindparam("unused_since"))
)
_END = delete(sessions).where(sessions.c.user_id == bindparam("user_id"), sessions.c.id == bindparam("id"))
_END_ALL = delete(sessions).where(sessions.c.user_id == bindparam("user_id"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A session, and who its user is now."""

    session: Session
    user: str
    role: Role


class SessionStore:
    """All sessions.

    Args:
        most: how many a user may have.
    """

    def __init__(self, database: Database, *, most: int = MOST_SESSIONS) -> None:
        self._database = database
        self._most = most

    async def insert(self, session: Session, secret_hash: str, user: User, *, unused_since: str) -> bool:
        """Keep a new session, unless its user has another password by now, is disabled or gone.

        Args:
            unused_since: sessions that were not used since are over, as those are whose time has come; they go.

        Returns:
            Whether it was kept.
        """
        row = {
            "id": session.id,
            "hash": secret_hash,
            "user_id": session.user_id,
            "created_at": session.created_at,
            "used_at": session.used_at,
            "expires_at": session.expires_at,
            "address": session.address,
            "agent": session.agent,
        }

        def write(connection: Connection) -> bool:
            if connection.execute(_STILL_SO, {"id": user.id, "password": user.password}).one_or_none() is None:
                return False
            connection.execute(_FORGET_OVER, {"at": session.created_at, "unused_since": unused_since})
            for oldest in connection.execute(_OF_USER, {"user_id": user.id}).all()[self._most - 1 :]:
                connection.execute(_END, {"user_id": user.id, "id": oldest.id})
            connection.execute(_INSERT, row)
            return True

        return await self._database.write(write)

    async def find(self, secret_hash: str) -> SignedIn | None:
        """The session with this hash, if its user may get in."""
        row = await self._database.row(_BY_HASH, hash=secret_hash)
        return None if row is None else SignedIn(session=_session(row), user=row.name, role=Role(row.role))

    async def used(self, session_id: str, at: str) -> None:
        """Note that a session was used."""
        await self._database.change(_USED, this=session_id, used_at=at)

    async def of(self, user_id: str) -> tuple[Session, ...]:
        """A user's sessions, newest first."""
        return tuple(map(_session, await self._database.rows(_OF_USER, user_id=user_id)))

    async def end(self, user_id: str, session_id: str) -> bool:
        """End a session of a user. Returns whether it was there."""
        ended = {"user_id": user_id, "id": session_id}
        return await self._database.write(lambda connection: connection.execute(_END, ended).rowcount > 0)

    async def end_all(self, user_id: str) -> int:
        """End all sessions of a user. Returns how many there were."""
        return await self._database.write(
            lambda connection: connection.execute(_END_ALL, {"user_id": user_id}).rowcount
        )


def _session(row: Row[tuple[object, ...]]) -> Session:
    return Session(
        id=row.id,
        user_id=row.user_id,
        created_at=row.created_at,
        used_at=row.used_at,
        expires_at=row.expires_at,
        address=row.address,
        agent=row.agent,
    )
