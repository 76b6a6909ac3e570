"""Compose files as proposals: what is carried over, and that all else is named."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.domain.compose import ComposeFile, ComposeProposal, propose
from holdfast.domain.compose_findings import Finding, FindingKind
from holdfast.domain.errors import InvalidInput, TooLarge


def proposed(content: Any, **more: Any) -> ComposeProposal:
    given: dict[str, Any] = {"folder": "home", "directory": "/srv/home", "variables": {}, "env_files": {}}
    return propose(ComposeFile(content=content, **(given | more)))


def one(service: dict[str, Any], **more: Any) -> tuple[dict[str, Any], tuple[Finding, ...]]:
    """The declaration of a service that is alone, and what there is to say about it."""
    given: dict[str, Any] = {"image": "notes:1", "restart": "always"}
    top = {"volumes": more.pop("volumes", {})}
    [workload] = proposed({"services": {"web": given | service}} | top, **more).workloads
    return workload.document, workload.findings


def said(findings: tuple[Finding, ...], kind: FindingKind | None = None) -> dict[str, str]:
    return {f.path: f"{f.message} {f.next_step}" for f in findings if kind is None or f.kind is kind}


@pytest.mark.parametrize(
    ("service", "key", "value"),
    [
        ({"command": "serve --name 'a b'"}, "command", ["serve", "--name", "a b"]),
        ({"command": ["serve", 80]}, "command", ["serve", "80"]),
        ({"entrypoint": "/cron.sh"}, "entrypoint", ["/cron.sh"]),
        ({"entrypoint": []}, "entrypoint", []),
        ({"entrypoint": ""}, "entrypoint", []),
        ({"user": 1000}, "user", "1000"),
        ({"stop_signal": "SIGINT"}, "stop_signal", "SIGINT"),
        ({"stop_grace_period": "1m30s"}, "stop_grace", 90),
        ({"stop_grace_period": "500ms"}, "stop_grace", 0.5),
        ({"labels": ["a=b", "c"]}, "labels", {"a": "b", "c": ""}),
        ({"labels": {"a": 1, "b": True}}, "labels", {"a": "1", "b": "true"}),
        ({"restart": "no"}, "restart", "no"),
        ({"restart": False}, "restart", "no"),
        ({"restart": "unless-stopped"}, "restart", "unless-stopped"),
        ({"restart": None, "deploy": {"restart_policy": {"condition": "any"}}}, "restart", "always"),
        ({"restart": None, "deploy": {"restart_policy": {"condition": "none"}}}, "restart", "no"),
        ({"mem_limit": "512m", "cpus": 0.5}, "resources", {"memory": "512MiB", "cpus": 0.5}),
        (
            {"mem_limit": "1g", "deploy": {"resources": {"limits": {"memory": "50MB", "cpus": "2"}}}},
            "resources",
            {"memory": "50MiB", "cpus": 2},
        ),
        ({"mem_limit": 6291457}, "resources", {"memory": 6291457}),
        ({"deploy": {"replicas": 3}}, "max_instances", 3),
        ({"scale": 2}, "max_instances", 2),
        ({"environment": ["A=b=c", "B="]}, "env", {"A": "b=c", "B": ""}),
        ({"environment": {"A": 1.5, "B": 2, "C": True, "D": ""}}, "env", {"A": "1.5", "B": "2", "C": "true", "D": ""}),
        ({"tmpfs": "/run"}, "volumes", [{"target": "/run", "scope": "ephemeral"}]),
        ({"tmpfs": ["/run:size=64m"]}, "volumes", [{"target": "/run", "scope": "ephemeral", "size": "64MiB"}]),
    ],
)
def test_what_a_workload_has_a_place_for_is_carried_over_whole(
    service: dict[str, Any], key: str, value: object
) -> None:
    document, findings = one(service)
    assert document[key] == value
    assert findings == ()


@pytest.mark.parametrize(
    ("entry", "ports"),
    [
        ("80", ["80"]),
        (80, ["80"]),
        ("8080:80", ["8080:80"]),
        ("8080:80/udp", ["8080:80/udp"]),
        ("127.0.0.1:8080:80", ["127.0.0.1:8080:80"]),
        ("127.0.0.1::80", ["127.0.0.1::80"]),
        ("[::1]:8080:80", ["[::1]:8080:80"]),
        ("::1:8080:80", ["[::1]:8080:80"]),
        ("3000-3002", ["3000", "3001", "3002"]),
        ("9090-9091:8080-8081", ["9090:8080", "9091:8081"]),
        ({"target": 80}, ["80"]),
        ({"target": 80, "published": "8080", "protocol": "udp", "mode": "host"}, ["8080:80/udp"]),
        ({"target": "80", "published": 8080, "host_ip": "::1"}, ["[::1]:8080:80"]),
    ],
)
def test_ports_of_every_form_are_one_an_entry(entry: object, ports: list[str]) -> None:
    document, findings = one({"ports": [entry]})
    assert document["ports"] == ports
    assert findings == ()


def test_ports_that_can_not_be_paired_or_counted_are_named() -> None:
    document, findings = one({"ports": ["8000-8009:80", "1-9:1-3", "1000-1999", "http", {"published": 1}, True]})
    assert document["ports"] == ["8000:80"]
    assert [(f.kind, f.path) for f in findings] == [
        (FindingKind.NOTE, "services.web.ports[0]"),
        *((FindingKind.LEFT_OUT, f"services.web.ports[{index}]") for index in range(1, 6)),
    ]


@pytest.mark.parametrize(
    ("check", "health"),
    [
        ({"test": ["NONE"]}, {"type": "none"}),
        ({"disable": True, "test": "x"}, {"type": "none"}),
        ({"test": ["CMD", "pg_isready"]}, {"type": "command", "command": ["pg_isready"]}),
        ({"test": ["CMD-SHELL", "a || b"]}, {"type": "command", "command": ["/bin/sh", "-c", "a || b"]}),
        ({"test": "curl localhost"}, {"type": "command", "command": ["/bin/sh", "-c", "curl localhost"]}),
    ],
)
def test_health_checks_become_commands(check: dict[str, Any], health: dict[str, Any]) -> None:
    document, findings = one({"healthcheck": check})
    assert document["health"] == health
    assert findings == ()


def test_a_deployment_waits_as_long_as_compose_would_and_says_so() -> None:
    check = {
        "test": "x",
        "interval": "10s",
        "timeout": "5s",
        "retries": 5,
        "start_period": "1m",
        "start_interval": "2s",
    }
    document, findings = one({"healthcheck": check})
    assert document["health"] | {"command": []} == {
        "type": "command",
        "command": [],
        "interval": 2,
        "timeout": 5,
        "deadline": 135,
    }
    assert "2 min 15 s" in said(findings)["services.web.healthcheck"]
    huge = {"test": "x", "interval": "9h", "timeout": "9h", "retries": 99999}
    bounded = one({"healthcheck": huge})[0]["health"]
    assert (bounded["interval"], bounded["timeout"], bounded["deadline"]) == (300, 300, 3600)
    assert one({"healthcheck": {"interval": "5s"}})[0]["health"] == {"type": "docker"}


def test_volumes_get_the_scope_of_who_uses_them() -> None:
    volumes = ["own:/own", "both:/both:ro", "./data/../files:/files/", "~/home:/home:rw", "/srv/x:/x", "/anonymous/it"]
    proposal = proposed(
        {
            "services": {
                "web": {"image": "web", "volumes": volumes},
                "cron": {"image": "cron", "volumes": [{"type": "volume", "source": "both", "target": "/both"}]},
            },
            "volumes": {"own": None, "both": {}},
        },
        variables={"HOME": "/home/ann"},
    )
    web, cron = (workload.document for workload in proposal.workloads)
    assert web["volumes"] == [
        {"target": "/own", "scope": "named", "source": "own"},
        {"target": "/both", "scope": "project_named", "source": "both", "read_only": True},
        {"target": "/files", "scope": "absolute", "source": "/srv/home/files"},
        {"target": "/home", "scope": "absolute", "source": "/home/ann/home"},
        {"target": "/x", "scope": "absolute", "source": "/srv/x"},
        {"target": "/anonymous/it", "scope": "named", "source": "anonymous-it"},
    ]
    assert cron["volumes"] == [{"target": "/both", "scope": "project_named", "source": "both"}]
    told = said(proposal.workloads[0].findings, FindingKind.NOTE)
    assert "home_own" in told["services.web.volumes[0]"]
    assert "allowed_roots" in told["services.web.volumes[2]"]


@pytest.mark.parametrize(
    ("volume", "declared", "word"),
    [
        ("data:/data", {"data": {"external": True}}, "external"),
        ("data:/data", {"data": {"driver": "nfs"}}, "driver nfs"),
        ("data:/data", {"data": {"driver_opts": {"type": "nfs"}}}, "options of its driver"),
        ("/var/run/docker.sock:/var/run/docker.sock", {}, "single file or socket"),
        ("./nginx.conf:/etc/nginx/nginx.conf:ro", {}, "single file or socket"),
        ("/etc/localtime:/etc/localtime:ro", {}, "TZ"),
        ({"type": "npipe", "source": "x", "target": "/x"}, {}, "type npipe"),
        ({"type": "volume", "source": "data", "target": "/x", "volume": {"subpath": "a"}}, {"data": {}}, "part of"),
        ({"type": "volume", "source": "data"}, {"data": {}}, "no volume that can be read"),
        ("a:b:c:d", {}, "no volume that can be read"),
        (7, {}, "no volume that can be read"),
    ],
)
def test_volumes_that_can_not_be_kept_safe_are_left_out_and_named(
    volume: object, declared: dict[str, Any], word: str
) -> None:
    document, findings = one({"volumes": [volume]}, volumes=declared)
    assert "volumes" not in document
    left_out = [f for f in findings if f.kind is FindingKind.LEFT_OUT and f.path == "services.web.volumes[0]"]
    assert any(word in f"{f.message} {f.next_step}" for f in left_out)


def test_a_relative_path_to_what_is_not_known_is_left_out() -> None:
    document, findings = one({"volumes": ["./data:/data", "~/x:/x"]}, directory="")
    assert "volumes" not in document
    assert {f.kind for f in findings} == {FindingKind.LEFT_OUT}


def test_directories_that_two_workloads_share_are_named_since_apply_refuses_them() -> None:
    services = {name: {"image": name, "volumes": [f"{path}:/data"]} for name, path in (("a", "./x"), ("b", "./x/y"))}
    assert "scope project" in said(proposed({"services": services}).findings)["services.b.volumes"]


def test_options_of_a_mount_and_a_second_mount_of_one_volume_are_named() -> None:
    document, findings = one({"volumes": ["data:/a:z,nocopy", "data:/b"]}, volumes={"data": None})
    assert [volume["target"] for volume in document["volumes"]] == ["/a"]
    told = said(findings, FindingKind.LEFT_OUT)
    assert "option z" in told["services.web.volumes[0]"]
    assert "second time" in told["services.web.volumes"]


def test_secrets_are_named_and_their_values_stand_nowhere() -> None:
    service = {
        "environment": {
            "DB_PASSWORD": "sesame",
            "URL": "postgres://u:sesame@db",
            "DSN": "user:${DB_PASS}@db",
            "API_KEY": None,
            "EMPTY_TOKEN": "",
            "PLAIN": "x",
        },
        "env_file": ["more.env"],
    }
    document, findings = one(
        service,
        variables={"DB_PASS": "sesame", "API_KEY": "sesame"},
        env_files={"more.env": {"SMTP_PASSWORD": "sesame", "PLAIN": "overridden", "OTHER": "y"}},
    )
    assert document["env"] == {"PLAIN": "x", "OTHER": "y", "EMPTY_TOKEN": ""}
    assert document["secrets"] == ["SMTP_PASSWORD", "DB_PASSWORD", "URL", "DSN", "API_KEY"]
    assert "sesame" not in f"{document} {findings}"
    assert "holdfast secret set web DB_PASSWORD" in said(findings)["services.web.environment.DB_PASSWORD"]


def test_a_secret_outside_of_the_environment_is_pointed_at() -> None:
    document, findings = one({"command": "serve --password ${DB_PASSWORD}"}, variables={"DB_PASSWORD": "sesame"})
    assert document["command"] == ["serve", "--password", "sesame"]
    assert "DB_PASSWORD" in said(findings)["services.web.command"]
    assert "sesame" not in str(findings)


def test_env_files_count_in_order_and_one_that_was_not_sent_is_named() -> None:
    service = {"env_file": ["a.env", {"path": "${WHICH}.env", "required": False}, "gone.env"]}
    proposal = proposed(
        {"services": {"web": {"image": "x", "restart": "no"} | service}},
        variables={"WHICH": "b"},
        env_files={"a.env": {"X": "1", "Y": "1"}, "b.env": {"X": "2", "Z": "a$b"}},
    )
    [workload] = proposal.workloads
    assert workload.document["env"] == {"X": "2", "Y": "1", "Z": "a$b"}
    assert [(f.written, f.path, f.required) for f in proposal.env_files] == [
        ("a.env", "a.env", True),
        ("${WHICH}.env", "b.env", False),
        ("gone.env", "gone.env", True),
    ]
    assert "holdfast env import web" in said(workload.findings, FindingKind.LEFT_OUT)["services.web.env_file[2]"]
    assert "holds a $" in said(workload.findings)["services.web.env_file[1]"]


def test_every_other_key_is_named_with_a_reason_and_a_next_step() -> None:
    service = {
        "build": ".",
        "depends_on": ["db"],
        "privileged": True,
        "no_such_key": 1,
        "x-mine": 1,
        "deploy": {"placement": {}, "resources": {"reservations": {}, "limits": {"pids": 1}}, "x-mine": 1},
        "healthcheck": {"test": "x", "odd": 1},
        "ports": [{"target": 80, "app_protocol": "http"}],
        "restart": "on-failure:3",
    }
    content = {
        "services": {"web": service},
        "version": "3",
        "x-mine": {"y": "$"},
        "networks": {"a": {"external": True}},
        "include": ["other.yaml"],
        "odd": 1,
        "volumes": {"data": {"labels": {}}},
    }
    proposal = proposed(content)
    everything = (*proposal.workloads[0].findings, *proposal.findings)
    left_out = [finding for finding in everything if finding.kind is FindingKind.LEFT_OUT]
    assert {finding.path for finding in left_out} == {
        *(f"services.web.{key}" for key in ("build", "depends_on", "privileged", "no_such_key", "restart")),
        *(f"services.web.deploy.{key}" for key in ("placement", "resources.reservations", "resources.limits.pids")),
        *("services.web.healthcheck.odd", "services.web.ports[0].app_protocol"),
        *("networks", "include", "odd", "volumes.data.labels"),
    }
    assert all(finding.message and finding.next_step for finding in everything)
    assert proposal.workloads[0].document["source"] == {"type": "image"}


@pytest.mark.parametrize(
    "service",
    [
        {"ports": "80"},
        {"volumes": "x"},
        {"environment": 7},
        {"environment": ["A=1", {}]},
        {"environment": {"A": []}},
        {"labels": {"a": []}},
        {"command": {"a": 1}},
        {"command": [["x"]]},
        {"command": "a 'b"},
        {"command": "a " * 1001},
        {"user": True},
        {"stop_grace_period": "soon"},
        {"restart": "sometimes"},
        {"restart": []},
        {"deploy": []},
        {"deploy": {"replicas": "many"}},
        {"mem_limit": "much"},
        {"cpus": "nan"},
        {"healthcheck": []},
        {"healthcheck": {"test": []}},
        {"healthcheck": {"test": "x", "interval": "soon", "retries": -1}},
        {"tmpfs": [7]},
        {"env_file": [7]},
    ],
)
def test_what_has_the_wrong_type_is_named_and_the_rest_is_proposed(service: dict[str, Any]) -> None:
    document, findings = one(service)
    key = next(iter(service))
    assert any(f.kind is FindingKind.LEFT_OUT and f.path.startswith(f"services.web.{key}") for f in findings)
    assert document["source"] == {"type": "image", "image": "notes:1"}


def test_names_that_no_workload_can_have_are_made_valid_and_kept_apart() -> None:
    services = {name: {"image": "x"} for name in ("My_App", "my-app", "my.app", "_", "01jzzzzzzzzzzzzzzzzzzzzzz0")}
    proposal = proposed({"services": services}, folder="My Home!")
    assert proposal.project == "my-home"
    assert [workload.name for workload in proposal.workloads] == [
        "my-app-2",
        "my-app",
        "my-app-3",
        "service",
        "workload-01jzzzzzzzzzzzzzzzzzzzzzz0",
    ]
    assert "My_App" in said(proposal.workloads[0].findings)["services.My_App"]
    assert proposed({"name": "given", "services": services}).project == "given"


def test_a_missing_restart_is_what_compose_means_by_it() -> None:
    document, findings = one({"restart": None})
    assert document["restart"] == "no"
    assert "unless-stopped" in said(findings, FindingKind.NOTE)["services.web.restart"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ([], "compose_malformed"),
        ("text", "compose_malformed"),
        ({"services": []}, "compose_malformed"),
        ({"services": {"web": None}}, "compose_malformed"),
        ({"services": {"web": {"image": "x"}}, "volumes": []}, "compose_malformed"),
        ({"services": {"web": {"image": "\ud800"}}}, "compose_malformed"),
        ({"services": {"\ud800": {"image": "x"}}}, "compose_malformed"),
        ({}, "compose_without_services"),
        ({"services": {}}, "compose_without_services"),
        ({"services": None}, "compose_without_services"),
        ({"services": {"web": {"image": "${X:?}"}}}, "compose_variable_missing"),
        ({"services": {"web": {"image": "${"}}}, "compose_variable_malformed"),
    ],
)
def test_what_is_no_compose_file_is_refused(content: object, code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        proposed(content)
    assert caught.value.code == code
    assert caught.value.next_step


def test_what_a_file_comes_to_has_bounds() -> None:
    with pytest.raises(TooLarge) as caught:
        proposed({"services": {f"s{index}": {"image": "x"} for index in range(101)}})
    assert caught.value.code == "compose_too_many_services"
    services = {f"s{index}": {"image": "x", "env_file": "a.env"} for index in range(20)}
    with pytest.raises(TooLarge) as caught:
        proposed({"services": services}, env_files={"a.env": {"A": "x" * 100_000}})
    assert caught.value.code == "compose_too_large"
