"""import compose: what is read here, what is sent, and what is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.exit_codes import ExitCode
from tests.unit.cli.fake_server import FakeServer, answer, operation, refusal

ROUTE = "/api/import/compose"
TEXT = "services: {web: {image: '${IMAGE}', env_file: [web.env, '${X}.env']}}\n"


def workload(name: str, *, valid: bool = True, findings: int = 0) -> dict[str, Any]:
    finding = {"kind": "note", "path": "p", "message": "m", "next_step": "n"}
    return {
        "service": name,
        "name": name,
        "valid": valid,
        "declaration": {"name": name},
        "yaml": f"# to read\nname: {name}\n",
        "findings": [finding] * findings,
    }


def proposal(*workloads: dict[str, Any], env_files: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    finding = {"kind": "left_out", "path": "networks", "message": "Why.", "next_step": "What."}
    return {"project": "home", "workloads": list(workloads), "findings": [finding], "env_files": list(env_files)}


def env_file(written: str, path: str, *, required: bool = True) -> dict[str, Any]:
    return {"written": written, "path": path, "required": required, "sent": False}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "home" / "compose.yaml"
    path.parent.mkdir()
    path.write_text(TEXT)
    return path


@pytest.fixture
def ready(server: FakeServer) -> FakeServer:
    server.on("POST", ROUTE, answer(proposal(workload("db"), workload("web", valid=False, findings=2))))
    return server


def test_proposals_are_shown_with_what_belongs_to_none_of_them_beside(ready: FakeServer, file: Path) -> None:
    result = ready.run("import", "compose", str(file))
    assert result.exit_code == ExitCode.OK, result.output
    assert result.stdout == "# to read\nname: db\n---\n# to read\nname: web\n"
    assert result.stderr == "networks: Why. What.\n"


def test_containers_are_proposed_by_name_in_the_project_that_is_asked_for(server: FakeServer, tmp_path: Path) -> None:
    route = "/api/import/containers"
    server.on("POST", route, answer({"workloads": [workload("db", findings=1)], "findings": []}))
    result = server.run(
        "import", "container", "shop-db-1", "shop-web-1", "--project", "shop", "-o", str(tmp_path / "w")
    )
    assert result.exit_code == ExitCode.OK, result.output
    assert server.bodies("POST", route) == [{"containers": ["shop-db-1", "shop-web-1"], "project": "shop"}]
    assert (tmp_path / "w" / "db.yaml").read_text() == "# to read\nname: db\n"
    assert "with 1 thing to look at" in result.stdout


def test_a_take_over_tells_what_there_is_to_say_and_names_the_containers_it_confirms(server: FakeServer) -> None:
    route = "/api/import/containers"
    db = {**workload("db", findings=1), "container": "shop-db-1"}
    server.on("POST", route, answer({"workloads": [db], "findings": []}))
    server.on("POST", f"{route}/take-over", answer(operation("take_over"), 202))
    options = ("--take-over", "--keep", "--detach", "--yes")
    result = server.run("import", "container", "shop-db-1", *options)
    assert result.exit_code == ExitCode.OK, result.output
    assert "p: m n" in result.stderr
    (request,) = server.sent("POST", f"{route}/take-over")
    assert request.headers["X-Confirm-Take-Over"] == "shop-db-1"
    wanted = {"containers": ["shop-db-1"], "project": None, "accept_left_out": False, "keep": True}
    assert server.bodies("POST", f"{route}/take-over") == [wanted]
    assert server.run("import", "container", "x", "--keep").exit_code == ExitCode.USAGE
    assert server.run("import", "container", "x", "--take-over", "-o", "d").exit_code == ExitCode.USAGE


def test_only_variables_that_the_file_mentions_leave_the_machine(ready: FakeServer, file: Path) -> None:
    (file.parent / ".env").write_text("IMAGE=from-the-file\nX=web\nOTHER=secret\n")
    ready.run("import", "compose", str(file), env={"IMAGE": "web:1", "PRIVATE": "secret"})
    [body] = ready.bodies("POST", ROUTE)
    assert body == {
        "text": TEXT,
        "folder": "home",
        "directory": str(file.parent),
        "variables": {"IMAGE": "web:1", "X": "web"},
        "env_files": {},
    }


def test_env_files_are_read_here_and_only_those_that_the_file_names(server: FakeServer, file: Path) -> None:
    outside = file.parent.parent / "outside"
    outside.write_text("A=outside")
    (file.parent / "web.env").write_text("A=1\n")
    (file.parent / "x.env").write_text("B=2\n")
    named = (
        env_file("web.env", "web.env"),
        env_file("${X}.env", "x.env"),
        env_file("../outside", "../outside"),
        env_file("web.env", "../outside"),
        env_file("services", "services", required=False),
    )
    server.on("POST", ROUTE, answer(proposal(env_files=named)), answer(proposal(workload("web"))))
    result = server.run("import", "compose", str(file), env={"X": "x"})
    assert result.exit_code == ExitCode.OK, result.output
    first, second = server.bodies("POST", ROUTE)
    assert (first["env_files"], second["env_files"]) == ({}, {"web.env": "A=1\n", "x.env": "B=2\n"})
    assert "name: web" in result.stdout


def test_an_env_file_that_is_not_there_is_told(server: FakeServer, file: Path) -> None:
    server.on("POST", ROUTE, answer(proposal(env_files=(env_file("web.env", "web.env"),))))
    result = server.run("import", "compose", str(file))
    assert (result.exit_code, "web.env can't be read" in result.stderr) == (ExitCode.USAGE, True)


def test_a_file_for_each_workload_and_none_is_replaced_unasked(ready: FakeServer, file: Path, tmp_path: Path) -> None:
    target = tmp_path / "made" / "here"
    result = ready.run("import", "compose", str(file), "-o", str(target))
    assert result.exit_code == ExitCode.OK, result.output
    assert {path.name: path.read_text() for path in target.iterdir()} == {
        "db.yaml": "# to read\nname: db\n",
        "web.yaml": "# to read\nname: web\n",
    }
    assert "web.yaml, with 2 things to look at; it can't be applied" in result.stdout
    (target / "db.yaml").unlink()
    (target / "web.yaml").write_text("mine")
    refused = ready.run("import", "compose", str(file), "-o", str(target))
    assert (refused.exit_code, "--force" in refused.stderr) == (ExitCode.REFUSED, True)
    assert [path.read_text() for path in target.iterdir()] == ["mine"]
    assert ready.run("import", "compose", str(file), "-o", str(target), "--force").exit_code == ExitCode.OK
    assert (target / "web.yaml").read_text() == "# to read\nname: web\n"
    assert len(list(target.iterdir())) == 2


def test_a_directory_that_can_not_be_made_is_told(ready: FakeServer, file: Path) -> None:
    result = ready.run("import", "compose", str(file), "-o", str(file / "below"))
    assert (result.exit_code, "can't be made" in result.stderr) == (ExitCode.FAILED, True)


def test_a_name_from_the_server_is_no_path(server: FakeServer, file: Path, tmp_path: Path) -> None:
    server.on("POST", ROUTE, answer(proposal(workload("../x"))))
    result = server.run("import", "compose", str(file), "-o", str(tmp_path / "made"))
    assert result.exit_code == ExitCode.USAGE
    assert not (tmp_path / "x.yaml").exists()


def test_with_json_the_answer_is_the_whole_output(ready: FakeServer, file: Path) -> None:
    result = ready.run("import", "compose", str(file), "--json")
    assert '"project": "home"' in result.stdout
    assert "# to read\nname" not in result.stdout


def test_what_is_no_text_is_refused_here_and_what_the_server_refuses_is_told(server: FakeServer, file: Path) -> None:
    file.write_bytes(b"\xff")
    result = server.run("import", "compose", str(file))
    assert (result.exit_code, "UTF-8" in result.stderr, server.requests) == (ExitCode.USAGE, True, [])
    file.write_text("services: {}")
    server.on("POST", ROUTE, refusal(400, "compose_without_services"))
    assert server.run("import", "compose", str(file)).exit_code == ExitCode.USAGE
