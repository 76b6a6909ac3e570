"""Operations, each one row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, bindparam, insert, select, update

from holdfast.domain.audit import AuditEntry, entry_of
from holdfast.domain.idempotency import as_stored, require_same_request
from holdfast.domain.notice import notice_of
from holdfast.domain.operation import LogLine, Operation, OperationKind, OperationState, Progress, StepRecord
from holdfast.domain.told import Told
from holdfast.store.audit import append
from holdfast.store.codec import decode, encode
from holdfast.store.database import Database
from holdfast.store.notices import keep
from holdfast.store.tables import operations, workloads

MAX_LOG_LINES: Final = 1000
"""How much of an operation's log is kept: its last lines."""


_BY_ID = select(operations).where(operations.c.id == bindparam("id"))
_BY_KEY = select(operations).where(
    operations.c.actor == bindparam("actor"),
    # Alone, or with a fingerprint behind a space: "!" is the next character, and the first that a key can hold.
    operations.c.idempotency_key >= bindparam("key"),
    operations.c.idempotency_key < bindparam("key") + "!",
)
_UNFINISHED = (
    select(operations)
    .where(operations.c.state.in_([state.value for state in OperationState if not state.ended]))
    .order_by(operations.c.id)
)
_NAME = select(workloads.c.name).where(workloads.c.id == bindparam("id"))
_INSERT = insert(operations)
_SAVE = update(operations).where(operations.c.id == bindparam("this"))


class OperationStore:
    """All operations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, operation: Operation, *, idempotency_key: str | None = None) -> Operation | None:
        """Keep a new operation, unless its actor started one with the same key before.

        Returns:
            That earlier one, and then nothing was kept; ``None`` if the new one was.

        Raises:
            Conflict: ``idempotency_key_reused``; something else was asked for with it.
        """

        def write(connection: Connection) -> Row[Any] | None:
            if idempotency_key is not None:
                asked = {"actor": operation.actor, "key": str(idempotency_key)}
                earlier = connection.execute(_BY_KEY, asked).one_or_none()
                if earlier is not None:
                    return earlier
            key = as_stored(idempotency_key)
            connection.execute(_INSERT, {"id": operation.id, "idempotency_key": key, **_values(operation)})
            return None

        return _repeated(await self._database.write(write), idempotency_key)

    async def save(self, operation: Operation) -> None:
        """Record how an operation stands, durably."""
        await self._database.change(_SAVE, this=operation.id, **_values(operation))

    async def end(self, operation: Operation) -> None:
        """Record that an operation has ended, and with it what somebody is told of that and its line in the audit log.

        Durably; all of it or nothing.
        """
        notice, entry = notice_of(operation), entry_of(operation)

        def write(connection: Connection) -> None:
            connection.execute(_SAVE, {"this": operation.id, **_values(operation)})
            if notice is not None:
                keep(connection, notice, now=notice.at)
            if entry is not None:
                append(connection, [_named(connection, operation, entry)])

        await self._database.write(write)

    async def get(self, operation_id: str) -> Operation | None:
        """The operation with this id."""
        row = await self._database.row(_BY_ID, id=operation_id)
        return None if row is None else _operation(row)

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
        return await self._all(_UNFINISHED)

    async def find_by_key(self, actor: str, idempotency_key: str) -> Operation | None:
        """The operation that ``actor`` started with this key.

        Raises:
            Conflict: ``idempotency_key_reused``; something else was asked for with it.
        """
        return _repeated(await self._database.row(_BY_KEY, actor=actor, key=str(idempotency_key)), idempotency_key)

    async def _all(self, query: Select[tuple[object, ...]]) -> tuple[Operation, ...]:
        return tuple(map(_operation, await self._database.rows(query)))


def _repeated(row: Row[Any] | None, key: str | None) -> Operation | None:
    if row is None or key is None:
        return None
    require_same_request(key, row.idempotency_key, row.id)
    return _operation(row)


def _named(connection: Connection, operation: Operation, entry: AuditEntry) -> AuditEntry:
    """The entry with the workload, by its name as long as it has one."""
    if operation.workload_id is None:
        return entry
    name = connection.execute(_NAME, {"id": operation.workload_id}).scalar()
    return replace(entry, subject={"workload": name or operation.workload_id, **entry.subject})


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
        waiting=Told(row.waiting_for) if row.waiting_for else None,  # once the server died, only the words are left
        cancellable=row.cancellable,
        outcome=decode(dict[str, object], row.outcome),
        error=None if row.error is None else decode(dict[str, object], row.error),
    )
