"""Backups of Holdfast's own state, as they are kept."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

GUESS_COST: Final = 1 << 17
"""What each guess at a passphrase costs, as scrypt's n: a power of two. With r = 8, 128 MiB and a third of a second."""


class BackupReason(StrEnum):
    """Why a backup was made."""

    MANUAL = "manual"
    SCHEDULED = "scheduled"
    """The only ones that go by themselves, once there are newer ones."""
    SAFETY = "safety"
    """Of the state that another backup took the place of."""


class PassphraseState(StrEnum):
    """Whether the server can seal backups by itself."""

    SET = "set"
    NOT_SET = "not_set"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """One backup.

    Attributes:
        bytes: of its file.
        holdfast: the version that made it.
        schema: of the database in it.
        installation: the id of that Holdfast.
        audit_head: where the audit log ended, ``number:hash``.
    """

    id: str
    created_at: str
    bytes: int
    reason: BackupReason
    holdfast: str
    schema: str
    installation: str
    audit_head: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBackups:
    """What there is.

    Attributes:
        backups: newest first.
        unreadable: names of files whose first line tells nothing.
    """

    backups: tuple[Backup, ...] = ()
    unreadable: tuple[str, ...] = ()
