"""The audit log without a server: read from the data directory itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from holdfast.config import Settings
from holdfast.domain.audit import AuditReport, Head, Verifier
from holdfast.domain.errors import NotFound
from holdfast.store.audit import AuditStore
from holdfast.store.database import Database

_BATCH: Final = 500


def verify_audit_offline(settings: Settings, heads: Iterable[Head]) -> AuditReport:
    """Check the audit log in the data directory. Also while a server runs; nothing is changed.

    Args:
        heads: where it ended at earlier times, as known from elsewhere.

    Raises:
        NotFound: ``database_missing``.
        Failed: ``database_failed``.
    """
    if not settings.database_file.is_file():
        raise NotFound(
            "database_missing",
            f"There is no database in {settings.data_dir}.",
            next_step="Name the data directory with --data-dir, or HOLDFAST_DATA_DIR.",
        )
    return asyncio.run(_verify(settings, heads))


async def _verify(settings: Settings, heads: Iterable[Head]) -> AuditReport:
    database = Database.at(settings.database_file)
    try:
        store = AuditStore(database)
        own = await store.head()
        verifier = Verifier([own, *heads])
        number = 0
        while lines := await store.after(number, last=max(own.number, number) + _BATCH, limit=_BATCH):
            for line in lines:
                verifier.look(line)
            number = lines[-1].number
        return verifier.report()
    finally:
        await database.close()
