"""image: what is kept for whom, and letting go of the rest."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.cli.exit_codes import ExitCode
from tests.unit.cli.fake_server import OPERATION, FakeServer, answer, operation, stream

PRUNE = "/api/images/prune"
NOTES = {"id": "sha256:" + "a" * 64, "names": ["registry.example/notes:1"], "size": 3 << 20}
SHOP = {"id": "sha256:" + "b" * 64, "names": [], "size": 1 << 20}
PRUNED: dict[str, Any] = {
    "dry_run": True,
    "freed_bytes": 3 << 20,
    "images": [
        NOTES | {"removed": True, "reason": ""},
        SHOP | {"removed": False, "reason": "the container shop was made of it"},
    ],
}


@pytest.fixture
def ready(server: FakeServer) -> FakeServer:
    server.on("POST", PRUNE, answer(operation("prune_images"), 202))
    server.on(
        "GET",
        f"/api/operations/{OPERATION}/events",
        stream(operation("prune_images", "succeeded", outcome=PRUNED)),
    )
    return server


def test_each_image_is_listed_with_who_needs_it(server: FakeServer) -> None:
    items = [NOTES | {"needed_by": ["notes", "shop"]}, SHOP | {"needed_by": []}]
    server.on("GET", "/api/images", answer({"items": items}))
    lines = server.run("image", "list").stdout.splitlines()
    assert lines[1].split("  ")[0] == "registry.example/notes:1"
    assert lines[1].endswith("aaaaaaaaaaaa  3 MiB  notes, shop")
    assert "(without a name)" in lines[2]
    assert lines[2].endswith("nothing")


def test_a_dry_run_says_what_would_go_and_why_the_rest_stays(ready: FakeServer) -> None:
    result = ready.run("image", "prune", "--dry-run")
    assert result.exit_code == ExitCode.OK, result.output
    assert ready.bodies("POST", PRUNE) == [{"dry_run": True}]
    assert "A prune would do this" in result.stdout
    assert "stays: the container shop was made of it" in result.stdout
    assert "freed, layers shared with others included" in result.stdout
    assert "3 MiB" in result.stdout


def test_a_prune_asks_first(ready: FakeServer) -> None:
    assert ready.run("image", "prune").exit_code == ExitCode.REFUSED
    assert not ready.sent("POST", PRUNE)
    assert ready.run("image", "prune", "--yes").exit_code == ExitCode.OK
