"""Signing in and out.

- Whether a user exists can't be told from what signing in answers, nor from how long it takes.
- A session ends when its user signs out, here or everywhere, gets another password, is disabled or removed; and by
  itself, a week after it was used last and a month after it began. What it may do is what its user may do now.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final

import structlog

from holdfast.domain.accounts import USER_NAME, Principal, Session, User
from holdfast.domain.errors import NotFound, TooMany, Unauthorized
from holdfast.domain.ids import new_id
from holdfast.domain.times import from_unix, parse
from holdfast.services.bearer_secrets import OF_SESSION, hash_of, is_secret, new_secret
from holdfast.services.health_gate import Clock
from holdfast.services.passwords import Passwords
from holdfast.services.sign_in_bounds import SignInBounds
from holdfast.store.sessions import SessionStore
from holdfast.store.users import UserStore

LONGEST_SECONDS: Final = 30 * 86400.0
UNUSED_SECONDS: Final = 7 * 86400.0
"""Seconds that a session lasts, at most and without being used."""
NOTED_SECONDS: Final = 3600.0
"""Seconds for which a use is not noted again: that costs a write."""
_MOST_OF_AGENT: Final = 200


class Sessions:
    """Where users are signed in."""

    def __init__(
        self, *, users: UserStore, store: SessionStore, passwords: Passwords, bounds: SignInBounds, clock: Clock
    ) -> None:
        self._users = users
        self._store = store
        self._passwords = passwords
        self._bounds = bounds
        self._clock = clock
        self._log = structlog.get_logger("sessions")

    async def sign_in(self, name: str, password: str, *, address: str, agent: str) -> tuple[str, Session, User]:
        """Begin a session.

        Args:
            name: letters of either case do.
            address: where the request comes from.
            agent: the program that sends it, as that says itself.

        Returns:
            What proves the session, to be told to whoever signed in and to nobody else; the session; its user.

        Raises:
            Unauthorized: ``sign_in_failed``; the same for an unknown user, a disabled one and a wrong password.
            TooMany: ``sign_in_too_often``, ``passwords_busy``.
        """
        name = name.strip().lower()
        self._bounds.take(name, address)
        user = await self._users.find(name) if re.fullmatch(USER_NAME, name) else None
        right = await self._passwords.matches(None if user is None else user.password, password)
        at = self._clock.time()
        secret = new_secret(OF_SESSION)
        if user is not None and right:
            session = Session(
                id=new_id(),
                user_id=user.id,
                created_at=from_unix(at),
                used_at=from_unix(at),
                expires_at=from_unix(at + LONGEST_SECONDS),
                address=address,
                agent="".join(filter(str.isprintable, agent))[:_MOST_OF_AGENT],
            )
            kept = await self._store.insert(session, hash_of(secret), user, unused_since=from_unix(at - UNUSED_SECONDS))
            if kept:
                self._bounds.was_right(name, address)
                await self._renew(user, password)
                self._log.info("signed_in", user=user.name, session_id=session.id, address=address)
                return secret, session, user
        self._log.warning("sign_in_failed", user=user.name if user else None, address=address)
        raise Unauthorized(
            "sign_in_failed",
            "The name or the password is wrong, or the account is disabled.",
            next_step="Try again, or ask an admin for a new password.",
        )

    async def verify(self, secret: str) -> Principal | None:
        """Who carries this; ``None`` if nobody does, or not any more."""
        if not is_secret(OF_SESSION, secret):
            return None
        found = await self._store.find(hash_of(secret))
        if found is None:
            return None
        at, session = self._clock.time(), found.session
        used = parse(session.used_at).timestamp()
        if at >= min(parse(session.expires_at).timestamp(), used + UNUSED_SECONDS):
            return None
        if at >= used + NOTED_SECONDS:
            await self._store.used(session.id, from_unix(at))
        return Principal(name=found.user, role=found.role, user_id=session.user_id, session_id=session.id)

    async def list(self, user_id: str) -> tuple[Session, ...]:
        """A user's sessions that are not over, newest first."""
        at = self._clock.time()
        soonest, unused = from_unix(at), from_unix(at - UNUSED_SECONDS)
        return tuple(
            session
            for session in await self._store.of(user_id)
            if session.expires_at > soonest and session.used_at > unused
        )

    async def end(self, user_id: str, session_id: str) -> None:
        """Sign a user out of one session.

        Raises:
            NotFound: ``session_unknown``.
        """
        if not await self._store.end(user_id, session_id):
            raise NotFound(
                "session_unknown",
                "There is no such session.",
                next_step="It may have ended; list your sessions to see which there are.",
            )

    async def end_all(self, user_id: str) -> int:
        """Sign a user out everywhere. Returns how many sessions there were."""
        return await self._store.end_all(user_id)

    async def _renew(self, user: User, password: str) -> None:
        """Keep what is kept of the password at the present cost, if it is another one."""
        if self._passwords.outdated(user.password):
            with suppress(TooMany):  # then with the next time
                await self._users.rehash(user, await self._passwords.kept(password))
