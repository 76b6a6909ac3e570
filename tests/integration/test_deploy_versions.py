"""Which version runs: by tag and digest of a real registry, by image id, in how many instances."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from holdfast.bootstrap import Holdfast
from holdfast.domain.ids import new_id
from holdfast.domain.operation import Operation, OperationKind, OperationState
from holdfast.domain.registry import RegistryLogin
from holdfast.domain.snapshot import SnapshotReason
from holdfast.domain.workload import (
    HealthCheck,
    HealthType,
    Port,
    RestartPolicy,
    Scope,
    SnapshotPolicy,
    SourceWish,
    Strategy,
    UpdatePolicy,
    Volume,
    WorkloadSpec,
)
from holdfast.runtime.docker import DockerRuntime
from holdfast.testing.images import build_image
from holdfast.testing.installation import deployed, ended, snapshotted, succeeded
from holdfast.testing.plugins import install
from holdfast.testing.registry import push, registry
from tests.integration.engine_bench import (
    PATIENT,
    Ahead,
    DockerPlace,
    build_keeper,
    containers,
    keeper,
    the_one_running,
)

OPEN_SESAME = "$2b$05$kCeSqv3uyXq5mTllrhWO0ea3r1neCmU/5382zZlFTDGXP0nu4qH66"
"""The bcrypt of a password."""
STEADY = "trap 'exit 0' TERM\nwhile :; do sleep 60 & wait $!; done\n"


@pytest.fixture
async def place(tmp_path: Path, docker_host: str) -> AsyncIterator[DockerPlace]:
    await build_keeper(docker_host)
    place = DockerPlace(directory=tmp_path, docker_host=docker_host)
    yield place
    await place.clean()


@pytest.fixture
async def reference(docker_runtime: DockerRuntime, registry_address: str) -> AsyncIterator[str]:
    """The name of an image in a registry of the test's own."""
    reference = f"{registry_address}/holdfast-test/app:1"
    yield reference
    await docker_runtime.untag(reference)


async def publish(docker_host: str, runtime: DockerRuntime, reference: str, version: str) -> str:
    """Have a tag of the registry mean a new image, which this host does not have. Returns its digest."""
    image_id = await build_image(docker_host, "holdfast-test/pushed", script=STEADY, env={"VERSION": version})
    digest = await push(docker_host, image_id, reference)
    await runtime.untag("holdfast-test/pushed")
    return digest


def app(image: str) -> WorkloadSpec:
    return WorkloadSpec(name="app", image=image, project="house", restart=RestartPolicy.ALWAYS, stop_grace=1.0)


async def version_of(holdfast: Holdfast, container_id: str) -> str:
    answer = await holdfast.runtime.exec(container_id, ["sh", "-c", "echo $VERSION"], 30.0)
    return answer.output.strip()


@pytest.mark.xdist_group("registry")
async def test_a_tag_that_was_moved_brings_the_new_digest_and_one_that_is_gone_touches_nothing(
    place: DockerPlace, docker_host: str, docker_runtime: DockerRuntime, reference: str
) -> None:
    first = await publish(docker_host, docker_runtime, reference, "one")
    async with place.running() as holdfast:
        workload = await deployed(holdfast, app(reference))
        before = await the_one_running(holdfast, workload.id)
        assert await version_of(holdfast, before.id) == "one"

        second = await publish(docker_host, docker_runtime, reference, "two")
        moved = await succeeded(holdfast, await holdfast.api.deployer.deploy("app", actor="test"))
        assert (moved.outcome["result"], moved.outcome["digest"]) == ("deployed", second)
        after = await the_one_running(holdfast, workload.id)
        assert await version_of(holdfast, after.id) == "two"

        back = await succeeded(holdfast, await holdfast.api.deployer.deploy("app", image=first, actor="test"))
        assert back.outcome["digest"] == first
        now = await the_one_running(holdfast, workload.id)
        assert (await version_of(holdfast, now.id), now.image_id) == ("one", before.image_id)

        oldest = (await holdfast.api.deployer.deployments("app", 50, None)).items[-1]
        await succeeded(holdfast, await holdfast.api.deployer.deploy("app", image=second, actor="test"))
        before_that = await holdfast.api.rollbacks.plan("app", None)
        assert before_that.rollback.to.digest == first
        returned = await holdfast.api.rollbacks.rollback("app", oldest.id, actor="test")
        assert (await succeeded(holdfast, returned)).outcome["digest"] == first
        now = await the_one_running(holdfast, workload.id)
        assert (await version_of(holdfast, now.id), now.image_id) == ("one", before.image_id)
        assert (await holdfast.api.workloads.get("app")).spec.image == reference

        shop = await deployed(holdfast, replace(app(second), name="shop"))
        await publish(docker_host, docker_runtime, reference, "three")
        plan = await holdfast.api.promotions.plan("app", "shop")
        promotion = await holdfast.api.promotions.promote("app", "shop", plan.deployment.id, actor="test")
        assert (await succeeded(holdfast, promotion)).outcome["digest"] == first
        assert await version_of(holdfast, (await the_one_running(holdfast, shop.id)).id) == "one"
        assert (await holdfast.api.workloads.get("shop")).spec.image == first

        missing = reference.removesuffix(":1") + ":gone"
        end = await ended(holdfast, await holdfast.api.deployer.deploy("app", image=missing, actor="test"))
        assert end.error is not None
        assert end.error["code"] == "image_not_in_registry"
        assert await the_one_running(holdfast, workload.id) == now


@pytest.mark.xdist_group("registry")
async def test_a_tag_that_was_moved_on_is_deployed_and_a_snapshot_is_taken_by_schedule(
    place: DockerPlace, docker_host: str, docker_runtime: DockerRuntime, reference: str
) -> None:
    await publish(docker_host, docker_runtime, reference, "of before")
    clock = Ahead()
    async with replace(place, seams=replace(place.seams, clock=clock)).running() as holdfast:
        spec = replace(
            app(reference),
            volumes=(Volume(target="/data", scope=Scope.STAGE, source="data"),),
            updates=UpdatePolicy(schedule="0 4 * * *"),
            snapshots=SnapshotPolicy(before_deploy=False, schedule="0 3 * * *"),
        )
        workload = await deployed(holdfast, spec)
        (place.volumes / "app/data/kept").write_text("of the day")
        await holdfast.scheduler.look()
        moved = await publish(docker_host, docker_runtime, reference, "of the night")
        clock.seconds += 25 * 3600
        ends: dict[OperationKind, Operation] = {}
        for _ in range(2):  # the second waits for the first
            await holdfast.scheduler.look()
            (due,) = (await holdfast.operations.list(1, None, workload.id)).items
            assert due.actor == "schedule"
            ends[due.kind] = await succeeded(holdfast, due)
        assert ends[OperationKind.DEPLOY].outcome["digest"] == moved
        assert await version_of(holdfast, (await the_one_running(holdfast, workload.id)).id) == "of the night"
        taken = str(ends[OperationKind.SNAPSHOT].outcome["snapshot_id"])
        assert (await holdfast.api.snapshots.get("app", taken)).manifest.reason is SnapshotReason.SCHEDULED


@pytest.mark.parametrize("guarded", [False, True])
async def test_a_newer_tag_of_the_pattern_is_deployed_by_the_schedule(
    place: DockerPlace, docker_host: str, docker_runtime: DockerRuntime, tmp_path: Path, *, guarded: bool
) -> None:
    (tmp_path / "registry").mkdir()
    users = {"ann": OPEN_SESAME} if guarded else None
    clock = Ahead()
    with registry(tmp_path / "registry", users=users) as address:
        name = f"{address}/holdfast-test/app"
        login = RegistryLogin(host=address, username="ann", password="open sesame") if guarded else None
        published: list[str] = []

        async def publish(tag: str) -> None:
            image_id = await build_image(docker_host, f"{name}:{tag}", script=STEADY, env={"VERSION": tag})
            await push(docker_host, image_id, f"{name}:{tag}", login=login)
            published.append(f"{name}:{tag}")

        async with replace(place, seams=replace(place.seams, clock=clock)).running() as holdfast:

            async def night() -> Operation:
                clock.seconds += 25 * 3600
                await holdfast.scheduler.look()
                (update,) = (await holdfast.operations.list(1, None, workload.id)).items
                return await ended(holdfast, update)

            if login is not None:
                await holdfast.api.registries.add(address, login.username, login.password, actor="test")
            await publish("1.9.0")
            policy = UpdatePolicy(schedule="0 4 * * *", tags="1.*")
            workload = await deployed(holdfast, replace(app(f"{name}:1.9.0"), updates=policy))
            await holdfast.scheduler.look()
            for tag in ("1.8.9", "1.9.1", "1.10.0", "1.11.0-rc1", "1.12", "2.0.0", "latest"):
                await publish(tag)
            update = await night()
            seen = [update.outcome.get(key) for key in ("result", "tag", "tags_seen")]
            assert (update.actor, seen) == ("schedule", ["deployed", "1.10.0", 8])
            running = await the_one_running(holdfast, workload.id)
            assert await version_of(holdfast, running.id) == "1.10.0"
            assert (await holdfast.api.workloads.get("app")).spec.image == f"{name}:1.10.0"
            assert (await night()).outcome["result"] == "already_there"
            if login is not None:
                await holdfast.api.registries.remove(address, actor="test")
                refused = await night()
                assert refused.error is not None
                assert refused.error["code"] == "registry_denied"
            assert await the_one_running(holdfast, workload.id) == running
        for reference in published:
            await docker_runtime.untag(reference)


async def test_each_of_several_registries_is_asked_with_its_own_login(
    place: DockerPlace, docker_host: str, docker_runtime: DockerRuntime, tmp_path: Path
) -> None:
    for directory in ("one", "two"):
        (tmp_path / directory).mkdir()
    with (
        registry(tmp_path / "one", users={"ann": OPEN_SESAME}) as one,
        registry(tmp_path / "two", users={"bob": OPEN_SESAME}) as two,
    ):
        async with place.running() as holdfast:
            logins = [RegistryLogin(host=one, username="ann", password="open sesame")]
            logins.append(RegistryLogin(host=two, username="bob", password="open sesame"))
            for login in logins:
                name = f"{login.host}/holdfast-test/app:1"
                image_id = await build_image(docker_host, name, script=STEADY, env={"VERSION": login.username})
                await push(docker_host, image_id, name, login=login)
                await holdfast.api.workloads.apply(replace(app(name), name=login.username), actor="test")
                end = await ended(holdfast, await holdfast.api.deployer.deploy(login.username, actor="test"))
                assert end.error is not None
                assert end.error["code"] == "registry_denied"
                await holdfast.api.registries.add(login.host, login.username, login.password, actor="test")
            for login in logins:
                await succeeded(holdfast, await holdfast.api.deployer.deploy(login.username, actor="test"))
                workload = await holdfast.api.workloads.get(login.username)
                running = await the_one_running(holdfast, workload.id)
                assert await version_of(holdfast, running.id) == login.username
        for login in logins:
            await docker_runtime.untag(f"{login.host}/holdfast-test/app:1")


async def test_a_plugin_of_another_distribution_says_which_image_runs(
    place: DockerPlace, docker_host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, file = tmp_path / "site", tmp_path / "channel"
    site.mkdir()
    install(Path(__file__).parents[1] / "plugins" / "holdfast-channel", site)
    monkeypatch.syspath_prepend(site)
    one, two = [
        await build_image(docker_host, "holdfast-test/channelled:1", script=STEADY, env={"VERSION": version})
        for version in ("one", "two")
    ]
    file.write_text(one)
    wish = SourceWish(type="channel", settings=(("file", str(file)),))
    async with place.running() as holdfast:
        workload = await deployed(holdfast, replace(app(""), plugin=wish))
        assert await version_of(holdfast, (await the_one_running(holdfast, workload.id)).id) == "one"
        file.write_text(two)
        await succeeded(holdfast, await holdfast.api.deployer.deploy("app", actor="test"))
        assert await version_of(holdfast, (await the_one_running(holdfast, workload.id)).id) == "two"
        plan = await holdfast.api.rollbacks.plan("app", None)
        rollback = await holdfast.api.rollbacks.rollback("app", plan.rollback.to.id, actor="test")
        await succeeded(holdfast, rollback)
        assert await version_of(holdfast, (await the_one_running(holdfast, workload.id)).id) == "one"
        file.unlink()
        end = await ended(holdfast, await holdfast.api.deployer.deploy("app", actor="test"))
        assert end.error is not None
        assert end.error["code"] == "source_refused"
        assert (await the_one_running(holdfast, workload.id)).image_id == one


@pytest.mark.xdist_group("registry")
async def test_an_image_that_no_kept_deployment_needs_leaves_the_host_and_a_rollback_brings_it_back(
    place: DockerPlace,
    docker_host: str,
    docker_runtime: DockerRuntime,
    reference: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("holdfast.domain.deployment.KEPT_VERSIONS", 1)
    await publish(docker_host, docker_runtime, reference, "one, to be removed")
    async with place.running() as holdfast:
        workload = await deployed(holdfast, app(reference))
        before = await the_one_running(holdfast, workload.id)
        newer = reference.removesuffix(":1") + ":2"
        broken = await build_image(docker_host, newer, script=f"echo {new_id()}; exit 7\n")
        await push(docker_host, broken, newer)
        end = await ended(holdfast, await holdfast.api.deployer.deploy("app", image=newer, actor="test"))
        assert (end.state, await docker_runtime.image(broken) is None) == (OperationState.FAILED, False)
        await publish(docker_host, docker_runtime, reference, "two, to stay")
        await succeeded(holdfast, await holdfast.api.deployer.deploy("app", actor="test"))
        assert [await docker_runtime.image(each) for each in (before.image_id, broken)] == [None, None]
        (kept,) = await holdfast.api.images.kept()
        assert (kept.names, kept.needed_by, kept.size > 0) == ((reference,), ("app",), True)
        oldest = (await holdfast.api.deployer.deployments("app", 50, None)).items[-1]
        await succeeded(holdfast, await holdfast.api.rollbacks.rollback("app", oldest.id, actor="test"))
        assert (await the_one_running(holdfast, workload.id)).image_id == before.image_id


async def test_a_restore_with_its_image_brings_code_and_data_back(place: DockerPlace, docker_host: str) -> None:
    name = "holdfast-test/both:1"
    old = await build_image(docker_host, name, script=STEADY, env={"VERSION": "one"})
    spec = replace(keeper(image=name), health=HealthCheck())
    data = place.volumes / "keeper/data/schema"
    async with place.running() as holdfast:
        workload = await deployed(holdfast, spec)
        data.write_text("one")
        snapshot = await snapshotted(holdfast, workload)
        await build_image(docker_host, name, script=STEADY, env={"VERSION": "two"})
        await succeeded(holdfast, await holdfast.api.deployer.deploy("keeper", actor="test"))
        data.write_text("two")
        operation = await holdfast.api.restores.restore(
            "keeper",
            snapshot,
            confirm=snapshot,
            volumes=None,
            on_unhealthy=None,
            with_image=True,
            dry_run=False,
            actor="test",
        )
        await succeeded(holdfast, operation)
        running = await the_one_running(holdfast, workload.id)
        assert (data.read_text(), running.image_id) == ("one", old)
        assert await version_of(holdfast, running.id) == "one"


async def test_several_instances_are_replaced_together_or_not_at_all(place: DockerPlace, docker_host: str) -> None:
    name = "holdfast-test/several:1"
    await build_image(docker_host, name, script=STEADY, env={"VERSION": "one"})
    await build_image(docker_host, "holdfast-test/ending:1", script="exit 7\n")
    spec = replace(app(name), max_instances=3)
    assert spec.effective_strategy is Strategy.BLUE_GREEN
    async with place.running() as holdfast:
        workload = await deployed(holdfast, spec)
        before = {container.id for container in await containers(holdfast, workload.id)}
        assert len(before) == 3

        end = await ended(
            holdfast, await holdfast.api.deployer.deploy("app", image="holdfast-test/ending:1", actor="test")
        )
        assert end.state is OperationState.FAILED
        assert {container.id for container in await containers(holdfast, workload.id)} == before

        await build_image(docker_host, name, script=STEADY, env={"VERSION": "two"})
        await succeeded(holdfast, await holdfast.api.deployer.deploy("app", actor="test"))
        after = await containers(holdfast, workload.id)
        assert [(c.running, c.restart) for c in after] == [(True, RestartPolicy.ALWAYS)] * 3
        assert not before & {container.id for container in after}


async def test_entrypoint_command_user_and_published_port_are_as_configured(
    place: DockerPlace, docker_host: str
) -> None:
    name = "holdfast-test/configured:1"
    await build_image(docker_host, name, script="exit 9\n", user="app")
    serving = "trap 'exit 0' TERM; echo \"$0 $1 $(id -u) $GREETING\" > /tmp/page; httpd -p 8080 -h /tmp"
    spec = WorkloadSpec(
        name="configured",
        image=name,
        project="house",
        entrypoint=("/bin/sh", "-c", f"{serving}; while :; do sleep 60 & wait $!; done"),
        command=("zeroth", "first"),
        user="1234:1234",
        env=(("GREETING", "good day = you"),),
        ports=(Port(container_port=8080, host_ip="127.0.0.1"),),
        health=replace(PATIENT, type=HealthType.HTTP, port=8080, path="/page"),
        stop_grace=1.0,
    )
    async with place.running() as holdfast:
        workload = await deployed(holdfast, spec)
        (port,) = (await the_one_running(holdfast, workload.id)).ports
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://127.0.0.1:{port.host_port}/page")
        assert answer.text.strip() == "zeroth first 1234 good day = you"

        running = await the_one_running(holdfast, workload.id)
        taken = Port(container_port=8080, host_port=port.host_port, host_ip="127.0.0.1")
        await holdfast.api.workloads.apply(replace(spec, name="second", ports=(taken,)), actor="test")
        end = await ended(holdfast, await holdfast.api.deployer.deploy("second", actor="test"))
        assert end.error is not None
        assert (end.error["code"], end.error["message"]) == (
            "port_in_use",
            f"The host port 127.0.0.1:{port.host_port} is taken by the container {running.name}.",
        )
