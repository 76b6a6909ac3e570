"""Notices: what somebody should hear of who doesn't look, and through which channel.

An event (a restore ended) is told once. A condition (a schedule fails, a disk is nearly full) is told when it begins,
once a day while it lasts, and when it is over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from holdfast.domain.operation import Operation, OperationKind, OperationState
from holdfast.domain.schedule import ACTOR
from holdfast.domain.times import parse
from holdfast.domain.told import Told

AGAIN: Final = timedelta(days=1)
"""How often a condition is told while it lasts."""

SETTLED: Final = timedelta(minutes=10)
"""How long a condition that comes and goes has to last, or to be over, before it is told."""

GIVEN_UP: Final = timedelta(days=7)
"""After so long a notice that could not be delivered is dropped."""

_FIRST_PAUSE: Final = timedelta(minutes=1)
_LONGEST_PAUSE: Final = timedelta(hours=1)


class NoticeKind(StrEnum):
    """What a notice is about."""

    SCHEDULE = "schedule"
    """A schedule fails, missed a run, or is overdue."""
    SNAPSHOT_FAILED = "snapshot_failed"
    RESTORE_ENDED = "restore_ended"
    """A restore, an undo or a clone, however it ended; of Holdfast's own state, too."""
    DEPLOY_FAILED = "deploy_failed"
    BACKUP_FAILED = "backup_failed"
    """A backup of Holdfast's own state was not made, or is not whole."""
    DAMAGE_FOUND = "damage_found"
    DISK_LOW = "disk_low"
    TEST = "test"


class Level(StrEnum):
    PROBLEM = "problem"
    OVER = "over"
    """A problem that was told before is over."""
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing to tell.

    Attributes:
        title: one line. ``{workload}`` in it stands for the workload's name.
        at: when it happened, RFC 3339.
        workload: its name; filled in when the notice is kept.
    """

    kind: NoticeKind
    level: Level
    title: str
    at: str
    message: str = ""
    next_step: str = ""
    operation_id: str = ""
    workload_id: str = ""
    workload: str = ""

    @property
    def line(self) -> str:
        """The title with the name in it, without what could end a line."""
        return " ".join(self.title.replace("{workload}", self.workload or self.workload_id or "a workload").split())


_RESTORES: Final = {
    OperationKind.RESTORE: "Restore",
    OperationKind.UNDO: "Undo",
    OperationKind.CLONE: "Clone",
    OperationKind.RESTORE_BACKUP: "Restore of Holdfast's own state",
}
_DEPLOYS: Final = {
    OperationKind.DEPLOY: "Deploy",
    OperationKind.ROLLBACK: "Rollback",
    OperationKind.PROMOTE: "Promotion",
    OperationKind.START: "Start",
}
_BACKUPS: Final = {OperationKind.BACKUP: "Backup", OperationKind.VERIFY_BACKUP: "Verification of a backup"}
_DAMAGE: Final = frozenset({"snapshot_damaged", "repository_damaged"})


def notice_of(operation: Operation) -> Notice | None:
    """What is told of an operation that has ended; ``None`` for most. Scheduled ones are told of by their schedule."""
    error = operation.error or {}
    failed = operation.state in (OperationState.FAILED, OperationState.INTERRUPTED)
    if operation.actor == ACTOR:
        return None
    if operation.kind in _RESTORES:
        # One that was interrupted is taken up, and ends once more.
        if operation.state is OperationState.INTERRUPTED or operation.outcome.get("result") == "dry_run":
            return None
        kind, what = NoticeKind.RESTORE_ENDED, _RESTORES[operation.kind]
    elif failed and operation.kind in _DEPLOYS:
        kind, what = NoticeKind.DEPLOY_FAILED, _DEPLOYS[operation.kind]
    elif failed and operation.kind in _BACKUPS:
        kind, what = NoticeKind.BACKUP_FAILED, _BACKUPS[operation.kind]
    elif failed and operation.kind is OperationKind.SNAPSHOT:
        kind, what = NoticeKind.SNAPSHOT_FAILED, "Snapshot"
    elif failed and error.get("code") in _DAMAGE:
        kind, what = NoticeKind.DAMAGE_FOUND, "Verification"
    else:
        return None
    of = " of {workload}" if operation.workload_id else ""
    return Notice(
        kind=kind,
        level=Level.PROBLEM if failed else Level.INFO,
        title=f"{what}{of} {operation.state}",
        at=operation.finished_at or operation.created_at,
        message=str(error.get("message", "")),
        next_step=str(error.get("next_step", "")),
        operation_id=operation.id,
        workload_id=operation.workload_id or "",
    )


def pause_after(attempts: int) -> timedelta:
    """How long to wait before a delivery is tried again that failed so often."""
    return min(_FIRST_PAUSE * (1 << min(attempts - 1, 10)), _LONGEST_PAUSE)


class ChannelKind(StrEnum):
    WEBHOOK = "webhook"
    MAIL = "mail"
    SERVICE = "service"
    """One of those that Apprise knows."""


class MailTls(StrEnum):
    """How mail is sent to its server."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where notices are posted to, as far as it may be seen: the rest of the address may be a secret.

    Attributes:
        origin: ``https://host:port``.
    """

    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail server, and for whom.

    Attributes:
        username: to log in with; empty: no login.
    """

    host: str
    port: int
    tls: MailTls
    sender: str
    recipients: tuple[str, ...]
    username: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A way to tell somebody. What is secret of it is sealed.

    Attributes:
        service: the name of the service (``Telegram``); nothing else of its address may be seen.
        kinds: what is told through it; empty: everything.
    """

    id: str
    name: str
    kind: ChannelKind
    created_at: str
    webhook: Webhook | None = None
    mail: Mail | None = None
    service: str = ""
    kinds: tuple[NoticeKind, ...] = field(default=())

    def takes(self, notice: Notice) -> bool:
        """Whether the notice is told through this channel."""
        return not self.kinds or notice.kind in self.kinds


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSecrets:
    """What is secret of a channel.

    Attributes:
        url: the whole address of a webhook or service.
        secret: signs what is posted, or logs in to a mail server; empty for none.
    """

    url: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A notice that waits to be delivered through a channel.

    Attributes:
        error: why the last attempt failed; ``None`` before there was one.
    """

    id: str
    channel_id: str
    notice: Notice
    created_at: str
    next_at: str
    attempts: int = 0
    error: Told | None = None


def is_due(delivery: Delivery, now: datetime) -> bool:
    """Whether a delivery is tried now. What would wait for longer than ever is due: a clock was wrong."""
    return not timedelta() < parse(delivery.next_at) - now <= _LONGEST_PAUSE
