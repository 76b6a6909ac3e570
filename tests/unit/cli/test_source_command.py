"""source list: which sources there are, and why one can't be used."""

from __future__ import annotations

from holdfast.cli.exit_codes import ExitCode
from tests.unit.cli.fake_server import FakeServer, answer


def test_sources_are_listed_and_what_is_wrong_is_told_once(server: FakeServer) -> None:
    problem = {"code": "source_ambiguous", "message": "Two provide it.", "next_step": "Remove one."}
    two = [{"name": "channel", "provided_by": by, "problem": problem} for by in ("one 1", "two 2")]
    good = {"name": "image", "provided_by": "holdfast 1", "problem": None}
    server.on("GET", "/api/sources", answer({"items": [*two, good]}))
    result = server.run("source", "list")
    assert result.exit_code == ExitCode.OK, result.output
    assert "channel  two 2        source_ambiguous" in result.stdout
    assert "image    holdfast 1   can be used" in result.stdout
    assert result.stdout.count("Two provide it. Remove one.") == 1
