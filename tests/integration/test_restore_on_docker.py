"""Restores of real containers: what comes back, what runs on it, and what is left over."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.domain.operation import OperationState
from holdfast.domain.restore import OnUnhealthy
from holdfast.domain.snapshot import Consistency
from holdfast.domain.workload import Hooks, Quiesce, RestartPolicy
from holdfast.services.restore_registry import Decision
from holdfast.testing.images import build_image
from holdfast.testing.installation import deployed, ended, restore, snapshotted, succeeded
from holdfast.testing.trees import build_sample_tree, describe_tree
from tests.integration.engine_bench import PATIENT, DockerPlace, build_keeper, containers, keeper, the_one_running


@pytest.fixture
async def place(tmp_path: Path, docker_host: str) -> AsyncIterator[DockerPlace]:
    await build_keeper(docker_host)
    place = DockerPlace(directory=tmp_path, docker_host=docker_host)
    yield place
    await place.clean()


ENDLESS = "while :; do sleep 0.1 & wait $!; done"


def trees(place: DockerPlace) -> tuple[Path, Path]:
    return place.volumes / "keeper/data", place.volumes / "@house/media"


@pytest.mark.parametrize(
    "quiesce", list(Quiesce) if os.environ.get("HOLDFAST_TORTURE") == "1" else [Quiesce.PAUSE]
)  # the others: on data that is being written to, in test_restore_under_way.py
async def test_two_volumes_come_back_identical_and_undo_and_redo_as_well(place: DockerPlace, quiesce: Quiesce) -> None:
    data, media = trees(place)
    async with place.running() as holdfast:
        workload = await deployed(holdfast, keeper())
        build_sample_tree(data)
        build_sample_tree(media)
        good = describe_tree(data), describe_tree(media)
        snapshot = await snapshotted(holdfast, workload, quiesce)
        assert (describe_tree(data), describe_tree(media)) == good
        await the_one_running(holdfast, workload.id)

        (data / "added").write_text("by a bad migration")
        (media / "added").write_text("by a bad migration")
        next(path for path in sorted(data.iterdir()) if path.is_file() and not path.is_symlink()).unlink()
        damaged = describe_tree(data), describe_tree(media)

        end = await succeeded(holdfast, await restore(holdfast, workload, snapshot))
        assert end.outcome["result"] == "restored"
        assert (describe_tree(data), describe_tree(media)) == good
        assert (await the_one_running(holdfast, workload.id)).restart is RestartPolicy.ALWAYS

        for expected in (damaged, good):
            target = await holdfast.api.restores.undo_target("keeper")
            assert target is not None
            undo = await holdfast.api.restores.undo("keeper", confirm=target.id, dry_run=False, actor="test")
            await succeeded(holdfast, undo)
            assert (describe_tree(data), describe_tree(media)) == expected
            await the_one_running(holdfast, workload.id)
        await holdfast.reaper.idle()
        assert place.leftovers() == []


async def test_a_dry_run_tells_what_would_change_and_changes_nothing(place: DockerPlace) -> None:
    data, media = trees(place)
    async with place.running() as holdfast:
        workload = await deployed(holdfast, keeper())
        (data / "kept").write_text("kept")
        (data / "lost").write_text("lost")
        snapshot = await snapshotted(holdfast, workload)
        (data / "lost").unlink()
        (data / "kept").write_text("changed")
        (media / "new").write_text("new")
        before = describe_tree(data), describe_tree(media), (await the_one_running(holdfast, workload.id)).id

        operation = await holdfast.api.restores.restore(
            "keeper",
            snapshot,
            confirm=None,
            volumes=None,
            on_unhealthy=None,
            with_image=False,
            dry_run=True,
            actor="test",
        )
        plan = (await succeeded(holdfast, operation)).outcome
        told = json.loads(json.dumps(plan["volumes"]))
        counts = {v["target"]: (v["added"], v["removed"]) for v in told}
        assert counts == {"/data": (1, 0), "/media": (0, 1)}
        after = describe_tree(data), describe_tree(media), (await the_one_running(holdfast, workload.id)).id
        assert after == before
        assert place.leftovers() == []


async def test_a_command_after_the_restore_works_on_its_data_and_one_that_fails_takes_it_back(
    place: DockerPlace,
) -> None:
    data, _ = trees(place)
    indexes = Hooks(
        post_restore=("sh", "-c", "read -r word < /data/word; echo indexing $word; cp /data/word /data/index")
    )
    fails = Hooks(post_restore=("sh", "-c", "echo no such table; exit 3"))
    async with place.running() as holdfast:
        workload = await deployed(holdfast, replace(keeper(), hooks=indexes))
        (data / "word").write_text("then\n")
        snapshot = await snapshotted(holdfast, workload)
        (data / "word").write_text("now\n")

        end = await succeeded(holdfast, await restore(holdfast, workload, snapshot))
        assert (data / "index").read_text() == "then\n"
        container = await the_one_running(holdfast, workload.id)
        assert f"post_restore in {container.name}: indexing then" in [line.message for line in end.log]

        (data / "word").write_text("later\n")
        await holdfast.api.workloads.apply(replace(keeper(), hooks=fails), actor="test")
        before = describe_tree(data)
        end = await ended(holdfast, await restore(holdfast, workload, snapshot))
        assert end.error is not None
        assert end.error["code"] == "restore_reverted"
        assert "The post_restore hook failed" in str(end.error["message"])
        assert describe_tree(data) == before
        await the_one_running(holdfast, workload.id)


async def test_data_on_which_the_workload_does_not_live_is_taken_back(place: DockerPlace) -> None:
    data, _ = trees(place)
    async with place.running() as holdfast:
        workload = await deployed(holdfast, keeper())
        (data / "poison").write_text("deadly at the next start")
        snapshot = await snapshotted(holdfast, workload)
        (data / "poison").unlink()
        (data / "healthy").write_text("lives on")
        before = describe_tree(data)

        end = await ended(holdfast, await restore(holdfast, workload, snapshot))
        assert end.state is OperationState.FAILED
        assert end.outcome["result"] == "reverted"
        assert end.error is not None
        assert end.error["code"] == "restore_reverted"
        assert "poisons me" in json.dumps(end.outcome["instance_logs"])
        assert describe_tree(data) == before
        assert (await the_one_running(holdfast, workload.id)).restart is RestartPolicy.ALWAYS

        assert await holdfast.api.restores.undecided("keeper") is None
        await snapshotted(holdfast, workload)

        kept = [Path(str(tree)) for tree in json.loads(json.dumps(end.outcome["kept_trees"]))]
        assert any((tree / "poison").exists() for tree in kept)
        released = await holdfast.api.restores.decide("keeper", Decision.RELEASE, confirm=None, actor="test")
        await succeeded(holdfast, released)
        assert place.leftovers() == []


async def test_a_program_that_does_not_end_is_killed_after_its_grace_and_everything_that_stopped_it_says_so(
    place: DockerPlace,
) -> None:
    await build_image(place.docker_host, "holdfast-test/stubborn:1", script="trap '' TERM; " + ENDLESS)
    await build_image(place.docker_host, "holdfast-test/failing:1", script="trap 'exit 4' TERM; " + ENDLESS)
    spec = replace(keeper(image="holdfast-test/stubborn:1"), stop_grace=1.0, health=PATIENT)
    async with place.running() as holdfast:
        workload = await deployed(holdfast, spec)
        snapshot = await snapshotted(holdfast, workload, Quiesce.STOP)
        told = [await holdfast.api.snapshots.get("keeper", snapshot)]
        end = await succeeded(holdfast, await restore(holdfast, workload, snapshot))
        told.append(await holdfast.api.snapshots.get("keeper", str(end.outcome["safety_snapshot_id"])))
        for taken in told:
            assert [stop.brief for stop in taken.manifest.unclean_stops] == ["killed after 1 s"]
            assert (taken.manifest.consistency, taken.manifest.stopped_cleanly) == (Consistency.STOPPED, False)
        deploy = await holdfast.api.deployer.deploy("keeper", image="holdfast-test/failing:1", actor="test")
        stop = await holdfast.api.deployer.stop("keeper", actor="test")
        ends = [end, await succeeded(holdfast, deploy), await succeeded(holdfast, stop)]
        stops = [json.loads(json.dumps(each.outcome["unclean_stops"])) for each in ends]
        assert [[each["brief"] for each in of_one] for of_one in stops] == [
            ["killed after 1 s"],
            ["killed after 1 s"],
            ["exit code 4"],
        ]
        await holdfast.reaper.idle()


async def test_unhealthy_data_is_kept_where_that_was_asked_for(place: DockerPlace) -> None:
    data, _ = trees(place)
    async with place.running() as holdfast:
        workload = await deployed(holdfast, keeper())
        (data / "poison").write_text("deadly at the next start")
        snapshot = await snapshotted(holdfast, workload)
        (data / "poison").unlink()
        end = await ended(holdfast, await restore(holdfast, workload, snapshot, on_unhealthy=OnUnhealthy.KEEP))
        assert end.outcome["result"] == "restored_unhealthy"
        assert (data / "poison").exists()
        target = await holdfast.api.restores.undo_target("keeper")
        assert target is not None
        undo = await holdfast.api.restores.undo("keeper", confirm=target.id, dry_run=False, actor="test")
        await succeeded(holdfast, undo)
        assert not (data / "poison").exists()
        await the_one_running(holdfast, workload.id)


async def test_a_stopped_workload_is_restored_and_stays_stopped(place: DockerPlace) -> None:
    data, _ = trees(place)
    async with place.running() as holdfast:
        workload = await deployed(holdfast, keeper())
        (data / "version").write_text("one")
        snapshot = await snapshotted(holdfast, workload)
        (data / "version").write_text("two")
        await succeeded(holdfast, await holdfast.api.deployer.stop("keeper", actor="test"))
        policies = [c.restart for c in await containers(holdfast, workload.id)]

        end = await succeeded(holdfast, await restore(holdfast, workload, snapshot))
        assert end.outcome["result"] == "restored_stopped"
        assert (data / "version").read_text() == "one"
        found = await containers(holdfast, workload.id)
        assert not any(container.running for container in found)
        assert [container.restart for container in found] == policies


async def test_a_volume_shared_by_two_workloads_is_restored_under_both(place: DockerPlace) -> None:
    _, media = trees(place)
    async with place.running() as holdfast:
        one = await deployed(holdfast, keeper())
        other = await deployed(holdfast, keeper("other"))
        (media / "version").write_text("one")
        snapshot = await snapshotted(holdfast, one)
        (media / "version").write_text("two")
        before = (await the_one_running(holdfast, other.id)).id

        await succeeded(holdfast, await restore(holdfast, one, snapshot))
        assert (media / "version").read_text() == "one"
        await the_one_running(holdfast, one.id)
        again = await the_one_running(holdfast, other.id)
        assert again.id != before, "it must run on the restored tree, not on the displaced one"
        (media / "seen").write_text("by both")
        for container in (again, await the_one_running(holdfast, one.id)):
            result = await holdfast.runtime.exec(container.id, ["cat", "/media/seen"], 5.0)
            assert result.output.strip() == "by both"


async def test_an_export_is_opened_by_plain_tar(place: DockerPlace, tmp_path: Path) -> None:
    data, _ = trees(place)
    async with place.running() as holdfast:
        workload = await deployed(holdfast, keeper())
        build_sample_tree(data)
        snapshot = await snapshotted(holdfast, workload)
        name, content = await holdfast.api.snapshots.export("keeper", snapshot)
        archive = tmp_path / name
        archive.write_bytes(b"".join([chunk async for chunk in content]))
    target = tmp_path / "opened"
    target.mkdir()
    tar = await asyncio.create_subprocess_exec(
        "tar", "-xf", archive, "-C", target, "--zstd", "--xattrs", "--xattrs-include=*"
    )
    assert await tar.wait() == 0
    assert describe_tree(target / "0") == describe_tree(data)
