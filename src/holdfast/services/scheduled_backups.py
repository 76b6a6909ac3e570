"""Backups of Holdfast's own state by a schedule, and how they are doing."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.config import Settings
from holdfast.domain.backup import BackupReason, PassphraseState
from holdfast.domain.operation import Operation
from holdfast.domain.schedule import Schedule, ScheduleKind
from holdfast.services.backups import Backups
from holdfast.services.doctor import Finding, FindingLevel


class ScheduledBackups:
    """One schedule, where the settings give it a time."""

    def __init__(self, *, settings: Settings, backups: Backups) -> None:
        self._settings = settings
        self._backups = backups

    async def schedules(self, subject: str | None = None) -> Sequence[Schedule]:
        """It, or none."""
        cron = self._settings.backup_schedule
        if not cron or subject not in (None, ""):
            return ()
        return (Schedule(kind=ScheduleKind.BACKUP, subject="", name="", cron=cron, zone=self._settings.time_zone),)

    def busy(self, schedule: Schedule) -> str | None:
        """Who makes or verifies one already."""
        assert schedule.kind is ScheduleKind.BACKUP
        at_work = self._backups.at_work
        return f"operation {at_work}" if at_work else None

    async def start(self, schedule: Schedule, *, actor: str, idempotency_key: str) -> Operation:
        """Make one, as by hand; then delete scheduled ones that are more than are kept."""
        assert schedule.kind is ScheduleKind.BACKUP
        return await self._backups.create(actor=actor, reason=BackupReason.SCHEDULED, idempotency_key=idempotency_key)

    async def finding(self) -> Finding:
        """Whether this Holdfast could be brought back, for the doctor."""
        kept, passphrase = await self._backups.list(), await self._backups.passphrase_state()
        if kept.unreadable:
            return _finding(
                FindingLevel.ERROR,
                f"These files are no backups, or damaged: {', '.join(kept.unreadable[:5])}.",
                f"Look into {self._settings.backups_dir}, make a new one (holdfast backup create), and check the disk.",
            )
        if passphrase is PassphraseState.UNREADABLE:
            return _finding(
                FindingLevel.ERROR,
                "The passphrase of backups can't be opened, so that none is made.",
                "Put the key back from its copy (docs/how-to/secrets.md), or set it again: holdfast backup passphrase.",
            )
        if not kept.backups or not self._settings.backup_schedule:
            lacking = "There is no backup" if not kept.backups else "No schedule makes backups"
            return _finding(
                FindingLevel.WARNING,
                f"{lacking} of Holdfast's own state.",
                "Set a passphrase (holdfast backup passphrase) and backup_schedule; docs/how-to/back-up-holdfast.md.",
            )
        count, newest = len(kept.backups), kept.backups[0]
        return _finding(FindingLevel.OK, f"{count} backups, the newest of {newest.created_at}.", "")


def _finding(level: FindingLevel, message: str, mend: str) -> Finding:
    return Finding(check="backups", level=level, message=message, mend=mend)
