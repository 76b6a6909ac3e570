"""restore, undo and decide: the dry run first, then the question, then the deed."""

from __future__ import annotations

import json
import os

import pytest

from holdfast.cli.exit_codes import ExitCode
from tests.unit.cli.fake_server import (
    OPERATION,
    SNAPSHOT,
    FakeServer,
    answer,
    dry_run_plan,
    operation,
    refusal,
    safety,
    snapshot,
    stream,
    workload,
)

RESTORE = f"/api/workloads/notes/snapshots/{SNAPSHOT}/restore"
UNDO = "/api/workloads/notes/undo"
EVENTS = f"/api/operations/{OPERATION}/events"


@pytest.fixture
def ready(server: FakeServer) -> FakeServer:
    """A server on which a restore works."""
    server.on("GET", "/api/workloads/notes", answer(workload()))
    server.on("POST", RESTORE, answer(operation("restore"), 202))
    server.on("POST", UNDO, answer(operation("undo"), 202))
    server.on("GET", "/api/workloads/notes/status", answer(safety(1)))
    server.on(
        "GET",
        EVENTS,
        stream(operation("restore", "succeeded", outcome=dry_run_plan())),
        stream(operation("restore", "succeeded", outcome={"result": "restored"})),
    )
    return server


def test_how_a_volume_was_swapped_is_told_where_it_was_not_one_exchange(ready: FakeServer) -> None:
    swaps = {"/data": "children", "/media": "exchange", "/old": "renames"}
    end = operation("restore", "succeeded", outcome={"result": "restored", "swaps": swaps})
    ready.on("GET", EVENTS, stream(operation("restore", "succeeded", outcome=dry_run_plan())), stream(end))
    told = ready.run("restore", "notes", SNAPSHOT, interactive=True, typed="notes\n").stdout
    assert "/data is a mount point: what is in it was exchanged name by name." in told
    assert "/old was swapped by renames" in told
    assert "/media" not in told.split("healthy on it")[-1]


def test_a_downtime_is_told_with_what_it_was_spent_on(ready: FakeServer) -> None:
    spent = {"stop": 0.2, "safety": 1.3, "recheck": 0.001, "other": 0.05}
    end = operation("restore", "succeeded", outcome={"result": "restored", "downtime_seconds": 1.551, "seconds": spent})
    ready.on("GET", EVENTS, stream(operation("restore", "succeeded", outcome=dry_run_plan())), stream(end))
    result = ready.run("restore", "notes", SNAPSHOT, interactive=True, typed="notes\n")
    assert "Downtime: 1.6 s (stop 200 ms, safety snapshot 1.3 s, records 50 ms)." in result.stdout


def test_the_plan_comes_first_and_the_name_must_be_typed(ready: FakeServer) -> None:
    result = ready.run("restore", "notes", SNAPSHOT, interactive=True, typed="notes\n")
    assert result.exit_code == ExitCode.OK, result.output
    assert "+ 1 added (10 B)" in result.stderr
    assert "~ 2 changed (20 B)\n      ~ a.txt\n      ~ b.txt\n" in result.stderr
    assert "safety snapshot" in result.stderr
    assert "warning: the image carries no digest" in result.stderr
    stops = "What runs is stopped: notes gets up to 10 s to end by itself, and is killed after that."
    assert f"This replaces the live data of notes, after a safety snapshot of all of it. {stops}\n" in result.stderr
    assert f"\n{stops}\n" in result.stderr, "in the plan"
    assert "Type notes to go on" in result.stderr
    assert "holdfast undo" in result.stdout
    assert "1 safety snapshot of notes is kept" in result.stderr
    rehearsal, deed = ready.sent("POST", RESTORE)
    assert json.loads(rehearsal.content)["dry_run"] is True
    assert "X-Confirm-Restore" not in rehearsal.headers
    assert deed.headers["X-Confirm-Restore"] == SNAPSHOT
    assert "dry_run" not in json.loads(deed.content)


def test_a_wrong_name_changes_nothing(ready: FakeServer) -> None:
    result = ready.run("restore", "notes", SNAPSHOT, interactive=True, typed="other\n")
    assert result.exit_code == ExitCode.REFUSED
    assert len(ready.sent("POST", RESTORE)) == 1


def test_without_a_terminal_it_needs_yes(ready: FakeServer) -> None:
    result = ready.run("restore", "notes", SNAPSHOT)
    assert result.exit_code == ExitCode.REFUSED
    assert "--yes" in result.stderr
    assert len(ready.sent("POST", RESTORE)) == 1


def test_yes_asks_nothing_and_passes_the_options_on(ready: FakeServer) -> None:
    options = ("--volume", "/data", "--on-unhealthy", "keep", "--with-image", "--create-missing", "--accept-replaced")
    result = ready.run("restore", "notes", SNAPSHOT, "--yes", "--json", *options)
    assert result.exit_code == ExitCode.OK, result.output
    assert json.loads(result.stdout)["outcome"]["result"] == "restored"
    assert ready.bodies("POST", RESTORE)[1] == {
        "volumes": ["/data"],
        "on_unhealthy": "keep",
        "with_image": True,
        "create_missing": True,
        "accept_replaced": True,
    }


def test_chosen_paths_travel_as_text_or_encoded_if_they_are_none(ready: FakeServer) -> None:
    ready.on("GET", f"/api/workloads/notes/snapshots/{SNAPSHOT}", answer(snapshot()))
    chosen = ("--path", "/data/up loads/", "--path", os.fsdecode(b"/data/caf\xe9"))
    assert ready.run("restore", "notes", SNAPSHOT, "--yes", *chosen).exit_code == ExitCode.OK
    sent = ready.bodies("POST", RESTORE)[1]
    assert sent["paths"] == ["/data/up loads"]
    assert sent["encoded_paths"] == [{"volume": "/data", "path": "Y2Fm6Q"}]


def test_the_plan_of_chosen_paths_names_them_and_says_that_all_else_stays(ready: FakeServer) -> None:
    plan = dry_run_plan()
    outcome = plan | {"paths": ["/data/a"], "volumes": [plan["volumes"][0] | {"paths": ["/data/a"]}]}
    ready.on("GET", EVENTS, stream(operation("restore", "succeeded", outcome=outcome)))
    result = ready.run("restore", "notes", SNAPSHOT, "--dry-run", "--path", "/data/a")
    assert "only these and what is below them" in result.stdout
    assert "      /data/a\n" in result.stdout
    assert "All else stays as it is" in result.stdout


def test_the_outcome_names_the_chosen_paths(ready: FakeServer) -> None:
    end = operation("restore", "succeeded", outcome={"result": "restored", "paths": ["/data/a", "/data/b"]})
    ready.on("GET", EVENTS, stream(operation("restore", "succeeded", outcome=dry_run_plan())), stream(end))
    result = ready.run("restore", "notes", SNAPSHOT, "--yes", "--path", "/data/a", "--path", "/data/b")
    assert "Restored were only /data/a, /data/b; all else stayed as it was at the stop." in result.stdout


def test_a_dry_run_shows_the_plan_and_ends(ready: FakeServer) -> None:
    result = ready.run("restore", "notes", SNAPSHOT, "--dry-run")
    assert result.exit_code == ExitCode.OK
    assert result.stdout.endswith("Nothing was changed.\n")
    assert "/data (/srv/notes/data):" in result.stdout
    assert len(ready.sent("POST", RESTORE)) == 1


def test_a_preflight_that_refuses_ends_it_before_any_question(ready: FakeServer) -> None:
    problems = [{"code": "a", "message": "Missing.", "next_step": "", "details": {}}]
    ready.on("POST", RESTORE, refusal(422, "volume_missing", details={"problems": problems}))
    result = ready.run("restore", "notes", SNAPSHOT, interactive=True)
    assert result.exit_code == ExitCode.REFUSED
    assert "Type notes" not in result.stderr


def test_a_dry_run_that_fails_ends_it_before_any_question(ready: FakeServer) -> None:
    error = {"code": "no_space_bytes", "message": "Full.", "next_step": "Free space.", "details": {}}
    ready.on("GET", EVENTS, stream(operation("restore", "failed", error=error)))
    result = ready.run("restore", "notes", SNAPSHOT, interactive=True)
    assert result.exit_code == ExitCode.FAILED
    assert "error: Full." in result.stderr
    assert len(ready.sent("POST", RESTORE)) == 1


def test_another_restore_in_flight_is_busy(ready: FakeServer) -> None:
    ready.on("POST", RESTORE, refusal(409, "restore_in_flight", headers={"Retry-After": "5"}))
    assert ready.run("restore", "notes", SNAPSHOT, "--yes").exit_code == ExitCode.BUSY


def test_without_a_snapshot_a_list_is_offered(ready: FakeServer) -> None:
    ready.on("GET", "/api/workloads/notes/snapshots", answer({"items": [snapshot()], "next_cursor": None}))
    result = ready.run("restore", "notes", interactive=True, typed="1\nnotes\n")
    assert result.exit_code == ExitCode.OK, result.output
    assert f" 1) {SNAPSHOT}" in result.stdout
    assert len(ready.sent("POST", RESTORE)) == 2


def test_without_a_snapshot_and_without_a_terminal_it_is_a_usage_error(ready: FakeServer) -> None:
    result = ready.run("restore", "notes", "--yes")
    assert result.exit_code == ExitCode.USAGE
    assert "holdfast snapshot list notes" in result.stderr
    result = ready.run("restore", "notes", "--from", "far", "--yes")
    assert "holdfast snapshot list notes --from far" in result.stderr


def test_a_second_repository_that_holds_none_is_named(ready: FakeServer) -> None:
    ready.on("GET", "/api/repositories/far/snapshots", answer({"items": [], "next_cursor": None}))
    result = ready.run("restore", "notes", "--from", "far", interactive=True)
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "far holds no snapshots of notes." in result.stderr


def test_a_number_that_is_not_offered_restores_nothing(ready: FakeServer) -> None:
    ready.on("GET", "/api/workloads/notes/snapshots", answer({"items": [snapshot()], "next_cursor": None}))
    assert ready.run("restore", "notes", interactive=True, typed="7\n").exit_code == ExitCode.USAGE
    assert not ready.sent("POST", RESTORE)


def test_a_workload_without_snapshots_says_how_to_take_one(ready: FakeServer) -> None:
    ready.on("GET", "/api/workloads/notes/snapshots", answer({"items": [], "next_cursor": None}))
    result = ready.run("restore", "notes", interactive=True)
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "holdfast snapshot create notes" in result.stderr


def test_a_reverted_restore_is_a_failure_that_says_so(ready: FakeServer) -> None:
    ready.on(
        "GET",
        EVENTS,
        stream(operation("restore", "succeeded", outcome=dry_run_plan())),
        stream(operation("restore", "succeeded", outcome={"result": "reverted"})),
    )
    result = ready.run("restore", "notes", SNAPSHOT, "--yes")
    assert result.exit_code == ExitCode.FAILED
    assert "the data from before is back" in result.stdout


def test_undo_names_its_target_and_confirms_it(ready: FakeServer) -> None:
    ready.on("GET", UNDO, answer({"snapshot": snapshot(reason="safety")}))
    result = ready.run("undo", "notes", "--yes", "--create-missing")
    assert result.exit_code == ExitCode.OK, result.output
    assert ready.bodies("POST", UNDO)[1] == {"create_missing": True, "accept_replaced": False}
    assert SNAPSHOT in result.stderr
    assert ready.sent("POST", UNDO)[1].headers["X-Confirm-Restore"] == SNAPSHOT
    assert "1 safety snapshot of notes is kept" in result.stderr


def test_a_restore_stands_whether_or_not_its_safety_snapshots_can_be_told(ready: FakeServer) -> None:
    ready.on("GET", "/api/workloads/notes/status", refusal(503, "engine_unavailable"))
    assert ready.run("restore", "notes", SNAPSHOT, "--yes").exit_code == ExitCode.OK


def test_undo_without_a_restore_is_not_found(ready: FakeServer) -> None:
    ready.on("GET", UNDO, answer({"snapshot": None}))
    assert ready.run("undo", "notes").exit_code == ExitCode.NOT_FOUND


DECISION = "/api/workloads/notes/restore-decision"


def test_a_decision_tells_what_waits_and_confirms_the_restore_that_it_is_about(ready: FakeServer) -> None:
    ready.on("GET", DECISION, answer({"pending": {"restore_id": OPERATION, "why": "It is unhealthy."}}))
    ready.on("POST", DECISION, answer(operation("restore"), 202))
    ready.on("GET", EVENTS, stream(operation("restore", "succeeded", outcome={"result": "restored"})))
    result = ready.run("restore-decision", "notes", "keep", interactive=True, typed="notes\n")
    assert result.exit_code == ExitCode.OK, result.output
    assert "It is unhealthy." in result.stderr
    (sent,) = ready.sent("POST", DECISION)
    assert (sent.headers["X-Confirm-Restore"], json.loads(sent.content)) == (OPERATION, {"choice": "keep"})


def test_a_release_needs_no_restore_that_waits(ready: FakeServer) -> None:
    ready.on("POST", DECISION, answer(operation("restore"), 202))
    ready.on("GET", EVENTS, stream(operation("restore", "succeeded", outcome={"released": []})))
    assert ready.run("restore-decision", "notes", "release", "--yes").exit_code == ExitCode.OK
    assert "X-Confirm-Restore" not in ready.sent("POST", DECISION)[0].headers


def test_a_decision_about_nothing_is_not_found(ready: FakeServer) -> None:
    ready.on("GET", DECISION, answer({"pending": None}))
    ready.on("POST", DECISION, refusal(404, "nothing_to_decide"))
    assert ready.run("restore-decision", "notes", "revert", "--yes").exit_code == ExitCode.NOT_FOUND
