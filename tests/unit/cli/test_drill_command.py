"""snapshot drill: which snapshot, which check, and what came of it."""

from __future__ import annotations

import pytest

from holdfast.cli.exit_codes import ExitCode
from tests.unit.cli.fake_server import AT, OPERATION, SNAPSHOT, FakeServer, answer, operation, stream

SNAPSHOTS = "/api/workloads/notes/snapshots"
PATH = f"{SNAPSHOTS}/{SNAPSHOT}/drill"


@pytest.fixture
def ready(server: FakeServer) -> FakeServer:
    server.on("GET", SNAPSHOTS, answer({"items": [{"id": SNAPSHOT, "created_at": AT}], "next_cursor": None}))
    server.on("POST", PATH, answer(operation("drill"), 202))
    proved = operation("drill", "succeeded", outcome={"proved_at": AT, "removed": True})
    server.on("GET", f"/api/operations/{OPERATION}/events", stream(proved))
    return server


def test_the_newest_snapshot_is_meant_where_none_is_named(ready: FakeServer) -> None:
    result = ready.run("snapshot", "drill", "notes")
    assert result.exit_code == ExitCode.OK, result.output
    assert f"The newest snapshot is {SNAPSHOT}" in result.stdout
    assert "Proved: it was restored, and lives." in result.stdout
    assert ready.bodies("POST", PATH) == [{}]


def test_a_check_is_split_as_a_shell_does(ready: FakeServer) -> None:
    result = ready.run("snapshot", "drill", "notes", SNAPSHOT, "--command", "test -s '/data/my notes'")
    assert result.exit_code == ExitCode.OK, result.output
    assert ready.bodies("POST", PATH) == [{"command": ["test", "-s", "/data/my notes"]}]


@pytest.mark.parametrize("command", ["", "   ", "it isn't closed"])
def test_a_check_that_cannot_be_read_is_refused(ready: FakeServer, command: str) -> None:
    assert ready.run("snapshot", "drill", "notes", SNAPSHOT, "--command", command).exit_code == ExitCode.USAGE
    assert not ready.sent("POST", PATH)


def test_a_workload_without_snapshots_has_nothing_to_drill(server: FakeServer) -> None:
    server.on("GET", SNAPSHOTS, answer({"items": [], "next_cursor": None}))
    result = server.run("snapshot", "drill", "notes")
    assert result.exit_code == ExitCode.USAGE
    assert "no snapshot" in result.output


def test_a_copy_that_could_not_be_removed_is_told(ready: FakeServer) -> None:
    left = operation("drill", "succeeded", outcome={"proved_at": AT, "removed": False})
    ready.on("GET", f"/api/operations/{OPERATION}/events", stream(left))
    assert "could not be removed" in ready.run("snapshot", "drill", "notes", SNAPSHOT).stdout
