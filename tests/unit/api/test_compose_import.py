"""Import of compose files over the API: real files, hostile ones, and proposals as `apply` takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.api.schemas.compose_yaml import rendered
from holdfast.api.schemas.workload import parse_workload_json, parse_workload_yaml
from holdfast.domain.compose_findings import Finding, FindingKind
from holdfast.domain.told import Told
from tests.unit.api.standins import Api

FILES = Path(__file__).parent / "compose_files"
ROUTE = "/api/import/compose"


async def imported(api: Api, text: str, **more: Any) -> dict[str, Any]:
    body = {"text": text, "folder": "home", "directory": "/srv/home", **more}
    answer = await api.ask("POST", ROUTE, json=body)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    for workload in document["workloads"]:
        if workload["valid"]:  # the file says what the answer says, and both are what `apply` reads
            assert parse_workload_yaml(workload["yaml"]) == parse_workload_json(workload["declaration"])
    return document


def by_name(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {workload["name"]: workload for workload in document["workloads"]}


async def test_nextcloud_with_its_database_cache_and_cron(api: Api) -> None:
    document = await imported(
        api,
        (FILES / "nextcloud.yaml").read_text(),
        variables={"DB_PASSWORD": "sesame-db"},
        env_files={"db.env": "MYSQL_PASSWORD=sesame-env\nMYSQL_DATABASE=nextcloud\n"},
    )
    found = by_name(document)
    assert document["project"] == "home"
    assert [(name, workload["valid"]) for name, workload in found.items()] == [
        (name, True) for name in ("db", "redis", "app", "cron")
    ]
    assert found["db"]["declaration"] == {
        "name": "db",
        "project": "home",
        "source": {"type": "image", "image": "mariadb:10.11"},
        "env": {"MYSQL_ROOT_PASSWORD": "", "MYSQL_DATABASE": "nextcloud", "MYSQL_USER": "nextcloud"},
        "secrets": ["MYSQL_PASSWORD"],
        "command": ["--transaction-isolation=READ-COMMITTED"],
        "volumes": [{"target": "/var/lib/mysql", "scope": "named", "source": "db"}],
        "restart": "always",
    }
    shared = [{"target": "/var/www/html", "scope": "project_named", "source": "nextcloud"}]
    assert found["app"]["declaration"]["volumes"] == found["cron"]["declaration"]["volumes"] == shared
    assert found["app"]["declaration"]["env"]["MYSQL_HOST"] == "db"
    [plain] = found["redis"]["findings"]
    assert plain["path"] == "services.redis.command"
    assert "REDIS_PASSWORD" in plain["message"]
    assert {f["path"] for f in found["app"]["findings"] if f["kind"] == "left_out"} == {
        "services.app.depends_on",
        "services.app.networks",
        "services.app.volumes[0]",
    }
    assert document["env_files"] == [{"written": "db.env", "path": "db.env", "required": True, "sent": True}]
    assert "sesame-db" not in str(document)
    assert "sesame-env" not in str(document)


async def test_gitea_with_postgres(api: Api) -> None:
    found = by_name(await imported(api, (FILES / "gitea.yaml").read_text()))
    server, db = found["server"]["declaration"], found["db"]["declaration"]
    assert server["ports"] == ["3000:3000", "222:22"]
    assert server["secrets"] == ["GITEA__database__PASSWD"]
    assert server["volumes"] == [{"target": "/data", "scope": "absolute", "source": "/srv/home/gitea"}]
    assert db["health"] == {
        "type": "command",
        "command": ["/bin/sh", "-c", "pg_isready -U gitea"],
        "interval": 10,
        "timeout": 5,
        "deadline": 75,
    }
    told = {f["path"]: f["next_step"] for f in found["server"]["findings"]}
    assert told["services.server.volumes[1]"] == told["services.server.volumes[2]"] == "Set TZ in env."
    assert "gitea-sesame" not in str(found)


async def test_vaultwarden_behind_caddy(api: Api) -> None:
    text = (FILES / "vaultwarden.yaml").read_text()
    refused = await api.ask("POST", ROUTE, json={"text": text})
    assert refused.json()["error"]["code"] == "compose_variable_missing"
    found = by_name(await imported(api, text, variables={"ADMIN_TOKEN": "sesame", "HOME": "/root"}))
    vaultwarden, caddy = found["vaultwarden"]["declaration"], found["caddy"]["declaration"]
    assert vaultwarden["env"] == {"DOMAIN": "https://vault.example.com", "SIGNUPS_ALLOWED": "false"}
    assert vaultwarden["volumes"] == [{"target": "/data", "scope": "absolute", "source": "/root/vw-data"}]
    assert caddy["ports"] == ["80:80", "443:443", "443:443/udp"]
    assert [volume["target"] for volume in caddy["volumes"]] == ["/config", "/data"]
    left_out = {f["path"] for f in found["caddy"]["findings"] if f["kind"] == "left_out"}
    assert left_out == {"services.caddy.container_name", "services.caddy.logging", "services.caddy.volumes[0]"}


async def test_merge_keys_take_over_what_a_service_does_not_say_itself(api: Api) -> None:
    text = """
x-base: &base {image: "base:1", restart: always, environment: &env {A: "1", B: "1"}}
x-more: &more {image: "more:1", user: "7"}
services:
  one: {<<: *base, image: "own:1"}
  two: {<<: [*base, *more], environment: {<<: *env, B: "2"}}
"""
    found = by_name(await imported(api, text))
    one, two = found["one"]["declaration"], found["two"]["declaration"]
    assert (one["source"]["image"], one["restart"]) == ("own:1", "always")
    assert (two["source"]["image"], two["user"], two["env"]) == ("base:1", "7", {"A": "1", "B": "2"})


async def test_what_apply_would_refuse_is_told_with_the_proposal(api: Api) -> None:
    text = "services: {web: {build: ., labels: {Upper: x}, volumes: [/a, /a/b]}}"
    [workload] = (await imported(api, text))["workloads"]
    assert workload["valid"] is False
    problems = [f["path"] for f in workload["findings"] if f["kind"] == "problem"]
    assert problems == ["source.image", "labels.Upper", "volumes[1].target"]
    assert "# To mend before it can be applied:" in workload["yaml"]


async def test_a_name_that_another_workload_has_is_told(api: Api) -> None:
    [workload] = (await imported(api, "services: {notes: {image: x}}"))["workloads"]
    assert "changes that one" in workload["findings"][0]["message"]
    assert workload["findings"][0]["code"] == "import_name_taken"
    assert workload["findings"][0]["values"]["name"] == workload["name"]
    assert not [recorded for recorded in api.workloads.calls if recorded[0] != "get"]


HOSTILE = {
    "yaml_malformed": ("services: [", "a: !!python/object:os.system x", "services: {web: {<<: 7}}", "a: 1\n---\nb: 2"),
    "yaml_too_large": ("# " + "x" * (1 << 18),),
    "yaml_too_complex": (
        "a: &a {<<: *a}",
        "\n".join(["l0: &l0 {}", *(f"l{n}: &l{n} {{<<: [{', '.join([f'*l{n - 1}'] * 9)}]}}" for n in range(1, 9))]),
        "\n".join(["l0: &l0 [x]", *(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 9))]),
        "[" * 100,
    ),
    "compose_too_large": (f"a: &a {'x' * 100_000}\nservices: {{web: {{command: [{', '.join(['*a'] * 20)}]}}}}",),
    "compose_malformed": ("[]", "services: {web: 7}", r'services: {web: {image: "\ud800"}}'),
    "compose_without_services": ("web: {image: x}",),
}


@pytest.mark.parametrize(("code", "text"), [(code, text) for code, texts in HOSTILE.items() for text in texts])
async def test_bad_files_are_refused_with_a_code_and_a_next_step(api: Api, code: str, text: str) -> None:
    answer = await api.ask("POST", ROUTE, json={"text": text})
    error = answer.json()["error"]
    assert (answer.status_code in (400, 413), error["code"]) == (True, code), error
    assert error["next_step"]


async def test_an_env_file_that_can_not_be_read_is_named_without_what_is_in_it(api: Api) -> None:
    body = {"text": "services: {web: {image: x, env_file: a.env}}", "env_files": {"a.env": "sesame\nA='b"}}
    error = (await api.ask("POST", ROUTE, json=body)).json()["error"]
    assert error["code"] == "env_file_malformed"
    assert error["message"].startswith("a.env: ")
    assert "sesame" not in str(error)


def test_no_text_from_the_file_ends_the_comment_that_it_stands_in() -> None:
    finding = Finding(kind=FindingKind.NOTE, path="x", told=Told("a\nname: other", next_step="b\u2028c\x85d"))
    document: dict[str, object] = {"name": "web", "source": {"type": "image", "image": "x"}, "command": ["# a\n", "no"]}
    text = rendered(document, [finding])
    assert parse_workload_yaml(text) == parse_workload_json(document)
