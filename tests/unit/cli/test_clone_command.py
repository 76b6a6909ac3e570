"""clone: where the data comes from and goes to, the dry run first, then the question, then the deed."""

from __future__ import annotations

import json
from pathlib import Path

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

CLONE = f"/api/snapshots/{SNAPSHOT}/clone"
FROM = {"workload": "staging", "cloned_from": {"id": "x", "name": "notes"}}


@pytest.fixture
def ready(server: FakeServer) -> FakeServer:
    """A server on which a clone works."""
    server.on("GET", "/api/workloads/staging", answer(workload("staging")))
    server.on("POST", CLONE, answer(operation("clone"), 202))
    server.on("GET", "/api/workloads/staging/status", answer(safety(1)))
    server.on(
        "GET",
        f"/api/operations/{OPERATION}/events",
        stream(operation("clone", "succeeded", outcome=dry_run_plan() | FROM)),
        stream(operation("clone", "succeeded", outcome={"result": "restored"} | FROM)),
    )
    return server


def test_the_plan_says_whose_data_goes_where_and_the_targets_name_must_be_typed(ready: FakeServer) -> None:
    result = ready.run("clone", SNAPSHOT, "--into", "staging", interactive=True, typed="staging\n")
    assert result.exit_code == ExitCode.OK, result.output
    assert "The data of notes goes into staging; notes is not touched." in result.stderr
    assert "Type staging to go on" in result.stderr
    assert "Cloned notes into staging." in result.stdout
    assert "1 safety snapshot of staging is kept" in result.stderr
    rehearsal, deed = ready.sent("POST", CLONE)
    assert json.loads(rehearsal.content)["dry_run"] is True
    assert deed.headers["X-Confirm-Restore"] == SNAPSHOT
    assert json.loads(deed.content)["into"] == "staging"


def test_a_source_that_has_to_stand_still_meanwhile_is_not_said_to_be_left_alone(ready: FakeServer) -> None:
    plan = dry_run_plan() | FROM | {"also_stopped": ["x"]}
    ready.on("GET", f"/api/operations/{OPERATION}/events", stream(operation("clone", "succeeded", outcome=plan)))
    told = ready.run("clone", SNAPSHOT, "--into", "staging", "--dry-run").stdout
    assert "notes stands still meanwhile" in told
    assert "notes is not touched" not in told


def test_of_a_workload_that_never_ran_before_no_downtime_is_told(ready: FakeServer) -> None:
    outcome = {"result": "restored", "downtime_seconds": 9.0, "seconds": {}, "image_before": None} | FROM
    ready.on(
        "GET",
        f"/api/operations/{OPERATION}/events",
        stream(operation("clone", "succeeded", outcome=dry_run_plan() | FROM)),
        stream(operation("clone", "succeeded", outcome=outcome)),
    )
    assert "Downtime" not in ready.run("clone", SNAPSHOT, "--as", "staging", "--yes").stdout


def test_the_sources_name_is_no_confirmation(ready: FakeServer) -> None:
    result = ready.run("clone", SNAPSHOT, "--into", "staging", interactive=True, typed="notes\n")
    assert result.exit_code == ExitCode.REFUSED
    assert len(ready.sent("POST", CLONE)) == 1


def test_the_newest_snapshot_that_nobody_wanted_to_be_rid_of_is_the_latest(ready: FakeServer) -> None:
    other = "01jzzzzzzzzzzzzzzzzzzzzzz9"
    found = [snapshot(other, reason="safety"), snapshot(other, damaged=["x"]), snapshot()]
    ready.on("GET", "/api/snapshots", answer({"items": found, "next_cursor": None}))
    options = ("--volume", "/data", "--map", "/old=/data", "--on-unhealthy", "keep", "--with-image")
    result = ready.run("clone", "notes", "--latest", "--into", "staging", "--yes", *options)
    assert result.exit_code == ExitCode.OK, result.output
    assert ready.sent("GET", "/api/snapshots")[0].url.params["workload"] == "notes"
    assert ready.bodies("POST", CLONE)[1] == {
        "into": "staging",
        "volumes": ["/data"],
        "map": {"/old": "/data"},
        "on_unhealthy": "keep",
        "with_image": True,
        "create_missing": False,
        "accept_replaced": False,
    }


def test_a_workloads_name_alone_offers_its_snapshots(ready: FakeServer) -> None:
    ready.on("GET", "/api/snapshots", answer({"items": [snapshot()], "next_cursor": None}))
    result = ready.run("clone", "notes", "--into", "staging", interactive=True, typed="1\nstaging\n")
    assert result.exit_code == ExitCode.OK, result.output


def test_without_any_snapshot_there_is_no_latest(ready: FakeServer) -> None:
    ready.on("GET", "/api/snapshots", answer({"items": [], "next_cursor": None}))
    result = ready.run("clone", "nots", "--latest", "--into", "staging")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "Check the name" in result.stderr


def test_where_there_are_only_safety_snapshots_one_is_to_be_named(ready: FakeServer) -> None:
    ready.on("GET", "/api/snapshots", answer({"items": [snapshot(reason="safety")], "next_cursor": None}))
    result = ready.run("clone", "notes", "--latest", "--into", "staging")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "holdfast snapshot list notes --deleted" in result.stderr


def test_a_new_workload_like_the_source_takes_what_differs(ready: FakeServer) -> None:
    options = ("--project", "lab", "--stage", "test", "--port", "8081:80")
    result = ready.run("clone", SNAPSHOT, "--as", "staging", "--yes", "--json", *options)
    assert result.exit_code == ExitCode.OK, result.output
    like = {"name": "staging", "project": "lab", "stage": "test", "ports": ["8081:80"]}
    assert ready.bodies("POST", CLONE)[1]["like_source"] == like


def test_a_new_workload_of_a_file_sends_the_file(ready: FakeServer, tmp_path: Path) -> None:
    ready.on("POST", "/api/workloads/preview", answer({"name": "staging", "created": True, "changes": []}))
    file = tmp_path / "staging.yaml"
    file.write_text("name: staging\n")
    result = ready.run("clone", SNAPSHOT, "--file", str(file), "--yes")
    assert result.exit_code == ExitCode.OK, result.output
    assert ready.bodies("POST", CLONE)[1]["declaration"] == "name: staging\n"


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--into", "staging", "--as", "other"),
        ("--into", "staging", "--port", "80"),
        ("--into", "staging", "--map", "/data"),
        ("--into", "Not A Name"),
    ],
)
def test_a_goal_that_is_not_clear_is_a_usage_error(ready: FakeServer, options: tuple[str, ...]) -> None:
    assert ready.run("clone", SNAPSHOT, *options).exit_code == ExitCode.USAGE
    assert not ready.sent("POST", CLONE)


def test_a_refused_clone_says_why(ready: FakeServer) -> None:
    problems = [{"code": "a", "message": "Shared.", "next_step": "Leave it out.", "details": {}}]
    ready.on("POST", CLONE, refusal(422, "clone_shares_volume", details={"problems": problems}))
    result = ready.run("clone", SNAPSHOT, "--into", "staging", interactive=True)
    assert result.exit_code == ExitCode.REFUSED
    assert "Type staging" not in result.stderr


def test_all_snapshots_are_listed_with_whose_they_are(server: FakeServer) -> None:
    server.on("GET", "/api/snapshots", answer({"items": [snapshot()], "next_cursor": None}))
    result = server.run("snapshot", "list")
    assert result.exit_code == ExitCode.OK, result.output
    assert "notes" in result.stdout
    server.run("snapshot", "list", "gone", "--deleted")
    assert server.sent("GET", "/api/snapshots")[1].url.params["workload"] == "gone"
