"""The audit log, each line a row. Nothing changes or removes one; triggers in the database refuse it, too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from holdfast.domain.audit import EMPTY, AuditEntry, AuditLine, Head, next_line
from holdfast.store.database import Database
from holdfast.store.tables import audit, audit_head

_ONLY: Final = 1
"""The head's one row."""

_HEAD = select(audit_head.c.number, audit_head.c.hash).where(audit_head.c.id == _ONLY)
_MAKE_HEAD = insert(audit_head)
_MOVE_HEAD = update(audit_head).where(audit_head.c.id == _ONLY)
_INSERT = insert(audit)
_AFTER = (
    select(audit)
    .where(audit.c.number > bindparam("after"), audit.c.number <= bindparam("last"))
    .order_by(audit.c.number)
    .limit(bindparam("limit"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which lines are wanted; ``None`` for whatever there is.

    Attributes:
        subject: a name or id that stands in the line's subject.
        since, until: RFC 3339.
    """

    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    outcome: str | None = None
    since: str | None = None
    until: str | None = None


class AuditStore:
    """The whole log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        """Add lines, durably and together."""

        await self._database.write(lambda connection: append(connection, entries))

    async def head(self) -> Head:
        """Where the log ends."""
        return await self._database.read(_head)

    async def list(self, wanted: AuditFilter, *, limit: int, before: int | None = None) -> tuple[AuditLine, ...]:
        """Lines, newest first; with ``before`` only those with a lower number."""
        query = select(audit).order_by(audit.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(audit.c.number < before)
        for column, value in (
            (audit.c.actor, wanted.actor),
            (audit.c.action, wanted.action),
            (audit.c.outcome, wanted.outcome),
        ):
            if value is not None:
                query = query.where(column == value)
        if wanted.subject is not None:
            # as the text of a value in the column's JSON; a quote within a value stands there with a backslash
            query = query.where(audit.c.subject.contains(f":{json.dumps(wanted.subject)}", autoescape=True))
        if wanted.since is not None:
            query = query.where(audit.c.at >= wanted.since)
        if wanted.until is not None:
            query = query.where(audit.c.at <= wanted.until)
        return tuple(map(_line, await self._database.rows(query)))

    async def after(self, number: int, *, last: int, limit: int) -> tuple[AuditLine, ...]:
        """The lines after one, oldest first, up to ``last``."""
        return tuple(map(_line, await self._database.rows(_AFTER, after=number, last=last, limit=limit)))


def append(connection: Connection, entries: Sequence[AuditEntry]) -> None:
    """Add lines as part of a write."""
    head = _head(connection)
    lines: list[AuditLine] = []
    for entry in entries:
        lines.append(next_line(head, entry))
        head = Head(lines[-1].number, lines[-1].hash)
    connection.execute(_INSERT, [_values(line) for line in lines])
    moved = {"number": head.number, "hash": head.hash}
    if not connection.execute(_MOVE_HEAD, moved).rowcount:
        connection.execute(_MAKE_HEAD, {"id": _ONLY, **moved})


def _head(connection: Connection) -> Head:
    row = connection.execute(_HEAD).one_or_none()
    return EMPTY if row is None else Head(row.number, row.hash)


def _values(line: AuditLine) -> dict[str, object]:
    entry = line.entry
    return {
        "number": line.number,
        "at": entry.at,
        "actor": entry.actor,
        "address": entry.address,
        "action": entry.action,
        "subject": json.dumps(dict(entry.subject), sort_keys=True, separators=(",", ":")),
        "status": entry.status,
        "outcome": entry.outcome,
        "operation_id": entry.operation_id,
        "previous": line.previous,
        "hash": line.hash,
    }


def _subject(text: str) -> dict[str, str]:
    try:
        return {str(name): str(value) for name, value in json.loads(text).items()}
    except (ValueError, AttributeError):
        return {"": text}  # somebody changed it; the line's hash will tell


def _line(row: Row[Any]) -> AuditLine:
    entry = AuditEntry(
        at=row.at,
        actor=row.actor,
        address=row.address,
        action=row.action,
        subject=_subject(row.subject),
        status=row.status,
        outcome=row.outcome,
        operation_id=row.operation_id,
    )
    return AuditLine(number=row.number, entry=entry, previous=row.previous, hash=row.hash)
