"""Writers are held still, and let go exactly as they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.domain.errors import Failed, Unavailable
from holdfast.domain.restore import ContainerFacts
from holdfast.domain.stopping import UncleanEnd, UncleanStop
from holdfast.domain.workload import RestartPolicy
from holdfast.runtime.port import LABEL_INSTALLATION, LABEL_WORKLOAD, Bind, ContainerSpec, ContainerState
from holdfast.services.quiesce import LetGo, Quiescer
from holdfast.testing.fake_records import Behaviour, Outage
from holdfast.testing.fake_runtime import Call, FakeRuntime

OWN = "01j00000000000000000000000"
GRACES = {"a": 5.0, "b": 5.0}


@pytest.fixture
def runtime() -> FakeRuntime:
    runtime = FakeRuntime()
    runtime.add_image("notes:1")
    return runtime


@pytest.fixture
def quiescer(runtime: FakeRuntime) -> Quiescer:
    return Quiescer(runtime, OWN)


async def made(
    runtime: FakeRuntime,
    name: str,
    *,
    workload: str = "a",
    installation: str = OWN,
    policy: RestartPolicy = RestartPolicy.ALWAYS,
    image: str = "notes:1",
    runs: bool = True,
) -> str:
    labels = {LABEL_INSTALLATION: installation, LABEL_WORKLOAD: workload}
    made = await runtime.create(ContainerSpec(name=name, image=image, labels=labels))
    await runtime.set_restart_policy(made, policy, 3 if policy is RestartPolicy.ON_FAILURE else 0)
    if runs:
        await runtime.start(made)
    return made


async def states(runtime: FakeRuntime) -> dict[str, tuple[ContainerState, RestartPolicy, int]]:
    return {c.name: (c.state, c.restart, c.max_retries) for c in await runtime.containers()}


async def test_a_survey_finds_stopped_and_running_containers_of_these_workloads_alone(
    runtime: FakeRuntime, quiescer: Quiescer
) -> None:
    await made(runtime, "runs")
    await made(runtime, "stands", workload="b", runs=False)
    await made(runtime, "another-workload", workload="c")
    await made(runtime, "another-installation", installation="01j00000000000000000000001")
    found = {facts.name: facts for facts in await quiescer.survey(["a", "b"])}
    assert set(found) == {"runs", "stands"}
    assert (found["runs"].running, found["stands"].running) == (True, False)
    assert found["runs"].restart_policy is RestartPolicy.ALWAYS


async def test_policies_are_disarmed_before_anything_is_stopped(runtime: FakeRuntime, quiescer: Quiescer) -> None:
    for name in ("one", "two"):
        await made(runtime, name)
    facts = await quiescer.survey(["a"])
    runtime.calls.clear()
    assert await quiescer.stop(facts, GRACES) == ()
    changes = [call.name for call in runtime.calls if call.name in ("set_restart_policy", "stop")]
    assert changes == ["set_restart_policy", "set_restart_policy", "stop", "stop"]
    runtime.restart_engine(Outage.POWER)
    assert set((await states(runtime)).values()) == {(ContainerState.EXITED, RestartPolicy.NO, 0)}


async def test_a_stopped_container_that_the_engine_would_start_is_disarmed_too(
    runtime: FakeRuntime, quiescer: Quiescer
) -> None:
    stands = await made(runtime, "stands")
    await runtime.stop(stands, 1.0)
    await quiescer.stop(await quiescer.survey(["a"]), GRACES)
    assert (await runtime.inspect(stands)).restart is RestartPolicy.NO


async def test_who_outlasts_the_grace_of_its_workload_is_killed_and_that_is_told(
    runtime: FakeRuntime, quiescer: Quiescer
) -> None:
    runtime.add_image("slow:1", Behaviour(stops_after=3.0))
    await made(runtime, "slow", image="slow:1")
    facts = await quiescer.survey(["a"])
    killed = UncleanStop(container="slow", end=UncleanEnd.KILLED, exit_code=137, grace_seconds=2.0)
    assert await quiescer.stop(facts, {"a": 2.0}) == (killed,)
    await quiescer.let_go(facts)
    assert await quiescer.stop(facts, {"a": 4.0}) == ()


async def test_who_ends_badly_is_told_beside_who_ends_well(runtime: FakeRuntime, quiescer: Quiescer) -> None:
    runtime.add_image("failing:1", Behaviour(term_exit_code=3))
    runtime.add_image("hungry:1", Behaviour(out_of_memory_at_term=True))
    for name, image in (("well", "notes:1"), ("failing", "failing:1"), ("hungry", "hungry:1")):
        await made(runtime, name, image=image)
    found = await quiescer.stop(await quiescer.survey(["a"]), GRACES)
    assert {stop.container: (stop.end, stop.exit_code) for stop in found} == {
        "failing": (UncleanEnd.FAILED, 3),
        "hungry": (UncleanEnd.OUT_OF_MEMORY, 137),
    }


async def test_a_container_that_runs_on_after_its_stop_is_an_error(runtime: FakeRuntime, quiescer: Quiescer) -> None:
    identifier = await made(runtime, "stubborn")
    facts = await quiescer.survey(["a"])

    async def comes_back(call: Call) -> None:
        if call.name == "inspect":
            runtime.engine.start(runtime.engine.find(identifier))

    stubborn = FakeRuntime(on_call=comes_back)
    stubborn.engine = runtime.engine
    with pytest.raises(Failed) as caught:
        await Quiescer(stubborn, OWN).stop(facts, GRACES)
    assert caught.value.code == "stop_not_confirmed"
    assert "stubborn" in caught.value.message
    assert caught.value.next_step


async def test_only_what_runs_is_paused(runtime: FakeRuntime, quiescer: Quiescer) -> None:
    await made(runtime, "runs")
    await runtime.pause(await made(runtime, "paused-by-hand"))
    await made(runtime, "stands", runs=False)
    await quiescer.pause(await quiescer.survey(["a"]))
    assert {name: state for name, (state, _, _) in (await states(runtime)).items()} == {
        "runs": ContainerState.PAUSED,
        "paused-by-hand": ContainerState.PAUSED,
        "stands": ContainerState.CREATED,
    }


@pytest.mark.parametrize("held", ["stopped", "paused"])
async def test_letting_go_gives_everything_back_as_it_was_however_often(
    runtime: FakeRuntime, quiescer: Quiescer, held: str
) -> None:
    await made(runtime, "always")
    await made(runtime, "on-failure", policy=RestartPolicy.ON_FAILURE)
    await made(runtime, "unless-stopped", policy=RestartPolicy.UNLESS_STOPPED)
    await runtime.pause(await made(runtime, "paused-by-hand", workload="b"))
    await runtime.stop(await made(runtime, "stopped-by-hand", workload="b"), 1.0)
    before = await states(runtime)
    facts = await quiescer.survey(["a", "b"])
    if held == "stopped":
        await quiescer.stop(facts, GRACES)
    else:
        await quiescer.pause(facts)
    assert await states(runtime) != before
    for _ in range(2):
        assert await quiescer.let_go(facts) == LetGo()
        assert await states(runtime) == before


async def test_letting_go_names_what_is_gone_and_does_the_rest(runtime: FakeRuntime, quiescer: Quiescer) -> None:
    for name in ("one", "two", "three"):
        await made(runtime, name)
    before = await states(runtime)
    facts = await quiescer.survey(["a"])
    await quiescer.stop(facts, GRACES)
    await runtime.remove("two")
    assert await quiescer.let_go(facts) == LetGo(gone=("two",))
    assert await states(runtime) == {name: state for name, state in before.items() if name != "two"}


async def test_an_engine_that_is_away_is_told_and_letting_go_can_be_repeated(
    runtime: FakeRuntime, quiescer: Quiescer
) -> None:
    for name in ("one", "two"):
        await made(runtime, name)
    before = await states(runtime)
    facts = await quiescer.survey(["a"])
    await quiescer.stop(facts, GRACES)
    runtime.fail("start", times=1, after=True)
    with pytest.raises(Unavailable):
        await quiescer.let_go(facts)
    await quiescer.let_go(facts)
    assert await states(runtime) == before


async def test_nothing_is_started_on_a_path_that_is_barred_and_the_rest_is(
    runtime: FakeRuntime, quiescer: Quiescer, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(tmp_path)  # as where the engine is reached through one
    for name in ("data", "media"):
        (tmp_path / name).mkdir()
        bind = Bind(source=str(tmp_path / "link" / name), target="/in", read_only=False)
        labels = {LABEL_INSTALLATION: OWN, LABEL_WORKLOAD: "a"}
        made = await runtime.create(ContainerSpec(name=name, image="notes:1", labels=labels, binds=(bind,)))
        await runtime.set_restart_policy(made, RestartPolicy.ALWAYS)
        await runtime.start(made)
    facts = await quiescer.survey(["a"])
    await quiescer.stop(facts, GRACES)
    assert await quiescer.let_go(facts, not_on=[str(tmp_path / "data")]) == LetGo(left=("data",))
    found = await states(runtime)
    assert found["data"] == (ContainerState.EXITED, RestartPolicy.ALWAYS, 0)
    assert found["media"] == (ContainerState.RUNNING, RestartPolicy.ALWAYS, 0)


async def test_facts_that_never_ran_start_nothing(runtime: FakeRuntime, quiescer: Quiescer) -> None:
    await made(runtime, "runs")
    (facts,) = await quiescer.survey(["a"])
    await quiescer.stop([facts], GRACES)
    stopped: ContainerFacts = replace(facts, running=False, restart_policy=RestartPolicy.NO)
    await quiescer.let_go([stopped])
    assert (await states(runtime))["runs"][0] is ContainerState.EXITED
