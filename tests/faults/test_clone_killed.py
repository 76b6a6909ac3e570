"""A server killed while it clones into a new workload: recovery leaves all of the data in it, or none.

The bench of every restore (``crash_bench.py``), with a workload that does not exist before: each crash begins with none
of that name, and nothing in its directories. With ``make test`` at every fifteenth point, with ``make torture`` at all.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import pytest
from tests.faults.crash_bench import POINTS_EVERY, TORTURE, side_of
from tests.faults.crash_checks import Crash, Trees, check_running, check_told, expected_side
from tests.faults.crash_scenarios import RunningWorkload

from holdfast.bootstrap import Holdfast
from holdfast.domain.errors import NotFound
from holdfast.domain.operation import OperationKind
from holdfast.domain.workload import DesiredState, Scope, Volume, Workload, WorkloadSpec
from holdfast.runtime.port import LABEL_WORKLOAD
from holdfast.services.clones import CloneWish
from holdfast.services.workload_status import Condition
from holdfast.testing.fake_records import FakeContainer
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.installation import ended, spec_of, succeeded
from holdfast.testing.trees import describe_tree

PARTS = 5
PART = range(PARTS) if TORTURE else (0,)
STATES = ("after journal MADE #1", *(["after journal COMMIT #1", "after journal TRIAL #1"] if TORTURE else []))
REPEAT_EVERY = 4
"""Which of the clones that left a workload without data are asked for again, as a sample."""


@dataclass(kw_only=True)
class NewWorkload(RunningWorkload):
    """A snapshot of a workload that runs on goes into one that is made for it."""

    kind: OperationKind = OperationKind.CLONE
    sources: tuple[Path, ...] = ()
    untouched: Trees = ()
    left: int = 0

    @classmethod
    def at(cls, directory: Path, *, power_cut: bool = False) -> Self:
        bench = super().at(directory, power_cut=power_cut)
        return replace(bench, sources=bench.volumes)

    @property
    def spec(self) -> WorkloadSpec:
        volumes = tuple(Volume(target=f"/{name}", scope=Scope.STAGE, source=name) for name in ("data", "media"))
        return spec_of("copy", volumes=volumes)

    @property
    def wish(self) -> CloneWish:
        return CloneWish(snapshot_id=self.snapshot_id, confirm=self.snapshot_id, actor="test")

    async def begin(self, holdfast: Holdfast) -> None:
        await super().begin(holdfast)
        self.untouched = tuple(map(describe_tree, self.sources))
        self.volumes = (self.place.volumes / "copy/data", self.place.volumes / "copy/media")
        self.old = ({}, {})

    async def wear(self, holdfast: Holdfast, side: str) -> None:
        """Back to where nothing was: and first, of a sample, see that the same request goes on where it was cut off."""
        if await self.made(holdfast) is not None:
            self.left += side == "old"
            if side == "old" and self.left % REPEAT_EVERY == 1:
                again = await holdfast.api.clones.new(self.wish, self.spec)
                self.operations.add((await succeeded(holdfast, again)).id)
                assert set(self.sides()) == {"new"}
                await holdfast.reaper.idle()
            deletion = await holdfast.api.workloads.delete("copy", delete_data=True, actor="test")
            self.operations.add((await succeeded(holdfast, deletion)).id)
        shutil.rmtree(self.place.volumes / "copy", ignore_errors=True)

    async def act(self, holdfast: Holdfast) -> None:
        await ended(holdfast, await holdfast.api.clones.new(self.wish, self.spec))
        await holdfast.reaper.idle()

    async def recovered(self, holdfast: Holdfast, crash: Crash) -> str:
        operation = await self.settle(holdfast)
        side = expected_side(crash, survives=True)
        assert set(self.sides()) == {side}, f"{self.sides()} where all volumes must be {side}"
        assert operation is None or operation.kind is self.kind
        check_told(operation, side, crash, survives=True, result="restored", own_failure=self.own_failure)
        made = await self.made(holdfast)
        assert isinstance(holdfast.runtime, FakeRuntime)
        containers = self.containers(holdfast.runtime)
        if side == "new":
            assert made is not None
            check_running(containers, (made,), DesiredState.RUNNING)
            assert (await holdfast.api.workloads.status("copy")).condition is Condition.RUNNING
        else:
            assert containers == ()
            assert not (self.place.volumes / "copy").exists()
            assert made is None or (await holdfast.api.workloads.status("copy")).condition is Condition.NEVER_DEPLOYED
        assert tuple(map(describe_tree, self.sources)) == self.untouched
        assert self.place.leftovers() == []
        return side

    async def made(self, holdfast: Holdfast) -> Workload | None:
        """The workload that is made, if it is on record."""
        try:
            return await holdfast.api.workloads.get("copy")
        except NotFound:
            return None

    def containers(self, engine: FakeRuntime) -> tuple[FakeContainer, ...]:
        everything: Sequence[FakeContainer] = tuple(engine.engine.state.containers.values())
        return tuple(c for c in everything if c.spec.labels.get(LABEL_WORKLOAD) != self.workload.id)

    def sides(self) -> tuple[str, ...]:
        there = zip(self.volumes, self.new, strict=True)
        return tuple(
            "old" if not volume.exists() or not any(volume.iterdir()) else side_of(volume, {}, new)
            for volume, new in there
        )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", PART)
def test_a_clone_into_a_new_workload_killed_at_any_point_leaves_all_of_the_data_or_none(
    tmp_path: Path, part: int
) -> None:
    assert NewWorkload.at(tmp_path).crash_everywhere(part, PARTS, every=POINTS_EVERY) >= 60


@pytest.mark.timeout(600)
@pytest.mark.parametrize("state", STATES)
def test_a_recovery_of_a_clone_killed_at_any_point_is_recovered_from(tmp_path: Path, state: str) -> None:
    assert NewWorkload.at(tmp_path).crash_recovery_everywhere(state, every=POINTS_EVERY) > 0
