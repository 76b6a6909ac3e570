"""Backups of Holdfast's own state by a schedule, and how they are doing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from holdfast.config import Settings
from holdfast.domain.backup import BackupReason, PassphraseState
from holdfast.domain.operation import Operation
from holdfast.domain.schedule import Schedule, ScheduleKind
from holdfast.domain.times import parse
from holdfast.domain.told import TextOrTold, Told, some, told
from holdfast.services.backups import Backups
from holdfast.services.doctor import Finding, FindingLevel

_BEGIN: Final = "Set a passphrase (holdfast backup passphrase) and backup_schedule; docs/how-to/back-up-holdfast.md."


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

    def busy(self, schedule: Schedule) -> TextOrTold | None:
        """Who makes or verifies one already."""
        assert schedule.kind is ScheduleKind.BACKUP
        at_work = self._backups.at_work
        return told("an_operation", "operation {id}", id=at_work) if at_work else None

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
                told(
                    "doctor_backups_unreadable",
                    "These files are no backups, or damaged: {files}.",
                    "Look into {directory}, make a new one (holdfast backup create), and check the disk.",
                    files=some(kept.unreadable),
                    directory=self._settings.backups_dir,
                ),
            )
        if passphrase is PassphraseState.UNREADABLE:
            return _finding(
                FindingLevel.ERROR,
                told(
                    "doctor_passphrase_unreadable",
                    "The passphrase of backups can't be opened, so that none is made.",
                    "Put the key back from its copy (docs/how-to/secrets.md), or set it again: "
                    "holdfast backup passphrase.",
                ),
            )
        if not kept.backups:
            return _finding(
                FindingLevel.WARNING, told("doctor_no_backup", "There is no backup of Holdfast's own state.", _BEGIN)
            )
        if not self._settings.backup_schedule:
            return _finding(
                FindingLevel.WARNING,
                told("doctor_backups_unscheduled", "No schedule makes backups of Holdfast's own state.", _BEGIN),
            )
        made = told(
            "doctor_backups_made",
            "{count} backups, the newest of {newest}.",
            count=len(kept.backups),
            newest=parse(kept.backups[0].created_at),
        )
        return _finding(FindingLevel.OK, made)


def _finding(level: FindingLevel, found: Told) -> Finding:
    return Finding(check="backups", level=level, told=found)
