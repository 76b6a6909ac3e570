"""A container that was run by hand on a real engine is taken over, with all kinds of volumes that it has."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiodocker import Docker, DockerError

from holdfast.api.schemas.containers import wish_of
from holdfast.domain.workload import Scope
from holdfast.runtime.docker import DockerRuntime
from holdfast.testing.installation import succeeded
from tests.integration.engine_bench import IMAGE, DockerPlace, build_keeper, the_one_running


@pytest.fixture
async def place(
    tmp_path: Path, docker_host: str, docker_runtime: DockerRuntime, installation: str
) -> AsyncIterator[DockerPlace]:
    await build_keeper(docker_host)
    (tmp_path / "srv" / "files").mkdir(parents=True)
    volumes = Path((await docker_runtime.info()).root_dir) / "volumes"
    place = DockerPlace(
        directory=tmp_path, docker_host=docker_host, roots=(tmp_path / "srv",), more={"docker_volumes": volumes}
    )
    yield place
    await place.clean()
    await docker_runtime.remove(installation, force=True)
    await docker_runtime.remove_volume(f"{installation}-data")


def _archive(name: str) -> bytes:
    """A tar archive with one empty file."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return made.getvalue()


async def test_a_container_run_by_hand_is_taken_over_with_its_volumes(place: DockerPlace, installation: str) -> None:
    files = place.directory / "srv" / "files"
    async with place.running() as holdfast, Docker(place.docker_host) as docker:
        old = await docker.containers.run(
            {
                "Image": IMAGE,
                "Env": ["TZ=UTC"],
                "Volumes": {"/without-a-name": {}},
                "HostConfig": {
                    "Binds": [f"{files}:/files", f"{installation}-data:/data"],
                    "Tmpfs": {"/scratch": ""},
                    "RestartPolicy": {"Name": "always"},
                },
            },
            name=installation,
        )
        before = {mount["Destination"]: mount["Source"] for mount in (await old.show())["Mounts"]}
        for target, source in before.items():
            (Path(source) / "note").write_text(target)
        await old.put_archive("/", _archive("beside"))  # type: ignore[no-untyped-call]  # aiodocker has no type for it
        proposal = await holdfast.api.containers.propose([installation], project=None)
        (layer,) = [finding for finding in proposal.containers[0].workload.findings if finding.path.endswith(".layer")]
        assert layer.message.startswith("It has written /beside beside its volumes")
        operation = await holdfast.api.take_overs.begin(
            [wish_of(each) for each in proposal.containers],
            confirm=installation,
            accept_left_out=True,
            keep=False,
            actor="test",
        )
        await succeeded(holdfast, operation)
        workload = await holdfast.api.workloads.get(proposal.containers[0].workload.name)
        container = await the_one_running(holdfast, workload.id)
        assert {mount.target: mount.source for mount in container.mounts if mount.source} == before
        assert container.restart == "always"
        assert {target: (Path(source) / "note").read_text() for target, source in before.items()} == {
            target: target for target in ("/files", "/data", "/without-a-name")
        }
        with pytest.raises(DockerError):
            await docker.containers.get(old.id)
        (unnamed,) = [volume for volume in workload.spec.volumes if volume.target == "/without-a-name"]
        await holdfast.runtime.remove(container.id, force=True, keep_volumes=True)
        await holdfast.runtime.remove_volume(unnamed.engine_volume)


async def test_two_containers_that_share_a_volume_are_taken_over_together(
    place: DockerPlace, docker_runtime: DockerRuntime, installation: str
) -> None:
    names, shared = [f"{installation}-one", f"{installation}-two"], f"{installation}-shared"
    try:
        async with place.running() as holdfast, Docker(place.docker_host) as docker:
            for name in names:
                host = {"Binds": [f"{shared}:/files"], "Tmpfs": {"/scratch": ""}}
                old = await docker.containers.run({"Image": IMAGE, "HostConfig": host}, name=name)  # type: ignore[dict-item]  # the library's
                ((source,),) = [[Path(mount["Source"]) for mount in (await old.show())["Mounts"] if mount["Source"]]]
            (source / "note").write_text("of both")
            proposal = await holdfast.api.containers.propose(names, project="home")
            operation = await holdfast.api.take_overs.begin(
                [wish_of(each) for each in proposal.containers],
                confirm=",".join(names),
                accept_left_out=True,
                keep=False,
                actor="test",
            )
            await succeeded(holdfast, operation)
            for each in proposal.containers:
                workload = await holdfast.api.workloads.get(each.workload.name)
                assert (workload.spec.project, workload.spec.volumes[0].scope) == ("home", Scope.PROJECT_NAMED)
                container = await the_one_running(holdfast, workload.id)
                assert [Path(mount.source) for mount in container.mounts if mount.source] == [source]
            assert (source / "note").read_text() == "of both"
            left = {name for each in await docker.containers.list(all=True) for name in each._container["Names"]}
            assert not left & {f"/{name}" for name in names}
    finally:
        await place.clean()
        for name in names:
            await docker_runtime.remove(name, force=True)
        await docker_runtime.remove_volume(shared)
