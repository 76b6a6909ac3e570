"""Version, configuration and data return to one point together, and go forward again; or all stays as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.faults.test_restored_images import runs
from tests.faults.test_review_findings import engine, hooked

from holdfast.bootstrap import Holdfast
from holdfast.domain.deployment import Deployment, DeploymentState, DeployReason
from holdfast.domain.errors import ConfirmationMissing, Conflict, Refused
from holdfast.domain.operation import Operation, OperationKind, OperationState
from holdfast.domain.restore import RecordType
from holdfast.domain.restore_records import Record
from holdfast.domain.workload import DesiredState, Domain, Scope, SnapshotPolicy, Volume, Workload, WorkloadSpec
from holdfast.testing.fake_edge import FakeEdge
from holdfast.testing.fake_records import Behaviour
from holdfast.testing.installation import Installation, deployed, ended, installation, spec_of, succeeded, undone

V1 = replace(spec_of(), env=(("MODE", "one"),), snapshots=SnapshotPolicy())
V2 = replace(V1, image="notes:2", env=(("MODE", "two"),))


def schema(place: Installation) -> Path:
    return place.volumes / "notes/data/schema"


async def deploy(holdfast: Holdfast, spec: WorkloadSpec) -> None:
    await holdfast.api.workloads.apply(spec, actor="test")
    await succeeded(holdfast, await holdfast.api.deployer.deploy(spec.name, actor="test"))


async def migrated(place: Installation, holdfast: Holdfast, to: WorkloadSpec = V2) -> Workload:
    """A workload of which the second version has ruined what the first one left."""
    workload = await deployed(holdfast, V1)
    schema(place).write_text("1")
    engine(holdfast).add_image(V2.image)
    await deploy(holdfast, to)
    schema(place).write_text("ruined")
    return workload


async def roll_back(holdfast: Holdfast, to: str | None = None, *, dry_run: bool = False) -> Operation:
    """A rollback with data, confirmed, once it has ended."""
    found = await holdfast.api.data_rollbacks.plan("notes", to)
    operation = await holdfast.api.data_rollbacks.rollback(
        "notes", found.plan.rollback.to.id, confirm=found.snapshot.id, dry_run=dry_run, actor="test"
    )
    return await ended(holdfast, operation)


async def history(holdfast: Holdfast) -> list[Deployment]:
    return list((await holdfast.api.deployer.deployments("notes", 50, None)).items)


async def state(place: Installation, holdfast: Holdfast, workload: Workload) -> tuple[list[str], WorkloadSpec, str]:
    """What runs, how it is configured, and on which data."""
    return runs(holdfast, workload), (await holdfast.api.workloads.get("notes")).spec, schema(place).read_text()


async def test_all_three_return_together_and_undo_takes_all_three_forward_again(tmp_path: Path) -> None:
    place = installation(tmp_path)
    async with hooked(place).running() as holdfast:
        workload = await migrated(place, holdfast)
        before, after = (["notes:2"], V2, "ruined"), (["notes:1"], V1, "1")
        first = (await history(holdfast))[-1]

        plan = await roll_back(holdfast, dry_run=True)
        assert plan.state is OperationState.SUCCEEDED, plan.error
        assert plan.outcome["deployment_id"] == first.id
        assert [change["path"] for change in plan.outcome["configuration_changes"]] == ["image", "env.MODE"]  # type: ignore[attr-defined]
        assert [volume["changed"] for volume in plan.outcome["volumes"]] == [1, 0]  # type: ignore[attr-defined]
        assert await state(place, holdfast, workload) == before

        end = await roll_back(holdfast)
        assert (end.state, end.kind) == (OperationState.SUCCEEDED, OperationKind.ROLLBACK), end.error
        assert (end.outcome["result"], end.outcome["rolled_back_to"]) == ("restored", first.id)
        assert end.outcome["warnings"] == []
        assert await state(place, holdfast, workload) == after
        newest = (await history(holdfast))[0]
        assert (newest.reason, newest.state) == (DeployReason.ROLLBACK, DeploymentState.SUCCEEDED)
        assert newest.snapshot_id == end.outcome["safety_snapshot_id"]
        assert (await holdfast.api.workloads.status("notes")).pending == ()

        await undone(holdfast, workload)
        assert await state(place, holdfast, workload) == before
        assert (await roll_back(holdfast)).state is OperationState.SUCCEEDED, (
            "what an undo left is returned to likewise"
        )
        assert await state(place, holdfast, workload) == after
        await holdfast.reaper.idle()
    assert place.leftovers() == []


@pytest.mark.parametrize("died_after", [RecordType.TRIAL, RecordType.CONFIRMED])
async def test_all_three_are_on_one_side_after_a_death_on_trial_or_before_the_configuration_is_written_down(
    tmp_path: Path, died_after: RecordType
) -> None:
    dying = [True]

    async def hook(record: Record) -> None:
        if record.type is died_after and dying:
            raise RuntimeError("dead")

    place = installation(tmp_path)
    async with hooked(place, after=hook).running() as holdfast:
        workload = await migrated(place, holdfast)
        await roll_back(holdfast)
        assert (await holdfast.api.workloads.get("notes")).spec == V2, "until it is decided, nothing is configured"
    dying.clear()
    async with hooked(place).running() as holdfast:
        for operation in (await holdfast.operations.list(100)).items:
            await ended(holdfast, operation)
        assert await state(place, holdfast, workload) == (["notes:1"], V1, "1")
        await holdfast.reaper.idle()
    assert place.leftovers() == []


async def test_a_version_that_is_not_healthy_on_its_data_any_more_leaves_all_three_as_they_were(tmp_path: Path) -> None:
    place = installation(tmp_path)
    async with hooked(place).running() as holdfast:
        workload = await migrated(place, holdfast)
        engine(holdfast).engine.state.images[(await history(holdfast))[-1].image_id].behaviour = Behaviour(exit_code=3)
        end = await roll_back(holdfast)
        assert (end.error or {})["code"] == "restore_reverted"
        assert await state(place, holdfast, workload) == (["notes:2"], V2, "ruined")
        assert await holdfast.api.restores.undo_target("notes") is None


async def test_a_stopped_workload_runs_again_and_the_data_goes_where_it_lay_then(tmp_path: Path) -> None:
    place = installation(tmp_path)
    elsewhere = replace(V2, volumes=(Volume(target="/data", scope=Scope.STAGE, source="elsewhere"), V2.volumes[1]))
    async with hooked(place).running() as holdfast:
        workload = await migrated(place, holdfast, elsewhere)
        moved = place.volumes / "notes/elsewhere/schema"
        moved.write_text("2")
        await succeeded(holdfast, await holdfast.api.deployer.stop("notes", actor="test"))
        assert (await roll_back(holdfast)).state is OperationState.SUCCEEDED
        assert await state(place, holdfast, workload) == (["notes:1"], V1, "1")
        assert (await holdfast.api.workloads.get("notes")).desired is DesiredState.RUNNING
        await undone(holdfast, workload)
        assert await state(place, holdfast, workload) == (["notes:2"], elsewhere, "ruined")
        assert moved.read_text() == "2", "what the later version wrote elsewhere was never touched"
        await holdfast.reaper.idle()


async def test_without_such_a_snapshot_it_is_said_why_and_what_can_be_done(tmp_path: Path) -> None:
    place = installation(tmp_path)
    async with hooked(place).running() as holdfast:
        workload = await migrated(place, holdfast)
        second, first = await history(holdfast)
        for to, why in ((second, "still the present one"), (first, "was deleted")):
            if to is first:
                await holdfast.api.snapshots.delete("notes", str(second.snapshot_id), actor="test")
            with pytest.raises(Conflict, match=why) as refused:
                await roll_back(holdfast, to.id)
            assert refused.value.code == "no_snapshot_before_deploy"
            assert "--with-image" in refused.value.next_step
        await deploy(holdfast, replace(V1, snapshots=SnapshotPolicy(before_deploy=False)))
        with pytest.raises(Conflict, match="No snapshot was taken before"):
            await roll_back(holdfast)
        assert runs(holdfast, workload) == ["notes:1"]


async def test_it_is_confirmed_by_the_snapshot_that_it_restores(tmp_path: Path) -> None:
    place = installation(tmp_path)
    async with hooked(place).running() as holdfast:
        workload = await migrated(place, holdfast)
        with pytest.raises(ConfirmationMissing):
            await holdfast.api.data_rollbacks.rollback(
                "notes", (await history(holdfast))[-1].id, confirm=None, dry_run=False, actor="test"
            )
        assert await state(place, holdfast, workload) == (["notes:2"], V2, "ruined")


async def test_a_domain_that_another_workload_has_by_now_is_not_taken_back_from_it(tmp_path: Path) -> None:
    place = hooked(installation(tmp_path))
    place = replace(place, seams=replace(place.seams, edge=lambda _settings, _installation: FakeEdge()))
    domains = (Domain(name="notes.test", port=80),)
    async with place.running() as holdfast:
        workload = await deployed(holdfast, replace(V1, domains=domains))
        engine(holdfast).add_image(V2.image)
        await deploy(holdfast, V2)
        await deploy(holdfast, replace(spec_of("shop"), volumes=(), domains=domains))
        with pytest.raises(Refused) as refused:
            await roll_back(holdfast)
        assert [problem.code for problem in refused.value.problems] == ["domain_conflict"]
        assert runs(holdfast, workload) == ["notes:2"]
