"""Hooks hold a workload around a capture, one that fails or hangs ends it, and what one did is always undone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.services.deploy_bench import STATEFUL
from tests.unit.services.snapshot_bench import SnapshotBench, opened

from holdfast.domain.errors import Cancelled, Failed, HoldfastError, NoSpace, Refused, Unavailable
from holdfast.domain.snapshot import Consistency, SnapshotManifest, SnapshotReason
from holdfast.domain.workload import Hooks, Quiesce, Scope, SnapshotPolicy, Strategy, Volume, Workload, WorkloadSpec
from holdfast.engine.fs import Fs
from holdfast.engine.holds import Hold, HoldFiles
from holdfast.runtime.port import Bind, ContainerSpec, ContainerState
from holdfast.services.operations import OperationContext
from holdfast.testing.fake_records import Behaviour, Command, FakeContainer
from holdfast.testing.fake_runtime import Call

SHARED = Volume(target="/shared", scope=Scope.PROJECT, source="shared")
HOOKED = replace(STATEFUL, hooks=Hooks(pre_snapshot=("hold",), post_snapshot=("release", "now"), timeout=30.0))
WILLING = Behaviour(commands={"hold": Command(output="held\n"), "release now": Command(output="released\n")})
HANGING = Behaviour(commands={"hold": Command(hangs=True), "release now": Command()})


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[SnapshotBench]:
    async with opened(tmp_path) as bench:
        yield bench


async def running(bench: SnapshotBench, behaviour: Behaviour, spec: WorkloadSpec = HOOKED) -> Workload:
    workload = await bench.deployed(spec, behaviour)
    (bench.data_of(workload) / "kept").write_text("taken")
    return workload


async def records(bench: SnapshotBench, workload: Workload) -> list[FakeContainer]:
    return [bench.runtime.engine.find(container.id) for container in await bench.there(workload)]


async def ran(bench: SnapshotBench, workload: Workload) -> list[str]:
    """The commands that were run in its one instance; none of them runs any more."""
    (container,) = await records(bench, workload)
    assert container.running == {}
    return container.ran


def told(bench: SnapshotBench, level: str) -> list[str]:
    assert bench.last is not None
    return [line.message for line in bench.last.log if line.level == level]


async def failing(bench: SnapshotBench, workload: Workload) -> HoldfastError:
    """A capture with hooks that fails; no snapshot came of it, and nobody is held."""
    with pytest.raises(HoldfastError) as caught:
        await bench.taken(workload, Quiesce.HOOKS)
    assert list(bench.store.manifests()) == []
    assert bench.holds.all() == ([], [])
    return caught.value


async def test_hooks_run_around_the_capture_and_their_words_are_in_the_log(bench: SnapshotBench) -> None:
    workload = await running(bench, WILLING)
    seen: list[list[str]] = []

    async def look(call: Call) -> None:
        if call.name == "exec":
            seen.append(list(bench.runtime.engine.find(call.subject).ran))
            # The warm pass was over before the writer was held, the capture is before it is let go.
            seen.append([manifest.id for manifest in bench.store.manifests()])

    bench.on_call = look
    bench.runtime.calls.clear()
    manifest = await bench.taken(workload, Quiesce.HOOKS)
    assert manifest.consistency is Consistency.HOOKED
    assert seen == [[], [], ["hold"], [manifest.id]]
    assert await ran(bench, workload) == ["hold", "release now"]
    (instance,) = await bench.running(workload)
    assert told(bench, "info") == [
        f"pre_snapshot in {instance.name}: held",
        f"post_snapshot in {instance.name}: released",
    ]
    assert bench.calls("pause", "stop", "set_restart_policy") == []
    assert bench.holds.all() == ([], [])
    assert bench.last is not None
    assert [step.name for step in bench.last.steps] == ["waiting", "checking", "warming", "quiescing", "capturing"]


async def test_that_a_hook_is_about_to_run_is_on_disk_before_it_does(bench: SnapshotBench) -> None:
    workload = await running(bench, WILLING)
    seen: list[Hold] = []

    async def look(call: Call) -> None:
        if call.name == "exec_start":
            seen.extend(bench.holds.all()[0])

    bench.on_call = look
    await bench.taken(workload, Quiesce.HOOKS)
    before, after = seen
    (hooked,) = before.hooked
    assert hooked.exec_id
    assert (hooked.post_snapshot, hooked.timeout) == (("release", "now"), 30.0)
    assert after == before


async def test_a_hook_that_can_not_be_noted_does_not_run(bench: SnapshotBench) -> None:
    workload = await running(bench, WILLING)
    files = FullAtTheSecond(Fs(), bench.own / "holds")
    bench.capture = bench.capture_with(files)
    error = await failing(bench, workload)
    assert error.code == "no_space"
    assert await ran(bench, workload) == []


@pytest.mark.parametrize(("code", "words"), [(3, "it ended with 3"), (127, "it ended with 127")])
async def test_a_hook_that_fails_ends_the_capture_and_is_undone(bench: SnapshotBench, code: int, words: str) -> None:
    lines = "".join(f"line {number}\n" for number in range(25))
    output = lines + "x" * 400 + "\x1b[2J\nlocked by another\n"
    workload = await running(
        bench, Behaviour(commands={"hold": Command(code=code, output=output), "release now": Command()})
    )
    error = await failing(bench, workload)
    assert error.code == "pre_snapshot_failed"
    assert words in error.message
    assert await ran(bench, workload) == ["hold", "release now"]
    log = told(bench, "info")
    assert log[-1].endswith(": locked by another")
    assert "(7 lines before are left out)" in log[0]
    assert len(log) == 21
    assert all(line.isprintable() and len(line) < 400 for line in log)
    assert bench.last is not None
    assert {line.code for line in bench.last.log if line.level == "info"} == {"hook_lines_left_out", "hook_printed"}


async def test_a_hook_that_hangs_is_killed_ends_the_capture_and_is_undone(bench: SnapshotBench) -> None:
    spec = replace(HOOKED, hooks=replace(HOOKED.hooks, timeout=0.05))
    workload = await running(bench, HANGING, spec)
    error = await failing(bench, workload)
    assert (error.code, error.details["killed"]) == ("pre_snapshot_timeout", True)
    assert await ran(bench, workload) == ["hold", "release now"]


async def test_a_cancel_ends_a_hook_at_once_and_it_is_undone(bench: SnapshotBench) -> None:
    workload = await running(bench, HANGING)

    async def taken(ctx: OperationContext) -> SnapshotManifest:
        async def look(call: Call) -> None:
            if call.name == "exec_start":
                bench.on_call = None
                asyncio.get_running_loop().call_soon(ctx.request_cancel)

        bench.on_call = look
        return await bench.capture.take(ctx, workload.id, Quiesce.HOOKS, reason=SnapshotReason.MANUAL, note="")

    with pytest.raises(Cancelled):
        await bench.within(taken)
    assert await ran(bench, workload) == ["hold", "release now"]
    assert bench.holds.all() == ([], [])
    assert list(bench.store.manifests()) == []


async def test_a_capture_that_fails_undoes_the_hook(bench: SnapshotBench) -> None:
    workload = await running(bench, WILLING)
    data = bench.data_of(workload)

    async def take_away(call: Call) -> None:
        if call.name == "exec_start" and data.exists():
            data.rename(data.with_name("away"))

    bench.on_call = take_away
    await failing(bench, workload)
    assert await ran(bench, workload) == ["hold", "release now"]


async def test_an_undoing_that_fails_is_told_with_the_snapshot_that_was_taken(bench: SnapshotBench) -> None:
    workload = await running(
        bench, Behaviour(commands={"hold": Command(), "release now": Command(code=2, output="no lock\n")})
    )
    with pytest.raises(Failed) as caught:
        await bench.taken(workload, Quiesce.HOOKS)
    (manifest,) = bench.store.manifests()
    assert caught.value.code == "post_snapshot_failed"
    assert manifest.id in caught.value.message
    assert caught.value.details["snapshot_id"] == manifest.id
    assert any("ended with 2" in line for line in told(bench, "error"))
    assert any(line.endswith("no lock") for line in told(bench, "info"))
    assert bench.last is not None
    assert bench.last.outcome["snapshot_id"] == manifest.id
    assert manifest.consistency is Consistency.HOOKED
    assert bench.holds.all() == ([], [])


async def test_an_undoing_that_fails_does_not_hide_why_the_capture_failed(bench: SnapshotBench) -> None:
    workload = await running(bench, Behaviour(commands={"hold": Command(code=1), "release now": Command(code=2)}))
    assert (await failing(bench, workload)).code == "pre_snapshot_failed"
    assert any("ended with 2" in line for line in told(bench, "error"))


async def test_an_engine_that_goes_away_is_waited_for_to_undo_the_hook(bench: SnapshotBench) -> None:
    workload = await running(bench, WILLING)
    bench.runtime.fail("exec_start", times=1, after=True)
    bench.runtime.fail("end_exec", times=1)
    with pytest.raises(Unavailable):
        await bench.taken(workload, Quiesce.HOOKS)
    assert await ran(bench, workload) == ["hold", "release now"]
    assert bench.holds.all() == ([], [])


@pytest.mark.parametrize("fate", ["removed", "stopped"])
async def test_a_container_that_went_away_needs_no_undoing(bench: SnapshotBench, fate: str) -> None:
    workload = await running(bench, WILLING)
    (instance,) = await bench.running(workload)

    async def vanish(call: Call) -> None:
        if call.name == "end_exec":
            bench.on_call = None
            if fate == "removed":
                await bench.runtime.remove(instance.id, force=True)
            else:
                await bench.runtime.stop(instance.id, 1.0)

    bench.on_call = vanish
    await bench.taken(workload, Quiesce.HOOKS)
    assert any(instance.name in line for line in told(bench, "warning"))
    assert bench.holds.all() == ([], [])


async def test_an_instance_that_its_hook_brought_down_is_not_captured_as_hooked(bench: SnapshotBench) -> None:
    workload = await running(bench, WILLING)
    (instance,) = await bench.running(workload)

    async def crash(call: Call) -> None:
        if call.name == "inspect" and bench.runtime.engine.find(call.subject).ran:
            bench.on_call = None
            bench.runtime.crash(instance.id)

    bench.on_call = crash
    assert (await failing(bench, workload)).code == "pre_snapshot_failed"


async def test_an_instance_that_restarts_while_hooks_hold_it_costs_the_snapshot(bench: SnapshotBench) -> None:
    workload = await running(bench, WILLING)
    (instance,) = await bench.running(workload)

    async def restart(call: Call) -> None:
        if call.name == "inspect" and list(bench.store.manifests()):
            bench.on_call = None
            bench.clock.now += 1
            await bench.runtime.stop(instance.id, 1.0)
            await bench.runtime.start(instance.id)

    bench.on_call = restart
    assert (await failing(bench, workload)).code == "hold_lost"
    assert await ran(bench, workload) == ["hold", "release now"]


async def test_every_running_instance_is_hooked_and_undone_the_other_way_round(bench: SnapshotBench) -> None:
    spec = replace(HOOKED, strategy=Strategy.BLUE_GREEN, max_instances=2)
    workload = await running(bench, WILLING, spec)
    operation = await bench.deploy(workload)
    assert operation.error is None
    instances = await bench.running(workload)
    order: list[tuple[str, str]] = []

    async def look(call: Call) -> None:
        if call.name in ("exec_start", "end_exec"):
            order.append((call.name, call.subject))

    bench.on_call = look
    assert (await bench.taken(workload, Quiesce.HOOKS)).consistency is Consistency.HOOKED
    there = [instance.id for instance in instances]
    assert [subject for name, subject in order if name == "end_exec"] == there[::-1]
    assert [subject for name, subject in order if name == "exec_start"] == [*there, *there[::-1]]


async def test_after_a_hook_that_failed_no_other_instance_is_touched(bench: SnapshotBench) -> None:
    behaviour = Behaviour(commands={"hold": Command(code=1), "release now": Command()})
    workload = await running(bench, behaviour, replace(HOOKED, strategy=Strategy.BLUE_GREEN, max_instances=2))
    await bench.deploy(workload)
    await failing(bench, workload)
    assert [c.ran for c in await records(bench, workload)] == [["hold", "release now"], []]


@pytest.mark.parametrize("hooks", [HOOKED.hooks, Hooks()])
async def test_sharers_run_hooks_of_their_own_or_are_paused(bench: SnapshotBench, hooks: Hooks) -> None:
    one = await bench.deployed(replace(HOOKED, volumes=(SHARED,)), WILLING)
    two = await bench.deployed(replace(HOOKED, name="shelf", volumes=(SHARED,), hooks=hooks), WILLING)
    manifest = await bench.taken(one, Quiesce.HOOKS)
    assert manifest.consistency is Consistency.HOOKED
    assert await ran(bench, one) == ["hold", "release now"]
    assert await ran(bench, two) == (["hold", "release now"] if hooks.pre_snapshot else [])
    paused = {call.subject for call in bench.calls("pause")}
    assert paused == (set() if hooks.pre_snapshot else {c.id for c in await bench.there(two)})
    assert {c.state for w in (one, two) for c in await bench.there(w)} == {ContainerState.RUNNING}


async def test_what_a_person_paused_runs_no_hook_and_stays_paused(bench: SnapshotBench) -> None:
    workload = await running(bench, WILLING)
    (instance,) = await bench.running(workload)
    await bench.runtime.pause(instance.id)
    assert (await bench.taken(workload, Quiesce.HOOKS)).consistency is Consistency.PAUSED
    assert await ran(bench, workload) == []
    assert (await bench.runtime.inspect(instance.id)).state is ContainerState.PAUSED


async def test_what_does_not_run_needs_no_hook(bench: SnapshotBench) -> None:
    workload = await running(bench, WILLING)
    await bench.stop(workload)
    assert (await bench.taken(workload, Quiesce.HOOKS)).consistency is Consistency.STOPPED
    assert await ran(bench, workload) == []


async def test_a_stranger_that_writes_weakens_what_hooks_achieve(bench: SnapshotBench) -> None:
    workload = await running(bench, WILLING)
    bind = Bind(source=str(bench.data_of(workload)), target="/theirs")
    stranger = await bench.runtime.create(ContainerSpec(name="stranger", image="notes:1", labels={}, binds=(bind,)))
    await bench.runtime.start(stranger)
    assert (await bench.taken(workload, Quiesce.HOOKS)).consistency is Consistency.LIVE
    assert await ran(bench, workload) == ["hold", "release now"]


async def test_without_a_hook_hooks_are_refused_before_anything_is_done(bench: SnapshotBench) -> None:
    workload = await running(bench, WILLING, STATEFUL)
    with pytest.raises(Refused) as caught:
        await bench.snapshots.create(workload.name, quiesce=Quiesce.HOOKS, note="", actor="ann")
    assert caught.value.code == "hooks_missing"
    # Asked for while there was one, and taken away before its turn came:
    assert (await failing(bench, workload)).code == "hooks_missing"


@pytest.mark.parametrize(
    ("declared", "asked", "consistency"),
    [
        (Quiesce.HOOKS, None, Consistency.HOOKED),
        (Quiesce.STOP, None, Consistency.STOPPED),
        (Quiesce.PAUSE, None, Consistency.PAUSED),
        (Quiesce.STOP, Quiesce.HOOKS, Consistency.HOOKED),
    ],
)
async def test_a_snapshot_is_held_as_its_caller_or_else_the_workload_says(
    bench: SnapshotBench, declared: Quiesce, asked: Quiesce | None, consistency: Consistency
) -> None:
    workload = await running(bench, WILLING, replace(HOOKED, snapshots=SnapshotPolicy(quiesce=declared)))
    await bench.done(await bench.snapshots.create(workload.name, quiesce=asked, note="", actor="ann"))
    (manifest,) = bench.store.manifests()
    assert manifest.consistency is consistency


class FullAtTheSecond(HoldFiles):
    """Hold files on a disk that is full after the first."""

    def __init__(self, fs: Fs, directory: Path) -> None:
        super().__init__(fs, directory)
        self.written = 0

    def write(self, hold: Hold) -> None:
        self.written += 1
        if self.written > 1:
            raise NoSpace("no_space", "The disk is full.", next_step="Make room.")
        super().write(hold)
