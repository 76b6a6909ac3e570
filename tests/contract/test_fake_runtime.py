"""The fake passes the suite of the port, and misbehaves as asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from holdfast.domain.errors import Failed, Unavailable
from holdfast.domain.workload import RestartPolicy
from holdfast.runtime.port import Bind, Container, ContainerSpec, ContainerState, ExecResult, ImageHealth
from holdfast.testing.fake_records import Behaviour, Command, Outage
from holdfast.testing.fake_runtime import Call, FakeRuntime
from tests.contract.runtime import RuntimeContract
from tests.contract.runtime_lab import FAILING, HANGING, HELLO, MARK, MARKED, WHO, Images


@pytest.fixture
def runtime(tmp_path: Path) -> FakeRuntime:
    runtime = FakeRuntime(root_dir=str(tmp_path))
    runtime.on_exec(HELLO, ExecResult(code=0, output="hello\n"))
    runtime.on_exec(FAILING, ExecResult(code=1, output=""))
    marked: list[bool] = []

    def mark(_container: Container, _command: Sequence[str]) -> ExecResult:
        marked.append(True)
        return ExecResult(code=0, output="")

    runtime.on_exec(MARK, mark)
    runtime.on_exec(MARKED, lambda _container, _command: ExecResult(code=0 if marked else 1, output=""))
    return runtime


@pytest.fixture
def images(runtime: FakeRuntime) -> Images:
    images = Images(
        steady="test/steady:latest",
        stubborn="test/stubborn",
        failing="test/failing",
        healthy="test/healthy",
        unhealthy="test/unhealthy",
        printing="test/printing",
        writing="test/writing",
    )
    hanging = {" ".join(HANGING): Command(hangs=True)}
    runtime.add_image(images.steady, Behaviour(logs=("ready",), commands=hanging))
    who = {" ".join(WHO): Command(output="1000\n")}
    runtime.add_image(images.stubborn, Behaviour(ignores_term=True, logs=("ready",)))
    runtime.add_image(images.failing, Behaviour(exit_code=3))
    runtime.add_image(images.healthy, Behaviour(health=ImageHealth.HEALTHY, logs=("ready",)))
    runtime.add_image(images.unhealthy, Behaviour(health=ImageHealth.UNHEALTHY, logs=("ready",)))
    runtime.add_image(images.printing, Behaviour(logs=("ready", "one", "stderr:two", "three")))
    runtime.add_image(
        images.writing, Behaviour(writes={"/data/file": "written"}, logs=("ready",), commands=who), user="1000"
    )
    return images


class TestFakeRuntime(RuntimeContract):
    pass


def spec(runtime: FakeRuntime, image: str = "app", **facts: object) -> ContainerSpec:
    found = runtime.engine.find_image(image)
    assert found is not None
    return ContainerSpec(**{"name": "a", "image": found.id, "labels": {}, **facts})  # type: ignore[arg-type] # by name


async def test_another_process_meets_the_same_engine(tmp_path: Path) -> None:
    first = FakeRuntime(state_file=tmp_path / "engine")
    first.add_image("app", Behaviour(health=ImageHealth.HEALTHY))
    container_id = await first.create(
        spec(first, binds=[Bind(source=str(tmp_path), target="/data")], restart=RestartPolicy.ALWAYS)
    )
    await first.start(container_id)
    second = FakeRuntime(state_file=tmp_path / "engine")
    assert await second.inspect(container_id) == await first.inspect(container_id)
    assert await second.image("app") == await first.image("app")


async def test_after_a_power_cut_the_engine_brings_back_what_its_policies_say() -> None:
    runtime = FakeRuntime()
    runtime.add_image("app")
    ids: dict[tuple[RestartPolicy, str], str] = {}
    for policy in RestartPolicy:
        for was in ("running", "paused", "stopped", "created"):
            container_id = await runtime.create(spec(runtime, name=f"{policy}-{was}", restart=policy))
            ids[policy, was] = container_id
            if was != "created":
                await runtime.start(container_id)
            if was == "paused":
                await runtime.pause(container_id)
            if was == "stopped":
                await runtime.stop(container_id, 1)
    runtime.restart_engine(Outage.POWER)
    after = {key: (await runtime.inspect(container_id)).state.value for key, container_id in ids.items()}
    running = {key for key, state in after.items() if state == "running"}
    assert running == {
        (RestartPolicy.ALWAYS, "running"),
        (RestartPolicy.ALWAYS, "paused"),
        (RestartPolicy.ALWAYS, "stopped"),
        (RestartPolicy.UNLESS_STOPPED, "running"),
        (RestartPolicy.UNLESS_STOPPED, "paused"),
        (RestartPolicy.ON_FAILURE, "running"),
        (RestartPolicy.ON_FAILURE, "paused"),
    }
    killed = await runtime.inspect(ids[RestartPolicy.NO, "running"])
    assert (killed.state, killed.exit_code) == (ContainerState.EXITED, 255)


async def test_a_crashed_engine_stops_what_it_finds_alive_as_a_person_would() -> None:
    runtime = FakeRuntime()
    runtime.add_image("app")
    runtime.add_image("stubborn", Behaviour(ignores_term=True))
    kept = await runtime.create(spec(runtime, name="kept", restart=RestartPolicy.ALWAYS))
    down = await runtime.create(spec(runtime, name="down", restart=RestartPolicy.UNLESS_STOPPED))
    killed = await runtime.create(spec(runtime, "stubborn", name="killed"))
    for container_id in (kept, down, killed):
        await runtime.start(container_id)
    runtime.restart_engine()
    assert (await runtime.inspect(kept)).state is ContainerState.RUNNING
    assert (await runtime.inspect(down)).state is ContainerState.EXITED
    assert (await runtime.inspect(killed)).exit_code == 137


async def test_a_file_that_must_be_there_decides_whether_it_runs(tmp_path: Path) -> None:
    runtime = FakeRuntime()
    runtime.add_image("app", Behaviour(requires={"/data/version": "2"}))
    container_id = await runtime.create(spec(runtime, binds=[Bind(source=str(tmp_path), target="/data")]))
    await runtime.start(container_id)
    failed = await runtime.inspect(container_id)
    assert (failed.state, failed.exit_code) == (ContainerState.EXITED, 1)
    (tmp_path / "version").write_text("2")
    await runtime.start(container_id)
    assert (await runtime.inspect(container_id)).state is ContainerState.RUNNING


async def test_a_crash_loop_is_found_running_now_and_then() -> None:
    runtime = FakeRuntime()
    runtime.add_image("app", Behaviour(exit_code=1, looks_before_exit=1))
    container_id = await runtime.create(spec(runtime, restart=RestartPolicy.ALWAYS))
    await runtime.start(container_id)
    looks = [await runtime.inspect(container_id) for _ in range(6)]
    assert [look.state for look in looks[:3]] == [
        ContainerState.RUNNING,
        ContainerState.RESTARTING,
        ContainerState.RUNNING,
    ]
    assert looks[-1].restart_count >= 2


async def test_a_slow_start_is_starting_first() -> None:
    now = 1000.0
    runtime = FakeRuntime(clock=lambda: now)
    runtime.add_image("app", Behaviour(health=ImageHealth.HEALTHY, healthy_after=5))
    container_id = await runtime.create(spec(runtime))
    await runtime.start(container_id)
    assert (await runtime.inspect(container_id)).health is ImageHealth.STARTING
    now += 5
    assert (await runtime.inspect(container_id)).health is ImageHealth.HEALTHY


async def test_what_runs_in_this_process_sees_the_container() -> None:
    runtime = FakeRuntime()
    seen: list[str] = []
    runtime.add_image("app", on_start=lambda container: seen.append(container.name))
    await runtime.start(await runtime.create(spec(runtime)))
    assert seen == ["a"]


async def test_a_pull_takes_what_the_registry_has_now() -> None:
    runtime = FakeRuntime()
    old_digest = runtime.add_remote_image("registry.example/app:1", version="old")
    progress: list[tuple[str, int, int | None]] = []
    old = await runtime.pull("registry.example/app:1", lambda what, done, total: progress.append((what, done, total)))
    new_digest = runtime.add_remote_image("registry.example/app:1", version="new")
    new = await runtime.pull("registry.example/app:1")
    assert progress[-1][1] == progress[-1][2]
    assert (old.digests, new.digests) == ((old_digest,), (new_digest,))
    found = await runtime.image("registry.example/app:1")
    assert found == new
    assert (await runtime.image(old.id)) is not None


async def test_a_call_that_hangs_ends_at_the_time_limit() -> None:
    runtime = FakeRuntime(timeout=0.01)
    runtime.hang("info")
    with pytest.raises(Unavailable) as failure:
        await runtime.info()
    assert failure.value.code == "engine_timeout"
    runtime.heal()
    assert (await runtime.info()).version


async def test_a_call_can_fail_before_or_after_it_took_effect() -> None:
    runtime = FakeRuntime()
    runtime.add_image("app")
    runtime.fail("create", times=1)
    with pytest.raises(Unavailable):
        await runtime.create(spec(runtime))
    assert await runtime.containers() == []
    runtime.fail("create", error=Failed("engine_error", "The answer was lost."), times=1, after=True)
    with pytest.raises(Failed):
        await runtime.create(spec(runtime))
    assert len(await runtime.containers()) == 1
    runtime.fail()
    with pytest.raises(Unavailable):
        await runtime.info()


async def test_events_break_off_when_the_engine_restarts() -> None:
    runtime = FakeRuntime()
    events = runtime.events()
    runtime.restart_engine()
    with pytest.raises(Unavailable):
        await anext(events)


async def test_followed_logs_tell_what_is_printed_later() -> None:
    runtime = FakeRuntime()
    runtime.add_image("app", Behaviour(logs=("first",)))
    container_id = await runtime.create(spec(runtime))
    await runtime.start(container_id)
    logs = runtime.logs(container_id, follow=True)
    assert (await anext(logs)).text == "first"
    later = asyncio.ensure_future(anext(logs))
    runtime.print(container_id, "second")
    assert (await later).text == "second"
    runtime.crash(container_id)
    with pytest.raises(StopAsyncIteration):
        await anext(logs)


async def test_every_call_is_recorded_and_can_be_watched() -> None:
    watched: list[Call] = []

    async def watch(call: Call) -> None:
        watched.append(call)

    runtime = FakeRuntime(newer_api=True, on_call=watch)
    assert (await runtime.info()).api_version == "1.52"
    await runtime.image("app")
    assert runtime.calls == watched == [Call(name="info", subject=""), Call(name="image", subject="app")]
