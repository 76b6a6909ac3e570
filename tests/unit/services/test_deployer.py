"""Deploying: what ran before comes back, or it is said that it does not; and never do two deployments meet."""

import dataclasses
import os
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import text
from tests.unit.services.deploy_bench import CRASHING, STATEFUL, STATELESS, Bench, made_by, opened

from holdfast.domain.deployment import DeploymentState, DeployReason
from holdfast.domain.errors import Failed, InvalidInput, NotFound
from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.workload import (
    DesiredState,
    HealthCheck,
    HealthType,
    Port,
    RestartPolicy,
    Strategy,
    Workload,
    WorkloadSpec,
)
from holdfast.runtime.port import Bind, ContainerSpec
from holdfast.services import image_source
from holdfast.services.operations import OperationContext
from holdfast.testing.fake_records import Behaviour
from holdfast.testing.fake_runtime import Call


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened(tmp_path) as bench:
        yield bench


def code(operation: Operation) -> str:
    assert operation.error is not None, operation.outcome
    return str(operation.error["code"])


def message(operation: Operation) -> str:
    assert operation.error is not None, operation.outcome
    return str(operation.error["message"])


async def running_operation(bench: Bench) -> Operation:
    return (await bench.operations.list(1)).items[0]


# --- a deployment that succeeds ----------------------------------------------------------------------------------


async def test_a_first_deployment_makes_the_volume_and_runs_one_instance(bench: Bench) -> None:
    workload = await bench.deployed()
    (instance,) = await bench.running(workload)
    newest = await bench.newest(workload)
    assert (newest.state, newest.image_id, newest.reason) == (
        DeploymentState.SUCCEEDED,
        instance.image_id,
        DeployReason.DEPLOY,
    )
    assert made_by(instance) == newest.id
    assert workload.desired is DesiredState.RUNNING
    assert (bench.base / "notes" / "data").is_dir()


async def test_the_steps_of_a_deployment_are_told(bench: Bench) -> None:
    workload = await bench.deployed()
    bench.runtime.add_image("notes:2")
    operation = await bench.deploy(workload, "notes:2")
    assert [step.name for step in operation.steps] == [
        "resolving",
        "checking",
        "stopping",
        "creating",
        "starting",
        "gating",
        "switching",
        "recording",
        "reaping",
    ]
    assert operation.outcome["result"] == "deployed"


async def test_an_attempt_is_on_record_before_anything_is_touched(bench: Bench) -> None:
    workload = await bench.deployed()
    bench.runtime.add_image("notes:2")
    seen: list[DeploymentState] = []

    async def look(call: Call) -> None:
        if call.name in ("stop", "create", "set_restart_policy", "remove"):
            seen.append((await bench.newest(workload)).state)

    bench.on_call = look
    await bench.deploy(workload, "notes:2")
    assert seen[0] is DeploymentState.RUNNING
    assert seen[-1] is DeploymentState.SUCCEEDED, "what ran before is removed once success is on record"


async def test_a_success_that_is_not_on_record_configures_nothing(bench: Bench) -> None:
    workload = await bench.deployed()
    bench.runtime.add_image("notes:2")
    await bench.database.change(
        text(
            "CREATE TRIGGER no_success BEFORE UPDATE ON deployments WHEN NEW.state = 'succeeded' "
            "BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    )
    assert (await bench.deploy(workload, "notes:2")).state is OperationState.FAILED
    assert (await bench.reload(workload)).spec == workload.spec
    (instance,) = await bench.running(workload)
    assert instance.image_id == (await bench.deployments.list(workload.id))[-1].image_id, "the version of before"


async def test_with_a_writable_volume_nothing_of_the_new_version_exists_while_the_old_one_runs(bench: Bench) -> None:
    workload = await bench.deployed()
    bench.runtime.add_image("notes:2")

    async def look(call: Call) -> None:
        if call.name == "create":
            assert not [c for c in bench.runtime.engine.state.containers.values() if c.alive]

    bench.on_call = look
    assert (await bench.deploy(workload, "notes:2")).state is OperationState.SUCCEEDED
    (instance,) = await bench.there(workload)
    assert instance.running


async def test_without_a_writable_volume_the_old_version_runs_until_the_new_one_is_healthy(bench: Bench) -> None:
    workload = await bench.deployed(STATELESS)
    bench.runtime.add_image("notes:2")
    alive: list[int] = []

    async def look() -> None:
        alive.append(len([c for c in bench.runtime.engine.state.containers.values() if c.alive]))

    bench.clock.while_asleep = look
    assert (await bench.deploy(workload, "notes:2")).state is OperationState.SUCCEEDED
    assert set(alive) == {2}
    assert len(await bench.there(workload)) == 1


async def test_as_many_instances_run_side_by_side_as_are_asked_for_and_no_more_after_the_next_deployment(
    bench: Bench,
) -> None:
    workload = await bench.deployed(dataclasses.replace(STATELESS, max_instances=3))
    assert len(await bench.running(workload)) == 3
    bench.runtime.add_image("notes:2")
    await bench.deploy(workload, "notes:2")
    assert len({made_by(instance) for instance in await bench.there(workload)}) == 1
    assert len(await bench.running(workload)) == 3


async def test_the_engine_starts_nothing_by_itself_until_it_has_proved_healthy(bench: Bench) -> None:
    policies: set[RestartPolicy] = set()

    async def look() -> None:
        policies.update(c.restart for c in bench.runtime.engine.state.containers.values())

    bench.clock.while_asleep = look
    workload = await bench.deployed(dataclasses.replace(STATEFUL, restart=RestartPolicy.ALWAYS))
    assert policies == {RestartPolicy.NO}
    (instance,) = await bench.running(workload)
    assert instance.restart is RestartPolicy.ALWAYS


async def test_the_configured_image_changes_on_success_only(bench: Bench) -> None:
    workload = await bench.deployed()
    bench.runtime.add_image("notes:2", CRASHING)
    await bench.deploy(workload, "notes:2")
    assert (await bench.reload(workload)).spec.image == "notes:1"
    bench.runtime.add_image("notes:3")
    await bench.deploy(workload, "notes:3")
    assert (await bench.reload(workload)).spec.image == "notes:3"


async def test_leftovers_that_can_t_be_removed_don_t_fail_a_deployment(bench: Bench) -> None:
    workload = await bench.deployed()
    bench.runtime.add_image("notes:2")
    bench.runtime.fail("remove", error=Failed("engine_error", "The engine refused."))
    operation = await bench.deploy(workload, "notes:2")
    assert operation.state is OperationState.SUCCEEDED
    assert "could not be removed" in operation.log[-1].message
    assert len(await bench.running(workload)) == 1


# --- already running ---------------------------------------------------------------------------------------------


async def test_a_version_that_runs_healthy_already_is_left_alone(bench: Bench) -> None:
    workload = await bench.deployed()
    before = await bench.there(workload)
    operation = await bench.deploy(workload)
    assert operation.outcome["result"] == "already_there"
    assert operation.outcome["deployment_id"] == made_by(before[0])
    assert [c.id for c in await bench.there(workload)] == [before[0].id]


async def test_what_the_engine_can_t_say_anything_of_is_replaced(bench: Bench) -> None:
    workload = await bench.deployed()
    (instance,) = await bench.there(workload)
    bench.runtime.fail("inspect", error=Failed("engine_error", "The engine said: no."), times=1)
    operation = await bench.deploy(workload)
    assert operation.outcome["result"] == "deployed"
    assert [c.id for c in await bench.running(workload)] != [instance.id]


async def test_a_crash_loop_that_merely_polls_as_running_is_not_taken_for_running(bench: Bench) -> None:
    workload = await bench.deployed()
    (instance,) = await bench.there(workload)
    bench.runtime.engine.state.images[instance.image_id].behaviour = Behaviour(exit_code=1, looks_before_exit=3)
    while not (seen := await bench.runtime.inspect(instance.id)).restart_count or not seen.running:
        pass
    assert seen.running
    created = len(bench.calls("create"))
    operation = await bench.deploy(workload)
    assert operation.state is OperationState.FAILED
    assert len(bench.calls("create")) == created + 1


async def test_another_configuration_of_the_same_image_is_deployed(bench: Bench) -> None:
    workload = await bench.deployed()
    (before,) = await bench.there(workload)
    await bench.workloads.update_spec(workload.id, dataclasses.replace(workload.spec, env=(("TZ", "UTC"),)), "ann")
    assert (await bench.deploy(workload)).outcome["result"] == "deployed"
    (after,) = await bench.there(workload)
    assert after.id != before.id


# --- a new version that fails ------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [STATEFUL, STATELESS], ids=["recreate", "blue_green"])
async def test_a_new_version_that_fails_is_removed_and_the_previous_one_runs_again(
    bench: Bench, spec: WorkloadSpec
) -> None:
    workload = await bench.deployed(dataclasses.replace(spec, restart=RestartPolicy.ALWAYS))
    (before,) = await bench.running(workload)
    bench.runtime.add_image("notes:2", CRASHING)
    operation = await bench.deploy(workload, "notes:2")
    assert (operation.state, code(operation)) == (OperationState.FAILED, "deploy_unhealthy")
    assert "exit code 3" in message(operation)
    (after,) = await bench.there(workload)
    assert (after.id, after.running, after.restart) == (before.id, True, RestartPolicy.ALWAYS)


async def test_a_failed_deployment_keeps_the_last_lines_that_the_new_version_printed(bench: Bench) -> None:
    workload = await bench.deployed()
    bench.runtime.add_image("notes:2", CRASHING)
    operation = await bench.deploy(workload, "notes:2")
    newest = await bench.newest(workload)
    assert newest.state is DeploymentState.RETURNED
    assert newest.error is not None
    assert newest.error["logs"] == "no such table: notes"
    assert "What ran before runs again" in newest.error["message"]
    assert operation.error is not None
    assert operation.error["details"] == {
        "cause": "exited",
        "container": operation.error["details"]["container"],  # type: ignore[index]
        "deployment_id": newest.id,
        "logs": ["no such table: notes"],
        "ran_on_data": True,
        "reason": "it ended (exit code 3)",
        "state": "returned",
    }


async def test_side_by_side_the_old_version_is_never_touched_by_a_failure_of_the_new_one(bench: Bench) -> None:
    workload = await bench.deployed(STATELESS)
    (before,) = await bench.running(workload)
    bench.runtime.calls.clear()
    bench.runtime.add_image("notes:2", CRASHING)
    operation = await bench.deploy(workload, "notes:2")
    assert "What ran before still runs" in message(operation)
    assert before.id not in {call.subject for call in bench.calls("stop", "start", "set_restart_policy", "remove")}


async def test_a_first_deployment_that_fails_leaves_nothing_running(bench: Bench) -> None:
    bench.runtime.add_image("notes:1", CRASHING)
    workload = await bench.add()
    operation = await bench.deploy(workload)
    assert "nothing runs now" in message(operation)
    assert await bench.there(workload) == ()
    assert (await bench.newest(workload)).state is DeploymentState.FAILED
    assert (await bench.reload(workload)).desired is DesiredState.STOPPED


async def test_a_failed_deployment_of_a_stopped_workload_leaves_it_stopped(bench: Bench) -> None:
    workload = await bench.deployed()
    await bench.stop(workload)
    bench.runtime.add_image("notes:2", CRASHING)
    await bench.deploy(workload, "notes:2")
    assert await bench.running(workload) == ()
    assert (await bench.reload(workload)).desired is DesiredState.STOPPED


async def test_an_engine_that_restarts_meanwhile_starts_nothing_half_made(bench: Bench) -> None:
    workload = await bench.deployed(dataclasses.replace(STATEFUL, restart=RestartPolicy.ALWAYS))
    (before,) = await bench.running(workload)
    bench.runtime.add_image("notes:2")
    alive: list[int] = []

    async def restart_once() -> None:
        if not alive:
            bench.runtime.restart_engine()
        alive.append(len([c for c in bench.runtime.engine.state.containers.values() if c.alive]))

    bench.clock.while_asleep = restart_once
    operation = await bench.deploy(workload, "notes:2")
    assert code(operation) == "deploy_unhealthy"
    assert alive[0] == 0
    assert [c.id for c in await bench.running(workload)] == [before.id]


async def test_an_error_that_nobody_foresaw_brings_the_previous_version_back_as_well(bench: Bench) -> None:
    workload = await bench.deployed()
    (before,) = await bench.running(workload)
    bench.runtime.add_image("notes:2")

    async def break_down(call: Call) -> None:
        if call.name == "create":
            raise ZeroDivisionError

    bench.on_call = break_down
    operation = await bench.deploy(workload, "notes:2")
    assert code(operation) == "internal_error"
    assert [c.id for c in await bench.running(workload)] == [before.id]
    assert (await bench.newest(workload)).state is DeploymentState.RETURNED


# --- a way back that fails ---------------------------------------------------------------------------------------


async def test_a_previous_version_that_does_not_become_healthy_again_is_reported_as_failed(bench: Bench) -> None:
    (bench.base / "notes" / "data").mkdir(parents=True)
    (bench.base / "notes" / "data" / "schema").write_text("1")
    workload = await bench.deployed(behaviour=Behaviour(requires={"/data/schema": "1"}))
    bench.runtime.add_image("notes:2", Behaviour(writes={"/data/schema": "2"}, exit_code=3))
    operation = await bench.deploy(workload, "notes:2")
    assert code(operation) == "deploy_return_failed"
    assert "exit code 3" in message(operation)
    assert "could not be brought back" in message(operation)
    assert (await bench.newest(workload)).state is DeploymentState.FAILED


async def test_a_previous_version_that_somebody_removed_meanwhile_is_reported_as_failed(bench: Bench) -> None:
    workload = await bench.deployed()
    (before,) = await bench.there(workload)
    bench.runtime.add_image("notes:2", Behaviour(exit_code=3, looks_before_exit=3))

    async def remove() -> None:
        await bench.runtime.remove(before.id)

    bench.clock.while_asleep = remove
    operation = await bench.deploy(workload, "notes:2")
    assert code(operation) == "deploy_return_failed"
    assert "was removed" in message(operation)


async def test_the_previous_version_is_not_started_on_a_volume_that_went_away_meanwhile(bench: Bench) -> None:
    workload = await bench.deployed()
    (before,) = await bench.there(workload)
    bench.runtime.add_image("notes:2", CRASHING, on_start=lambda _: shutil.rmtree(bench.base / "notes" / "data"))
    operation = await bench.deploy(workload, "notes:2")
    assert code(operation) == "deploy_return_failed"
    assert operation.error is not None
    assert operation.error["details"]["return_failed_with"] == "volume_missing"  # type: ignore[index]
    assert not (await bench.runtime.inspect(before.id)).running
    assert not (bench.base / "notes" / "data").exists()


async def test_an_engine_that_stays_away_is_reported_as_a_failed_return(bench: Bench) -> None:
    workload = await bench.deployed()
    bench.runtime.add_image("notes:2")
    bench.runtime.hang("start")
    operation = await bench.deploy(workload, "notes:2")
    assert code(operation) == "deploy_return_failed"
    assert operation.error is not None
    assert operation.error["details"]["cause"] == "engine_timeout"  # type: ignore[index]
    assert (await bench.newest(workload)).state is DeploymentState.FAILED


async def test_the_way_back_waits_for_an_engine_that_is_away_for_a_moment(bench: Bench) -> None:
    workload = await bench.deployed()
    (before,) = await bench.there(workload)
    bench.runtime.add_image("notes:2")
    bench.runtime.fail("start", times=2)
    operation = await bench.deploy(workload, "notes:2")
    assert code(operation) == "engine_unavailable"
    assert [c.id for c in await bench.running(workload)] == [before.id]


# --- refused, or failed before anything is touched ---------------------------------------------------------------


async def untouched(bench: Bench, workload: Workload, expected: str, image: str = "notes:2") -> None:
    """A deployment ends with ``expected``, and what ran still runs and was never stopped."""
    before = await bench.running(workload)
    history = await bench.deployments.list(workload.id)
    bench.runtime.calls.clear()
    operation = await bench.deploy(workload, image)
    bench.runtime.heal()
    assert (operation.state, code(operation)) == (OperationState.FAILED, expected)
    assert not bench.calls("stop", "create", "set_restart_policy")
    assert await bench.running(workload) == before
    assert await bench.deployments.list(workload.id) == history


async def test_an_image_that_can_t_be_had_fails_before_anything_is_touched(bench: Bench) -> None:
    await untouched(bench, await bench.deployed(), "image_not_in_registry", "notes:unheard-of")


async def test_an_image_for_another_processor_fails_before_anything_is_touched(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = await bench.deployed()
    bench.runtime.engine.state.images[bench.runtime.add_image("notes:2").id].architecture = "s390x"
    monkeypatch.setattr(image_source, "runs_here", lambda architecture: architecture != "s390x")
    await untouched(bench, workload, "image_for_other_platform")


async def test_a_port_that_another_container_has_is_refused_with_who_has_it(bench: Bench) -> None:
    port = Port(container_port=80, host_port=18080, host_ip="127.0.0.1")
    other = await bench.deployed(dataclasses.replace(STATELESS, name="other", ports=(port,)))
    (holder,) = await bench.running(other)
    workload = await bench.deployed()
    bench.runtime.add_image("notes:2")
    wider = dataclasses.replace(port, host_ip="0.0.0.0")
    configured = await bench.workloads.update_spec(
        workload.id, dataclasses.replace(workload.spec, ports=(wider,)), "ann"
    )
    await untouched(bench, configured, "port_in_use")
    operation = await bench.deploy(configured)
    assert message(operation) == f"The host port 0.0.0.0:18080 is taken by the container {holder.name}."
    await bench.stop(other)
    assert (await bench.deploy(configured)).state is OperationState.SUCCEEDED
    assert code(await bench.start(other)) == "port_in_use"
    assert (await bench.deploy(configured, "notes:2")).state is OperationState.SUCCEEDED  # what it has itself is free


async def test_a_port_on_which_a_program_of_the_host_listens_is_refused_with_its_name(bench: Bench) -> None:
    workload = await bench.deployed()
    bench.runtime.add_image("notes:2")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = Port(container_port=80, host_port=listener.getsockname()[1], host_ip="127.0.0.1")
        configured = await bench.workloads.update_spec(
            workload.id, dataclasses.replace(workload.spec, ports=(port,)), "ann"
        )
        await untouched(bench, configured, "port_in_use")
        operation = await bench.deploy(configured)
        assert f"(process {os.getpid()})" in message(operation)
    assert (await bench.deploy(configured)).state is OperationState.SUCCEEDED


async def test_a_network_of_others_that_is_not_there_is_refused_before_the_old_version_is_stopped(bench: Bench) -> None:
    workload = await bench.deployed()
    bench.runtime.add_image("notes:2")
    configured = await bench.workloads.update_spec(
        workload.id, dataclasses.replace(workload.spec, networks=("proxy",)), "ann"
    )
    await untouched(bench, configured, "network_missing")
    await bench.runtime.ensure_network("proxy", {})
    assert (await bench.deploy(configured)).state is OperationState.SUCCEEDED
    (instance,) = await bench.running(configured)
    assert bench.runtime.engine.find(instance.id).spec.more_networks == ("proxy",)

    await bench.stop(configured)
    await bench.runtime.remove_network("proxy")
    assert code(await bench.start(configured)) == "network_missing"
    stopped = await bench.workloads.get(workload.id)
    assert stopped is not None
    assert stopped.desired is DesiredState.STOPPED


async def test_a_missing_volume_is_refused_before_the_old_version_is_stopped(bench: Bench) -> None:
    workload = await bench.deployed()
    bench.runtime.add_image("notes:2")
    (bench.base / "notes" / "data").rmdir()
    await untouched(bench, workload, "volume_missing")


async def test_an_emptied_volume_is_refused_before_the_old_version_is_stopped(bench: Bench) -> None:
    workload = await bench.deployed(behaviour=Behaviour(writes={"/data/db": "rows"}))
    bench.runtime.add_image("notes:2")
    (bench.base / "notes" / "data" / "db").unlink()
    await untouched(bench, workload, "volume_emptied")


async def narrow(bench: Bench, workload: Workload, strategy: Strategy = Strategy.AUTO) -> Path:
    """Configure a volume inside of the one that the workload runs with. Returns its directory, which is there."""
    volume = dataclasses.replace(workload.spec.volumes[0], source="data/inner")
    spec = dataclasses.replace(workload.spec, volumes=(volume,), strategy=strategy)
    await bench.workloads.update_spec(workload.id, spec, "ann")
    inner = bench.base / "notes" / "data" / "inner"
    inner.mkdir()
    return inner


async def test_a_link_that_the_old_version_plants_as_it_ends_is_never_mounted(bench: Bench) -> None:
    workload = await bench.deployed()
    (before,) = await bench.there(workload)
    inner = await narrow(bench, workload)

    async def plant(call: Call) -> None:
        if call.name == "stop" and not inner.is_symlink():
            inner.rmdir()
            inner.symlink_to("/")

    bench.on_call = plant
    bench.runtime.calls.clear()
    operation = await bench.deploy(workload)
    assert code(operation) == "volume_is_symlink"
    assert not bench.calls("create")
    assert [c.id for c in await bench.running(workload)] == [before.id]


async def test_a_volume_inside_of_one_that_a_running_container_writes_to_is_refused(bench: Bench) -> None:
    workload = await bench.deployed()
    (before,) = await bench.there(workload)
    await narrow(bench, workload, Strategy.BLUE_GREEN)
    bench.runtime.calls.clear()
    operation = await bench.deploy(workload)
    assert code(operation) == "volume_in_reach"
    assert not bench.calls("create")
    assert [c.id for c in await bench.running(workload)] == [before.id]


async def stranger(
    bench: Bench,
    source: Path,
    *,
    read_only: bool = False,
    runs: bool = True,
    restart: RestartPolicy = RestartPolicy.UNLESS_STOPPED,
) -> str:
    """A container of somebody else that has ``source`` mounted."""
    bench.runtime.add_image("theirs:1")
    bind = Bind(source=str(source), target="/theirs", read_only=read_only)
    made = await bench.runtime.create(
        ContainerSpec(name="stranger", image="theirs:1", binds=(bind,), restart=restart, labels={})
    )
    if runs:
        await bench.runtime.start(made)
    return made


@pytest.mark.parametrize("where", [".", "notes", "notes/data", "notes/data/inner"])
async def test_a_strangers_container_that_writes_to_a_volume_is_refused_before_anything_is_touched(
    bench: Bench, where: str
) -> None:
    workload = await bench.deployed()
    (bench.base / "notes" / "data" / "inner").mkdir()
    (before,) = await bench.there(workload)
    made = await stranger(bench, bench.base / where)
    bench.runtime.add_image("notes:2")
    operation = await bench.deploy(workload, "notes:2")
    assert code(operation) == "path_in_use"
    assert "stranger" in message(operation)
    assert await bench.there(workload) == (before,)
    await bench.runtime.remove(made, force=True)
    assert (await bench.deploy(workload, "notes:2")).state is OperationState.SUCCEEDED


async def test_a_strangers_container_that_the_engine_would_start_is_refused_one_that_it_would_not_is_told(
    bench: Bench,
) -> None:
    workload = await bench.deployed()
    bench.runtime.add_image("notes:2")
    made = await stranger(bench, bench.base / "notes" / "data", runs=False, restart=RestartPolicy.ALWAYS)
    assert code(await bench.deploy(workload, "notes:2")) == "path_in_use"
    await bench.runtime.remove(made)
    await stranger(bench, bench.base / "notes" / "data", runs=False)
    operation = await bench.deploy(workload, "notes:2")
    assert operation.state is OperationState.SUCCEEDED
    assert any("stranger" in entry.message and entry.level == "warning" for entry in operation.log)


async def test_a_strangers_container_that_only_reads_a_volume_is_no_second_writer(bench: Bench) -> None:
    workload = await bench.deployed()
    bench.runtime.add_image("notes:2")
    await stranger(bench, bench.base / "notes" / "data", read_only=True)
    assert (await bench.deploy(workload, "notes:2")).state is OperationState.SUCCEEDED


async def test_what_a_workload_only_reads_others_may_write_but_not_replace(bench: Bench) -> None:
    volume = dataclasses.replace(STATEFUL.volumes[0], read_only=True)
    workload = await bench.deployed(dataclasses.replace(STATEFUL, volumes=(volume,)))
    bench.runtime.add_image("notes:2")
    bench.runtime.add_image("notes:3")
    made = await stranger(bench, bench.base / "notes" / "data")
    assert (await bench.deploy(workload, "notes:2")).state is OperationState.SUCCEEDED
    await bench.runtime.remove(made, force=True)
    await stranger(bench, bench.base / "notes")
    assert code(await bench.deploy(workload, "notes:3")) == "path_in_use"


async def test_a_workload_is_not_started_beside_a_strangers_container_on_its_volume(bench: Bench) -> None:
    workload = await bench.deployed()
    await bench.stop(workload)
    await stranger(bench, bench.base / "notes" / "data")
    bench.runtime.calls.clear()
    assert code(await bench.start(workload)) == "path_in_use"
    assert not bench.calls("start")


async def test_a_stranger_that_comes_while_the_old_version_stops_keeps_the_new_one_from_starting(bench: Bench) -> None:
    workload = await bench.deployed()
    (before,) = await bench.there(workload)
    bench.runtime.add_image("notes:2")
    came = False

    async def come(call: Call) -> None:
        nonlocal came
        if call.name == "stop" and not came:
            came = True
            await stranger(bench, bench.base / "notes" / "data")

    bench.on_call = come
    operation = await bench.deploy(workload, "notes:2")
    assert code(operation) == "path_in_use"
    assert [c.id for c in await bench.running(workload)] == [before.id]


async def test_an_engine_that_hangs_fails_the_deployment_with_its_code_and_touches_nothing(bench: Bench) -> None:
    workload = await bench.deployed()
    bench.runtime.add_image("notes:2")
    bench.runtime.hang("containers")
    before = bench.runtime.engine.state.containers.copy()
    operation = await bench.deploy(workload, "notes:2")
    assert code(operation) == "engine_timeout"
    assert bench.runtime.engine.state.containers == before


@pytest.mark.parametrize("call", ["tag", "stop", "ensure_network", "create"])
async def test_an_engine_that_hangs_halfway_leaves_the_old_version_running(bench: Bench, call: str) -> None:
    workload = await bench.deployed()
    (before,) = await bench.running(workload)
    bench.runtime.add_image("notes:2")
    bench.runtime.hang(call)
    operation = await bench.deploy(workload, "notes:2")
    bench.runtime.heal()
    assert code(operation) == "engine_timeout"
    assert (await bench.newest(workload)).state is DeploymentState.RETURNED
    assert [c.id for c in await bench.running(workload)] == [before.id]


async def test_a_policy_that_can_t_be_disarmed_leaves_the_old_version_running(bench: Bench) -> None:
    workload = await bench.deployed()
    before = await bench.running(workload)
    bench.runtime.add_image("notes:2")
    bench.runtime.fail("set_restart_policy", times=1)
    assert code(await bench.deploy(workload, "notes:2")) == "engine_unavailable"
    assert await bench.running(workload) == before


async def test_a_new_version_that_can_t_be_armed_is_replaced_by_the_previous_one(bench: Bench) -> None:
    workload = await bench.deployed(STATELESS)
    before = await bench.running(workload)
    bench.runtime.add_image("notes:2")
    bench.runtime.fail("set_restart_policy", times=1)
    assert code(await bench.deploy(workload, "notes:2")) == "engine_unavailable"
    assert await bench.there(workload) == before


async def test_an_image_without_a_health_check_is_refused_where_it_is_to_judge(bench: Bench) -> None:
    workload = await bench.deployed()
    checked = dataclasses.replace(workload.spec, health=HealthCheck(type=HealthType.DOCKER))
    await bench.workloads.update_spec(workload.id, checked, "ann")
    await untouched(bench, workload, "image_has_no_healthcheck", "notes:1")


async def test_a_workload_whose_restore_waits_for_a_decision_is_not_deployed_nor_started(bench: Bench) -> None:
    workload = await bench.deployed()
    bench.undecided.add(workload.id)
    await untouched(bench, workload, "restore_undecided")
    assert code(await bench.start(workload)) == "restore_undecided"
    assert (await bench.stop(workload)).state is OperationState.SUCCEEDED


async def test_volumes_that_a_person_accepts_as_they_are_don_t_stop_a_deployment(bench: Bench) -> None:
    workload = await bench.deployed()
    bench.runtime.add_image("notes:2")
    (bench.base / "notes" / "data").rmdir()
    operation = await bench.deployer.deploy("notes", image="notes:2", accept_volumes=True, actor="ann")
    assert (await bench.ended(operation)).state is OperationState.SUCCEEDED
    assert (bench.base / "notes" / "data").is_dir()
    assert (await bench.reload(workload)).spec.image == "notes:2"


async def test_an_unknown_workload_and_a_malformed_image_are_told_at_once(bench: Bench) -> None:
    with pytest.raises(NotFound):
        await bench.deployer.deploy("nobody", actor="ann")
    await bench.add()
    with pytest.raises(InvalidInput):
        await bench.deployer.deploy("notes", image="Not An Image", actor="ann")


# --- cancelling --------------------------------------------------------------------------------------------------


async def test_cancelling_before_the_old_version_is_stopped_leaves_all_as_it_was(bench: Bench) -> None:
    workload = await bench.deployed()
    before = await bench.there(workload)
    bench.runtime.add_image("notes:2")

    async def cancel(call: Call) -> None:
        if call.name == "tag":
            await bench.operations.cancel((await running_operation(bench)).id)

    bench.on_call = cancel
    bench.runtime.calls.clear()
    operation = await bench.deploy(workload, "notes:2")
    assert operation.state is OperationState.CANCELLED
    assert "still runs" in message(operation)
    assert await bench.there(workload) == before
    assert not bench.calls("stop", "create")


@pytest.mark.parametrize("spec", [STATEFUL, STATELESS], ids=["recreate", "blue_green"])
async def test_cancelling_during_the_gate_goes_back(bench: Bench, spec: WorkloadSpec) -> None:
    workload = await bench.deployed(spec)
    (before,) = await bench.there(workload)
    bench.runtime.add_image("notes:2")

    async def cancel() -> None:
        bench.clock.while_asleep = None
        await bench.operations.cancel((await running_operation(bench)).id)

    bench.clock.while_asleep = cancel
    operation = await bench.deploy(workload, "notes:2")
    assert operation.state is OperationState.CANCELLED
    assert [c.id for c in await bench.there(workload)] == [before.id]
    assert [c.id for c in await bench.running(workload)] == [before.id]
    assert (await bench.newest(workload)).state is DeploymentState.RETURNED


async def test_a_deployment_that_waits_for_another_can_be_cancelled_while_it_waits(bench: Bench) -> None:
    workload = await bench.deployed()
    async with bench.locks.hold([workload.id], "restore 01j"):
        operation = await bench.deployer.deploy("notes", actor="ann")
        async for seen in bench.operations.events(operation.id):
            if seen.waiting_for:
                assert seen.waiting_for == "waiting for restore 01j"
                break
        await bench.operations.cancel(operation.id)
        assert (await bench.ended(operation)).state is OperationState.CANCELLED


# --- one at a time -----------------------------------------------------------------------------------------------


async def test_fifty_deployments_of_one_workload_never_run_two_at_once(bench: Bench) -> None:
    workload = await bench.deployed()
    images = [f"notes:{number}" for number in range(2, 7)]
    for image in images:
        bench.runtime.add_image(image)
    most = 0

    async def look(_call: Call) -> None:
        nonlocal most
        alive = [c for c in bench.runtime.engine.state.containers.values() if c.alive]
        open_attempts = [d for d in await bench.deployments.unfinished() if d.workload_id == workload.id]
        most = max(most, len(alive), len(open_attempts))

    bench.on_call = look
    started = [
        await bench.deployer.deploy("notes", image=images[number // 10], actor=f"person {number}")
        for number in range(50)
    ]
    ended = [await bench.ended(operation) for operation in started]
    assert {operation.state for operation in ended} == {OperationState.SUCCEEDED}
    assert [operation.outcome["result"] for operation in ended].count("deployed") == len(images)
    assert most == 1
    (instance,) = await bench.there(workload)
    assert (await bench.reload(workload)).spec.image == images[-1]
    assert instance.running


@pytest.mark.parametrize("what", ["deploy", "stop", "start"])
async def test_a_key_that_is_sent_twice_does_it_once(bench: Bench, what: str) -> None:
    workload = await bench.deployed()
    do = getattr(bench.deployer, what)
    one = await do("notes", actor="ann", idempotency_key="k")
    two = await do("notes", actor="ann", idempotency_key="k")
    assert one.id == two.id
    await bench.ended(one)
    assert (await do("notes", actor="ann", idempotency_key="k")).id == one.id
    assert len([each for each in await bench.there(workload) if each.running]) == (what != "stop")


@pytest.mark.parametrize("trial", [False, True])
async def test_what_lies_below_the_lock_insists_on_it(bench: Bench, trial: bool) -> None:
    one, other = await bench.deployed(), await bench.add(dataclasses.replace(STATELESS, name="other"))
    version = await bench.images.pinned((await bench.there(one))[0].image_id)

    async def redeploy(ctx: OperationContext) -> None:
        async with bench.locks.hold([other.id], "test") as held:
            with pytest.raises(RuntimeError):
                await bench.deployer.redeploy_locked(held, one, version, ctx, trial=trial, reason=DeployReason.RESTORE)

    await bench.within(redeploy)


# --- stop and start ----------------------------------------------------------------------------------------------


async def test_stopping_is_written_down_first_and_survives_a_restart_of_the_engine(bench: Bench) -> None:
    workload = await bench.deployed(dataclasses.replace(STATEFUL, restart=RestartPolicy.ALWAYS))
    wanted: list[DesiredState] = []

    async def look(call: Call) -> None:
        if call.name in ("set_restart_policy", "stop"):
            wanted.append((await bench.reload(workload)).desired)

    bench.on_call = look
    operation = await bench.stop(workload)
    assert operation.outcome == {"clean": True}  # and no word of any that did not end well
    assert set(wanted) == {DesiredState.STOPPED}
    bench.runtime.restart_engine()
    assert await bench.running(workload) == ()


async def test_who_had_to_be_killed_for_a_deployment_or_a_stop_is_told(bench: Bench) -> None:
    workload = await bench.deployed(dataclasses.replace(STATEFUL, stop_grace=7.0), Behaviour(ignores_term=True))
    (old,) = await bench.running(workload)
    bench.runtime.add_image("notes:2", Behaviour(term_exit_code=4))
    operation = await bench.deploy(workload, "notes:2")
    (new,) = await bench.running(workload)
    stopped = await bench.stop(workload)
    assert stopped.outcome["clean"] is False
    for ended, name, brief in ((operation, old.name, "killed after 7 s"), (stopped, new.name, "exit code 4")):
        assert ended.state is OperationState.SUCCEEDED
        (told,) = cast("list[dict[str, object]]", ended.outcome["unclean_stops"])
        assert (told["container"], told["brief"]) == (name, brief)
        assert told["words"] in [line.message for line in ended.log if line.level == "warning"]


async def test_starting_runs_the_stopped_instance_again_with_its_policy(bench: Bench) -> None:
    workload = await bench.deployed(dataclasses.replace(STATEFUL, restart=RestartPolicy.ALWAYS))
    (before,) = await bench.there(workload)
    await bench.stop(workload)
    operation = await bench.start(workload)
    assert operation.outcome["result"] == "already_there"
    (after,) = await bench.running(workload)
    assert (after.id, after.restart) == (before.id, RestartPolicy.ALWAYS)
    assert (await bench.reload(workload)).desired is DesiredState.RUNNING


async def test_starting_thaws_a_paused_instance(bench: Bench) -> None:
    workload = await bench.deployed()
    (instance,) = await bench.there(workload)
    await bench.runtime.pause(instance.id)
    assert (await bench.start(workload)).state is OperationState.SUCCEEDED


async def test_starting_runs_what_was_deployed_and_not_what_is_only_configured(bench: Bench) -> None:
    workload = await bench.deployed()
    (before,) = await bench.there(workload)
    await bench.stop(workload)
    await bench.runtime.remove(before.id)
    bench.runtime.add_image("notes:2")
    await bench.workloads.update_spec(workload.id, dataclasses.replace(workload.spec, image="notes:2"), "ann")
    operation = await bench.start(workload)
    assert operation.outcome["result"] == "deployed"
    (after,) = await bench.running(workload)
    assert after.image_id == before.image_id
    assert (await bench.reload(workload)).spec.image == "notes:2"


async def test_starting_refuses_a_missing_volume_and_leaves_the_workload_stopped(bench: Bench) -> None:
    workload = await bench.deployed()
    await bench.stop(workload)
    (bench.base / "notes" / "data").rmdir()
    assert code(await bench.start(workload)) == "volume_missing"
    assert await bench.running(workload) == ()
    assert (await bench.reload(workload)).desired is DesiredState.STOPPED


async def test_a_start_that_does_not_become_healthy_says_so(bench: Bench) -> None:
    workload = await bench.deployed(behaviour=Behaviour(writes={"/data/db": "rows"}))
    await bench.stop(workload)
    bench.runtime.engine.state.images[(await bench.newest(workload)).image_id].behaviour = CRASHING
    operation = await bench.start(workload)
    assert code(operation) == "start_unhealthy"
    assert (await bench.reload(workload)).desired is DesiredState.RUNNING


async def test_what_was_never_deployed_can_t_be_started(bench: Bench) -> None:
    assert code(await bench.start(await bench.add())) == "never_deployed"


# --- looking -----------------------------------------------------------------------------------------------------


async def test_deployments_are_listed_by_name_or_id(bench: Bench) -> None:
    workload = await bench.deployed()
    page = await bench.deployer.deployments("notes", 1, None)
    assert [deployment.id for deployment in page.items] == [(await bench.newest(workload)).id]
    with pytest.raises(NotFound):
        await bench.deployer.deployments("nobody", 1, None)


async def test_containers_of_others_are_never_touched(bench: Bench) -> None:
    image = bench.runtime.add_image("stranger:1")
    labels = {"holdfast.workload": "someone's", "holdfast.installation": "another"}
    stranger = await bench.runtime.create(ContainerSpec(name="stranger", image=image.id, labels=labels))
    await bench.runtime.start(stranger)
    workload = await bench.deployed()
    bench.runtime.add_image("notes:2", CRASHING)
    await bench.deploy(workload, "notes:2")
    await bench.stop(workload)
    assert stranger not in {call.subject for call in bench.calls("stop", "remove", "set_restart_policy")}
    assert (await bench.runtime.inspect(stranger)).running


async def test_two_writers_side_by_side_are_what_an_owner_may_spell_out(bench: Bench) -> None:
    workload = await bench.deployed(dataclasses.replace(STATEFUL, strategy=Strategy.BLUE_GREEN, max_instances=2))
    assert len(await bench.running(workload)) == 2
