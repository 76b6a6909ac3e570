"""Previews: copies of a workload with data of their own, of which nothing is left, and the parent never touched."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from holdfast.bootstrap import Holdfast, Seams
from holdfast.domain.deployment import DeployReason
from holdfast.domain.environment import SecretRef
from holdfast.domain.errors import HoldfastError, NotFound
from holdfast.domain.ids import new_id
from holdfast.domain.operation import Operation, OperationKind, OperationState
from holdfast.domain.preview import Preview, PreviewCopy
from holdfast.domain.webhook import Binding, DeliveryState, HookAction, HookDelivery, Provider
from holdfast.domain.workload import (
    DesiredState,
    PreviewPolicy,
    PreviewSeed,
    Scope,
    Volume,
    WorkloadSpec,
)
from holdfast.engine.fs import Fs
from holdfast.runtime.port import LABEL_WORKLOAD
from holdfast.services.preview_expiry import AGAIN
from holdfast.services.previews import PreviewState, PreviewWish
from holdfast.store.workloads import WorkloadStore
from holdfast.testing.crash import QuickClock
from holdfast.testing.fake_records import Behaviour
from holdfast.testing.fake_runtime import Call, FakeRuntime
from holdfast.testing.installation import (
    Installation,
    deployed,
    ended,
    installation,
    restore,
    snapshotted,
    spec_of,
    succeeded,
)
from holdfast.testing.quick_workers import QuickWorkers
from holdfast.testing.trees import describe_tree

POLICY = PreviewPolicy(expires=3600.0, most=2)
LATEST = replace(POLICY, seed=PreviewSeed.LATEST)


@pytest.fixture
def place(tmp_path: Path) -> Installation:
    place = replace(installation(tmp_path), more={"max_previews": 3})
    (tmp_path / "engine").mkdir()
    engine = partial(FakeRuntime, state_file=tmp_path / "engine.json", root_dir=str(tmp_path / "engine"))
    seams = Seams(workers=QuickWorkers, clock=QuickClock())
    return replace(place, runtime=lambda _settings: engine(), seams=seams)


@pytest.fixture
async def holdfast(place: Installation) -> AsyncIterator[Holdfast]:
    async with place.running() as holdfast:
        yield holdfast


def engine_of(holdfast: Holdfast) -> FakeRuntime:
    assert isinstance(holdfast.runtime, FakeRuntime)
    return holdfast.runtime


def with_previews(policy: PreviewPolicy = POLICY, **fields: object) -> WorkloadSpec:
    return replace(spec_of(), previews=policy, **fields)  # type: ignore[arg-type]


def wish(key: str = "pr-17", **fields: object) -> PreviewWish:
    return PreviewWish(key=key, actor="test", **fields)  # type: ignore[arg-type]


async def made(holdfast: Holdfast, key: str = "pr-17", **fields: object) -> PreviewState:
    operation = await succeeded(holdfast, await holdfast.api.previews.begin("notes", wish(key, **fields)))
    assert operation.workload_id is not None
    return await holdfast.api.previews.get(operation.workload_id)


async def removal_of(holdfast: Holdfast, ref: str) -> Operation:
    return await holdfast.api.previews.end(ref, last_snapshot=None, actor="test", idempotency_key=None)


async def refused(holdfast: Holdfast, wanted: PreviewWish, ref: str = "notes") -> str:
    with pytest.raises(HoldfastError) as caught:
        await holdfast.api.previews.begin(ref, wanted)
    return caught.value.code


async def names(holdfast: Holdfast) -> list[str]:
    return sorted(workload.name for workload in (await holdfast.api.workloads.list(100, None)).items)


def mounted(holdfast: Holdfast, state: PreviewState) -> dict[str, Path]:
    """Container target → host path of what a preview's container has mounted."""
    containers = engine_of(holdfast).engine.state.containers.values()
    (container,) = [c for c in containers if c.spec.labels[LABEL_WORKLOAD] == state.workload.id]
    return {bind.target: Path(bind.source) for bind in container.spec.binds}


def parents(place: Installation) -> list[Path]:
    return [place.volumes / "notes/data", place.volumes / "@home/media", place.directory / "srv/shared"]


def holdfast_clock(place: Installation) -> QuickClock:
    assert isinstance(place.seams.clock, QuickClock)
    return place.seams.clock


async def parent_with_data(holdfast: Holdfast, place: Installation, policy: PreviewPolicy = POLICY) -> str:
    """A workload with volumes of its own, of its project and of the host, and a snapshot of them; its id."""
    volumes = (
        *spec_of().volumes,
        Volume(target="/shared", scope=Scope.ABSOLUTE, source=f"{place.directory}/srv/shared"),
    )
    (place.directory / "srv/shared").mkdir()
    workload = await deployed(holdfast, with_previews(policy, volumes=volumes))
    for directory in parents(place):
        (directory / "content").write_text("of then")
    snapshot_id = await snapshotted(holdfast, workload)
    for directory in parents(place):
        (directory / "content").write_text("of now")
    return snapshot_id


async def test_an_empty_preview_has_nothing_of_its_parents_and_leaves_nothing(
    holdfast: Holdfast, place: Installation
) -> None:
    await parent_with_data(holdfast, place)
    before = [describe_tree(directory) for directory in parents(place)]
    ran = {c.id: c.started for c in engine_of(holdfast).engine.state.containers.values()}
    state = await made(holdfast, "feature/x")
    assert state.workload.name.startswith("notes-feature-x-")
    own = place.volumes / state.workload.name
    paths = mounted(holdfast, state)
    assert paths.keys() == {"/data", "/media", "/shared"}
    assert all(path.is_relative_to(own) for path in paths.values())
    assert all(not any(path.iterdir()) for path in paths.values())
    (deployment,) = (await holdfast.api.deployer.deployments(state.workload.id, 10, None)).items
    assert deployment.reason is DeployReason.PREVIEW
    networks = set(engine_of(holdfast).engine.state.networks)
    assert any(network.endswith(state.workload.name) for network in networks), "on a network of its own"

    (paths["/data"] / "content").write_text("of the preview")
    end = await succeeded(holdfast, await removal_of(holdfast, state.workload.name))
    assert end.kind is OperationKind.DELETE
    assert await names(holdfast) == ["notes"]
    assert await holdfast.api.previews.list(None) == ()
    assert not own.exists() or not any(own.iterdir())
    assert [describe_tree(directory) for directory in parents(place)] == before
    assert {c.id: c.started for c in engine_of(holdfast).engine.state.containers.values()} == ran
    assert "snapshot_id" not in end.outcome


async def test_a_preview_begins_with_its_parents_newest_snapshot_and_is_captured_before_it_goes(
    holdfast: Holdfast, place: Installation
) -> None:
    snapshot_id = await parent_with_data(holdfast, place, LATEST)
    before = [describe_tree(directory) for directory in parents(place)]
    end = await ended(holdfast, await holdfast.api.previews.begin("notes", wish(image="notes:2")))
    assert end.state is OperationState.FAILED, "there is no such image"
    assert (await names(holdfast), await holdfast.api.previews.list(None)) == (["notes"], ())

    state = await made(holdfast, last_snapshot=True)
    assert state.preview.seed == snapshot_id
    data = mounted(holdfast, state)["/data"]
    for path in mounted(holdfast, state).values():
        assert (path / "content").read_text() == "of then"
    (data / "content").write_text("of the preview")
    engine_of(holdfast).add_image("notes:2", Behaviour())
    holdfast_clock(place).pass_by(600.0)
    updated = await made(holdfast, image="notes:2")
    assert (updated.workload.id, updated.workload.spec.image) == (state.workload.id, "notes:2")
    assert updated.preview.expires_at > state.preview.expires_at
    assert (data / "content").read_text() == "of the preview"
    assert await refused(holdfast, wish(seed="latest")) == "preview_exists"

    repository = place.settings.repository_dir
    repository.rename(repository.with_name("away"))
    repository.write_text("in the way")
    end = await ended(holdfast, await removal_of(holdfast, state.workload.name))
    assert end.state is OperationState.FAILED
    assert (data / "content").read_text() == "of the preview", "what could not be captured is not removed"
    repository.unlink()
    repository.with_name("away").rename(repository)

    end = await succeeded(holdfast, await removal_of(holdfast, state.workload.name))
    assert not data.exists()
    last = await holdfast.api.snapshots.anywhere(str(end.outcome["snapshot_id"]))
    assert (last.manifest.workload_name, last.manifest.consistency) == ("notes-pr-17", "stopped")
    again = await made(holdfast, seed="empty")
    assert again.workload.id == state.workload.id, "made again, it has the snapshots that it left"
    assert not any(data.iterdir())
    assert [describe_tree(directory) for directory in parents(place)] == before


async def test_there_are_no_more_previews_than_allowed_and_nothing_is_taken_over(
    holdfast: Holdfast, place: Installation
) -> None:
    for name in ("notes", "wiki"):
        await holdfast.api.workloads.apply(replace(with_previews(), name=name, project=name), actor="test")
    await holdfast.api.workloads.apply(spec_of("notes-pr-1"), actor="test")
    assert await refused(holdfast, wish("pr-1")) == "preview_name_taken"
    await holdfast.api.workloads.apply(replace(spec_of("db"), project="notes-qa", volumes=()), actor="test")
    assert await refused(holdfast, wish("qa")) == "preview_name_taken", "it would be on the network of that project"
    left = place.volumes / "notes-pr-2/volume-0"
    left.mkdir(parents=True)
    (left / "content").write_text("of somebody")
    assert await refused(holdfast, wish("pr-2")) == "preview_data_in_the_way"
    assert await refused(holdfast, wish("pr-3", seed="latest")) == "preview_without_snapshot"
    assert await refused(holdfast, wish("pr-3", image="not an image")) == "image_reference_malformed"
    with pytest.raises(NotFound):
        await removal_of(holdfast, "notes-pr-1")
    assert await names(holdfast) == ["db", "notes", "notes-pr-1", "wiki"]
    assert (left / "content").read_text() == "of somebody"

    first = await made(holdfast, "a")
    await made(holdfast, "b")
    assert await refused(holdfast, wish("c")) == "previews_too_many"
    assert (await made(holdfast, "a")).workload.id == first.workload.id, "an update makes no further one"
    await succeeded(holdfast, await holdfast.api.previews.begin("wiki", wish("a")))
    assert await refused(holdfast, wish("b"), "wiki") == "previews_too_many"
    assert await refused(holdfast, wish("b"), first.workload.name) == "preview_of_preview"
    assert len(await holdfast.api.previews.list("notes")) == 2
    doctor = await holdfast.api.doctor.findings()
    assert not [finding for finding in doctor if first.workload.name in finding.message], "it needs no schedule"


async def test_a_preview_that_nobody_updates_is_removed_and_tried_again_where_that_fails(
    holdfast: Holdfast, place: Installation
) -> None:
    await holdfast.api.workloads.apply(with_previews(), actor="test")
    state = await made(holdfast, "old")
    holdfast_clock(place).pass_by(3000.0)
    await made(holdfast, "new")
    await holdfast.preview_expiry.look()
    assert await names(holdfast) == ["notes", "notes-new", "notes-old"]
    holdfast_clock(place).pass_by(700.0)
    engine_of(holdfast).fail("remove")
    await holdfast.preview_expiry.look()
    first = (await holdfast.operations.list(1)).items[0]
    assert (await ended(holdfast, first)).state is OperationState.FAILED
    engine_of(holdfast).heal()
    await holdfast.preview_expiry.look()
    assert (await holdfast.operations.list(1)).items[0].id == first.id, "not tried again at once"
    holdfast_clock(place).pass_by(AGAIN.total_seconds())
    await succeeded(holdfast, await holdfast.api.previews.begin("notes", wish("new")))
    await holdfast.preview_expiry.look()
    removal = (await holdfast.operations.list(1)).items[0]
    assert (removal.kind, removal.actor, removal.workload_id) == (OperationKind.DELETE, "expiry", state.workload.id)
    await succeeded(holdfast, removal)
    assert await names(holdfast) == ["notes", "notes-new"]


async def test_updates_and_removals_wait_for_a_restore_and_say_so(holdfast: Holdfast) -> None:
    await holdfast.api.workloads.apply(with_previews(), actor="test")
    state = await made(holdfast)
    own = await snapshotted(holdfast, state.workload)
    running, go = await held_restore(holdfast, state, own)
    update = await holdfast.api.previews.begin("notes", wish())
    assert await waits_for(holdfast, update) == f"waiting for restore {running.id}"
    hook = await Hook.made(holdfast, Provider.GENERIC)
    delivery = await hook.begun(await hook.send({"preview": "pr-17"}))
    delivered = await holdfast.operations.get(str(delivery.operation_id))
    assert await waits_for(holdfast, delivered) == f"waiting for restore {running.id}"
    removal = await removal_of(holdfast, "notes-pr-17")
    assert await waits_for(holdfast, removal) == f"waiting for restore {running.id}"
    go.set()
    for operation in (running, update, delivered, removal):
        await succeeded(holdfast, operation)


async def held_restore(holdfast: Holdfast, state: PreviewState, snapshot_id: str) -> tuple[Operation, asyncio.Event]:
    """A restore that is under way until the event is set."""
    under_way, go = asyncio.Event(), asyncio.Event()

    async def hold(call: Call) -> None:
        if call.name == "stop" and not go.is_set():
            under_way.set()
            await go.wait()

    engine_of(holdfast)._on_call = hold
    running = await restore(holdfast, state.workload, snapshot_id)
    await under_way.wait()
    return running, go


async def test_a_preview_that_is_updated_while_its_removal_waits_stays(holdfast: Holdfast, place: Installation) -> None:
    await holdfast.api.workloads.apply(with_previews(), actor="test")
    state = await made(holdfast)
    running, go = await held_restore(holdfast, state, await snapshotted(holdfast, state.workload))
    holdfast_clock(place).pass_by(POLICY.expires + 1.0)
    await holdfast.preview_expiry.look()
    removal = (await holdfast.operations.list(1)).items[0]
    assert (removal.kind, removal.actor) == (OperationKind.DELETE, "expiry")
    update = await holdfast.api.previews.begin("notes", wish())
    go.set()
    for operation in (running, removal, update):
        await succeeded(holdfast, operation)
    assert await names(holdfast) == ["notes", "notes-pr-17"]


async def test_no_deployment_by_webhook_waits_for_a_preview(holdfast: Holdfast) -> None:
    await holdfast.api.workloads.apply(with_previews(), actor="test")
    state = await made(holdfast)
    running, go = await held_restore(holdfast, state, await snapshotted(holdfast, state.workload))
    previews = await Hook.made(holdfast, Provider.GENERIC)
    update = await previews.begun(await previews.send({"preview": "pr-17"}))
    deploys = await Hook.made(holdfast, Provider.GENERIC, action=HookAction.DEPLOY)
    await deploys.applied({})
    waiting = await holdfast.operations.get(str(update.operation_id))
    assert not waiting.state.ended
    go.set()
    for operation in (running, waiting):
        await succeeded(holdfast, operation)


async def test_a_removal_that_is_refused_is_not_tried_again_at_once(holdfast: Holdfast, place: Installation) -> None:
    await holdfast.api.workloads.apply(with_previews(), actor="test")
    data = mounted(holdfast, await made(holdfast))["/data"]
    data.rename(data.with_name("away"))
    data.mkdir()
    with capture_logs() as logs:
        holdfast_clock(place).pass_by(POLICY.expires + 1.0)
        for _ in range(3):
            await holdfast.preview_expiry.look()
    assert [entry["event"] for entry in logs].count("an expired preview stays") == 1
    data.rmdir()
    data.with_name("away").rename(data)
    holdfast_clock(place).pass_by(AGAIN.total_seconds())
    await holdfast.preview_expiry.look()
    await succeeded(holdfast, (await holdfast.operations.list(1)).items[0])
    assert await names(holdfast) == ["notes"]


class StuckDisk(Fs):
    """One that does not let go of the file ``stuck``."""

    stuck = True

    def unlinkat(self, dirfd: int, name: bytes) -> None:
        if self.stuck and name == b"stuck":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().unlinkat(dirfd, name)


async def test_a_removal_that_was_cut_off_goes_on_without_a_snapshot_of_what_is_left(place: Installation) -> None:
    disk = StuckDisk()
    seams = Seams(workers=partial(QuickWorkers, fs=disk), clock=QuickClock())
    async with replace(place, seams=seams).running() as holdfast:
        await holdfast.api.workloads.apply(with_previews(), actor="test")
        state = await made(holdfast, last_snapshot=True)
        data, media = mounted(holdfast, state).values()
        (media / "stuck").write_text("of the preview")
        end = await ended(holdfast, await removal_of(holdfast, "notes-pr-17"))
        assert "snapshot_id" in end.outcome
        assert (end.state, data.exists(), media.exists()) == (OperationState.FAILED, False, True)
        disk.stuck = False
        await succeeded(holdfast, await removal_of(holdfast, "notes-pr-17"))
        assert (await names(holdfast), media.exists()) == (["notes"], False)


async def waits_for(holdfast: Holdfast, operation: Operation) -> str:
    async for seen in holdfast.operations.events(operation.id):
        if seen.waiting_for or seen.state.ended:
            return seen.waiting_for
    return ""


async def cut_off(holdfast: Holdfast, seed: str = "") -> None:
    """Leave a preview of which nothing was made but its record."""
    parent = await holdfast.api.workloads.get("notes")
    spec = PreviewCopy.of(parent.spec, "pr-17").spec(parent.spec)
    preview = Preview(
        parent_id=parent.id,
        parent="notes",
        key="pr-17",
        seed=seed,
        expires=POLICY.expires,
        expires_at="2100-01-01T00:00:00.000000Z",
        last_snapshot=False,
        created_by="test",
    )
    workload = replace(parent, id=new_id(), spec=spec, desired=DesiredState.STOPPED)
    await WorkloadStore(holdfast.database).insert(workload, preview)


async def test_a_preview_whose_secrets_never_arrived_gets_them(holdfast: Holdfast) -> None:
    """As a server leaves it that dies between the record and the secrets."""
    await holdfast.api.workloads.apply(with_previews(secrets=(SecretRef(name="KEY"),)), actor="test")
    await holdfast.api.secrets.set("notes", "KEY", "of the parent", actor="test")
    await cut_off(holdfast)
    state = await made(holdfast)
    containers = engine_of(holdfast).engine.state.containers.values()
    assert [dict(c.spec.env)["KEY"] for c in containers if c.spec.labels[LABEL_WORKLOAD] == state.workload.id] == [
        "of the parent"
    ]


async def test_a_preview_whose_data_never_arrived_is_not_deployed_on_nothing(
    holdfast: Holdfast, place: Installation
) -> None:
    """As a server leaves it that dies between the record and the data."""
    snapshot_id = await parent_with_data(holdfast, place, LATEST)
    await cut_off(holdfast, seed=snapshot_id)
    engine_of(holdfast).add_image("notes:2", Behaviour())
    gone_on = await succeeded(holdfast, await holdfast.api.previews.begin("notes", wish(image="notes:2")))
    assert (gone_on.kind, gone_on.outcome["snapshot_id"]) == (OperationKind.CLONE, snapshot_id)
    again = await holdfast.api.previews.get("notes-pr-17")
    assert again.workload.spec.image == "notes:2"
    assert (mounted(holdfast, again)["/data"] / "content").read_text() == "of then"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A webhook that makes previews."""

    holdfast: Holdfast
    id: str
    address: str

    @classmethod
    async def made(cls, holdfast: Holdfast, provider: Provider, **fields: Any) -> Hook:
        wanted = Binding(id="", workload_id="", provider=provider, **({"action": HookAction.PREVIEW} | fields))
        binding, address = await holdfast.api.webhooks.create("notes", wanted, "", actor="test")
        return cls(holdfast=holdfast, id=binding.id, address=address.rpartition("/")[2])

    async def send(self, body: dict[str, Any]) -> HookDelivery:
        async def read() -> bytes:
            return json.dumps(body).encode()

        headers = {"x-github-event": "pull_request"}
        (receipt,) = await self.holdfast.api.webhooks.receive(self.address, headers, read)
        return receipt.delivery

    async def begun(self, delivery: HookDelivery) -> HookDelivery:
        """A delivery once it has an operation, or has ended without one."""
        async with asyncio.timeout(60):
            while True:
                page = await self.holdfast.api.webhooks.deliveries("notes", self.id, 200, None)
                (now_,) = [each for each in page.items if each.id == delivery.id]
                if now_.operation_id is not None or now_.state.ended:
                    return now_
                await asyncio.sleep(0.01)

    async def applied(self, body: dict[str, Any]) -> HookDelivery:
        delivery = await self.begun(await self.send(body))
        if delivery.operation_id is not None:
            await succeeded(self.holdfast, await self.holdfast.operations.get(delivery.operation_id))
        return delivery


async def test_a_pull_request_has_a_preview_until_it_is_closed(holdfast: Holdfast, place: Installation) -> None:
    await holdfast.api.workloads.apply(with_previews(), actor="test")
    for image in ("notes:pr-17-aaaaaaa", "notes:pr-17-bbbbbbb"):
        engine_of(holdfast).add_image(image, Behaviour())
    hook = await Hook.made(holdfast, Provider.GITHUB, image_tag="pr-{pull}-{short_sha}")
    repository = {"full_name": "home/notes"}

    def pull(action: str, sha: str, whose: object = repository) -> dict[str, Any]:
        request = {"head": {"ref": "x", "sha": sha * 40, "repo": whose}, "base": {"repo": repository}}
        return {"action": action, "number": 17, "pull_request": request, "repository": repository}

    fork = await hook.applied(pull("opened", "f", {"full_name": "mallory/notes"}))
    assert (fork.state, "another repository" in str(fork.why)) == (DeliveryState.IGNORED, True)
    assert await names(holdfast) == ["notes"]
    await hook.applied(pull("opened", "a"))
    first = await holdfast.api.previews.get("notes-pr-17")
    assert first.workload.spec.image.endswith("notes:pr-17-aaaaaaa")
    data = mounted(holdfast, first)["/data"]
    (data / "content").write_text("of the preview")
    await hook.applied(pull("synchronize", "b"))
    second = await holdfast.api.previews.get("notes-pr-17")
    assert (second.workload.id, second.workload.spec.image[-7:]) == (first.workload.id, "bbbbbbb")
    assert (data / "content").read_text() == "of the preview"
    (newest, *_) = (await holdfast.api.deployer.deployments(first.workload.id, 10, None)).items
    assert newest.reason is DeployReason.PREVIEW
    closed = await hook.applied(pull("closed", "b"))
    assert (await holdfast.operations.get(str(closed.operation_id))).actor == f"webhook {hook.id}"
    assert await names(holdfast) == ["notes"]
    assert not data.exists()
    again = await hook.applied(pull("closed", "c"))
    assert (again.operation_id, again.state, "no preview" in str(again.why)) == (None, DeliveryState.IGNORED, True)
