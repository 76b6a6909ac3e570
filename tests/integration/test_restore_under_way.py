"""Restores of containers that do not hold still: they write into their volumes, crash, or turn unhealthy."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.snapshot import FolderFormat
from holdfast.domain.workload import HealthCheck, HealthType, Quiesce, RestartPolicy, Workload, WorkloadSpec
from holdfast.runtime.port import ImageHealth
from holdfast.services.restore_registry import Decision
from holdfast.testing.images import build_image
from holdfast.testing.installation import deployed, ended, restore, snapshotted, succeeded
from holdfast.testing.trees import TreeDescription, build_sample_tree, describe_tree
from tests.integration.engine_bench import PATIENT, DockerPlace, containers, keeper, the_one_running, until

WRITER = "holdfast-test/writer:1"
CHECKED = "holdfast-test/checked-writer:1"
SCRIPT = """
trap 'exit 0' TERM
mkdir -p /data/ticks
n=0
while :; do
  [ -e /data/crash ] && exit 3
  while [ -e /scratch/hold ]; do touch /scratch/held; sleep 0.01; done
  n=$((n + 1)); echo "tick $n of $HOSTNAME" >> /data/ticks/log
  touch /scratch/alive
  sleep 0.02 & wait $!
done
"""
"""Never stops writing to one file of a volume; ends when its data says so."""


@pytest.fixture
async def place(tmp_path: Path, docker_host: str) -> AsyncIterator[DockerPlace]:
    await build_image(docker_host, WRITER, script=SCRIPT)
    place = DockerPlace(directory=tmp_path, docker_host=docker_host)
    yield place
    await place.clean()


def writer() -> WorkloadSpec:
    return keeper("writer", image=WRITER)


def at_rest(tree: Path) -> TreeDescription:
    """All of a tree but the one file that is being written to."""
    description = describe_tree(tree)
    del description[b"ticks/log"]
    return description


async def dry_run(place: DockerPlace, workload: Workload, snapshot: str) -> Operation:
    async with place.running() as holdfast:
        return await succeeded(
            holdfast,
            await holdfast.api.restores.restore(
                workload.id,
                snapshot,
                confirm=None,
                volumes=None,
                on_unhealthy=None,
                with_image=False,
                dry_run=True,
                actor="test",
            ),
        )


@pytest.mark.parametrize(
    ("quiesce", "consistency"),
    [(Quiesce.STOP, "stopped"), (Quiesce.HOOKS, "hooked"), (Quiesce.NONE, "live")]
    + ([(Quiesce.PAUSE, "paused")] if os.environ.get("HOLDFAST_TORTURE") == "1" else []),
)
async def test_a_volume_that_is_written_to_all_the_time_is_captured_and_comes_back(
    place: DockerPlace, quiesce: Quiesce, consistency: str
) -> None:
    data, media, log = place.volumes / "writer/data", place.volumes / "@house/media", "ticks/log"
    async with place.running() as holdfast:
        workload = await deployed(holdfast, writer())

        async def written() -> bool:
            return (data / log).exists()

        await until(written)
        build_sample_tree(data)
        build_sample_tree(media)
        good = at_rest(data), describe_tree(media)
        before = (data / log).read_bytes()
        taken = await snapshotted(holdfast, workload, quiesce)
        after = (data / log).read_bytes()
        assert (await holdfast.api.snapshots.get("writer", taken)).manifest.consistency == consistency
        (data / "damage").write_text("damage")
        (media / "damage").write_text("damage")

        await succeeded(holdfast, await restore(holdfast, workload, taken))
        assert (at_rest(data), describe_tree(media)) == good
        now = (data / log).read_text().splitlines()
        mine = (await the_one_running(holdfast, workload.id)).id[:12]
        captured = [line for line in now if not line.endswith(mine)]
        assert before.decode().splitlines() == captured[: before.count(b"\n")]
        assert captured == after.decode().splitlines()[: len(captured)], "what was written is cut off, never garbled"


async def test_a_dry_run_is_exact_and_the_restore_does_what_it_said(place: DockerPlace) -> None:
    data, media = place.volumes / "writer/data", place.volumes / "@house/media"
    async with place.running() as holdfast:
        workload = await deployed(holdfast, writer())
        (data / "kept").write_text("same")
        (data / "lost").write_bytes(b"x" * 1000)
        (data / "other").write_bytes(b"y" * 20)
        (media / "empty").mkdir()
        snapshot = await snapshotted(holdfast, workload)
        await succeeded(holdfast, await holdfast.api.deployer.stop("writer", actor="test"))
        (data / "lost").unlink()
        (data / "other").write_bytes(b"z" * 333)
        (data / "ticks/log").unlink()
        (media / "new").write_bytes(b"n" * 50)
        (media / "empty").rmdir()
        before = describe_tree(data), describe_tree(media), await containers(holdfast, workload.id)
    told = json.loads(json.dumps((await dry_run(place, workload, snapshot)).outcome))
    async with place.running() as holdfast:
        assert (describe_tree(data), describe_tree(media), await containers(holdfast, workload.id)) == before
        assert place.leftovers() == []
        await succeeded(holdfast, await restore(holdfast, workload, snapshot))
    log = (data / "ticks/log").stat().st_size
    wanted = {
        "/data": {
            "added": 2,
            "changed": 1,
            "removed": 0,
            "bytes_added": 1000 + log,
            "bytes_changed": 20,
            "bytes_removed": 0,
            "added_paths": ["lost", "ticks/log"],
            "changed_paths": ["other"],
            "removed_paths": [],
        },
        "/media": {
            "added": 1,
            "changed": 0,
            "removed": 1,
            "bytes_added": 0,
            "bytes_changed": 0,
            "bytes_removed": 50,
            "added_paths": ["empty"],
            "changed_paths": [],
            "removed_paths": ["new"],
        },
    }
    for volume in told["volumes"]:
        expected = wanted[volume["target"]]
        assert {key: volume[key] for key in expected} == expected


async def test_a_workload_that_crashes_again_and_again_on_its_data_is_restored(place: DockerPlace) -> None:
    data = place.volumes / "writer/data"
    async with place.running() as holdfast:
        workload = await deployed(holdfast, writer())
        snapshot = await snapshotted(holdfast, workload)
        (data / "crash").touch()

        async def crash_loops() -> bool:
            return (await containers(holdfast, workload.id))[0].restart_count > 2

        await until(crash_loops)
        end = await succeeded(holdfast, await restore(holdfast, workload, snapshot))
        assert end.outcome["result"] == "restored"
        assert not (data / "crash").exists()
        running = await the_one_running(holdfast, workload.id)
        assert (running.restart, running.restart_count) == (RestartPolicy.ALWAYS, 0)


@pytest.mark.parametrize(
    "health",
    [
        replace(PATIENT, type=HealthType.DOCKER),
        replace(
            PATIENT, type=HealthType.COMMAND, command=("test", "!", "-e", "/data/sick"), interval=0.5, deadline=5.0
        ),
    ],
    ids=["of the image", "of the workload"],
)
async def test_data_on_which_the_health_check_fails_is_taken_back_and_the_old_container_runs_on(
    place: DockerPlace, docker_host: str, health: HealthCheck
) -> None:
    await build_image(docker_host, CHECKED, script=SCRIPT, healthcheck="test ! -e /data/sick", health_interval=0.5)
    data, media = place.volumes / "writer/data", place.volumes / "@house/media"
    async with place.running() as holdfast:
        workload = await deployed(holdfast, replace(writer(), image=CHECKED, health=health))
        (data / "sick").touch()
        build_sample_tree(media)
        snapshot = await snapshotted(holdfast, workload)
        (data / "sick").unlink()
        (media / "newer").write_text("written since")

        async def healthy() -> bool:
            return (await the_one_running(holdfast, workload.id)).health is ImageHealth.HEALTHY

        await until(healthy)
        before = at_rest(data), describe_tree(media)
        old = await the_one_running(holdfast, workload.id)

        end = await ended(holdfast, await restore(holdfast, workload, snapshot))
        assert end.state is OperationState.FAILED
        assert end.error is not None
        assert (end.error["code"], end.outcome["result"]) == ("restore_reverted", "reverted")
        assert (at_rest(data), describe_tree(media)) == before
        now = await the_one_running(holdfast, workload.id)
        assert (now.id, now.restart) == (old.id, RestartPolicy.ALWAYS)

        kept = [Path(str(tree)) for tree in json.loads(json.dumps(end.outcome["kept_trees"]))]
        assert sorted(tree.exists() for tree in kept) == [True, True]
        assert any((tree / "sick").exists() for tree in kept)
        assert await holdfast.api.restores.undo_target("writer") is None, "nothing is in effect that could be undone"
        await succeeded(
            holdfast, await holdfast.api.restores.decide("writer", Decision.RELEASE, confirm=None, actor="test")
        )
        assert place.leftovers() == []


async def test_what_a_container_goes_on_writing_beside_chosen_paths_is_all_there_afterwards(place: DockerPlace) -> None:
    data = place.volumes / "writer/data"
    async with place.running() as holdfast:
        workload = await deployed(holdfast, writer())
        build_sample_tree(data / "uploads")
        snapshot = await snapshotted(holdfast, workload)
        uploads = describe_tree(data / "uploads")
        (data / "uploads/notes.txt").write_text("damaged")
        os.mkfifo(data / "queue")
        before = (data / "ticks/log").read_text()
        restored = await succeeded(
            holdfast, await restore(holdfast, workload, snapshot, paths=(b"/data/uploads",), volumes=None)
        )

        safety = str(restored.outcome["safety_snapshot_id"])
        stopped = await holdfast.api.snapshot_files.download(
            workload.id, safety, target="/data", path=b"ticks/log", kind=FolderFormat.TAR
        )
        at_the_stop = b"".join([piece async for piece in stopped.content]).decode()
        assert at_the_stop.startswith(before)
        assert len(at_the_stop) > len(before), "nothing was written while it was restored"
        now = (data / "ticks/log").read_text()
        assert now.startswith(at_the_stop)
        assert describe_tree(data / "uploads") == uploads
        assert (data / "queue").is_fifo()

        async def goes_on() -> bool:
            return len((data / "ticks/log").read_text()) > len(now)

        await until(goes_on)
        await holdfast.reaper.idle()
        assert place.leftovers() == []
