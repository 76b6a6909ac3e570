"""Logins of registries: tried out, sealed, and used for every pull from their registry.

Invariants: a password comes in and goes nowhere but to the engine, for that registry, to the registry itself and to who
issues its tokens; it opens as that registry's and that name's only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from holdfast.domain.errors import Damaged, Failed, InvalidInput, NotFound, Problem, Refused
from holdfast.domain.registry import RegistryFacts, RegistryLogin, registry_host, registry_of
from holdfast.domain.times import now
from holdfast.engine.sealing import Sealing
from holdfast.runtime.port import ContainerRuntime
from holdfast.store.registries import RegistryStore, SealedLogin


class Registries:
    """The registries that Holdfast logs in to."""

    def __init__(self, store: RegistryStore, sealing: Sealing, runtime: ContainerRuntime) -> None:
        self._store = store
        self._sealing = sealing
        self._runtime = runtime
        self._log = structlog.get_logger("registries")

    async def add(self, host: str, username: str, password: str, *, actor: str) -> RegistryFacts:
        """Try a login out, and keep it; in place of the one that there was for this registry.

        Raises:
            InvalidInput: ``registry_host_malformed``, ``registry_login_malformed``.
            Refused: ``registry_login_refused``, ``registry_not_asked``; nothing was changed.
            Unavailable: the engine does not answer.
        """
        host = registry_host(host)
        if not username or not password or ":" in username or not (username + password).isprintable():
            raise InvalidInput(
                "registry_login_malformed",
                "A login is a name without ':' and a password, both of printable characters.",
                next_step="Nothing was changed. Many registries want an access token in place of the password.",
            )
        try:
            await self._runtime.login(RegistryLogin(host=host, username=username, password=password))
        except Failed as error:
            problem = Problem(code=error.code, message=error.message, next_step=error.next_step, details=error.details)
            raise Refused([problem]) from error
        sealed = await asyncio.to_thread(self._sealing.seal, _what(host, username), password.encode())
        login = SealedLogin(host=host, username=username, sealed=sealed, set_at=now())
        await self._store.put(login)
        self._log.info("registry_added", registry=host, actor=actor)
        return _facts(login, readable=True)

    async def list(self) -> Sequence[RegistryFacts]:
        """All, by host."""
        found = []
        for login in await self._store.list():
            try:
                await self._opened(login)
                readable = True
            except Failed:
                readable = False
            found.append(_facts(login, readable=readable))
        return found

    async def remove(self, host: str, *, actor: str) -> None:
        """Forget a login. What was pulled stays.

        Raises:
            InvalidInput: ``registry_host_malformed``.
            NotFound: ``registry_unknown``.
        """
        host = registry_host(host)
        if await self._store.find(host) is None:
            raise NotFound(
                "registry_unknown",
                f"Holdfast has no login for {host}.",
                next_step="See which there are: holdfast registry list",
            )
        await self._store.delete(host)
        self._log.info("registry_removed", registry=host, actor=actor)

    async def login_for(self, reference: str) -> RegistryLogin | None:
        """What is sent for a pull of ``reference``; ``None`` where its registry is asked without.

        Raises:
            Failed: ``registry_login_unreadable``.
        """
        login = await self._store.find(registry_of(reference))
        return None if login is None else await self._opened(login)

    async def _opened(self, login: SealedLogin) -> RegistryLogin:
        try:
            password = await asyncio.to_thread(self._sealing.open, _what(login.host, login.username), login.sealed)
        except (Failed, Damaged) as error:
            raise Failed(
                "registry_login_unreadable",
                f"The password for the registry {login.host} can't be opened. {error.message}",
                next_step="Put the key back from its copy (docs/how-to/secrets.md). If it is lost, add the login "
                f"again: holdfast registry add {login.host} --username {login.username}",
            ) from error
        return RegistryLogin(host=login.host, username=login.username, password=password.decode())


def _facts(login: SealedLogin, *, readable: bool) -> RegistryFacts:
    return RegistryFacts(host=login.host, username=login.username, set_at=login.set_at, readable=readable)


def _what(host: str, username: str) -> str:
    return f"registry {host} {username}"
