"""A workload on trial: judged, never armed before it is confirmed, and never taken away from its restore."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.services.deploy_bench import CRASHING, Bench, made_by, opened

from holdfast.domain.deployment import Deployment, DeploymentState
from holdfast.domain.errors import Cancelled, Failed, Refused, Unavailable
from holdfast.domain.workload import RestartPolicy, Workload
from holdfast.services.operations import OperationContext


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened(tmp_path) as bench:
        yield bench


async def held_still(bench: Bench) -> Workload:
    """A workload as a restore holds it: deployed, its instance stopped and disarmed."""
    workload = await bench.deployed()
    (instance,) = await bench.there(workload)
    await bench.runtime.set_restart_policy(instance.id, RestartPolicy.NO)
    await bench.runtime.stop(instance.id, 1.0)
    return workload


async def on_trial(bench: Bench, workload: Workload, image: str = "notes:1") -> Deployment:
    return await bench.within(lambda ctx: bench.trial(workload, image, ctx))


async def confirmed(bench: Bench, workload: Workload) -> Deployment | None:
    async with bench.locks.hold([workload.id], "restore") as held:
        return await bench.deployer.confirm_trial(held, workload)


async def test_a_healthy_trial_stays_open_and_disarmed_until_it_is_confirmed(bench: Bench) -> None:
    workload = await held_still(bench)
    deployment = await on_trial(bench, workload)
    assert (await bench.newest(workload)).state is DeploymentState.RUNNING
    (instance,) = await bench.running(workload)
    assert (made_by(instance), instance.restart) == (deployment.id, RestartPolicy.NO)
    ended = await confirmed(bench, workload)
    assert ended is not None
    assert (ended.id, ended.state) == (deployment.id, DeploymentState.SUCCEEDED)
    assert (await bench.runtime.inspect(instance.id)).restart is RestartPolicy.UNLESS_STOPPED
    assert await confirmed(bench, workload) == ended, "confirming again changes nothing"


async def test_what_ran_before_is_kept_for_the_way_back(bench: Bench) -> None:
    workload = await held_still(bench)
    (before,) = await bench.there(workload)
    await on_trial(bench, workload)
    await confirmed(bench, workload)
    assert before.id in {container.id for container in await bench.there(workload)}
    assert (await bench.runtime.inspect(before.id)).restart is RestartPolicy.NO


async def test_a_trial_tells_no_steps_of_its_own(bench: Bench) -> None:
    await on_trial(bench, await held_still(bench))
    assert bench.last is not None
    assert bench.last.steps == ()
    assert bench.last.cancellable is False


async def test_an_unhealthy_trial_is_told_with_its_last_lines_and_left_to_the_restore(bench: Bench) -> None:
    workload = await held_still(bench)
    bench.runtime.add_image("notes:2", CRASHING)
    with pytest.raises(Failed) as caught:
        await on_trial(bench, workload, "notes:2")
    assert caught.value.code == "deploy_unhealthy"
    assert caught.value.details["logs"] == ["no such table: notes"]
    newest = await bench.newest(workload)
    assert newest.state is DeploymentState.FAILED
    assert len(await bench.there(workload)) == 2
    assert await bench.running(workload) == ()


async def test_an_unhealthy_trial_that_is_kept_is_armed_and_stays_failed(bench: Bench) -> None:
    workload = await held_still(bench)
    bench.runtime.add_image("notes:2", CRASHING)
    with pytest.raises(Failed):
        await on_trial(bench, workload, "notes:2")
    ended = await confirmed(bench, workload)
    assert ended is not None
    assert ended.state is DeploymentState.FAILED
    (_, instance) = await bench.there(workload)
    assert instance.restart is RestartPolicy.UNLESS_STOPPED


async def test_an_engine_that_is_away_leaves_the_trial_open_to_be_repeated(bench: Bench) -> None:
    workload = await held_still(bench)
    bench.runtime.fail("create", times=1)
    with pytest.raises(Unavailable):
        await on_trial(bench, workload)
    first = await bench.newest(workload)
    assert first.state is DeploymentState.RUNNING
    await on_trial(bench, workload)
    again = await bench.deployments.get(first.id)
    assert again is not None
    assert again.state is DeploymentState.INTERRUPTED


async def test_a_trial_refuses_a_volume_that_is_not_what_it_must_be(bench: Bench) -> None:
    workload = await held_still(bench)
    (bench.base / "notes" / "data").rmdir()
    with pytest.raises(Refused):
        await on_trial(bench, workload)


async def test_an_instance_that_somebody_started_meanwhile_is_stopped_before_the_trial(bench: Bench) -> None:
    workload = await held_still(bench)
    (before,) = await bench.there(workload)
    await bench.runtime.start(before.id)
    await on_trial(bench, workload)
    assert before.id not in {container.id for container in await bench.running(workload)}
    assert len(await bench.running(workload)) == 1


async def test_a_cancelled_trial_is_closed_as_failed(bench: Bench) -> None:
    workload = await held_still(bench)

    async def cancel() -> None:
        (running,) = (await bench.operations.list(1)).items
        await bench.operations.cancel(running.id)

    bench.clock.while_asleep = cancel
    with pytest.raises(Cancelled):
        await on_trial(bench, workload)
    assert (await bench.newest(workload)).state is DeploymentState.FAILED


async def test_instances_on_trial_are_judged_again_after_an_interruption(bench: Bench) -> None:
    workload = await held_still(bench)
    await on_trial(bench, workload)
    (instance,) = await bench.running(workload)

    async def judge(ctx: OperationContext) -> None:
        await bench.deployer.gate_instances(workload, [instance.id], ctx)

    await bench.within(judge)
    bench.runtime.crash(instance.id)
    with pytest.raises(Failed) as caught:
        await bench.within(judge)
    assert caught.value.code == "deploy_unhealthy"
    assert (await bench.newest(workload)).state is DeploymentState.FAILED


async def test_health_is_asked_of_what_runs(bench: Bench) -> None:
    workload = await bench.deployed()

    async def wait(ctx: OperationContext) -> bool:
        return await bench.deployer.wait_healthy(workload, ctx)

    assert await bench.deployer.healthy_now(workload)
    assert await bench.within(wait)
    (instance,) = await bench.running(workload)
    bench.runtime.crash(instance.id)
    assert not await bench.deployer.healthy_now(workload)
    assert not await bench.within(wait)


async def test_an_image_is_pinned_by_its_id_and_called_as_configured(bench: Bench) -> None:
    workload = await bench.add()
    image = bench.runtime.add_image("notes:1")
    assert (await bench.deployer.version_of(image.id, workload)).reference == "notes:1"
