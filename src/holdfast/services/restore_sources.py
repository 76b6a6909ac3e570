"""Where a restore takes its snapshot from: what is in the data directory, or a second repository."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from holdfast.domain.errors import NotFound, Problem, Refused
from holdfast.domain.snapshot import SnapshotManifest
from holdfast.domain.workload import Workload
from holdfast.engine.repository.second import Second
from holdfast.engine.requests import CheckRequest
from holdfast.engine.snapshot_store import SnapshotStore
from holdfast.services.in_use import SnapshotsInUse
from holdfast.services.repositories import Repositories
from holdfast.services.restore_plan import RestoreRequest
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

    async def look(self, request: RestoreRequest) -> tuple[SnapshotManifest, Sequence[Problem]]:
        """What is known of the snapshot, and why it can't be restored.

        Whether all of it is in a second repository is for a worker to find out, see :meth:`check`: that takes its time.
        """
        if request.repository is not None:
            return await self._second.manifest(request.repository, request.snapshot_id), ()
        manifest = await asyncio.to_thread(self._store.manifest, request.snapshot_id)
        return manifest, await asyncio.to_thread(self._store.check, manifest)

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

    async def check(self, worker: WorkerSession, request: RestoreRequest, second: Second | None) -> None:
        """Make sure that all that a snapshot needs is in the second repository that it is taken from.

        Raises:
            Refused: ``snapshot_incomplete``. Nothing was touched.
        """
        if second is not None:
            problems = await worker.run(CheckRequest(snapshot_id=request.snapshot_id, second=second))
            if problems:
                raise Refused(problems)
