"""Operations, each one row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Row, Select, insert, select, update

from holdfast.domain.notice import Notice
from holdfast.domain.operation import LogLine, Operation, OperationKind, OperationState, Progress, StepRecord
from holdfast.store.codec import decode, encode
from holdfast.store.database import Database
from holdfast.store.notices import keep
from holdfast.store.tables import operations

MAX_LOG_LINES: Final = 1000
"""How much of an operation's log is kept: its last lines."""


class OperationStore:
    """All operations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, operation: Operation, *, idempotency_key: str | None = None) -> Operation | None:
        """Keep a new operation, unless its actor started one with the same key before.

        Returns:
            That earlier one, and then nothing was kept; ``None`` if the new one was.
        """
        async with self._database.write() as connection:
            if idempotency_key is not None:
                query = _by_key(operation.actor, idempotency_key)
                row = (await connection.execute(query)).one_or_none()
                if row is not None:
                    return _operation(row)
            values = {"id": operation.id, "idempotency_key": idempotency_key, **_values(operation)}
            await connection.execute(insert(operations).values(**values))
        return None

    async def save(self, operation: Operation, notice: Notice | None = None) -> None:
        """Record how an operation stands, durably.

        Args:
            notice: what somebody is told of it; kept together with it, or neither is.
        """
        async with self._database.write() as connection:
            await connection.execute(
                update(operations).where(operations.c.id == operation.id).values(**_values(operation))
            )
            if notice is not None:
                await keep(connection, notice, now=notice.at)

    async def get(self, operation_id: str) -> Operation | None:
        """The operation with this id."""
        found = await self._all(select(operations).where(operations.c.id == operation_id))
        return found[0] if found else None

    async def list(
        self, *, limit: int | None = None, before: str | None = None, workload_id: str | None = None
    ) -> tuple[Operation, ...]:
        """Operations, newest first; with ``before`` only those older than the one with that id."""
        query = select(operations).order_by(operations.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(operations.c.id < before)
        if workload_id is not None:
            query = query.where(operations.c.workload_id == workload_id)
        return await self._all(query)

    async def unfinished(self) -> tuple[Operation, ...]:
        """All operations that have not ended, oldest first."""
        open_states = [state.value for state in OperationState if not state.ended]
        return await self._all(select(operations).where(operations.c.state.in_(open_states)).order_by(operations.c.id))

    async def find_by_key(self, actor: str, idempotency_key: str) -> Operation | None:
        """The operation that ``actor`` started with this key."""
        found = await self._all(_by_key(actor, idempotency_key))
        return found[0] if found else None

    async def _all(self, query: Select[tuple[object, ...]]) -> tuple[Operation, ...]:
        async with self._database.read() as connection:
            return tuple(_operation(row) for row in await connection.execute(query))


def _by_key(actor: str, idempotency_key: str) -> Select[tuple[object, ...]]:
    return select(operations).where(operations.c.actor == actor, operations.c.idempotency_key == idempotency_key)


def _values(operation: Operation) -> dict[str, object]:
    """All columns but the id and the key."""
    log: Sequence[LogLine] = operation.log[-MAX_LOG_LINES:]
    return {
        "kind": operation.kind.value,
        "state": operation.state.value,
        "workload_id": operation.workload_id,
        "actor": operation.actor,
        "created_at": operation.created_at,
        "started_at": operation.started_at,
        "finished_at": operation.finished_at,
        "steps": encode(operation.steps),
        "progress": encode(operation.progress),
        "log": encode(log),
        "waiting_for": operation.waiting_for,
        "cancellable": operation.cancellable,
        "outcome": encode(operation.outcome),
        "error": None if operation.error is None else encode(operation.error),
    }


def _operation(row: Row[tuple[object, ...]]) -> Operation:
    return Operation(
        id=row.id,
        kind=OperationKind(row.kind),
        state=OperationState(row.state),
        workload_id=row.workload_id,
        actor=row.actor,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        steps=decode(tuple[StepRecord, ...], row.steps),
        progress=decode(Progress, row.progress),
        log=decode(tuple[LogLine, ...], row.log),
        waiting_for=row.waiting_for,
        cancellable=row.cancellable,
        outcome=decode(dict[str, object], row.outcome),
        error=None if row.error is None else decode(dict[str, object], row.error),
    )
