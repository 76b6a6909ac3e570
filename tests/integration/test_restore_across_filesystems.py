"""One restore of volumes on two filesystems, and what happens where one of them has no room."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from holdfast.domain.errors import Refused
from holdfast.domain.workload import Scope, Volume
from holdfast.testing.installation import deployed, ended, restore, snapshotted, succeeded
from holdfast.testing.trees import build_sample_tree, describe_tree
from tests.integration.engine_bench import DockerPlace, build_keeper, keeper, the_one_running
from tests.integration.test_swap_on_filesystems import Disk

pytestmark = pytest.mark.xdist_group("loop mounts")


PAIRS = (("ext4", "xfs"), ("btrfs", "ext4"))
AT_LENGTH = PAIRS if os.environ.get("HOLDFAST_TORTURE") == "1" else PAIRS[:1]
"""For what is refused before a filesystem matters."""


@pytest.fixture
async def place(request: pytest.FixtureRequest, tmp_path: Path, docker_host: str) -> AsyncIterator[DockerPlace]:
    await build_keeper(docker_host)
    with ExitStack() as mounted:
        roots = []
        for number, kind in enumerate(request.param):
            directory = tmp_path / f"disk{number}"
            directory.mkdir()
            roots.append(mounted.enter_context(Disk(kind, directory).mounted()))
        place = DockerPlace(directory=tmp_path, docker_host=docker_host, roots=tuple(roots))
        try:
            yield place
        finally:
            await place.clean()


def volumes_on(place: DockerPlace) -> tuple[Volume, ...]:
    """An absolute volume on each of the two filesystems."""
    return tuple(
        Volume(target=target, scope=Scope.ABSOLUTE, source=str(root / "app/files"))
        for target, root in zip(("/data", "/media"), place.roots, strict=True)
    )


@pytest.mark.parametrize("place", PAIRS, ids=" and ".join, indirect=True)
async def test_volumes_on_two_filesystems_come_back_together(place: DockerPlace) -> None:
    trees = [root / "app/files" for root in place.roots]
    async with place.running() as holdfast:
        workload = await deployed(holdfast, keeper(volumes=volumes_on(place)))
        for tree in trees:
            build_sample_tree(tree)
        good = [describe_tree(tree) for tree in trees]
        snapshot = await snapshotted(holdfast, workload)
        for tree in trees:
            (tree / "damage").write_text("damage")
        await succeeded(holdfast, await restore(holdfast, workload, snapshot))
        for tree, expected in zip(trees, good, strict=True):
            assert describe_tree(tree) == expected
        await the_one_running(holdfast, workload.id)
        await holdfast.reaper.idle()
        assert place.leftovers() == []


@pytest.mark.parametrize("place", AT_LENGTH, ids=" and ".join, indirect=True)
async def test_too_little_room_on_one_of_them_is_found_before_anything_is_touched(place: DockerPlace) -> None:
    first, second = (root / "app/files" for root in place.roots)
    async with place.running() as holdfast:
        workload = await deployed(holdfast, keeper(volumes=volumes_on(place)))
        (first / "kept").write_text("kept")
        (second / "large").write_bytes(b"\x01" * (8 << 20))
        snapshot = await snapshotted(holdfast, workload)
        filler = place.roots[1] / "filler"
        fill(filler, leave=4 << 20)
        before = describe_tree(first), describe_tree(second), (await the_one_running(holdfast, workload.id)).id

        end = await ended(holdfast, await restore(holdfast, workload, snapshot))
        assert end.error is not None
        assert end.error["code"] == "no_space_bytes"
        assert str(place.roots[1]) in str(end.error["message"])
        running = (await the_one_running(holdfast, workload.id)).id
        assert (describe_tree(first), describe_tree(second), running) == before
        assert place.leftovers() == []

        filler.unlink()
        await succeeded(holdfast, await restore(holdfast, workload, snapshot))


@pytest.mark.parametrize("place", AT_LENGTH, ids=" and ".join, indirect=True)
async def test_a_volume_whose_disk_is_not_mounted_is_refused(place: DockerPlace) -> None:
    trees = [root / "app/files" for root in place.roots]
    async with place.running() as holdfast:
        workload = await deployed(holdfast, keeper(volumes=volumes_on(place)))
        (trees[1] / "kept").write_text("kept")
        snapshot = await snapshotted(holdfast, workload)
        trees[1].rename(trees[1].with_name("away"))
        trees[1].mkdir()
        with pytest.raises(Refused) as refusal:
            await restore(holdfast, workload, snapshot)
        assert refusal.value.code == "volume_replaced"
        assert "mount" in refusal.value.next_step
        assert list(trees[1].iterdir()) == []
        assert (trees[1].with_name("away") / "kept").read_text() == "kept"


def fill(path: Path, *, leave: int) -> None:
    """Take up a filesystem's space but for ``leave`` bytes."""
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free(path.parent) - leave)
    os.sync()


def free(path: Path) -> int:
    """Free bytes of the filesystem that ``path`` is on."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
