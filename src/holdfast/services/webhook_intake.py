"""Receiving deliveries: proved, read, kept on disk, and only then answered.

- A delivery that was answered as received is on disk, and is applied; what is refused was not kept.
- Those that arrive while the disk is busy are kept together, so that a flood waits for few flushes.
- What is known of a binding is read once a second at most, by one of those that need it; nothing is ignored by what may
  be outdated.
- Each binding takes so many in a while (:data:`BURST`, :data:`PER_SECOND`) and keeps so many that wait; the others are
  told to come again. Nobody's flood stops another binding.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final
from urllib.parse import parse_qs

import msgspec
import structlog

from holdfast.domain.errors import HoldfastError, NotFound, Problem, Refused, TooMany, Unauthorized
from holdfast.domain.ids import new_id
from holdfast.domain.times import now
from holdfast.domain.webhook import (
    Binding,
    DeliveryState,
    Happening,
    HookDelivery,
    Nothing,
    Provider,
)
from holdfast.domain.webhook_effects import decide
from holdfast.domain.webhook_payloads import Document, events_in, malformed
from holdfast.domain.workload import WorkloadSpec
from holdfast.engine.sealing import Sealing
from holdfast.services.health_gate import Clock
from holdfast.services.webhook_signatures import Headers, delivery_id, event_name, id_is_signed, verify
from holdfast.store.webhooks import Arrival, BindingStore, Bound, HookDeliveryStore, Kept, SameBody

BURST: Final = 600.0
PER_SECOND: Final = 300.0
"""Deliveries that one binding takes at once, and each second in the long run."""
MOST_WAITING: Final = 2000
"""Deliveries of one binding that may wait to be applied."""

KNOWN_FOR: Final = 1.0
"""Seconds for which what was read of a binding serves its next deliveries."""

_ADDRESS: Final = re.compile(r"hfw_[A-Za-z0-9_-]{43}")
_TRIM_AFTER: Final = 100
"""After so many deliveries of a binding its oldest ones are looked after."""
_FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a delivery is answered with."""

    delivery: HookDelivery
    duplicate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals:
    """The deliveries that a binding refused since the server started."""

    count: int = 0
    last_at: str = ""
    last_code: str = ""


@dataclass(frozen=True, slots=True)
class _Known:
    bound: Bound
    secret: bytes | None
    until: float


def address_hash(address: str) -> str:
    """What is kept of an address. It has so much randomness that a slow hash would protect nothing more."""
    return hashlib.sha256(address.encode()).hexdigest()


def secret_of(binding: Binding) -> str:
    """As what a binding's secret is sealed."""
    return f"webhook {binding.id}"


class Intake:
    """Takes deliveries in.

    Args:
        arrived: told the binding once a delivery of it that is to be applied is on disk.
        burst: deliveries that one binding takes at once.
    """

    def __init__(
        self,
        *,
        bindings: BindingStore,
        deliveries: HookDeliveryStore,
        sealing: Sealing,
        clock: Clock,
        arrived: Callable[[Binding], object],
        burst: float = BURST,
    ) -> None:
        self._bindings = bindings
        self._deliveries = deliveries
        self._sealing = sealing
        self._clock = clock
        self._arrived = arrived
        self._burst = burst
        self._read_before: dict[str, _Known] = {}
        self._reading: dict[str, asyncio.Task[_Known]] = {}
        self._buckets: dict[str, tuple[float, float]] = {}
        self._refusals: dict[str, Refusals] = {}
        self._since_trim: Counter[str] = Counter()
        self._waiting: list[tuple[Arrival, asyncio.Future[Kept]]] = []
        self._keeper: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("webhooks")

    async def receive(
        self, address: str, headers: Headers, read: Callable[[], Awaitable[bytes]]
    ) -> tuple[Receipt, ...]:
        """Take a request in. What is returned is on disk.

        Args:
            address: the unguessable part of it.
            headers: by name, in lower case.
            read: reads the body, whose size is bounded.

        Raises:
            NotFound: ``webhook_unknown``.
            TooMany: ``webhook_flood``.
            Unauthorized: ``webhook_signature_missing``, ``webhook_signature_wrong``.
            InvalidInput: ``webhook_body_malformed``, ``image_reference_malformed``.
            Refused: ``webhook_not_applied``; of a generic binding, whose callers see the answer. It is recorded.
            Failed: the secret can't be opened, or the disk does not take it.
        """
        known = await self._known(address)
        bound = known.bound
        try:
            self._take(bound.binding.id)
            body = await read()
            if known.secret is not None:
                verify(bound.binding.provider, known.secret, headers, body, at=self._clock.time())
            deliveries = _deliveries(bound, headers, body)
            if any(arrival.delivery.state.ended for arrival in deliveries):
                bound = (await self._read(address)).bound  # it may be configured otherwise by now
                deliveries = _deliveries(bound, headers, body)
            kept = await asyncio.gather(*map(self._keep, deliveries))
            receipts = tuple(_receipt(each) for each in kept)
        except HoldfastError as error:
            self._refused(bound.binding, error)
            raise
        if any(not receipt.duplicate and not receipt.delivery.state.ended for receipt in receipts):
            self._arrived(bound.binding)
        first = receipts[0].delivery
        if bound.binding.provider is Provider.GENERIC and first.state is DeliveryState.IGNORED:
            raise _not_applied(first)
        return receipts

    def refusals(self, binding_id: str) -> Refusals:
        """What a binding refused since the server started."""
        return self._refusals.get(binding_id, Refusals())

    def forget(self, binding_id: str) -> None:
        """The binding is gone."""
        for counted in (self._buckets, self._refusals, self._since_trim):
            counted.pop(binding_id, None)
        self._read_before = {
            address: known for address, known in self._read_before.items() if known.bound.binding.id != binding_id
        }

    def _take(self, binding_id: str) -> None:
        """Count a request, if the binding takes another one now."""
        at = self._clock.monotonic()
        before, left = self._buckets.get(binding_id, (at, self._burst))
        left = min(self._burst, left + (at - before) * PER_SECOND)
        if left < 1:
            self._buckets[binding_id] = (at, left)
            raise flood()
        self._buckets[binding_id] = (at, left - 1)

    async def _known(self, address: str) -> _Known:
        before = self._read_before.get(address)
        if before is not None and self._clock.monotonic() < before.until:
            return before
        reading = self._reading.get(address)
        if reading is None:  # the others of a flood wait for the first one's
            reading = self._reading[address] = asyncio.create_task(self._read(address), name="webhook binding")
            reading.add_done_callback(partial(self._has_read, address))
        return await asyncio.shield(reading)

    def _has_read(self, address: str, reading: asyncio.Task[_Known]) -> None:
        del self._reading[address]
        if not reading.cancelled():
            reading.exception()  # told to those who wait, if anybody still does

    async def _read(self, address: str) -> _Known:
        bound = await self._bindings.at(address_hash(address)) if _ADDRESS.fullmatch(address) else None
        if bound is None:
            raise _unknown()
        secret = None
        if bound.sealed is not None:
            secret = await asyncio.to_thread(self._sealing.open, secret_of(bound.binding), bound.sealed)
        at = self._clock.monotonic()
        self._read_before = {each: known for each, known in self._read_before.items() if at < known.until}
        self._read_before[address] = _Known(bound, secret, at + KNOWN_FOR)
        return self._read_before[address]

    def _refused(self, binding: Binding, error: HoldfastError) -> None:
        before = self.refusals(binding.id)
        self._refusals[binding.id] = replace(before, count=before.count + 1, last_at=now(), last_code=error.code)
        if isinstance(error, Unauthorized) and not before.count:
            self._log.warning("a webhook refused a delivery", binding_id=binding.id, code=error.code)

    # --- keeping those that arrive together together ---------------------------------------------------------------

    def _keep(self, arrival: Arrival) -> asyncio.Future[Kept]:
        """Have it kept with those that arrive meanwhile; done once it is on disk."""
        done: asyncio.Future[Kept] = asyncio.get_running_loop().create_future()
        self._waiting.append((arrival, done))
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep_all(), name="webhook intake")
        return done

    async def _keep_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                trim = self._trimmable([arrival for arrival, _ in batch])
                kept = await self._deliveries.keep([arrival for arrival, _ in batch], trim)
            except BaseException as error:  # noqa: BLE001 - each of those who wait is told
                for _, done in batch:
                    if not done.done():
                        done.set_exception(error)
            else:
                for (_, done), each in zip(batch, kept, strict=True):
                    if not done.done():
                        done.set_result(each)
        self._keeper = None

    def _trimmable(self, arrivals: list[Arrival]) -> set[str]:
        self._since_trim.update(arrival.delivery.binding_id for arrival in arrivals)
        many = {binding_id for binding_id, count in self._since_trim.items() if count >= _TRIM_AFTER}
        for binding_id in many:
            del self._since_trim[binding_id]
        return many


def _deliveries(bound: Bound, headers: Headers, body: bytes) -> list[Arrival]:
    """What a request delivers."""
    binding = bound.binding
    events = events_in(
        binding.provider, event_name(binding.provider, headers), _document(binding.provider, headers, body)
    )
    digest, at = hashlib.sha256(body).hexdigest(), now()
    arrivals = []
    for number, event in enumerate(events):
        key = event.id or delivery_id(binding.provider, headers)
        body_alone_is_signed = binding.signed and not event.id and not id_is_signed(binding.provider, headers)
        if body_alone_is_signed and (key or binding.provider.of_code):
            same_body = SameBody.ALWAYS  # another id, or none, makes it no other one
        elif key is None:
            same_body = SameBody.WHILE_WAITING
        else:
            same_body = SameBody.NEVER
        delivery = HookDelivery(
            id=new_id(),
            binding_id=binding.id,
            workload_id=binding.workload_id,
            event=event,
            key=key or None,
            digest=f"{digest}:{number}",
            state=DeliveryState.WAITING,
            received_at=at,
        )
        arrivals.append(Arrival(delivery=judged(delivery, binding, bound.spec), same_body=same_body))
    return arrivals


def judged(delivery: HookDelivery, binding: Binding, spec: WorkloadSpec) -> HookDelivery:
    """A delivery as it stands when it comes in: it waits, or nothing follows from it."""
    found = decide(binding, spec, delivery.event)
    if not isinstance(found, Nothing):
        return delivery
    state = DeliveryState.PING if delivery.event.happening is Happening.PING else DeliveryState.IGNORED
    return replace(delivery, state=state, why=found.why, ended_at=delivery.received_at)


def _document(provider: Provider, headers: Headers, body: bytes) -> Document:
    if provider is Provider.GENERIC and not body.strip():
        return {}
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == _FORM and provider.of_code:  # GitHub's, Gitea's and Forgejo's other form
            body = parse_qs(body.decode(), max_num_fields=16)["payload"][0].encode()
        document = msgspec.json.decode(body)
    except (ValueError, KeyError, RecursionError) as error:
        raise malformed("its body is not JSON") from error
    if not isinstance(document, dict):
        raise malformed("its body is not a JSON object")
    return document


def _receipt(kept: Kept) -> Receipt:
    if kept.full:
        raise flood()
    if kept.delivery is None:
        raise _unknown()
    return Receipt(delivery=kept.delivery, duplicate=kept.duplicate)


def _unknown() -> NotFound:
    return NotFound(
        "webhook_unknown",
        "There is no webhook with this address.",
        next_step="Make one with `holdfast webhook create`; its address is shown once.",
    )


def flood() -> TooMany:
    """For what was not kept, since too much waits or comes in."""
    return TooMany(
        "webhook_flood",
        "More comes in through this webhook than it takes. This delivery was not kept.",
        next_step="Send it again later; what was answered as received is applied.",
    )


def _not_applied(delivery: HookDelivery) -> Refused:
    return Refused(
        [
            Problem(
                code="webhook_not_applied",
                message=f"Nothing follows from this delivery: {delivery.why}.",
                next_step="Ask for what the binding takes, or make another binding. Nothing was done.",
                details={"delivery_id": delivery.id},
            )
        ]
    )
