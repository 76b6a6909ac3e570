"""Snapshots whose manifest can't be read are listed, and deleted after their id was typed."""

from __future__ import annotations

import httpx
import pytest

from holdfast.cli.exit_codes import ExitCode
from tests.unit.cli.fake_server import SNAPSHOT, FakeServer, answer

DAMAGED = "/api/repository/damaged"


def found(**facts: object) -> httpx.Response:
    known = {"code": "manifest_malformed", "message": "It can't be read.", "workload": "notes"}
    return answer({"items": [{"id": SNAPSHOT, "pinned": False, "safety_for": None, **known, **facts}]})


def test_they_are_listed_with_what_is_known(server: FakeServer) -> None:
    server.on("GET", DAMAGED, found(pinned=True, safety_for="01j"))
    listed = server.run("repository", "damaged").stdout
    for words in (SNAPSHOT, "notes", "yes (safety snapshot)", "It can't be read."):
        assert words in listed
    server.on("GET", DAMAGED, answer({"items": []}))
    assert server.run("repository", "damaged").stdout == "The manifests of all snapshots can be read.\n"


@pytest.mark.parametrize(("typed", "code"), [(SNAPSHOT, ExitCode.OK), ("notes", ExitCode.REFUSED)])
def test_one_is_deleted_only_after_its_id_was_typed(server: FakeServer, typed: str, code: ExitCode) -> None:
    server.on("GET", DAMAGED, found(pinned=True, safety_for="01j", workload=None))
    server.on("DELETE", f"{DAMAGED}/{SNAPSHOT}", httpx.Response(204))
    result = server.run("repository", "delete-damaged", SNAPSHOT, interactive=True, typed=f"{typed}\n")
    assert result.exit_code == code
    assert "the way back from a restore" in result.stderr
    sent = server.sent("DELETE", f"{DAMAGED}/{SNAPSHOT}")
    assert [request.headers["X-Confirm-Delete"] for request in sent] == ([SNAPSHOT] if code == ExitCode.OK else [])


def test_one_that_is_not_damaged_is_not_asked_for(server: FakeServer) -> None:
    server.on("GET", DAMAGED, answer({"items": []}))
    result = server.run("repository", "delete-damaged", SNAPSHOT, "--yes")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "holdfast snapshot delete" in result.stderr
