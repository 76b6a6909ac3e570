"""Bringing a backup of Holdfast's own state back while the server runs: asked for here, carried out by its next start.

- Nothing is begun while anything is under way that the state in the backup knows nothing of.
- One at a time; a second one is refused.
- Between the last look and the server's end nothing new begins.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Final

from holdfast.config import Settings
from holdfast.domain import times
from holdfast.domain.backup import Backup
from holdfast.domain.errors import Busy, Problem, Refused
from holdfast.domain.operation import LogLine, Operation, OperationKind, OperationState
from holdfast.domain.told import told
from holdfast.services.backup_files import BackupFiles
from holdfast.services.backup_passphrase import BackupPassphrase
from holdfast.services.backups import Backups, progress_of
from holdfast.services.confirmation import require_confirmed
from holdfast.services.operation_context import kept_error
from holdfast.services.operations import LeftToNextStart, OperationContext, Operations
from holdfast.services.state_records import Asked, Settled, require_nothing_in_flight
from holdfast.services.state_swap import StateSwap
from holdfast.store.carried_over import carry_over
from holdfast.store.database import Database
from holdfast.store.migrations import REVISIONS

_SOMEBODY: Final = "a restore that begins just now"


class BackupRestores:
    """Restores of Holdfast's own state.

    Args:
        restart: has the server end, and start anew.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        installation: str,
        files: BackupFiles,
        backups: Backups,
        passphrase: BackupPassphrase,
        swap: StateSwap,
        operations: Operations,
        restart: Callable[[], object],
    ) -> None:
        self._settings = settings
        self._installation = installation
        self._files = files
        self._backups = backups
        self._passphrase = passphrase
        self._swap = swap
        self._operations = operations
        self._restart = restart
        self._in_flight: str | None = None

    async def restore(
        self, backup_id: str, *, confirm: str | None, passphrase: str | None = None, actor: str
    ) -> Operation:
        """Bring the state in a backup back. The server starts anew for it.

        Args:
            confirm: the backup's id once more.
            passphrase: the backup's own, where it is not the one that is set.

        Raises:
            NotFound: ``backup_unknown``.
            ConfirmationMissing: ``confirmation_missing``.
            Refused: ``confirmation_mismatch``, ``backup_of_another``, ``backup_schema_newer``,
                ``backup_passphrase_not_set``, ``backup_passphrase_unreadable``.
            Busy: ``state_restore_running``.
            Conflict: ``operations_running``, ``restores_unfinished``.
        """
        await asyncio.to_thread(self._files.path, backup_id)
        require_confirmed(confirm, backup_id)
        if self._in_flight is not None:
            raise Busy(
                "state_restore_running",
                f"A backup is being brought back already ({self._in_flight}).",
                next_step="Watch that one; start another when the server has started anew.",
            )
        self._in_flight = _SOMEBODY
        try:
            known = await asyncio.to_thread(self._passphrase.get)  # without it there is no safety backup
            await asyncio.to_thread(self._check, backup_id)
            self._operations.require_alone()
            return await self._operations.start(
                OperationKind.RESTORE_BACKUP,
                None,
                actor,
                lambda ctx: self._run(ctx, backup_id, known if passphrase is None else passphrase),
            )
        except BaseException:
            self._in_flight = None
            raise

    async def _run(self, ctx: OperationContext, backup_id: str, passphrase: str) -> dict[str, object]:
        self._in_flight = ctx.id
        try:
            with self._backups.using(backup_id, f"its restore {ctx.id}"):
                ctx.step("verifying")
                asked = await asyncio.to_thread(
                    self._swap.stage, self._files.path(backup_id), passphrase, progress_of(ctx)
                )
            await asyncio.to_thread(self._swap.check_keys)
            await asyncio.to_thread(require_nothing_in_flight, self._settings)
            ctx.point_of_no_return()
            self._operations.require_alone(ctx.id, then_refuse=True)
            try:
                ctx.step("restarting")
                await asyncio.to_thread(
                    self._swap.ask,
                    Asked(
                        operation_id=ctx.id,
                        actor=ctx.actor,
                        created_at=times.now(),
                        backup_id=asked.backup_id,
                        made_at=asked.made_at,
                        schema=asked.schema,
                        files=asked.files,
                    ),
                )
            except BaseException:
                self._operations.go_on()
                raise
        except BaseException:
            self._in_flight = None
            await asyncio.shield(asyncio.to_thread(self._swap.drop))
            raise
        ctx.log(told("server_starts_anew", "the server starts anew, with the state that is in the backup"))
        self._restart()
        raise LeftToNextStart

    def _check(self, backup_id: str) -> None:
        """What can be told without the passphrase."""
        found = next((each for each in self._files.list().backups if each.id == backup_id), None)
        problems = [] if found is None else list(_problems(found, self._installation))
        if problems:
            raise Refused(problems)
        require_nothing_in_flight(self._settings)


async def tell(settled: Settled, database: Database, operations: Operations) -> None:
    """At start, once the database is open: take over what has to be, and end the operation that asked. Idempotent."""
    asked, committed = settled.asked, settled.committed
    if committed is not None:
        await carry_over(database, committed.pins, committed.tokens)
    if not asked.operation_id:
        return
    at = times.now()
    operation = Operation(
        id=asked.operation_id,
        kind=OperationKind.RESTORE_BACKUP,
        state=OperationState.SUCCEEDED,
        workload_id=None,
        actor=asked.actor,
        created_at=asked.created_at,
        started_at=asked.created_at,
        finished_at=at,
        cancellable=False,
        outcome={"backup_id": asked.backup_id, "backup_made_at": asked.made_at},
    )
    if committed is None:
        assert settled.error is not None
        operation = dataclasses.replace(operation, state=OperationState.FAILED, error=kept_error(settled.error))
    else:
        operation.outcome.update(safety_backup_id=committed.safety_id, audit_head_before=committed.audit_head)
        operation = dataclasses.replace(
            operation,
            log=(
                LogLine(at=at, message=f"the state of {asked.made_at} is in place"),
                LogLine(at=at, message=f"what it took the place of is in the backup {committed.safety_id}"),
            ),
        )
    await operations.told_by_start(operation)


def _problems(backup: Backup, installation: str) -> list[Problem]:
    problems = []
    if backup.installation != installation:
        problems.append(
            Problem(
                code="backup_of_another",
                message="The backup is of another Holdfast, whose workloads, containers and volumes are not these.",
                next_step="Nothing was changed. Bring it back into an empty data directory: holdfast recover --backup.",
            )
        )
    if backup.schema not in REVISIONS:
        problems.append(
            Problem(
                code="backup_schema_newer",
                message=f"The backup is of a newer version of Holdfast ({backup.holdfast}, schema {backup.schema}; "
                f"this one knows {REVISIONS[-1]}).",
                next_step="Nothing was changed. Update Holdfast, then try again.",
            )
        )
    return problems
