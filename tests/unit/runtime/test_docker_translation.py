"""What the Docker adapter asks for and understands, without an engine."""

from __future__ import annotations

from typing import Any

import pytest
from aiodocker import DockerError

from holdfast.domain.errors import Failed, NotFound
from holdfast.domain.metrics import Totals
from holdfast.domain.workload import Port, RestartPolicy
from holdfast.runtime import docker_spec, docker_view
from holdfast.runtime.docker_client import refused, unknown_container
from holdfast.runtime.port import Bind, ContainerSpec, ContainerState, ContainerUsage, ImageHealth, Tmpfs


def spec(**facts: Any) -> ContainerSpec:
    return ContainerSpec(**{"name": "a", "image": "sha256:1", "labels": {}, **facts})


def container(**state: Any) -> dict[str, Any]:
    return {"Id": "1", "Name": "/a", "Image": "sha256:1", "State": {"Status": "running", "ExitCode": 0, **state}}


def test_host_directories_are_mounts_and_never_binds() -> None:
    host = docker_spec.create_body(
        spec(binds=[Bind(source="/srv/a", target="/data")], tmpfs=[Tmpfs(target="/cache", size=5), Tmpfs(target="/b")])
    )["HostConfig"]
    assert "Binds" not in host
    assert host["Mounts"] == [
        {"Type": "bind", "Source": "/srv/a", "Target": "/data", "ReadOnly": False},
        {"Type": "tmpfs", "Target": "/cache", "TmpfsOptions": {"SizeBytes": 5}},
        {"Type": "tmpfs", "Target": "/b"},
    ]


def test_what_is_not_asked_for_is_left_to_the_image() -> None:
    body = docker_spec.create_body(spec())
    assert {"Cmd", "Entrypoint", "User", "StopSignal", "NetworkingConfig"}.isdisjoint(body)
    assert {"Memory", "NanoCpus", "NetworkMode"}.isdisjoint(body["HostConfig"])
    assert docker_spec.create_body(spec(entrypoint=[]))["Entrypoint"] == []


@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_a_log_in_files_is_bounded_in_all(driver: str) -> None:
    (config,) = docker_spec.log_config(driver, 3000).values()
    assert config == {"Type": driver, "Config": {"max-size": "1000", "max-file": "3"}}
    assert docker_spec.log_config(driver, 1)["LogConfig"]["Config"]["max-size"] == "1"


@pytest.mark.parametrize("driver", ["journald", "none", "fluentd", ""])
def test_a_log_that_the_engine_sends_elsewhere_is_not_its_own_to_bound(driver: str) -> None:
    assert docker_spec.log_config(driver, 3000) == {}


def test_a_grace_is_rounded_up_to_whole_seconds() -> None:
    assert docker_spec.create_body(spec(stop_grace=1.2))["StopTimeout"] == 2


def test_two_host_addresses_of_one_port_are_both_asked_for() -> None:
    ports = [Port(container_port=80, host_ip="127.0.0.1", host_port=8080), Port(container_port=80, host_ip="10.0.0.1")]
    assert docker_spec.create_body(spec(ports=ports))["HostConfig"]["PortBindings"] == {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}, {"HostIp": "10.0.0.1", "HostPort": ""}]
    }


@pytest.mark.parametrize("policy", RestartPolicy)
def test_retries_belong_to_on_failure_only(policy: RestartPolicy) -> None:
    retries = docker_spec.restart_policy(policy, 3)["MaximumRetryCount"]
    assert retries == (3 if policy is RestartPolicy.ON_FAILURE else 0)


def test_a_container_of_an_engine_that_says_little_is_understood() -> None:
    found = docker_view.container(container())
    assert (found.name, found.state, found.restart) == ("a", ContainerState.RUNNING, RestartPolicy.NO)
    assert (found.mounts, found.ports, found.ip, found.health) == ((), (), "", ImageHealth.NONE)


def test_mounts_are_told_in_one_order_however_the_engine_lists_them() -> None:
    listed = [{"Type": "tmpfs", "Destination": "/b"}, {"Type": "bind", "Source": "/srv/a", "Destination": "/a"}]
    there, back = (docker_view.container({**container(), "Mounts": mounts}) for mounts in (listed, listed[::-1]))
    assert there == back
    assert [mount.target for mount in there.mounts] == ["/a", "/b"]


def test_fields_that_a_later_engine_adds_are_passed_over() -> None:
    answer = {**container(Health={"Status": "healthy", "New": 1}, Novel=True), "Fresh": {}, "HostConfig": {"Novel": 1}}
    assert docker_view.container(answer).health is ImageHealth.HEALTHY


@pytest.mark.parametrize(("status", "code"), [("created", None), ("running", None), ("exited", 7), ("restarting", 7)])
def test_an_exit_code_is_known_only_after_an_end(status: str, code: int | None) -> None:
    assert docker_view.container(container(Status=status, ExitCode=7)).exit_code == code


def test_a_port_that_is_listed_for_both_internet_protocols_counts_once() -> None:
    published = {
        "80/tcp": [{"HostIp": "::", "HostPort": "8080"}, {"HostIp": "0.0.0.0", "HostPort": "8080"}],
        "9/udp": None,
    }
    answer = {**container(), "NetworkSettings": {"Ports": published}}
    assert docker_view.container(answer).ports == (Port(container_port=80, host_port=8080, host_ip="0.0.0.0"),)


def test_a_stopped_container_has_no_address() -> None:
    network = {"Networks": {"none": None, "home": {"IPAddress": "10.1.2.3"}}}
    assert docker_view.container({**container(), "NetworkSettings": network}).ip == "10.1.2.3"
    assert docker_view.container({**container(Status="exited"), "NetworkSettings": network}).ip == ""


@pytest.mark.parametrize(
    ("check", "has"), [(None, False), ({}, False), ({"Test": ["NONE"]}, False), ({"Test": ["CMD", "true"]}, True)]
)
def test_a_disabled_health_check_is_none(check: dict[str, Any] | None, has: bool) -> None:
    assert docker_view.image({"Id": "sha256:1", "Config": {"Healthcheck": check}}).has_healthcheck is has


def test_an_image_says_what_processor_it_is_made_for() -> None:
    assert docker_view.image({"Id": "sha256:1", "Architecture": "arm64"}).architecture == "arm64"
    assert not docker_view.image({"Id": "sha256:1"}).architecture


def test_commands_inside_are_no_events_of_the_container() -> None:
    assert docker_view.event({"Action": "exec_start: sh", "Actor": {"ID": "1"}}) is None
    event = docker_view.event(
        {"Action": "die", "Actor": {"ID": "1", "Attributes": {"a": "b"}}, "timeNano": 1_000_000_005}
    )
    assert event is not None
    assert (event.action, event.labels, event.at) == ("die", {"a": "b"}, "1970-01-01T00:00:01.000000005Z")


@pytest.mark.parametrize(
    ("at", "unix"),
    [
        ("1970-01-01T00:00:01.000000005Z", "1.000000005"),
        ("1970-01-01T00:00:01Z", "1.000000000"),
        ("1970-01-01T01:00:01.5+01:00", "1.500000000"),
    ],
)
def test_no_digit_of_a_time_is_lost(at: str, unix: str) -> None:
    assert docker_view.unix_time(at) == unix


def test_a_refusal_keeps_the_engine_s_own_words() -> None:
    error = refused(DockerError(500, "driver failed: address in use"), unknown_container("1"))
    assert isinstance(error, Failed)
    assert (error.code, "address in use" in error.message) == ("engine_error", True)


def test_only_what_was_asked_about_is_not_found() -> None:
    assert isinstance(refused(DockerError(404, "No such container: 1"), unknown_container("1")), NotFound)
    assert isinstance(refused(DockerError(404, "network home not found"), unknown_container("1")), Failed)


def test_a_missing_mount_source_is_named() -> None:
    error = refused(DockerError(400, 'invalid mount config for type "bind": bind source path does not exist: /srv/a b'))
    assert (error.code, error.details["path"]) == ("bind_source_missing", "/srv/a b")


@pytest.mark.parametrize(
    ("words", "address"),
    [
        ("on endpoint a (9f): Bind for 127.0.0.1:8080 failed: port is already allocated", "127.0.0.1:8080"),
        ("Error starting userland proxy: listen tcp4 0.0.0.0:80: bind: address already in use", "0.0.0.0:80"),
        ("failed to bind host port for 0.0.0.0:80:172.17.0.2:8080/tcp: address already in use", "0.0.0.0:80"),
        ("failed to bind host port [::1]:80/tcp: address already in use", "[::1]:80"),
    ],
)
def test_a_host_port_that_somebody_else_has_is_named_whatever_the_engine_calls_it(words: str, address: str) -> None:
    error = refused(DockerError(500, f"driver failed programming external connectivity {words}"))
    assert (error.code, error.details["address"]) == ("port_in_use", address)


@pytest.mark.parametrize("name", ["total_inactive_file", "inactive_file"])
def test_what_a_container_uses_is_told_without_what_the_kernel_only_keeps_of_files(name: str) -> None:
    answer = {
        "cpu_stats": {"cpu_usage": {"total_usage": 2_500_999_999}},
        "memory_stats": {"usage": 1000, "stats": {name: 300, "cache": 500}},
        "networks": {"eth0": {"rx_bytes": 5, "tx_bytes": 1}, "eth1": {"rx_bytes": 7, "tx_bytes": 2}},
    }
    usage = docker_view.usage("1", {"a": "b"}, answer, 9.0)
    assert usage == ContainerUsage(
        container_id="1", labels={"a": "b"}, totals=Totals(at=9.0, cpu=2500, memory=700, received=12, sent=3)
    )
    assert docker_view.usage("1", {}, answer | {"memory_stats": {"usage": 200, "stats": {name: 300}}}, 9.0) is not None


def test_of_a_container_that_does_not_run_nothing_is_counted() -> None:
    empty = {"read": "0001-01-01T00:00:00Z", "cpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {}}
    assert docker_view.usage("1", {}, empty, 9.0) is None
    assert docker_view.usage("1", {}, {}, 9.0) is None
