"""Previews from the command line."""

from __future__ import annotations

from holdfast.cli.exit_codes import ExitCode
from tests.unit.cli.fake_server import AT, OPERATION, WORKLOAD, FakeServer, answer

PREVIEW = {
    "id": WORKLOAD,
    "name": "notes-pr-17",
    "parent_id": OPERATION,
    "parent": "notes",
    "made_for": "pr-17",
    "image": "notes:pr-17",
    "deployment": "failed",
    "domains": ["pr-17.notes.example.org"],
    "seed": None,
    "expires_seconds": 172800.0,
    "expires_at": AT,
    "last_snapshot": True,
    "created_at": AT,
    "created_by": "ann",
}
BEGUN = {
    "id": OPERATION,
    "kind": "deploy",
    "state": "succeeded",
    "workload_id": WORKLOAD,
    "actor": "ann",
    "created_at": AT,
    "started_at": AT,
    "finished_at": AT,
    "steps": [],
    "progress": {"done_bytes": 0, "total_bytes": None, "done_files": 0, "total_files": None, "note": ""},
    "log": [],
    "waiting_for": "",
    "cancellable": False,
    "outcome": {},
    "error": None,
}
ONE = f"/api/previews/{WORKLOAD}"


def test_a_preview_is_made_and_it_is_said_where_it_is_and_how_long(server: FakeServer) -> None:
    server.on("POST", "/api/workloads/notes/previews", answer(BEGUN, 202))
    server.on("GET", f"/api/operations/{OPERATION}", answer(BEGUN))
    server.on("GET", ONE, answer(PREVIEW))
    options = ("--image", "notes:pr-17", "--seed", "latest", "--expires", "2d", "--last-snapshot")
    shown = server.run("preview", "create", "notes", "pr-17", *options)
    assert shown.exit_code == ExitCode.OK
    for words in ("notes-pr-17", "pr-17.notes.example.org", "2 d after its last update", "after a last snapshot"):
        assert words in shown.stdout
    server.run("preview", "create", "notes", "pr-17")
    first, second = server.bodies("POST", "/api/workloads/notes/previews")
    assert first == {
        "name": "pr-17",
        "image": "notes:pr-17",
        "seed": "latest",
        "expires": "2d",
        "last_snapshot": True,
    }
    assert second == {"name": "pr-17", "image": None, "seed": None, "expires": None, "last_snapshot": None}


def test_previews_are_listed_and_shown(server: FakeServer) -> None:
    server.on("GET", "/api/previews", answer({"items": [PREVIEW]}))
    server.on("GET", "/api/previews/notes-pr-17", answer(PREVIEW))
    for command in (("list",), ("list", "notes"), ("show", "notes-pr-17")):
        shown = server.run("preview", *command).stdout
        for words in ("notes-pr-17", "notes:pr-17", "failed", "pr-17.notes.example.org", "2026-11-23 09:00:00 UTC"):
            assert words in shown
    assert [dict(request.url.params) for request in server.sent("GET", "/api/previews")] == [{}, {"workload": "notes"}]


def test_a_preview_goes_once_its_name_was_typed(server: FakeServer) -> None:
    server.on("GET", "/api/previews/notes-pr-17", answer(PREVIEW))
    server.on("DELETE", ONE, answer(BEGUN | {"kind": "delete"}, 202))
    server.on("GET", f"/api/operations/{OPERATION}", answer(BEGUN | {"kind": "delete"}))
    refused = server.run("preview", "delete", "notes-pr-17", interactive=True, typed="notes\n")
    assert refused.exit_code != ExitCode.OK
    assert "after a last snapshot" in refused.output
    assert server.sent("DELETE", ONE) == []
    server.run("preview", "delete", "notes-pr-17", interactive=True, typed="notes-pr-17\n")
    server.run("preview", "delete", "notes-pr-17", "--yes", "--no-last-snapshot")
    asked = [dict(request.url.params) for request in server.sent("DELETE", ONE)]
    assert asked == [{}, {"last_snapshot": "false"}]
