"""Drills: a snapshot is proved by restoring it into a throw-away copy, of which nothing is left however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from holdfast.bootstrap import Holdfast, Seams
from holdfast.domain.drill import ThrowAway, drill_name
from holdfast.domain.errors import Busy
from holdfast.domain.ids import new_id
from holdfast.domain.operation import Operation, OperationKind, OperationState
from holdfast.domain.workload import DrillPolicy, SnapshotPolicy
from holdfast.runtime.port import Container, ExecResult
from holdfast.services.clones import CloneWish
from holdfast.testing.fake_records import Behaviour
from holdfast.testing.fake_runtime import Call, FakeRuntime
from holdfast.testing.installation import (
    IMAGE,
    Installation,
    deployed,
    ended,
    installation,
    snapshotted,
    spec_of,
    succeeded,
)
from holdfast.testing.quick_workers import QuickWorkers
from holdfast.testing.trees import describe_tree

CHECK = ("check", "it")


@pytest.fixture
def place(tmp_path: Path) -> Installation:
    place = installation(tmp_path)
    (tmp_path / "engine").mkdir()
    engine = partial(FakeRuntime, state_file=tmp_path / "engine.json", root_dir=str(tmp_path / "engine"))
    return replace(place, runtime=lambda _settings: engine(), seams=Seams(workers=QuickWorkers))


@pytest.fixture
async def holdfast(place: Installation) -> AsyncIterator[Holdfast]:
    async with place.running() as holdfast:
        yield holdfast


def engine_of(holdfast: Holdfast) -> FakeRuntime:
    assert isinstance(holdfast.runtime, FakeRuntime)
    return holdfast.runtime


async def snapshot_of(holdfast: Holdfast, place: Installation) -> str:
    """The snapshot of a workload that holds something else by now. Returns its id."""
    policy = SnapshotPolicy(before_deploy=False, drill=DrillPolicy(command=CHECK))
    workload = await deployed(holdfast, replace(spec_of(), snapshots=policy, labels=(("team", "notes"),)))
    (place.volumes / "notes/data/content").write_text("of then")
    snapshot_id = await snapshotted(holdfast, workload)
    (place.volumes / "notes/data/content").write_text("of now")
    return snapshot_id


async def drill(holdfast: Holdfast, snapshot_id: str, command: Sequence[str] | None = None) -> Operation:
    return await holdfast.api.drills.start("notes", snapshot_id, command=command, actor="test", idempotency_key=None)


async def proved_at(holdfast: Holdfast, snapshot_id: str) -> str | None:
    return (await holdfast.api.snapshots.get("notes", snapshot_id)).proved_at


def left(holdfast: Holdfast, place: Installation) -> list[str]:
    """What is left of any copy: directories, containers, networks."""
    state = engine_of(holdfast).engine.state
    named = [*(c.spec.name for c in state.containers.values()), *state.networks]
    named += [path.name for path in place.volumes.iterdir()]
    return [*(name for name in named if "drill-" in name), *state.internal_networks]


async def test_a_snapshot_is_proved_in_a_copy_that_reaches_nothing_and_of_which_nothing_is_left(
    holdfast: Holdfast, place: Installation
) -> None:
    snapshot_id = await snapshot_of(holdfast, place)
    before = describe_tree(place.volumes / "notes/data")
    ran = {c.id: c.started for c in engine_of(holdfast).engine.state.containers.values()}
    seen: list[tuple[str, bool, tuple[object, ...]]] = []

    def check(container: Container, _command: Sequence[str]) -> ExecResult:
        data = next(mount.source for mount in container.mounts if mount.target == "/data")
        state = engine_of(holdfast).engine.state
        seen.append((Path(data, "content").read_text(), bool(state.internal_networks), container.ports))
        return ExecResult(code=0, output="all is well\n")

    engine_of(holdfast).on_exec(CHECK, check)
    end = await succeeded(holdfast, await drill(holdfast, snapshot_id))
    assert end.kind is OperationKind.DRILL
    assert seen == [("of then", True, ())]
    assert (end.outcome["checked"], end.outcome["removed"]) == (True, True)
    assert end.outcome["proved_at"] == await proved_at(holdfast, snapshot_id)
    assert "all is well" in [line.message for line in end.log]
    assert left(holdfast, place) == []
    assert [workload.name for workload in (await holdfast.api.workloads.list(10, None)).items] == ["notes"]
    assert describe_tree(place.volumes / "notes/data") == before
    assert {c.id: c.started for c in engine_of(holdfast).engine.state.containers.values()} == ran


async def test_a_check_that_fails_proves_nothing_and_the_copy_goes(holdfast: Holdfast, place: Installation) -> None:
    snapshot_id = await snapshot_of(holdfast, place)
    engine_of(holdfast).on_exec(("look",), ExecResult(code=3, output="row 7 is missing\n"))
    end = await ended(holdfast, await drill(holdfast, snapshot_id, ["look"]))
    assert end.state is OperationState.FAILED
    assert end.error is not None
    assert end.error["code"] == "drill_check_failed"
    assert "row 7 is missing" in [line.message for line in end.log]
    assert await proved_at(holdfast, snapshot_id) is None
    assert left(holdfast, place) == []


async def test_data_on_which_the_version_of_then_does_not_live_proves_nothing(
    holdfast: Holdfast, place: Installation
) -> None:
    engine_of(holdfast).add_image(IMAGE, Behaviour(requires={"/data/schema": "2"}))
    await holdfast.api.workloads.apply(spec_of(), actor="test")
    data = place.volumes / "notes/data"
    data.mkdir(parents=True)
    (data / "schema").write_text("2")
    workload = await deployed(holdfast)
    (data / "schema").write_text("1")
    snapshot_id = await snapshotted(holdfast, workload)
    end = await ended(holdfast, await drill(holdfast, snapshot_id, []))
    assert end.error is not None
    assert end.error["code"] == "drill_failed"
    clone = await holdfast.operations.get(str(end.outcome["clone_id"]))
    assert clone.error is not None
    assert clone.error["code"] == "restore_unhealthy"
    assert await proved_at(holdfast, snapshot_id) is None
    assert left(holdfast, place) == []


async def test_a_snapshot_that_is_damaged_proves_nothing(holdfast: Holdfast, place: Installation) -> None:
    snapshot_id = await snapshot_of(holdfast, place)
    for pack in (place.settings.repository_dir / "packs").iterdir():
        pack.chmod(0o600)
        pack.write_bytes(b"\0" * pack.stat().st_size)
    end = await ended(holdfast, await drill(holdfast, snapshot_id))
    assert end.error is not None
    assert end.error["code"] == "drill_failed"
    assert await proved_at(holdfast, snapshot_id) is None
    assert left(holdfast, place) == []


async def test_a_drill_that_is_cancelled_leaves_nothing(holdfast: Holdfast, place: Installation) -> None:
    snapshot_id = await snapshot_of(holdfast, place)
    begun: list[Operation] = []

    async def cancel(call: Call) -> None:
        if call.name == "create" and begun:
            await holdfast.operations.cancel(begun.pop().id)

    engine_of(holdfast)._on_call = cancel
    begun.append(await drill(holdfast, snapshot_id))
    end = await ended(holdfast, begun[0])
    assert end.state is OperationState.CANCELLED
    assert await proved_at(holdfast, snapshot_id) is None
    assert left(holdfast, place) == []


async def test_one_drill_of_a_workload_at_a_time(holdfast: Holdfast, place: Installation) -> None:
    snapshot_id = await snapshot_of(holdfast, place)
    under_way, go = asyncio.Event(), asyncio.Event()

    async def hold(call: Call) -> None:
        if call.name == "ensure_network" and not go.is_set():
            under_way.set()
            await go.wait()

    engine_of(holdfast)._on_call = hold
    first = await drill(holdfast, snapshot_id, [])
    await under_way.wait()
    with pytest.raises(Busy) as busy:
        await drill(holdfast, snapshot_id, [])
    assert (busy.value.code, busy.value.details["operation_id"]) == ("drill_running", first.id)
    # One that comes with a key may be a repetition, and is only told apart once it runs.
    second = await holdfast.api.drills.start("notes", snapshot_id, actor="test", command=[], idempotency_key="once")
    end = await ended(holdfast, second)
    assert end.error is not None
    assert end.error["code"] == "drill_running"
    go.set()
    await succeeded(holdfast, first)
    await succeeded(holdfast, await drill(holdfast, snapshot_id, []))


async def test_what_a_server_that_died_left_of_a_drill_the_next_one_removes(place: Installation) -> None:
    async with place.running() as holdfast:
        snapshot_id = await snapshot_of(holdfast, place)
        copy = ThrowAway.of(new_id(), "production", ("/data", "/media"))
        wish = CloneWish(snapshot_id=snapshot_id, confirm=snapshot_id, with_image=True, actor="test")
        await succeeded(holdfast, await holdfast.api.clones.new(wish, copy))
        assert copy.name == drill_name(copy.operation_id)
        assert left(holdfast, place) != []
    async with place.running() as holdfast:
        removal = (await holdfast.operations.list(1)).items[0]
        async with asyncio.timeout(30):
            while removal.kind is not OperationKind.DELETE:
                await asyncio.sleep(0.01)
                removal = (await holdfast.operations.list(1)).items[0]
        await succeeded(holdfast, removal)
        assert left(holdfast, place) == []
        assert (place.volumes / "notes/data/content").read_text() == "of now"
