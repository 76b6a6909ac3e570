"""Each protection of a volume that is a mount point, taken out once: what it is there for then happens, and is seen."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from tests.faults.crash_scenarios import MountPoint, MountPointUnhealthy

from holdfast.bootstrap import Seams
from holdfast.domain.errors import Refused
from holdfast.domain.operation import OperationState, Progress
from holdfast.domain.restore import TreeSide
from holdfast.domain.workload import RestartPolicy
from holdfast.engine.requests import CheckWrappedRequest, Request
from holdfast.testing.crash import QuickClock
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.installation import ended, restore
from holdfast.testing.quick_workers import QuickWorkers, ThreadWorker

R = TypeVar("R")


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A place for an installation of which one volume is a mount point."""
    at = tmp_path / "data/volumes/notes/data"
    at.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "tmpfs", str(at)], check=True)
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(at)], check=True)


class Meddled(ThreadWorker):
    """A worker before whose comparison somebody writes into what waits in the volume."""

    def __init__(self, *arguments: object, side: TreeSide, trusting: bool) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._side, self._trusting = side, trusting

    async def ask(self, request: Request[R], on_progress: Callable[[Progress], object]) -> R:
        if isinstance(request, CheckWrappedRequest) and request.side is self._side:
            (volume,) = request.volumes.values()
            (Path(volume.live.path, volume.wrapper) / "staged/library/notes").write_text("poisoned")
            if self._trusting:
                return None  # type: ignore[return-value]  # the protection, taken out
        return await super().ask(request, on_progress)


class MeddledWorkers(QuickWorkers):
    def __init__(self, *arguments: object, side: TreeSide, trusting: bool, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self._meddled = partial(Meddled, side=side, trusting=trusting)

    async def start(self) -> ThreadWorker:
        return await asyncio.to_thread(self._meddled, self._settings, self._fs)


def meddled(scenario: MountPoint, side: TreeSide, *, trusting: bool) -> tuple[OperationState, str, tuple[str, ...]]:
    """How a restore ends into whose trees somebody writes; its error's code, and what the volumes then are."""
    workers = partial(MeddledWorkers, side=side, trusting=trusting)
    place = replace(scenario.place, seams=Seams(clock=QuickClock(), workers=workers))

    async def run() -> tuple[OperationState, str, tuple[str, ...]]:
        async with place.running() as holdfast:
            await scenario.begin(holdfast)
            await scenario.wear(holdfast, "old")
            end = await ended(holdfast, await restore(holdfast, scenario.workload, scenario.snapshot_id))
            await holdfast.reaper.idle()
            return end.state, str((end.error or {}).get("code")), scenario.sides()

    return asyncio.run(run())


def test_what_is_staged_is_compared_once_more_after_the_stop(directory: Path) -> None:
    assert meddled(MountPoint.at(directory), TreeSide.NEW, trusting=False) == (
        OperationState.FAILED,
        "staged_tree_changed",
        ("old", "old"),
    )


def test_without_that_comparison_what_somebody_wrote_is_restored(directory: Path) -> None:
    state, _, sides = meddled(MountPoint.at(directory), TreeSide.NEW, trusting=True)
    assert state is OperationState.SUCCEEDED
    assert sides != ("new", "new")


def test_what_waits_for_its_return_is_compared_before_the_way_back(directory: Path) -> None:
    state, code, sides = meddled(MountPointUnhealthy.at(directory), TreeSide.OLD, trusting=False)
    assert (state, code) == (OperationState.FAILED, "restore_undecided")
    assert sides[1] == "new"


def test_without_that_comparison_a_restore_is_taken_back_to_what_somebody_wrote(directory: Path) -> None:
    _, code, sides = meddled(MountPointUnhealthy.at(directory), TreeSide.OLD, trusting=True)
    assert code == "restore_reverted"
    assert sides != ("old", "old")


def test_chosen_paths_of_a_mount_point_are_refused(directory: Path) -> None:
    scenario = MountPoint.at(directory)

    async def run() -> None:
        async with scenario.place.running() as holdfast:
            await scenario.begin(holdfast)
            with pytest.raises(Refused) as caught:
                await restore(holdfast, scenario.workload, scenario.snapshot_id, paths=(b"/data/library",))
            assert caught.value.code == "paths_in_mount_point"

    asyncio.run(run())


def test_a_disk_that_is_unmounted_under_the_restore_calls_it_off(directory: Path) -> None:
    scenario = MountPoint.at(directory)
    at, hidden = scenario.volumes[0], directory / "hidden"
    hidden.mkdir()

    class Unmounting(ThreadWorker):
        async def ask(self, request: Request[R], on_progress: Callable[[Progress], object]) -> R:
            answer = await super().ask(request, on_progress)
            if isinstance(request, CheckWrappedRequest):
                subprocess.run(["mount", "--move", str(at), str(hidden)], check=True)  # noqa: ASYNC221
            return answer

    class UnmountingWorkers(QuickWorkers):
        async def start(self) -> ThreadWorker:
            return await asyncio.to_thread(Unmounting, self._settings, self._fs)

    place = replace(scenario.place, seams=Seams(clock=QuickClock(), workers=UnmountingWorkers))

    async def run() -> None:
        async with place.running() as holdfast:
            await scenario.begin(holdfast)
            await scenario.wear(holdfast, "old")
            end = await ended(holdfast, await restore(holdfast, scenario.workload, scenario.snapshot_id))
            assert end.state is OperationState.FAILED
            assert "volume_moved" in str(end.error)
            subprocess.run(["mount", "--move", str(hidden), str(at)], check=True)  # noqa: ASYNC221
            assert scenario.sides() == ("old", "old")

    asyncio.run(run())


def test_with_policies_left_armed_a_power_cut_would_start_containers_on_a_mixed_tree(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = FakeRuntime.set_restart_policy

    async def armed(self: FakeRuntime, container_id: str, policy: RestartPolicy, max_retries: int = 0) -> None:
        if policy is not RestartPolicy.NO:
            await real(self, container_id, policy, max_retries)

    scenario = MountPoint.at(directory)
    scenario.open()
    killed = scenario.killed("after exchange library #1", scenario.act)
    assert scenario.look(killed.reached).sides[0] == "between"
    scenario.recover(killed.reached)
    monkeypatch.setattr(FakeRuntime, "set_restart_policy", armed)
    killed = scenario.killed("after exchange library #1", scenario.act)
    with pytest.raises(AssertionError, match="would run after a power cut although"):
        scenario.look(killed.reached)
