"""secret and env: values come from anywhere but the command line, and are shown nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.exit_codes import ExitCode
from tests.unit.cli.fake_server import AT, SNAPSHOT, FakeServer, answer, refusal

SECRET = "/api/workloads/notes/secrets/KEY"
VALUE = "swordfish"


def applied(*changes: tuple[str, object, object]) -> dict[str, Any]:
    listed = [{"path": path, "before": before, "after": after} for path, before, after in changes]
    return {"name": "notes", "created": False, "changes": listed, "workload": None}


@pytest.fixture
def ready(server: FakeServer) -> FakeServer:
    server.on("PUT", SECRET, answer(applied(("secrets.KEY", None, f"set {AT}"))))
    return server


@pytest.mark.parametrize("typed", [VALUE, f"{VALUE}\n", f"{VALUE}\r\n"])
def test_a_value_is_read_from_stdin_without_the_last_line_break(ready: FakeServer, typed: str) -> None:
    result = ready.run("secret", "set", "notes", "KEY", typed=typed)
    assert result.exit_code == ExitCode.OK, result.output
    assert ready.bodies("PUT", SECRET) == [{"value": VALUE}]
    assert "holdfast deploy notes" in result.stdout
    assert VALUE not in result.output


def test_a_value_of_several_lines_is_read_from_a_file(ready: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("one\ntwo\n\n")
    assert ready.run("secret", "set", "notes", "KEY", "-f", str(tmp_path / "key.pem")).exit_code == ExitCode.OK
    assert ready.bodies("PUT", SECRET) == [{"value": "one\ntwo\n"}]
    assert ready.run("secret", "set", "notes", "KEY", "-f", "nowhere").exit_code == ExitCode.USAGE


def test_on_a_terminal_it_is_asked_for_twice_and_not_shown(ready: FakeServer) -> None:
    result = ready.run("secret", "set", "notes", "KEY", typed=f"{VALUE}\n{VALUE}\n", interactive=True)
    assert ready.bodies("PUT", SECRET) == [{"value": VALUE}]
    assert VALUE not in result.output


def test_what_is_no_text_and_what_is_no_name_is_refused_here(ready: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    result = ready.run("secret", "set", "notes", "KEY", "-f", str(tmp_path / "key"))
    assert (result.exit_code, "no UTF-8" in result.output) == (ExitCode.USAGE, True)
    for name in ("../x", "1A", "A B"):
        assert ready.run("secret", "set", "notes", name, typed=VALUE).exit_code == ExitCode.USAGE
    assert not ready.requests


def test_the_value_that_is_there_already_changes_nothing(server: FakeServer) -> None:
    server.on("PUT", SECRET, answer(applied()))
    assert "has this value already" in server.run("secret", "set", "notes", "KEY", typed=VALUE).stdout


def test_secrets_are_listed_by_name(server: FakeServer) -> None:
    items = [
        {"name": "KEY", "state": "set", "set_at": AT},
        {"name": "LOST", "state": "unreadable", "set_at": AT},
        {"name": "NEW", "state": "not_set", "set_at": None},
    ]
    server.on("GET", "/api/workloads/notes/secrets", answer({"items": items}))
    lines = server.run("secret", "list", "notes").stdout.splitlines()
    assert lines[0].split() == ["NAME", "STATE", "SET", "AT"]
    assert "2026-11-23 09:00:00 UTC" in lines[1]
    assert "unreadable: set it again" in lines[2]
    assert lines[3].split() == ["NEW", "not", "set", "-"]


def test_a_secret_is_removed(server: FakeServer) -> None:
    server.on("DELETE", SECRET, answer(applied(("secrets.KEY", f"set {AT}", None))))
    assert "- secrets.KEY" in server.run("secret", "remove", "notes", "KEY").stdout


def test_a_file_is_sent_with_the_names_of_its_secrets(server: FakeServer, tmp_path: Path) -> None:
    path = "/api/workloads/notes/env"
    (tmp_path / ".env").write_text(f"TZ=UTC\nKEY={VALUE}\n")
    server.on("POST", path, answer(applied(("env.TZ", None, "UTC"), ("secrets.KEY", None, f"set {AT}"))))
    result = server.run("env", "import", "notes", str(tmp_path / ".env"), "--secret", "KEY", "--dry-run")
    assert result.stdout.splitlines() == ["+ env.TZ: UTC", f"+ secrets.KEY: set {AT}", "Nothing was changed."]
    assert server.bodies("POST", path) == [{"text": f"TZ=UTC\nKEY={VALUE}\n", "secrets": ["KEY"], "dry_run": True}]
    assert "holdfast deploy notes" in server.run("env", "import", "notes", str(tmp_path / ".env")).stdout


def test_bad_lines_of_a_file_are_told_one_by_one(server: FakeServer) -> None:
    problems = [{"line": 3, "message": "it is no NAME=value"}, {"line": 5, "message": "it has a name and no value"}]
    details = {"problems": problems}
    server.on("POST", "/api/workloads/notes/env", refusal(400, "env_file_malformed", details=details))
    result = server.run("env", "import", "notes", "-", typed="x")
    assert result.exit_code == ExitCode.USAGE
    assert "  - line 3: it is no NAME=value\n  - line 5: it has a name and no value" in result.output


def test_a_deploy_is_foreseen(server: FakeServer) -> None:
    plan = applied(("secrets.KEY", f"set {AT}", "not set")) | {
        "image": "notes:2",
        "problems": [{"message": "notes needs secrets that have no value yet: KEY.", "next_step": "Set each."}],
    }
    server.on("GET", "/api/workloads/notes/deploy", answer(plan))
    result = server.run("deploy", "notes", "--image", "notes:2", "--dry-run")
    assert result.exit_code == ExitCode.OK, result.output
    assert f"~ secrets.KEY: set {AT} → not set" in result.stdout
    assert "It would be refused: notes needs" in result.stdout
    assert server.sent("GET", "/api/workloads/notes/deploy")[0].url.params["image"] == "notes:2"


def test_a_deployment_is_shown_with_what_it_changed(server: FakeServer) -> None:
    found = applied(("secrets.KEY", f"set {AT}", None)) | {
        "id": SNAPSHOT,
        "state": "succeeded",
        "reason": "deploy",
        "image": "notes:1",
        "image_id": "sha256:a",
        "digest": None,
        "snapshot_id": SNAPSHOT,
        "started_at": AT,
        "finished_at": None,
        "error": None,
        "before": None,
    }
    server.on("GET", f"/api/workloads/notes/deployments/{SNAPSHOT}", answer(found))
    result = server.run("deployment", "show", "notes", SNAPSHOT)
    assert result.exit_code == ExitCode.OK, result.output
    assert f"- secrets.KEY: set {AT}" in result.stdout
    assert "it was the first" in result.stdout
