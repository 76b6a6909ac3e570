"""Operations: long-running, persisted units of work with steps, progress, a log and an outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from holdfast.domain.told import Told


class OperationKind(StrEnum):
    DEPLOY = "deploy"
    ROLLBACK = "rollback"
    PROMOTE = "promote"
    START = "start"
    STOP = "stop"
    DELETE = "delete"
    SNAPSHOT = "snapshot"
    RESTORE = "restore"
    UNDO = "undo"
    CLONE = "clone"
    """A restore of another workload's snapshot, into the workload that the operation belongs to."""
    VERIFY = "verify"
    IMPORT = "import"
    COMPARE = "compare"
    PRUNE = "prune"
    PRUNE_IMAGES = "prune_images"
    DRILL = "drill"
    """Proves a snapshot by restoring it into a throw-away copy of its workload."""
    COPY = "copy"
    """Sends snapshots to a second repository."""
    TAKE_OVER = "take_over"
    """Has workloads take the place of containers that others made."""
    MOVE_IN = "move_in"
    """Takes snapshots that are archives into the repository."""
    BACKUP = "backup"
    """Makes a backup of Holdfast's own state."""
    VERIFY_BACKUP = "verify_backup"
    RESTORE_BACKUP = "restore_backup"
    """Puts the state that is in a backup in the place of Holdfast's own; the server starts anew for it."""


class OperationState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """The server died while it ran; what recovery then did stands in its log and outcome."""

    @property
    def ended(self) -> bool:
        return self not in (OperationState.QUEUED, OperationState.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the present step is. Totals are ``None`` while unknown."""

    done_bytes: int = 0
    total_bytes: int | None = None
    done_files: int = 0
    total_files: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One step that was entered. Times are RFC 3339 UTC."""

    name: str
    started_at: str
    finished_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line. ``code`` and ``values`` are those of a :class:`~holdfast.domain.told.Told`, where it is one."""

    at: str
    message: str
    level: str = "info"
    code: str = ""
    values: Mapping[str, object] | None = field(default=None, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation as it stands.

    Attributes:
        waiting: why it is queued ("waiting for restore 01j…"); ``None`` when it isn't.
        cancellable: whether a cancel would be honoured now.
        outcome: what it produced, JSON-serialisable (ids, sizes, ``result``); filled at its end.
        error: ``{"code", "message", "next_step", "details"}`` when it failed.
    """

    id: str
    kind: OperationKind
    state: OperationState
    workload_id: str | None
    actor: str
    created_at: str
    started_at: str | None = None
    finished_at: str | None = None
    steps: tuple[StepRecord, ...] = ()
    progress: Progress = field(default_factory=Progress)
    log: tuple[LogLine, ...] = ()
    waiting: Told | None = None
    cancellable: bool = True
    outcome: dict[str, object] = field(default_factory=dict)
    error: dict[str, object] | None = None

    @property
    def waiting_for(self) -> str:
        """Why it is queued, in words; empty when it isn't."""
        return "" if self.waiting is None else self.waiting.message
