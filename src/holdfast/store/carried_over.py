"""What a state that a backup brought back takes over from the state that it took the place of."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, delete, select

from holdfast.store.codec import encode
from holdfast.store.database import Database, upsert
from holdfast.store.tables import sessions, snapshots, tokens

Pin = tuple[str, str, str | None]
"""Of a snapshot: its id, its workload's, and the restore whose way back it is."""

_END_SESSIONS: Final = delete(sessions)
_TOKENS: Final = select(tokens.c.id)
_END_TOKEN: Final = delete(tokens).where(tokens.c.id == bindparam("this"))


async def carry_over(database: Database, pins: Sequence[Pin], good_tokens: Collection[str] | None) -> None:
    """Pin what was pinned, and end sessions and tokens that ended since. Idempotent.

    - A snapshot that a person has not released stays pinned, whatever the backup knows of it.
    - Nobody is signed in any more: a session that was ended since would be good again.
    - So would a token: those that were not good any more are ended.

    Args:
        good_tokens: ids of those that still were; ``None``: nothing is known of them.
    """

    def write(connection: Connection) -> None:
        for snapshot_id, workload_id, safety_for in pins:
            values = {"pinned": True} | ({} if safety_for is None else {"safety_for": safety_for})
            new = {"workload_id": workload_id, "damaged": encode(())}
            upsert(connection, snapshots, {"id": snapshot_id}, values, new=new)
        connection.execute(_END_SESSIONS)
        if good_tokens is not None:
            for token_id in connection.execute(_TOKENS).scalars().all():
                if token_id not in good_tokens:
                    connection.execute(_END_TOKEN, {"this": token_id})

    await database.write(write)
