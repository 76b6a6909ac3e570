"""Backups of Holdfast's own state, kept in a directory of the data directory: make, list, verify, hand out, delete.

- A backup appears under its name when it is whole, durable, and was read back with its passphrase.
- What there is stands in the directory and nowhere else: a database that was restored loses none of them.
- One is made or verified at a time.
- Only scheduled ones are deleted by themselves, and only once a newer one is there. None is deleted while it is read.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import BinaryIO, Final

import structlog

from holdfast.domain.backup import Backup, BackupReason, KeptBackups, PassphraseState
from holdfast.domain.errors import Busy, Cancelled, NotFound
from holdfast.domain.operation import Operation, OperationKind, Progress
from holdfast.domain.told import told
from holdfast.services.backup_copies import BackupCopies
from holdfast.services.backup_files import SUFFIX, BackupFiles
from holdfast.services.backup_passphrase import BackupPassphrase
from holdfast.services.operations import OperationContext, Operations
from holdfast.services.pump import Write, pumped
from holdfast.services.snapshot_files import Download

_PIECE: Final = 1 << 18


class Backups:
    """All backups that are kept here.

    Args:
        keep: so many scheduled ones are kept.
    """

    def __init__(
        self,
        *,
        files: BackupFiles,
        passphrase: BackupPassphrase,
        copies: BackupCopies,
        operations: Operations,
        keep: int,
    ) -> None:
        self._files = files
        self._copies = copies
        self._passphrase = passphrase
        self._operations = operations
        self._keep = keep
        self._at_work: str | None = None
        self._turn = asyncio.Lock()
        self._used: Counter[tuple[str, str]] = Counter()
        self._log = structlog.get_logger("backups")

    @property
    def at_work(self) -> str | None:
        """The id of the operation that makes or verifies one now."""
        return self._at_work

    async def list(self) -> KeptBackups:
        """What there is.

        Raises:
            Failed: the directory can't be read.
        """
        return await asyncio.to_thread(self._files.list)

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
        """Make one, read it back, and copy it to all second repositories.

        Raises:
            Refused: ``backup_passphrase_not_set``, ``backup_passphrase_unreadable``.
        """
        await asyncio.to_thread(self._passphrase.get)  # now, and not as an operation that fails

        async def run(ctx: OperationContext) -> dict[str, object]:
            async with self._its_turn(ctx):
                backup = await self._make(ctx, reason)
                ctx.outcome.update(backup_id=backup.id, bytes=backup.bytes)
                if reason is BackupReason.SCHEDULED:
                    ctx.outcome["deleted"] = list(await self._forget_old(ctx))
                with self.using(backup.id, f"its copy ({ctx.id})"):
                    copied = await self._copies.send(ctx, backup.id, self._files.path(backup.id))
            return {"copied": list(copied)}

        return await self._operations.start(OperationKind.BACKUP, None, actor, run, idempotency_key=idempotency_key)

    async def verify(
        self, backup_id: str, passphrase: str | None, *, actor: str, idempotency_key: str | None = None
    ) -> Operation:
        """Read one to its end, and check all of it.

        Args:
            passphrase: its own, where it is not the one that is set.

        Raises:
            NotFound: ``backup_unknown``.
            Refused: ``backup_passphrase_not_set``, ``backup_passphrase_unreadable``.
        """
        path = self._files.path(backup_id)
        known = await asyncio.to_thread(self._passphrase.get) if passphrase is None else passphrase

        async def run(ctx: OperationContext) -> dict[str, object]:
            with self.using(backup_id, f"its verification {ctx.id}"):
                async with self._its_turn(ctx):
                    ctx.step("verifying")
                    files = await asyncio.to_thread(self._files.verify, path, known, progress_of(ctx))
            return {"backup_id": backup_id, "files": files}

        return await self._operations.start(
            OperationKind.VERIFY_BACKUP, None, actor, run, idempotency_key=idempotency_key
        )

    async def download(self, backup_id: str) -> Download:
        """One as it is: sealed.

        Raises:
            NotFound: ``backup_unknown``.
        """
        file = await asyncio.to_thread(self._files.open, backup_id)
        return Download(
            name=f"holdfast-{backup_id}{SUFFIX}", size=os.fstat(file.fileno()).st_size, content=_content(file)
        )

    async def delete(self, backup_id: str, *, actor: str) -> None:
        """Delete one for good.

        Raises:
            NotFound: ``backup_unknown``.
            Busy: ``backup_in_use``.
        """
        by = self._user(backup_id)
        if by is not None:
            raise Busy(
                "backup_in_use",
                f"The backup is being used by {by}.",
                next_step="Wait until that has ended, then try again.",
            )
        await asyncio.to_thread(self._files.delete, backup_id)
        self._log.info("backup_deleted", backup=backup_id, actor=actor)

    @contextmanager
    def using(self, backup_id: str, by: str) -> Iterator[None]:
        """Keep one from being deleted.

        Args:
            by: who reads it, for the end of a sentence.
        """
        self._used[backup_id, by] += 1
        try:
            yield
        finally:
            self._used[backup_id, by] -= 1
            self._used += Counter()  # forgets those at zero

    @asynccontextmanager
    async def _its_turn(self, ctx: OperationContext) -> AsyncIterator[None]:
        """One at a time: each guess at a passphrase takes its memory, and so does the passphrase itself."""
        if self._at_work is not None:
            ctx.waiting(told("an_operation", "operation {id}", id=self._at_work))
        with ctx.interruptible():
            await self._turn.acquire()
        self._at_work = ctx.id
        try:
            yield
        finally:
            self._at_work = None
            self._turn.release()

    def _user(self, backup_id: str) -> str | None:
        """Who reads a backup."""
        return next((by for each, by in self._used if each == backup_id), None)

    async def _make(self, ctx: OperationContext, reason: BackupReason) -> Backup:
        passphrase = await asyncio.to_thread(self._passphrase.get)
        loop = asyncio.get_running_loop()
        sealing, begun = progress_of(ctx), False

        def verifying(done: int, total: int) -> None:
            nonlocal begun
            if not begun:
                begun = True
                loop.call_soon_threadsafe(ctx.step, "verifying")
            sealing(done, total)

        ctx.step("sealing")
        backup = await asyncio.to_thread(self._files.make, passphrase, reason, sealing=sealing, verifying=verifying)
        ctx.log(
            told("backup_made", "made the backup {backup}: {bytes}, read back", backup=backup.id, bytes=backup.bytes)
        )
        return backup

    async def _forget_old(self, ctx: OperationContext) -> tuple[str, ...]:
        """Delete scheduled backups that are more than are kept. Returns their ids."""
        kept = (await self.list()).backups
        scheduled = [backup.id for backup in kept if backup.reason is BackupReason.SCHEDULED]
        old = tuple(each for each in scheduled[self._keep :] if self._user(each) is None)
        for backup_id in old:
            with suppress(NotFound):
                await asyncio.to_thread(self._files.delete, backup_id)
                ctx.log(
                    told(
                        "backup_deleted",
                        "deleted the backup {backup}: {count} newer ones are kept",
                        backup=backup_id,
                        count=self._keep,
                    )
                )
        return old


async def _content(file: BinaryIO) -> AsyncIterator[bytes]:
    def send(write: Write) -> None:
        while piece := file.read(_PIECE):
            write(piece)

    with file:
        async for piece in pumped(send):
            yield piece


def progress_of(ctx: OperationContext) -> Callable[[int, int], None]:
    """Tells an operation from a thread how far it is, and ends the thread's work when a person cancels."""
    loop = asyncio.get_running_loop()

    def progress(done: int, total: int) -> None:
        if ctx.cancelled.is_set():
            raise Cancelled
        loop.call_soon_threadsafe(ctx.progress, Progress(done_bytes=done, total_bytes=total))

    return progress
