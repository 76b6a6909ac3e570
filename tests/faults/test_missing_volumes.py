"""Volumes whose directory is gone, or another one than before: refused, until a person says that it is meant.

Whatever becomes of the restore then, nothing ever runs on an empty or a strange directory that nobody accepted.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import stat
from functools import partial
from pathlib import Path

import pytest
from tests.faults.test_review_findings import PICKY, engine, hooked, picky, running_of

from holdfast.bootstrap import Holdfast
from holdfast.domain.errors import Failed, HoldfastError, Refused
from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.restore import OnUnhealthy, RecordType
from holdfast.domain.restore_records import Record
from holdfast.domain.workload import RestartPolicy, Scope, Volume, Workload
from holdfast.runtime.port import LABEL_WORKLOAD
from holdfast.services.restore_registry import Decision
from holdfast.testing.installation import (
    Installation,
    deployed,
    ended,
    installation,
    restore,
    snapshotted,
    spec_of,
    succeeded,
    undone,
)
from holdfast.testing.trees import build_sample_tree, describe_tree


@dataclasses.dataclass(frozen=True, kw_only=True)
class Standing:
    """A workload that runs, with a snapshot."""

    place: Installation
    holdfast: Holdfast
    workload: Workload
    snapshot: str

    @property
    def data(self) -> Path:
        return self.place.volumes / "notes/data"

    async def restore(
        self, *, create_missing: bool = False, accept_replaced: bool = False, dry_run: bool = False
    ) -> Operation:
        operation = await restore(
            self.holdfast,
            self.workload,
            self.snapshot,
            create_missing=create_missing,
            accept_replaced=accept_replaced,
            dry_run=dry_run,
        )
        return await ended(self.holdfast, operation)

    async def refused_by_deploy(self) -> str:
        """The code with which a plain deploy refuses; nothing of it may run."""
        end = await ended(self.holdfast, await self.holdfast.api.deployer.deploy(self.workload.id, actor="test"))
        assert not running_of(engine(self.holdfast), self.workload)
        return code_of(end)


async def standing(place: Installation, holdfast: Holdfast, *, owner: int = 101) -> Standing:
    workload = await deployed(holdfast)
    data = place.volumes / "notes/data"
    build_sample_tree(data)
    os.chown(data, owner, owner)
    data.chmod(0o2750)
    return Standing(place=place, holdfast=holdfast, workload=workload, snapshot=await snapshotted(holdfast, workload))


def code_of(operation: Operation) -> str:
    assert operation.state is OperationState.FAILED, operation
    assert operation.error is not None
    return str(operation.error["code"])


def policies(holdfast: Holdfast, workload: Workload) -> list[RestartPolicy]:
    there = engine(holdfast).engine.state.containers.values()
    return [c.restart for c in there if c.spec.labels[LABEL_WORKLOAD] == workload.id]


async def test_a_missing_directory_is_refused_with_the_way_and_a_dry_run_tells_that_it_would_be_made(
    tmp_path: Path,
) -> None:
    place = installation(tmp_path)
    async with hooked(place).running() as holdfast:
        there = await standing(place, holdfast)
        names = len(describe_tree(there.data))
        shutil.rmtree(there.data)
        for dry_run in (True, False):
            with pytest.raises(Refused) as caught:
                await there.restore(dry_run=dry_run)
            assert caught.value.code == "volume_missing"
            assert "--create-missing" in caught.value.next_step
        end = await there.restore(dry_run=True, create_missing=True)
        told = next(v for v in end.outcome["volumes"] if v["target"] == "/data")  # type: ignore[attr-defined]
        assert (told["before"], told["added"], told["removed"]) == ("missing", names, 0)
        assert "is missing, and is made" in str(end.outcome["warnings"])
        assert not there.data.exists()
        assert place.leftovers() == []


async def test_a_missing_directory_is_made_and_gets_the_snapshots_data_and_undo_empties_it(tmp_path: Path) -> None:
    place = installation(tmp_path)
    async with hooked(place).running() as holdfast:
        there = await standing(place, holdfast)
        before = describe_tree(there.data)
        shutil.rmtree(there.data.parent)

        end = await there.restore(create_missing=True)
        assert (end.state, end.outcome["result"]) == (OperationState.SUCCEEDED, "restored")
        assert describe_tree(there.data) == before
        assert running_of(engine(holdfast), there.workload)
        assert policies(holdfast, there.workload) == [RestartPolicy.ALWAYS]

        undo = await holdfast.api.restores.undo(there.workload.id, confirm=None, dry_run=True, actor="test")
        told = str((await succeeded(holdfast, undo)).outcome["warnings"])
        assert "holds nothing of /data: whatever runs finds an empty directory there" in told
        await undone(holdfast, there.workload)
        assert list(there.data.iterdir()) == []
        facts = there.data.stat()
        assert (facts.st_uid, stat.S_IMODE(facts.st_mode)) == (101, 0o2750)
        await undone(holdfast, there.workload)
        assert describe_tree(there.data) == before
        await succeeded(holdfast, await holdfast.api.deployer.deploy(there.workload.id, actor="test"))
        await holdfast.reaper.idle()
    assert place.leftovers() == []


async def test_a_stopped_workload_is_restored_into_a_missing_directory_and_stays_stopped(tmp_path: Path) -> None:
    place = installation(tmp_path)
    async with hooked(place).running() as holdfast:
        there = await standing(place, holdfast)
        await succeeded(holdfast, await holdfast.api.deployer.stop(there.workload.id, actor="test"))
        before = describe_tree(there.data)
        shutil.rmtree(there.data)
        end = await there.restore(create_missing=True)
        assert end.outcome["result"] == "restored_stopped"
        assert describe_tree(there.data) == before
        await succeeded(holdfast, await holdfast.api.deployer.start(there.workload.id, actor="test"))


@pytest.mark.parametrize("before", [RecordType.STAGED, RecordType.SAFE])
async def test_called_off_anywhere_it_is_missing_again_and_nothing_starts_on_an_empty_directory(
    tmp_path: Path, before: RecordType
) -> None:
    failing = [True]

    async def hook(record: Record) -> None:
        if record.type is before and failing:
            raise Failed("journal_write_failed", "Broken.", next_step="Mend it.")

    place = installation(tmp_path)
    async with hooked(place, before=hook).running() as holdfast:
        there = await standing(place, holdfast)
        shutil.rmtree(there.data.parent)
        end = await there.restore(create_missing=True)
        ran_on = before is RecordType.STAGED
        assert code_of(end) == ("journal_write_failed" if ran_on else "restore_left_stopped")
        assert not there.data.parent.exists()
        assert bool(running_of(engine(holdfast), there.workload)) is ran_on
        assert policies(holdfast, there.workload) == [RestartPolicy.ALWAYS]
        assert place.leftovers() == []
        for running in running_of(engine(holdfast), there.workload):
            engine(holdfast).crash(running)
        assert await there.refused_by_deploy() == "volume_missing"
        assert not there.data.exists()

        failing.clear()
        await succeeded(holdfast, await restore(holdfast, there.workload, there.snapshot, create_missing=True))
        assert running_of(engine(holdfast), there.workload)
        await holdfast.reaper.idle()
    assert place.leftovers() == []


async def test_those_that_share_another_volume_are_started_again_when_it_is_called_off(tmp_path: Path) -> None:
    async def hook(record: Record) -> None:
        if record.type is RecordType.SAFE:
            raise Failed("journal_write_failed", "Broken.", next_step="Mend it.")

    place = installation(tmp_path)
    async with hooked(place, before=hook).running() as holdfast:
        there = await standing(place, holdfast)
        shared = Volume(target="/shelf", scope=Scope.PROJECT, source="media")
        shelf = await deployed(holdfast, spec_of("shelf", volumes=(shared,)))
        shutil.rmtree(there.data)
        assert code_of(await there.restore(create_missing=True)) == "restore_left_stopped"
        assert not running_of(engine(holdfast), there.workload)
        assert running_of(engine(holdfast), shelf)


@pytest.mark.parametrize("wished", [None, OnUnhealthy.REVERT])
async def test_unhealthy_on_the_restored_data_it_is_kept_or_missing_again_if_asked_for(
    tmp_path: Path, wished: OnUnhealthy | None
) -> None:
    place = installation(tmp_path, behaviour=PICKY)
    async with hooked(place).running() as holdfast:
        workload, snapshot = await picky(place, holdfast)
        data = place.volumes / "notes/data"
        shutil.rmtree(data)
        end = await ended(
            holdfast, await restore(holdfast, workload, snapshot, on_unhealthy=wished, create_missing=True)
        )
        if wished is None:
            assert code_of(end) == "restore_unhealthy"
            assert (data / "other").exists(), "there is nothing to go back to"
            await holdfast.reaper.idle()
            return
        assert code_of(end) == "restore_reverted_unhealthy"
        assert "is missing, as it was before" in str((end.error or {})["message"])
        assert not data.exists()
        assert not running_of(engine(holdfast), workload)
        deploy = await ended(holdfast, await holdfast.api.deployer.deploy(workload.id, actor="test"))
        assert code_of(deploy) == "volume_missing"
        release = await holdfast.api.restores.decide(workload.id, Decision.RELEASE, confirm=None, actor="test")
        await succeeded(holdfast, release)
    assert place.leftovers() == []


@pytest.mark.parametrize("at", [RecordType.MADE, RecordType.SAFE])
async def test_what_somebody_puts_there_meanwhile_is_left_alone_and_told(tmp_path: Path, at: RecordType) -> None:
    place = installation(tmp_path)
    data = place.volumes / "notes/data"

    async def hook(record: Record) -> None:
        if record.type is at:
            data.mkdir(exist_ok=True)
            (data / "theirs").write_text("theirs")
        if record.type is RecordType.SAFE:
            raise Failed("journal_write_failed", "Broken.", next_step="Mend it.")

    async with hooked(place, after=hook).running() as holdfast:
        there = await standing(place, holdfast)
        shutil.rmtree(data)
        end = await there.restore(create_missing=True)
        assert code_of(end) == "restore_left_stopped"
        if at is RecordType.MADE:
            assert "volume_appeared" in str((end.error or {})["details"])
        else:
            assert any("somebody has put something in it" in line.message for line in end.log)
        assert (data / "theirs").read_text() == "theirs"
        assert await there.refused_by_deploy() == "volume_replaced"
    assert place.leftovers() == []


async def test_another_directory_than_the_one_last_seen_is_restored_onto_only_if_that_is_accepted(
    tmp_path: Path,
) -> None:
    failing: list[bool] = []

    async def hook(record: Record) -> None:
        if record.type is RecordType.SAFE and failing:
            raise Failed("journal_write_failed", "Broken.", next_step="Mend it.")

    place = installation(tmp_path)
    async with hooked(place, before=hook).running() as holdfast:
        there = await standing(place, holdfast)
        before = describe_tree(there.data)
        there.data.rename(there.data.with_name("moved"))
        there.data.mkdir()
        (there.data / "copied by hand").write_text("perhaps the better copy")
        strange = describe_tree(there.data)
        with pytest.raises(Refused) as caught:
            await there.restore()
        assert caught.value.code == "volume_replaced"
        assert "--accept-replaced" in caught.value.next_step
        assert describe_tree(there.data) == strange

        failing.append(True)
        assert code_of(await there.restore(accept_replaced=True)) == "restore_left_stopped"
        assert describe_tree(there.data) == strange
        assert await there.refused_by_deploy() == "volume_replaced", "a restore that was called off accepts nothing"
        failing.clear()

        end = await there.restore(accept_replaced=True)
        assert (end.state, end.outcome["result"]) == (OperationState.SUCCEEDED, "restored")
        assert describe_tree(there.data) == before
        await undone(holdfast, there.workload)
        assert describe_tree(there.data) == strange, "nothing that was there is lost"
        await holdfast.reaper.idle()
    assert place.leftovers() == []


async def test_an_undo_into_a_missing_directory_is_asked_for_in_the_same_way(tmp_path: Path) -> None:
    place = installation(tmp_path)
    async with hooked(place).running() as holdfast:
        there = await standing(place, holdfast)
        await there.restore()
        shutil.rmtree(there.data)
        target = await holdfast.api.restores.undo_target(there.workload.id)
        assert target is not None
        undo = partial(holdfast.api.restores.undo, there.workload.id, confirm=target.id, dry_run=True, actor="test")
        with pytest.raises(HoldfastError) as caught:
            await undo()
        assert caught.value.code == "volume_missing"
        await succeeded(holdfast, await undo(create_missing=True))


async def test_taken_back_a_replaced_directory_is_as_it_was_and_nothing_is_started_on_it(tmp_path: Path) -> None:
    place = installation(tmp_path, behaviour=PICKY)
    data = place.volumes / "notes/data"
    async with hooked(place).running() as holdfast:
        workload, snapshot = await picky(place, holdfast)
        data.rename(data.with_name("moved"))
        data.mkdir()
        (data / "good").touch()
        end = await ended(
            holdfast,
            await restore(holdfast, workload, snapshot, on_unhealthy=OnUnhealthy.REVERT, accept_replaced=True),
        )
        assert code_of(end) == "restore_reverted_unhealthy"
        assert [path.name for path in data.iterdir()] == ["good"]
        assert not running_of(engine(holdfast), workload)
        deploy = await ended(holdfast, await holdfast.api.deployer.deploy(workload.id, actor="test"))
        assert code_of(deploy) == "volume_replaced", "what was accepted for a restore that did not hold is not accepted"


async def test_called_off_without_a_word_in_the_journal_it_is_missing_again_all_the_same(tmp_path: Path) -> None:
    failing = [True]

    async def hook(record: Record) -> None:
        if record.type in (RecordType.SAFE, RecordType.ABORTED) and failing:
            raise Failed("journal_write_failed", "Broken.", next_step="Mend it.")

    place = installation(tmp_path)
    async with hooked(place, before=hook).running() as holdfast:
        there = await standing(place, holdfast)
        shutil.rmtree(there.data)
        begun = await restore(holdfast, there.workload, there.snapshot, create_missing=True)
        waiting = ""
        async for operation in holdfast.operations.events(begun.id):
            if waiting := operation.waiting_for:
                break
        assert "stays stopped" in waiting
        assert not there.data.exists()
        assert not running_of(engine(holdfast), there.workload)
    failing.clear()
    async with hooked(place).running() as holdfast:
        for operation in (await holdfast.operations.list(limit=20)).items:
            await ended(holdfast, operation)
        await holdfast.reaper.idle()
        assert not there.data.exists()
    assert place.leftovers() == []
