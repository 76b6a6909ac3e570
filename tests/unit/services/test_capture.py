"""A capture holds its writers, says truly how well, and lets them go as they were, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from tests.unit.services.deploy_bench import STATEFUL
from tests.unit.services.snapshot_bench import SnapshotBench, opened

from holdfast.domain.errors import Cancelled, Conflict, Failed, HoldfastError, NotFound, Refused
from holdfast.domain.operation import OperationKind, OperationState
from holdfast.domain.snapshot import Consistency, SnapshotManifest, SnapshotReason
from holdfast.domain.stopping import UncleanEnd, UncleanStop
from holdfast.domain.told import Told
from holdfast.domain.workload import Quiesce, RestartPolicy, Scope, Volume, Workload
from holdfast.runtime.port import Bind, ContainerSpec, ContainerState
from holdfast.services.operations import OperationContext
from holdfast.services.restore_registry import Undecided
from holdfast.testing.fake_records import Behaviour
from holdfast.testing.fake_runtime import Call

SHARED = Volume(target="/shared", scope=Scope.PROJECT, source="shared")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[SnapshotBench]:
    async with opened(tmp_path) as bench:
        yield bench


async def states(bench: SnapshotBench) -> list[tuple[str, ContainerState, RestartPolicy]]:
    return sorted((c.name, c.state, c.restart) for c in await bench.runtime.containers())


def told_of(stop: UncleanStop) -> dict[str, object]:
    return {**asdict(stop), "brief": stop.brief, "words": stop.words}


@pytest.mark.parametrize(
    ("quiesce", "consistency", "clean", "held"),
    [
        (Quiesce.STOP, Consistency.STOPPED, True, ["set_restart_policy", "stop"]),
        (Quiesce.PAUSE, Consistency.PAUSED, None, ["pause"]),
        (Quiesce.NONE, Consistency.LIVE, None, []),
    ],
)
async def test_the_writer_is_held_as_asked_and_let_go_as_it_was(
    bench: SnapshotBench, quiesce: Quiesce, consistency: Consistency, clean: bool | None, held: list[str]
) -> None:
    workload = await bench.filled()
    before = await states(bench)
    bench.runtime.calls.clear()
    manifest = await bench.taken(workload, quiesce)
    assert (manifest.consistency, manifest.stopped_cleanly) == (consistency, clean)
    assert manifest.unclean_stops == ()
    assert [c.name for c in bench.calls("set_restart_policy", "stop", "pause")][: len(held)] == held
    assert await states(bench) == before
    assert bench.holds.all() == ([], [])
    assert manifest.files == 1
    assert manifest.image_id == (await bench.running(workload))[0].image_id


async def test_who_had_to_be_killed_is_told(bench: SnapshotBench) -> None:
    workload = await bench.deployed(STATEFUL, Behaviour(ignores_term=True))
    manifest = await bench.taken(workload, Quiesce.STOP)
    assert (manifest.consistency, manifest.stopped_cleanly) == (Consistency.STOPPED, False)
    (stop,) = manifest.unclean_stops
    assert (stop.end, stop.grace_seconds) == (UncleanEnd.KILLED, workload.spec.stop_grace)
    assert bench.last is not None
    assert bench.last.outcome["unclean_stops"] == [told_of(stop)]
    assert [line.message for line in bench.last.log if line.level == "warning"] == [stop.words]


@pytest.mark.parametrize("quiesce", list(Quiesce))
async def test_a_workload_that_does_not_run_is_captured_stopped_without_touching_anything(
    bench: SnapshotBench, quiesce: Quiesce
) -> None:
    workload = await bench.filled()
    await bench.stop(workload)
    bench.runtime.calls.clear()
    assert (await bench.taken(workload, quiesce)).consistency is Consistency.STOPPED
    assert bench.calls("start", "stop", "pause", "unpause", "set_restart_policy") == []


async def test_what_a_person_paused_stays_paused(bench: SnapshotBench) -> None:
    workload = await bench.filled()
    (instance,) = await bench.running(workload)
    await bench.runtime.pause(instance.id)
    assert (await bench.taken(workload)).consistency is Consistency.PAUSED
    assert (await bench.runtime.inspect(instance.id)).state is ContainerState.PAUSED


async def test_what_is_held_is_on_disk_before_it_is_touched(bench: SnapshotBench) -> None:
    workload = await bench.filled()
    seen: list[int] = []

    async def look(call: Call) -> None:
        if call.name in ("pause", "unpause"):
            (hold,), _ = bench.holds.all()
            seen.append(len(hold.containers))

    bench.on_call = look
    await bench.taken(workload)
    assert seen == [1, 1]


async def test_those_who_share_a_volume_are_held_too(bench: SnapshotBench) -> None:
    one = await bench.deployed(replace(STATEFUL, volumes=(SHARED,)))
    two = await bench.deployed(replace(STATEFUL, name="shelf", volumes=(SHARED,)))
    before = await states(bench)
    bench.runtime.calls.clear()
    await bench.taken(one)
    held = {call.subject for call in bench.calls("pause")}
    assert held == {container.id for w in (one, two) for container in await bench.there(w)}
    assert await states(bench) == before


@pytest.mark.parametrize(("read_only", "consistency"), [(False, Consistency.LIVE), (True, Consistency.PAUSED)])
async def test_a_stranger_that_writes_weakens_what_is_recorded(
    bench: SnapshotBench, *, read_only: bool, consistency: Consistency
) -> None:
    workload = await bench.filled()
    bind = Bind(source=str(bench.data_of(workload)), target="/theirs", read_only=read_only)
    stranger = await bench.runtime.create(ContainerSpec(name="stranger", image="notes:1", labels={}, binds=(bind,)))
    await bench.runtime.start(stranger)
    manifest = await bench.taken(workload)
    assert manifest.consistency is consistency
    assert bench.last is not None
    assert any("stranger" in line.message for line in bench.last.log) is not read_only
    assert (await bench.runtime.inspect(stranger)).running


@pytest.mark.parametrize("damage", ["missing", "replaced", "emptied"])
async def test_a_volume_that_is_not_what_it_was_is_not_captured(bench: SnapshotBench, damage: str) -> None:
    workload = await bench.filled()
    await bench.volumes.remember(workload)
    data = bench.data_of(workload)
    (data / "kept").unlink()
    if damage != "emptied":
        data.rename(data.with_name("away"))
    if damage == "replaced":
        data.mkdir()
    bench.runtime.calls.clear()
    with pytest.raises(Refused) as caught:
        await bench.taken(workload)
    assert caught.value.code == f"volume_{damage}"
    assert bench.calls("pause", "stop") == []
    assert list(bench.store.manifests()) == []


@pytest.mark.parametrize("quiesce", [Quiesce.PAUSE, Quiesce.STOP])
async def test_a_capture_that_fails_lets_everybody_go(bench: SnapshotBench, quiesce: Quiesce) -> None:
    workload = await bench.filled()
    before = await states(bench)
    (bench.own / "repository" / "packs").write_text("no directory")
    with pytest.raises(HoldfastError):
        await bench.taken(workload, quiesce)
    assert await states(bench) == before
    assert bench.holds.all() == ([], [])


@pytest.mark.parametrize("quiesce", [Quiesce.PAUSE, Quiesce.STOP])
async def test_a_snapshot_during_which_somebody_let_the_writer_go_is_not_kept(
    bench: SnapshotBench, quiesce: Quiesce
) -> None:
    workload = await bench.filled()
    (instance,) = await bench.running(workload)
    before = await states(bench)

    async def let_go(call: Call) -> None:
        if call.name == "inspect" and list(bench.store.manifests()):
            bench.on_call = None
            await bench.runtime.unpause(instance.id)
            await bench.runtime.start(instance.id)

    bench.on_call = let_go
    with pytest.raises(Failed) as caught:
        await bench.taken(workload, quiesce)
    assert caught.value.code == "hold_lost"
    assert list(bench.store.manifests()) == []
    assert await states(bench) == before
    assert bench.holds.all() == ([], [])


async def test_a_container_that_is_removed_while_it_is_held_costs_no_snapshot(bench: SnapshotBench) -> None:
    workload = await bench.filled()
    (instance,) = await bench.running(workload)

    async def remove(call: Call) -> None:
        if call.name == "inspect" and list(bench.store.manifests()):
            bench.on_call = None
            await bench.runtime.remove(instance.id, force=True)

    bench.on_call = remove
    assert (await bench.taken(workload)).consistency is Consistency.PAUSED


async def test_an_engine_that_is_away_when_it_should_let_go_is_waited_for(bench: SnapshotBench) -> None:
    workload = await bench.filled()
    before = await states(bench)
    bench.runtime.fail("unpause", times=1)
    await bench.taken(workload)
    assert await states(bench) == before
    assert bench.holds.all() == ([], [])


async def test_a_capture_that_cannot_hold_the_writer_lets_go_of_what_it_held(bench: SnapshotBench) -> None:
    await bench.filled()
    workload = await bench.deployed(replace(STATEFUL, name="shelf", volumes=(SHARED,)))
    before = await states(bench)
    bench.runtime.fail("pause", error=Failed("engine_error", "It can't be paused.", next_step="Ask it."))
    with pytest.raises(Failed) as caught:
        await bench.taken(workload)
    assert caught.value.code == "engine_error"
    assert await states(bench) == before
    assert bench.holds.all() == ([], [])


async def test_a_cancel_before_the_writer_is_held_captures_nothing(bench: SnapshotBench) -> None:
    workload = await bench.filled()

    async def cancelled(ctx: OperationContext) -> SnapshotManifest:
        ctx.cancelled.set()
        return await bench.capture.take(ctx, workload.id, Quiesce.STOP, reason=SnapshotReason.MANUAL, note="")

    with pytest.raises(Cancelled):
        await bench.within(cancelled)
    assert list(bench.store.manifests()) == []
    assert bench.calls("stop") == []


async def test_a_workload_whose_restore_waits_for_a_person_is_not_captured(bench: SnapshotBench) -> None:
    workload = await bench.filled()
    bench.registry.set_undecided(Undecided(restore_id="r1", workload_ids=(workload.id,), told=Told("who knows")))
    with pytest.raises(Conflict) as caught:
        await bench.taken(workload)
    assert caught.value.code == "restore_undecided"


async def test_a_workload_that_is_deleted_while_the_capture_waits_is_unknown(bench: SnapshotBench) -> None:
    workload = await bench.filled()
    async with bench.locks.hold([workload.id], "deletion"):
        operation = await begun(bench, workload)
        async for state in bench.operations.events(operation):
            if state.waiting_for:
                break
        await bench.workloads.delete(workload.id)
    end = await bench.operations.wait(operation)
    assert (end.state, (end.error or {})["code"]) == (OperationState.FAILED, "workload_unknown")


async def test_captures_of_one_workload_come_one_after_the_other(bench: SnapshotBench) -> None:
    workload = await bench.filled()
    before = await states(bench)
    operations = [await begun(bench, workload) for _ in range(3)]
    ends = await asyncio.gather(*map(bench.operations.wait, operations))
    assert [end.state for end in ends] == [OperationState.SUCCEEDED] * 3
    assert await states(bench) == before
    assert {m.consistency for m in bench.store.manifests()} == {Consistency.PAUSED}


async def test_an_unknown_workload_is_unknown(bench: SnapshotBench) -> None:
    workload = replace(await bench.add(), id="01j00000000000000000000009")
    with pytest.raises(NotFound) as caught:
        await bench.taken(workload)
    assert caught.value.code == "workload_unknown"


async def begun(bench: SnapshotBench, workload: Workload) -> str:
    """Start a capture. Returns its operation's id."""

    async def run(ctx: OperationContext) -> None:
        await bench.capture.take(ctx, workload.id, Quiesce.PAUSE, reason=SnapshotReason.MANUAL, note="")

    return (await bench.operations.start(OperationKind.SNAPSHOT, workload.id, "ann", run)).id
