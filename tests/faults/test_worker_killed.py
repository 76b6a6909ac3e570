"""A worker process killed with SIGKILL in the middle of its work: the server puts things back at once, and runs on.

Where it dies is placed by a seam (:mod:`holdfast.testing.crashing_worker`): before and after each request, and wherever
a job asks whether it was cancelled, which it does again and again on its way through the trees.

With ``make test`` it dies at a third of these points, all kinds of them; with ``make torture``, at each.

The file of a snapshot that was half written stays until the next start, as after a kill of the server.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.faults.crash_bench import Act
from tests.faults.crash_checks import check_hooks_undone, check_running
from tests.faults.crash_scenarios import CapturedHooked, ChosenPaths, RunningWorkload

from holdfast.bootstrap import Holdfast
from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.workload import DesiredState, Quiesce
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.installation import ended, restore

WORKER = (sys.executable, "-P", "-m", "holdfast.testing.crashing_worker")
STRIDE = 1 if os.environ.get("HOLDFAST_TORTURE") == "1" else 14


def serve(bench: RunningWorkload, trace: Path, kill_at: str | None, act: Act) -> tuple[str, ...]:
    """Have a server whose workers die at a point do ``act``. Returns the points that they passed."""
    trace.unlink(missing_ok=True)
    command = (*WORKER, str(trace), *([kill_at] if kill_at else []))
    place = bench.place
    bench.place = replace(place, seams=replace(place.seams, worker_command=command))
    try:
        bench.serve(act)
    finally:
        bench.place = place
    return tuple(trace.read_text().splitlines())


def died(operation: Operation) -> bool:
    return operation.state is OperationState.FAILED and (operation.error or {})["code"] == "worker_died"


@pytest.mark.timeout(300)
def test_a_restore_whose_worker_is_killed_anywhere_before_commit_is_called_off_at_once(tmp_path: Path) -> None:
    bench = RunningWorkload.at(tmp_path)
    bench.open()

    async def restored(holdfast: Holdfast) -> None:
        end = await ended(holdfast, await restore(holdfast, bench.workload, bench.snapshot_id))
        assert end.state is OperationState.SUCCEEDED
        await holdfast.reaper.idle()
        await bench.wear(holdfast, "new")

    async def called_off(holdfast: Holdfast) -> None:
        assert died(await ended(holdfast, await restore(holdfast, bench.workload, bench.snapshot_id)))
        assert set(bench.sides()) == {"old"}
        assert isinstance(holdfast.runtime, FakeRuntime)
        check_running(bench.containers(holdfast.runtime), bench.workloads, DesiredState.RUNNING)
        assert all(str(bench.place.settings.repository_dir) in path for path in bench.place.leftovers())

    points = [p for p in serve(bench, tmp_path / "worker", None, restored) if " reap #" not in p]
    assert {point.split()[1] for point in points} == {"measure", "stage", "warm", "capture"}
    for point in points[::STRIDE]:
        assert serve(bench, tmp_path / "worker", point, called_off).count(point) == 1
    bench.passed()
    assert bench.place.leftovers() == []


@pytest.mark.timeout(300)
def test_a_restore_of_chosen_paths_whose_worker_is_killed_while_all_else_catches_up_is_called_off(
    tmp_path: Path,
) -> None:
    bench = ChosenPaths.at(tmp_path)
    bench.open()

    async def restored(holdfast: Holdfast) -> None:
        await bench.act(holdfast)
        assert set(bench.sides()) == {"new"}
        await bench.wear(holdfast, "new")

    async def called_off(holdfast: Holdfast) -> None:
        asked = restore(holdfast, bench.workload, bench.snapshot_id, paths=bench.paths)
        assert died(await ended(holdfast, await asked))
        assert set(bench.sides()) == {"old"}
        assert isinstance(holdfast.runtime, FakeRuntime)
        check_running(bench.containers(holdfast.runtime), bench.workloads, DesiredState.RUNNING)
        assert all(str(bench.place.settings.repository_dir) in path for path in bench.place.leftovers())

    points = [p for p in serve(bench, tmp_path / "worker", None, restored) if " reap #" not in p]
    assert {point.split()[1] for point in points} == {"look_at_part", "stage_parts", "catch_up", "capture"}
    for point in points[points.index("before catch_up #2") :: STRIDE]:
        assert serve(bench, tmp_path / "worker", point, called_off).count(point) == 1
    bench.passed()
    assert bench.place.leftovers() == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("quiesce", [Quiesce.PAUSE, Quiesce.STOP, Quiesce.HOOKS])
def test_a_capture_whose_worker_is_killed_anywhere_lets_the_containers_go_at_once(
    tmp_path: Path, quiesce: Quiesce
) -> None:
    bench = CapturedHooked.at(tmp_path)
    bench.open()

    async def take(holdfast: Holdfast) -> Operation:
        create = holdfast.api.snapshots.create(bench.workload.id, quiesce=quiesce, note="", actor="test")
        return await ended(holdfast, await create)

    async def taken(holdfast: Holdfast) -> None:
        assert (await take(holdfast)).state is OperationState.SUCCEEDED

    async def let_go(holdfast: Holdfast) -> None:
        assert died(await take(holdfast))
        assert isinstance(holdfast.runtime, FakeRuntime)
        check_running(bench.containers(holdfast.runtime), bench.workloads, DesiredState.RUNNING)
        check_hooks_undone(bench.containers(holdfast.runtime))
        assert list(bench.place.settings.holds_dir.iterdir()) == []

    for point in serve(bench, tmp_path / "worker", None, taken)[::STRIDE]:
        assert serve(bench, tmp_path / "worker", point, let_go).count(point) == 1
    bench.passed()
    assert bench.place.leftovers() == []


def test_a_restore_whose_reaper_is_killed_succeeds_and_the_next_start_tidies_up(tmp_path: Path) -> None:
    bench = RunningWorkload.at(tmp_path)
    bench.open()

    async def restored(holdfast: Holdfast) -> None:
        end = await ended(holdfast, await restore(holdfast, bench.workload, bench.snapshot_id))
        assert end.state is OperationState.SUCCEEDED
        await holdfast.reaper.idle()
        assert bench.place.leftovers() != []

    serve(bench, tmp_path / "worker", "during reap #3", restored)
    bench.serve(bench.rest)
    assert set(bench.sides()) == {"new"}
    assert bench.place.leftovers() == []
