"""Accounts on a real database, at a clock that a test moves on, with passwords that cost next to nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from holdfast.domain.accounts import Role, User
from holdfast.engine.fs import Fs
from holdfast.services.accounts import Accounts
from holdfast.services.health_gate import SystemClock
from holdfast.services.passwords import PasswordCost, Passwords
from holdfast.services.sessions import Sessions
from holdfast.services.sign_in_bounds import SignInBounds
from holdfast.services.tokens import Tokens
from holdfast.store.database import Database
from holdfast.store.sessions import SessionStore
from holdfast.store.tokens import TokenStore
from holdfast.store.users import UserStore

CHEAP = PasswordCost(memory_kib=8, passes=1, lanes=1)
PASSWORD = "correct horse battery"
MOST = 3
"""Sessions and tokens that a user may have."""
HOME = "192.0.2.7"


class StillClock(SystemClock):
    """No time passes but what a test lets pass."""

    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def monotonic(self) -> float:
        return self.at

    def time(self) -> float:
        return self.at


class CountedPasswords(Passwords):
    """Counts what it works on."""

    worked = 0

    async def matches(self, kept: str | None, password: str) -> bool:
        self.worked += 1
        return await super().matches(kept, password)


class AccountBench:
    """All that knows who asks."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.file = directory / "admin-token"
        self.clock = StillClock()
        self.users = UserStore(database)
        self.session_store = SessionStore(database, most=MOST)
        self.token_store = TokenStore(database, most=MOST)
        self.passwords = CountedPasswords(CHEAP)
        self.bounds = SignInBounds(self.clock)
        self.tokens = self.tokens_on(Fs())
        self.sessions = Sessions(
            users=self.users,
            store=self.session_store,
            passwords=self.passwords,
            bounds=self.bounds,
            clock=self.clock,
        )
        self.accounts = Accounts(store=self.users, passwords=self.passwords, bounds=self.bounds, tokens=self.tokens)

    def tokens_on(self, fs: Fs, store: TokenStore | None = None) -> Tokens:
        return Tokens(store=store or self.token_store, fs=fs, file=self.file, clock=self.clock)

    async def user(self, name: str = "ann", role: Role = Role.ADMIN) -> User:
        return await self.accounts.create(name, PASSWORD, role, actor="test")

    async def sign_in(self, name: str = "ann", password: str = PASSWORD, address: str = HOME) -> str:
        """Returns what proves the session."""
        secret, _, _ = await self.sessions.sign_in(name, password, address=address, agent="a test")
        return secret


@asynccontextmanager
async def account_bench(directory: Path) -> AsyncIterator[AccountBench]:
    database = Database.at(directory / "state.db")
    await database.open()
    try:
        yield AccountBench(database, directory)
    finally:
        await database.close()
