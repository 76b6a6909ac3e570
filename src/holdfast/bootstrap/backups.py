"""Builds what makes and keeps backups of Holdfast's own state, and tells of them."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.bootstrap.base import Base
from holdfast.services.backup_passphrase import BackupPassphrase
from holdfast.services.backups import Backups
from holdfast.services.scheduled_backups import ScheduledBackups


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupParts:
    """What they are."""

    backups: Backups
    scheduled: ScheduledBackups


def backups_of(base: Base) -> BackupParts:
    """Build them. Nothing begins by itself."""
    backups = Backups(
        settings=base.settings,
        fs=base.fs,
        passphrase=BackupPassphrase(base.settings, base.fs, base.sealing),
        operations=base.operations,
        cost=base.seams.backup_cost,
    )
    return BackupParts(backups=backups, scheduled=ScheduledBackups(settings=base.settings, backups=backups))
