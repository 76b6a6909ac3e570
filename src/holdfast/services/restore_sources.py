"""Where a restore takes its snapshot from: what is in the data directory, or a second repository."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from holdfast.domain.errors import NotFound, Problem, Refused
from holdfast.domain.snapshot import SnapshotManifest
from holdfast.domain.workload import Workload
from holdfast.engine.repository.second import Second
from holdfast.engine.requests import CheckRequest
from holdfast.engine.snapshot_store import SnapshotStore
from holdfast.services.in_use import SnapshotsInUse
from holdfast.services.repositories import Repositories
from holdfast.services.restore_plan import RestorePlan, RestoreRequest
from holdfast.services.second_snapshots import SecondSnapshots, use_of
from holdfast.services.workers import WorkerSession


class RestoreSources:
    """Finds, checks and holds the snapshots that restores read."""

    def __init__(
        self,
        *,
        store: SnapshotStore,
        repositories: Repositories,
        second: SecondSnapshots,
        in_use: SnapshotsInUse,
    ) -> None:
        self._store = store
        self._repositories = repositories
        self._second = second
        self._in_use = in_use

    async def require(self, workload: Workload, snapshot_id: str, repository: str, paths: Sequence[bytes]) -> None:
        """Make sure that a second repository has a snapshot of a workload, of which all is to be restored.

        Raises:
            NotFound: ``repository_unknown``, ``snapshot_unknown``.
            Refused: ``paths_from_second_repository``.
        """
        if paths:
            raise Refused(
                [
                    Problem(
                        code="paths_from_second_repository",
                        message="Chosen paths can be restored from the primary repository only.",
                        next_step="Leave --path out, or restore from the primary repository. Nothing was touched.",
                    )
                ]
            )
        if (await self._second.manifest(repository, snapshot_id)).workload_id != workload.id:
            raise NotFound(
                "snapshot_unknown",
                f"The repository {repository} has no snapshot {snapshot_id} of the workload {workload.name}.",
                next_step=f"List them with `holdfast snapshot list {workload.name} --from {repository}`.",
            )

    async def manifest(self, request: RestoreRequest) -> SnapshotManifest:
        """What is known of the snapshot. Raises ``NotFound`` or ``Damaged``."""
        if request.repository is not None:
            return await self._second.manifest(request.repository, request.snapshot_id)
        return await asyncio.to_thread(self._store.manifest, request.snapshot_id)

    async def lacking(
        self, request: RestoreRequest, manifest: SnapshotManifest, volumes: Collection[int]
    ) -> Sequence[Problem]:
        """Why these volumes can't be restored, which a snapshot that is damaged elsewhere does not keep from it.

        Whether all of them is in a second repository is for a worker to find out, see :meth:`check`: it takes its time.

        Args:
            volumes: their indices in the snapshot; none stands for all of them.
        """
        if request.repository is not None:
            return ()
        return await asyncio.to_thread(self._store.check, manifest, volumes or None)

    @asynccontextmanager
    async def reading(self, request: RestoreRequest, why: str) -> AsyncIterator[Second | None]:
        """Keep the snapshot from being deleted (I11). Gives what opens the second repository, if it is in one."""
        if request.repository is None:
            with self._in_use.hold(request.snapshot_id, why):
                yield None
            return
        with self._in_use.hold(use_of(request.repository, request.snapshot_id), why):
            async with self._repositories.using(request.repository) as second:
                yield second

    async def check(self, worker: WorkerSession, plan: RestorePlan, second: Second | None) -> None:
        """Make sure that all that the volumes need is in the second repository that they are taken from.

        Raises:
            Refused: ``snapshot_incomplete``. Nothing was touched.
        """
        if second is not None:
            problems = await worker.run(
                CheckRequest(snapshot_id=plan.manifest.id, volumes=tuple(v.index for v in plan.volumes), second=second)
            )
            if problems:
                raise Refused(problems)
