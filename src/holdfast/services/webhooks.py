"""Bindings and their deliveries, for people: make, list, forget; look at what came in, and have it applied again.

An address is shown once, when it is made; of it only a hash is kept. A secret is sealed and never shown.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

import structlog

from holdfast.domain.errors import Conflict, NotFound, Problem, Refused
from holdfast.domain.ids import new_id
from holdfast.domain.times import now
from holdfast.domain.webhook import Binding, DeliveryState, HookDelivery, settings_problem
from holdfast.domain.workload import Workload
from holdfast.engine.sealing import Sealing
from holdfast.services.paging import Page, check_page, make_page
from holdfast.services.webhook_intake import Intake, Receipt, Refusals, address_hash, flood, judged, secret_of
from holdfast.services.webhook_signatures import Headers
from holdfast.store.webhooks import Arrival, BindingStore, HookDeliveryStore, SameBody

MOST_BINDINGS: Final = 50
"""Bindings that a workload may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingState:
    """A binding, what it refused, and its newest delivery."""

    binding: Binding
    refused: Refusals
    last: HookDelivery | None


class Webhooks:
    """All bindings.

    Args:
        find: finds a workload by id or name; raises ``NotFound``.
        arrived: told the binding once a delivery of it that is to be applied is on disk.
    """

    def __init__(
        self,
        *,
        find: Callable[[str], Awaitable[Workload]],
        bindings: BindingStore,
        deliveries: HookDeliveryStore,
        sealing: Sealing,
        intake: Intake,
        arrived: Callable[[Binding], object],
    ) -> None:
        self._find = find
        self._bindings = bindings
        self._deliveries = deliveries
        self._sealing = sealing
        self._intake = intake
        self._arrived = arrived
        self._log = structlog.get_logger("webhooks")

    async def create(self, ref: str, wanted: Binding, secret: str, *, actor: str) -> tuple[Binding, str]:
        """Bind a new address to an action on a workload.

        Args:
            wanted: id, workload and times are made here; ``promote_from`` may be a name.
            secret: with which requests have to prove themselves; empty for none.

        Returns:
            The binding, and its address: the path of it, told this once.

        Raises:
            NotFound: ``workload_unknown``.
            Refused: ``webhook_settings_invalid``.
            Conflict: ``webhooks_too_many``.
        """
        workload = await self._find(ref)
        source = (await self._find(wanted.promote_from)).id if wanted.promote_from else ""
        binding = replace(
            wanted,
            id=new_id(),
            workload_id=workload.id,
            promote_from=source,
            signed=bool(secret),
            created_at=now(),
            created_by=actor,
        )
        problem = settings_problem(binding)
        if problem is not None:
            raise Refused([_invalid(problem)])
        if len(await self._bindings.of(workload.id)) >= MOST_BINDINGS:
            raise Conflict(
                "webhooks_too_many",
                f"{workload.name} has {MOST_BINDINGS} webhooks already.",
                next_step=f"Delete one that nobody uses: holdfast webhook list {workload.name}",
            )
        address = f"hfw_{secrets.token_urlsafe(32)}"
        sealed = await asyncio.to_thread(self._sealing.seal, secret_of(binding), secret.encode()) if secret else None
        await self._bindings.insert(binding, address_hash(address), sealed)
        self._log.info("webhook_created", binding_id=binding.id, workload=workload.name, actor=actor)
        return binding, f"/hooks/{address}"

    async def list(self, ref: str) -> tuple[BindingState, ...]:
        """All of a workload, newest first. Raises ``NotFound`` (``workload_unknown``)."""
        workload = await self._find(ref)
        return tuple([await self._state(binding) for binding in await self._bindings.of(workload.id)])

    async def get(self, ref: str, binding_id: str) -> BindingState:
        """One of them. Raises ``NotFound``: ``workload_unknown``, ``binding_unknown``."""
        return await self._state(await self._binding(ref, binding_id))

    async def delete(self, ref: str, binding_id: str, *, actor: str) -> None:
        """Forget one: its address leads nowhere from now on, and what waits is dropped.

        Raises:
            NotFound: as :meth:`get`.
        """
        binding = await self._binding(ref, binding_id)
        await self._bindings.delete(binding.id)
        self._intake.forget(binding.id)
        self._log.info("webhook_deleted", binding_id=binding.id, actor=actor)

    async def deliveries(self, ref: str, binding_id: str, limit: int, cursor: str | None) -> Page[HookDelivery]:
        """What came in, newest first.

        Raises:
            NotFound: as :meth:`get`.
            InvalidInput: ``limit_invalid`` or ``cursor_invalid``.
        """
        binding = await self._binding(ref, binding_id)
        check_page(limit, cursor)
        found = await self._deliveries.list(binding.id, limit=limit + 1, before=cursor)
        return make_page(found, limit, lambda delivery: delivery.id)

    async def replay(self, ref: str, binding_id: str, delivery_id: str, *, actor: str) -> HookDelivery:
        """Have a delivery applied once more, as a new one that is judged anew.

        Raises:
            NotFound: as :meth:`get`; ``delivery_unknown``.
            Conflict: ``delivery_not_over``.
            TooMany: ``webhook_flood``; nothing was kept.
        """
        binding = await self._binding(ref, binding_id)
        before = await self._deliveries.get(delivery_id)
        if before is None or before.binding_id != binding.id:
            raise NotFound(
                "delivery_unknown",
                f"There is no delivery {delivery_id}.",
                next_step="List a webhook's deliveries to see which there are.",
            )
        if not before.state.ended:
            raise Conflict(
                "delivery_not_over",
                "The delivery has not been applied yet.",
                next_step="Wait until it has ended.",
                details={"state": before.state.value},
            )
        again = HookDelivery(
            id=new_id(),
            binding_id=binding.id,
            workload_id=binding.workload_id,
            event=before.event,
            key=None,
            digest=before.digest,
            state=DeliveryState.WAITING,
            received_at=now(),
            replay_of=before.id,
            actor=actor,
        )
        delivery = judged(again, binding, (await self._find(binding.workload_id)).spec)
        (kept,) = await self._deliveries.keep([Arrival(delivery=delivery, same_body=SameBody.NEVER)])
        if kept.full:
            raise flood()
        if kept.delivery is None:  # forgotten meanwhile
            raise _binding_unknown(ref, binding_id)
        self._arrived(binding)
        return kept.delivery

    async def receive(
        self, address: str, headers: Headers, read: Callable[[], Awaitable[bytes]]
    ) -> tuple[Receipt, ...]:
        """See :meth:`Intake.receive`."""
        return await self._intake.receive(address, headers, read)

    async def _state(self, binding: Binding) -> BindingState:
        last = await self._deliveries.list(binding.id, limit=1)
        return BindingState(binding=binding, refused=self._intake.refusals(binding.id), last=last[0] if last else None)

    async def _binding(self, ref: str, binding_id: str) -> Binding:
        workload = await self._find(ref)
        for binding in await self._bindings.of(workload.id):
            if binding.id == binding_id:
                return binding
        raise _binding_unknown(workload.name, binding_id)


def _binding_unknown(workload: str, binding_id: str) -> NotFound:
    return NotFound(
        "binding_unknown",
        f"{workload} has no webhook {binding_id}.",
        next_step=f"See which there are: holdfast webhook list {workload}",
    )


def _invalid(why: str) -> Problem:
    return Problem(
        code="webhook_settings_invalid",
        message=f"There can't be such a webhook: {why}.",
        next_step="See docs/how-to/deploy-by-webhook.md for what each provider takes. Nothing was changed.",
    )
