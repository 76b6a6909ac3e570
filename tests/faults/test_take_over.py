"""Containers of others are taken over, all or none, on their data: what was comes back whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from tests.faults.crash_bench import TORTURE
from tests.faults.take_over_bench import (
    ANONYMOUS,
    by_name,
    db_and_web,
    engine_of,
    place_at,
    run_foreign,
    taken_over,
    wishes,
)

from holdfast.bootstrap import Holdfast
from holdfast.config import Settings
from holdfast.domain.errors import ConfirmationMissing, HoldfastError, Refused
from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.workload import RestartPolicy
from holdfast.runtime.port import LABEL_INSTALLATION, LABEL_WORKLOAD, Bind, ContainerState
from holdfast.services.take_over_checks import TakeOverWish
from holdfast.services.workload_status import Condition
from holdfast.testing.crash import crashing, in_child
from holdfast.testing.fake_records import engine_error
from holdfast.testing.fake_runtime import Call, FakeRuntime
from holdfast.testing.installation import Installation, ended, succeeded
from holdfast.testing.kill_points import KillPoints

BOTH = ("home-web-1", "home-db-1")
PLACED = "after placing a .json file"
"""The name of a point, but for its number: what recovery goes by is on disk."""


def check_as_before(engine: FakeRuntime) -> None:
    """Both containers run under their own names, with their own policies, and nothing else is there."""
    there = by_name(engine)
    assert sorted(there) == ["home-db-1", "home-web-1"]
    assert {container.state for container in there.values()} == {ContainerState.RUNNING}
    assert there["home-db-1"].restart is RestartPolicy.ALWAYS
    assert there["home-web-1"].restart is RestartPolicy.UNLESS_STOPPED


async def check_taken_over(holdfast: Holdfast, data: Path, files: Path) -> None:
    """Both workloads run on the very data, and the old containers are gone."""
    for name in ("db", "web"):
        assert (await holdfast.api.workloads.status(name)).condition is Condition.RUNNING
    there = [await holdfast.runtime.inspect(each.id) for each in engine_of(holdfast).engine.state.containers.values()]
    assert all(LABEL_WORKLOAD in container.labels for container in there)
    mounted = {mount.source for container in there for mount in container.mounts}
    assert mounted == {str(data), str(files), str(data.parents[1] / ANONYMOUS / "_data")}


def check_data(data: Path, files: Path) -> None:
    assert ((data / "row").read_text(), (files / "page").read_text()) == ("theirs", "theirs")


@pytest.fixture
def place(tmp_path: Path) -> Installation:
    return place_at(tmp_path)


async def test_containers_of_a_project_are_taken_over_on_their_data_after_a_first_snapshot(place: Installation) -> None:
    data, files = await db_and_web(place)
    async with place.running() as holdfast:
        end = await succeeded(holdfast, await taken_over(holdfast, *BOTH))
        assert end.outcome["result"] == "taken_over"
        await check_taken_over(holdfast, data, files)
        check_data(data, files)
        db, web = [await holdfast.api.workloads.get(name) for name in ("db", "web")]
        assert (db.spec.project, web.spec.project) == ("home", "home")
        for workload in (db, web):
            (snapshot,) = (await holdfast.api.snapshots.list(workload.id, limit=10, cursor=None)).items
            assert (snapshot.manifest.consistency, snapshot.pinned) == ("stopped", True)
            (container,) = [c for c in by_name(engine_of(holdfast)).values() if c.spec.name.startswith(workload.name)]
            assert container.spec.env == {"TZ": "UTC", "DB_PASSWORD": "sesame"}
            assert container.restart is workload.spec.restart
    assert place.leftovers() == []


async def test_one_that_fails_leaves_everything_as_it_was(place: Installation) -> None:
    data, files = await db_and_web(place)
    async with place.running() as holdfast:
        engine = engine_of(holdfast)
        engine.fail("create", error=engine_error("no"), times=1)
        end = await ended(holdfast, await taken_over(holdfast, *BOTH))
        assert end.state is OperationState.FAILED
        assert end.error is not None
        assert end.error["code"] == "take_over_failed"
        check_as_before(engine)
        check_data(data, files)
        assert (await holdfast.api.workloads.list(10, None)).items == ()
        assert await engine.volume(ANONYMOUS) is not None
        await succeeded(holdfast, await taken_over(holdfast, *BOTH))
        await check_taken_over(holdfast, data, files)
    assert place.leftovers() == []


async def test_where_the_way_back_fails_it_says_so_and_the_next_start_goes_it(place: Installation) -> None:
    await db_and_web(place)
    async with place.running() as holdfast:
        engine = engine_of(holdfast)
        engine.fail("start", error=engine_error("no"))
        end = await ended(holdfast, await taken_over(holdfast, *BOTH))
        assert end.error is not None
        assert end.error["code"] == "take_over_return_failed"
    async with place.running() as holdfast:
        end = await ended(holdfast, end)
        assert end.error is not None
        assert end.error["code"] == "take_over_interrupted"
        check_as_before(engine_of(holdfast))
    assert place.leftovers() == []


async def test_who_deploys_meanwhile_waits_and_is_told_for_what_and_old_containers_are_kept_if_asked(
    tmp_path: Path,
) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def pause(call: Call) -> None:
        if call.name == "rename":
            reached.set()
            await go_on.wait()

    def runtime(_settings: Settings) -> FakeRuntime:
        return FakeRuntime(state_file=tmp_path / "engine.json", root_dir=str(tmp_path), on_call=pause)

    place = place_at(tmp_path)
    await db_and_web(place)
    async with replace(place, runtime=runtime).running() as holdfast:
        take_over = await taken_over(holdfast, *BOTH, keep=True)
        await reached.wait()
        deploy = await holdfast.api.deployer.deploy("db", actor="test")
        waiting = [seen async for seen in _until_waiting(holdfast, deploy)][-1]
        assert waiting.waiting_for == f"waiting for take-over {take_over.id}"
        go_on.set()
        end = await succeeded(holdfast, take_over)
        await succeeded(holdfast, deploy)
        there = by_name(engine_of(holdfast))
        assert set(map(str, cast("list[object]", end.outcome["kept"]))) == {n for n in there if "-before-" in n}
        kept = [there[f"{name}-before-{take_over.id[-6:]}"] for name in BOTH]
        assert [(each.state, each.restart) for each in kept] == [(ContainerState.EXITED, RestartPolicy.NO)] * 2
        assert not {*BOTH} & there.keys()


async def _until_waiting(holdfast: Holdfast, operation: Operation) -> Any:
    async for seen in holdfast.operations.events(operation.id):
        yield seen
        if seen.waiting_for:
            return


async def refused(holdfast: Holdfast, *names: str, **more: Any) -> list[str]:
    """The codes with which a take-over is refused."""
    with pytest.raises(HoldfastError) as refusal:
        await holdfast.api.take_overs.begin(
            await wishes(holdfast, *names),
            **{"confirm": ",".join(names), "accept_left_out": False, "keep": False, "actor": "test", **more},
        )
    error = refusal.value
    return [problem.code for problem in error.problems] if isinstance(error, Refused) else [error.code]


def removing_itself(wish: TakeOverWish) -> TakeOverWish:
    """The same with ``--rm``."""
    seen = wish.proposed.container
    words = {**seen.container, "HostConfig": {**seen.host, "AutoRemove": True}}
    return replace(wish, proposed=replace(wish.proposed, container=replace(seen, container=words)))


async def test_a_file_of_a_take_over_that_can_t_be_read_is_told_and_left(place: Installation) -> None:
    async with place.running():
        pass
    (place.settings.take_overs_dir / "x.json").write_text("{}")
    async with place.running() as holdfast:
        (told,) = [line for line in holdfast.api.readiness.ready()[1] if "take-over" in line]
        assert "docker ps --all" in told


async def test_what_can_t_be_taken_over_is_refused_and_nothing_is_touched(place: Installation) -> None:
    await db_and_web(place)
    engine = place.fake_engine()
    outside, single = place.directory / "outside", place.directory / "srv" / "file"
    outside.mkdir()
    single.parent.mkdir()
    single.write_text("")
    await run_foreign(engine, "apart", binds=[Bind(source=str(outside), target="/data")])
    await run_foreign(engine, "single", binds=[Bind(source=str(single), target="/file")])
    await run_foreign(engine, "passing")
    stopped = await run_foreign(engine, "stopped")
    await engine.stop(stopped, 1)
    await run_foreign(engine, "theirs", labels={LABEL_INSTALLATION: "another"})
    async with place.running() as holdfast:
        assert await refused(holdfast, "apart") == ["volume_path_forbidden"]
        assert await refused(holdfast, "single") == ["container_mount_not_kept", "container_settings_left_out"]
        assert await refused(holdfast, "single", accept_left_out=True) == ["container_mount_not_kept"]
        assert await refused(holdfast, "stopped") == ["container_not_running"]
        assert await refused(holdfast, "home-db-1") == ["container_settings_left_out", "container_data_shared"]
        assert await refused(holdfast, *BOTH, confirm="home-db-1") == ["confirmation_mismatch"]
        with pytest.raises(ConfirmationMissing):
            await holdfast.api.take_overs.begin(
                await wishes(holdfast, *BOTH), confirm=None, accept_left_out=False, keep=False, actor="test"
            )
        with pytest.raises(Refused) as refusal:
            await wishes(holdfast, "theirs")
        assert [problem.code for problem in refusal.value.problems] == ["container_of_another_holdfast"]
        (wish,) = await wishes(holdfast, "passing")
        with pytest.raises(Refused) as refusal:
            await holdfast.api.take_overs.begin(
                [removing_itself(wish)], confirm="passing", accept_left_out=False, keep=False, actor="test"
            )
        assert [problem.code for problem in refusal.value.problems] == ["container_removes_itself"]
        assert (await holdfast.api.workloads.list(10, None)).items == ()
        await succeeded(holdfast, await taken_over(holdfast, *BOTH))
        own = next(name for name in by_name(engine_of(holdfast)) if name.startswith("db-"))
        with pytest.raises(Refused) as refusal:
            await wishes(holdfast, own)
        assert [problem.code for problem in refusal.value.problems] == ["container_own"]


def test_a_server_killed_at_any_point_leaves_all_of_the_containers_or_all_of_the_workloads(tmp_path: Path) -> None:
    """With ``make test`` at one point on each side of the last word, with ``make torture`` at all of them."""

    def killed_at(number: int, point: str | None, last_word: str = "") -> tuple[str, ...]:
        directory = tmp_path / str(number)
        directory.mkdir()
        place = place_at(directory)
        data, files = asyncio.run(db_and_web(place))

        async def scenario(points: KillPoints) -> None:
            async with crashing(place, points).running() as holdfast:
                points.armed = True
                await succeeded(holdfast, await taken_over(holdfast, *BOTH))
                points.armed = False

        crash = in_child(directory, point, scenario)
        assert crash.trouble == ""
        assert crash.killed == (point is not None)
        finished = point is None or last_word in crash.reached
        asyncio.run(_check_recovered(place, data, files, finished=finished))
        return crash.reached

    points = killed_at(0, None)
    assert len(points) > 60
    last_word = next(point for point in reversed(points) if point.startswith(PLACED))
    for number, point in enumerate(points if TORTURE else (points[len(points) // 2], last_word), start=1):
        killed_at(number, point, last_word)


async def _check_recovered(place: Installation, data: Path, files: Path, *, finished: bool) -> None:
    """Either everything is as it was, or all of it was taken over."""
    async with place.running() as holdfast:
        operations = [o for o in (await holdfast.operations.list(100)).items if o.kind == "take_over"]
        ends = [await ended(holdfast, operation) for operation in operations]
        check_data(data, files)
        if finished:
            await check_taken_over(holdfast, data, files)
        else:
            check_as_before(engine_of(holdfast))
            assert all(end.state is not OperationState.SUCCEEDED for end in ends)
            for left in (await holdfast.api.workloads.list(10, None)).items:  # made, and nothing was done for it
                assert (await holdfast.api.workloads.status(left.id)).condition is Condition.NEVER_DEPLOYED
    assert place.leftovers() == []
