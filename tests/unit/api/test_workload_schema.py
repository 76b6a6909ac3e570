from __future__ import annotations

import json
import time
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.api.schemas import workload_reference
from holdfast.api.schemas.document_bounds import MAX_BYTES
from holdfast.api.schemas.workload import json_schema, parse_workload_json, parse_workload_yaml, to_document
from holdfast.api.schemas.workload_values import format_port, parse_domain, parse_port
from holdfast.domain.environment import SecretRef
from holdfast.domain.errors import InvalidInput, TooLarge
from holdfast.domain.retention import Keep
from holdfast.domain.schedule import OnMissed
from holdfast.domain.workload import (
    DEPLOYABLE_SCOPES,
    Domain,
    HealthCheck,
    HealthType,
    Hooks,
    Port,
    Quiesce,
    Resources,
    RestartPolicy,
    RevertData,
    Scope,
    SnapshotPolicy,
    SourceWish,
    Strategy,
    UpdatePolicy,
    Volume,
    WorkloadSpec,
)

NESTED: Any = "deep"
for _ in range(100):
    NESTED = [NESTED]
MINIMAL: dict[str, Any] = {"name": "notes", "source": {"type": "image", "image": "registry.example/notes:1.4"}}

FULL = """
name: notes
project: home
stage: test
source: {type: image, image: registry.example/notes:1.4}
env: {TZ: UTC, A: ""}
labels: {tier: web}
command: [serve, --port, "80"]
entrypoint: []
user: 1000
stop_signal: SIGINT
stop_grace: 1m30s
ports: ["127.0.0.1:8080:80", 9000, "[::1]:8443:443/udp"]
domains: [notes.example.org, "Bücher.Example:9000"]
volumes:
  - {target: /data, scope: stage, source: data}
  - {target: /media, scope: project, source: a/b, read_only: true}
  - {target: /uploads, scope: absolute, source: /srv/notes/uploads}
  - {target: /db, scope: named, source: db}
  - {target: /pool, scope: project_named, source: pool_1.x}
  - {target: /cache, scope: ephemeral, size: 64MiB}
health: {type: http, port: 80, path: /healthz, interval: 500ms, timeout: 3, deadline: 2m}
restart: no
strategy: recreate
max_instances: 1
hooks: {pre_snapshot: [redis-cli, save], post_snapshot: ["true"], timeout: 2m}
resources: {memory: 512MiB, cpus: 1.5}
snapshots: {quiesce: hooks, keep: {last: 7, daily: 14, yearly: 2}, schedule: "0  3 * * *", missed: tell}
updates: {schedule: "0  4 * * *", tags: "1.*"}
networks: [proxy]
time_zone: Europe/Berlin
"""

LAUGHS = "a: &a [x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n" for before, name in pairwise("abcdefghi")
)


def problems(document: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInput) as caught:
        parse_workload_json(document)
    assert caught.value.code == "workload_malformed"
    listed: Any = caught.value.details["problems"]
    for problem in listed:
        assert problem["message"].endswith(".")
        assert problem["next_step"]
    return [(problem["path"], problem["code"]) for problem in listed]


def yaml_error(text: str) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        parse_workload_yaml(text)
    return caught.value


class TestReading:
    def test_everything_left_out_has_a_default(self) -> None:
        spec = WorkloadSpec(name="notes", image="registry.example/notes:1.4", project="notes")
        assert parse_workload_json(MINIMAL) == spec

    def test_every_key_is_read(self) -> None:
        assert parse_workload_yaml(FULL) == WorkloadSpec(
            name="notes",
            image="registry.example/notes:1.4",
            project="home",
            stage="test",
            env=(("A", ""), ("TZ", "UTC")),
            labels=(("tier", "web"),),
            command=("serve", "--port", "80"),
            entrypoint=(),
            user="1000",
            stop_signal="SIGINT",
            stop_grace=90.0,
            ports=(
                Port(container_port=80, host_port=8080, host_ip="127.0.0.1"),
                Port(container_port=9000),
                Port(container_port=443, host_port=8443, host_ip="::1", protocol="udp"),
            ),
            domains=(Domain(name="notes.example.org", port=80), Domain(name="xn--bcher-kva.example", port=9000)),
            volumes=(
                Volume(target="/data", scope=Scope.STAGE, source="data"),
                Volume(target="/media", scope=Scope.PROJECT, source="a/b", read_only=True),
                Volume(target="/uploads", scope=Scope.ABSOLUTE, source="/srv/notes/uploads"),
                Volume(target="/db", scope=Scope.NAMED, source="db"),
                Volume(target="/pool", scope=Scope.PROJECT_NAMED, source="pool_1.x"),
                Volume(target="/cache", scope=Scope.EPHEMERAL, size=64 * 1024**2),
            ),
            health=HealthCheck(
                type=HealthType.HTTP, port=80, path="/healthz", interval=0.5, timeout=3.0, deadline=120.0
            ),
            restart=RestartPolicy.NO,
            strategy=Strategy.RECREATE,
            resources=Resources(memory=512 * 1024**2, cpus=1.5),
            hooks=Hooks(pre_snapshot=("redis-cli", "save"), post_snapshot=("true",), timeout=120.0),
            snapshots=SnapshotPolicy(
                quiesce=Quiesce.HOOKS,
                keep=Keep(last=7, daily=14, yearly=2),
                schedule="0 3 * * *",
                missed=OnMissed.TELL,
            ),
            updates=UpdatePolicy(schedule="0 4 * * *", tags="1.*"),
            networks=("proxy",),
            time_zone="Europe/Berlin",
        )

    def test_the_order_of_the_environment_means_nothing(self) -> None:
        one = parse_workload_json({**MINIMAL, "env": {"A": "1", "B": "2"}})
        assert one == parse_workload_json({**MINIMAL, "env": {"B": "2", "A": "1"}})

    @pytest.mark.parametrize(
        ("text", "port"),
        [
            ("80", Port(container_port=80)),
            (80, Port(container_port=80)),
            ("8080:80", Port(container_port=80, host_port=8080)),
            ("8080:80/udp", Port(container_port=80, host_port=8080, protocol="udp")),
            ("127.0.0.1:8080:80", Port(container_port=80, host_port=8080, host_ip="127.0.0.1")),
            ("127.0.0.1::80", Port(container_port=80, host_ip="127.0.0.1")),
            ("[::1]:8080:80", Port(container_port=80, host_port=8080, host_ip="::1")),
            ("0.0.0.0:8080:80", Port(container_port=80, host_port=8080)),
            ("[0:0:0::1]:8080:80/sctp", Port(container_port=80, host_port=8080, host_ip="::1", protocol="sctp")),
        ],
    )
    def test_ports_are_read_as_the_engine_writes_them(self, text: str | int, port: Port) -> None:
        assert parse_workload_json({**MINIMAL, "ports": [text]}).ports == (port,)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "0",
            "65536",
            "0:80",
            "8000-8010:80",
            "host:8080:80",
            "1.2.3:1:2",
            "::1:8080:80",
            "80/xyz",
            "a:80",
            1.5,
            True,
        ],
    )
    def test_what_is_no_port_is_refused(self, text: object) -> None:
        assert problems({**MINIMAL, "ports": [text]}) == [("ports[0]", "port_malformed")]


class TestDomains:
    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("notes.example.org", "notes.example.org"),
            ("Notes.EXAMPLE.org", "notes.example.org"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("straße.example", "xn--strae-oqa.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
            ("localhost", "localhost"),
            (f"{'a' * 63}.example", f"{'a' * 63}.example"),
        ],
    )
    def test_names_are_kept_in_the_form_in_which_they_are_asked_for(self, text: str, name: str) -> None:
        assert parse_domain(f"{text}:8080") == Domain(name=name, port=8080)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "notes..example",
            "notes.example.",
            ".example",
            "*.example.org",
            "https://notes.example",
            "notes.example/path",
            "user@notes.example",
            "-notes.example",
            "notes-.example",
            "under_score.example",
            "two words.example",
            "10.0.0.1",
            "[::1]",
            "notes.example:0",
            "notes.example:65536",
            "notes.example:x",
            "notes.example:",
            f"{'a' * 64}.example",
            ".".join(["a" * 60] * 5),
            "xn--a.example",
            "a\n.example",
            7,
            None,
        ],
    )
    def test_what_is_no_domain_is_refused(self, text: object) -> None:
        assert problems({**MINIMAL, "ports": [80], "domains": [text]}) == [("domains[0]", "domain_malformed")]

    @pytest.mark.parametrize(
        "document",
        [
            {"ports": ["8080:80"]},
            {"ports": [80, "53:53/udp"]},
            {"health": {"type": "http", "port": 80}, "ports": [1, 2]},
            {"health": {"type": "tcp", "port": 80}},
        ],
    )
    def test_the_port_is_that_of_the_health_check_or_the_only_one(self, document: dict[str, Any]) -> None:
        spec = parse_workload_json({**MINIMAL, **document, "domains": ["notes.example", "other.example:99"]})
        assert [domain.port for domain in spec.domains] == [80, 99]

    @pytest.mark.parametrize("document", [{}, {"ports": [80, 81]}, {"health": {"type": "command", "command": ["a"]}}])
    def test_without_a_port_to_go_to_it_has_to_be_named(self, document: dict[str, Any]) -> None:
        asked = {**MINIMAL, **document, "domains": ["a.example:1", "notes.example"]}
        assert problems(asked) == [("domains[1]", "domain_port_missing")]

    def test_a_domain_is_there_once_however_it_is_written(self) -> None:
        asked = {**MINIMAL, "ports": [80], "domains": ["bücher.example", "XN--BCHER-KVA.example:81"]}
        assert problems(asked) == [("domains[1]", "domain_twice")]


class TestRefusals:
    def test_an_unknown_key_names_the_nearest_known_one(self) -> None:
        error = yaml_error("name: a\nsource: {type: image, image: a}\nvolume: []\n")
        (problem,) = error.details["problems"]  # type: ignore[misc] # JSON
        assert problem == {  # type: ignore[has-type] # JSON
            "path": "volume",
            "code": "key_unknown",
            "message": "volume is not a known key.",
            "next_step": "Did you mean volumes?",
            "line": 3,
            "column": 1,
        }

    @pytest.mark.parametrize(
        ("document", "path", "hint"),
        [
            ({"image": "a"}, "image", "source.image"),
            ({"environment": {}}, "environment", "env"),
            ({"health": {"typ": "none"}}, "health.typ", "type"),
            (
                {"volumes": [{"target": "/a", "scope": "ephemeral", "readonly": True}]},
                "volumes[0].readonly",
                "read_only",
            ),
            ({"zzz": 1}, "zzz", "Known here are: name,"),
        ],
    )
    def test_unknown_keys_are_found_at_every_level(self, document: dict[str, Any], path: str, hint: str) -> None:
        with pytest.raises(InvalidInput) as caught:
            parse_workload_json({**MINIMAL, **document})
        (problem,) = caught.value.details["problems"]  # type: ignore[misc] # JSON
        assert (problem["path"], problem["code"]) == (path, "key_unknown")  # type: ignore[has-type] # JSON
        assert hint in problem["next_step"]  # type: ignore[has-type] # JSON

    def test_tags_are_refused_where_the_source_is_no_image_and_taken_with_one_that_a_webhook_may_have_brought(
        self,
    ) -> None:
        updates = {"schedule": "0 4 * * *", "tags": "1.*"}
        declaration = {**MINIMAL, "source": {"type": "channel"}, "updates": updates}
        assert problems(declaration) == [("updates.tags", "key_has_no_effect")]
        assert parse_workload_json({**declaration, "updates": {"schedule": "0 4 * * *"}}).updates.tags is None
        for image in ("notes:1.4", "notes", "notes:stable", f"notes:1.4@sha256:{'0a' * 32}"):
            declaration = {**MINIMAL, "source": {"type": "image", "image": image}, "updates": updates}
            assert parse_workload_json(declaration).updates.tags == "1.*"

    def test_networks_are_a_set_of_such_as_others_made(self) -> None:
        assert parse_workload_json({**MINIMAL, "networks": ["proxy", "db", "proxy"]}).networks == ("db", "proxy")
        refused = problems({**MINIMAL, "networks": ["host", "bridge", "a b"]})
        assert [code for _, code in refused] == ["network_impossible", "network_impossible", "name_malformed"]

    def test_a_scope_of_a_later_version_is_refused_as_such(self) -> None:
        volume = {"target": "/a", "scope": "instance", "source": "a"}
        assert problems({**MINIMAL, "volumes": [volume]}) == [("volumes[0].scope", "key_not_supported")]

    @pytest.mark.parametrize(
        ("key", "value", "path", "code"),
        [
            ("name", "Notes", "name", "name_malformed"),
            ("name", "-a", "name", "name_malformed"),
            ("name", "a-", "name", "name_malformed"),
            ("name", "a" * 64, "name", "name_malformed"),
            ("name", "a\n", "name", "name_malformed"),
            ("name", "@a", "name", "name_malformed"),
            ("name", "01hzzzzzzzzzzzzzzzzzzzzzzz", "name", "name_malformed"),
            ("name", 7, "name", "value_wrong_type"),
            ("project", "a/b", "project", "name_malformed"),
            ("stage", "", "stage", "name_malformed"),
            ("source", {"type": "Git"}, "source.type", "name_malformed"),
            ("source", {"type": "git", "image": "a"}, "source.image", "key_has_no_effect"),
            ("source", {"type": "git", "settings": {"Url": "a"}}, "source.settings.Url", "name_malformed"),
            ("source", {"type": "git", "settings": {"depth": 1}}, "source.settings.depth", "value_wrong_type"),
            ("source", {"type": "image", "image": "a", "settings": {"a": "b"}}, "source.settings", "key_has_no_effect"),
            ("source", {"type": "image", "image": "A"}, "source.image", "image_reference_malformed"),
            ("source", {"type": "image"}, "source.image", "key_missing"),
            ("env", {"1A": "x"}, "env.1A", "env_name_malformed"),
            ("env", {"A=B": "x"}, "env.A=B", "env_name_malformed"),
            ("env", {"A": 1}, "env.A", "value_wrong_type"),
            ("env", {"A": None}, "env.A", "value_wrong_type"),
            ("env", {"A": "a\0b"}, "env.A", "value_malformed"),
            ("env", {"A": "\ud800"}, "env.A", "value_malformed"),
            ("env", {"A": "x" * 131073}, "env.A", "value_out_of_range"),
            ("env", {f"A{n}": "x" * 131072 for n in range(3)}, "env", "value_too_large"),
            ("labels", {"holdfast.workload": "x"}, "labels.holdfast.workload", "label_reserved"),
            ("labels", {"A B": "x"}, "labels.A B", "label_malformed"),
            ("command", "serve", "command", "value_wrong_type"),
            ("command", ["a\0"], "command[0]", "value_malformed"),
            ("user", "a b", "user", "user_malformed"),
            ("user", "-1", "user", "user_malformed"),
            ("user", 2**31, "user", "user_malformed"),
            ("user", "0:4294967296", "user", "user_malformed"),
            ("stop_signal", "kill -9", "stop_signal", "signal_malformed"),
            ("stop_grace", "soon", "stop_grace", "duration_malformed"),
            ("stop_grace", -1, "stop_grace", "duration_malformed"),
            ("stop_grace", 10**400, "stop_grace", "duration_malformed"),
            ("stop_grace", "2h", "stop_grace", "value_out_of_range"),
            ("restart", "sometimes", "restart", "value_unknown"),
            ("restart", False, "restart", "value_unknown"),
            ("strategy", "canary", "strategy", "value_unknown"),
            ("max_instances", 0, "max_instances", "value_out_of_range"),
            ("max_instances", "2", "max_instances", "value_wrong_type"),
            ("resources", {"memory": "1KiB"}, "resources.memory", "value_out_of_range"),
            ("resources", {"memory": "lots"}, "resources.memory", "size_malformed"),
            ("resources", {"cpus": float("nan")}, "resources.cpus", "value_malformed"),
            ("hooks", {"post_restore": ["", "x"]}, "hooks.post_restore", "value_malformed"),
            ("hooks", {"pre_snapshots": ["x"]}, "hooks.pre_snapshots", "key_unknown"),
            ("hooks", {"pre_snapshot": "save"}, "hooks.pre_snapshot", "value_wrong_type"),
            ("hooks", {"pre_snapshot": [" ", "save"]}, "hooks.pre_snapshot", "value_malformed"),
            ("hooks", {"post_snapshot": ["go"]}, "hooks.post_snapshot", "key_has_no_effect"),
            ("hooks", {"pre_snapshot": ["x"], "timeout": 0}, "hooks.timeout", "value_out_of_range"),
            ("hooks", {"pre_snapshot": ["x"], "timeout": "2h"}, "hooks.timeout", "value_out_of_range"),
            ("snapshots", {"quiesce": "hooks"}, "snapshots.quiesce", "key_missing"),
            ("snapshots", {"quiesce": "freeze"}, "snapshots.quiesce", "value_unknown"),
            ("snapshots", {"keep": {}}, "snapshots.keep", "key_has_no_effect"),
            ("snapshots", {"keep": {"last": 0}}, "snapshots.keep.last", "value_out_of_range"),
            ("snapshots", {"keep": {"last": "7"}}, "snapshots.keep.last", "value_wrong_type"),
            ("snapshots", {"keep": {"last": True}}, "snapshots.keep.last", "value_wrong_type"),
            ("snapshots", {"keep": {"dayly": 7, "last": 1}}, "snapshots.keep.dayly", "key_unknown"),
            ("snapshots", {"kept": {"last": 1}}, "snapshots.kept", "key_unknown"),
            ("snapshots", {"schedule": "0 3 * * *"}, "snapshots.schedule", "key_has_no_effect"),
            ("time_zone", "Europe/Atlantis", "time_zone", "time_zone_unknown"),
            ("time_zone", "../../etc/passwd", "time_zone", "time_zone_unknown"),
            ("updates", {"schedule": "at night"}, "updates.schedule", "schedule_malformed"),
            ("updates", {"tags": "1.*"}, "updates", "key_has_no_effect"),
            ("updates", {"schedule": "0 4 * * *", "tags": ""}, "updates.tags", "value_out_of_range"),
            ("snapshots", {"schedule": "@daily"}, "snapshots.schedule", "schedule_malformed"),
            ("snapshots", {"schedule": "0 3 31 2 *"}, "snapshots.schedule", "schedule_malformed"),
            ("snapshots", {"missed": "tell"}, "snapshots", "key_has_no_effect"),
            ("health", {"type": "http"}, "health.port", "key_missing"),
            ("health", {"type": "tcp"}, "health.port", "key_missing"),
            ("health", {"type": "command"}, "health.command", "key_missing"),
            ("health", {"type": "none", "port": 80}, "health.port", "key_has_no_effect"),
            ("health", {"type": "tcp", "port": 80, "path": "/"}, "health.path", "key_has_no_effect"),
            ("health", {"type": "http", "port": 80, "path": "x"}, "health.path", "health_path_malformed"),
            ("health", {"type": "http", "port": 0}, "health.port", "value_out_of_range"),
            ("health", {"interval": 0}, "health.interval", "value_out_of_range"),
        ],
    )
    def test_a_wrong_value_is_refused_with_its_path(self, key: str, value: object, path: str, code: str) -> None:
        assert problems({**MINIMAL, key: value}) == [(path, code)]

    @pytest.mark.parametrize(
        ("volume", "path", "code"),
        [
            ({"target": "data"}, "target", "volume_target_malformed"),
            ({"target": "/"}, "target", "volume_target_malformed"),
            ({"target": "//"}, "target", "volume_target_malformed"),
            ({"target": "/a/"}, "target", "volume_target_malformed"),
            ({"target": "/a/../b"}, "target", "volume_target_malformed"),
            ({"target": "/a\nb"}, "target", "volume_target_malformed"),
            ({"source": "/data"}, "source", "volume_source_malformed"),
            ({"source": ""}, "source", "volume_source_malformed"),
            ({"source": "a//b"}, "source", "volume_source_malformed"),
            ({"source": "../a"}, "source", "volume_source_malformed"),
            ({"source": "a/./b"}, "source", "volume_source_malformed"),
            ({"source": "a" * 256}, "source", "volume_source_malformed"),
            ({"source": "a\0b"}, "source", "volume_source_malformed"),
            ({"source": "/".join(["a" * 200] * 6)}, "source", "volume_source_malformed"),
            ({"source": ".holdfast-x/a"}, "source", "volume_source_reserved"),
            ({"source": ".instances"}, "source", "volume_source_reserved"),
            ({"source": None}, "source", "key_missing"),
            ({"scope": "absolute", "source": "srv"}, "source", "volume_source_malformed"),
            ({"scope": "absolute", "source": "/"}, "source", "volume_source_malformed"),
            ({"scope": "absolute", "source": "/srv/"}, "source", "volume_source_malformed"),
            ({"scope": "absolute", "source": "/srv/.holdfast-1"}, "source", "volume_source_reserved"),
            ({"scope": "named", "source": "a/b"}, "source", "volume_source_malformed"),
            ({"scope": "named", "source": ".."}, "source", "volume_source_malformed"),
            ({"scope": "project_named", "source": "a" * 101}, "source", "volume_source_malformed"),
            ({"scope": "ephemeral"}, "source", "key_has_no_effect"),
            ({"scope": "ephemeral", "source": None, "read_only": True}, "read_only", "key_has_no_effect"),
            ({"scope": "ephemeral", "source": None, "size": 1}, "size", "value_out_of_range"),
            ({"size": "1GiB"}, "size", "key_has_no_effect"),
            ({"engine_volume": "home_db"}, "engine_volume", "key_has_no_effect"),
            ({"scope": "named", "engine_volume": "../x"}, "engine_volume", "engine_volume_malformed"),
            ({"scope": "named", "engine_volume": ".x"}, "engine_volume", "engine_volume_malformed"),
            ({"scope": "elsewhere"}, "scope", "value_unknown"),
            ({"read_only": "yes"}, "read_only", "value_wrong_type"),
        ],
    )
    def test_a_wrong_volume_is_refused(self, volume: dict[str, Any], path: str, code: str) -> None:
        document = {"target": "/data", "scope": "stage", "source": "data", **volume}
        assert problems({**MINIMAL, "volumes": [document]}) == [(f"volumes[0].{path}", code)]

    def test_equal_and_nested_targets_are_refused(self) -> None:
        volumes = [{"target": target, "scope": "ephemeral"} for target in ("/a/b", "/a", "/c", "/c", "/cd")]
        assert problems({**MINIMAL, "volumes": volumes}) == [
            ("volumes[0].target", "volume_target_nested"),
            ("volumes[3].target", "volume_target_twice"),
        ]

    def test_a_host_port_is_published_once(self) -> None:
        assert problems({**MINIMAL, "ports": ["80:80", "80:81", "80:80/udp", "90", "90"]}) == [
            ("ports[1]", "port_twice")
        ]

    @pytest.mark.parametrize(
        ("document", "path", "code"),
        [
            ({"strategy": "blue_green", "ports": ["80:80"]}, "strategy", "strategy_impossible"),
            ({"max_instances": 2, "ports": ["80:80"]}, "max_instances", "instances_impossible"),
            ({"max_instances": 2, "strategy": "recreate"}, "max_instances", "instances_impossible"),
            (
                {"max_instances": 2, "volumes": [{"target": "/a", "scope": "stage", "source": "a"}]},
                "max_instances",
                "instances_impossible",
            ),
        ],
    )
    def test_what_can_not_work_together_is_refused(self, document: dict[str, Any], path: str, code: str) -> None:
        assert problems({**MINIMAL, **document}) == [(path, code)]

    @pytest.mark.parametrize(
        "document",
        [
            {"max_instances": 2},
            {
                "max_instances": 2,
                "strategy": "blue_green",
                "volumes": [{"target": "/a", "scope": "stage", "source": "a"}],
            },
            {"max_instances": 2, "volumes": [{"target": "/a", "scope": "stage", "source": "a", "read_only": True}]},
        ],
    )
    def test_two_writers_are_possible_only_where_spelled_out(self, document: dict[str, Any]) -> None:
        assert parse_workload_json({**MINIMAL, **document}).max_instances == 2

    def test_all_problems_are_told_at_once_whatever_finds_them(self) -> None:
        found = problems(
            {
                "name": "A",
                "x": 1,
                "networks": ["host"],
                "ports": ["80:80", "80:80"],
                "health": {"type": "tcp"},
                "max_instances": 2,
            }
        )
        assert {path for path, _ in found} == {
            "name", "x", "networks[0]", "ports[1]", "health.port", "max_instances", "source",
        }  # fmt: skip

    def test_problems_stand_in_the_order_of_the_document(self) -> None:
        error = yaml_error("restart: maybe\nname: A\nsource: {type: image, image: a}\nx: 1\nenv: {1: a, '2': b}\n")
        assert error.code == "yaml_malformed"  # a key that is no text stops before the rest is looked at
        error = yaml_error("restart: maybe\nname: A\nsource: {type: image, image: a}\nx: 1\nenv: {'2': b}\n")
        listed: Any = error.details["problems"]
        assert [(item["line"], item["path"]) for item in listed] == [
            (1, "restart"),
            (2, "name"),
            (4, "x"),
            (5, "env.2"),
        ]

    @pytest.mark.parametrize("value", [None, [], "notes", 7, True])
    def test_what_is_no_mapping_is_refused(self, value: object) -> None:
        with pytest.raises(InvalidInput) as caught:
            parse_workload_json(value)
        assert caught.value.code == "workload_malformed"

    def test_what_was_sent_does_not_flood_the_answer(self) -> None:
        with pytest.raises(InvalidInput) as caught:
            parse_workload_json({**MINIMAL, "name": "x" * 100_000, **{f"k{n}\n" + "y" * 1000: 1 for n in range(500)}})
        assert len(json.dumps(caught.value.details)) < 50_000
        assert len(caught.value.message) < 2000
        assert "\n" not in caught.value.message

    def test_a_great_many_problems_are_counted_and_the_first_are_told(self) -> None:
        with pytest.raises(InvalidInput) as caught:
            parse_workload_json({**MINIMAL, **{f"k{n}": 1 for n in range(4000)}})
        assert "4000 problems" in caught.value.message
        assert caught.value.message.endswith("; and 3995 more.")
        listed: Any = caught.value.details["problems"]
        assert len(listed) == 50

    @pytest.mark.parametrize(
        "more",
        [{"command": ["x"] * 100_000}, {f"k{n}": 1 for n in range(100_000)}, {"env": NESTED}],
        ids=["values", "keys", "levels"],
    )
    def test_what_would_take_long_to_check_is_refused_before(self, more: dict[str, Any]) -> None:
        started = time.process_time()
        with pytest.raises(TooLarge) as caught:
            parse_workload_json({**MINIMAL, **more})
        assert caught.value.code == "json_too_complex"
        assert time.process_time() - started < 0.5


class TestYaml:
    @pytest.mark.parametrize(
        ("text", "line", "column"),
        [
            ("name: a\nname: b\n", 2, 1),
            ("name: [a\n", 2, 1),
            ("name: a: b\n", 1, 8),
            ("name: *a\n", 1, 7),
            ("a: &x 1\nb: &x 2\n", 2, 4),
            ("name: !!python/object:os.system x\n", 1, 7),
            ("name: !!binary aGk=\n", 1, 7),
            ("<<: {name: a}\n", 1, 1),
            ("1: a\n", 1, 1),
            ("a: 1\n---\nb: 2\n", 2, 1),
            ("%YAML 1.1\n---\na: 1\n", 2, 1),
            ("a: !!int x\n", 1, 4),
            ("a: " + "!" * 200_000, 1, 4),
            ("a: !" + "x" * 200_000 + " b", 1, 4),
            ("%TAG !! tag:" + "x" * 100_000 + "\n---\n[" + "!!a x, " * 4000 + "]\n", 2, 1),
            ("a: 0x" + "f" * 5000, 1, 4),
        ],
    )
    def test_what_is_not_plain_yaml_is_refused_with_its_place(self, text: str, line: int, column: int) -> None:
        started = time.process_time()
        error = yaml_error(text)
        assert time.process_time() - started < 0.5
        assert error.code == "yaml_malformed"
        assert (error.details["line"], error.details["column"]) == (line, column)
        assert f"Line {line}" in error.message
        assert len(error.message) < 500

    @pytest.mark.parametrize("text", ["", "# nothing\n", "a: \x01", "name: \ud800"])
    def test_what_is_no_document_is_refused(self, text: str) -> None:
        assert yaml_error(text).code == "yaml_malformed"

    def test_words_that_were_booleans_once_are_words(self) -> None:
        spec = parse_workload_yaml("name: no\nsource: {type: image, image: on}\nenv: {A: yes, B: 2020-01-01}\n")
        assert (spec.name, spec.image, spec.env) == ("no", "on", (("A", "yes"), ("B", "2020-01-01")))

    def test_anchors_are_followed(self) -> None:
        spec = parse_workload_yaml("name: &n notes\nproject: *n\nsource: {type: image, image: *n}\n")
        assert (spec.project, spec.image) == ("notes", "notes")

    @pytest.mark.parametrize(
        ("text", "code"),
        [
            (LAUGHS, "yaml_too_complex"),
            ("a: &a [*a]\n", "yaml_too_complex"),
            ("[" * 100_000, "yaml_too_complex"),
            ("- " * 100_000, "yaml_too_complex"),
            ("[" + "x, " * 50_000, "yaml_too_complex"),
            ("a: " + "x" * MAX_BYTES, "yaml_too_large"),
            ("a: " + "ä" * (MAX_BYTES // 2), "yaml_too_large"),
        ],
        ids=["laughs", "recursive", "brackets", "dashes", "many", "large", "large in bytes"],
    )  # fmt: skip
    def test_hostile_documents_are_refused_in_time(self, text: str, code: str) -> None:
        with pytest.raises(TooLarge) as caught:
            parse_workload_yaml(text)
        assert caught.value.code == code


NAMES = st.from_regex(r"[a-z](?:[a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
SECONDS = st.sampled_from([1.0, 2.0, 1.5, 30.0, 60.0, 250.25])


def pairs(keys: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[tuple[str, str], ...]]:
    return st.dictionaries(keys, TEXTS, max_size=3).map(lambda found: tuple(sorted(found.items())))


@st.composite
def volumes(draw: st.DrawFn) -> tuple[Volume, ...]:
    targets = draw(st.lists(NAMES, unique=True, max_size=4))
    found = []
    for target in targets:
        scope = draw(st.sampled_from(sorted(DEPLOYABLE_SCOPES)))
        if scope is Scope.EPHEMERAL:
            found.append(Volume(target=f"/{target}", scope=scope, size=draw(st.none() | st.just(1024**2 + 1))))
        else:
            source = draw(NAMES) if scope is not Scope.ABSOLUTE else f"/srv/{draw(NAMES)}"
            found.append(Volume(target=f"/{target}", scope=scope, source=source, read_only=draw(st.booleans())))
    return tuple(found)


@st.composite
def healths(draw: st.DrawFn) -> HealthCheck:
    kind = draw(st.sampled_from(HealthType))
    check = HealthCheck(type=kind, interval=draw(SECONDS), timeout=draw(SECONDS), deadline=draw(SECONDS))
    if kind in (HealthType.HTTP, HealthType.TCP):
        check = replace(check, port=draw(st.integers(1, 65535)))
    if kind is HealthType.HTTP:
        check = replace(check, path=draw(st.sampled_from(["/", "/healthz"])))
    if kind is HealthType.COMMAND:
        check = replace(check, command=tuple(draw(st.lists(TEXTS, min_size=1, max_size=3))))
    return check


@st.composite
def hooks(draw: st.DrawFn) -> Hooks:
    pre = draw(st.lists(TEXTS, max_size=2))
    post = draw(st.lists(TEXTS, max_size=2)) if pre else []
    return Hooks(
        pre_snapshot=("hook", *pre) if pre else (),
        post_snapshot=("hook", *post) if post else (),
        post_restore=tuple(draw(st.sampled_from([(), ("hook",), ("hook", "again")]))),
        timeout=draw(st.sampled_from([1.0, 60.0, 90.5])),
    )


PORTS = st.builds(
    Port,
    container_port=st.integers(1, 65535),
    host_port=st.integers(0, 65535),
    host_ip=st.sampled_from(["0.0.0.0", "127.0.0.1", "::1", "fe80::1"]),
    protocol=st.sampled_from(["tcp", "udp", "sctp"]),
)


def unscheduled(spec: WorkloadSpec) -> WorkloadSpec:
    policy = replace(spec.snapshots, schedule=None, missed=OnMissed.CATCH_UP)
    return replace(spec, snapshots=policy)


DOMAINS = st.builds(
    Domain,
    name=st.sampled_from(["localhost", "notes.example", "xn--bcher-kva.example", "a-b.c.example"]),
    port=st.integers(1, 65535),
)
SPECS = st.builds(
    WorkloadSpec,
    name=NAMES,
    image=st.sampled_from(["notes", "registry.example/notes:1.4", "localhost:5000/a/b@sha256:" + "0a" * 32]),
    project=NAMES,
    stage=NAMES,
    env=pairs(st.from_regex(r"[A-Z_]{1,4}", fullmatch=True)),
    secrets=st.lists(st.from_regex(r"[a-z][a-z_]{0,3}", fullmatch=True), max_size=3, unique=True).map(
        lambda names: tuple(SecretRef(name=name) for name in sorted(names))
    ),
    labels=pairs(NAMES.filter(lambda name: name != "holdfast")),
    command=st.lists(TEXTS, max_size=3).map(tuple),
    entrypoint=st.none() | st.lists(TEXTS, max_size=3).map(tuple),
    user=st.none() | st.sampled_from(["1000", "0:0", "app:staff"]),
    stop_signal=st.none() | st.sampled_from(["SIGTERM", "INT", "SIGRTMIN+3", "15"]),
    stop_grace=SECONDS,
    ports=st.lists(PORTS, max_size=3, unique_by=lambda port: port.host_port).map(tuple),
    domains=st.lists(DOMAINS, max_size=3, unique_by=lambda domain: domain.name).map(tuple),
    volumes=volumes(),
    health=healths(),
    restart=st.sampled_from(RestartPolicy),
    strategy=st.sampled_from([Strategy.AUTO, Strategy.RECREATE]),
    revert_data=st.sampled_from([RevertData.ASK, RevertData.NEVER]),
    hooks=hooks(),
    resources=st.builds(
        Resources,
        memory=st.none() | st.integers(6 * 1024**2, 2**40),
        cpus=st.none() | st.sampled_from([0.5, 1.0, 2.25]),
    ),
    snapshots=st.builds(
        SnapshotPolicy,
        quiesce=st.sampled_from([Quiesce.PAUSE, Quiesce.STOP, Quiesce.NONE]),
        before_deploy=st.booleans(),
        keep=st.none() | st.builds(Keep, last=st.integers(1, 10_000), daily=st.integers(0, 10_000)),
        schedule=st.sampled_from(["0 3 * * *", "*/5 * * * MON"]),
        missed=st.sampled_from(OnMissed),
    ),
    time_zone=st.sampled_from([None, "UTC", "Asia/Tokyo"]),
    networks=st.sampled_from([(), ("db",), ("db", "proxy")]),
    updates=st.builds(UpdatePolicy, schedule=st.none() | st.just("0 4 * * *")),
    plugin=st.none()
    | st.builds(
        SourceWish,
        type=NAMES.filter(lambda name: name != "image"),
        settings=pairs(st.from_regex(r"[a-z]{1,4}", fullmatch=True)),
    ),
).flatmap(
    # A schedule is there only where there is something to capture, and need not be there; an image only without plugin.
    lambda spec: st.sampled_from([*([spec.declared] if spec.captured_volumes else []), unscheduled(spec.declared)])
)


class TestRoundTrip:
    @settings(deadline=None, max_examples=50)
    @given(SPECS)
    def test_a_document_of_a_configuration_reads_back_as_that_configuration(self, spec: WorkloadSpec) -> None:
        assert parse_workload_json(to_document(spec)) == spec

    @settings(deadline=None, max_examples=25)
    @given(SPECS)
    def test_json_reads_as_yaml(self, spec: WorkloadSpec) -> None:
        # But for DEL, which YAML takes only escaped.
        assert parse_workload_yaml(json.dumps(to_document(spec)).replace("\x7f", "\\u007f")) == spec

    def test_an_escaped_surrogate_pair_is_one_character(self) -> None:
        document = {**MINIMAL, "env": {"A": "\N{GRINNING FACE}"}}
        assert parse_workload_yaml(json.dumps(document)).env == (("A", "\N{GRINNING FACE}"),)

    @given(PORTS)
    def test_a_port_reads_back(self, port: Port) -> None:
        assert parse_port(format_port(port)) == port

    def test_hooks_and_what_is_kept_of_snapshots_make_no_other_containers(self) -> None:
        hooks = {"pre_snapshot": ["save"]}
        keeping = parse_workload_json(
            {**MINIMAL, "hooks": hooks, "snapshots": {"quiesce": "hooks", "keep": {"last": 3}}, "revert_data": "never"}
        )
        assert keeping.config_hash == parse_workload_json(MINIMAL).config_hash

    def test_data_is_not_always_brought_back_from_no_snapshot(self) -> None:
        always = {**MINIMAL, "revert_data": "always"}
        assert to_document(parse_workload_json(always)) == {**MINIMAL, "stage": "production", "revert_data": "always"}
        bare = {**always, "snapshots": {"before_deploy": False}}
        assert problems(bare) == [("revert_data", "key_has_no_effect")]

    def test_defaults_are_left_out(self) -> None:
        spec = parse_workload_json(MINIMAL)
        assert to_document(spec) == {"name": "notes", "stage": "production", "source": MINIMAL["source"]}


@cache
def published() -> jsonschema_rs.Validator:
    """The JSON Schema; to make it takes a twentieth of a second."""
    return jsonschema_rs.validator_for(json_schema())


class TestPublished:
    @settings(deadline=None, max_examples=50)
    @given(SPECS)
    def test_the_json_schema_takes_what_the_parser_takes(self, spec: WorkloadSpec) -> None:
        published().validate(to_document(spec))

    @pytest.mark.parametrize(
        "document",
        [
            {"secrets": ["1"]},
            {"networks": "proxy"},
            {"name": "A"},
            {"volumes": [{"target": "/a", "scope": "instance"}]},
            {"snapshots": {"keep": {}}},
            {"snapshots": {"keep": {"last": 0}}},
            {"snapshots": {"schedules": "0 3 * * *"}},
        ],
    )
    def test_the_json_schema_refuses_what_the_parser_refuses(self, document: dict[str, Any]) -> None:
        assert not published().is_valid({**MINIMAL, **document})

    def test_the_examples_in_the_schema_are_declarations(self) -> None:
        for example in json_schema()["examples"]:
            assert parse_workload_json(example).name == "notes"

    def test_every_key_is_described(self) -> None:
        schema = json_schema()
        for model in [schema, *(each for each in schema["$defs"].values() if "properties" in each)]:
            for value in model["properties"].values():
                described = "description" in value or "description" in schema["$defs"][value["$ref"].rsplit("/", 1)[1]]
                assert described or "items" in value

    def test_the_reference_in_the_repository_is_current(self, pytestconfig: pytest.Config) -> None:
        advice = "run scripts/generate_reference.py"
        markdown = (pytestconfig.rootpath / workload_reference.MARKDOWN_FILE).read_text(encoding="utf-8")
        schema = (pytestconfig.rootpath / workload_reference.SCHEMA_FILE).read_text(encoding="utf-8")
        assert markdown == workload_reference.reference_markdown(), advice
        assert schema == workload_reference.reference_schema(), advice

    def test_the_example_of_the_reference_is_a_declaration(self) -> None:
        text = workload_reference.reference_markdown().split("```yaml\n")[1].split("```")[0]
        assert parse_workload_yaml(text).name == "notes"
