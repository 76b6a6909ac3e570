"""A new first token, where no admin can get in any more. Never over HTTP: only who can write the data directory may."""

from __future__ import annotations

import asyncio

from holdfast.bootstrap.accounts import accounts_of
from holdfast.bootstrap.data_directory import LOCK_WAIT
from holdfast.config import Settings
from holdfast.domain.accounts import ON_HOST
from holdfast.domain.audit import AuditEntry
from holdfast.domain.errors import NotFound
from holdfast.domain.times import now
from holdfast.engine.data_lock import DataLock
from holdfast.engine.fs import Fs
from holdfast.services.passwords import PasswordCost
from holdfast.services.state_records import require_settled
from holdfast.store.audit import AuditStore
from holdfast.store.database import Database


def renew_first_token(settings: Settings, *, lock_wait: float = LOCK_WAIT) -> None:
    """Write a new first token to its file, under the data directory's lock; the audit log tells of it first.

    Args:
        lock_wait: seconds to wait for the data directory's lock.

    Raises:
        NotFound: ``data_dir_missing``.
        Busy: ``data_dir_in_use``; a server runs.
        Failed: ``schema_newer``, ``admin_token_unwritable``.
    """
    if not settings.database_file.exists():
        raise NotFound(
            "data_dir_missing",
            f"{settings.data_dir} is not the data directory of a server.",
            next_step="Name the right one with --data-dir. A new server makes a first token by itself.",
        )
    with DataLock.acquire(settings.data_dir, lock_wait):
        require_settled(settings)
        asyncio.run(_renew(settings))


async def _renew(settings: Settings) -> None:
    database = Database.at(settings.database_file)
    try:
        await database.open()
        await AuditStore(database).append([_renewed()])
        await accounts_of(settings, database, Fs(), PasswordCost()).tokens.renew_first()
    finally:
        await database.close()


def _renewed() -> AuditEntry:
    return AuditEntry(at=now(), actor=ON_HOST, address="", action="renew_first_token", status=201, outcome="accepted")
