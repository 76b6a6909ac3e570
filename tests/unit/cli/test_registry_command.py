"""registry: a password comes from stdin, a file or a question, and is shown nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.cli.exit_codes import ExitCode
from tests.unit.cli.fake_server import AT, FakeServer, answer

HOST = "registry.example:5000"
LOGIN = {"registry": HOST, "username": "ann", "set_at": AT, "readable": True}


@pytest.fixture
def ready(server: FakeServer) -> FakeServer:
    server.on("POST", "/api/registries", answer(LOGIN, 201))
    return server


@pytest.mark.parametrize("interactive", [False, True])
def test_a_password_is_read_or_asked_for(ready: FakeServer, interactive: bool) -> None:
    result = ready.run("registry", "add", HOST, "--username", "ann", typed="open sesame\n", interactive=interactive)
    assert result.exit_code == ExitCode.OK, result.output
    expected = {"registry": HOST, "username": "ann", "password": "open sesame"}
    assert ready.bodies("POST", "/api/registries") == [expected]
    assert "sesame" not in result.output


def test_a_password_is_the_first_line_of_a_file(ready: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("open sesame\nand more\n")
    ready.run("registry", "add", HOST, "--username", "ann", "--password-file", str(tmp_path / "token"))
    assert ready.bodies("POST", "/api/registries")[0]["password"] == "open sesame"


def test_what_is_no_registry_is_refused_here(ready: FakeServer) -> None:
    result = ready.run("registry", "add", "https://registry.example/x", "--username", "ann", typed="x\n")
    assert result.exit_code == ExitCode.USAGE
    assert not ready.requests


def test_logins_are_listed_and_forgotten(server: FakeServer) -> None:
    lost = LOGIN | {"registry": "docker.io", "readable": False}
    server.on("GET", "/api/registries", answer({"items": [LOGIN, lost]}))
    lines = server.run("registry", "list").stdout.splitlines()
    assert lines[1].split()[:3] == [HOST, "ann", "set"]
    assert "unreadable: add it again" in lines[2]
    server.on("DELETE", f"/api/registries/{HOST}", answer(None, 204))
    assert server.run("registry", "remove", HOST).stdout == f"Forgot the login for {HOST}.\n"
