"""Code and data: a restore says which version wrote the data and which is to read it, and moves both if asked to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.faults.test_review_findings import engine, hooked

from holdfast.bootstrap import Holdfast
from holdfast.domain.errors import Refused
from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.restore import OnUnhealthy, RecordType
from holdfast.domain.restore_records import Record
from holdfast.domain.workload import Workload
from holdfast.runtime.port import LABEL_WORKLOAD
from holdfast.services.workload_status import WorkloadStatus
from holdfast.testing.fake_records import Behaviour
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

NEEDS_SCHEMA_2 = Behaviour(requires={"/data/schema": "2"})


def schema(place: Installation) -> Path:
    return place.volumes / "notes/data/schema"


async def upgraded(place: Installation, holdfast: Holdfast) -> tuple[Workload, str]:
    """A workload at notes:2 with data of schema 2, and the snapshot of notes:1 and schema 1 from before its upgrade."""
    workload = await deployed(holdfast)
    schema(place).write_text("1")
    snapshot = await snapshotted(holdfast, workload)
    engine(holdfast).add_image("notes:2", NEEDS_SCHEMA_2)
    schema(place).write_text("2")
    await succeeded(holdfast, await holdfast.api.deployer.deploy(workload.id, image="notes:2", actor="test"))
    return workload, snapshot


def runs(holdfast: Holdfast, workload: Workload) -> list[str]:
    """The names of the images that the workload's running containers are of."""
    state = engine(holdfast).engine.state
    return [
        next(tag for tag in state.images[c.spec.image].tags if "notes:" in tag)
        for c in state.containers.values()
        if c.alive and c.spec.labels[LABEL_WORKLOAD] == workload.id
    ]


async def status(holdfast: Holdfast, workload: Workload) -> WorkloadStatus:
    return await holdfast.api.workloads.status(workload.id)


def told(operation: Operation) -> str:
    return " ".join(map(str, operation.outcome["warnings"]))  # type: ignore[call-overload]


async def test_a_snapshot_of_another_version_is_warned_of_by_both_names_and_the_way_to_return_to_it(
    tmp_path: Path,
) -> None:
    place = installation(tmp_path)
    async with hooked(place).running() as holdfast:
        workload, snapshot = await upgraded(place, holdfast)
        plan = await succeeded(holdfast, await restore(holdfast, workload, snapshot, dry_run=True))
        for part in ("taken with notes:1 (", "and notes:2 (", "--with-image"):
            assert part in told(plan)
        assert (plan.outcome["image"], plan.outcome["taken_with"]) == ("notes:2", "notes:1")

        end = await ended(holdfast, await restore(holdfast, workload, snapshot, on_unhealthy=OnUnhealthy.KEEP))
        assert end.state is OperationState.FAILED
        assert told(end) == told(plan)
        assert any("--with-image" in line.message for line in end.log)
        await holdfast.reaper.idle()


async def test_code_and_data_return_together_are_told_apart_from_what_is_configured_and_undone_together(
    tmp_path: Path,
) -> None:
    place = installation(tmp_path)
    async with hooked(place).running() as holdfast:
        workload, snapshot = await upgraded(place, holdfast)
        end = await succeeded(holdfast, await restore(holdfast, workload, snapshot, with_image=True))
        assert (runs(holdfast, workload), schema(place).read_text()) == (["notes:1"], "1")
        assert (end.outcome["image"], end.outcome["image_before"]) == ("notes:1", "notes:2")
        assert "next deploy returns to notes:2" in str(end.outcome["image_note"])
        seen = await status(holdfast, workload)
        assert seen.returned is not None
        assert (seen.returned.image, seen.returned.configured) == ("notes:1", "notes:2")
        assert [change.path for change in seen.pending] == ["image"]
        assert seen.workload.spec.image == "notes:2"

        for image, version in (("notes:2", "2"), ("notes:1", "1")):
            undo = await undone(holdfast, workload)
            assert (runs(holdfast, workload), schema(place).read_text()) == ([image], version)
            assert undo.outcome["image"] == image
            assert ((await status(holdfast, workload)).returned is None) is (image == "notes:2")

        schema(place).write_text("2")
        await succeeded(holdfast, await holdfast.api.deployer.deploy(workload.id, actor="test"))
        assert runs(holdfast, workload) == ["notes:2"], "a plain deploy follows the configuration"
        assert (await status(holdfast, workload)).returned is None
        await holdfast.reaper.idle()
    assert place.leftovers() == []


async def test_an_undo_after_a_crash_still_knows_that_code_and_data_had_moved_together(tmp_path: Path) -> None:
    dying = [True]

    async def hook(record: Record) -> None:
        if record.type is RecordType.SWAPPED and dying:
            raise RuntimeError("dead")

    place = installation(tmp_path)
    async with hooked(place, after=hook).running() as holdfast:
        workload, snapshot = await upgraded(place, holdfast)
        await ended(holdfast, await restore(holdfast, workload, snapshot, with_image=True))
    dying.clear()
    async with hooked(place).running() as holdfast:
        for operation in (await holdfast.operations.list(100)).items:
            await ended(holdfast, operation)
        assert runs(holdfast, workload) == ["notes:1"]
        await undone(holdfast, workload)
        assert (runs(holdfast, workload), schema(place).read_text()) == (["notes:2"], "2")
        await holdfast.reaper.idle()


async def test_a_restore_of_the_data_alone_keeps_the_version_that_runs_and_its_name(tmp_path: Path) -> None:
    place = installation(tmp_path)
    async with hooked(place).running() as holdfast:
        workload = await deployed(holdfast)
        snapshot = await snapshotted(holdfast, workload)
        engine(holdfast).add_image("notes:2")
        await holdfast.api.workloads.apply(spec_of(image="notes:2"), actor="test")
        end = await succeeded(holdfast, await restore(holdfast, workload, snapshot))
        assert told(end) == ""
        assert runs(holdfast, workload) == ["notes:1"]
        seen = await status(holdfast, workload)
        assert seen.deployed is not None
        assert seen.deployed.spec.image == "notes:1", "what was configured and never deployed does not run"
        assert [change.path for change in seen.pending] == ["image"]
        assert seen.returned is None
        await holdfast.reaper.idle()


async def test_a_changed_configuration_is_named_and_a_stopped_workload_returns_to_no_image(tmp_path: Path) -> None:
    place = installation(tmp_path)
    async with hooked(place).running() as holdfast:
        workload, snapshot = await upgraded(place, holdfast)
        changed = replace(spec_of(image="notes:2"), env=(("SIZE", "3"),), stop_grace=3.0)
        await holdfast.api.workloads.apply(changed, actor="test")
        await succeeded(holdfast, await holdfast.api.deployer.stop(workload.id, actor="test"))
        plan = await succeeded(holdfast, await restore(holdfast, workload, snapshot, with_image=True, dry_run=True))
        assert "another configuration (changed since: env.SIZE, stop_grace)" in told(plan)
        assert "only its data returns: starting it runs notes:2 (" in told(plan)
        assert plan.outcome["image"] is None

        stopped = await snapshotted(holdfast, workload)
        taken = (await holdfast.api.snapshots.get(workload.id, stopped)).manifest
        assert taken.image == "notes:2", "what ran on it last"
        assert taken.image_id


@pytest.mark.parametrize("known", [True, False])
async def test_an_image_that_is_gone_is_pulled_again_by_its_digest_or_refused(tmp_path: Path, *, known: bool) -> None:
    place = installation(tmp_path)
    async with hooked(place).running() as holdfast:
        runtime = engine(holdfast)
        runtime.add_remote_image("registry.example/notes:1")
        workload = await deployed(holdfast, spec_of(image="registry.example/notes:1"))
        snapshot = await snapshotted(holdfast, workload)
        then = (await holdfast.api.snapshots.get(workload.id, snapshot)).manifest
        assert then.image_digest is not None
        await succeeded(holdfast, await holdfast.api.deployer.deploy(workload.id, image="notes:1", actor="test"))
        runtime.remove_image(then.image_id)
        if not known:
            runtime.engine.state.remote.clear()
            runtime.add_remote_image("registry.example/notes:1", version="another")
        plan = await succeeded(holdfast, await restore(holdfast, workload, snapshot, with_image=True, dry_run=True))
        assert "is not on this host any more, and is pulled first" in told(plan)
        assert await runtime.image(then.image_id) is None, "a dry run pulls nothing"

        end = await ended(holdfast, await restore(holdfast, workload, snapshot, with_image=True))
        if known:
            assert (end.state, end.outcome["image_id"]) == (OperationState.SUCCEEDED, then.image_id)
            await holdfast.reaper.idle()
        else:
            assert (end.error or {})["code"] == "image_not_in_registry"
            assert runs(holdfast, workload) == ["notes:1"]
    assert place.leftovers() == []


async def test_an_image_of_then_that_nobody_can_give_refuses_the_restore(tmp_path: Path) -> None:
    place = installation(tmp_path)
    async with hooked(place).running() as holdfast:
        workload, snapshot = await upgraded(place, holdfast)
        engine(holdfast).remove_image("notes:1")
        with pytest.raises(Refused) as caught:
            await restore(holdfast, workload, snapshot, with_image=True)
        assert caught.value.code == "image_missing"
        assert "notes:1" in caught.value.message
