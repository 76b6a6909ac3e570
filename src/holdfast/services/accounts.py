"""Users, by admins; and each user's own password."""

from __future__ import annotations

import structlog

from holdfast.domain.accounts import Principal, Role, User, check_password, check_user_name, user_unknown
from holdfast.domain.errors import Conflict, Forbidden
from holdfast.domain.ids import new_id
from holdfast.domain.times import now
from holdfast.services.passwords import Passwords
from holdfast.services.sign_in_bounds import SignInBounds
from holdfast.services.tokens import Tokens
from holdfast.store.users import UserStore


class Accounts:
    """Makes, changes and removes users."""

    def __init__(self, *, store: UserStore, passwords: Passwords, bounds: SignInBounds, tokens: Tokens) -> None:
        self._store = store
        self._passwords = passwords
        self._bounds = bounds
        self._tokens = tokens
        self._log = structlog.get_logger("accounts")

    async def list(self) -> tuple[User, ...]:
        """All, by name."""
        return await self._store.list()

    async def get(self, name: str) -> User:
        """The user of that name.

        Raises:
            NotFound: ``user_unknown``.
        """
        user = await self._store.find(name)
        if user is None:
            raise user_unknown(name)
        return user

    async def create(self, name: str, password: str, role: Role, *, actor: str, by_first_token: bool = False) -> User:
        """Make a user. The first token ends with an admin.

        Args:
            by_first_token: whether the first token asks, which is good for one admin.

        Raises:
            InvalidInput: ``user_name_malformed``, ``password_unfit``.
            Conflict: ``user_exists``, ``first_token_over``.
            TooMany: ``passwords_busy``.
        """
        check_user_name(name)
        check_password(name, password)
        at = now()
        kept = await self._passwords.kept(password)
        user = User(id=new_id(), name=name, role=role, password=kept, created_at=at, password_set_at=at)
        await self._store.insert(user, by_first_token=by_first_token)
        self._log.info("user_created", user=name, role=role.value, actor=actor)
        await self._tokens.tidy_first()
        return user

    async def change(self, name: str, *, role: Role | None = None, disabled: bool | None = None, actor: str) -> User:
        """Change what a user may do, at once. Whoever is disabled is signed out everywhere.

        The first token ends with whoever becomes an admin who can get in.

        Raises:
            NotFound: ``user_unknown``.
            Conflict: ``last_admin``.
        """
        user = await self._store.change(name, role=role, disabled=disabled)
        self._log.info("user_changed", user=name, role=user.role.value, disabled=user.disabled, actor=actor)
        await self._tokens.tidy_first()
        return user

    async def set_password(self, name: str, password: str, *, actor: str) -> User:
        """Give a user another password, and sign them out everywhere.

        Raises:
            InvalidInput: ``password_unfit``.
            NotFound: ``user_unknown``.
            TooMany: ``passwords_busy``.
        """
        user = await self.get(name)
        check_password(name, password)
        if not await self._store.set_password(user, await self._passwords.kept(password), at=now()):
            raise user_unknown(name)
        self._log.info("password_set", user=name, actor=actor)
        await self._tokens.tidy_first()
        return await self.get(name)

    async def change_password(self, caller: Principal, current: str, password: str, *, address: str) -> None:
        """Give oneself another password. All other sessions of the user end.

        Raises:
            InvalidInput: ``password_unfit``.
            Forbidden: ``password_wrong``: the present one is another.
            Conflict: ``no_user``, ``password_changed``.
            TooMany: ``sign_in_too_often``, ``passwords_busy``.
        """
        user = await self.user_of(caller)
        check_password(user.name, password)
        self._bounds.take(user.name, address)
        if not await self._passwords.matches(user.password, current):
            raise Forbidden(
                "password_wrong",
                "The present password is another one.",
                next_step="Try again, or ask an admin for a new one. Nothing was changed.",
            )
        self._bounds.was_right(user.name, address)
        kept = await self._passwords.kept(password)
        changed = await self._store.set_password(
            user, kept, at=now(), keep_session=caller.session_id or "", expected=user.password
        )
        if not changed:
            raise Conflict(
                "password_changed",
                "The password was changed by somebody else meanwhile.",
                next_step="Sign in again. This change was not made.",
            )
        self._log.info("password_set", user=user.name, actor=caller.name)

    async def user_of(self, caller: Principal) -> User:
        """Whose account a caller acts with.

        Raises:
            Conflict: ``no_user``.
        """
        user = None if caller.user_id is None else await self._store.get(caller.user_id)
        if user is not None:
            return user
        raise Conflict(
            "no_user",
            "The first token belongs to no user, and has neither a password nor sessions.",
            next_step="Make an admin with it (`holdfast user create`), then sign in as that one.",
        )

    async def delete(self, name: str, *, actor: str) -> None:
        """Remove a user, with their sessions and tokens. What they did stays on record.

        Raises:
            NotFound: ``user_unknown``.
            Conflict: ``last_admin``.
        """
        await self._store.delete(name)
        self._log.info("user_removed", user=name, actor=actor)
