"""Volumes that are mount points, under real containers: restored, taken back and undone name by name."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.bootstrap import Holdfast
from holdfast.domain.restore import OnUnhealthy
from holdfast.domain.workload import Volume
from holdfast.services.restore_registry import Decision
from holdfast.testing.images import build_image
from holdfast.testing.installation import deployed, ended, restore, snapshotted, succeeded
from holdfast.testing.trees import TreeDescription, build_sample_tree, describe_tree, wrappers_below
from tests.integration.engine_bench import DockerPlace, build_keeper, keeper, the_one_running

MIB = 1024 * 1024
MEDDLER = """
trap 'exit 0' TERM
[ -e /data/.holdfast-planted-0 ] || { mkdir /data/.holdfast-planted-0; echo data > /data/.holdfast-planted-0/file; }
touch /scratch/alive
while :; do
  for tree in /data/.holdfast-*-0/staged; do
    [ -e /scratch/meddle ] && [ -e "$tree/kept" ] && echo poisoned > "$tree/kept" && touch /scratch/meddled
  done
  sleep 0.01 & wait $!
done
"""
"""Writes into whatever it finds staged in its volume, once it is told to."""


@pytest.fixture(params=["ext4", "tmpfs", "bind"] if os.environ.get("HOLDFAST_TORTURE") == "1" else ["ext4"])
def mount_point(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A mount point where the first volume of a workload is going to be."""
    at = tmp_path / "data/volumes/keeper/data"
    at.mkdir(parents=True)
    match request.param:
        case "ext4":
            image = tmp_path / "image"
            with image.open("wb") as file:
                file.truncate(32 * MIB)
            subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
            what = ["-o", "loop", str(image)]
        case "tmpfs":
            what = ["-t", "tmpfs", "-o", "size=32m", "tmpfs"]
        case _:
            (tmp_path / "elsewhere/disk").mkdir(parents=True)
            what = ["--bind", str(tmp_path / "elsewhere/disk")]
    subprocess.run(["mount", *what, str(at)], check=True)
    yield at
    subprocess.run(["umount", "--lazy", str(at)], check=True)


@pytest.fixture
async def place(tmp_path: Path, docker_host: str, mount_point: Path) -> AsyncIterator[DockerPlace]:
    del mount_point
    await build_keeper(docker_host)
    place = DockerPlace(directory=tmp_path, docker_host=docker_host)
    yield place
    await place.clean()


def tree(path: Path) -> TreeDescription:
    """A volume without what is in it of Holdfast's and the filesystem's own."""
    own = (b".holdfast-", b"lost+found")
    return {name: what for name, what in describe_tree(path).items() if not name.startswith(own)}


def migrate(volume: Path) -> None:
    """As a bad migration does: something more, something less, and the root's own mode."""
    (volume / "added").write_text("by a bad migration")
    next(path for path in sorted(volume.iterdir()) if path.is_file() and not path.is_symlink()).unlink()
    volume.chmod(0o700)


async def undone(holdfast: Holdfast) -> None:
    target = await holdfast.api.restores.undo_target("keeper")
    assert target is not None
    undo = await holdfast.api.restores.undo("keeper", confirm=target.id, dry_run=False, actor="test")
    end = await succeeded(holdfast, undo)
    assert end.outcome["swaps"]["/data"] == "children"  # type: ignore[index]


async def test_a_volume_that_is_a_mount_point_comes_back_is_taken_back_and_is_undone(
    place: DockerPlace, mount_point: Path
) -> None:
    media = place.volumes / "@house/media"
    had_lost_and_found = (mount_point / "lost+found").exists()
    async with place.running() as holdfast:
        workload = await deployed(holdfast, keeper())
        build_sample_tree(mount_point)
        os.chmod(mount_point, 0o2771)
        build_sample_tree(media)
        good = tree(mount_point), tree(media)
        snapshot = await snapshotted(holdfast, workload)
        (mount_point / "poison").write_text("deadly at the next start")
        poisoned = await snapshotted(holdfast, workload)
        (mount_point / "poison").unlink()
        migrate(mount_point)
        worn = tree(mount_point), tree(media)

        told = await succeeded(holdfast, await restore(holdfast, workload, snapshot, dry_run=True))
        assert "is a mount point: what is in it is exchanged name by name" in str(told.outcome["warnings"])
        assert {v["target"]: v["swap"] for v in told.outcome["volumes"]} == {  # type: ignore[attr-defined]
            "/data": "children",
            "/media": "exchange",
        }
        assert (tree(mount_point), tree(media)) == worn

        reverted = await ended(holdfast, await restore(holdfast, workload, poisoned, on_unhealthy=OnUnhealthy.REVERT))
        assert reverted.outcome["result"] == "reverted", reverted.error
        assert (tree(mount_point), tree(media)) == worn
        kept = [Path(path) for path in reverted.outcome["kept_trees"]]  # type: ignore[attr-defined]
        assert (kept[0] / "poison").exists()
        assert kept[0].is_relative_to(mount_point)
        meanwhile = await snapshotted(holdfast, workload)

        end = await succeeded(holdfast, await restore(holdfast, workload, snapshot))
        assert end.outcome["swaps"] == {"/data": "children", "/media": "exchange"}
        assert (tree(mount_point), tree(media)) == good
        await undone(holdfast)
        assert (tree(mount_point), tree(media)) == worn
        await undone(holdfast)
        assert (tree(mount_point), tree(media)) == good
        await succeeded(holdfast, await restore(holdfast, workload, meanwhile))
        assert (tree(mount_point), tree(media)) == worn, "the kept tree was captured, or something else was not"

        await holdfast.reaper.idle()
        assert (kept[0] / "poison").exists()
        release = await holdfast.api.restores.decide(workload.id, Decision.RELEASE, confirm=None, actor="test")
        await succeeded(holdfast, release)
        assert (tree(mount_point), tree(media)) == worn
        assert (mount_point / "lost+found").exists() == had_lost_and_found
        await the_one_running(holdfast, workload.id)
        assert place.leftovers() == []


@pytest.mark.parametrize("mount_point", ["tmpfs"], indirect=True)
async def test_a_container_that_writes_into_what_is_staged_in_its_volume_has_the_restore_called_off(
    place: DockerPlace, mount_point: Path
) -> None:
    await build_image(place.docker_host, "holdfast-test/meddler:1", script=MEDDLER)
    scratch = Volume(target="/scratch", scope=keeper().volumes[-1].scope)
    data = replace(keeper().volumes[0])
    spec = replace(keeper(image="holdfast-test/meddler:1"), volumes=(data, scratch))
    async with place.running() as holdfast:
        workload = await deployed(holdfast, spec)
        (mount_point / "kept").write_text("kept")
        snapshot = await snapshotted(holdfast, workload)
        (mount_point / "kept").write_text("worn")
        running = await the_one_running(holdfast, workload.id)
        await holdfast.runtime.exec(running.id, ("touch", "/scratch/meddle"), timeout=30.0)

        end = await ended(holdfast, await restore(holdfast, workload, snapshot))
        assert end.error is not None
        assert end.error["code"] == "staged_tree_changed", json.dumps(end.error)
        await holdfast.reaper.idle()
        assert (mount_point / "kept").read_text() == "worn"
        assert wrappers_below(mount_point) == [mount_point / ".holdfast-planted-0"]
        assert (await the_one_running(holdfast, workload.id)).id == running.id

        await holdfast.runtime.exec(running.id, ("rm", "/scratch/meddle"), timeout=30.0)
        (mount_point / ".holdfast-planted-0/file").unlink()
        await succeeded(holdfast, await restore(holdfast, workload, snapshot))
        assert (mount_point / "kept").read_text() == "kept"
        assert (mount_point / ".holdfast-planted-0/file").read_text() == "data\n", "a planted name hid data from it"
