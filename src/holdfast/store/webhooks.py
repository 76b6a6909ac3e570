"""Webhooks and what came in through them.

Deliveries that arrive together are kept together, in one transaction: what a flood costs the disk is bounded by the
disk, not by the flood.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, and_, bindparam, delete, func, insert, or_, select, update

from holdfast.domain.times import now
from holdfast.domain.told import Told
from holdfast.domain.webhook import Binding, DeliveryState, HookDelivery, HookEvent
from holdfast.domain.workload import WorkloadSpec
from holdfast.store.codec import decode, encode
from holdfast.store.database import Database
from holdfast.store.tables import bindings, hook_deliveries, workloads
from holdfast.store.workloads import spec_of

KEPT: Final = 1000
KEPT_IGNORED: Final = 200
"""So many deliveries of a binding stay that ended, and of those that led to nothing; the newest ones."""

_OPEN: Final = [state.value for state in DeliveryState if not state.ended]
_LED_TO_NOTHING: Final = [DeliveryState.IGNORED.value, DeliveryState.PING.value, DeliveryState.SUPERSEDED.value]
_DECIDED: Final = [DeliveryState.SUCCEEDED.value, DeliveryState.FAILED.value]


_INSERT_BINDING = insert(bindings)
_DELETE_BINDING = delete(bindings).where(bindings.c.id == bindparam("id"))
_AT = (
    select(bindings.c.binding, bindings.c.sealed, workloads.c.spec)
    .join(workloads, workloads.c.id == bindings.c.workload_id)
    .where(bindings.c.hash == bindparam("hash"))
)
_OF_WORKLOAD = (
    select(bindings.c.binding).where(bindings.c.workload_id == bindparam("workload_id")).order_by(bindings.c.id.desc())
)
_BINDING = select(bindings.c.id).where(bindings.c.id == bindparam("id"))

_INSERT = insert(hook_deliveries)
_UPDATE = update(hook_deliveries).where(hook_deliveries.c.id.in_(bindparam("these", expanding=True)))
_BY_ID = select(hook_deliveries).where(hook_deliveries.c.id == bindparam("id"))
_OPEN_OF_WORKLOAD = (
    select(hook_deliveries)
    .where(hook_deliveries.c.workload_id == bindparam("workload_id"), hook_deliveries.c.state.in_(_OPEN))
    .order_by(hook_deliveries.c.id)
)
_WITH_OPEN = select(hook_deliveries.c.workload_id).where(hook_deliveries.c.state.in_(_OPEN)).distinct()
_COUNT_WAITING = select(func.count()).where(
    hook_deliveries.c.binding_id == bindparam("binding_id"),
    hook_deliveries.c.state == DeliveryState.WAITING.value,
)
_IN_STATES = and_(
    hook_deliveries.c.binding_id == bindparam("of"),
    hook_deliveries.c.state.in_(bindparam("states", expanding=True)),
)
_NEWEST = (
    select(hook_deliveries.c.id)
    .where(_IN_STATES)
    .order_by(hook_deliveries.c.id.desc())
    .offset(bindparam("skip"))
    .limit(1)
)
_DELETE_OLDER = delete(hook_deliveries).where(_IN_STATES, hook_deliveries.c.id < bindparam("oldest_kept"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A binding with what is secret of it, and the workload as it is configured.

    Attributes:
        sealed: its secret; ``None`` where it has none.
    """

    binding: Binding
    sealed: bytes | None
    spec: WorkloadSpec


class SameBody(StrEnum):
    """When a delivery whose body came before counts as the one of then."""

    ALWAYS = "always"
    WHILE_WAITING = "while_waiting"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A delivery that is to be kept, unless it is one that came before."""

    delivery: HookDelivery
    same_body: SameBody


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What became of an arrival.

    Attributes:
        delivery: it, or the one that it repeats; ``None`` where nothing was kept.
        duplicate: it came before.
        full: nothing was kept, since too many wait.
    """

    delivery: HookDelivery | None = None
    duplicate: bool = False
    full: bool = False


class BindingStore:
    """All bindings."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, binding: Binding, address_hash: str, sealed: bytes | None) -> None:
        """Keep a new one, durably."""
        await self._database.change(
            _INSERT_BINDING,
            id=binding.id,
            workload_id=binding.workload_id,
            hash=address_hash,
            binding=encode(binding),
            sealed=sealed,
        )

    async def at(self, address_hash: str) -> Bound | None:
        """The one with this address."""
        row = await self._database.row(_AT, hash=address_hash)
        if row is None:
            return None
        return Bound(
            binding=decode(Binding, row.binding),
            sealed=None if row.sealed is None else bytes(row.sealed),
            spec=spec_of(row.spec),
        )

    async def of(self, workload_id: str) -> tuple[Binding, ...]:
        """All of a workload, newest first."""
        rows = await self._database.rows(_OF_WORKLOAD, workload_id=workload_id)
        return tuple(decode(Binding, row.binding) for row in rows)

    async def delete(self, binding_id: str) -> None:
        """Forget one and what came in through it, durably."""
        await self._database.change(_DELETE_BINDING, id=binding_id)


class HookDeliveryStore:
    """All deliveries.

    Args:
        most_waiting: so many of one binding may wait; further ones are not kept.
        kept, kept_ignored: so many of one binding stay that ended, and of those that led to nothing.
    """

    def __init__(
        self, database: Database, *, most_waiting: int, kept: int = KEPT, kept_ignored: int = KEPT_IGNORED
    ) -> None:
        self._database = database
        self._kept = kept
        self._kept_ignored = kept_ignored
        self._most_waiting = most_waiting

    async def keep(self, arrivals: Sequence[Arrival], trim: Collection[str] = ()) -> list[Kept]:
        """Keep deliveries, durably and together; each once.

        Args:
            trim: ids of bindings of which the oldest deliveries go that are too many.
        """

        def work(connection: Connection) -> list[Kept]:
            room = _Room(connection, self._most_waiting)
            kept = [_keep(connection, arrival, room) for arrival in arrivals]
            for binding_id in trim:
                _trim(connection, binding_id, _DECIDED, self._kept)
                _trim(connection, binding_id, _LED_TO_NOTHING, self._kept_ignored)
            return kept

        return await self._database.write(work)

    async def list(self, binding_id: str, *, limit: int, before: str | None = None) -> tuple[HookDelivery, ...]:
        """Those of a binding, newest first."""
        query = select(hook_deliveries).where(hook_deliveries.c.binding_id == binding_id)
        if before is not None:
            query = query.where(hook_deliveries.c.id < before)
        found = await self._database.rows(query.order_by(hook_deliveries.c.id.desc()).limit(limit))
        return tuple(map(_delivery, found))

    async def get(self, delivery_id: str) -> HookDelivery | None:
        """The one with this id."""
        row = await self._database.row(_BY_ID, id=delivery_id)
        return None if row is None else _delivery(row)

    async def open(self, workload_id: str) -> tuple[HookDelivery, ...]:
        """Those of a workload that have not ended, oldest first."""
        return tuple(map(_delivery, await self._database.rows(_OPEN_OF_WORKLOAD, workload_id=workload_id)))

    async def workloads_with_open(self) -> tuple[str, ...]:
        """The ids of workloads of which deliveries have not ended."""
        return tuple(row.workload_id for row in await self._database.rows(_WITH_OPEN))

    async def began(self, delivery_id: str, operation_id: str) -> None:
        """Record which operation a delivery led to."""
        await self._set([delivery_id], state=DeliveryState.RUNNING.value, operation_id=operation_id)

    async def end(self, delivery_ids: Sequence[str], state: DeliveryState, why: Told | None = None) -> None:
        """Record how deliveries ended."""
        await self._set(delivery_ids, state=state.value, ended_at=now(), **_why(why))

    async def _set(self, delivery_ids: Sequence[str], **values: str | None) -> None:
        await self._database.change(_UPDATE, these=delivery_ids, **values)


class _Room:
    """How many deliveries of each binding may be added to those that wait, within one transaction."""

    def __init__(self, connection: Connection, most_waiting: int) -> None:
        self._connection = connection
        self._most_waiting = most_waiting
        self._left: dict[str, int | None] = {}

    def of(self, binding_id: str) -> int | None:
        """So many; ``None`` where the binding is gone."""
        if binding_id not in self._left:
            self._left[binding_id] = self._counted(binding_id)
        return self._left[binding_id]

    def take(self, binding_id: str) -> None:
        """One more waits."""
        left = self._left[binding_id]
        assert left is not None
        self._left[binding_id] = left - 1

    def _counted(self, binding_id: str) -> int | None:
        if self._connection.execute(_BINDING, {"id": binding_id}).first() is None:
            return None
        waiting = self._connection.execute(_COUNT_WAITING, {"binding_id": binding_id}).scalar_one()
        return self._most_waiting - int(waiting)


def _keep(connection: Connection, arrival: Arrival, room: _Room) -> Kept:
    delivery = arrival.delivery
    asked = {"id": delivery.id, "of": delivery.binding_id, "key": delivery.key, "digest": delivery.digest}
    earlier = connection.execute(_like(delivery.key is not None, arrival.same_body), asked).first()
    if earlier is not None:
        return Kept(delivery=_delivery(earlier), duplicate=True)
    left = room.of(delivery.binding_id)
    if left is None:
        return Kept()
    if not delivery.state.ended:
        if left <= 0:
            return Kept(full=True)
        room.take(delivery.binding_id)
    connection.execute(_INSERT, _values(delivery))
    return Kept(delivery=delivery)


@cache
def _like(keyed: bool, same_body: SameBody) -> Select[Any]:  # noqa: FBT001 - whether it has a key of the sender's
    """The query for the newest delivery that an arrival repeats."""
    table = hook_deliveries.c
    same = [table.key == bindparam("key")] if keyed else []
    match same_body:
        case SameBody.ALWAYS:
            same.append(and_(table.digest == bindparam("digest"), table.replay_of.is_(None)))
        case SameBody.WHILE_WAITING:
            waiting = table.state == DeliveryState.WAITING.value
            same.append(and_(table.digest == bindparam("digest"), waiting))
        case SameBody.NEVER:
            pass
    if not same:
        return _BY_ID
    newest = select(hook_deliveries).order_by(table.id.desc()).limit(1)
    return newest.where(table.binding_id == bindparam("of"), or_(*same))


def _trim(connection: Connection, binding_id: str, states: Sequence[str], kept: int) -> None:
    of_it = {"of": binding_id, "states": states}
    oldest_kept = connection.execute(_NEWEST, {**of_it, "skip": kept - 1}).scalar()
    if oldest_kept is not None:
        connection.execute(_DELETE_OLDER, {**of_it, "oldest_kept": oldest_kept})


def _values(delivery: HookDelivery) -> dict[str, object]:
    return {
        "id": delivery.id,
        "binding_id": delivery.binding_id,
        "workload_id": delivery.workload_id,
        "event": encode(delivery.event),
        "key": delivery.key,
        "digest": delivery.digest,
        "state": delivery.state.value,
        "received_at": delivery.received_at,
        "ended_at": delivery.ended_at,
        **_why(delivery.why),
        "operation_id": delivery.operation_id,
        "replay_of": delivery.replay_of,
        "actor": delivery.actor,
    }


def _why(why: Told | None) -> dict[str, str | None]:
    if why is None:
        return {"code": "", "message": "", "message_values": None}
    values = None if why.values is None else encode(why.values)
    return {"code": why.code, "message": why.message, "message_values": values}


def _delivery(row: Row[Any]) -> HookDelivery:
    values = None if row.message_values is None else decode(dict[str, object], row.message_values)
    return HookDelivery(
        id=row.id,
        binding_id=row.binding_id,
        workload_id=row.workload_id,
        event=decode(HookEvent, row.event),
        key=row.key,
        digest=row.digest,
        state=DeliveryState(row.state),
        received_at=row.received_at,
        ended_at=row.ended_at,
        why=Told(row.message, code=row.code, values=values) if row.code or row.message else None,
        operation_id=row.operation_id,
        replay_of=row.replay_of,
        actor=row.actor,
    )
