"""promote: what goes over, what that changes, and the deed."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.cli.exit_codes import ExitCode
from tests.unit.cli.fake_server import AT, OPERATION, SNAPSHOT, FakeServer, answer, operation, refusal, stream

PATH = "/api/workloads/staging/promote"
DIGEST = "registry.example/notes@sha256:" + "a" * 64


def plan(**fields: Any) -> dict[str, Any]:
    changes = [{"path": "image", "before": "notes:1", "after": DIGEST}]
    deployment = {"id": SNAPSHOT, "image": "registry.example/notes:main", "started_at": AT}
    return {"source": "staging", "deployment": deployment, "to": "notes", "digest": DIGEST, "changes": changes} | fields


@pytest.fixture
def ready(server: FakeServer) -> FakeServer:
    server.on("GET", PATH, answer(plan()))
    server.on("POST", PATH, answer(operation("promote"), 202))
    server.on("GET", f"/api/operations/{OPERATION}/events", stream(operation("promote", "succeeded")))
    return server


def test_it_says_what_goes_over_and_sends_exactly_that(ready: FakeServer) -> None:
    result = ready.run("promote", "staging", "--to", "notes")
    assert result.exit_code == ExitCode.OK, result.output
    assert f"notes gets {DIGEST}; its data stays." in result.stdout
    assert f"~ image: notes:1 → {DIGEST}" in result.stdout
    assert "notes runs what staging runs." in result.stdout
    assert ready.sent("GET", PATH)[0].url.params["to"] == "notes"
    assert ready.bodies("POST", PATH) == [{"to": "notes", "deployment": SNAPSHOT, "accept_volumes": False}]


def test_a_dry_run_changes_nothing(ready: FakeServer) -> None:
    ready.on("GET", PATH, answer(plan(changes=[])))
    result = ready.run("promote", "staging", "--to", "notes", "--dry-run")
    assert "configured with it already" in result.stdout
    assert result.stdout.endswith("Nothing was changed.\n")
    assert not ready.sent("POST", PATH)


def test_a_refusal_is_told_and_nothing_is_sent(ready: FakeServer) -> None:
    ready.on("GET", PATH, refusal(409, "promotion_unhealthy"))
    assert ready.run("promote", "staging", "--to", "notes").exit_code == ExitCode.REFUSED
    assert ready.run("promote", "staging").exit_code == ExitCode.USAGE
    assert ready.run("promote", "staging", "--to", "../x").exit_code == ExitCode.USAGE
    assert not ready.sent("POST", PATH)
