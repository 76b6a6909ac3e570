"""On real containers: a volume whose directory was deleted under them, and code that returns together with its data."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.bootstrap import Seams
from holdfast.domain.errors import Failed, HoldfastError, Refused
from holdfast.domain.operation import OperationState
from holdfast.domain.restore import RecordType
from holdfast.domain.restore_records import Record
from holdfast.domain.workload import RestartPolicy
from holdfast.testing.images import build_image
from holdfast.testing.installation import deployed, ended, restore, snapshotted, succeeded, undone
from holdfast.testing.trees import build_sample_tree, describe_tree
from tests.faults.test_review_findings import hooked_files
from tests.integration.engine_bench import KEEPER, DockerPlace, build_keeper, containers, keeper, the_one_running

NEWER = "holdfast-test/keeper:2"


@pytest.fixture
async def place(tmp_path: Path, docker_host: str) -> AsyncIterator[DockerPlace]:
    await build_keeper(docker_host)
    await build_image(docker_host, NEWER, script=KEEPER, files={"/version": "2"})
    place = DockerPlace(directory=tmp_path, docker_host=docker_host)
    yield place
    await place.clean()


async def test_a_directory_that_was_deleted_under_a_running_container_is_made_and_restored_or_missing_again(
    place: DockerPlace,
) -> None:
    failing = [True]

    async def hook(record: Record) -> None:
        if record.type is RecordType.COMMIT and failing:
            raise Failed("journal_write_failed", "Broken.", next_step="Mend it.")

    place = replace(place, seams=Seams(files=hooked_files(before=hook)))
    data = place.volumes / "keeper/data"
    async with place.running() as holdfast:
        workload = await deployed(holdfast, keeper())
        build_sample_tree(data)
        good = describe_tree(data)
        snapshot = await snapshotted(holdfast, workload)
        shutil.rmtree(data.parent)
        with pytest.raises(Refused, match="missing"):
            await restore(holdfast, workload, snapshot)

        end = await ended(holdfast, await restore(holdfast, workload, snapshot, create_missing=True))
        assert (end.error or {})["code"] == "restore_left_stopped"
        assert not data.parent.exists()
        (left,) = await containers(holdfast, workload.id)
        assert (left.running, left.restart) == (False, RestartPolicy.ALWAYS)
        with pytest.raises(HoldfastError):  # nor would the engine start it by itself, when the host boots
            await holdfast.runtime.start(left.id)
        refused = await ended(holdfast, await holdfast.api.deployer.deploy("keeper", actor="test"))
        assert (refused.error or {})["code"] == "volume_missing"
        assert not data.parent.exists()

        failing.clear()
        end = await succeeded(holdfast, await restore(holdfast, workload, snapshot, create_missing=True))
        assert end.outcome["result"] == "restored"
        assert describe_tree(data) == good
        running = await the_one_running(holdfast, workload.id)
        assert running.restart is RestartPolicy.ALWAYS
        (data / "seen").touch()
        assert (await holdfast.runtime.exec(running.id, ["test", "-e", "/data/seen"], 5.0)).code == 0
        await undone(holdfast, workload)
        assert list(data.iterdir()) == []
        await holdfast.reaper.idle()
    assert place.leftovers() == []


async def test_a_restore_with_its_image_returns_code_and_data_and_undo_takes_both_back(place: DockerPlace) -> None:
    data = place.volumes / "keeper/data"
    async with place.running() as holdfast:
        workload = await deployed(holdfast, keeper())
        (data / "which").write_text("old")
        snapshot = await snapshotted(holdfast, workload)
        then = (await the_one_running(holdfast, workload.id)).image_id
        (data / "which").write_text("new")
        await succeeded(holdfast, await holdfast.api.deployer.deploy("keeper", image=NEWER, actor="test"))
        now = (await the_one_running(holdfast, workload.id)).image_id
        assert now != then

        plan = await succeeded(holdfast, await restore(holdfast, workload, snapshot, dry_run=True))
        assert "--with-image" in str(plan.outcome["warnings"])
        end = await succeeded(holdfast, await restore(holdfast, workload, snapshot, with_image=True))
        assert end.state is OperationState.SUCCEEDED
        assert ((await the_one_running(holdfast, workload.id)).image_id, (data / "which").read_text()) == (then, "old")
        status = await holdfast.api.workloads.status("keeper")
        assert status.returned is not None
        assert (status.workload.spec.image, status.returned.configured) == (NEWER, NEWER)

        await undone(holdfast, workload)
        assert ((await the_one_running(holdfast, workload.id)).image_id, (data / "which").read_text()) == (now, "new")
        assert (await holdfast.api.workloads.status("keeper")).returned is None
        await holdfast.reaper.idle()
    assert place.leftovers() == []
