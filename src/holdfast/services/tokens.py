"""Bearer tokens: programs that call the API, and who makes the first admin.

A user's token may do what it was made for, and never more than its user may do now. The first token belongs to nobody:
it is made where no admin could get in, and ends as soon as one can: by being made, by becoming an admin, or by getting
a new password.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection
from pathlib import Path

import structlog

from holdfast.domain.accounts import FIRST_ADMIN, ApiToken, Principal, Role, TokenScope, User, lesser
from holdfast.domain.errors import Failed, Forbidden, InvalidInput, NotFound
from holdfast.domain.ids import new_id
from holdfast.domain.times import from_unix
from holdfast.engine.fs import Fs
from holdfast.services.bearer_secrets import OF_TOKEN, hash_of, is_secret, new_secret
from holdfast.services.health_gate import Clock
from holdfast.store.tokens import TokenStore


class Tokens:
    """Makes, checks and ends tokens.

    Args:
        file: where the first token is kept.
    """

    def __init__(self, *, store: TokenStore, fs: Fs, file: Path, clock: Clock) -> None:
        self._store = store
        self._fs = fs
        self._file = file
        self._clock = clock
        self._log = structlog.get_logger("tokens")

    async def verify(self, token: str) -> Principal | None:
        """Who carries this token; ``None`` if nobody does, or not any more."""
        if not is_secret(OF_TOKEN, token):
            return None
        found = await self._store.find(hash_of(token))
        if found is None:
            return None
        if found.token is None or found.user_role is None:
            return Principal(name=FIRST_ADMIN, role=Role.ADMIN)
        its = found.token
        if its.expires_at is not None and its.expires_at <= from_unix(self._clock.time()):
            return None
        return Principal(
            name=f"{its.user}/{its.name}",
            role=lesser(its.role, found.user_role),
            user_id=its.user_id,
            scopes=frozenset(its.scopes),
        )

    async def create(
        self,
        user: User,
        name: str,
        *,
        role: Role,
        scopes: Collection[TokenScope] = (),
        lasts: float | None,
        actor: str,
    ) -> tuple[str, ApiToken]:
        """Make a token of a user.

        Args:
            scopes: the only parts of the API that it may use; all, if there are none.
            lasts: seconds; for ever, if ``None``.

        Returns:
            The token, which can't be shown again, and what is known of it.

        Raises:
            InvalidInput: ``token_lasts_too_short``.
            Forbidden: ``token_role_too_high``.
            Conflict: ``token_exists``, ``tokens_too_many``, ``user_gone``.
        """
        if not user.role.includes(role):
            raise Forbidden(
                "token_role_too_high",
                f"{user.name} has the role {user.role}, and so a token of {user.name} can't have {role}.",
                next_step=f"Ask for {user.role} or less. Nothing was changed.",
            )
        at = self._clock.time()
        if lasts is not None and lasts <= 0:
            raise InvalidInput(
                "token_lasts_too_short",
                "A token that has ended already is of no use.",
                next_step="Let it last longer. Nothing was changed.",
            )
        token = ApiToken(
            id=new_id(),
            user_id=user.id,
            user=user.name,
            name=name,
            role=role,
            scopes=tuple(sorted(set(scopes))),
            created_at=from_unix(at),
            expires_at=None if lasts is None else from_unix(at + lasts),
        )
        text = new_secret(OF_TOKEN)
        await self._store.insert(token, hash_of(text))
        self._log.info("token_created", token_id=token.id, user=user.name, token=name, role=role.value, actor=actor)
        return text, token

    async def list(self, user_id: str | None = None) -> tuple[ApiToken, ...]:
        """The tokens of a user, or of all, newest first; those that have expired as well."""
        return await self._store.list(user_id)

    async def remove(self, token_id: str, *, of_user: str | None, up_to: Role, actor: str) -> None:
        """End a token at once.

        Args:
            of_user: the id of the only user whose tokens may be ended; ``None`` for everybody's.
            up_to: the role that it may have at most: no token ends a greater one.

        Raises:
            NotFound: ``token_not_there``.
            Forbidden: ``role_insufficient``.
        """
        token = await self._store.get(token_id)
        if token is None or of_user not in (None, token.user_id):
            raise NotFound(
                "token_not_there",
                "There is no such token.",
                next_step="Look at what there is with `holdfast token list`.",
            )
        if not up_to.includes(token.role):
            raise Forbidden(
                "role_insufficient",
                f"A token with the role {up_to} does not end one with the role {token.role}.",
                next_step="Sign in with `holdfast login`, and end it then. Nothing was changed.",
            )
        await self._store.delete(token_id)
        self._log.info("token_removed", token_id=token_id, user=token.user, token=token.name, actor=actor)

    # --- the first token -------------------------------------------------------------------------------------------

    async def setup_pending(self) -> bool:
        """Whether no admin could get in but by the first token."""
        return not (await self._store.ways_in()).admin

    async def ensure_first_admin(self) -> str | None:
        """Make sure that somebody can get in: where no admin can, and there is no first token, make one.

        The token is in the file, durably, before it is valid, so that no crash leaves a valid token that nobody knows:
        a file without a valid token is taken up at the next start.

        Returns:
            The token if it became valid now, to be printed once; ``None`` otherwise.

        Raises:
            Failed: ``admin_token_unwritable``.
        """
        ways_in = await self._store.ways_in()
        if ways_in.first:
            return None
        if ways_in.admin:
            await self._remove_file()
            return None
        return await self.renew_first()

    async def renew_first(self) -> str:
        """Make the first token, or another one in its place.

        Raises:
            Failed: ``admin_token_unwritable``.
        """
        try:
            token = await asyncio.to_thread(_read_or_create, self._fs, self._file)
        except OSError as error:
            raise Failed(
                "admin_token_unwritable",
                f"The first token can't be written to {self._file}: {error.strerror}.",
                next_step="Check the data directory's permissions and free space, then start again.",
            ) from error
        await self._store.put_first(hash_of(token), FIRST_ADMIN)
        return token

    async def tidy_first(self) -> None:
        """Remove the file of the first token if that has ended."""
        if not (await self._store.ways_in()).first:
            await self._remove_file()

    async def _remove_file(self) -> None:
        """What it holds is of no use any more: that it can't be removed is no reason to fail."""
        try:
            await asyncio.to_thread(_remove, self._fs, self._file)
        except OSError as error:
            self._log.warning("the file of the first token stays", file=str(self._file), reason=error.strerror)


def _read_or_create(fs: Fs, path: Path) -> str:
    """The token in the file, or a new one that is durably there when this returns."""
    try:
        kept = path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        kept = ""
    if is_secret(OF_TOKEN, kept):
        return kept
    token = new_secret(OF_TOKEN)
    directory = fs.open_root(str(path.parent))
    try:
        fs.write_file_durable(directory, os.fsencode(path.name), f"{token}\n".encode())
    finally:
        fs.close(directory)
    return token


def _remove(fs: Fs, path: Path) -> None:
    """Remove a file, if it is there."""
    directory = fs.open_root(str(path.parent))
    try:
        fs.unlinkat(directory, os.fsencode(path.name))
    except FileNotFoundError:
        pass
    finally:
        fs.close(directory)
