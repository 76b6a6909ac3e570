"""Volumes of the engine's that were there before (`engine_volume`): used where they are, and never removed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.bootstrap import Seams
from holdfast.domain.clone import LikeSource
from holdfast.domain.workload import Scope, Volume
from holdfast.runtime.port import LABEL_INSTALLATION
from holdfast.services.clones import CloneWish
from holdfast.testing.fake_records import FakeVolume
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

NOTES = spec_of(volumes=(Volume(target="/data", scope=Scope.NAMED, source="data", engine_volume="home_db"),))


@pytest.fixture
def whole(tmp_path: Path) -> Installation:
    return replace(installation(tmp_path), seams=Seams(workers=QuickWorkers))


def there_before(whole: Installation, name: str = "home_db", **facts: object) -> Path:
    """A volume that others made, with data in it."""
    engine = whole.fake_engine().engine
    engine.make_volume(name, FakeVolume(**facts))  # type: ignore[arg-type]  # as the test says
    engine.save()
    data = whole.settings.docker_volumes / name / "_data"
    (data / "note").write_text("theirs")
    return data


async def test_its_data_is_captured_and_restored_where_it_is_and_stays_when_the_workload_goes(
    whole: Installation,
) -> None:
    data = there_before(whole)
    async with whole.running() as holdfast:
        workload = await deployed(holdfast, NOTES)
        (container,) = await holdfast.runtime.containers()
        assert [mount.source for mount in container.mounts] == [str(data)]
        snapshot_id = await snapshotted(holdfast, workload)
        (data / "note").write_text("bad")
        await succeeded(holdfast, await restore(holdfast, workload, snapshot_id))
        assert (data / "note").read_text() == "theirs"

        wish = CloneWish(snapshot_id=snapshot_id, confirm=snapshot_id, actor="test")
        await succeeded(holdfast, await holdfast.api.clones.new(wish, LikeSource(name="copy")))
        copy = whole.settings.docker_volumes / "holdfast_copy_data" / "_data"
        assert (copy / "note").read_text() == "theirs"

        deletion = await holdfast.api.workloads.delete("notes", delete_data=True, actor="test")
        end = await succeeded(holdfast, deletion)
        assert end.outcome["kept"] == [
            {
                "path": str(data),
                "reason": "volumes of the engine that were there before are never removed: they belong to whoever "
                "made them",
            }
        ]
        assert (data / "note").read_text() == "theirs"
        assert await holdfast.runtime.volume("home_db") is not None


async def test_an_empty_one_keeps_the_owner_and_the_mode_that_others_gave_it(whole: Installation) -> None:
    data = there_before(whole)
    (data / "note").unlink()
    data.chmod(0o700)
    before = data.stat()
    async with whole.running() as holdfast:
        await deployed(holdfast, replace(NOTES, user="1000"))
        now = data.stat()
        assert (now.st_uid, now.st_gid, now.st_mode) == (before.st_uid, before.st_gid, before.st_mode)


async def test_one_that_is_another_holdfasts_or_not_plain_or_not_there_is_refused_and_not_made(
    whole: Installation,
) -> None:
    there_before(whole, "theirs", labels={LABEL_INSTALLATION: "another"})
    there_before(whole, "share", driver="nfs")
    async with whole.running() as holdfast:
        for name, code in (
            ("theirs", "engine_volume_foreign"),
            ("share", "engine_volume_not_plain"),
            ("gone", "engine_volume_missing"),
        ):
            volume = Volume(target="/data", scope=Scope.NAMED, source="data", engine_volume=name)
            await holdfast.api.workloads.apply(spec_of(name, volumes=(volume,)), actor="test")
            end = await ended(holdfast, await holdfast.api.deployer.deploy(name, actor="test"))
            assert end.error is not None
            details = end.error["details"]
            assert isinstance(details, dict)
            assert [problem["code"] for problem in details["problems"]] == [code]
        assert await holdfast.runtime.containers() == []
        assert await holdfast.runtime.volume("gone") is None
