"""Accounts, put together."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.config import Settings
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


@dataclass(frozen=True, slots=True)
class AccountParts:
    """What knows who asks."""

    accounts: Accounts
    sessions: Sessions
    tokens: Tokens


def accounts_of(settings: Settings, database: Database, fs: Fs, cost: PasswordCost) -> AccountParts:
    """Build them."""
    clock = SystemClock()  # what is told to people, and counts by the second, goes by the machine's own time
    users = UserStore(database)
    passwords = Passwords(cost)
    bounds = SignInBounds(clock)
    tokens = Tokens(store=TokenStore(database), fs=fs, file=settings.admin_token_file, clock=clock)
    sessions = Sessions(users=users, store=SessionStore(database), passwords=passwords, bounds=bounds, clock=clock)
    return AccountParts(Accounts(store=users, passwords=passwords, bounds=bounds, tokens=tokens), sessions, tokens)
