"""Copies of snapshots in a second repository: what is missing there is sent, and nothing else.

- Copies have a worker of their own, so that one that takes hours keeps no capture and no restore waiting. One copy at a
  time to a repository.
- A snapshot that is being copied can't be deleted (I11).
- What cuts a copy off leaves what was sent: the next one goes on from there.
"""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import AbstractContextManager
from typing import Final

from holdfast.domain.errors import Busy, Conflict, Damaged, InvalidInput, NotFound
from holdfast.domain.operation import Operation, OperationKind, Progress
from holdfast.domain.repository import MIN_RATE, CopyResult
from holdfast.domain.told import TextOrTold, Told, told
from holdfast.domain.units import format_size
from holdfast.engine.repository.second import Second
from holdfast.engine.requests import CopyRequest
from holdfast.services.in_use import SnapshotsInUse
from holdfast.services.operations import OperationContext, Operations
from holdfast.services.paging import MAX_LIMIT
from holdfast.services.repositories import Repositories
from holdfast.services.snapshots import Snapshots
from holdfast.services.workers import Workers
from holdfast.services.workloads import Workloads


class Copies:
    """Copies snapshots.

    Args:
        workers: those of copies alone.
        limit_rate: bytes a second at most, unless a copy says otherwise; 0 for no bound.
    """

    def __init__(
        self,
        *,
        repositories: Repositories,
        workloads: Workloads,
        snapshots: Snapshots,
        operations: Operations,
        workers: Workers,
        in_use: SnapshotsInUse,
        limit_rate: int,
    ) -> None:
        self._repositories = repositories
        self._workloads = workloads
        self._snapshots = snapshots
        self._operations = operations
        self._workers = workers
        self._in_use = in_use
        self._limit_rate = limit_rate
        self._running: dict[str, str] = {}

    async def copy(
        self,
        name: str,
        *,
        workload: str,
        snapshot_id: str | None,
        limit_rate: int | None,
        actor: str,
        idempotency_key: str | None = None,
    ) -> Operation:
        """Copy one snapshot of a workload, or all that are missing in the repository.

        Args:
            name: of the repository.
            limit_rate: bytes a second at most; 0 for no bound; ``None`` for the setting's.

        Raises:
            NotFound: ``repository_unknown``, ``workload_unknown``, ``snapshot_unknown``.
            InvalidInput: ``limit_rate_invalid``.
            Busy: ``copy_running``.
        """
        if limit_rate is not None and 0 < limit_rate < MIN_RATE:
            raise InvalidInput(
                "limit_rate_invalid",
                f"A copy is limited to {format_size(MIN_RATE)} a second or more, or not at all.",
                next_step="Choose a higher rate, or 0 for no bound.",
            )
        await self._repositories.get(name)
        workload_id = (await self._workloads.get(workload)).id
        if snapshot_id is not None:
            chosen = [(await self._snapshots.get(workload_id, snapshot_id)).id]
        else:
            chosen = await self._all_of(workload_id)
        rate = self._limit_rate if limit_rate is None else limit_rate
        return await self._start(name, workload_id, chosen, rate, actor, idempotency_key)

    async def copy_everything(self, name: str, *, actor: str, idempotency_key: str | None = None) -> Operation:
        """Copy all snapshots of all workloads that are missing in the repository, also of those that were deleted.

        Raises:
            NotFound: ``repository_unknown``.
            Busy: ``copy_running``.
        """
        await self._repositories.get(name)
        return await self._start(name, None, await self._all_of(None), self._limit_rate, actor, idempotency_key)

    def running(self, name: str) -> str | None:
        """The id of the copy to a repository that runs; ``None`` if none does."""
        return self._running.get(name)

    async def _start(
        self, name: str, workload_id: str | None, chosen: list[str], rate: int, actor: str, idempotency_key: str | None
    ) -> Operation:
        if name in self._running:
            raise Busy(
                "copy_running",
                f"A copy to {name} is running already ({self._running[name]}).",
                next_step="Watch that one; start another when it has ended.",
                details={"operation_id": self._running[name]},
            )

        async def run(ctx: OperationContext) -> dict[str, object]:
            self._running[name] = ctx.id
            try:
                async with self._repositories.using(name) as second:
                    return await self._run(ctx, second, chosen, rate or None)
            finally:
                self._running.pop(name, None)

        return await self._operations.start(
            OperationKind.COPY, workload_id, actor, run, idempotency_key=idempotency_key
        )

    async def _all_of(self, workload: str | None) -> list[str]:
        """All snapshots, or those of a workload, oldest first: what a later one shares with it is then there."""
        found: list[str] = []
        cursor = None
        while True:
            if workload is None:
                page = await self._snapshots.list_all(of=None, limit=MAX_LIMIT, cursor=cursor)
            else:
                page = await self._snapshots.list(workload, limit=MAX_LIMIT, cursor=cursor)
            found += [snapshot.id for snapshot in page.items]
            cursor = page.next_cursor
            if cursor is None:
                return found[::-1]

    async def _run(
        self, ctx: OperationContext, second: Second, chosen: list[str], rate: int | None
    ) -> dict[str, object]:
        ctx.step("copying")
        tally = _Tally(repository=second.name, snapshots=len(chosen))
        watcher = _Counted(ctx, tally)
        try:
            async with self._workers.session(watcher) as worker:
                for snapshot_id in chosen:
                    ctx.check()
                    tally.looked_at += 1
                    try:
                        with self._in_use.hold(snapshot_id, f"its copy to {second.name} ({ctx.id})"):
                            result = await worker.run(
                                CopyRequest(snapshot_id=snapshot_id, second=second, limit_rate=rate)
                            )
                    except (Damaged, NotFound, Conflict) as error:
                        if error.code not in _OF_ONE_SNAPSHOT:
                            raise
                        ctx.log(
                            told(
                                "snapshot_not_copied",
                                "{snapshot} is not copied: {why}",
                                snapshot=snapshot_id,
                                why=Told.of(error),
                            ),
                            level="warning",
                        )
                        tally.left.append({"snapshot": snapshot_id, "code": error.code, "message": error.message})
                        continue
                    if tally.add(snapshot_id, result):
                        ctx.log(
                            told(
                                "snapshot_copied",
                                "copied {snapshot}: {sent_bytes} sent",
                                snapshot=snapshot_id,
                                sent_bytes=result.sent_bytes,
                            )
                        )
        finally:
            ctx.outcome.update(tally.told())
        if tally.left:
            raise _incomplete(tally)
        return {}


_OF_ONE_SNAPSHOT: Final = frozenset({"snapshot_damaged", "snapshot_unknown", "snapshot_not_moved"})
"""Codes of what keeps one snapshot from being copied, and no other."""


@dataclasses.dataclass(slots=True, kw_only=True)
class _Tally:
    """What was done so far. ``left``: what could not be copied, and why."""

    repository: str
    snapshots: int
    looked_at: int = 0
    existed: int = 0
    sent_bytes: int = 0
    plain_bytes: int = 0
    copied: list[str] = dataclasses.field(default_factory=list)
    left: list[dict[str, object]] = dataclasses.field(default_factory=list)

    def add(self, snapshot_id: str, result: CopyResult) -> bool:
        """Count a snapshot that is there now. Whether anything had to be done for it."""
        self.sent_bytes += result.sent_bytes
        self.plain_bytes += result.plain_bytes
        if result.existed and not result.chunks:
            self.existed += 1
            return False
        self.copied.append(snapshot_id)
        return True

    def told(self) -> dict[str, object]:
        """For the operation's outcome."""
        told = dataclasses.asdict(self)
        del told["looked_at"]
        return told


class _Counted:
    """The operation, whose progress says which snapshot it is about."""

    def __init__(self, ctx: OperationContext, tally: _Tally) -> None:
        self._ctx, self._tally = ctx, tally

    @property
    def cancelled(self) -> asyncio.Event:
        return self._ctx.cancelled

    def progress(self, progress: Progress) -> None:
        """Tell how far it is."""
        note = f"snapshot {self._tally.looked_at} of {self._tally.snapshots}, {progress.note}"
        self._ctx.progress(dataclasses.replace(progress, note=note))

    def waiting(self, reason: TextOrTold) -> None:
        """Tell what it waits for."""
        self._ctx.waiting(reason)

    def check(self) -> None:
        """Raise if a person cancelled."""
        self._ctx.check()

    def interruptible(self) -> AbstractContextManager[None]:
        """Give a wait up when a person cancels."""
        return self._ctx.interruptible()


def _incomplete(tally: _Tally) -> Damaged:
    first = tally.left[0]
    more = f", and {len(tally.left) - 1} more" if len(tally.left) > 1 else ""
    return Damaged(
        "copy_incomplete",
        f"Not every snapshot could be copied to {tally.repository}: {first['message']}{more}",
        next_step="The others are there. Verify those that are named; a new snapshot heals what is still live. Then "
        "copy again.",
        details={"left": tally.left},
    )
