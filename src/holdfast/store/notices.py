"""Channels, and the notices that wait to be delivered: kept in the same transaction as what they tell of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from holdfast.domain.errors import Conflict
from holdfast.domain.ids import new_id
from holdfast.domain.notice import Channel, Delivery, Notice
from holdfast.domain.times import parse, rfc3339
from holdfast.store.codec import decode, encode
from holdfast.store.database import Database, Transaction, upsert
from holdfast.store.tables import alarms, channels, deliveries, workloads


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
            async with self._database.write() as connection:
                row = {"id": channel.id, "name": channel.name, "channel": encode(channel), "sealed": sealed}
                await connection.execute(insert(channels).values(**row))
        except IntegrityError as error:
            raise Conflict(
                "channel_known",
                f"There is a channel called {channel.name} already.",
                next_step="Choose another name, or remove that one first.",
            ) from error

    async def list(self) -> tuple[Channel, ...]:
        """All, by name."""
        async with self._database.read() as connection:
            return await _channels(connection)

    async def sealed(self, channel_id: str) -> bytes | None:
        """What is secret of one; ``None`` if it is gone."""
        async with self._database.read() as connection:
            query = select(channels.c.sealed).where(channels.c.id == channel_id)
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else bytes(row.sealed)

    async def delete(self, channel_id: str) -> None:
        """Forget one, and what waits to be told through it, durably."""
        async with self._database.write() as connection:
            await connection.execute(delete(channels).where(channels.c.id == channel_id))


class Outbox:
    """Notices that wait, and the conditions that were told."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def waiting(self) -> tuple[Delivery, ...]:
        """All that wait, oldest first."""
        async with self._database.read() as connection:
            found = await connection.execute(select(deliveries).order_by(deliveries.c.id))
            return tuple(_delivery(row) for row in found)

    async def delivered(self, delivery_id: str) -> None:
        """Forget one: it was delivered, or is given up."""
        async with self._database.write() as connection:
            await connection.execute(delete(deliveries).where(deliveries.c.id == delivery_id))

    async def failed(self, delivery: Delivery, *, next_at: str, error: str) -> None:
        """Record that an attempt failed."""
        async with self._database.write() as connection:
            await connection.execute(
                update(deliveries)
                .where(deliveries.c.id == delivery.id)
                .values(attempts=delivery.attempts + 1, next_at=next_at, error=error)
            )

    async def told(self) -> dict[str, tuple[datetime, str]]:
        """The conditions that were told and last: since when each was told last, and its title."""
        async with self._database.read() as connection:
            found = await connection.execute(select(alarms))
            return {row.id: (parse(row.told_at), row.title) for row in found}

    async def tell(
        self, notices: Sequence[Notice], *, now: datetime, lasting: Mapping[str, str], over: Sequence[str]
    ) -> None:
        """Keep notices, and which conditions they told, durably and together.

        Args:
            lasting: conditions that were told now, with their titles.
            over: conditions that last no longer.
        """
        async with self._database.write() as connection:
            for notice in notices:
                await keep(connection, notice, now=rfc3339(now))
            for key, title in lasting.items():
                await upsert(connection, alarms, {"id": key}, {"told_at": rfc3339(now), "title": title})
            await connection.execute(delete(alarms).where(alarms.c.id.in_(over)))


async def keep(connection: Transaction, notice: Notice, *, now: str) -> None:
    """Have a notice delivered through every channel that takes it, as part of a write."""
    takers = [channel for channel in await _channels(connection) if channel.takes(notice)]
    if not takers:
        return
    if notice.workload_id:
        query = select(workloads.c.name).where(workloads.c.id == notice.workload_id)
        row = (await connection.execute(query)).one_or_none()
        notice = replace(notice, workload="" if row is None else row.name)
    for channel in takers:
        values = {"id": new_id(), "channel_id": channel.id, "notice": encode(notice), "created_at": now}
        await connection.execute(insert(deliveries).values(**values, next_at=now, attempts=0, error=""))


async def _channels(connection: Transaction) -> tuple[Channel, ...]:
    found = await connection.execute(select(channels).order_by(channels.c.name))
    return tuple(decode(Channel, row.channel) for row in found)


def _delivery(row: Row[tuple[object, ...]]) -> Delivery:
    return Delivery(
        id=row.id,
        channel_id=row.channel_id,
        notice=decode(Notice, row.notice),
        created_at=row.created_at,
        next_at=row.next_at,
        attempts=row.attempts,
        error=row.error,
    )
