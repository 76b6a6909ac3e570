"""Deploys of real containers: what runs, what comes back, what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.bootstrap import Holdfast
from holdfast.domain.environment import SecretRef
from holdfast.domain.ids import new_id
from holdfast.domain.operation import OperationState
from holdfast.domain.workload import HealthType, Port, RestartPolicy, Scope, Strategy, Volume, WorkloadSpec
from holdfast.runtime.docker import DockerRuntime
from holdfast.runtime.port import LABEL_INSTALLATION, ContainerSpec, Tmpfs
from holdfast.testing.images import build_image
from holdfast.testing.installation import deployed, ended, succeeded
from tests.integration.engine_bench import (
    IMAGE,
    PATIENT,
    DockerPlace,
    build_keeper,
    containers,
    keeper,
    the_one_running,
    until,
)

BROKEN = "holdfast-test/broken:1"
SERVER = "holdfast-test/server:1"


@pytest.fixture
async def place(tmp_path: Path, docker_host: str) -> AsyncIterator[DockerPlace]:
    await build_keeper(docker_host)
    place = DockerPlace(directory=tmp_path, docker_host=docker_host)
    yield place
    await place.clean()


async def test_a_new_version_that_fails_its_gate_gives_way_to_the_previous_one(
    place: DockerPlace, docker_host: str
) -> None:
    # The engine gives up on output that it has not read within two seconds of the end: it gets three more before it.
    await build_image(docker_host, BROKEN, script="echo 'I am broken'; sleep 3; exit 7\n")
    async with place.running() as holdfast:
        workload = await deployed(holdfast, keeper())
        (place.volumes / "keeper/data/kept").write_text("kept")
        before = await the_one_running(holdfast, workload.id)

        end = await ended(holdfast, await holdfast.api.deployer.deploy("keeper", image=BROKEN, actor="test"))
        assert end.state is OperationState.FAILED
        assert end.error is not None
        assert end.error["code"] == "deploy_unhealthy"
        assert "I am broken" in str(end.error)
        after = await the_one_running(holdfast, workload.id)
        assert (after.id, after.image_id, after.restart) == (before.id, before.image_id, RestartPolicy.ALWAYS)
        assert (place.volumes / "keeper/data/kept").read_text() == "kept"
        assert (await holdfast.api.workloads.get("keeper")).spec.image == keeper().image


async def test_an_image_that_cannot_be_had_touches_nothing(place: DockerPlace) -> None:
    async with place.running() as holdfast:
        workload = await deployed(holdfast, keeper())
        before = await the_one_running(holdfast, workload.id)
        deploy = await holdfast.api.deployer.deploy("keeper", image="127.0.0.1:9/nobody/there:1", actor="test")
        end = await ended(holdfast, deploy)
        assert end.error is not None
        assert end.error["code"] in ("image_not_in_registry", "registry_unreachable")
        assert end.error["next_step"]
        after = await the_one_running(holdfast, workload.id)
        assert (after.id, after.started_at, after.restart) == (before.id, before.started_at, before.restart)


async def test_the_same_version_is_not_deployed_twice(place: DockerPlace) -> None:
    async with place.running() as holdfast:
        workload = await deployed(holdfast, keeper())
        before = await the_one_running(holdfast, workload.id)
        end = await succeeded(holdfast, await holdfast.api.deployer.deploy("keeper", actor="test"))
        assert end.outcome["result"] == "already_there"
        assert (await the_one_running(holdfast, workload.id)).id == before.id


async def test_stop_and_start_keep_the_data_and_the_policy(place: DockerPlace) -> None:
    async with place.running() as holdfast:
        workload = await deployed(holdfast, keeper())
        (place.volumes / "keeper/data/kept").write_text("kept")
        await succeeded(holdfast, await holdfast.api.deployer.stop("keeper", actor="test"))
        assert not any(container.running for container in await containers(holdfast, workload.id))
        await succeeded(holdfast, await holdfast.api.deployer.start("keeper", actor="test"))
        assert (await the_one_running(holdfast, workload.id)).restart is RestartPolicy.ALWAYS
        assert (place.volumes / "keeper/data/kept").read_text() == "kept"


async def test_a_volume_that_is_suddenly_missing_stops_the_deploy_before_the_old_version(place: DockerPlace) -> None:
    async with place.running() as holdfast:
        workload = await deployed(holdfast, keeper())
        before = await the_one_running(holdfast, workload.id)
        data = place.volumes / "keeper/data"
        data.rename(data.with_name("elsewhere"))
        changed = replace(keeper(), env=(("CHANGED", "1"),))
        await holdfast.api.workloads.apply(changed, actor="test")
        end = await ended(holdfast, await holdfast.api.deployer.deploy("keeper", actor="test"))
        assert end.error is not None
        assert end.error["code"] == "volume_missing"
        assert (await the_one_running(holdfast, workload.id)).id == before.id


async def test_a_container_that_somebody_removed_is_made_again_at_once_and_at_the_next_start(
    place: DockerPlace,
) -> None:
    async def removed(holdfast: Holdfast) -> str:
        gone = await the_one_running(holdfast, workload.id)
        await holdfast.runtime.remove(gone.id, force=True)
        return gone.id

    async def comes_back(holdfast: Holdfast, gone: str) -> None:
        async def runs() -> bool:
            return any(each.running and each.id != gone for each in await containers(holdfast, workload.id))

        await until(runs)
        page = await holdfast.operations.list(1, None, workload.id)
        assert page.items[0].actor == "reconciliation"
        await succeeded(holdfast, page.items[0])
        await the_one_running(holdfast, workload.id)

    async with place.running() as holdfast:
        workload = await deployed(holdfast, keeper())
        await comes_back(holdfast, await removed(holdfast))
        gone = await removed(holdfast)
    async with place.running() as holdfast:
        await comes_back(holdfast, gone)


async def test_what_was_stopped_by_hand_is_told_and_what_is_somebody_elses_is_never_touched(
    place: DockerPlace, docker_runtime: DockerRuntime
) -> None:
    async def told() -> list[str]:
        return [each.code for each in (await holdfast.api.workloads.status("keeper")).differences]

    image = await docker_runtime.image(IMAGE)
    assert image is not None
    name = f"a-stranger-{new_id()}"
    strangers = await docker_runtime.create(
        ContainerSpec(name=name, image=image.id, labels={}, tmpfs=[Tmpfs(target="/scratch")])
    )
    try:
        await docker_runtime.start(strangers)
        before = await docker_runtime.inspect(strangers)
        async with place.running() as holdfast:
            workload = await deployed(holdfast, keeper())
            assert await told() == []
            await docker_runtime.stop((await the_one_running(holdfast, workload.id)).id, 10.0)
            assert await told() == ["instance_stopped"]
        async with place.running() as holdfast:
            (found,) = await holdfast.reconciler.run()
            assert ([each.code for each in found.differences], found.operation_id) == (["instance_stopped"], None)
            assert [container.running for container in await containers(holdfast, workload.id)] == [False]
            await succeeded(holdfast, await holdfast.api.deployer.start("keeper", actor="test"))
            assert await told() == []
        now = await docker_runtime.inspect(strangers)
        assert (now.running, now.started_at, now.name) == (True, before.started_at, name)
    finally:
        await docker_runtime.remove(strangers, force=True)


async def test_a_container_has_the_value_of_a_secret_as_it_was_deployed_and_of_then_after_a_rollback(
    place: DockerPlace,
) -> None:
    async with place.running() as holdfast:
        named = replace(keeper(), secrets=(SecretRef(name="KEY"),))
        await holdfast.api.workloads.apply(named, actor="test")

        async def has(holdfast: Holdfast) -> str:
            container = await the_one_running(holdfast, (await holdfast.api.workloads.get("keeper")).id)
            return (await holdfast.runtime.exec(container.id, ["sh", "-c", "echo $KEY"], 30.0)).output.strip()

        unset = await ended(holdfast, await holdfast.api.deployer.deploy("keeper", actor="test"))
        assert unset.error is not None
        assert unset.error["code"] == "secret_not_set"
        for value in ("swordfish-one", "swordfish-two"):
            await holdfast.api.secrets.set("keeper", "KEY", value, actor="test")
            await succeeded(holdfast, await holdfast.api.deployer.deploy("keeper", actor="test"))
            assert await has(holdfast) == value
        plan = await holdfast.api.rollbacks.plan("keeper", None)
        (change,) = plan.rollback.changes
        assert change.path == "secrets.KEY"
        back = await holdfast.api.rollbacks.rollback("keeper", plan.rollback.to.id, actor="test")
        await succeeded(holdfast, back)
        assert await has(holdfast) == "swordfish-one"
    kept = b"".join(path.read_bytes() for path in place.settings.data_dir.rglob("*") if path.is_file())
    assert b"swordfish" not in kept


async def test_workloads_of_a_project_find_each_other_by_name_with_their_configuration(
    place: DockerPlace, docker_host: str
) -> None:
    script = "trap 'exit 0' TERM\necho \"$GREETING as $(id -u)\" > /tmp/page\nhttpd -p 8080 -h /tmp\n"
    await build_image(docker_host, SERVER, script=script + "while :; do sleep 0.1 & wait $!; done\n")
    server = WorkloadSpec(
        name="server",
        image=SERVER,
        project="house",
        env=(("GREETING", "hello"),),
        user="1234",
        ports=(Port(container_port=8080, host_ip="127.0.0.1"),),
        volumes=(Volume(target="/tmp", scope=Scope.EPHEMERAL),),
        health=replace(PATIENT, type=HealthType.HTTP, port=8080, path="/page"),
        stop_grace=2.0,
    )
    async with place.running() as holdfast:
        served = await deployed(holdfast, server)
        asking = await deployed(holdfast, keeper())
        container = await the_one_running(holdfast, asking.id)
        answer = await holdfast.runtime.exec(container.id, ["wget", "-qO-", "http://server:8080/page"], 30.0)
        assert answer.output.strip() == "hello as 1234"
        published = (await the_one_running(holdfast, served.id)).ports
        assert published[0].host_port > 0


async def test_on_a_network_of_others_a_workload_is_found_by_its_name_and_without_that_network_it_runs_on(
    place: DockerPlace,
) -> None:
    async with place.running() as holdfast:
        installation = place.settings.installation_file.read_text().strip()
        others = f"a-proxy-{installation}"
        await holdfast.runtime.ensure_network(others, {LABEL_INSTALLATION: installation})
        asked = await deployed(holdfast, replace(keeper("asked"), project="one", networks=(others,)))
        asking = await deployed(holdfast, replace(keeper("asking"), project="two", networks=(others,)))
        container = await the_one_running(holdfast, asking.id)
        found = await holdfast.runtime.exec(container.id, ["ping", "-c", "1", "-w", "20", "asked"], 30.0)
        assert found.code == 0, found.output

        before = await the_one_running(holdfast, asked.id)
        gone = replace(keeper("asked"), project="one", networks=(f"{others}-gone",))
        await holdfast.api.workloads.apply(gone, actor="test")
        end = await ended(holdfast, await holdfast.api.deployer.deploy("asked", actor="test"))
        assert end.error is not None
        assert end.error["code"] == "network_missing"
        assert await the_one_running(holdfast, asked.id) == before


async def test_without_a_writable_volume_the_new_version_runs_before_the_old_one_stops(
    place: DockerPlace, docker_host: str
) -> None:
    await build_image(docker_host, BROKEN, script="exit 7\n")
    stateless = keeper("stateless", volumes=())
    assert stateless.effective_strategy is Strategy.BLUE_GREEN
    async with place.running() as holdfast:
        workload = await deployed(holdfast, stateless)
        first = await the_one_running(holdfast, workload.id)
        end = await ended(holdfast, await holdfast.api.deployer.deploy("stateless", image=BROKEN, actor="test"))
        assert end.state is OperationState.FAILED
        untouched = await the_one_running(holdfast, workload.id)
        assert (untouched.id, untouched.started_at) == (first.id, first.started_at)

        await holdfast.api.workloads.apply(replace(stateless, env=(("VERSION", "2"),)), actor="test")
        await succeeded(holdfast, await holdfast.api.deployer.deploy("stateless", actor="test"))
        second = await the_one_running(holdfast, workload.id)
        assert second.id != first.id


async def test_a_read_only_volume_can_be_read_and_not_written(place: DockerPlace) -> None:
    fixed = Volume(target="/fixed", scope=Scope.STAGE, source="fixed", read_only=True)
    async with place.running() as holdfast:
        workload = await deployed(holdfast, keeper(volumes=(fixed,)))
        (place.volumes / "keeper/fixed/text").write_text("read me")
        container = await the_one_running(holdfast, workload.id)
        read = await holdfast.runtime.exec(container.id, ["cat", "/fixed/text"], 30.0)
        write = await holdfast.runtime.exec(container.id, ["touch", "/fixed/new"], 30.0)
        assert read.output.strip() == "read me"
        assert write.code != 0
