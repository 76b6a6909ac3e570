"""Applying deliveries: of each workload one after the other, the oldest first, through the choke point of deployments.

- Those for its previews go one after the other likewise, beside the others: no deployment waits for a preview.
- Each is applied once, whatever dies: its operation carries its id as idempotency key, so that whoever takes it up
  again finds the operation. One that the server's death cut off is begun anew, a few times at most.
- While the container engine does not answer none is begun: it would fail for nothing that it asked for.
- Of those that wait, the ones that a newer one asks the same as are superseded by it.
- Nothing is polled while nothing waits: somebody tells that a delivery arrived, and each start looks once for what was
  left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias

import structlog

from holdfast.domain.deployment import DeployReason
from holdfast.domain.errors import HoldfastError
from holdfast.domain.operation import Operation, OperationKind, OperationState
from holdfast.domain.preview import Preview
from holdfast.domain.told import Told, told
from holdfast.domain.webhook import Binding, DeliveryState, Effect, HookAction, HookDelivery, Nothing
from holdfast.domain.webhook_effects import decide, pull_closed, superseded
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.deployer import Deployer, DeployIntent
from holdfast.services.operations import Operations
from holdfast.services.previews import PreviewWish
from holdfast.services.promotions import Promotions
from holdfast.store.operations import OperationStore
from holdfast.store.webhooks import BindingStore, HookDeliveryStore

ATTEMPTS: Final = 3
"""So often a delivery is begun whose operation the server's death cut off."""
LOOKED_AT: Final = 500
"""So many of a webhook's newest deliveries are looked at for whether a pull request was closed."""
GATHERING: Final = 1.0
"""Seconds from the end of one delivery of a workload to the next: in a flood, most of it comes to ask for the same."""
PAUSE: Final = 5.0
"""Seconds until what failed for want of a disk, or of an engine, is tried again."""


_DEFECT: Final = HoldfastError("internal_error", "Holdfast ran into a defect of its own; see the server's log.")

_Lane: TypeAlias = tuple[str, bool]
"""Deliveries that are applied one after the other: of a workload (by id), and whether those for its previews."""


class _Stopping(Exception):
    """The server stops: what is not done stays for the next one."""


class PreviewsPort(Protocol):
    """See :class:`holdfast.services.previews.Previews`."""

    async def begin(self, ref: str, wish: PreviewWish) -> Operation: ...

    async def of_key(self, parent_id: str, key: str) -> Preview | None: ...

    async def end(self, ref: str, *, actor: str, idempotency_key: str | None = None) -> Operation: ...


class WebhookWork:
    """Applies deliveries in the background.

    Args:
        engine: asks the container engine for something small, and raises ``Unavailable`` where it does not answer.
    """

    def __init__(
        self,
        *,
        bindings: BindingStore,
        deliveries: HookDeliveryStore,
        records: DeployRecords,
        deployer: Deployer,
        promotions: Promotions,
        previews: PreviewsPort,
        operations: Operations,
        operation_store: OperationStore,
        engine: Callable[[], Awaitable[object]],
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._bindings = bindings
        self._deliveries = deliveries
        self._records = records
        self._deployer = deployer
        self._promotions = promotions
        self._previews = previews
        self._operations = operations
        self._operation_store = operation_store
        self._engine = engine
        self._pause = pause
        self._started = False
        self._due: set[_Lane] = set()
        self._runners: dict[_Lane, asyncio.Task[None]] = {}
        self._log = structlog.get_logger("webhooks")

    async def start(self) -> None:
        """Begin, with what an earlier server left. Idempotent. Until then what arrives waits."""
        if self._started:
            return
        left = await self._deliveries.workloads_with_open()
        self._started = True
        for workload_id in left:
            self._look_at((workload_id, False))
            self._look_at((workload_id, True))

    def arrived(self, binding: Binding) -> None:
        """A delivery of a binding is on disk."""
        if self._started:
            self._look_at((binding.workload_id, binding.action is HookAction.PREVIEW))

    async def close(self) -> None:
        """Stop. Operations that were begun go on; what waits, waits for the next start."""
        self._started = False
        runners = tuple(self._runners.values())
        for runner in runners:
            runner.cancel()
        await asyncio.gather(*runners, return_exceptions=True)

    def _look_at(self, lane: _Lane) -> None:
        self._due.add(lane)
        if lane not in self._runners:
            self._runners[lane] = asyncio.create_task(self._run(lane), name=f"webhooks {lane[0]}")

    async def _run(self, lane: _Lane) -> None:
        try:
            while lane in self._due:
                self._due.discard(lane)
                try:
                    while await self._one(lane):
                        await self._pause(GATHERING)
                except _Stopping:
                    return
                except HoldfastError as error:
                    self._log.warning("deliveries wait", workload_id=lane[0], code=error.code, reason=error.message)
                    await self._pause(PAUSE)
                    self._due.add(lane)
        finally:
            del self._runners[lane]

    async def _one(self, lane: _Lane) -> bool:
        """Apply the oldest delivery of a lane. Returns whether there was one."""
        workload_id, previews = lane
        waiting = await self._deliveries.open(workload_id)
        bindings = {
            binding.id: binding
            for binding in (await self._bindings.of(workload_id) if waiting else ())
            if (binding.action is HookAction.PREVIEW) is previews
        }
        waiting = tuple(each for each in waiting if each.binding_id in bindings)
        if not waiting:
            return False
        await self._engine()
        workload = await self._records.workload(workload_id)
        decided = [
            (each, bindings[each.binding_id], decide(bindings[each.binding_id], workload.spec, each.event))
            for each in waiting
        ]
        newer = superseded(
            (each.id, effect)
            for each, _, effect in decided
            if isinstance(effect, Effect) and each.state is DeliveryState.WAITING
        )
        for by in set(newer.values()):
            older = [delivery_id for delivery_id, newest in newer.items() if newest == by]
            why = told("hook_superseded", "the delivery {delivery} asks for the same", delivery=by)
            await self._deliveries.end(older, DeliveryState.SUPERSEDED, why)
        for delivery, binding, effect in decided:
            if delivery.id not in newer:
                await self._apply(delivery, binding, effect)
                return True
        return True

    async def _apply(self, delivery: HookDelivery, binding: Binding, effect: Effect | Nothing) -> None:
        state, why = DeliveryState.FAILED, None
        try:
            operation = await self._carried_out(delivery, binding, effect)
        except HoldfastError as error:
            if error.code == "draining":
                raise _Stopping from error
            if not _is_of_the_wish(error):
                raise
            why = Told.of(error)
        except Exception:  # noqa: BLE001 - a defect met once must not hold up all that waits behind it
            self._log.exception("delivery_failed_unforeseen", delivery_id=delivery.id)
            why = Told.of(_DEFECT)
        else:
            if isinstance(operation, Nothing):
                state, why = DeliveryState.IGNORED, operation.why
            elif operation.state is OperationState.SUCCEEDED:
                state = DeliveryState.SUCCEEDED
            else:
                failed = operation.error or {}
                why = Told(str(failed.get("message", "")), code=str(failed.get("code", operation.state)))
        await self._deliveries.end([delivery.id], state, why)

    async def _carried_out(
        self, delivery: HookDelivery, binding: Binding, effect: Effect | Nothing
    ) -> Operation | Nothing:
        """The operation of a delivery, once it has ended; or why there is nothing to be done and nothing was."""
        operation: Operation | None = None
        for attempt in range(ATTEMPTS):
            key = f"{delivery.id}.{attempt}"
            known = await self._operation_store.find_by_key(binding.actor, key)
            if known is None:
                begun = effect if isinstance(effect, Nothing) else await self._begin(delivery, binding, effect, key)
                if isinstance(begun, Nothing):
                    return operation if operation is not None and isinstance(effect, Nothing) else begun
                known = begun
            elif known.state is OperationState.INTERRUPTED:
                operation = known
                continue
            await self._deliveries.began(delivery.id, known.id)
            operation = await self._operations.wait(known.id)
            if not operation.state.ended:
                raise _Stopping
            if operation.state is not OperationState.INTERRUPTED:
                break
        assert operation is not None  # each attempt has one, or ends it
        return operation

    async def _begin(self, delivery: HookDelivery, binding: Binding, effect: Effect, key: str) -> Operation | Nothing:
        why = told(
            "hook_asks",
            "asked for by the webhook {webhook} ({provider}: {event})",
            webhook=binding.id,
            provider=binding.provider.value,
            event=delivery.event.told,
        )
        if effect.preview is not None and effect.closed:
            preview = await self._previews.of_key(binding.workload_id, effect.preview)
            if preview is None:
                return Nothing(told("hook_no_preview", "there is no preview for {preview}", preview=effect.preview))
            return await self._previews.end(preview.workload_id, actor=binding.actor, idempotency_key=key)
        if effect.preview is not None:
            if await self._comes_late(delivery, effect.preview):
                return Nothing(
                    told(
                        "hook_pull_closed",
                        "the pull request of {preview} was closed before, and not opened again since",
                        preview=effect.preview,
                    )
                )
            wish = PreviewWish(
                key=effect.preview, image=effect.image, why=why, actor=binding.actor, idempotency_key=key
            )
            return await self._previews.begin(binding.workload_id, wish)
        if effect.promote_from is not None:
            plan = await self._promotions.plan(effect.promote_from, binding.workload_id)
            return await self._promotions.promote(
                effect.promote_from,
                binding.workload_id,
                plan.deployment.id,
                actor=binding.actor,
                idempotency_key=key,
            )
        intent = DeployIntent(
            reason=DeployReason.WEBHOOK,
            image=effect.image,
            note=why,
        )
        return await self._deployer.begin(
            OperationKind.DEPLOY, binding.workload_id, intent, actor=binding.actor, idempotency_key=key
        )

    async def _comes_late(self, delivery: HookDelivery, preview: str) -> bool:
        """Whether it would make a preview anew of a pull request that is closed: a push, or a build that took its time.

        What opens a pull request, and a person who replays a delivery, always make one.
        """
        if delivery.event.opens or delivery.replay_of is not None:
            return False
        if await self._previews.of_key(delivery.workload_id, preview) is not None:
            return False
        spec = (await self._records.workload(delivery.workload_id)).spec
        known: list[tuple[str, bool]] = []
        for binding in await self._bindings.of(delivery.workload_id):
            if binding.action is HookAction.PREVIEW:
                for each in await self._deliveries.list(binding.id, limit=LOOKED_AT, before=delivery.id):
                    closed = pull_closed(preview, binding, spec, each.event)
                    if closed is not None:
                        known.append((each.id, closed))
        return max(known, default=("", False))[1]


def _is_of_the_wish(error: HoldfastError) -> bool:
    """Whether what is wrong is about what was asked for, so that trying again at once would not help."""
    return not error.code.startswith(("database_", "state_"))
