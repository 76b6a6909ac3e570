"""What is asked for and can't be had, on a real engine: the old version runs on, and it is told why and what next."""

from __future__ import annotations

import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from holdfast.bootstrap import Holdfast, Seams
from holdfast.domain.ids import new_id
from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.workload import HealthCheck, HealthType, Port, RevertData, SnapshotPolicy, Workload, WorkloadSpec
from holdfast.runtime.docker import DockerRuntime
from holdfast.runtime.port import LABEL_INSTALLATION, Container
from holdfast.testing.images import build_image
from holdfast.testing.installation import deployed, ended, succeeded
from holdfast.testing.odd_registry import odd_registry
from holdfast.testing.registry import push
from tests.integration.engine_bench import KEEPER, DockerPlace, build_keeper, keeper, the_one_running

PROGRAM = Path("/proc/self/comm").read_text().strip()
"""What this process is called."""
RUINOUS = "holdfast-test/ruinous:1"


@pytest.fixture
async def place(tmp_path: Path, docker_host: str) -> AsyncIterator[DockerPlace]:
    await build_keeper(docker_host)
    seams = Seams(runtime=lambda settings: DockerRuntime(settings.docker_host, registry_patience=1.0))
    place = DockerPlace(directory=tmp_path, docker_host=docker_host, seams=seams)
    yield place
    await place.clean()


@dataclass(frozen=True, slots=True)
class Kept:
    """A workload that runs, and has to run on."""

    holdfast: Holdfast
    workload: Workload
    container: Container

    @classmethod
    async def of(cls, holdfast: Holdfast, workload: Workload) -> Kept:
        return cls(holdfast, workload, await the_one_running(holdfast, workload.id))

    async def refuses(self, operation: Operation, code: str, *words: str, restarted: bool = False) -> None:
        """See an operation fail with a code, with these words in what is told, and all as it was.

        Args:
            restarted: whether the old version had to be stopped before it could be known.
        """
        end = await ended(self.holdfast, operation)
        assert end.state is OperationState.FAILED
        error = end.error or {}
        assert error["code"] == code, error
        assert [word for word in words if word not in str(error["message"])] == [], error
        assert len(str(error["next_step"])) > 10, error
        now = await the_one_running(self.holdfast, self.workload.id)
        assert (now.id, now.restart) == (self.container.id, self.container.restart), code
        assert restarted or now.started_at == self.container.started_at, code
        label = {LABEL_INSTALLATION: self.container.labels[LABEL_INSTALLATION]}
        assert [each.id for each in await self.holdfast.runtime.containers(label)] == [now.id], "nothing is half done"

    async def refuses_to_run(self, spec: WorkloadSpec, code: str, *words: str, restarted: bool = False) -> None:
        """See the deployment of another configuration fail, as above; then it is the old one again."""
        await self.holdfast.api.workloads.apply(spec, actor="test")
        operation = await self.holdfast.api.deployer.deploy(self.workload.id, actor="test")
        await self.refuses(operation, code, *words, restarted=restarted)
        await self.holdfast.api.workloads.apply(self.workload.spec, actor="test")


async def test_the_old_version_runs_on_whatever_a_registry_says_or_keeps_to_itself(place: DockerPlace) -> None:
    async with place.running() as holdfast, odd_registry() as address:
        kept = await Kept.of(holdfast, await deployed(holdfast, keeper()))
        for name, code in (
            ("none", "image_not_in_registry"),
            ("silent", "registry_silent"),
            ("busy", "registry_rate_limited"),
            ("denied", "registry_denied"),
            ("other-machine", "image_for_other_platform"),
        ):
            image = f"{address}/{name}/app:1"
            await kept.refuses(await holdfast.api.deployer.deploy("keeper", image=image, actor="test"), code, address)


async def test_the_old_version_runs_on_where_the_new_one_gets_no_port_or_never_answers(place: DockerPlace) -> None:
    async with place.running() as holdfast:
        kept = await Kept.of(holdfast, await deployed(holdfast, keeper()))
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = Port(container_port=8080, host_ip="127.0.0.1", host_port=taken.getsockname()[1])
            await kept.refuses_to_run(replace(keeper(), ports=(port,)), "port_in_use", str(port.host_port), PROGRAM)
        never = HealthCheck(type=HealthType.TCP, port=9, interval=0.1, timeout=1.0, deadline=1.0)
        await kept.refuses_to_run(
            replace(keeper(), health=never), "deploy_unhealthy", "What ran before runs again.", restarted=True
        )


@pytest.mark.xdist_group("registry")
async def test_the_present_version_runs_on_where_an_earlier_image_is_gone_here_and_from_its_registry(
    place: DockerPlace, docker_host: str, docker_runtime: DockerRuntime, registry_address: str, tmp_path: Path
) -> None:
    reference = f"{registry_address}/holdfast-test/earlier:1"
    image_id = await build_image(docker_host, reference, script=f"echo {new_id()}\n{KEEPER}")
    digest = await push(docker_host, image_id, reference)
    async with place.running() as holdfast:
        workload = await deployed(holdfast, keeper(image=reference))
        (earlier,) = (await holdfast.api.deployer.deployments("keeper", 10, None)).items
        await holdfast.api.workloads.apply(keeper(), actor="test")
        await succeeded(holdfast, await holdfast.api.deployer.deploy("keeper", actor="test"))
        kept = await Kept.of(holdfast, await holdfast.api.workloads.get(workload.id))

        image = await docker_runtime.image(image_id)
        assert image is not None
        for name in image.tags:
            await docker_runtime.untag(name)
        assert await docker_runtime.image(image_id) is None
        shutil.rmtree(
            tmp_path / "registry/docker"
        )  # all of it: engines keep manifests, and have the rest fetched by them
        plan = await holdfast.api.rollbacks.plan("keeper", earlier.id)
        assert (plan.image_here, plan.rollback.to.digest) == (False, digest)
        back = await holdfast.api.rollbacks.rollback("keeper", earlier.id, actor="test")
        await kept.refuses(back, "image_not_in_registry", digest)
        assert "load it on this host by hand" in str((await ended(holdfast, back)).error)
        assert (await holdfast.api.workloads.get("keeper")).spec == keeper()


async def test_a_version_that_ruins_the_data_and_ends_says_so_and_the_data_of_before_comes_back_as_configured(
    place: DockerPlace, docker_host: str
) -> None:
    await build_image(docker_host, RUINOUS, script="echo ruined > /data/schema; exit 3\n")
    spec = replace(keeper(), snapshots=SnapshotPolicy(before_deploy=True))
    schema = place.volumes / "keeper/data/schema"
    async with place.running() as holdfast:
        workload = await deployed(holdfast, spec)
        (first,) = (await holdfast.api.deployer.deployments("keeper", 10, None)).items
        command = f"holdfast rollback keeper --to {first.id} --with-data"

        async def fails(revert: RevertData) -> tuple[str, str]:
            """What is told, and what is to be done next."""
            schema.write_text("of before")
            await holdfast.api.workloads.apply(replace(spec, revert_data=revert), actor="test")
            end = await ended(holdfast, await holdfast.api.deployer.deploy("keeper", image=RUINOUS, actor="test"))
            error = end.error or {}
            assert (end.state, error["code"]) == (OperationState.FAILED, "deploy_unhealthy")
            assert (await the_one_running(holdfast, workload.id)).image_id == first.image_id
            return str(error["message"]), str(error["next_step"])

        message, step = await fails(RevertData.NEVER)
        assert "ran on the data, and may have changed it" in message
        assert (command in step, schema.read_text()) == (False, "ruined\n")
        message, step = await fails(RevertData.ASK)
        assert "ran on the data, and may have changed it" in message
        assert (command in step, schema.read_text()) == (True, "ruined\n")
        found = await holdfast.api.data_rollbacks.plan("keeper", first.id)
        back = await holdfast.api.data_rollbacks.rollback(
            "keeper", first.id, confirm=found.snapshot.id, dry_run=False, actor="test"
        )
        await succeeded(holdfast, back)
        assert schema.read_text() == "of before"
        message, step = await fails(RevertData.ALWAYS)
        assert "The data of before is back, and what ran before runs on it." in message
        assert (command in step, schema.read_text()) == (False, "of before")
        await holdfast.reaper.idle()
    assert place.leftovers() == []
