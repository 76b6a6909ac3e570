"""The snapshot of a workload's data right before another version runs on it (``snapshots.before_deploy``).

- It holds what the version left that was deployed last: its volumes, where they were for it.
- It is read ahead while that version runs. With ``recreate`` it is taken once that has stopped, so that nothing is
  missing; with ``blue_green`` the writers are held as for any snapshot of the workload.
- It is on record with the deployment before an instance of that exists. Where it fails, so does the deployment.
- Who shares a volume is held as well, so that the deployment holds their locks from its beginning.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from holdfast.domain.deployment import REPEATING, Deployment
from holdfast.domain.snapshot import SnapshotReason
from holdfast.domain.stopping import UncleanStop
from holdfast.domain.told import Told, told
from holdfast.domain.workload import Strategy, Workload
from holdfast.services.capture import Capture
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.locks import Held
from holdfast.services.operations import OperationContext
from holdfast.services.sharing import Sharing
from holdfast.services.workers import Workers

TakeIt = Callable[[Sequence[UncleanStop] | None], Awaitable[None]]
"""Takes the snapshot. Told what of the workload did not end well; ``None`` if nothing was stopped for it."""


class DeploySnapshots:
    """Takes snapshots for deployments."""

    def __init__(self, *, records: DeployRecords, sharing: Sharing, capture: Capture, workers: Workers) -> None:
        self._records = records
        self._sharing = sharing
        self._capture = capture
        self._workers = workers

    async def lock_ids(self, workload_id: str) -> frozenset[str]:
        """Whose locks a deployment holds: the workload's own, and of a snapshot those of all who share its volumes."""
        workload = await self._records.workload(workload_id)
        before = await self._before(workload)
        if before is None:
            return frozenset({workload_id})
        return await self._sharing.lockable(workload, before)

    @asynccontextmanager
    async def warmed(
        self, held: Held, workload: Workload, deployment: Deployment, ctx: OperationContext
    ) -> AsyncIterator[TakeIt]:
        """Read ahead for the snapshot before a deployment. Gives what takes it, and does nothing where none is due.

        Args:
            workload: as it is going to be deployed.
        """
        before = None if deployment.reason in REPEATING else await self._before(workload)
        problems = [] if before is None else await self._capture.problems(before)
        if before is None or problems:
            # A volume that the new configuration has as well was refused already: what is amiss is left behind.
            for problem in problems:
                ctx.log(
                    told(
                        "no_snapshot_before",
                        "There is no snapshot of the data before this: {why}",
                        why=Told.of(problem),
                    ),
                    "warning",
                )
            yield nothing
            return
        held.require(*await self._sharing.lockable(before))
        async with self._workers.session(ctx) as worker:
            warmed = await self._capture.warm(ctx, worker, before)

            async def take(stops: Sequence[UncleanStop] | None) -> None:
                manifest = await self._capture.finish(
                    ctx,
                    warmed,
                    workload.spec.snapshots.quiesce,
                    reason=SnapshotReason.BEFORE_DEPLOY,
                    note=f"before the deployment {deployment.id} of {workload.spec.image}",
                    stops=stops,
                    own=workload.spec.effective_strategy is not Strategy.RECREATE,
                )
                await self._records.captured(deployment, manifest.id)

            yield take

    async def _before(self, workload: Workload) -> Workload | None:
        """The workload as it was deployed last; ``None`` if no snapshot of that is due."""
        last = await self._records.last_successful(workload.id)
        if last is None or not workload.spec.snapshots.before_deploy or not last.spec.captured_volumes:
            return None
        return replace(workload, spec=last.spec)


async def nothing(_stops: Sequence[UncleanStop] | None) -> None:
    """There is nothing to take."""
