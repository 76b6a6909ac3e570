"""Before another version runs on the data, there is a snapshot of what the one before left; or there is no deploy."""

import dataclasses
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.services.deploy_bench import STATEFUL
from tests.unit.services.snapshot_bench import SnapshotBench, opened

from holdfast.domain.deployment import DeploymentState
from holdfast.domain.operation import OperationState
from holdfast.domain.snapshot import Consistency, SnapshotManifest, SnapshotReason
from holdfast.domain.workload import Scope, SnapshotPolicy, Strategy, Volume, Workload
from holdfast.runtime.port import ContainerState
from holdfast.testing.fake_runtime import Call

SHARED = (Volume(target="/data", scope=Scope.PROJECT, source="data"),)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[SnapshotBench]:
    async with opened(tmp_path) as bench:
        bench.runtime.add_image("notes:2")
        yield bench


async def snapshot_before(bench: SnapshotBench, workload: Workload) -> SnapshotManifest:
    """The snapshot that the newest deployment names."""
    snapshot_id = (await bench.newest(workload)).snapshot_id
    assert snapshot_id is not None
    return bench.store.manifest(snapshot_id)


async def test_it_holds_what_the_old_version_left_to_its_last_write_and_nothing_of_the_new_one(
    bench: SnapshotBench,
) -> None:
    workload = await bench.filled()
    data = bench.data_of(workload)
    assert (await bench.newest(workload)).snapshot_id is None
    assert not list(bench.store.manifests())

    async def write(call: Call) -> None:
        if call.name == "stop":
            (data / "last").write_text("written while it stopped")
        if call.name == "create":
            (data / "kept").unlink()

    bench.on_call = write
    operation = await bench.deploy(workload, "notes:2")
    assert operation.state is OperationState.SUCCEEDED, operation.error
    taken = await snapshot_before(bench, workload)
    assert operation.outcome["snapshot_id"] == taken.id
    assert (taken.reason, taken.consistency, taken.files) == (SnapshotReason.BEFORE_DEPLOY, Consistency.STOPPED, 2)
    assert (taken.image, taken.stopped_cleanly) == ("notes:1", True)
    steps = [step.name for step in operation.steps]
    assert steps.index("warming") < steps.index("stopping") < steps.index("capturing") < steps.index("creating")


async def test_without_it_nothing_new_runs_and_what_ran_comes_back(bench: SnapshotBench) -> None:
    workload = await bench.filled()
    (before,) = await bench.running(workload)
    lost = bench.own / "repository"

    async def lose(call: Call) -> None:
        if call.name == "stop" and lost.is_dir():
            shutil.rmtree(lost)
            lost.write_text("no directory any more")

    bench.on_call = lose
    operation = await bench.deploy(workload, "notes:2")
    assert operation.state is OperationState.FAILED
    assert (await bench.newest(workload)).state is DeploymentState.RETURNED
    assert [container.id for container in await bench.there(workload)] == [before.id]
    assert [container.id for container in await bench.running(workload)] == [before.id]


async def test_nobody_who_does_not_want_it_gets_it(bench: SnapshotBench) -> None:
    workload = await bench.filled(dataclasses.replace(STATEFUL, snapshots=SnapshotPolicy(before_deploy=False)))
    assert (await bench.deploy(workload, "notes:2")).state is OperationState.SUCCEEDED
    await bench.stop(workload)
    for container in await bench.there(workload):
        await bench.runtime.remove(container.id)
    assert (await bench.start(workload)).state is OperationState.SUCCEEDED
    assert not list(bench.store.manifests())


async def test_a_start_that_makes_the_same_version_again_takes_none(bench: SnapshotBench) -> None:
    workload = await bench.filled()
    await bench.stop(workload)
    for container in await bench.there(workload):
        await bench.runtime.remove(container.id)
    assert (await bench.start(workload)).state is OperationState.SUCCEEDED
    assert not list(bench.store.manifests())


async def test_who_shares_a_volume_is_held_while_it_is_taken(bench: SnapshotBench) -> None:
    workload = await bench.filled(dataclasses.replace(STATEFUL, volumes=SHARED))
    sharer = await bench.deployed(dataclasses.replace(STATEFUL, name="sharer", volumes=SHARED))
    seen: list[str | None] = []

    async def look(call: Call) -> None:
        if call.name == "pause":
            holder = bench.locks.holder(sharer.id)
            seen.append(None if holder is None else str(holder))

    bench.on_call = look
    operation = await bench.deploy(workload, "notes:2")
    assert operation.state is OperationState.SUCCEEDED, operation.error
    assert seen == [f"deploy {operation.id}"]
    assert (await snapshot_before(bench, workload)).consistency is Consistency.PAUSED
    (running,) = await bench.there(sharer)
    assert running.state is ContainerState.RUNNING
    assert not list((bench.own / "holds").iterdir())


async def test_a_deploy_waits_for_whoever_is_at_work_on_one_who_shares(bench: SnapshotBench) -> None:
    workload = await bench.filled(dataclasses.replace(STATEFUL, volumes=SHARED))
    sharer = await bench.deployed(dataclasses.replace(STATEFUL, name="sharer", volumes=SHARED))
    async with bench.locks.hold([sharer.id], "restore 01j"):
        operation = await bench.deployer.deploy(workload.id, image="notes:2", actor="ann")
        async for now in bench.operations.events(operation.id):
            if now.waiting_for:
                break
        assert now.waiting_for == "waiting for restore 01j"
    assert (await bench.ended(operation)).state is OperationState.SUCCEEDED


async def test_side_by_side_the_old_instance_is_held_and_let_go(bench: SnapshotBench) -> None:
    workload = await bench.filled(dataclasses.replace(STATEFUL, strategy=Strategy.BLUE_GREEN))
    assert (await bench.deploy(workload, "notes:2")).state is OperationState.SUCCEEDED
    assert (await snapshot_before(bench, workload)).consistency is Consistency.PAUSED
    assert [call.name for call in bench.calls("pause", "unpause", "create")][-3:] == ["pause", "unpause", "create"]


async def test_a_volume_that_is_left_behind_and_gone_keeps_nobody_from_deploying(bench: SnapshotBench) -> None:
    workload = await bench.filled()
    shutil.rmtree(bench.data_of(workload))
    elsewhere = dataclasses.replace(STATEFUL.volumes[0], source="elsewhere")
    await bench.workloads.update_spec(workload.id, dataclasses.replace(workload.spec, volumes=(elsewhere,)), "ann")
    operation = await bench.deploy(workload, "notes:2")
    assert operation.state is OperationState.SUCCEEDED, operation.error
    assert (await bench.newest(workload)).snapshot_id is None
    assert any("no snapshot of the data before this" in line.message for line in operation.log)
