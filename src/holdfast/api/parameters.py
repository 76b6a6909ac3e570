"""What routes take from paths, queries and headers, bounded and validated once, here."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Header, Path, Query
from pydantic import AfterValidator, AwareDatetime

from holdfast.domain.errors import NotFound
from holdfast.domain.ids import is_id
from holdfast.services.paging import MAX_LIMIT

_ID: Final = "^[0-7][0-9a-hjkmnp-tv-z]{25}$"


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must not contain control characters")
    return text


PrintableText = Annotated[str, AfterValidator(_printable)]
"""Text of one line: it may end up in logs and on terminals."""

WorkloadRef = Annotated[
    str,
    Path(
        alias="workload",
        description="A workload's id or its name.",
        min_length=1,
        max_length=64,
        pattern="^[a-z0-9][a-z0-9-]*$",
    ),
]


def _snapshot_id(text: str) -> str:
    if not is_id(text):
        raise NotFound(
            "snapshot_unknown",
            f"There is no snapshot {text}.",
            next_step="List a workload's snapshots to see which there are.",
        )
    return text


def _operation_id(text: str) -> str:
    if not is_id(text):
        raise NotFound(
            "operation_unknown",
            f"There is no operation {text}.",
            next_step="List the operations to see which there are.",
        )
    return text


SnapshotId = Annotated[
    str,
    Path(alias="snapshot", description="A snapshot's id.", max_length=64),
    AfterValidator(_printable),
    AfterValidator(_snapshot_id),
]
OperationId = Annotated[
    str,
    Path(alias="operation", description="An operation's id.", max_length=64),
    AfterValidator(_printable),
    AfterValidator(_operation_id),
]


def _countable(moment: datetime) -> datetime:
    """Neither the engine nor Python's own arithmetic counts beyond."""
    if not 1970 <= moment.year <= 9998:
        raise ValueError("must lie between the years 1970 and 9998")
    return moment.astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(_countable)]

Limit = Annotated[int, Query(description="How many items at most.", ge=1, le=MAX_LIMIT)]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before this one.", pattern=_ID)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Any text of the caller's own. The same key again returns the operation that it started before.",
        min_length=1,
        max_length=200,
        pattern="^[!-~]+$",
    ),
]
ConfirmRestore = Annotated[
    str | None,
    Header(
        alias="X-Confirm-Restore",
        description="The id of the snapshot whose data is to replace the live data; proves that it is meant.",
        max_length=64,
        pattern="^[!-~]+$",
    ),
]
