"""A deployment that fails after its new version ran on the data says so, and brings back the data of before as told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.faults.crash_bench import watched
from tests.faults.crash_scenarios import RunningWorkload
from tests.faults.test_restored_images import runs
from tests.faults.test_review_findings import engine, hooked
from tests.faults.test_rollback_with_data import history, roll_back, schema

from holdfast.bootstrap import Holdfast
from holdfast.domain.deployment import DeploymentState
from holdfast.domain.errors import Failed
from holdfast.domain.operation import Operation, OperationKind, OperationState
from holdfast.domain.restore import RecordType
from holdfast.domain.restore_records import Record
from holdfast.domain.workload import HealthType, RevertData, Scope, SnapshotPolicy, Volume, WorkloadSpec
from holdfast.testing.fake_records import Behaviour, Command
from holdfast.testing.installation import QUICK, Installation, deployed, ended, installation, spec_of

OWN = (Volume(target="/data", scope=Scope.STAGE, source="data"),)
BAD = Behaviour(exit_code=3, logs=("no such column",), writes={"/data/schema": "ruined"})


def configured(revert: RevertData) -> WorkloadSpec:
    return replace(spec_of(volumes=OWN), snapshots=SnapshotPolicy(), revert_data=revert)


async def begun(place: Installation, holdfast: Holdfast, revert: RevertData) -> None:
    """A workload that runs on its data, and a version that ruins it and ends."""
    await deployed(holdfast, configured(revert))
    schema(place).write_text("1")
    engine(holdfast).add_image("notes:2", BAD)


async def failing(holdfast: Holdfast) -> Operation:
    """The deployment of that version, once it has ended."""
    return await ended(holdfast, await holdfast.api.deployer.deploy("notes", image="notes:2", actor="test"))


async def settled(holdfast: Holdfast) -> None:
    """Wait until a server has done what it found to do at its start."""
    await watched(holdfast)
    seen: set[str] = set()
    while new := {each.id: each for each in (await holdfast.operations.list(100)).items if each.id not in seen}:
        for operation in new.values():
            await ended(holdfast, operation)
        seen |= new.keys()
    await holdfast.reaper.idle()


@pytest.mark.parametrize("revert", [RevertData.ASK, RevertData.NEVER])
async def test_it_says_that_the_data_may_have_changed_and_how_that_of_before_comes_back(
    tmp_path: Path, revert: RevertData
) -> None:
    place = installation(tmp_path)
    async with hooked(place).running() as holdfast:
        await begun(place, holdfast, revert)
        workload = await holdfast.api.workloads.get("notes")
        end = await failing(holdfast)
        error = end.error or {}
        failed, first = await history(holdfast)
        assert (error["code"], failed.state) == ("deploy_unhealthy", DeploymentState.RETURNED)
        assert "ran on the data, and may have changed it" in str(error["message"])
        assert failed.error is not None
        assert failed.error["message"] == error["message"]
        command = f"holdfast rollback notes --to {first.id} --with-data"
        assert (command in str(error["next_step"])) is (revert is RevertData.ASK)
        assert (runs(holdfast, workload), schema(place).read_text()) == (["notes:1"], "ruined")
        if revert is RevertData.ASK:
            assert (await roll_back(holdfast, first.id)).state is OperationState.SUCCEEDED
            assert (runs(holdfast, workload), schema(place).read_text()) == (["notes:1"], "1")
            await holdfast.reaper.idle()


async def test_always_brings_back_the_data_with_the_version_which_never_runs_on_what_was_made_of_it(
    tmp_path: Path,
) -> None:
    place = installation(tmp_path)
    async with hooked(place).running() as holdfast:
        await begun(place, holdfast, RevertData.ALWAYS)
        first = (await history(holdfast))[0]
        engine(holdfast).engine.state.images[first.image_id].behaviour = Behaviour(requires={"/data/schema": "1"})
        engine(holdfast).calls.clear()
        workload = await holdfast.api.workloads.get("notes")
        end = await failing(holdfast)
        error = end.error or {}
        assert (end.state, error["code"]) == (OperationState.FAILED, "deploy_unhealthy")
        assert "The data of before is back, and what ran before runs on it." in str(error["message"])
        assert (runs(holdfast, workload), schema(place).read_text()) == (["notes:1"], "1")
        starts = [call for call in engine(holdfast).calls if call.name == "start"]
        assert len(starts) == 2, "the new version, and the old one on the data of before: never on the other"
        again, failed, _ = await history(holdfast)
        assert (failed.state, again.state) == (DeploymentState.RETURNED, DeploymentState.SUCCEEDED)
        assert (await holdfast.api.workloads.get("notes")).spec == configured(RevertData.ALWAYS)
        safety = await holdfast.api.snapshots.get("notes", str(end.outcome["safety_snapshot_id"]))
        assert safety.pinned, "what the new version made of it is kept"
        await holdfast.reaper.idle()
    assert place.leftovers() == []


async def test_where_that_fails_what_ran_before_runs_on_the_data_as_it_is_and_it_is_said_why(tmp_path: Path) -> None:
    place = installation(tmp_path)

    async def full(record: Record) -> None:
        if record.type is RecordType.SAFE:
            raise Failed("journal_write_failed", "The disk is full.", next_step="Make room.")

    async with hooked(place, before=full).running() as holdfast:
        await begun(place, holdfast, RevertData.ALWAYS)
        workload = await holdfast.api.workloads.get("notes")
        error = (await failing(holdfast)).error or {}
        assert "The data of before could not be brought back: The disk is full." in str(error["message"])
        assert "What ran before runs again." in str(error["message"])
        assert "--with-data" in str(error["next_step"])
        assert (runs(holdfast, workload), schema(place).read_text()) == (["notes:1"], "ruined")
    assert place.leftovers() == []


async def test_where_others_wrote_since_the_snapshot_it_is_only_told(tmp_path: Path) -> None:
    place = installation(tmp_path)
    shared = (Volume(target="/data", scope=Scope.PROJECT, source="data"),)
    async with hooked(place).running() as holdfast:
        await deployed(holdfast, replace(configured(RevertData.ALWAYS), volumes=shared))
        await deployed(holdfast, spec_of("sharer", volumes=shared))
        engine(holdfast).add_image("notes:2", BAD)
        error = (await failing(holdfast)).error or {}
        assert "--with-data" in str(error["next_step"])
        assert (place.volumes / "@home/data/schema").read_text() == "ruined"


async def test_a_server_that_is_cut_off_while_the_new_version_is_judged_has_the_next_one_bring_both_back(
    tmp_path: Path,
) -> None:
    place = replace(installation(tmp_path, behaviour=Behaviour(commands={"ready": Command()})), drain_deadline=0.0)
    judged = replace(QUICK, type=HealthType.COMMAND, command=("ready",), deadline=60.0)
    async with hooked(place).running() as holdfast:
        await deployed(holdfast, replace(configured(RevertData.ALWAYS), health=judged))
        schema(place).write_text("1")
        engine(holdfast).add_image("notes:2", Behaviour(writes={"/data/schema": "ruined"}))
        deployment = await holdfast.api.deployer.deploy("notes", image="notes:2", actor="test")
        async for now in holdfast.operations.events(deployment.id):
            if now.steps and now.steps[-1].name == "gating":
                break
    async with hooked(place).running() as holdfast:
        await settled(holdfast)
        workload = await holdfast.api.workloads.get("notes")
        assert (runs(holdfast, workload), schema(place).read_text()) == (["notes:1"], "1")
        _, cut_off, _ = await history(holdfast)
        assert cut_off.state is DeploymentState.INTERRUPTED
        assert cut_off.error is not None
        assert "The data of before is back, and what ran before runs on it." in cut_off.error["message"]
    assert place.leftovers() == []


async def test_what_was_written_while_the_server_was_away_for_long_is_not_set_aside_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = replace(installation(tmp_path, behaviour=Behaviour(commands={"ready": Command()})), drain_deadline=0.0)
    judged = replace(QUICK, type=HealthType.COMMAND, command=("ready",), deadline=60.0)
    async with hooked(place).running() as holdfast:
        await deployed(holdfast, replace(configured(RevertData.ALWAYS), health=judged))
        schema(place).write_text("1")
        engine(holdfast).add_image("notes:2", Behaviour(writes={"/data/schema": "2"}))
        deployment = await holdfast.api.deployer.deploy("notes", image="notes:2", actor="test")
        async for now in holdfast.operations.events(deployment.id):
            if now.steps and now.steps[-1].name == "gating":
                break
    schema(place).write_text("2, and hours of work")
    monkeypatch.setattr("holdfast.services.data_returns._SLACK", -3600.0)  # as if it had run for an hour longer
    async with hooked(place).running() as holdfast:
        await settled(holdfast)
        assert schema(place).read_text() == "2, and hours of work"
        cut_off, _ = await history(holdfast)
        assert cut_off.state is DeploymentState.INTERRUPTED
        assert cut_off.error is not None
        assert "holdfast rollback notes" in cut_off.error["next_step"]
        assert "--with-data" in cut_off.error["next_step"]


@pytest.mark.parametrize("point", ["after journal SAFE #1", "after journal TRIAL #1"])
def test_a_server_that_is_killed_on_that_way_back_leaves_both_as_before_for_the_next_one_to_finish(
    tmp_path: Path, point: str
) -> None:
    bench = Reverting.at(tmp_path)
    bench.open()
    bench.killed(point, bench.act)
    bench.serve(bench.check)


@dataclass(kw_only=True)
class Reverting(RunningWorkload):
    """A version that ruins its data is deployed, fails, and takes the data of before with it on its way back."""

    async def begin(self, holdfast: Holdfast) -> None:
        await begun(self.place, holdfast, RevertData.ALWAYS)
        self.workloads = (await holdfast.api.workloads.get("notes"),)

    async def wear(self, holdfast: Holdfast, side: str) -> None:
        """The data stays as it is."""

    async def act(self, holdfast: Holdfast) -> None:
        await failing(holdfast)
        await holdfast.reaper.idle()

    async def check(self, holdfast: Holdfast) -> None:
        await settled(holdfast)
        assert (runs(holdfast, self.workload), schema(self.place).read_text()) == (["notes:1"], "1")
        states = [each.state for each in await history(holdfast)]
        assert states == [DeploymentState.SUCCEEDED, DeploymentState.INTERRUPTED, DeploymentState.SUCCEEDED]
        deployment = min((await holdfast.operations.list(100)).items[:-1], key=lambda each: each.id)
        assert (deployment.kind, deployment.state) == (OperationKind.DEPLOY, OperationState.FAILED)
        assert self.place.leftovers() == []
