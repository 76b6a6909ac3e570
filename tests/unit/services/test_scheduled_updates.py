"""Updates by a schedule: a tag that was moved on is deployed, and nothing else happens unasked."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.services.deploy_bench import CRASHING, STATEFUL, Bench, opened

from holdfast.domain.deployment import DeploymentState, DeployReason
from holdfast.domain.ids import new_id
from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.registry import RegistryLogin
from holdfast.domain.workload import UpdatePolicy, Workload
from holdfast.services.scheduled_updates import ScheduledUpdates

TAG = "registry.example/home/notes:1"
SPEC = dataclasses.replace(STATEFUL, image=TAG, updates=UpdatePolicy(schedule="0 4 * * *"))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened(tmp_path) as bench:
        yield bench


def updates_of(bench: Bench) -> ScheduledUpdates:
    return ScheduledUpdates(
        settings=bench.settings,
        workloads=bench.workloads,
        records=bench.records,
        deployer=bench.deployer,
        operations=bench.operations,
        locks=bench.locks,
    )


async def running(bench: Bench) -> Workload:
    """A workload that runs what its tag meant in the registry."""
    bench.runtime.add_remote_image(TAG)
    workload = await bench.add(SPEC)
    assert (await bench.deploy(workload)).state is OperationState.SUCCEEDED
    return await bench.reload(workload)


async def updated(bench: Bench) -> Operation:
    """A run of the one schedule that there is."""
    updates = updates_of(bench)
    (schedule,) = await updates.schedules()
    return await bench.ended(await updates.start(schedule, actor="schedule", idempotency_key=new_id()))


async def left_alone(bench: Bench, workload: Workload) -> str:
    """Why a run leaves everything as it is, which it does."""
    before, history = await bench.there(workload), await bench.deployments.list(workload.id)
    operation = await updated(bench)
    assert (operation.state, operation.outcome["result"]) == (OperationState.SUCCEEDED, "left_alone")
    assert (await bench.there(workload), await bench.deployments.list(workload.id)) == (before, history)
    return str(operation.outcome["why"])


async def test_a_tag_that_was_moved_on_is_deployed_and_one_that_was_not_is_not(bench: Bench) -> None:
    workload = await running(bench)
    bench.runtime.calls.clear()
    assert (await updated(bench)).outcome == {"result": "already_there"}
    assert {call.name for call in bench.runtime.calls} <= {"image", "pull"}
    digest = bench.runtime.add_remote_image(TAG, version="newer")
    operation = await updated(bench)
    assert (operation.outcome["result"], operation.outcome["digest"]) == ("deployed", digest)
    newest = await bench.newest(workload)
    assert (newest.reason, newest.state) == (DeployReason.UPDATE, DeploymentState.SUCCEEDED)
    (instance,) = await bench.running(workload)
    assert instance.image_id == newest.image_id


async def test_what_runs_is_not_replaced_by_the_same_though_it_is_not_healthy(bench: Bench) -> None:
    workload = await running(bench)
    (instance,) = await bench.running(workload)
    await bench.runtime.stop(instance.id, 1.0)
    assert (await updated(bench)).outcome == {"result": "already_there"}
    assert await bench.running(workload) == ()


async def test_an_image_that_failed_is_tried_once_and_the_next_one_again(bench: Bench) -> None:
    workload = await running(bench)
    (before,) = await bench.running(workload)
    bench.runtime.add_remote_image(TAG, CRASHING, version="bad")
    operation = await updated(bench)
    assert (operation.state, (await bench.newest(workload)).state) == (OperationState.FAILED, DeploymentState.RETURNED)
    assert [each.id for each in await bench.running(workload)] == [before.id]
    there, failed = await bench.there(workload), await bench.newest(workload)
    again = await updated(bench)
    assert again.error is not None
    assert (again.error["code"], again.error["details"]) == ("update_failed_before", {"deployment_id": failed.id})
    assert (await bench.there(workload), await bench.newest(workload)) == (there, failed)
    await bench.within(lambda ctx: bench.trial(workload, before.image_id, ctx))  # its data is restored meanwhile
    async with bench.locks.hold([workload.id], "restore") as held:
        await bench.deployer.confirm_trial(held, await bench.reload(workload))
    assert (await bench.newest(workload)).reason is DeployReason.RESTORE
    again = await updated(bench)
    assert again.error is not None
    assert again.error["code"] == "update_failed_before"
    bench.runtime.add_remote_image(TAG, version="mended")
    assert (await updated(bench)).outcome["result"] == "deployed"


async def test_who_went_back_stays_there_until_they_deploy(bench: Bench) -> None:
    workload = await running(bench)
    first = await bench.newest(workload)
    bench.runtime.add_remote_image(TAG, version="newer")
    assert (await updated(bench)).outcome["result"] == "deployed"
    await bench.ended(await bench.rollbacks.rollback(workload.id, first.id, actor="ann"))
    assert (await bench.reload(workload)).spec.updates == SPEC.updates
    assert "went back" in await left_alone(bench, workload)
    assert (await bench.deploy(workload)).outcome["result"] == "deployed"
    assert (await updated(bench)).outcome["result"] == "already_there"


async def test_what_is_configured_and_not_deployed_does_not_come_along(bench: Bench) -> None:
    workload = await running(bench)
    bench.runtime.add_remote_image(TAG, version="newer")
    await bench.workloads.update_spec(workload.id, dataclasses.replace(SPEC, env=(("MODE", "new"),)))
    assert "configuration was changed" in await left_alone(bench, workload)
    await bench.workloads.update_spec(workload.id, dataclasses.replace(SPEC, image="registry.example/home/notes:2"))
    assert "configuration was changed" in await left_alone(bench, workload)


async def test_a_restore_that_went_back_is_not_undone(bench: Bench) -> None:
    workload = await running(bench)
    first = await bench.newest(workload)
    bench.runtime.add_remote_image(TAG, version="newer")
    assert (await updated(bench)).outcome["result"] == "deployed"
    await bench.within(lambda ctx: bench.trial(workload, first.image_id, ctx))
    async with bench.locks.hold([workload.id], "restore") as held:
        await bench.deployer.confirm_trial(held, await bench.reload(workload))
    assert "a restore went back" in await left_alone(bench, workload)


async def test_a_registry_that_cannot_be_asked_has_failed(bench: Bench) -> None:
    workload = await running(bench)
    bench.runtime.guarded["registry.example"] = RegistryLogin(host="registry.example", username="ann", password="x")
    operation = await updated(bench)
    assert operation.state is OperationState.FAILED
    assert operation.error is not None
    assert operation.error["code"] == "registry_denied"
    assert len(await bench.running(workload)) == 1


async def test_what_is_stopped_or_has_no_schedule_is_not_asked_about(bench: Bench) -> None:
    workload = await running(bench)
    await bench.stop(workload)
    assert await updates_of(bench).schedules() == []
    await bench.deployed(dataclasses.replace(STATEFUL, name="other", volumes=()))
    assert await updates_of(bench).schedules() == []
