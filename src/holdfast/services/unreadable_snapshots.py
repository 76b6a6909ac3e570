"""Snapshots whose manifest can't be read: told, and deleted when a person names one a second time.

Such a snapshot can't be restored, and while it is there no prune frees anything: it can't be told what it needs.

- Only what is damaged goes this way. What can be read is deleted as any other snapshot; what a newer Holdfast wrote, or
  what the disk does not give out just now, is no damage.
- Deleting one removes its manifest alone. What other snapshots need stays, whatever the next prune frees.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from holdfast.domain.errors import ConfirmationMissing, Problem, Refused
from holdfast.engine.stores import Stores
from holdfast.services.in_use import SnapshotsInUse
from holdfast.store.snapshots import SnapshotStateStore
from holdfast.store.workloads import WorkloadStore


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableSnapshot:
    """A snapshot whose manifest can't be read, and what is known of it all the same.

    Attributes:
        code, message: why.
        workload: the name of its workload, its id if that is gone; ``None`` where nobody noted it.
        pinned: whether somebody wanted to keep it.
        safety_for: the restore whose way back it was.
    """

    id: str
    code: str
    message: str
    workload: str | None = None
    pinned: bool = False
    safety_for: str | None = None


class UnreadableSnapshots:
    """Tells of them, and deletes them."""

    def __init__(
        self, *, store: Stores, states: SnapshotStateStore, workloads: WorkloadStore, in_use: SnapshotsInUse
    ) -> None:
        self._store = store
        self._states = states
        self._workloads = workloads
        self._in_use = in_use
        self._log = structlog.get_logger("snapshots")

    async def list(self) -> Sequence[UnreadableSnapshot]:
        """All of them, newest first."""
        found = await asyncio.to_thread(self._store.damaged_manifests)
        newest_first = sorted(found, key=lambda problem: str(problem.details["snapshot"]), reverse=True)
        return [await self._known(problem) for problem in newest_first]

    async def _known(self, problem: Problem) -> UnreadableSnapshot:
        snapshot_id = str(problem.details["snapshot"])
        state = await self._states.get(snapshot_id)
        if state is None:
            return UnreadableSnapshot(id=snapshot_id, code=problem.code, message=problem.message)
        workload = await self._workloads.get(state.workload_id)
        return UnreadableSnapshot(
            id=snapshot_id,
            code=problem.code,
            message=problem.message,
            workload=state.workload_id if workload is None else workload.name,
            pinned=state.pinned,
            safety_for=state.safety_for,
        )

    async def delete(self, snapshot_id: str, *, confirm: str | None, actor: str) -> None:
        """Delete one for good, pinned or not: who names it a second time lets it go.

        Raises:
            NotFound: ``snapshot_unknown``.
            ConfirmationMissing, Refused: ``confirmation_missing``, ``confirmation_mismatch``.
            Conflict: ``snapshot_readable``, ``snapshot_in_use``.
            HoldfastError: why its manifest can't be read, where that is no damage.
        """
        _require_confirmed(confirm, snapshot_id)
        self._in_use.check_free(snapshot_id)
        with self._in_use.hold(snapshot_id, "its deletion"):
            await asyncio.to_thread(self._store.delete_damaged, snapshot_id)
        await self._states.delete(snapshot_id)
        self._log.warning("unreadable snapshot deleted", snapshot_id=snapshot_id, actor=actor)


def _require_confirmed(confirm: str | None, snapshot_id: str) -> None:
    step = f"Send the header X-Confirm-Delete: {snapshot_id}"
    if confirm is None:
        raise ConfirmationMissing(
            "confirmation_missing", "A snapshot is deleted for good, so it has to be confirmed.", next_step=step
        )
    if confirm != snapshot_id:
        raise Refused(
            [
                Problem(
                    code="confirmation_mismatch",
                    message="The confirmation names something else than what is to be deleted.",
                    next_step=step,
                    details={"expected": snapshot_id},
                )
            ]
        )
