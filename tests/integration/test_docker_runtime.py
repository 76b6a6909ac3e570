"""The Docker adapter passes the suite of the port on a real engine; and what only a real engine can show."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import socket
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from aiodocker import Docker

from holdfast.domain.errors import Failed, InvalidInput, Unavailable
from holdfast.domain.workload import RestartPolicy
from holdfast.runtime.docker import DockerRuntime
from holdfast.runtime.port import (
    LABEL_INSTALLATION,
    Bind,
    Container,
    ContainerEvent,
    ContainerRuntime,
    ContainerSpec,
    ContainerState,
    EngineInfo,
    ImageHealth,
)
from holdfast.services.engine_watch import EngineWatch
from holdfast.services.readiness import Readiness
from holdfast.services.restore_registry import RestoreRegistry
from holdfast.services.sightings import Sightings
from holdfast.testing.docker_engine import DockerEngine, private_engine
from holdfast.testing.fake_records import Behaviour, Outage
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.images import build_image
from tests.contract.runtime import RuntimeContract
from tests.contract.runtime_lab import Images, Lab, eventually, read_log

READY = "trap 'exit 0' TERM; echo ready\n"
"""A process 1 hears TERM only from its trap on."""
FOREVER = "while :; do sleep 60 & wait $!; done\n"
WAIT = READY + FOREVER
SCRIPTS = {
    "steady": WAIT,
    "stubborn": f"trap '' TERM; echo ready; {FOREVER}",
    "failing": "exit 3\n",
    "printing": f"{READY} echo one; sleep 0.05; echo two >&2; sleep 0.05; echo three; {FOREVER}",
    "writing": f"{READY} echo written > /data/file; {FOREVER}",
    "healthy": WAIT,
    "unhealthy": WAIT,
}
CHECKS = {"healthy": "true", "unhealthy": "false"}


async def no_arrival(_: EngineInfo) -> None:
    """Nothing has to be done."""


async def keeps(sightings: Sightings, container_id: str) -> bool:
    """Whether what is seen of a container is kept: two looks give the same object."""
    [first], [second] = await sightings.all(), await sightings.all()
    return first.id == container_id and first is second


async def build(docker_host: str, name: str, session: str) -> str:
    """An image of this session's own: with another's content it would be the same image, with two names."""
    reference = f"holdfast-test/{name}-{session}:latest"
    await build_image(
        docker_host,
        reference,
        script=SCRIPTS[name],
        healthcheck=CHECKS.get(name),
        user="1000" if name == "writing" else None,
        env={"SESSION": session},
    )
    return reference


@pytest.fixture
def runtime(docker_runtime: DockerRuntime) -> ContainerRuntime:
    return docker_runtime


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def images(docker_host: str) -> AsyncIterator[Images]:
    session = secrets.token_hex(6)
    images = Images(**{name: await build(docker_host, name, session) for name in SCRIPTS})
    yield images
    runtime = DockerRuntime(docker_host)
    for reference in dataclasses.astuple(images):
        await runtime.untag(reference)
    await runtime.close()


class TestDockerRuntime(RuntimeContract):
    @pytest.fixture
    async def steady(self, lab: Lab) -> str:
        return await lab.run(lab.images.steady)

    async def test_what_is_told_of_containers_over_and_over_is_what_they_are(self, lab: Lab, steady: str) -> None:
        sightings = Sightings(lab.runtime, lab.installation)
        watch = EngineWatch(lab.runtime, Readiness(RestoreRegistry()), no_arrival, sightings.happened, sightings.follow)
        watch.start()
        try:
            await eventually(partial(keeps, sightings, steady))
            await lab.runtime.stop(steady, 10)
            await lab.runtime.start(steady)
            assert await sightings.all() == (await lab.runtime.inspect(steady),)
            await lab.runtime.exec(steady, ["kill", "-TERM", "1"], 10)
            await lab.until(steady, lambda container: not container.running)
            assert await sightings.all() == (await lab.runtime.inspect(steady),)
            checked = await lab.run(lab.images.unhealthy, "checked")
            assert {container.id for container in await sightings.all()} == {checked, steady}
            await lab.until(checked, lambda container: container.health is ImageHealth.UNHEALTHY)
            assert (await sightings.all())[0].health is ImageHealth.UNHEALTHY
            await lab.runtime.set_restart_policy(checked, RestartPolicy.ALWAYS)

            async def armed() -> bool:
                return (await sightings.all())[0].restart is RestartPolicy.ALWAYS

            await eventually(armed)
            await lab.runtime.remove(checked, force=True)
            assert [container.id for container in await sightings.all()] == [steady]
        finally:
            await watch.close()

    async def test_a_command_that_hangs_leaves_no_process_behind(self, lab: Lab, steady: str) -> None:
        with pytest.raises(Failed) as failure:
            await lab.runtime.exec(steady, ["sh", "-c", "sleep 4321 & (sleep 4324 & sleep 4325 &) ; sleep 4322"], 0.3)
        assert failure.value.details["killed"] is True
        listed = await lab.runtime.exec(steady, ["ps"], 10)
        assert "sleep 60" in listed.output
        assert "sleep 432" not in listed.output

    async def test_a_command_that_is_too_late_before_it_has_begun_leaves_no_process_behind(
        self, lab: Lab, steady: str
    ) -> None:
        for timeout in (0.001, 0.01, 0.02, 0.05):
            with pytest.raises(Failed) as failure:
                await lab.runtime.exec(steady, ["sleep", "4326"], timeout)
            assert failure.value.details["killed"] is True
        await asyncio.sleep(0.5)  # what the engine is still about to start would be there by then
        assert "sleep 4326" not in (await lab.runtime.exec(steady, ["ps"], 10)).output

    async def test_a_command_that_is_given_up_leaves_no_process_behind(self, lab: Lab, steady: str) -> None:
        command = asyncio.create_task(lab.runtime.exec(steady, ["sleep", "4323"], 60))

        async def shown() -> bool:
            return "sleep 4323" in (await lab.runtime.exec(steady, ["ps"], 10)).output

        await eventually(shown)
        command.cancel()
        with pytest.raises(asyncio.CancelledError):
            await command
        assert not await shown()

    async def test_of_a_log_that_grows_on_and_on_the_newest_is_kept(self, lab: Lab, docker_host: str) -> None:
        usual, lab.runtime = lab.runtime, DockerRuntime(docker_host, log_bytes=30_000)
        try:
            container_id = await lab.create(
                lab.images.steady,
                entrypoint=["/bin/sh", "-c"],
                command=["i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i + 1)); done; echo last; sleep 60"],
            )
        finally:
            await lab.runtime.close()
            lab.runtime = usual
        await lab.runtime.start(container_id)
        await lab.until_printed(container_id, "last")
        lines = [line.text for line in await read_log(lab.runtime.logs(container_id))]
        assert 100 < len(lines) < 1000, "of 2001 lines with some 70 bytes each in the engine's files"
        assert lines[0] != "line 0"

    async def test_a_log_line_longer_than_the_engine_s_own_limit_comes_in_one_piece(
        self, lab: Lab, docker_host: str
    ) -> None:
        reference = f"holdfast-test/{lab.installation}:latest"
        await build_image(
            docker_host, reference, script="yes x | head -n 25000 | tr -d '\\n'; echo; printf end; sleep 1"
        )
        container_id = await lab.create(reference)
        await lab.runtime.start(container_id)
        await lab.until(container_id, lambda container: container.state is ContainerState.EXITED)
        lines = await read_log(lab.runtime.logs(container_id))
        assert [len(line.text) for line in lines] == [25000, 3]
        await lab.runtime.remove(container_id, force=True)
        await lab.runtime.untag(reference)

    async def test_a_container_that_crashes_is_disarmed_at_whatever_moment(self, lab: Lab) -> None:
        """Just after a crash the engine refuses for want of a process, and forgets the new policy."""

        async def disarm(number: int) -> None:
            container_id = await lab.create(lab.images.failing, f"crashing-{number}", restart=RestartPolicy.ALWAYS)
            await lab.runtime.start(container_id)
            await lab.until(container_id, lambda container: container.restart_count >= number % 3)
            await lab.runtime.set_restart_policy(container_id, RestartPolicy.NO)
            await lab.runtime.stop(container_id, 1)
            assert (await lab.runtime.inspect(container_id)).restart is RestartPolicy.NO

        await asyncio.gather(*(disarm(number) for number in range(12)))

    async def test_containers_reach_each_other_by_their_aliases(self, lab: Lab) -> None:
        await lab.runtime.ensure_network(lab.installation, {LABEL_INSTALLATION: lab.installation})
        await lab.run(lab.images.steady, "one", network=lab.installation, aliases=["notes"])
        other = await lab.run(lab.images.steady, "two", network=lab.installation)
        found = await lab.runtime.exec(other, ["ping", "-c", "1", "-W", "2", "notes"], 10)
        assert found.code == 0, found.output
        for container in await lab.runtime.containers({LABEL_INSTALLATION: lab.installation}):
            await lab.runtime.remove(container.id, force=True)
        await lab.runtime.remove_network(lab.installation)

    async def test_a_network_that_several_ask_for_at_once_is_one(self, lab: Lab, docker_host: str) -> None:
        labels = {LABEL_INSTALLATION: lab.installation}
        await asyncio.gather(*(lab.runtime.ensure_network(lab.installation, labels) for _ in range(4)))
        async with Docker(url=docker_host) as docker:
            assert len(await docker.networks.list(filters={"name": [lab.installation]})) == 1

    async def test_an_internal_network_is_one_for_the_engine(self, lab: Lab, docker_host: str) -> None:
        for internal in (True, False):
            await lab.runtime.ensure_network(lab.installation, {}, internal=internal)
            async with Docker(url=docker_host) as docker:
                assert (await (await docker.networks.get(lab.installation)).show())["Internal"] is internal
            await lab.runtime.remove_network(lab.installation)

    async def test_environment_and_command_reach_the_process(self, lab: Lab) -> None:
        container_id = await lab.create(
            lab.images.steady,
            env={"GREETING": "good = day"},
            entrypoint=["/bin/sh", "-c"],
            command=["echo $GREETING; id -u; sleep 1; exit 5"],  # a busy engine may lose what is said at the end
            user="1000",
        )
        await lab.runtime.start(container_id)
        await lab.until(container_id, lambda container: container.state is ContainerState.EXITED)
        lines = await read_log(lab.runtime.logs(container_id))
        assert [line.text for line in lines] == ["good = day", "1000"]
        assert (await lab.runtime.inspect(container_id)).exit_code == 5

    async def test_a_bind_source_that_is_a_symlink_shows_what_it_points_at(self, lab: Lab, tmp_path: Path) -> None:
        """Why volumes are checked for symlinks before a start: the engine follows them."""
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        (tmp_path / "real").chmod(0o777)
        await lab.run(lab.images.writing, binds=[Bind(source=str(tmp_path / "link"), target="/data")])

        async def written() -> bool:
            return (tmp_path / "real" / "file").exists()

        await eventually(written)


async def test_nobody_at_the_socket_is_told_as_such(tmp_path: Path) -> None:
    runtime = DockerRuntime(f"unix://{tmp_path}/none.sock", 5)
    with pytest.raises(Unavailable) as failure:
        await runtime.info()
    assert failure.value.code == "engine_unavailable"
    assert "Docker Engine" in failure.value.next_step
    with pytest.raises(Unavailable):
        await anext(runtime.events())
    await runtime.close()


async def test_an_engine_that_does_not_answer_is_told_as_such(tmp_path: Path) -> None:
    silent = socket.socket(socket.AF_UNIX)
    silent.bind(f"{tmp_path}/silent.sock")
    silent.listen()
    runtime = DockerRuntime(f"unix://{tmp_path}/silent.sock", 0.1)
    with pytest.raises(Unavailable) as failure:
        await runtime.inspect("anything")
    assert failure.value.code == "engine_timeout"
    await runtime.close()
    silent.close()


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput):
        DockerRuntime("/var/run/docker.sock")


@pytest.fixture
async def crashing_engine() -> AsyncIterator[DockerEngine]:
    with private_engine() as engine:
        yield engine


@pytest.fixture
async def crashing_runtime(crashing_engine: DockerEngine) -> AsyncIterator[DockerRuntime]:
    runtime = DockerRuntime(crashing_engine.host)
    yield runtime
    await runtime.close()


@pytest.mark.xdist_group("private engine")
@pytest.mark.parametrize("outage", Outage)
async def test_after_an_outage_the_engine_has_what_the_fake_has(
    crashing_engine: DockerEngine, crashing_runtime: DockerRuntime, outage: Outage
) -> None:
    fake = FakeRuntime()
    image = await build_image(crashing_engine.host, "holdfast-test/steady", script=WAIT)
    fake_image = fake.add_image("holdfast-test/steady", Behaviour(logs=("ready",))).id
    events = crashing_runtime.events()
    listening = asyncio.ensure_future(anext(events))
    await asyncio.gather(*(arrange(crashing_runtime, image, policy, was) for policy, was in CASES))
    for policy, was in CASES:
        await arrange(fake, fake_image, policy, was)
    assert (await listening).action == "create"

    match outage:
        case Outage.CRASH:
            crashing_engine.kill()
        case Outage.POWER:
            crashing_engine.lose_power()
        case Outage.SHUTDOWN:
            crashing_engine.stop()
    crashing_engine.start()
    fake.restart_engine(outage)

    with pytest.raises(Unavailable):
        await drain(events)
    expected = await outcome(fake)

    async def same() -> bool:
        return await outcome(crashing_runtime) == expected

    try:
        await eventually(same)
    except TimeoutError:
        assert await outcome(crashing_runtime) == expected


CASES = [(policy, was) for policy in RestartPolicy for was in ("running", "paused", "stopped", "created")]


async def arrange(runtime: ContainerRuntime, image: str, policy: RestartPolicy, was: str) -> None:
    container_id = await runtime.create(
        ContainerSpec(name=f"{policy}-{was}", image=image, labels={}, restart=policy, stop_grace=1)
    )
    if was != "created":
        await runtime.start(container_id)

        async def ready() -> bool:
            return bool(await read_log(runtime.logs(container_id)))

        await eventually(ready)
    if was == "paused":
        await runtime.pause(container_id)
    if was == "stopped":
        await runtime.stop(container_id, 10)


async def drain(events: AsyncIterator[ContainerEvent]) -> None:
    async for _ in events:
        pass


async def outcome(runtime: ContainerRuntime) -> dict[str, tuple[str, int | None]]:
    def told(container: Container) -> tuple[str, int | None]:
        return container.state.value, container.exit_code

    return {container.name: told(container) for container in await runtime.containers()}
