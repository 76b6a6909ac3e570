"""Users. There is always an admin who can get in, once there was one."""

from __future__ import annotations

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from holdfast.domain.accounts import Role, User, user_unknown
from holdfast.domain.errors import Conflict
from holdfast.store.database import Database
from holdfast.store.tables import sessions, tokens, users

_BY_NAME = select(users).where(users.c.name == bindparam("name"))
_BY_ID = select(users).where(users.c.id == bindparam("id"))
_ALL = select(users).order_by(users.c.name)
_OTHER_ADMINS = select(func.count().label("all")).where(
    users.c.role == Role.ADMIN.value, ~users.c.disabled, users.c.id != bindparam("id")
)
_INSERT = insert(users)
_UPDATE = update(users).where(users.c.id == bindparam("this"))
_UPDATE_IF = _UPDATE.where(users.c.password == bindparam("expected"))
_DELETE = delete(users).where(users.c.id == bindparam("id"))
_SIGN_OUT = delete(sessions).where(sessions.c.user_id == bindparam("user_id"), sessions.c.id != bindparam("but"))
_END_FIRST_TOKEN = delete(tokens).where(tokens.c.user_id.is_(None))
_FIRST_TOKEN = select(tokens.c.id).where(tokens.c.user_id.is_(None))


class UserStore:
    """All users."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, name: str) -> User | None:
        """The user of that name."""
        row = await self._database.row(_BY_NAME, name=name)
        return None if row is None else _user(row)

    async def get(self, user_id: str) -> User | None:
        """The user with this id."""
        row = await self._database.row(_BY_ID, id=user_id)
        return None if row is None else _user(row)

    async def list(self) -> tuple[User, ...]:
        """All, by name."""
        return tuple(map(_user, await self._database.rows(_ALL)))

    async def insert(self, user: User, *, by_first_token: bool = False) -> None:
        """Keep a new user. The first token ends with an admin.

        Args:
            by_first_token: only if there still is one: of two that ask at once, one makes the first admin.

        Raises:
            Conflict: ``user_exists``, ``first_token_over``.
        """

        def write(connection: Connection) -> None:
            if by_first_token and connection.execute(_FIRST_TOKEN).first() is None:
                raise Conflict(
                    "first_token_over",
                    "The first token ended meanwhile: somebody made an admin.",
                    next_step="Sign in as that one. If nobody of yours made it, make a new first token on the host: "
                    "`holdfast user recover`. Nothing was changed.",
                )
            connection.execute(_INSERT, _values(user))
            if user.role is Role.ADMIN:
                connection.execute(_END_FIRST_TOKEN)

        try:
            await self._database.write(write)
        except IntegrityError as error:
            raise Conflict(
                "user_exists",
                f"There is a user {user.name} already.",
                next_step="Choose another name. Nothing was changed.",
            ) from error

    async def change(self, name: str, *, role: Role | None = None, disabled: bool | None = None) -> User:
        """Change what a user may do. Whoever is disabled is signed out everywhere.

        The first token ends with whoever becomes an admin who can get in.

        Raises:
            NotFound: ``user_unknown``.
            Conflict: ``last_admin``; nothing was changed.
        """

        def write(connection: Connection) -> User:
            before = _known(connection, name)
            now_role = before.role if role is None else role
            now_disabled = before.disabled if disabled is None else disabled
            if now_disabled or now_role is not Role.ADMIN:
                _check_admin_left(connection, before)
            connection.execute(_UPDATE, {"this": before.id, "role": now_role.value, "disabled": now_disabled})
            if now_disabled:
                connection.execute(_SIGN_OUT, {"user_id": before.id, "but": ""})
            after = _known(connection, name)
            if _gets_in(after) and not _gets_in(before):
                connection.execute(_END_FIRST_TOKEN)
            return after

        return await self._database.write(write)

    async def set_password(
        self, user: User, password: str, *, at: str, keep_session: str = "", expected: str | None = None
    ) -> bool:
        """Give a user another password, and sign them out everywhere. The first token ends with an admin's.

        Args:
            keep_session: the one that goes on.
            expected: only if what is kept of the present password is this.

        Returns:
            Whether it was done: the user may be gone, or have another password by now.
        """

        def write(connection: Connection) -> bool:
            change = {"this": user.id, "password": password, "password_set_at": at}
            if expected is None:
                changed = connection.execute(_UPDATE, change)
            else:
                changed = connection.execute(_UPDATE_IF, {**change, "expected": expected})
            if not changed.rowcount:
                return False
            connection.execute(_SIGN_OUT, {"user_id": user.id, "but": keep_session})
            if _gets_in(_known(connection, user.name)):
                connection.execute(_END_FIRST_TOKEN)
            return True

        return await self._database.write(write)

    async def rehash(self, user: User, password: str) -> None:
        """Keep the same password in another form, unless it is another one by now."""
        await self._database.change(_UPDATE_IF, this=user.id, expected=user.password, password=password)

    async def delete(self, name: str) -> None:
        """Remove a user, with their sessions and tokens.

        Raises:
            NotFound: ``user_unknown``.
            Conflict: ``last_admin``.
        """

        def write(connection: Connection) -> None:
            user = _known(connection, name)
            _check_admin_left(connection, user)
            connection.execute(_DELETE, {"id": user.id})

        await self._database.write(write)


def _known(connection: Connection, name: str) -> User:
    row = connection.execute(_BY_NAME, {"name": name}).one_or_none()
    if row is None:
        raise user_unknown(name)
    return _user(row)


def _gets_in(user: User) -> bool:
    """Whether this is an admin who can get in."""
    return user.role is Role.ADMIN and not user.disabled


def _check_admin_left(connection: Connection, user: User) -> None:
    """Make sure that there is an admin beside this user, if they are one."""
    if not _gets_in(user):
        return
    if not connection.execute(_OTHER_ADMINS, {"id": user.id}).scalar_one():
        raise Conflict(
            "last_admin",
            f"{user.name} is the last admin who can get in.",
            next_step="Make another admin first. Nothing was changed.",
        )


def _values(user: User) -> dict[str, object]:
    return {
        "id": user.id,
        "name": user.name,
        "role": user.role.value,
        "password": user.password,
        "disabled": user.disabled,
        "created_at": user.created_at,
        "password_set_at": user.password_set_at,
    }


def _user(row: Row[tuple[object, ...]]) -> User:
    return User(
        id=row.id,
        name=row.name,
        role=Role(row.role),
        password=row.password,
        disabled=row.disabled,
        created_at=row.created_at,
        password_set_at=row.password_set_at,
    )
