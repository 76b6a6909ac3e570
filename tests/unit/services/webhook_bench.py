"""Webhooks on the deployer's bench: real database, operations and locks; the engine is the fake one."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from tests.unit.services.deploy_bench import STATELESS, Bench, opened

from holdfast.domain.webhook import Binding, DeliveryState, HookDelivery, Provider
from holdfast.domain.workload import Workload
from holdfast.engine.fs import Fs
from holdfast.engine.sealing import Sealing
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.webhook_intake import MOST_WAITING, Intake, Receipt
from holdfast.services.webhook_work import PreviewsPort, WebhookWork
from holdfast.services.webhooks import Webhooks
from holdfast.store.operations import OperationStore
from holdfast.store.webhooks import BindingStore, Bound, HookDeliveryStore

SECRET = "0123456789abcdef"
BURST, KEPT, KEPT_IGNORED = 40, 5, 3
"""Small bounds, where a test reaches them."""


def signed(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class CountedBindings(BindingStore):
    """Counts how often one was looked up by its address."""

    reads = 0

    async def at(self, address_hash: str) -> Bound | None:
        self.reads += 1
        return await super().at(address_hash)


class Hooks:
    """One server's webhooks.

    Attributes:
        addresses: by binding id.
    """

    def __init__(self, bench: Bench, path: Path, *, most_waiting: int = MOST_WAITING) -> None:
        self.bench = bench
        self.bindings = CountedBindings(bench.database)
        self.deliveries = HookDeliveryStore(
            bench.database, most_waiting=most_waiting, kept=KEPT, kept_ignored=KEPT_IGNORED
        )
        self.sealing = Sealing(Fs(), path / "keys")
        self.work = WebhookWork(
            bindings=self.bindings,
            deliveries=self.deliveries,
            records=DeployRecords(bench.deployments, bench.workloads, bench.images),
            deployer=bench.deployer,
            promotions=bench.promotions,
            previews=cast("PreviewsPort", None),  # previews have tests of their own, on a whole server
            operations=bench.operations,
            operation_store=OperationStore(bench.database),
            engine=bench.runtime.info,
            pause=lambda _seconds: asyncio.sleep(0),
        )
        self.intake = Intake(
            bindings=self.bindings,
            deliveries=self.deliveries,
            sealing=self.sealing,
            clock=bench.clock,
            arrived=self.work.arrived,
            burst=BURST,
        )
        self.webhooks = Webhooks(
            find=DeployRecords(bench.deployments, bench.workloads, bench.images).workload,
            bindings=self.bindings,
            deliveries=self.deliveries,
            sealing=self.sealing,
            intake=self.intake,
            arrived=self.work.arrived,
        )
        self.addresses: dict[str, str] = {}

    async def bind(
        self, workload: Workload, provider: Provider = Provider.GENERIC, *, secret: str = "", **fields: Any
    ) -> Binding:
        wanted = Binding(id="", workload_id="", provider=provider, **fields)
        binding, address = await self.webhooks.create(workload.id, wanted, secret, actor="ann")
        self.addresses[binding.id] = address.rpartition("/")[2]
        return binding

    async def send(
        self, binding: Binding, body: bytes | Mapping[str, Any] = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[Receipt, ...]:
        """Deliver, as the provider does."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()

        async def read() -> bytes:
            return content

        return await self.webhooks.receive(self.addresses[binding.id], dict(headers or {}), read)

    async def one(self, binding: Binding, body: bytes | Mapping[str, Any] = b"", **headers: str) -> HookDelivery:
        """Deliver what is one delivery; header names with ``_`` for ``-``."""
        (receipt,) = await self.send(binding, body, {name.replace("_", "-"): value for name, value in headers.items()})
        return receipt.delivery

    async def settled(self, binding: Binding) -> list[HookDelivery]:
        """All deliveries of a binding once they have ended, oldest first."""
        async with asyncio.timeout(30):
            while True:
                found = await self.deliveries.list(binding.id, limit=1000)
                if all(each.state.ended for each in found):
                    return list(reversed(found))
                await asyncio.sleep(0.01)

    async def ended(self, binding: Binding) -> list[DeliveryState]:
        return [each.state for each in await self.settled(binding)]


@asynccontextmanager
async def hooked(path: Path, *, most_waiting: int = MOST_WAITING) -> AsyncIterator[tuple[Hooks, Workload]]:
    """Webhooks at work, and a workload that runs."""
    async with opened(path) as bench:
        hooks = Hooks(bench, path, most_waiting=most_waiting)
        workload = await bench.deployed(STATELESS)
        await hooks.work.start()
        try:
            yield hooks, workload
        finally:
            await hooks.work.close()
