"""Builds what makes and keeps backups of Holdfast's own state, brings them back, and tells of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from holdfast.bootstrap.base import Base
from holdfast.bootstrap.seams import Seams
from holdfast.config import Settings
from holdfast.engine.sealing import Sealing
from holdfast.services.backup_copies import BackupCopies
from holdfast.services.backup_files import BackupFiles
from holdfast.services.backup_passphrase import BackupPassphrase
from holdfast.services.backup_restores import BackupRestores
from holdfast.services.backups import Backups
from holdfast.services.repositories import Repositories
from holdfast.services.scheduled_backups import ScheduledBackups
from holdfast.services.state_swap import StateSwap


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupParts:
    """What they are."""

    backups: Backups
    restores: BackupRestores
    scheduled: ScheduledBackups


def state_swap_of(settings: Settings, seams: Seams) -> StateSwap:
    """What carries out, before anything else, that a backup takes the place of the state."""
    passphrase = BackupPassphrase(settings, seams.fs, Sealing(seams.fs, settings.keys_dir))
    return StateSwap(settings, seams.fs, BackupFiles(settings, seams.fs, seams.backup_cost), passphrase)


def backups_of(base: Base, repositories: Repositories, swap: StateSwap, restart: Callable[[], object]) -> BackupParts:
    """Build them. Nothing begins by itself.

    Args:
        restart: has the server end, and start anew.
    """
    files = BackupFiles(base.settings, base.fs, base.seams.backup_cost)
    passphrase = BackupPassphrase(base.settings, base.fs, base.sealing)
    keep = base.settings.backup_keep
    copies = BackupCopies(repositories=repositories, keep=keep)
    backups = Backups(files=files, passphrase=passphrase, copies=copies, operations=base.operations, keep=keep)
    restores = BackupRestores(
        settings=base.settings,
        installation=base.installation,
        files=files,
        backups=backups,
        passphrase=passphrase,
        swap=swap,
        operations=base.operations,
        restart=restart,
    )
    scheduled = ScheduledBackups(settings=base.settings, backups=backups)
    return BackupParts(backups=backups, restores=restores, scheduled=scheduled)
