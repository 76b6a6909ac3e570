"""Channels, and the notices that wait to be delivered: kept in the same transaction as what they tell of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from holdfast.domain.errors import Conflict
from holdfast.domain.ids import new_id
from holdfast.domain.notice import Channel, Delivery, Notice
from holdfast.domain.times import parse, rfc3339
from holdfast.domain.told import Told
from holdfast.store.codec import decode, encode
from holdfast.store.database import Database, upsert
from holdfast.store.tables import alarms, channels, deliveries, workloads

_CHANNELS = select(channels).order_by(channels.c.name)
_SEALED = select(channels.c.sealed).where(channels.c.id == bindparam("id"))
_INSERT_CHANNEL = insert(channels)
_DELETE_CHANNEL = delete(channels).where(channels.c.id == bindparam("id"))
_WAITING = select(deliveries).order_by(deliveries.c.id)
_INSERT = insert(deliveries)
_UPDATE = update(deliveries).where(deliveries.c.id == bindparam("this"))
_DELETE = delete(deliveries).where(deliveries.c.id == bindparam("id"))
_TOLD = select(alarms)
_OVER = delete(alarms).where(alarms.c.id.in_(bindparam("over", expanding=True)))
_NAME = select(workloads.c.name).where(workloads.c.id == bindparam("id"))


class ChannelStore:
    """All channels."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, channel: Channel, sealed: bytes) -> None:
        """Keep a new one, durably.

        Args:
            sealed: what is secret of it.

        Raises:
            Conflict: ``channel_known``.
        """
        try:
            await self._database.change(
                _INSERT_CHANNEL, id=channel.id, name=channel.name, channel=encode(channel), sealed=sealed
            )
        except IntegrityError as error:
            raise Conflict(
                "channel_known",
                f"There is a channel called {channel.name} already.",
                next_step="Choose another name, or remove that one first.",
            ) from error

    async def list(self) -> tuple[Channel, ...]:
        """All, by name."""
        return await self._database.read(_channels)

    async def sealed(self, channel_id: str) -> bytes | None:
        """What is secret of one; ``None`` if it is gone."""
        row = await self._database.row(_SEALED, id=channel_id)
        return None if row is None else bytes(row.sealed)

    async def delete(self, channel_id: str) -> None:
        """Forget one, and what waits to be told through it, durably."""
        await self._database.change(_DELETE_CHANNEL, id=channel_id)


class Outbox:
    """Notices that wait, and the conditions that were told."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def waiting(self) -> tuple[Delivery, ...]:
        """All that wait, oldest first."""
        return tuple(map(_delivery, await self._database.rows(_WAITING)))

    async def delivered(self, delivery_id: str) -> None:
        """Forget one: it was delivered, or is given up."""
        await self._database.change(_DELETE, id=delivery_id)

    async def failed(self, delivery: Delivery, *, next_at: str, error: Told) -> None:
        """Record that an attempt failed."""
        attempts = delivery.attempts + 1
        await self._database.change(
            _UPDATE, this=delivery.id, attempts=attempts, next_at=next_at, error=error.message, told=encode(error)
        )

    async def told(self) -> dict[str, tuple[datetime, str]]:
        """The conditions that were told and last: since when each was told last, and its title."""
        return {row.id: (parse(row.told_at), row.title) for row in await self._database.rows(_TOLD)}

    async def tell(
        self, notices: Sequence[Notice], *, now: datetime, lasting: Mapping[str, str], over: Sequence[str]
    ) -> None:
        """Keep notices, and which conditions they told, durably and together.

        Args:
            lasting: conditions that were told now, with their titles.
            over: conditions that last no longer.
        """

        def write(connection: Connection) -> None:
            for notice in notices:
                keep(connection, notice, now=rfc3339(now))
            for key, title in lasting.items():
                upsert(connection, alarms, {"id": key}, {"told_at": rfc3339(now), "title": title})
            connection.execute(_OVER, {"over": over})

        await self._database.write(write)


def keep(connection: Connection, notice: Notice, *, now: str) -> None:
    """Have a notice delivered through every channel that takes it, as part of a write."""
    takers = [channel for channel in _channels(connection) if channel.takes(notice)]
    if not takers:
        return
    if notice.workload_id:
        row = connection.execute(_NAME, {"id": notice.workload_id}).one_or_none()
        notice = replace(notice, workload="" if row is None else row.name)
    for channel in takers:
        values = {"id": new_id(), "channel_id": channel.id, "notice": encode(notice), "created_at": now}
        connection.execute(_INSERT, {**values, "next_at": now, "attempts": 0, "error": ""})


def _channels(connection: Connection) -> tuple[Channel, ...]:
    return tuple(decode(Channel, row.channel) for row in connection.execute(_CHANNELS))


def _delivery(row: Row[tuple[object, ...]]) -> Delivery:
    return Delivery(
        id=row.id,
        channel_id=row.channel_id,
        notice=decode(Notice, row.notice),
        created_at=row.created_at,
        next_at=row.next_at,
        attempts=row.attempts,
        error=decode(Told, row.told) if row.told is not None else Told(row.error) if row.error else None,
    )
