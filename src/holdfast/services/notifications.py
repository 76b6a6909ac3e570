"""Channels: add, list, try out and forget them; and delivering what waits, until it is delivered or a week old.

- What happened is kept for delivery in the transaction that records it; so no end of the server loses a notice. One
  whose delivery was not recorded is delivered again, with the same id.
- Through one channel notices go in order; one that can't be delivered holds up those behind it, and no other channel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import structlog

from holdfast.domain.errors import HoldfastError, NotFound, Problem, Refused
from holdfast.domain.ids import new_id
from holdfast.domain.notice import (
    GIVEN_UP,
    Channel,
    ChannelKind,
    ChannelSecrets,
    Delivery,
    Level,
    Notice,
    NoticeKind,
    is_due,
    pause_after,
)
from holdfast.domain.times import parse, rfc3339
from holdfast.domain.told import Told, told
from holdfast.engine.sealing import Sealing
from holdfast.services.doctor import ChannelFacts
from holdfast.services.health_gate import Clock
from holdfast.services.senders import mail, post, text_of
from holdfast.services.service_sender import service_of, tell
from holdfast.store.codec import decode, encode
from holdfast.store.notices import ChannelStore, Outbox

PAUSE: Final = 5.0
"""Seconds between two looks at what waits."""

Send = Callable[[Channel, ChannelSecrets, Delivery], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelState:
    """A channel, what waits for it, and why the oldest of that was not delivered."""

    channel: Channel
    waiting: int = 0
    error: Told | None = None


async def send(channel: Channel, secrets: ChannelSecrets, delivery: Delivery) -> None:
    """Deliver a notice through a channel."""
    if channel.mail is not None:
        await mail(channel.mail, secrets, delivery)
    elif channel.kind is ChannelKind.SERVICE:
        await tell(secrets.url, delivery.notice, text_of(delivery.notice))
    else:
        await post(secrets, delivery)


class Notifications:
    """All channels, and their deliveries."""

    def __init__(
        self, *, clock: Clock, sealing: Sealing, channels: ChannelStore, outbox: Outbox, sender: Send = send
    ) -> None:
        self._clock = clock
        self._sealing = sealing
        self._channels = channels
        self._outbox = outbox
        self._send = sender
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("notifications")

    def start(self) -> None:
        """Begin to deliver, in the background."""
        self._task = asyncio.create_task(self._run(), name="notifications")

    async def close(self) -> None:
        """Stop delivering. What waits, waits for the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def add(self, channel: Channel, secrets: ChannelSecrets) -> Channel:
        """Remember a channel. Its id and time are made here.

        Raises:
            Conflict: ``channel_known``.
            InvalidInput: ``service_address_invalid``.
            Failed: ``service_failed``.
        """
        added = replace(channel, id=new_id(), created_at=rfc3339(self._now()))
        if channel.kind is ChannelKind.SERVICE:
            added = replace(added, service=await service_of(secrets.url))
        sealed = await asyncio.to_thread(self._sealing.seal, f"channel {added.id}", encode(secrets).encode())
        await self._channels.insert(added, sealed)
        return added

    async def list(self) -> tuple[ChannelState, ...]:
        """All channels, by name."""
        waiting = await self._outbox.waiting()
        found = []
        for channel in await self._channels.list():
            own = [delivery for delivery in waiting if delivery.channel_id == channel.id]
            found.append(ChannelState(channel=channel, waiting=len(own), error=own[0].error if own else None))
        return tuple(found)

    async def facts(self) -> ChannelFacts:
        """How the channels are, for the doctor."""
        found = await self.list()
        failing = [
            told("channel_failing", "{channel}: {why}", channel=each.channel.name, why=each.error)
            for each in found
            if each.error
        ]
        return ChannelFacts(total=len(found), failing=tuple(failing))

    async def remove(self, name: str) -> None:
        """Forget a channel, its secret, and what waits for it.

        Raises:
            NotFound: ``channel_unknown``.
        """
        channel = await self._get(name)
        await self._channels.delete(channel.id)

    async def test(self, name: str) -> None:
        """Deliver a notice through a channel, now.

        Raises:
            NotFound: ``channel_unknown``.
            Refused: why it could not be delivered.
        """
        channel = await self._get(name)
        at = rfc3339(self._now())
        title = f"This is a test of the channel {name}."
        notice = Notice(kind=NoticeKind.TEST, level=Level.INFO, title=title, at=at)
        try:
            await self._deliver(
                channel, Delivery(id=new_id(), channel_id=channel.id, notice=notice, created_at=at, next_at=at)
            )
        except HoldfastError as error:
            raise Refused([Problem(code=error.code, message=error.message, next_step=error.next_step)]) from error

    async def look(self) -> None:
        """Deliver what is due."""
        waiting = await self._outbox.waiting()
        if not waiting:
            return
        channels = await self._channels.list()
        await asyncio.gather(
            *(self._drain(channel, [each for each in waiting if each.channel_id == channel.id]) for channel in channels)
        )

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except HoldfastError as error:
                self._log.warning("notices were not delivered", code=error.code, reason=error.message)
            except Exception:  # noqa: BLE001 - a defect met once must not end all deliveries for good, and unseen
                self._log.exception("notifications_failed_unforeseen")
            await self._clock.sleep(PAUSE)

    async def _drain(self, channel: Channel, waiting: Sequence[Delivery]) -> None:
        """Deliver in order what waits for a channel, up to the first that can't be delivered."""
        for delivery in waiting:
            now = self._now()
            if not is_due(delivery, now):
                return
            try:
                await self._deliver(channel, delivery)
            except HoldfastError as error:
                if abs(now - parse(delivery.created_at)) < GIVEN_UP:
                    next_at = rfc3339(now + pause_after(delivery.attempts + 1))
                    await self._outbox.failed(delivery, next_at=next_at, error=Told.of(error))
                    self._log.warning("notice_not_delivered", channel=channel.name, reason=error.message)
                    return
                self._log.error("notice_given_up", channel=channel.name, title=delivery.notice.line)
            await self._outbox.delivered(delivery.id)

    async def _deliver(self, channel: Channel, delivery: Delivery) -> None:
        sealed = await self._channels.sealed(channel.id)
        if sealed is None:
            return  # the channel was removed meanwhile, and with it what waits
        opened = await asyncio.to_thread(self._sealing.open, f"channel {channel.id}", sealed)
        await self._send(channel, decode(ChannelSecrets, opened.decode()), delivery)

    async def _get(self, name: str) -> Channel:
        for channel in await self._channels.list():
            if channel.name == name:
                return channel
        raise NotFound(
            "channel_unknown",
            f"There is no channel {name[:64]!r}.",
            next_step="Look at what there is with `holdfast notification list`.",
        )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)
