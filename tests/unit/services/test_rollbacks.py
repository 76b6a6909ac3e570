"""Rollbacks: an earlier version runs again, image and configuration; or all stays as it is, and it is said why."""

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import update
from tests.unit.services.deploy_bench import CRASHING, STATEFUL, Bench, opened

from holdfast.domain.deployment import Deployment, DeploymentState, DeployReason
from holdfast.domain.errors import Conflict, Forbidden, NotFound
from holdfast.domain.ids import new_id
from holdfast.domain.operation import Operation, OperationKind, OperationState
from holdfast.domain.retention import Keep
from holdfast.domain.workload import Hooks, Scope, Volume, Workload
from holdfast.store.codec import encode
from holdfast.store.tables import deployments


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened(tmp_path) as bench:
        for image in ("notes:2", "notes:3"):
            bench.runtime.add_image(image)
        yield bench


async def returned(bench: Bench, workload: Workload, to: Deployment) -> Operation:
    return await bench.ended(await bench.rollbacks.rollback(workload.id, to.id, actor="ann"))


async def twice_deployed(bench: Bench) -> tuple[Workload, Deployment, Deployment]:
    """A workload with two versions, image and configuration, of which the second one runs."""
    workload = await bench.deployed(dataclasses.replace(STATEFUL, env=(("MODE", "one"),)))
    first = await bench.newest(workload)
    await bench.workloads.update_spec(workload.id, dataclasses.replace(workload.spec, env=(("MODE", "two"),)), "bob")
    assert (await bench.deploy(workload, "notes:2")).state is OperationState.SUCCEEDED
    return await bench.reload(workload), first, await bench.newest(workload)


async def test_image_and_configuration_of_then_run_again_and_are_what_is_configured(bench: Bench) -> None:
    workload, first, _ = await twice_deployed(bench)
    operation = await returned(bench, workload, first)
    assert (operation.state, operation.kind) == (OperationState.SUCCEEDED, OperationKind.ROLLBACK)
    assert operation.outcome["result"] == "deployed"
    assert (await bench.newest(workload)).reason is DeployReason.ROLLBACK
    (instance,) = await bench.running(workload)
    assert instance.image_id == first.image_id
    after = await bench.reload(workload)
    assert (after.spec, after.configured_by) == (first.spec, operation.actor)
    assert first.id in operation.log[0].message
    assert operation.log[0].code == "rolls_back_configuration"
    assert operation.log[0].values is not None
    assert "env.MODE" in str(operation.log[0].values["keys"])
    assert "env.MODE" in operation.log[0].message


async def test_the_same_image_is_run_though_its_name_means_another_one_now(bench: Bench) -> None:
    workload, first, _ = await twice_deployed(bench)
    moved = bench.runtime.add_image(first.spec.image, version="rebuilt")
    assert moved.id != first.image_id
    await returned(bench, workload, first)
    (instance,) = await bench.running(workload)
    assert instance.image_id == first.image_id


@pytest.mark.parametrize(
    "volume",
    [
        Volume(target="/host", scope=Scope.ABSOLUTE, source="/srv/host"),
        Volume(target="/db", scope=Scope.NAMED, source="db", engine_volume="home_db"),
    ],
)
async def test_who_may_not_configure_volumes_of_others_brings_none_back(bench: Bench, volume: Volume) -> None:
    workload, first, _ = await twice_deployed(bench)
    then = dataclasses.replace(first.spec, volumes=(*first.spec.volumes, volume))
    await bench.database.change(update(deployments).where(deployments.c.id == first.id), spec=encode(then))
    with pytest.raises(Forbidden) as caught:
        await bench.rollbacks.rollback(workload.id, first.id, volumes_of_others=False, actor="ann")
    assert (caught.value.code, caught.value.details) == ("rollback_volumes_forbidden", {"targets": [volume.target]})
    assert (await bench.reload(workload)).spec == workload.spec
    kept = dataclasses.replace(workload.spec, volumes=(*workload.spec.volumes, volume))
    await bench.workloads.update_spec(workload.id, kept, "ann")
    await bench.ended(await bench.rollbacks.rollback(workload.id, first.id, volumes_of_others=False, actor="ann"))


async def test_nor_networks_of_others(bench: Bench) -> None:
    workload, first, _ = await twice_deployed(bench)
    then = dataclasses.replace(first.spec, networks=("proxy",))
    await bench.database.change(update(deployments).where(deployments.c.id == first.id), spec=encode(then))
    with pytest.raises(Forbidden) as caught:
        await bench.rollbacks.rollback(workload.id, first.id, volumes_of_others=False, actor="ann")
    assert caught.value.details == {"targets": ["proxy"]}
    plan = await bench.rollbacks.plan(workload.id, first.id)
    assert [(each.before, each.after) for each in plan.rollback.changes if each.path == "networks"] == [([], ["proxy"])]


async def test_what_is_kept_of_its_snapshots_does_not_go_back_nor_do_hooks(bench: Bench) -> None:
    workload, first, _ = await twice_deployed(bench)
    kept = dataclasses.replace(workload.spec.snapshots, keep=Keep(last=90))
    hooks = Hooks(post_restore=("mended",))
    await bench.workloads.update_spec(
        workload.id, dataclasses.replace(workload.spec, snapshots=kept, hooks=hooks), "ann"
    )
    await returned(bench, workload, first)
    spec = (await bench.reload(workload)).spec
    assert (spec.snapshots, spec.hooks) == (kept, hooks)


async def test_what_ran_before_the_present_version_is_proposed(bench: Bench) -> None:
    workload, first, second = await twice_deployed(bench)
    assert (await bench.rollbacks.plan(workload.id, None)).rollback.to == first
    await bench.stop(workload)
    await bench.start(workload)  # repeats the version, and is none to return from
    assert (await bench.rollbacks.plan("notes", None)).rollback.to == first
    await returned(bench, workload, first)
    assert (await bench.rollbacks.plan("notes", None)).rollback.to == second
    bench.runtime.add_image("notes:4", CRASHING)
    assert (await bench.deploy(workload, "notes:4")).state is OperationState.FAILED
    assert (await bench.rollbacks.plan("notes", None)).rollback.to == second, "a failed version never ran"


async def test_the_plan_says_what_changes_and_whether_the_image_is_here(bench: Bench) -> None:
    workload, first, _ = await twice_deployed(bench)
    plan = await bench.rollbacks.plan("notes", first.id)
    assert [(change.path, change.before, change.after) for change in plan.rollback.changes] == [
        ("image", "notes:2", "notes:1"),
        ("env.MODE", "two", "one"),
    ]
    assert plan.image_here
    bench.runtime.remove_image(first.image_id)
    assert not (await bench.rollbacks.plan("notes", first.id)).image_here
    assert (await bench.reload(workload)) == workload, "nothing was changed"


async def test_where_nothing_else_was_deployed_there_is_nothing_to_return_to(bench: Bench) -> None:
    workload = await bench.deployed()
    with pytest.raises(Conflict) as caught:
        await bench.rollbacks.plan(workload.id, None)
    assert caught.value.code == "nothing_to_roll_back_to"


async def test_only_what_succeeded_and_is_its_own_can_be_returned_to(bench: Bench) -> None:
    workload = await bench.deployed()
    bench.runtime.add_image("notes:4", CRASHING)
    await bench.deploy(workload, "notes:4")
    failed = await bench.newest(workload)
    assert failed.state is DeploymentState.RETURNED
    with pytest.raises(Conflict) as conflict:
        await bench.rollbacks.rollback(workload.id, failed.id, actor="ann")
    assert conflict.value.code == "deployment_not_successful"
    other = await bench.deployed(dataclasses.replace(STATEFUL, name="other", project="other"))
    for unknown in (new_id(), (await bench.newest(other)).id):
        with pytest.raises(NotFound) as caught:
            await bench.rollbacks.rollback(workload.id, unknown, actor="ann")
        assert caught.value.code == "deployment_unknown"


async def test_returning_to_what_runs_changes_nothing(bench: Bench) -> None:
    workload, _, second = await twice_deployed(bench)
    before = await bench.running(workload)
    operation = await returned(bench, workload, second)
    assert operation.outcome["result"] == "already_there"
    assert await bench.running(workload) == before


async def test_an_image_that_is_gone_and_has_no_digest_touches_nothing(bench: Bench) -> None:
    workload, first, second = await twice_deployed(bench)
    bench.runtime.remove_image(first.image_id)
    operation = await returned(bench, workload, first)
    assert operation.error is not None
    assert operation.error["code"] == "image_missing"
    (instance,) = await bench.running(workload)
    assert instance.image_id == second.image_id
    assert (await bench.reload(workload)).spec == workload.spec


async def test_an_image_that_is_gone_is_pulled_by_its_digest(bench: Bench) -> None:
    bench.runtime.add_remote_image("registry.example/notes:1")
    workload = await bench.add(dataclasses.replace(STATEFUL, image="registry.example/notes:1"))
    await bench.deploy(workload)
    first = await bench.newest(workload)
    assert first.digest is not None
    assert (await bench.deploy(workload, "notes:2")).state is OperationState.SUCCEEDED
    bench.runtime.remove_image(first.image_id)
    assert (await returned(bench, workload, first)).state is OperationState.SUCCEEDED
    (instance,) = await bench.running(workload)
    assert instance.image_id == first.image_id
    assert (await bench.newest(workload)).digest == first.digest


async def test_an_image_that_is_gone_here_and_from_its_registry_touches_nothing(bench: Bench) -> None:
    tag = "registry.example/notes:1"
    bench.runtime.add_remote_image(tag)
    workload = await bench.add(dataclasses.replace(STATEFUL, image=tag))
    await bench.deploy(workload)
    first = await bench.newest(workload)
    assert (await bench.deploy(workload, "notes:2")).state is OperationState.SUCCEEDED
    before, configured = await bench.there(workload), await bench.reload(workload)
    bench.runtime.remove_image(first.image_id)
    del bench.runtime.engine.state.remote[tag]
    operation = await returned(bench, workload, first)
    assert operation.error is not None
    assert operation.error["code"] == "image_not_in_registry"
    assert operation.error["next_step"]
    assert (await bench.there(workload), await bench.reload(workload)) == (before, configured)


async def test_a_version_that_is_unhealthy_now_gives_way_and_stays_unconfigured(bench: Bench) -> None:
    workload, first, second = await twice_deployed(bench)
    bench.runtime.engine.state.images[first.image_id].behaviour = CRASHING
    operation = await returned(bench, workload, first)
    assert operation.error is not None
    assert operation.error["code"] == "deploy_unhealthy"
    (instance,) = await bench.running(workload)
    assert instance.image_id == second.image_id
    assert (await bench.reload(workload)).spec == workload.spec


async def test_it_waits_while_a_restore_holds_the_workload(bench: Bench) -> None:
    workload, first, second = await twice_deployed(bench)
    async with bench.locks.hold([workload.id], "restore r1"):
        asked = await bench.rollbacks.rollback(workload.id, first.id, actor="ann")
        async for seen in bench.operations.events(asked.id):
            if seen.waiting_for:
                assert seen.waiting_for == "waiting for restore r1"
                break
        (instance,) = await bench.running(workload)
        assert instance.image_id == second.image_id
    assert (await bench.ended(asked)).state is OperationState.SUCCEEDED


async def test_while_a_restore_waits_for_a_person_it_is_refused(bench: Bench) -> None:
    workload, first, _ = await twice_deployed(bench)
    bench.undecided.add(workload.id)
    operation = await returned(bench, workload, first)
    assert operation.error is not None
    assert operation.error["code"] == "restore_undecided"
