"""Backups of Holdfast's own state, kept in a directory of the data directory: make, list, verify, hand out, delete.

- A backup appears under its name when it is whole, durable, and was read back with its passphrase.
- What there is stands in the directory and nowhere else: a database that was restored loses none of them.
- Only scheduled ones are deleted by themselves, and only once a newer one is there. None is deleted while it is read.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

import structlog

from holdfast.config import Settings
from holdfast.domain.backup import Backup, BackupReason, KeptBackups, PassphraseState
from holdfast.domain.errors import Busy, Cancelled, HoldfastError, NotFound
from holdfast.domain.ids import is_id
from holdfast.domain.operation import Operation, OperationKind, Progress
from holdfast.domain.units import format_size
from holdfast.engine.fs import TEMPORARY_PREFIX, Fs
from holdfast.engine.os_errors import translate
from holdfast.engine.space import keep_reserve
from holdfast.services.backup_passphrase import BackupPassphrase
from holdfast.services.operations import OperationContext, Operations
from holdfast.services.pump import Write, pumped
from holdfast.services.snapshot_files import Download

SUFFIX: Final = ".backup"
_PIECE: Final = 1 << 18


class Backups:
    """All backups that are kept here.

    Args:
        cost: what each guess at a passphrase costs.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        fs: Fs,
        passphrase: BackupPassphrase,
        operations: Operations,
        cost: int,
    ) -> None:
        self._settings = settings
        self._fs = fs
        self._passphrase = passphrase
        self._operations = operations
        self._cost = cost
        self._making: str | None = None
        self._turn = asyncio.Lock()
        self._used: dict[str, str] = {}
        self._log = structlog.get_logger("backups")

    @property
    def making(self) -> str | None:
        """The id of the operation that makes one now."""
        return self._making

    async def list(self) -> KeptBackups:
        """What there is.

        Raises:
            Failed: the directory can't be read.
        """
        return await asyncio.to_thread(self._list)

    async def passphrase_state(self) -> PassphraseState:
        """Whether there is a passphrase to make them with."""
        return await asyncio.to_thread(self._passphrase.state)

    async def set_passphrase(self, passphrase: str) -> None:
        """Set the passphrase of those that are made from now on.

        Raises:
            InvalidInput: ``passphrase_too_short``.
            Failed, NoSpace: it can't be sealed; the one of before stays.
        """
        await asyncio.to_thread(self._passphrase.set, passphrase)

    async def create(
        self, *, actor: str, reason: BackupReason = BackupReason.MANUAL, idempotency_key: str | None = None
    ) -> Operation:
        """Make one, and read it back.

        Raises:
            Refused: ``backup_passphrase_not_set``, ``backup_passphrase_unreadable``.
        """
        await asyncio.to_thread(self._passphrase.get)  # now, and not as an operation that fails

        async def run(ctx: OperationContext) -> dict[str, object]:
            if self._making is not None:
                ctx.waiting(f"backup {self._making}")
            with ctx.interruptible():
                await self._turn.acquire()
            self._making = ctx.id
            try:
                backup = await self.make(ctx, reason)
                deleted = await self._forget_old(ctx) if reason is BackupReason.SCHEDULED else ()
            finally:
                self._making = None
                self._turn.release()
            return {"backup_id": backup.id, "bytes": backup.bytes, "deleted": list(deleted)}

        return await self._operations.start(OperationKind.BACKUP, None, actor, run, idempotency_key=idempotency_key)

    async def make(self, ctx: OperationContext, reason: BackupReason) -> Backup:
        """Make one as a part of an operation.

        Raises:
            Refused: ``backup_passphrase_not_set``, ``backup_passphrase_unreadable``.
            NoSpace: ``disk_reserve_reached``, ``no_space``. Nothing is left of it.
            Failed: it can't be made, or is not whole. Nothing is left of it.
        """
        passphrase = await asyncio.to_thread(self._passphrase.get)
        ctx.step("sealing")
        temporary = self._settings.backups_dir / f"{os.fsdecode(TEMPORARY_PREFIX)}{ctx.id}"
        try:
            backup_id = await asyncio.to_thread(self._write, temporary, passphrase, reason, _told(ctx))
            ctx.step("verifying")
            await asyncio.to_thread(self._verify, temporary, passphrase, _told(ctx))
            backup = await asyncio.to_thread(self._keep, temporary, backup_id)
        finally:
            await asyncio.shield(asyncio.to_thread(temporary.unlink, missing_ok=True))
        ctx.log(f"made the backup {backup.id}: {format_size(backup.bytes)}, read back")
        return backup

    async def verify(self, backup_id: str, passphrase: str | None, *, actor: str) -> Operation:
        """Read one to its end, and check all of it.

        Args:
            passphrase: its own, where it is not the one that is set.

        Raises:
            NotFound: ``backup_unknown``.
            Refused: ``backup_passphrase_not_set``, ``backup_passphrase_unreadable``.
        """
        path = self._path(backup_id)
        known = await asyncio.to_thread(self._passphrase.get) if passphrase is None else passphrase

        async def run(ctx: OperationContext) -> dict[str, object]:
            with self.using(backup_id, f"its verification {ctx.id}"):
                ctx.step("verifying")
                files = await asyncio.to_thread(self._verify, path, known, _told(ctx))
            return {"backup_id": backup_id, "files": files}

        return await self._operations.start(OperationKind.VERIFY_BACKUP, None, actor, run)

    async def download(self, backup_id: str) -> Download:
        """One as it is: sealed.

        Raises:
            NotFound: ``backup_unknown``.
        """
        path = self._path(backup_id)
        file = await asyncio.to_thread(self._open, path, backup_id)
        return Download(
            name=f"holdfast-{backup_id}{SUFFIX}",
            size=os.fstat(file.fileno()).st_size,
            content=_content(file),
        )

    async def delete(self, backup_id: str, *, actor: str) -> None:
        """Delete one for good.

        Raises:
            NotFound: ``backup_unknown``.
            Busy: ``backup_in_use``.
        """
        path = self._path(backup_id)
        if backup_id in self._used:
            raise Busy(
                "backup_in_use",
                f"The backup is being used by {self._used[backup_id]}.",
                next_step="Wait until that has ended, then try again.",
            )
        await asyncio.to_thread(self._delete, path)
        self._log.info("backup_deleted", backup=backup_id, actor=actor)

    @contextmanager
    def using(self, backup_id: str, by: str) -> Iterator[None]:
        """Keep one from being deleted.

        Args:
            by: who reads it, for the middle of a sentence.
        """
        before = self._used.get(backup_id)
        self._used[backup_id] = by
        try:
            yield
        finally:
            if before is None:
                self._used.pop(backup_id, None)
            else:
                self._used[backup_id] = before

    def _list(self) -> KeptBackups:
        from holdfast.engine.backup_file import read_facts  # only here: it loads the library of ciphers

        backups, unreadable = [], []
        try:
            for path in sorted(self._settings.backups_dir.glob(f"*{SUFFIX}"), reverse=True):
                try:
                    with path.open("rb") as file:
                        facts, size = read_facts(file), os.fstat(file.fileno()).st_size
                except (HoldfastError, FileNotFoundError):
                    unreadable.append(path.name)
                    continue
                if path.stem != facts.id:
                    unreadable.append(path.name)
                    continue
                backups.append(
                    Backup(
                        id=facts.id,
                        created_at=facts.created_at,
                        bytes=size,
                        reason=facts.reason,
                        holdfast=facts.holdfast,
                        schema=facts.schema,
                        audit_head=facts.audit_head,
                    )
                )
        except OSError as error:
            raise translate(error, f"looking at {self._settings.backups_dir}") from error
        return KeptBackups(backups=tuple(backups), unreadable=tuple(unreadable))

    def _path(self, backup_id: str) -> Path:
        path = self._settings.backups_dir / f"{backup_id}{SUFFIX}"
        if not is_id(backup_id) or not path.is_file():
            raise _unknown(backup_id)
        return path

    def _open(self, path: Path, backup_id: str) -> BinaryIO:
        try:
            return path.open("rb")
        except FileNotFoundError as error:
            raise _unknown(backup_id) from error
        except OSError as error:
            raise translate(error, f"reading {path}") from error

    def _write(
        self, temporary: Path, passphrase: str, reason: BackupReason, progress: Callable[[int, int], object]
    ) -> str:
        from holdfast.services.state_backup import create_backup  # only here: likewise

        try:
            fd = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(fd, "wb") as file:
                room = 2 * self._settings.database_file.stat().st_size  # the copy, and what is sealed of it
                keep_reserve(self._fs, file.fileno(), room, self._settings.disk_reserve_bytes, "a backup")
                facts = create_backup(
                    self._settings, passphrase, file, reason=reason, progress=progress, scrypt_n=self._cost
                )
                file.flush()
                self._fs.fsync(file.fileno())
        except OSError as error:
            raise translate(error, "writing a backup") from error
        return facts.id

    def _verify(self, path: Path, passphrase: str, progress: Callable[[int, int], object]) -> int:
        from holdfast.services.state_backup import verify_backup  # only here: likewise

        return len(verify_backup(path, passphrase, progress)[1])

    def _keep(self, temporary: Path, backup_id: str) -> Backup:
        """Give a backup its name, durably."""
        try:
            temporary.rename(self._settings.backups_dir / f"{backup_id}{SUFFIX}")
            self._flush()
        except OSError as error:
            raise translate(error, "keeping a backup") from error
        (kept,) = (backup for backup in self._list().backups if backup.id == backup_id)
        return kept

    async def _forget_old(self, ctx: OperationContext) -> tuple[str, ...]:
        """Delete scheduled backups that are more than are kept. Returns their ids."""
        kept = (await self.list()).backups
        scheduled = [backup.id for backup in kept if backup.reason is BackupReason.SCHEDULED]
        old = tuple(each for each in scheduled[self._settings.backup_keep :] if each not in self._used)
        for backup_id in old:
            with suppress(NotFound):
                await asyncio.to_thread(self._delete, self._path(backup_id))
                ctx.log(f"deleted the backup {backup_id}: {self._settings.backup_keep} newer ones are kept")
        return old

    def _delete(self, path: Path) -> None:
        try:
            path.unlink()
            self._flush()
        except FileNotFoundError as error:
            raise _unknown(path.stem) from error
        except OSError as error:
            raise translate(error, f"deleting {path}") from error

    def _flush(self) -> None:
        directory = self._fs.open_root(str(self._settings.backups_dir))
        try:
            self._fs.fsync(directory)
        finally:
            self._fs.close(directory)


async def _content(file: BinaryIO) -> AsyncIterator[bytes]:
    def send(write: Write) -> None:
        while piece := file.read(_PIECE):
            write(piece)

    with file:
        async for piece in pumped(send):
            yield piece


def _told(ctx: OperationContext) -> Callable[[int, int], None]:
    """Tells an operation from a thread how far it is, and ends the thread's work when a person cancels."""
    loop = asyncio.get_running_loop()

    def progress(done: int, total: int) -> None:
        if ctx.cancelled.is_set():
            raise Cancelled
        loop.call_soon_threadsafe(ctx.progress, Progress(done_bytes=done, total_bytes=total))

    return progress


def _unknown(backup_id: str) -> NotFound:
    return NotFound(
        "backup_unknown",
        f"There is no backup {backup_id}.",
        next_step="See which there are: holdfast backup list",
    )
