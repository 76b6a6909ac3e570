"""The audit log: who did what, from where, and how it ended; each line sealed to the one before it.

Invariants:

- A line's hash covers all of it and the hash of the line before. Whoever changes, removes, exchanges or inserts lines
  has to write every later line anew, up to the head; and the head is known elsewhere: with the log, in every backup,
  and to whoever noted it.
- The form that is hashed is that of an export (:meth:`AuditLine.sealed`), so that others can check it as well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from holdfast.domain.errors import InvalidInput
from holdfast.domain.operation import Operation, OperationKind, OperationState
from holdfast.domain.schedule import ACTOR as SCHEDULE

FIRST: Final = "0" * 64
"""What stands in the place of a previous hash in line 1."""
MAX_FINDINGS: Final = 20
"""So many are told; a log that was written anew would have one for each line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """Something that was done, or refused.

    Attributes:
        actor: who; empty for somebody who did not prove who they are.
        address: where the request came from; empty if that is not known.
        action: the name of the API's route, e.g. ``restore_snapshot``; of an operation that ended ``restore_ended``.
        subject: on what: what the address named, and what was made, by name.
        status: of the answer; 0 for an operation that ended, which answers nobody.
        outcome: ``done``, ``accepted`` for what goes on as an operation, or the error's code.
        operation_id: of that operation.
    """

    at: str
    actor: str
    address: str
    action: str
    subject: Mapping[str, str] = field(default_factory=dict)
    status: int
    outcome: str
    operation_id: str | None = None


_LOOKS: Final = frozenset(
    {OperationKind.SNAPSHOT, OperationKind.VERIFY, OperationKind.COPY, OperationKind.DRILL, OperationKind.COMPARE}
)
"""Kinds that change nothing that is there."""
_NAMED: Final = (
    "workload",
    "snapshot_id",
    "safety_snapshot_id",
    "deployment_id",
    "deleted_snapshots",
    "backup_id",
    "safety_backup_id",
    "audit_head_before",
)
"""What of an outcome is recorded."""


def entry_of(operation: Operation) -> AuditEntry | None:
    """What is put on record of an operation that has ended, whoever or whatever started it.

    ``None`` for a dry run, and for what a schedule does day by day that succeeds and takes nothing away.
    """
    outcome = operation.outcome
    succeeded = operation.state is OperationState.SUCCEEDED
    if outcome.get("dry_run") is True or outcome.get("result") == "dry_run":
        return None
    routine = operation.actor == SCHEDULE and operation.kind in _LOOKS
    if routine and succeeded and not outcome.get("deleted_snapshots"):
        return None
    code = str((operation.error or {}).get("code", operation.state))
    return AuditEntry(
        at=operation.finished_at or operation.created_at,
        actor=operation.actor,
        address="",
        action=f"{operation.kind}_ended",
        subject={name: str(outcome[name]) for name in _NAMED if outcome.get(name)},
        status=0,
        outcome="done" if succeeded else code,
        operation_id=operation.id,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLine:
    """An entry in its place, which ``number`` counts from 1."""

    number: int
    entry: AuditEntry
    previous: str
    hash: str

    def sealed(self) -> str:
        """The text that the hash covers: JSON, keys sorted, nothing between them, only ASCII."""
        return _text(_sealed(self.number, self.entry, self.previous))

    def exported(self) -> str:
        """The line as it is exported: that text with the hash in it."""
        return _text({**_sealed(self.number, self.entry, self.previous), "hash": self.hash})


class Head(NamedTuple):
    """Up to where a log goes: its last line's number and hash."""

    number: int
    hash: str

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"


EMPTY: Final = Head(0, FIRST)


class AuditFinding(NamedTuple):
    """What is wrong, at which line."""

    number: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What a check found; ``head`` is where the log ends that was checked."""

    head: Head
    findings: Sequence[AuditFinding]


def next_line(head: Head, entry: AuditEntry) -> AuditLine:
    """The line that follows ``head``."""
    number = head.number + 1
    digest = _hash(_text(_sealed(number, entry, head.hash)))
    return AuditLine(number=number, entry=entry, previous=head.hash, hash=digest)


def parse_line(text: str) -> AuditLine:
    """The line that :meth:`AuditLine.exported` wrote.

    Raises:
        InvalidInput: ``audit_line_malformed``.
    """
    try:
        told: dict[str, Any] = json.loads(text)
        subject = {str(name): str(value) for name, value in told["subject"].items()}
        names = ("at", "actor", "address", "action", "status", "outcome", "operation_id")
        entry = AuditEntry(subject=subject, **{name: told[name] for name in names})
        return AuditLine(
            number=int(told["number"]), entry=entry, previous=str(told["previous"]), hash=str(told["hash"])
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidInput(
            "audit_line_malformed",
            "This is no line of an exported audit log.",
            next_step="Name a file that holdfast audit export wrote.",
        ) from error


def parse_head(text: str) -> Head:
    """The head that was noted as ``number:hash``.

    Raises:
        InvalidInput: ``audit_head_malformed``.
    """
    number, _, digest = text.partition(":")
    if number.isascii() and number.isdigit() and len(number) < 19 and len(digest) == len(FIRST):
        return Head(int(number), digest.lower())
    raise InvalidInput(
        "audit_head_malformed",
        "A head is written as a line's number and its hash, NUMBER:HASH.",
        next_step="Give it as holdfast audit verify told it.",
    )


class Verifier:
    """Checks a log, line by line as they lie there.

    Args:
        heads: where the log ended at earlier times, as known from elsewhere.
    """

    def __init__(self, heads: Iterable[Head] = ()) -> None:
        self._known = {head.number: head.hash for head in heads if head.number}
        self._at = EMPTY
        self._found: list[AuditFinding] = []

    def look(self, line: AuditLine) -> None:
        """Check the next line."""
        number, before = line.number, self._at
        if number <= before.number:
            self._find(number, f"line {number} is there twice, or was inserted")
            return
        if number > before.number + 1:
            self._find(before.number + 1, f"{_lines(before.number + 1, number - 1)} missing")
        elif line.previous != before.hash:
            self._find(number, f"line {number} does not follow the one before it: one of them was exchanged")
        if line.hash != _hash(line.sealed()):
            self._find(number, f"line {number} was changed")
        elif self._known.get(number, line.hash) != line.hash:
            self._find(number, f"line {number} is another one than the one that was known")
        self._at = Head(number, line.hash)

    def report(self) -> AuditReport:
        """What was found, now that all lines were looked at."""
        last = max(self._known, default=0)
        if last > self._at.number:
            self._find(self._at.number + 1, f"{_lines(self._at.number + 1, last)} missing at the end")
        return AuditReport(head=self._at, findings=tuple(self._found))

    def _find(self, number: int, message: str) -> None:
        if len(self._found) < MAX_FINDINGS:
            self._found.append(AuditFinding(number, message))


def _lines(first: int, last: int) -> str:
    return f"line {first} is" if first == last else f"lines {first} to {last} are"


def _sealed(number: int, entry: AuditEntry, previous: str) -> dict[str, object]:
    return {
        "number": number,
        "at": entry.at,
        "actor": entry.actor,
        "address": entry.address,
        "action": entry.action,
        "subject": dict(entry.subject),
        "status": entry.status,
        "outcome": entry.outcome,
        "operation_id": entry.operation_id,
        "previous": previous,
    }


def _text(document: Mapping[str, object]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
