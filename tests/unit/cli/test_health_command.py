"""How a workload was, as a person sees it."""

from __future__ import annotations

import json

from holdfast.cli.exit_codes import ExitCode
from tests.unit.cli.fake_server import FakeServer, answer

PATH = "/api/workloads/notes/health"
FOUND = {
    "since": "2026-11-23T08:00:00.000000Z",
    "until": "2026-11-23T09:00:00.000000Z",
    "items": [
        {"at": "2026-11-23T08:00:00.000000Z", "state": "healthy"},
        {"at": "2026-11-23T08:45:00.000000Z", "state": "down"},
    ],
}


def test_each_state_is_a_line_that_says_since_when_and_for_how_long(server: FakeServer) -> None:
    server.on("GET", PATH, answer(FOUND))
    lines = server.run("health", "notes", "--since", "1h").stdout.splitlines()
    assert [line.split()[-3:] for line in lines[1:]] == [["45", "min", "healthy"], ["15", "min", "down"]]
    assert json.loads(server.run("health", "notes", "--json").stdout) == FOUND


def test_a_time_that_cant_be_read_is_refused(server: FakeServer) -> None:
    assert server.run("health", "notes", "--since", "yesterday").exit_code == ExitCode.USAGE
