"""What a state that a backup brought back takes over from the state that it took the place of."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, delete, select, update

from holdfast.domain.deployment import DeploymentState
from holdfast.domain.errors import Failed
from holdfast.domain.operation import OperationKind, OperationState
from holdfast.domain.times import now
from holdfast.domain.webhook import DeliveryState
from holdfast.store.codec import encode
from holdfast.store.database import Database, upsert
from holdfast.store.tables import deployments, hook_deliveries, operations, sessions, snapshots, tokens

Pin = tuple[str, str, str | None]
"""Of a snapshot: its id, its workload's, and the restore whose way back it is."""

_UNDER_WAY: Final = Failed(
    "overtaken_by_backup",
    "It was under way when the backup was made that was brought back since.",
    next_step="See what runs now, and do it again if need be.",
)
_TOLD: Final = {"code": _UNDER_WAY.code, "message": _UNDER_WAY.message, "next_step": _UNDER_WAY.next_step}
_UNFINISHED: Final = operations.c.state.in_([state.value for state in OperationState if not state.ended])
_END_BACKUPS: Final = (
    update(operations)
    .where(_UNFINISHED, operations.c.kind == OperationKind.BACKUP.value)
    .values(state=OperationState.SUCCEEDED.value, finished_at=bindparam("at"), cancellable=False, waiting_for="")
)
_END_OPERATIONS: Final = (
    update(operations)
    .where(_UNFINISHED)
    .values(
        state=OperationState.INTERRUPTED.value,
        finished_at=bindparam("at"),
        error=bindparam("error"),
        cancellable=False,
        waiting_for="",
    )
)
_END_DEPLOYMENTS: Final = (
    update(deployments)
    .where(deployments.c.state == DeploymentState.RUNNING.value)
    .values(state=DeploymentState.INTERRUPTED.value, finished_at=bindparam("at"), error=bindparam("error"))
)
_END_DELIVERIES: Final = (
    update(hook_deliveries)
    .where(hook_deliveries.c.state.in_([state.value for state in DeliveryState if not state.ended]))
    .values(
        state=DeliveryState.FAILED.value,
        ended_at=bindparam("at"),
        code=_UNDER_WAY.code,
        message=_UNDER_WAY.message,
    )
)
_END_SESSIONS: Final = delete(sessions)
_TOKENS: Final = select(tokens.c.id)
_END_TOKEN: Final = delete(tokens).where(tokens.c.id == bindparam("this"))


async def carry_over(database: Database, pins: Sequence[Pin], good_tokens: Collection[str] | None) -> None:
    """Pin what was pinned, and end sessions and tokens that ended since. Idempotent.

    - A snapshot that a person has not released stays pinned, whatever the backup knows of it.
    - Nobody is signed in any more: a session that was ended since would be good again.
    - So would a token: those that were not good any more are ended.
    - What was under way when the backup was made is over, and nothing goes on with it: what it did since is known to
      nobody, and what it made may be what runs now. The backup itself, which was under way, succeeded.

    Args:
        good_tokens: ids of those that still were; ``None``: nothing is known of them.
    """

    def write(connection: Connection) -> None:
        for snapshot_id, workload_id, safety_for in pins:
            values = {"pinned": True} | ({} if safety_for is None else {"safety_for": safety_for})
            new = {"workload_id": workload_id, "damaged": encode(())}
            upsert(connection, snapshots, {"id": snapshot_id}, values, new=new)
        connection.execute(_END_SESSIONS)
        at = now()
        connection.execute(_END_BACKUPS, {"at": at})
        connection.execute(_END_OPERATIONS, {"at": at, "error": encode({**_TOLD, "details": {}})})
        connection.execute(_END_DEPLOYMENTS, {"at": at, "error": encode(_TOLD)})
        connection.execute(_END_DELIVERIES, {"at": at})
        if good_tokens is not None:
            for token_id in connection.execute(_TOKENS).scalars().all():
                if token_id not in good_tokens:
                    connection.execute(_END_TOKEN, {"this": token_id})

    await database.write(write)
