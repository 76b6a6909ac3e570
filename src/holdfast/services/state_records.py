"""What is written down of a backup that is to take the place of the state, and what has to hold for that.

How it is carried out: :mod:`holdfast.services.state_swap`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from holdfast.config import Settings
from holdfast.domain.errors import Conflict, HoldfastError

COMMIT: Final = "commit.json"
NEW: Final = "new"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for.

    Attributes:
        operation_id: the operation that tells of it; empty where a data directory is filled that had nothing.
        made_at: when the backup was made.
        schema: of the database in it.
        files: what is staged, each with its SHA-256 in hexadecimal.
    """

    operation_id: str
    actor: str
    created_at: str
    backup_id: str
    made_at: str
    schema: str
    files: dict[str, str]


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """What is carried out, and what is taken over from the state that it replaces.

    Attributes:
        safety_id: the backup of that state; empty if there was none.
        audit_head: where its audit log ended.
        pins: its pinned snapshots: id, workload's id, and the restore whose way back it is.
        tokens: ids of the tokens that were good; ``None``: nothing is known of any.
    """

    asked: Asked
    safety_id: str = ""
    audit_head: str = ""
    pins: tuple[tuple[str, str, str | None], ...] = ()
    tokens: tuple[str, ...] | None = None


class Settled(NamedTuple):
    """How what was asked for ended: the new state is in its place, or the old one stays for a reason."""

    asked: Asked
    committed: Committed | None
    error: HoldfastError | None


def require_settled(settings: Settings) -> None:
    """Make sure that the state is all of one.

    Raises:
        Conflict: ``state_restore_unfinished``.
    """
    directory = settings.state_restore_dir
    if (directory / COMMIT).exists() and (directory / NEW).exists():
        raise Conflict(
            "state_restore_unfinished",
            "A backup is to take the place of Holdfast's own state, and a server died before all of it was in place.",
            next_step="Start the server, or run holdfast recover: either goes on with it. Then try again.",
        )


def require_nothing_in_flight(settings: Settings) -> None:
    """Make sure that nothing on the disk belongs to something that is under way by the database.

    Raises:
        Conflict: ``restores_unfinished``.
    """
    left = [
        f"{directory.name}/{path.name}"
        for directory in (settings.journal_dir, settings.holds_dir, settings.take_overs_dir)
        if directory.is_dir()
        for path in sorted(directory.iterdir())
    ]
    if left:
        raise Conflict(
            "restores_unfinished",
            f"Something is not over that the state in the backup knows nothing of: {', '.join(left[:5])}.",
            next_step="Nothing was changed. See holdfast operation list, decide what waits for it, and try again.",
            details={"left": left},
        )
