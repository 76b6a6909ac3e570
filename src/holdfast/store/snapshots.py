"""What was decided about snapshots since their capture. A snapshot without a row is unpinned and unverified."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Row, bindparam, delete, select

from holdfast.store.codec import decode, encode
from holdfast.store.database import Database, upsert
from holdfast.store.tables import snapshots

_ALL = select(snapshots)
_BY_ID = select(snapshots).where(snapshots.c.id == bindparam("id"))
_OF_WORKLOAD = (
    select(snapshots).where(snapshots.c.workload_id == bindparam("workload_id")).order_by(snapshots.c.id.desc())
)
_DELETE = delete(snapshots).where(snapshots.c.id == bindparam("id"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotState:
    """What was decided about one snapshot; see :class:`holdfast.domain.snapshot.Snapshot` for the fields."""

    snapshot_id: str
    workload_id: str
    pinned: bool = False
    safety_for: str | None = None
    verified_at: str | None = None
    proved_at: str | None = None
    damaged: tuple[str, ...] = ()


class SnapshotStateStore:
    """The states of all snapshots."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pin(self, snapshot_id: str, workload_id: str, pinned: bool) -> None:  # noqa: FBT001 - the value to set
        """Pin a snapshot, or release it, durably. Nothing else that is known of it changes."""
        await self._change(snapshot_id, workload_id, pinned=pinned)

    async def pin_safety(self, snapshot_id: str, workload_id: str, operation_id: str) -> None:
        """Pin the safety snapshot of a restore, before it is captured: there is no moment in which it is not pinned."""
        await self._change(snapshot_id, workload_id, pinned=True, safety_for=operation_id)

    async def verified(self, snapshot_id: str, workload_id: str, at: str, damage: tuple[str, ...]) -> None:
        """Record what a verification found, durably. Nothing else that is known of the snapshot changes.

        Args:
            at: when it ended; kept for a snapshot that is whole.
            damage: what is damaged, in words; empty for a snapshot that is whole.
        """
        found: dict[str, object] = {"damaged": encode(damage)}
        await self._change(snapshot_id, workload_id, **found if damage else found | {"verified_at": at})

    async def proved(self, snapshot_id: str, workload_id: str, at: str) -> None:
        """Record that a snapshot was restored for trial, durably. Nothing else that is known of it changes."""
        await self._change(snapshot_id, workload_id, proved_at=at)

    async def _change(self, snapshot_id: str, workload_id: str, **values: object) -> None:
        """Change these columns and no other, so that two that change at once don't take each other back."""
        new = {"workload_id": workload_id, "pinned": False, "damaged": encode(())}
        await self._database.write(
            lambda connection: upsert(connection, snapshots, {"id": snapshot_id}, values, new=new)
        )

    async def get(self, snapshot_id: str) -> SnapshotState | None:
        """The state of one snapshot."""
        row = await self._database.row(_BY_ID, id=snapshot_id)
        return None if row is None else _state(row)

    async def list(self, workload_id: str) -> tuple[SnapshotState, ...]:
        """The states of a workload's snapshots, newest snapshot first."""
        return tuple(map(_state, await self._database.rows(_OF_WORKLOAD, workload_id=workload_id)))

    async def list_all(self) -> tuple[SnapshotState, ...]:
        """The states of all snapshots."""
        return tuple(map(_state, await self._database.rows(_ALL)))

    async def delete(self, snapshot_id: str) -> None:
        """Forget a snapshot's state. Fine if there is none."""
        await self._database.change(_DELETE, id=snapshot_id)


def _state(row: Row[tuple[object, ...]]) -> SnapshotState:
    return SnapshotState(
        snapshot_id=row.id,
        workload_id=row.workload_id,
        pinned=row.pinned,
        safety_for=row.safety_for,
        verified_at=row.verified_at,
        proved_at=row.proved_at,
        damaged=decode(tuple[str, ...], row.damaged),
    )
