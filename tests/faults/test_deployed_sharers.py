"""Who was deployed with a shared volume stands still while it is captured or replaced, whatever was applied since."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.faults.test_review_findings import engine, hooked, running_of

from holdfast.bootstrap import Holdfast, Seams
from holdfast.domain.errors import Refused
from holdfast.domain.operation import Operation
from holdfast.domain.restore import RecordType
from holdfast.domain.restore_records import Record
from holdfast.domain.workload import Quiesce, Workload
from holdfast.testing.fake_runtime import Call, FakeRuntime
from holdfast.testing.installation import (
    TWO_VOLUMES,
    deployed,
    installation,
    restore,
    snapshotted,
    spec_of,
    succeeded,
)
from holdfast.testing.quick_workers import QuickWorkers


async def stale_sharer(holdfast: Holdfast) -> Workload:
    """A workload that was deployed with the shared volume, and is configured without it by now."""
    workload = await deployed(holdfast, spec_of("other"))
    await holdfast.api.workloads.apply(spec_of("other", volumes=TWO_VOLUMES[:1]), actor="test")
    return workload


class Starting:
    """Starts the other workload in the middle of something, and sees how far it gets."""

    def __init__(self) -> None:
        self.holdfast: Holdfast | None = None
        self.other: Workload | None = None
        self.operation: Operation | None = None

    async def __call__(self) -> None:
        assert self.holdfast is not None
        assert self.other is not None
        self.operation = await self.holdfast.api.deployer.start("other", actor="test")
        async for state in self.holdfast.operations.events(self.operation.id):
            if state.waiting_for:
                break
        assert running_of(engine(self.holdfast), self.other) == [], "it writes to what is captured or replaced"

    async def ended_well(self) -> None:
        assert self.holdfast is not None
        assert self.operation is not None
        assert self.other is not None
        await succeeded(self.holdfast, self.operation)
        assert len(running_of(engine(self.holdfast), self.other)) == 1


async def test_a_start_on_what_was_deployed_waits_for_the_restore_of_a_volume_that_it_shares(tmp_path: Path) -> None:
    start = Starting()

    async def before(record: Record) -> None:
        if record.type is RecordType.SWAPPED:
            await start()

    async with hooked(installation(tmp_path), before=before).running() as holdfast:
        workload = await deployed(holdfast)
        start.holdfast, start.other = holdfast, await stale_sharer(holdfast)
        await succeeded(holdfast, await holdfast.api.deployer.stop("other", actor="test"))
        snapshot = await snapshotted(holdfast, workload)
        await succeeded(holdfast, await restore(holdfast, workload, snapshot))
        await start.ended_well()
        await holdfast.reaper.idle()


async def test_a_start_on_what_was_deployed_waits_for_the_capture_of_a_volume_that_it_shares(tmp_path: Path) -> None:
    start = Starting()

    async def on_call(call: Call) -> None:
        if call.name == "pause":
            await start()

    place = replace(
        installation(tmp_path),
        runtime=lambda _: FakeRuntime(state_file=tmp_path / "engine.json", root_dir=str(tmp_path), on_call=on_call),
        seams=Seams(workers=QuickWorkers),
    )
    async with place.running() as holdfast:
        workload = await deployed(holdfast)
        start.holdfast, start.other = holdfast, await stale_sharer(holdfast)
        await succeeded(holdfast, await holdfast.api.deployer.stop("other", actor="test"))
        await snapshotted(holdfast, workload, Quiesce.PAUSE)
        await start.ended_well()


async def test_one_that_runs_on_a_shared_volume_without_being_configured_with_it_refuses_the_restore(
    tmp_path: Path,
) -> None:
    """It would not come back as it was, so a person stops it or deploys it as it is configured."""
    async with replace(installation(tmp_path), seams=Seams(workers=QuickWorkers)).running() as holdfast:
        workload = await deployed(holdfast)
        other = await stale_sharer(holdfast)
        snapshot = await snapshotted(holdfast, workload)
        before = running_of(engine(holdfast), other)
        with pytest.raises(Refused) as caught:
            await restore(holdfast, workload, snapshot)
        assert caught.value.code == "path_in_use"
        assert running_of(engine(holdfast), other) == before
