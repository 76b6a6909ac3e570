"""Domain records to JSON text and back, for columns that hold a whole record."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from holdfast.domain.errors import Damaged

T = TypeVar("T")


def encode(value: object) -> str:
    """JSON text of a record, or of plain values."""
    return msgspec.json.encode(value).decode()


def decode(kind: type[T], text: str) -> T:
    """The record that :func:`encode` wrote. Fields that are newer than the text take their defaults.

    Raises:
        Damaged: ``state_damaged``; the text is not such a record.
    """
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise Damaged(
            "state_damaged",
            f"A record in Holdfast's database can't be read: {error}.",
            next_step="Restore Holdfast's own backup, or report this as a defect.",
        ) from error
