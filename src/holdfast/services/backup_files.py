"""The directory that backups of Holdfast's own state are kept in. All of it blocks."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from holdfast.config import Settings
from holdfast.domain.backup import Backup, BackupReason, KeptBackups
from holdfast.domain.errors import HoldfastError, NotFound
from holdfast.domain.ids import is_id, new_id
from holdfast.engine.fs import TEMPORARY_PREFIX, Fs
from holdfast.engine.os_errors import translate
from holdfast.engine.space import keep_reserve

SUFFIX: Final = ".backup"

Progress = Callable[[int, int], object]
"""Is told how many bytes are done, of how many; what it raises ends the work."""


class BackupFiles:
    """What is in it.

    Args:
        cost: what each guess at a passphrase costs.
    """

    def __init__(self, settings: Settings, fs: Fs, cost: int) -> None:
        self._settings = settings
        self._fs = fs
        self._cost = cost
        self._directory = settings.backups_dir

    def list(self) -> KeptBackups:
        """What there is.

        Raises:
            Failed: the directory can't be read.
        """
        backups, unreadable = [], []
        try:
            for path in sorted(self._directory.glob(f"*{SUFFIX}"), reverse=True):
                backup = self._backup(path)
                if backup is None:
                    unreadable.append(path.name)
                else:
                    backups.append(backup)
        except OSError as error:
            raise translate(error, f"looking at {self._directory}") from error
        return KeptBackups(backups=tuple(backups), unreadable=tuple(unreadable))

    def path(self, backup_id: str) -> Path:
        """Where one is.

        Raises:
            NotFound: ``backup_unknown``.
        """
        path = self._directory / f"{backup_id}{SUFFIX}"
        if not is_id(backup_id) or not path.is_file():
            raise _unknown(backup_id)
        return path

    def open(self, backup_id: str) -> BinaryIO:
        """One, to be read.

        Raises:
            NotFound: ``backup_unknown``.
            Failed: it can't be read.
        """
        path = self.path(backup_id)
        try:
            return path.open("rb")
        except FileNotFoundError as error:
            raise _unknown(backup_id) from error
        except OSError as error:
            raise translate(error, f"reading {path}") from error

    def make(self, passphrase: str, reason: BackupReason, *, sealing: Progress, verifying: Progress) -> Backup:
        """Make one, read it back, and only then give it its name.

        Raises:
            NoSpace: ``disk_reserve_reached``, ``no_space``. Nothing is left of it.
            Failed, Damaged: it can't be made, or is not whole. Nothing is left of it.
        """
        temporary = self._directory / f"{os.fsdecode(TEMPORARY_PREFIX)}{new_id()}"
        try:
            backup_id = self._write(temporary, passphrase, reason, sealing)
            self.verify(temporary, passphrase, verifying)
            return self._keep(temporary, backup_id)
        except OSError as error:
            raise translate(error, "making a backup") from error
        finally:
            temporary.unlink(missing_ok=True)

    def verify(self, path: Path, passphrase: str, progress: Progress) -> int:
        """Read one to its end, and check all of it. Returns how many files are in it.

        Raises:
            InvalidInput, Refused, Damaged: see :func:`holdfast.engine.backup_file.read_backup`.
        """
        from holdfast.services.state_backup import verify_backup  # only here: it loads the library of ciphers

        return len(verify_backup(path, passphrase, progress)[1])

    def delete(self, backup_id: str) -> None:
        """Delete one, durably.

        Raises:
            NotFound: ``backup_unknown``.
            Failed: the file system refused.
        """
        path = self.path(backup_id)
        try:
            path.unlink()
            self._flush()
        except FileNotFoundError as error:
            raise _unknown(backup_id) from error
        except OSError as error:
            raise translate(error, f"deleting {path}") from error

    def _backup(self, path: Path) -> Backup | None:
        from holdfast.engine.backup_file import read_facts  # only here: likewise

        try:
            with path.open("rb") as file:
                facts, size = read_facts(file), os.fstat(file.fileno()).st_size
        except (HoldfastError, FileNotFoundError):
            return None
        if path.stem != facts.id:
            return None
        return Backup(
            id=facts.id,
            created_at=facts.created_at,
            bytes=size,
            reason=facts.reason,
            holdfast=facts.holdfast,
            schema=facts.schema,
            installation=facts.installation,
            audit_head=facts.audit_head,
        )

    def _write(self, temporary: Path, passphrase: str, reason: BackupReason, progress: Progress) -> str:
        from holdfast.services.state_backup import create_backup  # only here: likewise

        fd = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as file:
            room = 2 * self._settings.database_file.stat().st_size  # the copy, and what is sealed of it
            keep_reserve(self._fs, file.fileno(), room, self._settings.disk_reserve_bytes, "a backup")
            facts = create_backup(
                self._settings, passphrase, file, reason=reason, progress=progress, scrypt_n=self._cost
            )
            file.flush()
            self._fs.fsync(file.fileno())
        return facts.id

    def _keep(self, temporary: Path, backup_id: str) -> Backup:
        """Give a backup its name, durably."""
        path = self._directory / f"{backup_id}{SUFFIX}"
        directory = self._fs.open_root(str(self._directory))
        try:
            self._fs.rename(directory, os.fsencode(temporary.name), directory, os.fsencode(path.name))
            self._fs.fsync(directory)
        finally:
            self._fs.close(directory)
        kept = self._backup(path)
        assert kept is not None
        return kept

    def _flush(self) -> None:
        directory = self._fs.open_root(str(self._directory))
        try:
            self._fs.fsync(directory)
        finally:
            self._fs.close(directory)


def _unknown(backup_id: str) -> NotFound:
    return NotFound(
        "backup_unknown",
        f"There is no backup {backup_id}.",
        next_step="See which there are: holdfast backup list",
    )
