"""Copies of backups in all second repositories: on another machine one of these and the passphrase are enough."""

from __future__ import annotations

from pathlib import Path

from holdfast.domain.errors import Cancelled, Failed, HoldfastError
from holdfast.domain.told import Told, told
from holdfast.engine.repository.kept_backups import forget_backups, send_backup
from holdfast.engine.repository.repository import Repository
from holdfast.services.operations import OperationContext
from holdfast.services.repositories import Repositories


class BackupCopies:
    """Sends backups.

    Args:
        keep: so many stay in each repository, the newest.
    """

    def __init__(self, *, repositories: Repositories, keep: int) -> None:
        self._repositories = repositories
        self._keep = keep

    async def send(self, ctx: OperationContext, backup_id: str, file: Path) -> tuple[str, ...]:
        """Send a backup to each second repository, as a part of an operation. Returns their names.

        Raises:
            Failed: ``backup_not_copied``; one of them did not take it. The others did.
        """
        names = [repository.name for repository in await self._repositories.list()]
        if names:
            ctx.step("copying")

        def pace(_size: int) -> None:
            if ctx.cancelled.is_set():
                raise Cancelled

        def send(repository: Repository) -> tuple[str, ...]:
            send_backup(repository.blobs, backup_id, file)
            return forget_backups(repository.blobs, self._keep)

        copied: list[str] = []
        failed: dict[str, HoldfastError] = {}
        for name in names:
            ctx.check()
            try:
                deleted = await self._repositories.patiently(name, send, pace)
            except Cancelled:
                raise
            except HoldfastError as error:
                failed[name] = error
                ctx.log(
                    told(
                        "backup_left_here",
                        "the backup is not copied to {repository}: {why}",
                        repository=name,
                        why=Told.of(error),
                    ),
                    level="error",
                )
                continue
            copied.append(name)
            ctx.log(told("backup_copied", "copied to {repository}", repository=name))
            if deleted:
                ctx.log(
                    told(
                        "old_backups_deleted",
                        "{count} older backups deleted in {repository}",
                        count=len(deleted),
                        repository=name,
                    )
                )
        if failed:
            name, first = next(iter(failed.items()))
            raise Failed(
                "backup_not_copied",
                f"The backup {backup_id} is made, but not copied to {', '.join(failed)}: {first.message}",
                next_step=f"It is kept here. See holdfast repository test {name}; {first.next_step}",
                details={"backup_id": backup_id, "copied": copied, "failed": list(failed)},
            )
        return tuple(copied)
