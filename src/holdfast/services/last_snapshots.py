"""The snapshot of a workload's data right before that is removed with the workload.

It is read ahead while the instances run, and taken once they have ended. Where it can't be taken, nothing is removed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from holdfast.domain.snapshot import SnapshotReason
from holdfast.domain.told import told
from holdfast.domain.workload import Quiesce, Workload
from holdfast.services.capture import Capture, Warmed
from holdfast.services.locks import Held
from holdfast.services.operations import OperationContext
from holdfast.services.sharing import Sharing
from holdfast.services.volumes import VolumeResolver
from holdfast.services.workers import Workers


class LastSnapshots:
    """Takes snapshots for deletions."""

    def __init__(self, *, capture: Capture, sharing: Sharing, volumes: VolumeResolver, workers: Workers) -> None:
        self._capture = capture
        self._sharing = sharing
        self._volumes = volumes
        self._workers = workers

    async def lock_ids(self, workload: Workload) -> frozenset[str]:
        """Whose locks have to be held."""
        return await self._sharing.lockable(workload)

    @asynccontextmanager
    async def warmed(
        self, held: Held, workload: Workload, ctx: OperationContext
    ) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Read ahead. Gives what takes the snapshot, once the instances have ended.

        Raises:
            Refused: a volume is not what it was; with every problem.
        """
        held.require(*await self._sharing.lockable(workload))
        if not await self._volumes.present(workload.spec):
            ctx.log(told("no_last_snapshot", "There is no last snapshot: none of its volumes was ever made"))
            yield _nothing
            return
        async with self._workers.session(ctx) as worker:
            yield partial(self._take, ctx, await self._capture.warm(ctx, worker, workload))

    async def _take(self, ctx: OperationContext, warmed: Warmed) -> None:
        note = f"the last one, before {warmed.workload.name} was removed with its data"
        await self._capture.finish(ctx, warmed, Quiesce.NONE, reason=SnapshotReason.MANUAL, note=note)


async def _nothing() -> None:
    """There is nothing to take."""
