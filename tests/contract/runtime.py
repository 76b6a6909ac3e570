"""What every container runtime has to do: the suite for adapters of ``holdfast.runtime.port``.

An adapter's test module has fixtures ``runtime`` and ``images``, and a subclass of ``RuntimeContract``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest

from holdfast.domain.compose_findings import FindingKind
from holdfast.domain.container_import import ForeignContainer, propose_containers
from holdfast.domain.errors import Conflict, Failed, NotFound
from holdfast.domain.workload import Port, RestartPolicy
from holdfast.runtime.port import (
    LABEL_INSTALLATION,
    LABEL_WORKLOAD,
    Bind,
    ContainerEvent,
    ContainerRuntime,
    ContainerSpec,
    ContainerState,
    EngineVolume,
    Exit,
    ImageHealth,
    Mount,
    Tmpfs,
    VolumeMount,
)
from tests.contract.runtime_lab import (
    FAILING,
    HANGING,
    HELLO,
    MARK,
    MARKED,
    PATIENCE,
    UNKNOWN,
    WHO,
    Images,
    Lab,
    eventually,
    read_log,
)


class RuntimeContract:
    """The suite."""

    @pytest.fixture
    async def lab(self, runtime: ContainerRuntime, images: Images) -> AsyncIterator[Lab]:
        lab = Lab(runtime, images)
        yield lab
        await lab.clean()

    async def test_the_engine_says_who_it_is(self, runtime: ContainerRuntime) -> None:
        info = await runtime.info()
        assert info.version
        assert tuple(map(int, info.api_version.split("."))) >= (1, 41)
        assert info.root_dir.startswith("/")

    async def test_an_image_is_found_by_reference_by_id_and_without_its_tag(self, lab: Lab) -> None:
        image = await lab.runtime.image(lab.images.steady)
        assert image is not None
        assert image.id.startswith("sha256:")
        assert any(tag.endswith(":latest") for tag in image.tags)
        assert await lab.runtime.image(image.id) == image
        assert await lab.runtime.image(lab.images.steady.removesuffix(":latest")) == image

    async def test_an_image_that_is_not_there_is_none(self, runtime: ContainerRuntime) -> None:
        assert await runtime.image("holdfast-test/nothing:1") is None
        assert await runtime.image(f"sha256:{'0' * 64}") is None

    async def test_an_image_tells_its_user_and_whether_it_checks_its_health(self, lab: Lab) -> None:
        writing, healthy = await lab.runtime.image(lab.images.writing), await lab.runtime.image(lab.images.healthy)
        assert writing is not None
        assert healthy is not None
        assert (writing.user, writing.has_healthcheck) == ("1000", False)
        assert (healthy.user, healthy.has_healthcheck) == ("", True)

    async def test_a_pull_that_fails_says_why(self, runtime: ContainerRuntime) -> None:
        with pytest.raises(Failed) as failure:
            await runtime.pull("127.0.0.1:9/nothing:1")
        assert failure.value.code in ("image_not_in_registry", "registry_unreachable")
        assert failure.value.next_step
        with pytest.raises(Failed) as same:
            await runtime.tags("127.0.0.1:9/nothing:1")
        assert same.value.code == failure.value.code

    async def test_a_tag_is_another_name_and_goes_alone(self, lab: Lab) -> None:
        image = await lab.runtime.image(lab.images.steady)
        assert image is not None
        name = f"holdfast-test/{lab.installation}"
        await lab.runtime.tag(image.id, name, "kept")
        await lab.runtime.tag(image.id, name, "kept")
        tagged = await lab.runtime.image(f"{name}:kept")
        assert tagged is not None
        assert tagged.id == image.id
        await lab.runtime.untag(f"{name}:kept")
        await lab.runtime.untag(f"{name}:kept")
        assert await lab.runtime.image(f"{name}:kept") is None
        assert await lab.runtime.image(image.id) is not None

    async def test_a_listing_tells_of_images_what_a_look_at_each_does(self, lab: Lab) -> None:
        image = await lab.runtime.image(lab.images.steady)
        assert image is not None
        (listed,) = [each for each in await lab.runtime.images() if each.id == image.id]
        assert (set(listed.tags), listed.digests, listed.size) == (set(image.tags), image.digests, image.size)

    async def test_tagging_an_unknown_image_is_not_found(self, runtime: ContainerRuntime) -> None:
        with pytest.raises(NotFound) as failure:
            await runtime.tag(f"sha256:{'0' * 64}", "holdfast-test/none", "kept")
        assert failure.value.code == "image_unknown"

    async def test_the_last_name_of_an_image_in_use_stays(self, lab: Lab) -> None:
        await lab.create(lab.images.failing)
        with pytest.raises(Conflict) as failure:
            await lab.runtime.untag(lab.images.failing)
        assert failure.value.code == "image_in_use"
        assert await lab.runtime.image(lab.images.failing) is not None

    async def test_a_container_is_created_as_it_was_asked_for(self, lab: Lab, tmp_path: Path) -> None:
        container_id = await lab.create(
            lab.images.steady,
            labels={"a": "b"},
            env={"KEY": "a value"},
            binds=[Bind(source=str(tmp_path), target="/data", read_only=True)],
            tmpfs=[Tmpfs(target="/cache", size=1 << 20)],
            restart=RestartPolicy.UNLESS_STOPPED,
            memory=64 << 20,
            cpus=0.5,
        )
        container = await lab.runtime.inspect(container_id)
        image = await lab.runtime.image(lab.images.steady)
        assert image is not None
        assert (container.id, container.name) == (container_id, f"{lab.installation}-a")
        assert (container.state, container.running) == (ContainerState.CREATED, False)
        assert container.image_id == image.id
        assert container.labels["a"] == "b"
        assert container.restart is RestartPolicy.UNLESS_STOPPED
        assert container.exit_code is None
        assert (container.pid, container.ip, container.ports) == (0, "", ())
        assert sorted(container.mounts, key=lambda mount: mount.target) == [
            Mount(type="tmpfs", source="", target="/cache", read_only=False),
            Mount(type="bind", source=str(tmp_path), target="/data", read_only=True),
        ]

    async def test_a_bind_without_its_source_is_an_error_and_makes_no_directory(self, lab: Lab, tmp_path: Path) -> None:
        source = tmp_path / "missing"
        with pytest.raises(Failed) as failure:
            await lab.create(lab.images.steady, binds=[Bind(source=str(source), target="/data")])
        assert failure.value.code == "bind_source_missing"
        assert str(source) in failure.value.message
        assert not source.exists()
        assert await lab.runtime.containers({LABEL_INSTALLATION: lab.installation}) == []

    async def test_a_bind_that_lost_its_source_does_not_start(self, lab: Lab, tmp_path: Path) -> None:
        source = tmp_path / "lost"
        source.mkdir()
        container_id = await lab.create(lab.images.steady, binds=[Bind(source=str(source), target="/data")])
        source.rmdir()
        with pytest.raises(Failed):
            await lab.runtime.start(container_id)
        assert not source.exists()
        assert not (await lab.runtime.inspect(container_id)).running

    async def test_a_volume_is_made_once_mounted_by_name_and_kept_while_a_container_has_it(self, lab: Lab) -> None:
        name = f"{lab.installation}-data"
        mount = VolumeMount(name=name, target="/data", read_only=True)
        assert await lab.runtime.volume(name) is None
        with pytest.raises(Failed) as failure:
            await lab.create(lab.images.steady, volumes=[mount])
        assert failure.value.code == "engine_volume_missing"
        assert await lab.runtime.volume(name) is None

        await lab.runtime.create_volume(name, {LABEL_INSTALLATION: lab.installation})
        await lab.runtime.create_volume(name, {LABEL_INSTALLATION: "somebody else"})
        root = f"{(await lab.runtime.info()).root_dir}/volumes"
        assert await lab.runtime.volume(name) == EngineVolume(
            name=name,
            driver="local",
            mountpoint=f"{root}/{name}/_data",
            labels={LABEL_INSTALLATION: lab.installation},
        )

        container_id = await lab.create(lab.images.steady, volumes=[mount])
        (found,) = (await lab.runtime.inspect(container_id)).mounts
        assert found == Mount(type="volume", source=f"{root}/{name}/_data", target="/data", read_only=True)
        with pytest.raises(Conflict) as conflict:
            await lab.runtime.remove_volume(name)
        assert conflict.value.code == "engine_volume_in_use"

        await lab.runtime.remove(container_id)
        assert await lab.runtime.volume(name) is not None
        await lab.runtime.remove_volume(name)
        await lab.runtime.remove_volume(name)
        assert await lab.runtime.volume(name) is None

    async def test_a_name_that_is_taken_is_an_error(self, lab: Lab) -> None:
        await lab.create(lab.images.steady)
        with pytest.raises(Failed) as failure:
            await lab.create(lab.images.steady)
        assert failure.value.code == "engine_error"

    async def test_a_container_of_an_unknown_image_is_not_found(self, lab: Lab) -> None:
        spec = ContainerSpec(name=f"{lab.installation}-x", image=f"sha256:{'0' * 64}", labels={})
        with pytest.raises(NotFound) as failure:
            await lab.runtime.create(spec)
        assert failure.value.code == "image_unknown"

    async def test_an_unknown_container_is_not_found(self, runtime: ContainerRuntime) -> None:
        for call in (
            lambda: runtime.inspect("nothing"),
            lambda: runtime.start("nothing"),
            lambda: runtime.stop("nothing", 1),
            lambda: runtime.pause("nothing"),
            lambda: runtime.unpause("nothing"),
            lambda: runtime.set_restart_policy("nothing", RestartPolicy.NO),
            lambda: runtime.exec("nothing", HELLO, 1),
            lambda: read_log(runtime.logs("nothing")),
        ):
            with pytest.raises(NotFound) as failure:
                await cast("Awaitable[object]", call())
            assert failure.value.code == "container_unknown"

    async def test_a_started_container_runs_and_writes_into_its_binds(self, lab: Lab, tmp_path: Path) -> None:
        data = tmp_path / "data"
        data.mkdir()
        data.chmod(0o777)
        container_id = await lab.run(lab.images.writing, binds=[Bind(source=str(data), target="/data")])

        async def written() -> bool:
            return (data / "file").exists() and (data / "file").read_text().strip() == "written"

        await eventually(written)
        container = await lab.runtime.inspect(container_id)
        assert (container.state, container.running) == (ContainerState.RUNNING, True)
        assert container.pid > 0
        assert container.started_at > container.created_at

    async def test_starting_what_runs_and_stopping_what_is_stopped_is_fine(self, lab: Lab) -> None:
        container_id = await lab.run(lab.images.steady)
        before = await lab.runtime.inspect(container_id)
        await lab.runtime.start(container_id)
        assert (await lab.runtime.inspect(container_id)).started_at == before.started_at
        first = await lab.runtime.stop(container_id, 10)
        assert first == Exit(code=0)
        assert await lab.runtime.stop(container_id, 10) == first
        container = await lab.runtime.inspect(container_id)
        assert (container.state, container.running, container.exit_code) == (ContainerState.EXITED, False, 0)
        assert container.finished_at > container.started_at

    async def test_what_outlasts_its_grace_is_killed_and_not_called_clean(self, lab: Lab) -> None:
        container_id = await lab.run(lab.images.stubborn)
        stopped = await lab.runtime.stop(container_id, 1)
        assert stopped == Exit(code=137, outlasted=True)
        assert not (await lab.runtime.inspect(container_id)).running

    async def test_stopping_what_was_never_started_is_fine(self, lab: Lab) -> None:
        container_id = await lab.create(lab.images.steady)
        assert await lab.runtime.stop(container_id, 1) == Exit(code=0)

    async def test_what_ends_by_itself_keeps_its_exit_code(self, lab: Lab) -> None:
        container_id = await lab.run(lab.images.failing)
        container = await lab.until(container_id, lambda c: c.state is ContainerState.EXITED)
        assert container.exit_code == 3

    async def test_a_crash_loop_counts_its_restarts_and_can_be_stopped(self, lab: Lab) -> None:
        container_id = await lab.run(lab.images.failing, restart=RestartPolicy.ALWAYS)
        container = await lab.until(container_id, lambda c: c.restart_count >= 2)
        assert container.restart is RestartPolicy.ALWAYS
        await lab.runtime.set_restart_policy(container_id, RestartPolicy.NO)
        await lab.runtime.stop(container_id, 1)
        assert not (await lab.runtime.inspect(container_id)).running

    async def test_a_restart_policy_can_be_changed(self, lab: Lab) -> None:
        container_id = await lab.run(lab.images.steady, restart=RestartPolicy.ALWAYS)
        await lab.runtime.set_restart_policy(container_id, RestartPolicy.NO)
        assert (await lab.runtime.inspect(container_id)).restart is RestartPolicy.NO
        await lab.runtime.set_restart_policy(container_id, RestartPolicy.ON_FAILURE, 4)
        container = await lab.runtime.inspect(container_id)
        assert (container.restart, container.max_retries) == (RestartPolicy.ON_FAILURE, 4)
        await lab.runtime.set_restart_policy(container_id, RestartPolicy.UNLESS_STOPPED, 4)
        container = await lab.runtime.inspect(container_id)
        assert (container.restart, container.max_retries) == (RestartPolicy.UNLESS_STOPPED, 0)

    async def test_a_paused_container_counts_as_running_and_thaws(self, lab: Lab) -> None:
        container_id = await lab.run(lab.images.steady)
        await lab.runtime.pause(container_id)
        await lab.runtime.pause(container_id)
        container = await lab.runtime.inspect(container_id)
        assert (container.state, container.running) == (ContainerState.PAUSED, True)
        await lab.runtime.unpause(container_id)
        await lab.runtime.unpause(container_id)
        assert (await lab.runtime.inspect(container_id)).state is ContainerState.RUNNING

    async def test_a_paused_container_can_be_stopped(self, lab: Lab) -> None:
        container_id = await lab.run(lab.images.steady)
        await lab.runtime.pause(container_id)
        assert await lab.runtime.stop(container_id, 10) == Exit(code=0)
        assert (await lab.runtime.inspect(container_id)).state is ContainerState.EXITED

    async def test_pausing_what_does_not_run_is_an_error(self, lab: Lab) -> None:
        container_id = await lab.create(lab.images.steady)
        with pytest.raises(Failed) as failure:
            await lab.runtime.pause(container_id)
        assert failure.value.code == "engine_error"

    async def test_a_running_container_is_removed_only_by_force(self, lab: Lab) -> None:
        container_id = await lab.run(lab.images.steady)
        with pytest.raises(Failed):
            await lab.runtime.remove(container_id)
        await lab.runtime.remove(container_id, force=True)
        await lab.runtime.remove(container_id, force=True)
        with pytest.raises(NotFound):
            await lab.runtime.inspect(container_id)

    async def test_containers_are_listed_by_label_newest_first_with_the_stopped_ones(self, lab: Lab) -> None:
        first = await lab.create(lab.images.steady, "first", labels={LABEL_WORKLOAD: "one"})
        second = await lab.run(lab.images.steady, "second", labels={LABEL_WORKLOAD: "two"})
        mine = {LABEL_INSTALLATION: lab.installation}
        found = await lab.runtime.containers(mine)
        assert [container.id for container in found] == [second, first]
        assert found[0] == await lab.runtime.inspect(second)
        assert [c.id for c in await lab.runtime.containers({**mine, LABEL_WORKLOAD: "one"})] == [first]
        assert {first, second} <= {c.id for c in await lab.runtime.containers()}
        assert [c.id for c in await lab.runtime.containers(mine, without={LABEL_WORKLOAD: "one"})] == [second]
        others = [c.id for c in await lab.runtime.containers(without={**mine, LABEL_WORKLOAD: "two"})]
        assert first in others
        assert second not in others

    async def test_the_image_s_own_health_check_is_seen(self, lab: Lab) -> None:
        healthy = await lab.run(lab.images.healthy, "healthy")
        unhealthy = await lab.run(lab.images.unhealthy, "unhealthy")
        plain = await lab.run(lab.images.steady, "plain")
        await lab.until(healthy, lambda c: c.health is ImageHealth.HEALTHY)
        await lab.until(unhealthy, lambda c: c.health is ImageHealth.UNHEALTHY)
        assert (await lab.runtime.inspect(plain)).health is ImageHealth.NONE
        listed = {each.id: each.health for each in await lab.runtime.listed({LABEL_INSTALLATION: lab.installation})}
        assert listed == {
            healthy: ImageHealth.HEALTHY,
            unhealthy: ImageHealth.UNHEALTHY,
            plain: ImageHealth.NONE,
        }

    async def test_a_published_port_tells_what_the_engine_chose(self, lab: Lab) -> None:
        container_id = await lab.run(
            lab.images.steady, ports=[Port(container_port=80, host_ip="127.0.0.1"), Port(container_port=81)]
        )
        first, second = (await lab.runtime.inspect(container_id)).ports
        assert (first.container_port, first.host_ip, first.protocol) == (80, "127.0.0.1", "tcp")
        assert second.container_port == 81
        assert first.host_port > 0
        assert second.host_port not in (0, first.host_port)

    async def test_a_host_port_that_is_taken_is_an_error(self, lab: Lab) -> None:
        running = await lab.run(lab.images.steady, ports=[Port(container_port=80, host_ip="127.0.0.1")])
        taken = (await lab.runtime.inspect(running)).ports[0].host_port
        wanted = Port(container_port=80, host_ip="127.0.0.1", host_port=taken)
        other = await lab.create(lab.images.steady, "b", ports=[wanted])
        with pytest.raises(Failed) as failure:
            await lab.runtime.start(other)
        assert failure.value.code == "port_in_use"
        assert failure.value.details["address"] == f"127.0.0.1:{taken}"

    async def test_a_container_on_a_network_has_an_address(self, lab: Lab) -> None:
        network = lab.installation
        await lab.runtime.ensure_network(network, {LABEL_INSTALLATION: lab.installation})
        await lab.runtime.ensure_network(network, {LABEL_INSTALLATION: lab.installation})
        container_id = await lab.run(lab.images.steady, network=network, aliases=["notes"])
        assert (await lab.runtime.inspect(container_id)).ip
        await lab.runtime.remove_network(network)
        assert (await lab.runtime.inspect(container_id)).ip
        await lab.runtime.remove(container_id, force=True)
        await lab.runtime.remove_network(network)
        await lab.runtime.remove_network(network)

    async def test_an_unknown_network_is_an_error(self, lab: Lab) -> None:
        with pytest.raises(Failed):
            await lab.run(lab.images.steady, network=f"{lab.installation}-none")

    async def test_a_container_is_on_more_networks_and_its_address_is_that_on_its_own(self, lab: Lab) -> None:
        own, more = lab.installation, f"a-{lab.installation}"  # before its own in any order of names
        for network in (own, more):
            await lab.runtime.ensure_network(network, {LABEL_INSTALLATION: lab.installation})
        alone = await lab.run(lab.images.steady, "alone", network=own)
        both = await lab.run(lab.images.steady, "both", network=own, more_networks=[more], aliases=["notes"])
        assert [await lab.runtime.has_network(name) for name in (more, f"{more}-none")] == [True, False]
        first, second = [(await lab.runtime.inspect(each)).ip for each in (alone, both)]
        assert first.rpartition(".")[0] == second.rpartition(".")[0] != ""
        with pytest.raises(Failed):
            await lab.create(lab.images.steady, "c", network=own, more_networks=[f"{more}-none"])
        assert len(await lab.runtime.containers({LABEL_INSTALLATION: lab.installation})) == 2, "nothing half made stays"
        for each in (alone, both):
            await lab.runtime.remove(each, force=True)
        for network in (own, more):
            await lab.runtime.remove_network(network)

    async def test_logs_come_in_order_with_time_and_stream(self, lab: Lab) -> None:
        container_id = await lab.run(lab.images.printing)
        await lab.until_printed(container_id, "three")
        ready, *lines = await read_log(lab.runtime.logs(container_id))
        assert ready.text == "ready"
        assert [(line.stream, line.text) for line in lines] == [
            ("stdout", "one"),
            ("stderr", "two"),
            ("stdout", "three"),
        ]
        assert [line.at for line in lines] == sorted(line.at for line in lines)
        assert [line.text for line in await read_log(lab.runtime.logs(container_id, tail=1))] == ["three"]
        since = await read_log(lab.runtime.logs(container_id, since=lines[1].at))
        assert [line.text for line in since] == ["two", "three"]

    async def test_followed_logs_end_with_the_container(self, lab: Lab) -> None:
        container_id = await lab.run(lab.images.printing)
        reading = asyncio.create_task(read_log(lab.runtime.logs(container_id, follow=True)))
        await lab.runtime.stop(container_id, 10)
        assert (await reading)[0].text == "ready"

    async def test_followed_logs_can_be_left(self, lab: Lab) -> None:
        container_id = await lab.run(lab.images.printing)
        logs = cast("Any", lab.runtime.logs(container_id, follow=True))
        async with asyncio.timeout(PATIENCE), aclosing(logs):
            assert (await anext(logs)).text == "ready"

    async def test_a_command_gives_its_output_and_its_exit_code(self, lab: Lab) -> None:
        container_id = await lab.run(lab.images.steady)
        hello = await lab.runtime.exec(container_id, HELLO, PATIENCE)
        assert (hello.code, hello.output) == (0, "hello\n")
        assert (await lab.runtime.exec(container_id, FAILING, PATIENCE)).code == 1
        assert (await lab.runtime.exec(container_id, UNKNOWN, PATIENCE)).code in (126, 127)

    async def test_a_command_that_hangs_is_ended(self, lab: Lab) -> None:
        container_id = await lab.run(lab.images.steady)
        with pytest.raises(Failed) as failure:
            await lab.runtime.exec(container_id, HANGING, 0.3)
        assert failure.value.code == "exec_timeout"
        assert (await lab.runtime.exec(container_id, HELLO, PATIENCE)).code == 0

    async def test_a_command_runs_as_the_container_s_own_user(self, lab: Lab, tmp_path: Path) -> None:
        data = tmp_path / "data"
        data.mkdir()
        data.chmod(0o777)
        container_id = await lab.run(lab.images.writing, binds=[Bind(source=str(data), target="/data")])
        assert (await lab.runtime.exec(container_id, WHO, PATIENCE)).output == "1000\n"

    async def test_a_command_s_id_is_told_before_it_starts_and_an_error_keeps_it_from_starting(self, lab: Lab) -> None:
        container_id = await lab.run(lab.images.steady)

        async def refuse(exec_id: str) -> None:
            assert exec_id
            assert (await lab.runtime.exec(container_id, MARKED, PATIENCE)).code == 1
            raise LookupError

        with pytest.raises(LookupError):
            await lab.runtime.exec(container_id, MARK, PATIENCE, on_made=refuse)
        assert (await lab.runtime.exec(container_id, MARKED, PATIENCE)).code == 1

    async def test_a_command_can_be_ended_by_its_id(self, lab: Lab) -> None:
        container_id = await lab.run(lab.images.steady)
        made: list[str] = []

        async def note(exec_id: str) -> None:
            made.append(exec_id)

        command = asyncio.create_task(lab.runtime.exec(container_id, HANGING, PATIENCE, on_made=note))

        async def ended() -> bool:
            return bool(made) and await lab.runtime.end_exec(container_id, made[0]) and command.done()

        await eventually(ended)
        assert (await command).code == 137
        assert await lab.runtime.end_exec(container_id, made[0])

    async def test_a_command_that_is_gone_with_its_container_counts_as_ended(self, lab: Lab) -> None:
        container_id = await lab.run(lab.images.steady)
        assert await lab.runtime.end_exec(container_id, "0" * 64)
        await lab.runtime.remove(container_id, force=True)
        assert await lab.runtime.end_exec(container_id, "0" * 64)

    async def test_a_command_needs_a_running_container(self, lab: Lab) -> None:
        container_id = await lab.create(lab.images.steady)
        with pytest.raises(Failed) as failure:
            await lab.runtime.exec(container_id, HELLO, PATIENCE)
        assert failure.value.code == "engine_error"

    async def test_what_running_containers_use_is_counted_from_their_start(self, lab: Lab) -> None:
        running = await lab.run(lab.images.steady, labels={LABEL_WORKLOAD: "a"})
        stopped = await lab.run(lab.images.steady, "b")
        await lab.runtime.stop(stopped, 10)
        (first,) = await lab.runtime.usage({LABEL_INSTALLATION: lab.installation})
        assert (first.container_id, first.labels[LABEL_WORKLOAD]) == (running, "a")
        assert first.totals.cpu > 0
        assert first.totals.memory > 0
        (second,) = await lab.runtime.usage({LABEL_INSTALLATION: lab.installation, LABEL_WORKLOAD: "a"})
        assert second.totals.at > first.totals.at
        assert second.totals.cpu >= first.totals.cpu
        assert await lab.runtime.usage({LABEL_INSTALLATION: "another"}) == []

    async def test_events_tell_of_starts_and_ends_from_the_call_on(self, lab: Lab) -> None:
        container_id = await lab.create(lab.images.steady)
        events = lab.runtime.events()
        await lab.runtime.start(container_id)
        await lab.runtime.stop(container_id, 10)
        await lab.runtime.remove(container_id)
        seen: list[ContainerEvent] = []
        async with asyncio.timeout(PATIENCE), aclosing(cast("Any", events)):
            async for event in events:
                if event.container_id == container_id:
                    seen.append(event)
                if event.action == "destroy" and event.container_id == container_id:
                    break
        actions = [event.action for event in seen]
        assert [action for action in actions if action in ("create", "start", "die", "destroy")] == [
            "start",
            "die",
            "destroy",
        ]
        assert all(event.labels[LABEL_INSTALLATION] == lab.installation for event in seen)
        assert all(event.at for event in seen)

    async def test_a_container_is_told_of_in_the_engine_s_own_words(self, lab: Lab, tmp_path: Path) -> None:
        container_id = await lab.create(
            lab.images.writing,
            env={"TZ": "UTC"},
            ports=(Port(container_port=80, host_port=18080, host_ip="127.0.0.1"),),
            binds=(Bind(source=str(tmp_path), target="/data", read_only=True),),
            restart=RestartPolicy.ALWAYS,
        )
        seen = await lab.runtime.inspection(container_id)
        foreign = ForeignContainer(container=seen.container, image=seen.image)
        (proposed,) = propose_containers([foreign], project=None, volumes={}, files=()).containers
        document = proposed.workload.document
        assert foreign.id == container_id
        assert {key: document[key] for key in ("env", "ports", "volumes", "restart")} == {
            "env": {"TZ": "UTC"},
            "ports": ["127.0.0.1:18080:80"],
            "volumes": [{"target": "/data", "scope": "absolute", "source": str(tmp_path), "read_only": True}],
            "restart": "always",
        }
        assert "user" not in document
        assert [finding for finding in proposed.workload.findings if finding.kind is FindingKind.LEFT_OUT] == []
