"""rollback and deployment list: what there is to return to, what that changes, and the deed."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.cli.exit_codes import ExitCode
from tests.unit.cli.fake_server import (
    AT,
    OPERATION,
    SNAPSHOT,
    FakeServer,
    answer,
    dry_run_plan,
    operation,
    refusal,
    stream,
)

TAKEN = "01jzzzzzzzzzzzzzzzzzzzzzz9"
PATH = "/api/workloads/notes/rollback"


def deployment(**fields: Any) -> dict[str, Any]:
    return {
        "id": SNAPSHOT,
        "workload_id": "notes",
        "snapshot_id": None,
        "state": "succeeded",
        "reason": "deploy",
        "image": "notes:1",
        "image_id": "sha256:" + "a" * 64,
        "digest": None,
        "config_hash": "0123456789abcdef",
        "started_at": AT,
    } | fields


def plan(**fields: Any) -> dict[str, Any]:
    changes = [{"path": "image", "before": "notes:2", "after": "notes:1"}]
    return {"deployment": deployment(), "changes": changes, "image_here": True, "snapshot": None} | fields


@pytest.fixture
def ready(server: FakeServer) -> FakeServer:
    server.on("GET", PATH, answer(plan()))
    server.on("POST", PATH, answer(operation("rollback"), 202))
    server.on("GET", f"/api/operations/{OPERATION}/events", stream(operation("rollback", "succeeded")))
    return server


def test_it_says_where_it_returns_to_and_sends_exactly_that(ready: FakeServer) -> None:
    result = ready.run("rollback", "notes")
    assert result.exit_code == ExitCode.OK, result.output
    assert f"Back to the deployment {SNAPSHOT}" in result.stdout
    assert "~ image: notes:2 → notes:1" in result.stdout
    assert "notes runs notes:1 again." in result.stdout
    assert ready.bodies("POST", PATH) == [{"deployment": SNAPSHOT, "accept_volumes": False}]


def test_a_deployment_can_be_named(ready: FakeServer) -> None:
    assert ready.run("rollback", "notes", "--to", SNAPSHOT, "--accept-volumes").exit_code == ExitCode.OK
    assert ready.sent("GET", PATH)[0].url.params["deployment"] == SNAPSHOT
    assert ready.bodies("POST", PATH) == [{"deployment": SNAPSHOT, "accept_volumes": True}]
    assert ready.run("rollback", "notes", "--to", "../x").exit_code == ExitCode.USAGE


def test_a_dry_run_changes_nothing(ready: FakeServer) -> None:
    result = ready.run("rollback", "notes", "--dry-run")
    assert result.stdout.endswith("Nothing was changed.\n")
    assert not ready.sent("POST", PATH)


@pytest.mark.parametrize(("digest", "told"), [("notes@sha256:b", "is pulled first: notes@sha256:b"), (None, "load it")])
def test_an_image_that_is_gone_is_told(ready: FakeServer, digest: str | None, told: str) -> None:
    ready.on("GET", PATH, answer(plan(deployment=deployment(digest=digest), image_here=False)))
    assert told in ready.run("rollback", "notes", "--dry-run").stdout


def test_nothing_to_return_to_is_a_refusal(ready: FakeServer) -> None:
    ready.on("GET", PATH, refusal(409, "nothing_to_roll_back_to"))
    result = ready.run("rollback", "notes")
    assert result.exit_code == ExitCode.REFUSED
    assert not ready.sent("POST", PATH)


def test_deployments_are_listed_with_what_tells_them_apart(server: FakeServer) -> None:
    failed = deployment(state="failed", image="notes:2")
    server.on("GET", "/api/workloads/notes/deployments", answer({"items": [failed, deployment()], "next_cursor": None}))
    result = server.run("deployment", "list", "notes", "--limit", "2")
    assert result.exit_code == ExitCode.OK, result.output
    assert "notes:1" in result.stdout
    assert "aaaaaaaaaaaa" in result.stdout
    assert "01234567" in result.stdout
    assert server.sent("GET", "/api/workloads/notes/deployments")[0].url.params["limit"] == "2"


def test_with_data_all_three_are_told_rehearsed_confirmed_and_sent(ready: FakeServer) -> None:
    ready.on("GET", PATH, answer(plan(snapshot={"id": TAKEN, "created_at": AT})))
    ready.on("GET", "/api/workloads/notes", answer({"name": "notes"}))
    ready.on("GET", "/api/workloads/notes/status", answer({"safety_snapshots": {"count": 0}}))
    ready.on("POST", PATH, answer(operation("rollback"), 202))
    ready.on(
        "GET",
        f"/api/operations/{OPERATION}/events",
        stream(operation("rollback", "succeeded", outcome=dry_run_plan())),
        stream(operation("rollback", "succeeded", outcome={"result": "restored", "rolled_back_to": SNAPSHOT})),
    )
    result = ready.run("rollback", "notes", "--with-data", "--yes")
    assert result.exit_code == ExitCode.OK, result.output
    assert ready.sent("GET", PATH)[0].url.params["with_data"] == "true"
    for told in (f"Its data, as it left it: the snapshot {TAKEN}", f"are those of the deployment {SNAPSHOT}"):
        assert told in result.stdout
    rehearsal, deed = ready.sent("POST", PATH)
    assert "X-Confirm-Restore" not in rehearsal.headers
    assert deed.headers["X-Confirm-Restore"] == TAKEN
    wanted = {"deployment": SNAPSHOT, "with_data": True, "accept_volumes": False}
    assert ready.bodies("POST", PATH) == [wanted | {"dry_run": True}, wanted]
