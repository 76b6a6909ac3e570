"""After a restart, or an edit by hand: what differs is told, and only what Holdfast owns is mended."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.services.deploy_bench import CRASHING, STATEFUL, STATELESS, Bench, opened

from holdfast.domain.deployment import DeploymentState, DeployReason
from holdfast.domain.errors import Unavailable
from holdfast.domain.operation import OperationState
from holdfast.domain.workload import DesiredState, RestartPolicy, Workload, WorkloadSpec
from holdfast.runtime.port import LABEL_INSTALLATION, LABEL_WORKLOAD, ContainerSpec
from holdfast.services.reconcile import Reconciled
from holdfast.testing.fake_records import Behaviour
from holdfast.testing.fake_runtime import Call


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened(tmp_path) as bench:
        yield bench


async def reconciled(bench: Bench) -> Reconciled | None:
    """What reconciliation says of the one workload, once all that it started has ended."""
    found = await bench.reconciler.run()
    for each in found:
        if each.operation_id is not None:
            await bench.ended(await bench.operations.get(each.operation_id))
    assert len(found) <= 1
    return found[0] if found else None


def codes(found: Reconciled | None) -> list[str]:
    return [] if found is None else [difference.code for difference in found.differences]


async def interrupted(bench: Bench, workload: Workload, at: str, image: str = "notes:2") -> None:
    """A deployment that the server's death cuts off at a call of the engine."""
    reached = asyncio.Event()

    async def stall(call: Call) -> None:
        if call.name == at:
            reached.set()
            await asyncio.Event().wait()

    bench.on_call = stall
    bench.runtime.add_image(image)
    operation = await bench.deployer.deploy(workload.id, image=image, actor="ann")
    async with asyncio.timeout(10):
        await reached.wait()
    bench.on_call = None
    await bench.operations.close(0)
    assert (await bench.newest(workload)).state is DeploymentState.RUNNING
    assert (await bench.operations.get(operation.id)).state is OperationState.RUNNING


async def test_nothing_is_said_and_done_when_nothing_differs(bench: Bench) -> None:
    await bench.deployed()
    bench.runtime.calls.clear()
    assert await bench.reconciler.run() == ()
    assert {call.name for call in bench.runtime.calls} == {"containers"}


async def test_a_removed_instance_is_deployed_again_at_the_version_that_was_deployed(bench: Bench) -> None:
    workload = await bench.deployed()
    (before,) = await bench.there(workload)
    await bench.runtime.remove(before.id, force=True)
    bench.runtime.add_image("notes:1", version="the tag moved on")
    assert codes(await reconciled(bench)) == ["instance_missing"]
    (after,) = await bench.running(workload)
    assert after.image_id == before.image_id
    newest = await bench.newest(workload)
    assert (newest.reason, newest.state) == (DeployReason.RECONCILE, DeploymentState.SUCCEEDED)
    assert await bench.reconciler.run() == ()


async def test_deploying_again_that_failed_is_not_tried_for_ever(bench: Bench) -> None:
    workload = await bench.deployed()
    (before,) = await bench.there(workload)
    await bench.runtime.remove(before.id, force=True)
    bench.runtime.engine.state.images[before.image_id].behaviour = CRASHING
    first = await reconciled(bench)
    assert first is not None
    assert first.operation_id is not None
    second = await reconciled(bench)
    assert codes(second) == ["instance_missing"]
    assert second is not None
    assert second.operation_id is None


async def test_a_missing_instance_is_not_started_on_a_missing_volume(bench: Bench) -> None:
    workload = await bench.deployed()
    (before,) = await bench.there(workload)
    await bench.runtime.remove(before.id, force=True)
    (bench.base / "notes" / "data").rmdir()
    found = await reconciled(bench)
    assert found is not None
    assert found.operation_id is not None
    operation = await bench.operations.get(found.operation_id)
    assert operation.error is not None
    assert operation.error["code"] == "volume_missing"
    assert await bench.there(workload) == ()
    assert not (bench.base / "notes" / "data").exists()


async def test_an_instance_that_somebody_stopped_is_only_told(bench: Bench) -> None:
    workload = await bench.deployed()
    (instance,) = await bench.there(workload)
    await bench.runtime.stop(instance.id, 1.0)
    assert codes(await reconciled(bench)) == ["instance_stopped"]
    assert await bench.running(workload) == ()


async def test_an_instance_that_somebody_started_is_only_told(bench: Bench) -> None:
    workload = await bench.deployed()
    await bench.stop(workload)
    (instance,) = await bench.there(workload)
    await bench.runtime.start(instance.id)
    assert codes(await reconciled(bench)) == ["instance_started"]
    assert len(await bench.running(workload)) == 1


async def test_a_forgotten_policy_is_set_and_a_leftover_removed(bench: Bench) -> None:
    workload = await bench.deployed()
    bench.runtime.add_image("notes:2")
    bench.runtime.fail("remove")
    await bench.deploy(workload, "notes:2")
    bench.runtime.heal()
    (instance,) = await bench.running(workload)
    await bench.runtime.set_restart_policy(instance.id, RestartPolicy.NO)
    assert sorted(codes(await reconciled(bench))) == ["instance_left_over", "restart_policy_differs"]
    (left,) = await bench.there(workload)
    assert (left.id, left.restart) == (instance.id, RestartPolicy.UNLESS_STOPPED)


async def test_containers_of_others_are_neither_told_nor_touched(bench: Bench) -> None:
    workload = await bench.deployed()
    image = bench.runtime.add_image("stranger:1")
    labels = {LABEL_WORKLOAD: workload.id, LABEL_INSTALLATION: "another"}
    stranger = await bench.runtime.create(ContainerSpec(name="stranger", image=image.id, labels=labels))
    assert await bench.reconciler.run() == ()
    assert (await bench.runtime.inspect(stranger)).name == "stranger"


async def test_containers_of_a_workload_that_is_gone_are_only_told(bench: Bench) -> None:
    workload = await bench.deployed()
    await bench.workloads.delete(workload.id)
    assert codes(await reconciled(bench)) == ["workload_gone"]
    assert len(await bench.running(workload)) == 1


async def test_a_workload_with_an_unfinished_restore_is_left_to_it(bench: Bench) -> None:
    workload = await bench.deployed()
    (instance,) = await bench.there(workload)
    await bench.runtime.remove(instance.id, force=True)
    bench.undecided.add(workload.id)
    found = await reconciled(bench)
    assert found is not None
    assert found.skipped
    assert await bench.there(workload) == ()


async def test_a_workload_that_somebody_works_on_is_left_alone(bench: Bench) -> None:
    workload = await bench.deployed()
    (instance,) = await bench.there(workload)
    await bench.runtime.remove(instance.id, force=True)
    async with bench.locks.hold([workload.id], "restore 01j"):
        found = await reconciled(bench)
    assert found is not None
    assert "restore 01j" in found.skipped


async def test_somebody_who_was_faster_is_not_undone(bench: Bench) -> None:
    workload = await bench.deployed()
    (instance,) = await bench.there(workload)
    await bench.runtime.remove(instance.id, force=True)
    bench.runtime.add_image("notes:2")
    faster = await bench.deployer.deploy("notes", image="notes:2", actor="ann")
    found = await bench.reconciler.run()
    await bench.ended(faster)
    for each in found:
        if each.operation_id is not None:
            assert (await bench.ended(await bench.operations.get(each.operation_id))).outcome == {
                "result": "already_there"
            }
    assert (await bench.newest(workload)).spec.image == "notes:2"


async def test_an_engine_that_does_not_answer_is_told(bench: Bench) -> None:
    await bench.deployed()
    bench.runtime.fail("containers")
    with pytest.raises(Unavailable):
        await bench.reconciler.run()


# --- deployments that were cut off -------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["stop", "create", "start"])
@pytest.mark.parametrize("spec", [STATEFUL, STATELESS], ids=["recreate", "blue_green"])
async def test_a_deployment_that_was_cut_off_is_taken_back(tmp_path: Path, spec: WorkloadSpec, at: str) -> None:
    async with opened(tmp_path) as before:
        workload = await before.deployed(dataclasses.replace(spec, restart=RestartPolicy.ALWAYS))
        (instance,) = await before.running(workload)
        await interrupted(before, workload, at)
        async with opened(tmp_path, before.runtime) as after:
            await after.operations.recover_unfinished()
            found = await reconciled(after)
            assert found is not None
            newest = await after.newest(workload)
            assert found.taken_back == (newest.id,)
            assert newest.state is DeploymentState.INTERRUPTED
            assert newest.error is not None
            assert newest.error["code"] == "deploy_interrupted"
            (left,) = await after.there(workload)
            assert (left.id, left.running, left.restart) == (instance.id, True, RestartPolicy.ALWAYS)
            assert (await after.reload(workload)).spec.image == "notes:1"
            assert await reconciled(after) is None


async def test_a_first_deployment_that_was_cut_off_leaves_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as before:
        workload = await before.add()
        await interrupted(before, workload, "start", "notes:1")
        async with opened(tmp_path, before.runtime) as after:
            await after.reconciler.run()
            assert await after.there(workload) == ()
            assert (await after.newest(workload)).state is DeploymentState.INTERRUPTED
            assert (await after.reload(workload)).desired is DesiredState.STOPPED


async def test_a_cut_off_deployment_of_a_stopped_workload_starts_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as before:
        workload = await before.deployed()
        await before.stop(workload)
        await interrupted(before, workload, "start")
        async with opened(tmp_path, before.runtime) as after:
            await after.reconciler.run()
            assert await after.running(workload) == ()


async def test_a_cut_off_deployment_whose_restore_is_unfinished_is_left_to_the_restore(tmp_path: Path) -> None:
    async with opened(tmp_path) as before:
        workload = await before.deployed()
        await interrupted(before, workload, "start")
        async with opened(tmp_path, before.runtime) as after:
            after.undecided.add(workload.id)
            await after.reconciler.run()
            assert await after.running(workload) == ()
            assert (await after.newest(workload)).state is DeploymentState.RUNNING


async def test_what_ran_before_and_can_t_come_back_is_said(tmp_path: Path) -> None:
    async with opened(tmp_path) as before:
        workload = await before.deployed(behaviour=Behaviour(writes={"/data/db": "rows"}))
        await interrupted(before, workload, "start")
        (before.base / "notes" / "data" / "db").unlink()
        async with opened(tmp_path, before.runtime) as after:
            await after.reconciler.run()
            newest = await after.newest(workload)
            assert newest.error is not None
            assert "could not be brought back" in newest.error["message"]
            assert await after.running(workload) == ()


async def test_a_deployment_that_comes_before_reconciliation_takes_the_cut_off_one_back_first(tmp_path: Path) -> None:
    async with opened(tmp_path) as before:
        workload = await before.deployed()
        (instance,) = await before.running(workload)
        await interrupted(before, workload, "start")
        async with opened(tmp_path, before.runtime) as after:
            after.runtime.add_image("notes:3", CRASHING)
            await after.deploy(workload, "notes:3")
            assert [container.id for container in await after.running(workload)] == [instance.id]
            states = [deployment.state for deployment in await after.deployments.list(workload.id)]
            assert states == [DeploymentState.RETURNED, DeploymentState.INTERRUPTED, DeploymentState.SUCCEEDED]


async def test_without_an_engine_a_cut_off_deployment_waits_for_the_next_time(tmp_path: Path) -> None:
    async with opened(tmp_path) as before:
        workload = await before.deployed()
        await interrupted(before, workload, "start")
        async with opened(tmp_path, before.runtime) as after:
            after.runtime.fail("start")
            await after.reconciler.run()
            assert (await after.newest(workload)).state is DeploymentState.RUNNING
            after.runtime.heal()
            await after.reconciler.run()
            assert (await after.newest(workload)).state is DeploymentState.INTERRUPTED
            assert len(await after.running(workload)) == 1
