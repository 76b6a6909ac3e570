"""Volumes of the Docker Engine: what Docker does with them, and that a restore beside Docker's own files works."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiodocker import Docker

from holdfast.domain.errors import Refused
from holdfast.domain.workload import Scope, Volume
from holdfast.runtime.docker import DockerRuntime
from holdfast.testing.images import build_image
from holdfast.testing.installation import deployed, restore, snapshotted, succeeded, undone
from holdfast.testing.trees import build_sample_tree, describe_tree
from tests.integration.engine_bench import DockerPlace, build_keeper, keeper, the_one_running

VOLUMES = (
    Volume(target="/data", scope=Scope.NAMED, source="data"),
    Volume(target="/shared", scope=Scope.PROJECT_NAMED, source="shared"),
    Volume(target="/media", scope=Scope.STAGE, source="media"),
)


@pytest.fixture
async def place(
    tmp_path: Path, docker_host: str, docker_runtime: DockerRuntime, installation: str
) -> AsyncIterator[DockerPlace]:
    await build_keeper(docker_host)
    engine_volumes = Path((await docker_runtime.info()).root_dir) / "volumes"
    place = DockerPlace(directory=tmp_path, docker_host=docker_host, more={"docker_volumes": engine_volumes})
    yield place
    await place.clean()


async def test_volumes_of_the_engine_and_a_directory_come_back_together_and_the_engine_keeps_its_own(
    place: DockerPlace, installation: str
) -> None:
    name = installation  # of nobody else on this engine
    data = place.settings.docker_volumes / f"holdfast_{name}_data/_data"
    shared = place.settings.docker_volumes / f"holdfast-project_{name}_shared/_data"
    trees = (data, shared, place.volumes / name / "media")
    async with place.running() as holdfast, Docker(place.docker_host) as docker:
        workload = await deployed(holdfast, replace(keeper(name, volumes=VOLUMES), project=name))
        for tree in trees:
            build_sample_tree(tree)
        good = [describe_tree(tree) for tree in trees]
        snapshot = await snapshotted(holdfast, workload)
        for tree in trees:
            (tree / "added").write_text("by a bad migration")
        damaged = [describe_tree(tree) for tree in trees]

        await succeeded(holdfast, await restore(holdfast, workload, snapshot))
        assert [describe_tree(tree) for tree in trees] == good
        container = await the_one_running(holdfast, workload.id)
        mounts = {mount.target: (mount.type, mount.source) for mount in container.mounts if mount.type == "volume"}
        assert mounts == {"/data": ("volume", str(data)), "/shared": ("volume", str(shared))}
        await undone(holdfast, workload)
        assert [describe_tree(tree) for tree in trees] == damaged
        await the_one_running(holdfast, workload.id)
        await holdfast.reaper.idle()
        assert [[path.name for path in tree.parent.iterdir()] for tree in trees[:2]] == [["_data"], ["_data"]]

        # Somebody else's container with the same volume, by its name.
        stranger = await docker.containers.create(
            {"Image": container.image_id, "HostConfig": {"Binds": [f"holdfast_{name}_data:/elsewhere"]}},
            name=f"{name}-stranger",
        )
        try:
            await stranger.start()
            with pytest.raises(Refused) as caught:
                await restore(holdfast, workload, snapshot)
            assert {problem.code for problem in caught.value.problems} == {"path_in_use", "path_mounted_elsewhere"}
        finally:
            await stranger.delete(force=True)

        await succeeded(holdfast, await holdfast.api.workloads.delete(workload.id, delete_data=True, actor="test"))
        for made in (data, shared):
            assert await holdfast.runtime.volume(made.parent.name) is None
            assert not made.parent.exists()


FILLED = "holdfast-test/filled:1"
KEEPS_RUNNING = "trap 'exit 0' TERM; touch /scratch/alive; while :; do sleep 0.1 & wait $!; done"


async def test_nothing_of_an_image_is_copied_into_a_new_volume_and_it_gets_the_images_user(
    place: DockerPlace, installation: str
) -> None:
    await build_image(
        place.docker_host, FILLED, script=KEEPS_RUNNING, user="1000", files={"/data/of-the-image": "here"}
    )
    async with place.running() as holdfast:
        await deployed(holdfast, keeper(installation, volumes=VOLUMES[:1], image=FILLED))
        data = place.settings.docker_volumes / f"holdfast_{installation}_data/_data"
        assert list(data.iterdir()) == []
        assert (data.stat().st_uid, data.stat().st_mode & 0o777) == (1000, 0o755)
