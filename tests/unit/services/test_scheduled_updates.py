"""Updates by a schedule: a tag that was moved on is deployed, and nothing else happens unasked."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
from tests.unit.services.deploy_bench import CRASHING, STATEFUL, Bench, opened

from holdfast.domain.changes import changes
from holdfast.domain.deployment import DeploymentState, DeployReason
from holdfast.domain.errors import Failed
from holdfast.domain.ids import new_id
from holdfast.domain.newer_tags import TagSearch, search
from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.registry import RegistryLogin
from holdfast.domain.workload import UpdatePolicy, Workload
from holdfast.services import scheduled_updates
from holdfast.services.scheduled_updates import ScheduledUpdates

TAG = "registry.example/home/notes:1"
NAME = "registry.example/home/notes"
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
        images=bench.images,
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
    await bench.workloads.update_spec(workload.id, dataclasses.replace(SPEC, env=(("MODE", "new"),)), "ann")
    assert "configuration was changed" in await left_alone(bench, workload)
    await bench.workloads.update_spec(
        workload.id, dataclasses.replace(SPEC, image="registry.example/home/notes:2"), "ann"
    )
    assert "configuration was changed" in await left_alone(bench, workload)


async def test_another_name_of_the_image_that_runs_is_taken_on_without_a_restart_and_followed_from_then_on(
    bench: Bench,
) -> None:
    workload = await running(bench)
    before = await bench.there(workload)
    other = "registry.example/home/notes:stable"
    same = bench.runtime.engine.state.remote[TAG]
    bench.runtime.engine.state.remote[other] = dataclasses.replace(same, tags=[other])
    assert (await bench.deploy(workload, other)).outcome["result"] == "already_there"
    now, deployed = await bench.reload(workload), await bench.newest(workload)
    assert (await bench.there(workload), now.spec.image, deployed.spec.image) == (before, other, other)
    assert changes(deployed.spec, now.spec) == (), "there is nothing left to deploy"
    assert (await updated(bench)).outcome == {"result": "already_there"}
    digest = bench.runtime.add_remote_image(other, version="newer")
    assert (await updated(bench)).outcome["digest"] == digest


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


# --- newer tags --------------------------------------------------------------------------------------------------


async def tagged(bench: Bench, tags: str = "1.*", image: str = f"{NAME}:1.4.0") -> Workload:
    """A workload that runs an image of a registry, and moves on to newer tags."""
    bench.runtime.add_remote_image(image)
    policy = UpdatePolicy(schedule="0 4 * * *", tags=tags)
    workload = await bench.add(dataclasses.replace(SPEC, image=image, updates=policy))
    assert (await bench.deploy(workload)).state is OperationState.SUCCEEDED
    return await bench.reload(workload)


async def configured(bench: Bench, workload: Workload) -> str:
    return (await bench.reload(workload)).spec.image


async def test_the_newest_tag_of_a_pattern_is_deployed_and_becomes_the_configured_one(bench: Bench) -> None:
    workload = await tagged(bench)
    for tag in ("1.5.0", "1.10.0", "1.11", "1.11.0-rc1", "2.0.0", "latest"):
        bench.runtime.add_remote_image(f"{NAME}:{tag}", version=tag)
    operation = await updated(bench)
    outcome = operation.outcome
    assert (outcome["result"], outcome["tag"], outcome["tags_seen"]) == ("deployed", "1.10.0", 7)
    wanted = f"{NAME} has 7 tags, of which 3 match 1.* and are written like 1.4.0: the newest is 1.10.0"
    (said,) = [line for line in operation.log if line.message == wanted]
    assert (said.code, (said.values or {})["alike"]) == ("tags_seen", 3)
    newest = await bench.newest(workload)
    assert (newest.reason, newest.spec.image) == (DeployReason.UPDATE, f"{NAME}:1.10.0")
    assert await configured(bench, workload) == f"{NAME}:1.10.0"
    (instance,) = await bench.running(workload)
    assert instance.image_id == newest.image_id
    assert (await updated(bench)).outcome == {"result": "already_there", "tag": "1.10.0", "tags_seen": 7}


async def test_where_no_tag_is_newer_the_present_one_is_asked_for(bench: Bench) -> None:
    workload = await tagged(bench)
    bench.runtime.add_remote_image(f"{NAME}:1.3.9", version="older")
    digest = bench.runtime.add_remote_image(f"{NAME}:1.4.0", version="mended")
    outcome = (await updated(bench)).outcome
    assert (outcome["result"], outcome["digest"], outcome["tag"]) == ("deployed", digest, "1.4.0")
    assert await configured(bench, workload) == f"{NAME}:1.4.0"


async def test_a_newer_tag_that_failed_leaves_the_one_before_and_is_not_tried_again(bench: Bench) -> None:
    workload = await tagged(bench)
    (before,) = await bench.running(workload)
    bench.runtime.add_remote_image(f"{NAME}:1.5.0", CRASHING, version="bad")
    assert (await updated(bench)).state is OperationState.FAILED
    failed = await bench.newest(workload)
    assert (failed.state, failed.spec.image) == (DeploymentState.RETURNED, f"{NAME}:1.5.0")
    for _ in range(2):
        assert [each.id for each in await bench.running(workload)] == [before.id]
        assert await configured(bench, workload) == f"{NAME}:1.4.0"
        again = await updated(bench)
        assert again.error is not None
        assert (again.error["code"], again.error["details"]) == ("update_failed_before", {"deployment_id": failed.id})
        assert await bench.newest(workload) == failed
        bad = bench.runtime.engine.state.remote[f"{NAME}:1.5.0"]  # the same image by a newer name
        bench.runtime.engine.state.remote[f"{NAME}:1.5.1"] = dataclasses.replace(bad, tags=[f"{NAME}:1.5.1"])
    bench.runtime.add_remote_image(f"{NAME}:1.5.2", version="mended")
    assert (await updated(bench)).outcome["tag"] == "1.5.2"
    assert await configured(bench, workload) == f"{NAME}:1.5.2"


async def test_who_went_back_from_a_newer_tag_stays_there(bench: Bench) -> None:
    workload = await tagged(bench)
    first = await bench.newest(workload)
    bench.runtime.add_remote_image(f"{NAME}:1.5.0", version="newer")
    assert (await updated(bench)).outcome["tag"] == "1.5.0"
    await bench.ended(await bench.rollbacks.rollback(workload.id, first.id, actor="ann"))
    assert await configured(bench, workload) == f"{NAME}:1.4.0"
    bench.runtime.add_remote_image(f"{NAME}:1.6.0", version="newest")
    bench.runtime.calls.clear()
    assert "went back" in await left_alone(bench, workload)
    assert bench.calls("tags", "pull") == []
    await bench.deploy(workload)  # brings nothing else than what runs
    assert "went back" in await left_alone(bench, workload)
    await bench.deploy(workload, f"{NAME}:1.5.0")
    assert (await updated(bench)).outcome["tag"] == "1.6.0"
    await bench.within(lambda ctx: bench.trial(workload, first.image_id, ctx))
    async with bench.locks.hold([workload.id], "restore") as held:
        await bench.deployer.confirm_trial(held, await bench.reload(workload))
    assert "a restore went back" in await left_alone(bench, workload)


async def test_a_newer_tag_of_the_image_that_runs_changes_nothing(bench: Bench) -> None:
    workload = await tagged(bench)
    same = bench.runtime.engine.state.remote[f"{NAME}:1.4.0"]
    bench.runtime.engine.state.remote[f"{NAME}:1.4.1"] = dataclasses.replace(same, tags=[f"{NAME}:1.4.1"])
    before = await bench.there(workload)
    assert (await updated(bench)).outcome == {"result": "already_there", "tag": "1.4.1", "tags_seen": 2}
    assert (await bench.there(workload), await configured(bench, workload)) == (before, f"{NAME}:1.4.0")


async def test_a_digest_is_left_alone(bench: Bench) -> None:
    workload = await tagged(bench)
    digest = bench.runtime.add_remote_image(f"{NAME}:1.5.0", version="newer")
    assert (await bench.deploy(workload, digest)).state is OperationState.SUCCEEDED
    bench.runtime.add_remote_image(f"{NAME}:1.6.0", version="newest")
    assert "digest" in await left_alone(bench, workload)


async def test_a_tag_without_a_number_that_a_webhook_may_have_brought_is_left_alone(bench: Bench) -> None:
    workload = await tagged(bench)
    bench.runtime.add_remote_image(f"{NAME}:latest", version="newer")
    assert (await bench.deploy(workload, f"{NAME}:latest")).state is OperationState.SUCCEEDED
    assert await configured(bench, workload) == f"{NAME}:latest"
    bench.runtime.add_remote_image(f"{NAME}:latest", version="newest")
    assert "no number in latest" in await left_alone(bench, workload)


async def test_the_name_of_an_image_built_here_is_looked_for_in_no_registry(bench: Bench) -> None:
    policy = UpdatePolicy(schedule="0 4 * * *", tags="*")
    workload = await bench.deployed(dataclasses.replace(STATEFUL, image="notes:1", updates=policy))
    bench.runtime.add_remote_image("notes:2", version="a stranger's")
    bench.runtime.calls.clear()
    assert (await updated(bench)).outcome == {"result": "already_there"}
    assert bench.calls("tags", "pull") == []
    bench.runtime.add_image("notes:1", version="built anew")
    assert (await updated(bench)).outcome["result"] == "deployed"
    assert await configured(bench, workload) == "notes:1"


async def test_a_long_list_of_tags_is_looked_through_beside_everything_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def noted(present: str, tags: Iterable[str], pattern: str) -> TagSearch:
        threads.append(threading.current_thread())
        return search(present, tags, pattern)

    await tagged(bench)
    monkeypatch.setattr(scheduled_updates, "search", noted)
    assert (await updated(bench)).outcome["result"] == "already_there"
    (thread,) = threads
    assert thread is not threading.current_thread()


async def test_a_registry_that_does_not_tell_its_tags_has_failed(bench: Bench) -> None:
    workload = await tagged(bench)
    bench.runtime.fail("tags", error=Failed("registry_tags_unreadable", "no list", next_step="Look."))
    operation = await updated(bench)
    assert operation.error is not None
    assert operation.error["code"] == "registry_tags_unreadable"
    assert len(await bench.running(workload)) == 1
