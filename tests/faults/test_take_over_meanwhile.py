"""What others do while containers are taken over: nothing runs twice on data, and nothing is said that isn't so."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.faults.take_over_bench import by_name, db_and_web, engine_of, place_at, taken_over

from holdfast.bootstrap import Holdfast, Seams
from holdfast.config import Settings
from holdfast.domain.errors import Failed, HoldfastError
from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.workload import DesiredState, RestartPolicy, WorkloadSpec
from holdfast.engine.fs import Fs
from holdfast.services.workload_status import Condition
from holdfast.testing.fake_records import engine_error
from holdfast.testing.fake_runtime import Call, FakeRuntime
from holdfast.testing.installation import Installation, ended, succeeded
from holdfast.testing.quick_workers import QuickWorkers

BOTH = ("home-web-1", "home-db-1")

OnCall = Callable[[FakeRuntime, Call], Awaitable[None]]


def meddled(directory: Path, on_call: OnCall) -> Installation:
    """A place whose engine has ``on_call`` awaited at the beginning of each call."""

    def runtime(_settings: Settings) -> FakeRuntime:
        async def awaited(call: Call) -> None:
            await on_call(made, call)

        made = FakeRuntime(state_file=directory / "engine.json", root_dir=str(directory), on_call=awaited)
        return made

    return replace(place_at(directory), runtime=runtime)


class Fails:
    """Fails the creation of an instance, the ``number``-th one, and has something done right before."""

    def __init__(self, do: Callable[[FakeRuntime], object] = lambda _engine: None, *, number: int = 1) -> None:
        self._do = do
        self._left = number

    async def __call__(self, engine: FakeRuntime, call: Call) -> None:
        if call.name == "create":
            self._left -= 1
            if self._left == 0:
                self._do(engine)
                raise engine_error("no")


async def failed(holdfast: Holdfast, operation: Operation) -> dict[str, object]:
    """The error of an operation that has to fail."""
    end = await ended(holdfast, operation)
    assert end.state is OperationState.FAILED
    assert end.error is not None
    return end.error


def running(engine: FakeRuntime) -> set[str]:
    return {name for name, container in by_name(engine).items() if container.alive}


async def test_of_two_at_once_one_takes_over_and_the_other_leaves_the_workloads_alone(tmp_path: Path) -> None:
    place = place_at(tmp_path)
    await db_and_web(place)
    async with place.running() as holdfast:
        begun = await asyncio.gather(*(taken_over(holdfast, *BOTH) for _ in range(2)), return_exceptions=True)
        ends = [await ended(holdfast, each) for each in begun if isinstance(each, Operation)]
        assert all(isinstance(each, Operation | HoldfastError) for each in begun)
        assert [end.state for end in ends].count(OperationState.SUCCEEDED) == 1
        for operation in (await holdfast.operations.list(20)).items:
            await ended(holdfast, operation)
        for name in ("db", "web"):
            assert (await holdfast.api.workloads.status(name)).condition is Condition.RUNNING
    assert place.leftovers() == []


async def test_one_that_fails_as_it_begins_takes_no_workload_from_one_that_begins_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_at(tmp_path)
    await db_and_web(place)
    async with place.running() as holdfast:
        real, others, made = holdfast.api.workloads.apply, asyncio.Event(), asyncio.Event()
        first = asyncio.current_task()

        async def apply(spec: WorkloadSpec, **options: Any) -> Any:
            if asyncio.current_task() is not first:
                others.set()
            elif spec.name == "web":
                made.set()
                with suppress(TimeoutError):  # the other one must not come here meanwhile
                    await asyncio.wait_for(others.wait(), 1)
                raise Failed("database_failed", "No.", next_step="Wait.")
            return await real(spec, **options)

        async def second() -> Operation:
            await made.wait()
            return await taken_over(holdfast, *BOTH)

        monkeypatch.setattr(holdfast.api.workloads, "apply", apply)
        beside = asyncio.ensure_future(second())
        with pytest.raises(Failed):
            await taken_over(holdfast, *BOTH)
        await succeeded(holdfast, await beside)
    assert place.leftovers() == []


async def test_a_container_that_was_removed_meanwhile_is_not_said_to_be_put_back(tmp_path: Path) -> None:
    def remove(engine: FakeRuntime) -> None:
        (gone,) = [c for name, c in by_name(engine).items() if name.startswith("home-db-1")]
        engine.engine.remove(gone, force=True)

    await db_and_web(place_at(tmp_path))
    place = meddled(tmp_path, Fails(remove))
    async with place.running() as holdfast:
        error = await failed(holdfast, await taken_over(holdfast, *BOTH))
        assert error["code"] == "take_over_container_gone"
        assert "home-db-1" in str(error["message"])
        assert running(engine_of(holdfast)) == {"home-web-1"}
        (left,) = (await holdfast.api.workloads.list(10, None)).items
        assert left.spec.name == "db"  # to be deployed on the data that is left
        await engine_of(holdfast).remove(by_name(engine_of(holdfast))["home-web-1"].id, force=True)
        await succeeded(holdfast, await holdfast.api.deployer.deploy("db", actor="test"))
    assert place.leftovers() == []


async def test_what_was_taken_back_is_not_to_run_so_that_nothing_brings_it_back_before_the_next_start_does(
    tmp_path: Path,
) -> None:
    await db_and_web(place_at(tmp_path))
    place = meddled(tmp_path, Fails(lambda engine: engine.fail("start", error=engine_error("no")), number=2))
    async with place.running() as holdfast:
        error = await failed(holdfast, await taken_over(holdfast, *BOTH))
        assert error["code"] == "take_over_return_failed"
        engine_of(holdfast).heal()
        taken_back = (await holdfast.api.workloads.list(10, None)).items
        assert {workload.desired for workload in taken_back} == {DesiredState.STOPPED}
    async with place.running() as holdfast:
        for operation in (await holdfast.operations.list(10)).items:
            await ended(holdfast, operation)
        assert running(engine_of(holdfast)) == {"home-db-1", "home-web-1"}


async def test_containers_run_again_though_a_name_was_given_to_another_one(tmp_path: Path) -> None:
    def take_name(engine: FakeRuntime) -> None:
        (old,) = [c for name, c in by_name(engine).items() if name.startswith("home-db-1")]
        engine.engine.create(replace(old.spec, name="home-db-1", volumes=()))

    await db_and_web(place_at(tmp_path))
    place = meddled(tmp_path, Fails(take_name))
    async with place.running() as holdfast:
        operation = await taken_over(holdfast, *BOTH)
        assert (await failed(holdfast, operation))["code"] == "take_over_failed"
        assert running(engine_of(holdfast)) == {"home-web-1", f"home-db-1-before-{operation.id[-6:]}"}
        end = await ended(holdfast, operation)
        assert any("home-db-1" in line.message for line in end.log)


async def test_what_was_healthy_already_gets_its_grace_on_the_way_back(tmp_path: Path) -> None:
    await db_and_web(place_at(tmp_path))
    place = meddled(tmp_path, Fails(number=2))
    async with place.running() as holdfast:
        engine = engine_of(holdfast)
        assert (await failed(holdfast, await taken_over(holdfast, *BOTH)))["code"] == "take_over_failed"
        assert running(engine) == {*BOTH}
        removed = [call.subject for call in engine.calls if call.name == "remove"]
        stopped = [call.subject for call in engine.calls if call.name == "stop"]
        assert removed
        assert set(removed) <= set(stopped)


async def test_nothing_is_started_on_data_on_which_another_runs_by_now(tmp_path: Path) -> None:
    intruder = "intruder"

    def intrude(engine: FakeRuntime) -> None:
        (old,) = [c for name, c in by_name(engine).items() if name.startswith("home-db-1")]
        engine.engine.start(engine.engine.create(replace(old.spec, name=intruder, ports=())))

    await db_and_web(place_at(tmp_path))
    place = meddled(tmp_path, Fails(intrude))
    async with place.running() as holdfast:
        error = await failed(holdfast, await taken_over(holdfast, *BOTH))
        assert error["code"] == "take_over_return_failed"
        assert intruder in str(error["message"])
        engine = engine_of(holdfast)
        assert running(engine) == {intruder}
        await engine.remove(by_name(engine)[intruder].id, force=True)
    async with place.running() as holdfast:
        for operation in (await holdfast.operations.list(10)).items:
            await ended(holdfast, operation)
        assert running(engine_of(holdfast)) == {*BOTH}
    assert place.leftovers() == []


async def test_two_never_run_on_the_data_once_it_is_said_to_have_succeeded(tmp_path: Path) -> None:
    async def start_again(engine: FakeRuntime, call: Call) -> None:
        if call.name == "create" and call.subject.startswith("web-"):
            (old,) = [c for name, c in by_name(engine).items() if name.startswith("home-db-1")]
            old.spec = replace(old.spec, ports=())  # its port is taken by then
            engine.engine.start(old)

    await db_and_web(place_at(tmp_path))
    place = meddled(tmp_path, start_again)
    async with place.running() as holdfast:
        error = await failed(holdfast, await taken_over(holdfast, *BOTH))
        assert error["details"]["cause"] == "take_over_container_started"  # type: ignore[index]
        assert running(engine_of(holdfast)) == {*BOTH}
    assert place.leftovers() == []


class FullDisk(Fs):
    """Takes no file of a take-over that holds ``text``, once."""

    def __init__(self, text: bytes) -> None:
        self.refused = False
        self._text = text

    def write_file_durable(
        self, dirfd: int, name: bytes, *pieces: bytes | memoryview, mode: int = 0o600, replace: bool = True
    ) -> None:
        if not self.refused and any(self._text in bytes(piece) for piece in pieces):
            self.refused = True
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write_file_durable(dirfd, name, *pieces, mode=mode, replace=replace)


@pytest.mark.parametrize("committed", [False, True])
async def test_a_full_disk_stops_nothing_before_and_is_waited_for_after_all_have_succeeded(
    tmp_path: Path, committed: bool
) -> None:
    disk = FullDisk(b'"committed":true' if committed else b'"committed":false')
    place = replace(place_at(tmp_path), seams=Seams(workers=QuickWorkers, fs=disk))
    await db_and_web(place)
    async with place.running() as holdfast:
        operation = await taken_over(holdfast, *BOTH)
        if committed:
            await succeeded(holdfast, operation)
            assert not running(engine_of(holdfast)) & {*BOTH}
        else:
            error = await failed(holdfast, operation)
            assert error["details"]["cause"] == "no_space"  # type: ignore[index]
            assert "stop" not in {call.name for call in engine_of(holdfast).calls}
            assert running(engine_of(holdfast)) == {*BOTH}
        assert disk.refused
    assert place.leftovers() == []


async def test_what_a_person_has_deployed_since_a_way_back_failed_is_left_alone(tmp_path: Path) -> None:
    place = place_at(tmp_path)
    await db_and_web(place)
    async with place.running() as holdfast:
        engine = engine_of(holdfast)
        engine.fail("start", error=engine_error("no"))
        operation = await taken_over(holdfast, *BOTH)
        assert (await failed(holdfast, operation))["code"] == "take_over_return_failed"
        engine.heal()
        await succeeded(holdfast, await holdfast.api.deployer.deploy("db", actor="test"))
    async with place.running() as holdfast:
        assert (await failed(holdfast, operation))["code"] == "take_over_return_failed"
        assert (await holdfast.api.workloads.status("db")).condition is Condition.RUNNING
        assert not running(engine_of(holdfast)) & {*BOTH}


async def test_a_workload_that_somebody_deploys_before_a_take_over_has_its_lock_is_left_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_at(tmp_path)
    await db_and_web(place)
    async with place.running() as holdfast:
        real, engine = holdfast.api.workloads.apply, engine_of(holdfast)
        old = [by_name(engine)[name] for name in BOTH]

        async def apply(spec: WorkloadSpec, **options: Any) -> Any:
            made = await real(spec, **options)
            if spec.name == "web":  # the db is there already, with all that it needs
                for container in old:
                    container.restart = RestartPolicy.NO
                    engine.engine.stop(container, 1.0)
                await succeeded(holdfast, await holdfast.api.deployer.deploy("db", actor="test"))
                for container in old:
                    container.spec = replace(container.spec, ports=())  # the db has its port by now
                    engine.engine.start(container)
            return made

        monkeypatch.setattr(holdfast.api.workloads, "apply", apply)
        operation = await taken_over(holdfast, *BOTH)
        before = running(engine)
        assert before > {*BOTH}
        assert (await failed(holdfast, operation))["code"] == "take_over_overtaken"
        assert running(engine) == before
        assert "stop" not in {call.name for call in engine.calls}
    assert place.leftovers() == []
