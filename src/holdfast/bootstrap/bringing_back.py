"""Every workload with its data, on a machine whose state was just brought back: a server without an address does it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from holdfast.bootstrap.assembly import Holdfast, running
from holdfast.bootstrap.seams import Seams
from holdfast.config import Settings
from holdfast.domain.errors import HoldfastError
from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.workload import DesiredState, Workload
from holdfast.services.paging import MAX_LIMIT

PRIMARY: Final = "primary"
"""The repository of the data directory, where its disk survived."""
ACTOR: Final = "recover"
"""Who began what is done here."""


class BroughtBack(NamedTuple):
    """What became of a workload.

    Attributes:
        snapshot_id: what its data is; empty where there is none.
        result: ``restored …`` as restores say it, ``started``, ``no_data``, ``no_snapshot``, ``failed``.
        why: why not, in words.
    """

    workload: str
    snapshot_id: str
    result: str
    why: str = ""

    @property
    def well(self) -> bool:
        """Whether there is nothing left to do."""
        return self.result in ("restored", "restored_stopped", "started", "no_data")


async def bring_back(settings: Settings, repository: str, seams: Seams | None = None) -> AsyncIterator[BroughtBack]:
    """Restore the newest snapshot of each workload, one after the other, and start those that have no data.

    Args:
        repository: the name of a second one, or :data:`PRIMARY`.

    Raises:
        Unavailable: the engine does not answer; nothing was begun.
        NotFound: ``repository_unknown``.
        HoldfastError: the repository can't be read.
    """
    async with running(settings, seams) as holdfast:
        await holdfast.runtime.info()
        if repository != PRIMARY:
            await holdfast.api.repositories.test(repository)
        cursor = None
        while True:
            page = await holdfast.api.workloads.list(MAX_LIMIT, cursor)
            for workload in page.items:
                try:
                    yield await _brought_back(holdfast, workload, repository)
                except HoldfastError as error:
                    yield BroughtBack(workload.name, "", "failed", error.message)
            cursor = page.next_cursor
            if cursor is None:
                return


async def _brought_back(holdfast: Holdfast, workload: Workload, repository: str) -> BroughtBack:
    if not workload.spec.captured_volumes:
        if workload.desired is DesiredState.STOPPED:
            return BroughtBack(workload.name, "", "no_data")
        end = await _ended(holdfast, workload, "", await holdfast.api.deployer.start(workload.id, actor=ACTOR))
        return end if end.result == "failed" else end._replace(result="started")  # reconciliation may have been faster
    if repository == PRIMARY:
        found = await holdfast.api.snapshots.list(workload.id, limit=1, cursor=None)
    else:
        found = await holdfast.api.second_snapshots.list(repository, workload=workload.id, limit=1, cursor=None)
    if not found.items:
        return BroughtBack(workload.name, "", "no_snapshot", f"{repository} has none of it.")
    snapshot_id = found.items[0].id
    operation = await holdfast.api.restores.restore(
        workload.id,
        snapshot_id,
        confirm=snapshot_id,
        volumes=None,
        on_unhealthy=None,
        with_image=False,
        create_missing=True,
        repository=None if repository == PRIMARY else repository,
        dry_run=False,
        actor=ACTOR,
    )
    return await _ended(holdfast, workload, snapshot_id, operation)


async def _ended(holdfast: Holdfast, workload: Workload, snapshot_id: str, operation: Operation) -> BroughtBack:
    end = await holdfast.operations.wait(operation.id)
    if end.state is OperationState.SUCCEEDED:
        return BroughtBack(workload.name, snapshot_id, str(end.outcome["result"]))
    return BroughtBack(workload.name, snapshot_id, "failed", str((end.error or {}).get("message", end.state)))
