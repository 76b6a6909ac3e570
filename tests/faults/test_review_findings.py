"""Sequences that a review of the restore broke, and what has to come of them."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from holdfast.bootstrap import Holdfast, Seams
from holdfast.domain.errors import Conflict, Failed, HoldfastError, NoSpace
from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.restore import OnUnhealthy, RecordType
from holdfast.domain.restore_records import Record
from holdfast.domain.workload import Workload
from holdfast.engine.journal import Journal
from holdfast.runtime.port import LABEL_WORKLOAD
from holdfast.services.restore_files import RestoreFiles
from holdfast.services.restore_registry import Decision
from holdfast.testing.fake_records import Behaviour
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.installation import (
    Installation,
    deployed,
    ended,
    installation,
    restore,
    snapshotted,
    spec_of,
    succeeded,
)
from holdfast.testing.quick_workers import QuickWorkers

Hook = Callable[[Record], Awaitable[None]]
PICKY = Behaviour(requires={"/data/good": None})
"""Runs only where its data has the file ``good``."""


def hooked_files(*, after: Hook | None = None, before: Hook | None = None) -> type[RestoreFiles]:
    """A restore's file operations with something that happens around each record of a journal."""

    class Hooked(RestoreFiles):
        async def append(self, to: Journal, record: Record) -> None:
            if before is not None:
                await before(record)
            await asyncio.to_thread(to.append, record)
            if after is not None:
                await after(record)

    return Hooked


def hooked(place: Installation, *, after: Hook | None = None, before: Hook | None = None) -> Installation:
    """The installation with something that happens around each record of a journal."""
    files = hooked_files(after=after, before=before)
    return dataclasses.replace(place, seams=Seams(workers=QuickWorkers, files=files))


def engine(holdfast: Holdfast) -> FakeRuntime:
    assert isinstance(holdfast.runtime, FakeRuntime)
    return holdfast.runtime


def running_of(runtime: FakeRuntime, workload: Workload) -> list[str]:
    return [
        c.id
        for c in runtime.engine.state.containers.values()
        if c.alive and c.spec.labels[LABEL_WORKLOAD] == workload.id
    ]


async def picky(place: Installation, holdfast: Holdfast) -> tuple[Workload, str]:
    """A workload, and a snapshot on whose data it does not run."""
    data = place.volumes / "notes/data"
    data.mkdir(parents=True)
    (data / "good").write_text("good")
    (data / "other").write_text("other")
    workload = await deployed(holdfast)
    (data / "good").unlink()
    snapshot = await snapshotted(holdfast, workload)
    (data / "good").write_text("good")
    return workload, snapshot


async def decided(holdfast: Holdfast, choice: Decision) -> Operation:
    pending = await holdfast.api.restores.undecided("notes")
    confirm = None if pending is None else pending.restore_id
    return await holdfast.api.restores.decide("notes", choice, confirm=confirm, actor="test")


async def test_an_engine_that_goes_away_after_the_data_came_back_only_delays_the_old_version(tmp_path: Path) -> None:
    seen: list[FakeRuntime] = []

    async def after(record: Record) -> None:
        if record.type is RecordType.REVERTED:
            seen[0].fail(times=2)

    place = hooked(installation(tmp_path, behaviour=PICKY), after=after)
    async with place.running() as holdfast:
        seen.append(engine(holdfast))
        workload, snapshot = await picky(place, holdfast)
        end = await ended(holdfast, await restore(holdfast, workload, snapshot, on_unhealthy=OnUnhealthy.REVERT))
        assert end.error is not None
        assert (end.error["code"], end.outcome.get("result")) == ("restore_reverted", "reverted")
        assert running_of(engine(holdfast), workload)
        assert await holdfast.api.restores.undecided("notes") is None


async def test_after_a_decision_to_revert_nothing_waits_for_a_decision_any_more(tmp_path: Path) -> None:
    failing = [True]

    async def before(record: Record) -> None:
        if record.type is RecordType.BACKWARD and failing.pop():
            raise Failed("journal_write_failed", "Broken.", next_step="Mend it.")

    place = hooked(installation(tmp_path, behaviour=PICKY), before=before)
    async with place.running() as holdfast:
        workload, snapshot = await picky(place, holdfast)
        await ended(holdfast, await restore(holdfast, workload, snapshot, on_unhealthy=OnUnhealthy.REVERT))
        failing.append(False)
        end = await ended(holdfast, await decided(holdfast, Decision.REVERT))
        assert end.error is not None
        assert end.error["code"] == "restore_reverted"
        assert await holdfast.api.restores.undecided("notes") is None
        await succeeded(holdfast, await holdfast.api.deployer.deploy("notes", actor="test"))


@pytest.mark.parametrize("first", [Decision.KEEP, Decision.REVERT])
async def test_of_two_decisions_at_once_the_first_one_counts(tmp_path: Path, first: Decision) -> None:
    failing = [True]

    async def before(record: Record) -> None:
        if record.type is RecordType.BACKWARD and failing and failing.pop():
            raise Failed("journal_write_failed", "Broken.", next_step="Mend it.")

    place = hooked(installation(tmp_path, behaviour=PICKY), before=before)
    async with place.running() as holdfast:
        workload, snapshot = await picky(place, holdfast)
        await ended(holdfast, await restore(holdfast, workload, snapshot, on_unhealthy=OnUnhealthy.REVERT))
        engine(holdfast).slow(0.1)  # so that the second is asked for while the first is under way
        other = Decision.REVERT if first is Decision.KEEP else Decision.KEEP
        one, two = await decided(holdfast, first), await decided(holdfast, other)
        result = (await ended(holdfast, one)).outcome["result"]
        assert result == ("restored_unhealthy" if first is Decision.KEEP else "reverted")
        end = await ended(holdfast, two)
        assert end.error is not None
        assert end.error["code"] == "restore_not_decidable"
        assert await holdfast.api.restores.undecided("notes") is None
        assert (place.volumes / "notes/data/good").exists() is (first is Decision.REVERT)
        await holdfast.reaper.idle()


async def test_a_called_off_restore_that_could_not_be_tidied_up_starts_nothing_later(tmp_path: Path) -> None:
    place = installation(tmp_path)
    failing = [True]

    class Unreapable(RestoreFiles):
        async def reap(self, volumes: object) -> None:
            if failing:
                raise Failed("io_error", "Broken.", next_step="Mend it.")
            await RestoreFiles.reap(self, volumes)  # type: ignore[arg-type]

        async def append(self, to: Journal, record: Record) -> None:
            if record.type is RecordType.SAFE and failing:
                raise NoSpace("no_space", "Full.", next_step="Make room.")
            await RestoreFiles.append(self, to, record)

    place = dataclasses.replace(place, seams=Seams(workers=QuickWorkers, files=Unreapable))
    async with place.running() as holdfast:
        workload = await deployed(holdfast)
        snapshot = await snapshotted(holdfast, workload)
        end = await ended(holdfast, await restore(holdfast, workload, snapshot))
        assert end.state is OperationState.FAILED
        assert running_of(engine(holdfast), workload)
        await succeeded(holdfast, await holdfast.api.deployer.stop("notes", actor="test"))
    failing.clear()
    async with place.running() as holdfast:
        await holdfast.reaper.idle()
        for operation in (await holdfast.operations.list(100)).items:
            await ended(holdfast, operation)
        assert not running_of(engine(holdfast), workload), "a person had stopped it"
    assert place.leftovers() == []


@pytest.mark.parametrize("dies_before", [RecordType.COMMIT, RecordType.SWAPPED])
async def test_a_damaged_journal_beside_an_interrupted_restore_does_not_keep_the_server_from_starting(
    tmp_path: Path, dies_before: RecordType
) -> None:
    async def before(record: Record) -> None:
        if record.type is dies_before:
            raise RuntimeError("dead")

    place = installation(tmp_path)
    dying = hooked(place, before=before)
    async with dying.running() as holdfast:
        workload = await deployed(holdfast)
        snapshot = await snapshotted(holdfast, workload)
        await ended(holdfast, await restore(holdfast, workload, snapshot))
    damaged = place.settings.journal_dir / "zzzz.journal"
    damaged.write_bytes(b"what is this\nand this\n")
    async with place.running() as holdfast:
        pending = await holdfast.api.restores.undecided("notes")
        assert pending is not None
        assert not running_of(engine(holdfast), workload)
    damaged.unlink()
    async with place.running() as holdfast:
        for operation in (await holdfast.operations.list(100)).items:
            await ended(holdfast, operation)
        assert running_of(engine(holdfast), workload)
        assert await holdfast.api.restores.undecided("notes") is None
        await holdfast.reaper.idle()
    assert place.leftovers() == []


async def test_a_kept_unhealthy_workload_does_not_take_those_that_share_its_volume_down(tmp_path: Path) -> None:
    place = installation(tmp_path, behaviour=PICKY)
    place.fake_engine().add_image("calm:1")
    async with place.running() as holdfast:
        workload, snapshot = await picky(place, holdfast)
        other = await deployed(holdfast, spec_of("other", image="calm:1"))
        assert running_of(engine(holdfast), other)
        await ended(holdfast, await restore(holdfast, workload, snapshot, on_unhealthy=OnUnhealthy.KEEP))
        assert running_of(engine(holdfast), other)
        await holdfast.reaper.idle()


async def test_no_workload_is_configured_onto_a_volume_that_is_being_restored(tmp_path: Path) -> None:
    caught: list[HoldfastError] = []
    place = installation(tmp_path)
    running: list[Holdfast] = []

    async def before(record: Record) -> None:
        if record.type is RecordType.COMMIT:
            try:
                await asyncio.wait_for(deployed(running[0], spec_of("other")), 60)
            except HoldfastError as error:
                caught.append(error)

    place = hooked(place, before=before)
    async with place.running() as holdfast:
        running.append(holdfast)
        workload = await deployed(holdfast)
        snapshot = await snapshotted(holdfast, workload)
        await succeeded(holdfast, await restore(holdfast, workload, snapshot))
        assert caught, "its container would have run across the exchange"


async def test_a_restore_that_can_not_begin_leaves_no_names_on_images(tmp_path: Path) -> None:
    class Full(RestoreFiles):
        async def begin(self, facts: object) -> Journal:
            raise NoSpace("no_space", "Full.", next_step="Make room.")

    place = dataclasses.replace(installation(tmp_path), seams=Seams(workers=QuickWorkers, files=Full))
    async with place.running() as holdfast:
        workload = await deployed(holdfast)
        snapshot = await snapshotted(holdfast, workload)
        tags = {tag for image in engine(holdfast).engine.state.images.values() for tag in image.tags}
        end = await ended(holdfast, await restore(holdfast, workload, snapshot))
        assert end.state is OperationState.FAILED
        assert {tag for image in engine(holdfast).engine.state.images.values() for tag in image.tags} == tags


async def test_a_damaged_journal_of_another_workload_keeps_no_tree_from_being_released(tmp_path: Path) -> None:
    place = installation(tmp_path, behaviour=PICKY)
    async with place.running() as holdfast:
        workload, snapshot = await picky(place, holdfast)
        await ended(holdfast, await restore(holdfast, workload, snapshot, on_unhealthy=OnUnhealthy.REVERT))
        damaged = place.settings.journal_dir / "0.journal"
        damaged.write_bytes(b"what is this\nand this\n")
        await succeeded(holdfast, await decided(holdfast, Decision.RELEASE))
        damaged.unlink()
    assert place.leftovers() == []


async def test_an_idempotency_key_of_another_request_is_not_taken_for_this_restore(tmp_path: Path) -> None:
    place = installation(tmp_path)
    async with place.running() as holdfast:
        workload = await deployed(holdfast)
        snapshot = await snapshotted(holdfast, workload)
        await succeeded(holdfast, await holdfast.api.deployer.deploy("notes", actor="test", idempotency_key="once"))
        for _ in range(2):
            with pytest.raises(Conflict, match="another request"):
                await holdfast.api.restores.restore(
                    "notes",
                    snapshot,
                    confirm=snapshot,
                    volumes=None,
                    on_unhealthy=None,
                    with_image=False,
                    dry_run=False,
                    actor="test",
                    idempotency_key="once",
                )
        await succeeded(holdfast, await restore(holdfast, workload, snapshot))
