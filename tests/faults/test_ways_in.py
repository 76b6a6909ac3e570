"""Every way in to another version waits while a restore is under way, and says for which; then each comes to its end.

One restore, of a volume that two workloads share: it holds both. A deploy of a preview waits for restores of the
preview, which is a workload of its own: ``test_previews.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.bootstrap import Holdfast, Seams
from holdfast.domain.deployment import DeployReason
from holdfast.domain.operation import Operation
from holdfast.domain.webhook import Binding, Provider
from holdfast.domain.workload import Scope, SourceWish, UpdatePolicy, Volume, Workload
from holdfast.services.scheduled_updates import ScheduledUpdates
from holdfast.testing.crash import QuickClock
from holdfast.testing.fake_records import Behaviour
from holdfast.testing.fake_runtime import Call, FakeRuntime
from holdfast.testing.installation import (
    IMAGE,
    deployed,
    installation,
    restore,
    snapshotted,
    spec_of,
    succeeded,
)
from holdfast.testing.plugins import install
from holdfast.testing.quick_workers import QuickWorkers

PLUGIN = Path(__file__).resolve().parents[1] / "plugins" / "holdfast-channel"
SHARED = Volume(target="/media", scope=Scope.PROJECT, source="media")
TRIED = "registry.example/notes:2"
INSTANCES = 2
"""How many the restore stops: those of both that share its volume."""
CHANGING = frozenset({"create", "start", "stop", "pause", "unpause", "remove", "set_restart_policy"})


@pytest.fixture
async def holdfast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Holdfast]:
    site = tmp_path / "site"
    site.mkdir()
    install(PLUGIN, site)
    monkeypatch.syspath_prepend(site)
    place = replace(installation(tmp_path), seams=Seams(workers=QuickWorkers, clock=QuickClock()))
    async with place.running() as holdfast:
        engine_of(holdfast).add_image("notes:2", Behaviour())
        yield holdfast


def engine_of(holdfast: Holdfast) -> FakeRuntime:
    assert isinstance(holdfast.runtime, FakeRuntime)
    return holdfast.runtime


class HeldRestore:
    """A restore that is under way until it is let go, and what anybody else had the engine change meanwhile."""

    def __init__(self, holdfast: Holdfast, workload: Workload, snapshot_id: str) -> None:
        self._holdfast, self._workload, self._snapshot_id = holdfast, workload, snapshot_id
        self._under_way, self._go = asyncio.Event(), asyncio.Event()
        self._own = 0
        self.changed: list[Call] = []

    async def begin(self) -> Operation:
        engine_of(self._holdfast)._on_call = self._see
        operation = await restore(self._holdfast, self._workload, self._snapshot_id)
        await self._under_way.wait()
        return operation

    def let_go(self) -> None:
        engine_of(self._holdfast)._on_call = None
        self._go.set()

    async def _see(self, call: Call) -> None:
        if call.name == "stop" and self._own < INSTANCES:
            self._own += 1
            self._under_way.set()
            await self._go.wait()
        elif call.name in CHANGING and self._under_way.is_set():
            self.changed.append(call)


async def delivered(holdfast: Holdfast, workload: Workload) -> Operation:
    """The operation that a webhook's delivery leads to."""
    wanted = Binding(id="", workload_id="", provider=Provider.GENERIC)
    binding, address = await holdfast.api.webhooks.create(workload.id, wanted, "", actor="test")

    async def body() -> bytes:
        return b'{"tag": "2"}'

    await holdfast.api.webhooks.receive(address.rpartition("/")[2], {}, body)
    async with asyncio.timeout(60):
        while True:
            (delivery,) = (await holdfast.api.webhooks.deliveries(workload.id, binding.id, 10, None)).items
            if delivery.operation_id is not None:
                return await holdfast.operations.get(delivery.operation_id)
            await asyncio.sleep(0.01)


async def updated(holdfast: Holdfast) -> Operation:
    """The operation that the schedule of updates begins."""
    (update,) = [work for work in holdfast.scheduler._work if isinstance(work, ScheduledUpdates)]
    (schedule,) = await update.schedules()
    return await update.start(schedule, actor="schedule", idempotency_key="due")


async def waits_for(holdfast: Holdfast, operation: Operation) -> str:
    async for seen in holdfast.operations.events(operation.id):
        if seen.waiting_for or seen.state.ended:
            return seen.waiting_for
    return ""


async def test_every_way_in_waits_for_a_restore_and_says_for_which(holdfast: Holdfast, tmp_path: Path) -> None:
    channel = tmp_path / "channel"
    channel.write_text(IMAGE)
    wish = SourceWish(type="channel", settings=(("file", str(channel)),))
    engine_of(holdfast).add_remote_image(TRIED)
    staging = await deployed(holdfast, spec_of("staging", image=TRIED, volumes=()))
    plugged = await deployed(holdfast, replace(spec_of("plugged", image="", volumes=(SHARED,)), plugin=wish))
    notes = await deployed(holdfast, replace(spec_of(), updates=UpdatePolicy(schedule="0 4 * * *")))
    (first,) = (await holdfast.api.deployer.deployments(notes.id, 10, None)).items
    (tried,) = (await holdfast.api.deployer.deployments(staging.id, 10, None)).items
    snapshot_id, other_id = await snapshotted(holdfast, notes), await snapshotted(holdfast, plugged)
    api = holdfast.api

    held = HeldRestore(holdfast, notes, snapshot_id)
    running = await held.begin()
    ways: dict[str, Operation] = {
        DeployReason.DEPLOY: await api.deployer.deploy(notes.id, image="notes:2", actor="ann"),
        DeployReason.ROLLBACK: await api.rollbacks.rollback(notes.id, first.id, actor="ann"),
        DeployReason.PROMOTE: await api.promotions.promote(staging.id, notes.id, tried.id, actor="ann"),
        DeployReason.WEBHOOK: await delivered(holdfast, notes),
        DeployReason.UPDATE: await updated(holdfast),
        DeployReason.START: await api.deployer.start(notes.id, actor="ann"),
        "a source of a plugin": await api.deployer.deploy(plugged.id, actor="ann"),
        DeployReason.RESTORE: await restore(holdfast, plugged, other_id),
    }
    waiting = {name: await waits_for(holdfast, way) for name, way in ways.items()}
    assert waiting == dict.fromkeys(ways, f"waiting for restore {running.id}")
    skipped = await holdfast.reconciler.look(notes.id)
    assert (skipped.skipped, held.changed) == ("a restore is unfinished", [])
    assert {*ways, DeployReason.PREVIEW, DeployReason.RECONCILE} >= set(DeployReason), "another way in has to wait, too"
    held.let_go()
    for operation in (running, *ways.values()):
        await succeeded(holdfast, operation)
