"""The commands that aren't about restores: what they send and what they show."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast import __version__
from holdfast.cli.exit_codes import ExitCode
from tests.unit.cli.fake_server import (
    AT,
    KILLED,
    OPERATION,
    SNAPSHOT,
    FakeServer,
    answer,
    events,
    operation,
    refusal,
    safety,
    snapshot,
    status_in_brief,
    stream,
    workload,
)

SNAPSHOTS = "/api/workloads/notes/snapshots"
EVENTS = f"/api/operations/{OPERATION}/events"
CHANGES = [
    {"path": "env.TZ", "before": None, "after": "UTC"},
    {"path": "image", "before": "notes:1", "after": "notes:2"},
    {"path": "user", "before": "1000", "after": None},
]


def preview(*, created: bool = False) -> dict[str, object]:
    return {"name": "notes", "created": created, "changes": CHANGES, "workload": workload()}


def test_help_loads_neither_the_client_nor_the_server() -> None:
    heavy = ("httpx", "fastapi", "sqlalchemy", "rich.progress", "pydantic", "msgspec")
    program = f"import sys, holdfast.cli.main as m; m.create_cli(); print([n for n in {heavy!r} if n in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_the_version_is_shown(server: FakeServer) -> None:
    assert server.run("--version").stdout == f"holdfast {__version__}\n"


# --- apply


def test_apply_shows_the_difference_and_applies_it(server: FakeServer, tmp_path: Path) -> None:
    file = tmp_path / "notes.yaml"
    file.write_text("name: notes\n")
    server.on("POST", "/api/workloads/preview", answer(preview()))
    server.on("PUT", "/api/workloads/notes", answer(preview()))
    result = server.run("apply", "-f", str(file))
    assert result.exit_code == ExitCode.OK
    assert result.stdout.splitlines() == [
        "+ env.TZ: UTC",
        "~ image: notes:1 → notes:2",
        "- user: 1000",
        "Changed notes. Deploy the change with: holdfast deploy notes",
    ]
    (sent,) = server.sent("PUT", "/api/workloads/notes")
    assert "If-Match" not in sent.headers
    assert (sent.headers["Content-Type"], sent.content) == ("application/yaml", b"name: notes\n")


def test_apply_names_the_revision_that_the_change_was_made_from_and_says_who_was_faster(server: FakeServer) -> None:
    server.on("POST", "/api/workloads/preview", answer(preview()))
    server.on("PUT", "/api/workloads/notes", refusal(412, "configuration_changed"))
    result = server.run("apply", "-f", "-", "--if-match", "0123456789abcdef", typed="name: notes")
    assert result.exit_code == ExitCode.REFUSED
    assert "It is configuration_changed." in result.stderr
    (sent,) = server.sent("PUT", "/api/workloads/notes")
    assert sent.headers["If-Match"] == '"0123456789abcdef"'


def test_apply_dry_run_changes_nothing(server: FakeServer, tmp_path: Path) -> None:
    file = tmp_path / "notes.json"
    file.write_text("{}")
    server.on("POST", "/api/workloads/preview", answer(preview()))
    result = server.run("apply", "-f", str(file), "--dry-run", "--json")
    assert json.loads(result.stdout)["changes"] == CHANGES
    assert [request.method for request in server.requests] == ["POST"]
    assert server.requests[0].headers["Content-Type"] == "application/json"


def test_apply_reads_stdin_and_says_how_to_deploy_what_is_new(server: FakeServer) -> None:
    server.on("POST", "/api/workloads/preview", answer(preview(created=True)))
    server.on("PUT", "/api/workloads/notes", answer(preview(created=True), 201))
    result = server.run("apply", "-f", "-", typed="name: notes")
    assert result.stdout.endswith("Created notes. Deploy it with: holdfast deploy notes\n")


def test_apply_of_a_file_that_is_not_there_is_a_usage_error(server: FakeServer) -> None:
    assert server.run("apply", "-f", "/nonexistent/notes.yaml").exit_code == ExitCode.USAGE


def test_apply_shows_where_a_declaration_is_wrong(server: FakeServer, tmp_path: Path) -> None:
    file = tmp_path / "notes.yaml"
    file.write_text("nmae: notes\n")
    problems = [
        {
            "path": "nmae",
            "code": "key_unknown",
            "message": "There is no key nmae.",
            "next_step": "Did you mean name?",
            "line": 1,
            "column": 1,
        },
        {"path": "source", "code": "key_missing", "message": "source is missing.", "next_step": ""},
    ]
    server.on("POST", "/api/workloads/preview", refusal(400, "workload_malformed", details={"problems": problems}))
    result = server.run("apply", "-f", str(file))
    assert result.exit_code == ExitCode.USAGE
    assert "  - line 1, column 1: There is no key nmae. (Did you mean name?)" in result.stderr


# --- workloads


def test_workloads_are_listed_over_all_pages(server: FakeServer) -> None:
    server.on(
        "GET",
        "/api/statuses",
        answer({"items": [status_in_brief("notes")], "next_cursor": "next"}),
        answer({"items": [status_in_brief("wiki")], "next_cursor": None}),
    )
    result = server.run("workload", "list")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["NAME", "notes", "wiki"]
    assert server.requests[1].url.params["cursor"] == "next"


def test_workloads_are_listed_with_their_condition_and_what_is_wrong_with_all_is_said_once(server: FakeServer) -> None:
    problem = {"message": "The engine does not answer."}
    silent = {"condition": "unknown", "engine_problem": problem, "busy": "deploy 01j"}
    items = [status_in_brief("notes") | silent, status_in_brief("wiki") | silent | {"pending": True}]
    server.on("GET", "/api/statuses", answer({"items": items, "next_cursor": None}))
    shown = server.run("workload", "list").stdout
    for words in ("unknown", "unknown, not as configured", "deploy 01j", "never"):
        assert words in shown
    assert shown.count("The engine does not answer.") == 1


def test_show_tells_times_relative_and_exact(server: FakeServer) -> None:
    server.on("GET", "/api/workloads/notes", answer(workload()))
    result = server.run("workload", "show", "notes")
    assert "ago (2026-11-23 09:00:00 UTC)" in result.stdout
    assert "/data" in result.stdout
    assert "stop grace: 30 s\n" in result.stdout


UPDATES = {"schedule": "0 4 * * *", "tags": "1.*"}


def updates_shown(server: FakeServer, outcome: dict[str, Any], **fields: Any) -> str:
    """What is shown of a workload with updates by a schedule, whose last one had this outcome."""
    shown = workload()
    server.on("GET", "/api/workloads/notes", answer(shown | {"config": shown["config"] | {"updates": UPDATES}}))
    run = {"result": "succeeded", "due_at": AT, "started_at": AT, "operation_id": OPERATION, "message": ""}
    well = {"health": "waiting", "waiting_for": "", "failures": 0, "last": run}
    found = SCHEDULE | {"kind": "update", "cron": "0 4 * * *"} | well | fields
    server.on("GET", "/api/schedules", answer({"items": [SCHEDULE, found | {"name": "wiki"}, found]}))
    server.on("GET", f"/api/operations/{OPERATION}", answer(operation(state="succeeded", outcome=outcome)))
    return server.run("workload", "show", "notes").stdout


def test_show_tells_when_it_is_updated_and_what_the_last_update_did(server: FakeServer) -> None:
    shown = updates_shown(server, {"result": "deployed", "tag": "1.10.0", "tags_seen": 3})
    assert "updates: 0 4 * * * Europe/Berlin, to tags like 1.*; the next one" in shown
    assert "another image was deployed (1.10.0)" in shown
    shown = updates_shown(server, {"result": "left_alone", "why": "somebody went back"})
    assert ": nothing was changed, since somebody went back" in shown
    failed = {"result": "failed", "due_at": AT, "started_at": AT, "operation_id": OPERATION, "message": "It is away."}
    shown = updates_shown(server, {}, last=failed, failures=2, health="failed")
    assert "failed (2 times in a row): It is away." in shown
    assert "the last update" not in shown


def test_show_tells_that_what_does_not_run_is_not_updated(server: FakeServer) -> None:
    shown = workload()
    server.on("GET", "/api/workloads/notes", answer(shown | {"config": shown["config"] | {"updates": UPDATES}}))
    server.on("GET", "/api/schedules", answer({"items": [SCHEDULE]}))
    told = server.run("workload", "show", "notes").stdout
    assert "updates: 0 4 * * *, to tags like 1.*; none until it was deployed and runs" in told


@pytest.mark.parametrize("verb", ["start", "stop"])
def test_start_and_stop_are_watched(server: FakeServer, verb: str) -> None:
    server.on("POST", f"/api/workloads/notes/{verb}", answer(operation(verb), 202))
    server.on("GET", EVENTS, stream(operation(verb, "succeeded")))
    assert server.run("workload", verb, "notes").exit_code == ExitCode.OK


def test_delete_asks_for_the_name_and_says_what_becomes_of_the_data(server: FakeServer) -> None:
    server.on("GET", "/api/workloads/notes", answer(workload()))
    server.on("DELETE", "/api/workloads/notes", answer(operation("delete"), 202))
    server.on("GET", EVENTS, stream(operation("delete", "succeeded")))
    result = server.run("workload", "delete", "notes", "--delete-data", interactive=True, typed="notes\n")
    assert result.exit_code == ExitCode.OK
    assert "removed for good" in result.stderr
    assert server.sent("DELETE", "/api/workloads/notes")[0].url.params["delete_data"] == "true"


def test_delete_is_not_done_when_nobody_can_be_asked(server: FakeServer) -> None:
    server.on("GET", "/api/workloads/notes", answer(workload()))
    assert server.run("workload", "delete", "notes").exit_code == ExitCode.REFUSED


# --- snapshots


def test_a_snapshot_s_id_is_told_when_it_is_taken(server: FakeServer) -> None:
    server.on("POST", SNAPSHOTS, answer(operation("snapshot"), 202))
    server.on("GET", EVENTS, stream(operation("snapshot", "succeeded", outcome={"snapshot_id": SNAPSHOT})))
    result = server.run("snapshot", "create", "notes", "--quiesce", "stop", "--note", "before")
    assert result.stdout.splitlines()[-1] == SNAPSHOT
    assert server.bodies("POST", SNAPSHOTS) == [{"quiesce": "stop", "note": "before"}]


def test_snapshots_are_listed_with_what_matters(server: FakeServer) -> None:
    page = {"items": [snapshot(pinned=True), snapshot(damaged=["0/a"])], "next_cursor": "more"}
    server.on("GET", SNAPSHOTS, answer(page))
    server.on("GET", "/api/workloads/notes/status", answer(safety(2)))
    result = server.run("snapshot", "list", "notes")
    assert "2 KiB" in result.stdout
    assert "DAMAGED" in result.stdout
    assert "--limit" in result.stderr
    assert "2 safety snapshots of notes are kept until you let them go, the oldest taken" in result.stderr
    assert "they added 3 MiB to the store" in result.stderr
    assert f"holdfast snapshot unpin notes {SNAPSHOT}, then holdfast snapshot delete notes {SNAPSHOT}" in result.stderr


def test_nothing_is_said_of_safety_snapshots_where_there_are_none_or_a_program_reads(server: FakeServer) -> None:
    server.on("GET", SNAPSHOTS, answer({"items": [snapshot()], "next_cursor": None}))
    server.on("GET", "/api/workloads/notes/status", answer(safety()))
    assert server.run("snapshot", "list", "notes").stderr == ""
    server.on("GET", "/api/workloads/notes/status", answer(safety(1)))
    assert server.run("snapshot", "list", "notes", "--json").stderr == ""


WARNING = {"message": "skipped: socket", "code": "", "values": None}


def test_a_snapshot_is_shown_with_volumes_and_warnings(server: FakeServer) -> None:
    server.on(
        "GET",
        f"{SNAPSHOTS}/{SNAPSHOT}",
        answer(snapshot(warnings=[WARNING])),
    )
    result = server.run("snapshot", "show", "notes", SNAPSHOT)
    assert "warning: skipped: socket" in result.stdout
    assert "/data" in result.stdout


def test_a_snapshot_says_in_the_list_and_by_itself_what_had_to_be_killed_for_it(server: FakeServer) -> None:
    stopped: dict[str, Any] = {"consistency": "stopped", "stopped_cleanly": False}
    killed, untold = snapshot(**stopped, unclean_stops=[KILLED, KILLED]), snapshot(**stopped)
    server.on("GET", SNAPSHOTS, answer({"items": [killed, untold], "next_cursor": None}))
    server.on("GET", "/api/workloads/notes/status", answer(safety()))
    listed = server.run("snapshot", "list", "notes").stdout
    assert listed.count("stopped, but killed after 10 s ") == 1
    assert "stopped, but not cleanly" in listed, "as earlier versions wrote it"
    server.on("GET", f"{SNAPSHOTS}/{SNAPSHOT}", answer(killed))
    shown = server.run("snapshot", "show", "notes", SNAPSHOT).stdout
    assert "consistency: stopped, but killed after 10 s\n" in shown
    assert "warning: notes-1 did not end within its grace of 10 s and was killed\n" in shown


@pytest.mark.parametrize(
    ("paths", "deploys"), [(("hooks.timeout", "snapshots"), False), (("snapshots.keep", "image"), True)]
)
def test_what_makes_no_other_containers_needs_no_deploy(
    server: FakeServer, tmp_path: Path, paths: tuple[str, ...], deploys: bool
) -> None:
    changed = {**preview(), "changes": [{"path": path, "before": 1, "after": 2} for path in paths]}
    server.on("POST", "/api/workloads/preview", answer(changed))
    server.on("PUT", "/api/workloads/notes", answer(changed))
    (tmp_path / "notes.yaml").write_text("name: notes\n")
    said = server.run("apply", "-f", str(tmp_path / "notes.yaml")).stdout
    assert ("holdfast deploy notes" in said) is deploys
    assert ("nothing has to be deployed" in said) is not deploys


@pytest.mark.parametrize(("verb", "pinned"), [("pin", True), ("unpin", False)])
def test_pin_and_unpin(server: FakeServer, verb: str, pinned: bool) -> None:
    server.on("PATCH", f"{SNAPSHOTS}/{SNAPSHOT}", answer(snapshot(pinned=pinned)))
    assert server.run("snapshot", verb, "notes", SNAPSHOT).exit_code == ExitCode.OK
    assert server.bodies("PATCH", f"{SNAPSHOTS}/{SNAPSHOT}") == [{"pinned": pinned}]


def test_verify_is_watched(server: FakeServer) -> None:
    server.on("POST", f"{SNAPSHOTS}/{SNAPSHOT}/verify", answer(operation("verify"), 202))
    server.on("GET", EVENTS, stream(operation("verify", "succeeded")))
    assert server.run("snapshot", "verify", "notes", SNAPSHOT).stdout == "The snapshot is whole.\n"


def test_a_snapshot_is_deleted_after_its_workload_s_name_was_typed(server: FakeServer) -> None:
    server.on("GET", f"{SNAPSHOTS}/{SNAPSHOT}", answer(snapshot()))
    server.on("DELETE", f"{SNAPSHOTS}/{SNAPSHOT}", httpx.Response(204))
    result = server.run("snapshot", "delete", "notes", SNAPSHOT, interactive=True, typed="notes\n")
    assert result.exit_code == ExitCode.OK


# --- archives


def archive(name: str = "notes.tar.zst") -> httpx.Response:
    return httpx.Response(200, content=b"archive", headers={"Content-Disposition": f'attachment; filename="{name}"'})


def test_export_writes_a_file_under_the_server_s_name(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server.on("GET", f"{SNAPSHOTS}/{SNAPSHOT}/archive", archive())
    result = server.run("snapshot", "export", "notes", SNAPSHOT)
    assert result.exit_code == ExitCode.OK
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("notes.tar.zst", b"archive")]


def test_export_does_not_write_where_the_server_says_but_here(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server.on("GET", f"{SNAPSHOTS}/{SNAPSHOT}/archive", archive("../../evil"))
    server.run("snapshot", "export", "notes", SNAPSHOT)
    assert [p.name for p in tmp_path.iterdir()] == [f"{SNAPSHOT}.tar.zst"]


def test_export_never_replaces_a_file(server: FakeServer, tmp_path: Path) -> None:
    target = tmp_path / "mine.tar.zst"
    target.write_bytes(b"precious")
    server.on("GET", f"{SNAPSHOTS}/{SNAPSHOT}/archive", archive())
    assert server.run("snapshot", "export", "notes", SNAPSHOT, "-o", str(target)).exit_code == ExitCode.REFUSED
    assert target.read_bytes() == b"precious"


def test_an_export_that_breaks_off_leaves_no_file(server: FakeServer, tmp_path: Path) -> None:
    def broken() -> object:
        yield b"half"
        raise httpx.ReadError("reset")

    server.on("GET", f"{SNAPSHOTS}/{SNAPSHOT}/archive", lambda _: httpx.Response(200, content=broken()))  # type: ignore[arg-type] # a generator is what a broken connection looks like
    result = server.run("snapshot", "export", "notes", SNAPSHOT, "-o", str(tmp_path / "x.tar.zst"))
    assert result.exit_code == ExitCode.UNREACHABLE
    assert list(tmp_path.iterdir()) == []
    assert "holdfast snapshot verify" in result.stderr


def test_export_to_stdout_is_the_archive_alone(server: FakeServer) -> None:
    server.on("GET", f"{SNAPSHOTS}/{SNAPSHOT}/archive", archive())
    assert server.run("snapshot", "export", "notes", SNAPSHOT, "-o", "-").stdout_bytes == b"archive"


def test_import_sends_the_file_as_it_is(server: FakeServer, tmp_path: Path) -> None:
    file = tmp_path / "a.tar"
    file.write_bytes(b"tar")
    received: list[bytes] = []

    def take(request: httpx.Request) -> httpx.Response:
        received.append(request.read())
        return answer(operation("import"), 202)

    server.on("POST", f"{SNAPSHOTS}/import", take)
    server.on("GET", EVENTS, stream(operation("import", "succeeded", outcome={"snapshot_id": SNAPSHOT})))
    result = server.run("snapshot", "import", "notes", str(file), "--allow-links")
    assert result.stdout.splitlines()[-1] == SNAPSHOT
    assert received == [b"tar"]
    assert server.requests[0].headers["Content-Length"] == "3"
    assert server.requests[0].url.params["allow_links"] == "true"


# --- operations, logs, doctor


def test_operations_are_listed_with_their_step(server: FakeServer) -> None:
    found = [
        operation(steps=[{"name": "pulling", "started_at": AT, "finished_at": None}]),
        operation(waiting_for="waiting for x"),
    ]
    server.on("GET", "/api/operations", answer({"items": found, "next_cursor": None}))
    result = server.run("operation", "list", "--workload", "notes")
    assert "pulling" in result.stdout
    assert "waiting for x" in result.stdout
    assert server.requests[0].url.params["workload"] == "notes"


def test_an_operation_is_shown_with_steps_log_and_error(server: FakeServer) -> None:
    document = operation(
        state="failed",
        steps=[{"name": "pulling", "started_at": AT, "finished_at": AT}],
        log=[{"at": AT, "message": "retrying", "level": "warning"}],
        error={"code": "x", "message": "It broke.", "next_step": "Mend it.", "details": {}},
    )
    server.on("GET", f"/api/operations/{OPERATION}", answer(document))
    shown = server.run("operation", "show", OPERATION).stdout
    assert "step pulling" in shown
    assert "warning: retrying" in shown
    assert "error: It broke.\nnext: Mend it.\n" in shown


def test_an_operation_is_shown_with_what_did_not_end_well(server: FakeServer) -> None:
    server.on(
        "GET", f"/api/operations/{OPERATION}", answer(operation(state="succeeded", outcome={"unclean_stops": [KILLED]}))
    )
    shown = server.run("operation", "show", OPERATION).stdout
    assert "not stopped well: notes-1 did not end within its grace of 10 s and was killed\n" in shown


def test_how_far_an_operation_is_stands_there_while_it_runs(server: FakeServer) -> None:
    progress = {"done_bytes": 1 << 20, "total_bytes": 3 << 20, "done_files": 0, "total_files": None, "note": "2 of 3"}
    path = f"/api/operations/{OPERATION}"
    server.on("GET", path, answer(operation("copy", progress=progress)))
    assert "1 MiB of 3 MiB, 2 of 3" in server.run("operation", "show", OPERATION).stdout
    server.on("GET", path, answer(operation("copy", "succeeded", progress=progress)))
    assert "progress" not in server.run("operation", "show", OPERATION).stdout


LOG = "the last lines of its log:\n  | no such table: notes\n"


def test_the_log_of_a_failed_instance_is_shown_with_the_failure(server: FakeServer) -> None:
    error = {
        "code": "x",
        "message": "It broke.",
        "next_step": "Mend it.",
        "details": {"logs": ["no such table: notes"]},
    }
    server.on("GET", f"/api/operations/{OPERATION}", answer(operation(state="failed", error=error)))
    assert f"error: It broke.\n{LOG}next: Mend it.\n" in server.run("operation", "show", OPERATION).stdout
    assert f"error: It broke.\n{LOG}next: Mend it.\n" in server.run("operation", "watch", OPERATION).stderr


def test_the_log_of_an_instance_that_failed_on_restored_data_is_shown(server: FakeServer) -> None:
    error = {"code": "restore_reverted", "message": "Taken back.", "next_step": "Look.", "details": {}}
    outcome = {"result": "reverted", "instance_logs": ["no such table: notes"]}
    document = operation(kind="restore", state="failed", error=error, outcome=outcome)
    server.on("GET", f"/api/operations/{OPERATION}", answer(document))
    assert f"{LOG}error: Taken back.\n" in server.run("operation", "show", OPERATION).stdout
    assert f"{LOG}error: Taken back.\n" in server.run("operation", "watch", OPERATION).stderr


def test_cancel_asks_the_server(server: FakeServer) -> None:
    server.on("POST", f"/api/operations/{OPERATION}/cancel", answer(operation(), 202))
    assert server.run("operation", "cancel", OPERATION).exit_code == ExitCode.OK


LINES = [
    {"at": AT, "instance": "notes-1", "stream": "stdout", "text": "hello\n"},
    {"at": AT, "instance": "notes-2", "stream": "stderr", "text": "bad \x1b[2J"},
]


def test_logs_go_where_the_container_wrote_them(server: FakeServer) -> None:
    server.on("GET", "/api/workloads/notes/logs", answer({"items": LINES}))
    result = server.run("logs", "notes", "--tail", "5", "--search", "x", "--until", "2026-11-23T09:00:00Z")
    assert (result.stdout, result.stderr) == ("notes-1 | hello\n", "notes-2 | bad \\x1b[2J\n")
    asked = server.requests[0].url.params
    assert (asked["tail"], asked["search"], asked["until"]) == ("5", "x", AT)
    assert server.run("logs", "notes", "--plain").stdout == "hello\n"


def test_all_logs_are_written_to_a_new_file(server: FakeServer, tmp_path: Path) -> None:
    server.on("GET", "/api/workloads/notes/logs/download", httpx.Response(200, content=b"all lines\n"))
    target = tmp_path / "notes.log"
    assert server.run("logs", "notes", "-o", str(target), "--since", "1h").exit_code == ExitCode.OK
    assert target.read_text() == "all lines\n"
    assert server.requests[0].url.params["since"].endswith("Z")
    assert "file_exists" in server.run("logs", "notes", "-o", str(target), "--json").stdout
    assert server.run("logs", "notes", "-o", str(target), "--follow").exit_code == ExitCode.USAGE


def test_logs_are_followed_line_by_line(server: FakeServer) -> None:
    server.on("GET", "/api/workloads/notes/logs", events("log", *LINES))
    result = server.run("logs", "notes", "-f", "--json", "--since", "10m")
    assert [json.loads(line)["text"] for line in result.stdout.splitlines()] == [line["text"] for line in LINES]
    assert server.requests[0].url.params["since"].endswith("Z")


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\x0c", "\r\n"])
def test_a_line_of_a_program_ends_no_event_of_the_stream(server: FakeServer, end: str) -> None:
    line = {**LINES[0], "text": f"one{end}\ntwo"}
    server.on("GET", "/api/workloads/notes/logs", events("log", line, LINES[1]))
    result = server.run("logs", "notes", "-f", "--json")
    assert [json.loads(each)["text"] for each in result.stdout.split("\n")[:-1]] == [line["text"], LINES[1]["text"]]


def test_an_error_in_the_stream_is_told(server: FakeServer) -> None:
    error = {"error": {"code": "engine_unavailable", "message": "The engine is gone.", "next_step": "Start it."}}
    server.on("GET", "/api/workloads/notes/logs", events("error", error))
    result = server.run("logs", "notes", "-f")
    assert result.exit_code == ExitCode.FAILED
    assert "The engine is gone." in result.stderr


def test_since_that_is_no_time_is_a_usage_error(server: FakeServer) -> None:
    assert server.run("logs", "notes", "--since", "yesterday").exit_code == ExitCode.USAGE


def test_doctor_shows_every_finding_with_its_mend_and_fails_on_an_error(server: FakeServer) -> None:
    findings = [
        {"check": "engine", "level": "ok", "message": "It answers.", "mend": ""},
        {"check": "space /srv", "level": "error", "message": "1 GiB free.", "mend": "Free space."},
    ]
    server.on("GET", "/api/doctor", answer({"level": "error", "findings": findings}))
    result = server.run("doctor")
    assert result.exit_code == ExitCode.FAILED
    assert "mend: Free space." in result.stdout


# --- status

DEPLOYMENT = {"state": "succeeded", "started_at": AT, "finished_at": AT}
STATUS = {
    "id": "x",
    "name": "notes",
    "image": "notes:1",
    "condition": "undecided",
    "desired": "running",
    "instances": [{"name": "notes-1", "state": "running", "health": "none", "restart_count": 2, "started_at": AT}],
    "last_deployment": DEPLOYMENT,
    "deployed": None,
    "differences": [{"code": "x", "message": "One is gone.", "instance_id": ""}],
    "pending": [{"path": "env.TZ", "before": None, "after": "UTC"}],
    "returned": {
        "image": "notes:0",
        "image_id": "x",
        "configured": "notes:1",
        "words": "It runs notes:0 by a restore.",
    },
    "busy": "restore 01j",
    "undecided": "Both are unhealthy.",
    "engine_problem": None,
    "domains": ["notes.example.org"],
    "edge_problem": {"message": "Caddy does not answer."},
    **safety(1),
}


def test_the_status_of_one_workload_tells_all_that_needs_somebody(server: FakeServer) -> None:
    server.on("GET", "/api/workloads/notes/status", answer(STATUS))
    shown = server.run("status", "notes").stdout
    for words in (
        "Both are unhealthy.",
        "restore-decision notes",
        "One is gone.",
        "env.TZ",
        "restore 01j",
        "notes-1",
        "by a restore",
        "1 safety snapshot of notes is kept until you let it go; it added 3 MiB to the store.",
        "holdfast snapshot unpin notes",
        "notes.example.org",
        "Caddy does not answer.",
    ):
        assert words in shown


def test_the_status_says_why_the_last_deployment_failed(server: FakeServer) -> None:
    error = {"code": "engine_error", "message": "The port is taken.", "next_step": "Free it.", "details": {}}
    failed = {**DEPLOYMENT, "state": "failed", "error": error}
    server.on("GET", "/api/workloads/notes/status", answer(STATUS | {"last_deployment": failed}))
    assert "error: The port is taken.\nnext: Free it.\n" in server.run("status", "notes").stdout


def test_the_status_shows_the_digest_of_what_runs(server: FakeServer) -> None:
    deployed = {**DEPLOYMENT, "digest": "registry.example/notes@sha256:aa"}
    server.on("GET", "/api/workloads/notes/status", answer(STATUS | {"deployed": deployed}))
    assert "registry.example/notes@sha256:aa" in server.run("status", "notes").stdout


def test_the_status_of_all_is_one_line_each(server: FakeServer) -> None:
    server.on("GET", "/api/workloads", answer({"items": [workload()], "next_cursor": None}))
    server.on("GET", f"/api/workloads/{workload()['id']}/status", answer(STATUS | {"last_deployment": None}))
    result = server.run("status")
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [["NAME", "CONDITION"], ["notes", "undecided"]]
    assert "never" in result.stdout


SCHEDULE = {
    "kind": "snapshot",
    "name": "notes",
    "words": "snapshots of notes",
    "cron": "0 3 * * *",
    "time_zone": "Europe/Berlin",
    "missed": "catch_up",
    "health": "overdue",
    "next_at": "2026-11-24T02:00:00.000000Z",
    "waiting_for": "waiting for restore 01j",
    "last": {
        "result": "failed",
        "due_at": "2026-11-23T02:00:00.000000Z",
        "started_at": AT,
        "finished_at": AT,
        "operation_id": None,
        "code": "pre_snapshot_failed",
        "message": "The hook failed.",
    },
    "succeeded_at": None,
    "failures": 2,
}


def test_schedules_are_listed_with_what_is_wrong_in_words(server: FakeServer) -> None:
    server.on("GET", "/api/schedules", answer({"items": [SCHEDULE]}))
    shown = server.run("schedule", "list").stdout
    for words in (
        "0 3 * * * Europe/Berlin",
        "2026-11-24 02:00:00 UTC",
        "snapshots of notes: one was due at 2026-11-24 02:00:00 UTC, and has not begun",
        "waiting for restore 01j",
        "the one of 2026-11-23 02:00:00 UTC failed (2 times in a row): The hook failed.",
    ):
        assert words in shown
    server.on("GET", "/api/schedules", answer({"items": []}))
    assert "snapshots.schedule" in server.run("schedule", "list").stderr


def test_a_status_shows_an_overdue_snapshot_in_one_line_and_in_full(server: FakeServer) -> None:
    ailing = STATUS | {"last_deployment": None, "schedule": SCHEDULE}
    server.on("GET", "/api/workloads", answer({"items": [workload()], "next_cursor": None}))
    server.on("GET", f"/api/workloads/{workload()['id']}/status", answer(ailing))
    assert "OVERDUE, last never" in server.run("status").stdout
    server.on("GET", "/api/workloads/notes/status", answer(ailing))
    assert "snapshots: one was due at" in server.run("status", "notes").stdout


PRUNED = {
    "dry_run": True,
    "deleted_snapshots": 1,
    "snapshots": [
        {"id": SNAPSHOT, "workload": "notes", "taken_at": AT, "deleted": False, "reasons": ["newest_good", "daily"]},
        {"id": OPERATION, "workload": "notes", "taken_at": AT, "deleted": True, "reasons": []},
    ],
    "deleted_packs": 2,
    "rewritten_packs": 1,
    "freed_bytes": 2048,
    "postponed_packs": 0,
}


def test_a_dry_run_of_a_prune_shows_what_goes_and_why_the_rest_stays(server: FakeServer) -> None:
    server.on("POST", "/api/repository/prune", answer(operation("prune"), 202))
    server.on("GET", EVENTS, stream(operation("prune", "succeeded", outcome=PRUNED)))
    result = server.run("snapshot", "prune", "--dry-run")
    assert result.exit_code == ExitCode.OK
    assert server.bodies("POST", "/api/repository/prune") == [{"workload": None, "dry_run": True}]
    assert "Nothing was changed." in result.stdout
    assert "newest_good, daily" in result.stdout
    assert "goes" in result.stdout
    assert "2 KiB" in result.stdout


def test_a_prune_that_only_frees_shows_no_empty_list(server: FakeServer) -> None:
    server.on("POST", "/api/repository/prune", answer(operation("prune"), 202))
    server.on("GET", EVENTS, stream(operation("prune", "succeeded", outcome=PRUNED | {"snapshots": []})))
    assert "VERDICT" not in server.run("snapshot", "prune", "--yes").stdout


def test_a_prune_asks_first(server: FakeServer) -> None:
    result = server.run("snapshot", "prune", "notes")
    assert result.exit_code == ExitCode.REFUSED
    assert "--yes" in result.stderr


@pytest.mark.parametrize(("given", "sent"), [("10%", 10), ("100", 100), (None, 100)])
def test_a_share_of_the_repository_is_verified(server: FakeServer, given: str | None, sent: int) -> None:
    outcome = {"bytes": 1024, "bytes_in_all": 2048, "since": None}
    server.on("POST", "/api/repository/verify", answer(operation("verify"), 202))
    server.on("GET", EVENTS, stream(operation("verify", "succeeded", outcome=outcome)))
    result = server.run("repository", "verify", *(("--share", given) if given else ()))
    assert result.exit_code == ExitCode.OK
    assert server.bodies("POST", "/api/repository/verify") == [{"share": sent}]
    assert "1 KiB of 2 KiB" in result.stdout


@pytest.mark.parametrize("share", ["0", "101%", "ten", "1.5%", "-1"])
def test_a_share_that_is_none_is_refused(server: FakeServer, share: str) -> None:
    assert server.run("repository", "verify", "--share", share).exit_code == ExitCode.USAGE
