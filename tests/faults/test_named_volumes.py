"""Volumes of the container engine's: captured, restored, cloned and removed like any other, and made by the engine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.bootstrap import Holdfast, Seams
from holdfast.domain.clone import LikeSource
from holdfast.domain.errors import Refused
from holdfast.domain.operation import OperationState
from holdfast.domain.workload import Scope, Volume
from holdfast.runtime.port import LABEL_INSTALLATION, ContainerSpec, Mount, VolumeMount
from holdfast.services.clones import CloneWish
from holdfast.testing.fake_records import FakeVolume, engine_error
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.installation import (
    IMAGE,
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
from holdfast.testing.quick_workers import QuickWorkers

NAMED = (
    Volume(target="/data", scope=Scope.NAMED, source="data"),
    Volume(target="/media", scope=Scope.PROJECT_NAMED, source="media"),
)
NOTES = spec_of(volumes=NAMED)


@pytest.fixture
def whole(tmp_path: Path) -> Installation:
    return replace(installation(tmp_path), seams=Seams(workers=QuickWorkers))


def data_of(whole: Installation, name: str = "holdfast_notes_data") -> Path:
    return whole.settings.docker_volumes / name / "_data"


def engine_of(holdfast: Holdfast) -> FakeRuntime:
    assert isinstance(holdfast.runtime, FakeRuntime)
    return holdfast.runtime


async def test_both_scopes_are_restored_and_undone_where_the_engine_keeps_them(whole: Installation) -> None:
    async with whole.running() as holdfast:
        workload = await deployed(holdfast, NOTES)
        data, media = data_of(whole), data_of(whole, "holdfast-project_home_media")
        (container,) = await holdfast.runtime.containers()
        assert container.mounts == (
            Mount(type="volume", source=str(data), target="/data", read_only=False),
            Mount(type="volume", source=str(media), target="/media", read_only=False),
        )
        (data / "note").write_text("good")
        (media / "film").write_text("good")
        snapshot_id = await snapshotted(holdfast, workload)
        (data / "note").write_text("bad")
        (media / "film").unlink()

        end = await succeeded(holdfast, await restore(holdfast, workload, snapshot_id))
        assert end.outcome["result"] == "restored"
        assert ((data / "note").read_text(), (media / "film").read_text()) == ("good", "good")
        await undone(holdfast, workload)
        assert (data / "note").read_text() == "bad"
        assert list(media.iterdir()) == []
        await holdfast.reaper.idle()
        assert [path.name for path in data.parent.iterdir()] == ["_data"]
    assert whole.leftovers() == []


async def test_a_volume_that_is_somebody_elses_is_refused_before_anything_runs(whole: Installation) -> None:
    async with whole.running() as holdfast:
        made = await holdfast.api.workloads.apply(NOTES, actor="test")
        assert made.workload is not None
        engine_of(holdfast).engine.make_volume("holdfast_notes_data", FakeVolume())
        end = await ended(holdfast, await holdfast.api.deployer.deploy(made.workload.id, actor="test"))
        assert end.state is OperationState.FAILED
        assert end.error is not None
        assert "engine_volume_foreign" in json.dumps(end.error)
        assert await holdfast.runtime.containers() == []


async def test_a_container_of_others_that_mounts_it_by_name_refuses_the_restore(whole: Installation) -> None:
    async with whole.running() as holdfast:
        workload = await deployed(holdfast, NOTES)
        snapshot_id = await snapshotted(holdfast, workload)
        engine = engine_of(holdfast)
        image = await engine.image(IMAGE)
        assert image is not None
        mount = VolumeMount(name="holdfast_notes_data", target="/elsewhere")
        stranger = await engine.create(ContainerSpec(name="stranger", image=image.id, labels={}, volumes=[mount]))
        await engine.start(stranger)
        with pytest.raises(Refused) as caught:
            await restore(holdfast, workload, snapshot_id)
        assert [problem.code for problem in caught.value.problems] == ["path_in_use"]


async def test_what_was_removed_by_hand_is_made_by_the_engine_and_restored_when_asked(whole: Installation) -> None:
    async with whole.running() as holdfast:
        await deployed(holdfast, NOTES)
        (data_of(whole) / "note").write_text("good")
        workload = await deployed(
            holdfast, replace(NOTES, env=(("TZ", "UTC"),))
        )  # from now on it is known to hold data
        snapshot_id = await snapshotted(holdfast, workload)
        engine = engine_of(holdfast)
        for container in await engine.containers():
            await engine.remove(container.id, force=True)
        await engine.remove_volume("holdfast_notes_data")

        end = await ended(holdfast, await holdfast.api.deployer.deploy(workload.id, actor="test"))
        assert "engine_volume_missing" in json.dumps(end.error)
        with pytest.raises(Refused) as caught:
            await restore(holdfast, workload, snapshot_id)
        assert [problem.code for problem in caught.value.problems] == ["engine_volume_missing"]
        await succeeded(holdfast, await restore(holdfast, workload, snapshot_id, create_missing=True, dry_run=True))
        assert await engine.volume("holdfast_notes_data") is None

        await succeeded(holdfast, await restore(holdfast, workload, snapshot_id, create_missing=True))
        assert (data_of(whole) / "note").read_text() == "good"
        volume = await engine.volume("holdfast_notes_data")
        assert volume is not None
        assert LABEL_INSTALLATION in volume.labels
        await succeeded(holdfast, await holdfast.api.deployer.deploy(workload.id, actor="test"))
        await holdfast.reaper.idle()
    assert whole.leftovers() == []


async def test_a_clone_gets_a_volume_of_its_own_and_one_that_fails_leaves_none(whole: Installation) -> None:
    async with whole.running() as holdfast:
        source = await deployed(holdfast, spec_of(volumes=NAMED[:1]))
        (data_of(whole) / "note").write_text("good")
        snapshot_id = await snapshotted(holdfast, source)
        wish = CloneWish(snapshot_id=snapshot_id, confirm=snapshot_id, actor="test")
        engine = engine_of(holdfast)

        await succeeded(holdfast, await holdfast.api.clones.new(wish, LikeSource(name="copy")))
        assert (data_of(whole, "holdfast_copy_data") / "note").read_text() == "good"

        engine.fail("tag", error=engine_error("no"))
        end = await ended(holdfast, await holdfast.api.clones.new(wish, LikeSource(name="third")))
        assert end.state is OperationState.FAILED
        assert ("create_volume", "holdfast_third_data") in [(call.name, call.subject) for call in engine.calls]
        assert await engine.volume("holdfast_third_data") is None
        await holdfast.reaper.idle()
    assert whole.leftovers() == []


async def test_deleting_a_workload_keeps_its_volumes_until_data_is_to_go_too(whole: Installation) -> None:
    async with whole.running() as holdfast:
        engine = engine_of(holdfast)
        for delete_data, left in ((False, True), (True, False)):
            workload = await deployed(holdfast, spec_of(volumes=NAMED[:1]))
            (data_of(whole) / "note").write_text("mine")
            await succeeded(
                holdfast, await holdfast.api.workloads.delete(workload.id, delete_data=delete_data, actor="test")
            )
            assert (await engine.volume("holdfast_notes_data") is not None) is left
            assert data_of(whole).parent.exists() is left


async def test_one_that_another_workload_shares_is_not_removed(whole: Installation) -> None:
    async with whole.running() as holdfast:
        notes = await deployed(holdfast, NOTES)
        await deployed(holdfast, spec_of("wiki", volumes=NAMED))
        with pytest.raises(Refused) as caught:
            await holdfast.api.workloads.delete(notes.id, delete_data=True, actor="test")
        assert "volume_shared" in [problem.code for problem in caught.value.problems]
        assert data_of(whole, "holdfast-project_home_media").exists()
