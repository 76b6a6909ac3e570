"""What a workload uses, as a person sees it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.cli.exit_codes import ExitCode
from tests.unit.cli.fake_server import AT, FakeServer, answer

PATH = "/api/workloads/notes/metrics"


def item(at: str, cores: float, memory: int) -> dict[str, Any]:
    return {
        "at": at,
        "covered_seconds": 60,
        "cpu_cores": cores,
        "cpu_cores_max": cores * 2,
        "memory_bytes": memory,
        "memory_bytes_max": memory,
        "received_bytes": 61_440,
        "sent_bytes": 0,
    }


def metrics(*items: dict[str, Any]) -> dict[str, Any]:
    return {
        "since": AT,
        "until": AT,
        "step_seconds": 60,
        "cpu_limit_cores": 1.5,
        "memory_limit_bytes": 512 << 20,
        "items": list(items),
    }


def test_each_step_is_a_line_with_bars_of_its_share_of_the_highest(server: FakeServer) -> None:
    later = "2026-11-23T09:01:00.000000Z"
    server.on("GET", PATH, answer(metrics(item(AT, 0.25, 64 << 20), item(later, 0.5, 48 << 20))))
    result = server.run("metrics", "notes", "--since", "2h", "--step", "5m")
    lines = result.stdout.splitlines()
    assert [" ".join(line.split()) for line in lines[1:3]] == [
        "2026-11-23 09:00 25.0 % 50.0 % █████ 64 MiB 64 MiB ██████████ 1 KiB/s 0 B/s",
        "2026-11-23 09:01 50.0 % 100.0 % ██████████ 48 MiB 48 MiB ███████▌ 1 KiB/s 0 B/s",
    ]
    assert lines[3:] == [
        "each line:           1 min; cpu in percent of one core",
        "an instance may use: 1.5 cores, 512 MiB of memory",
    ]
    asked = server.requests[0].url.params
    assert asked["step"] == "300"
    assert asked["since"].endswith("Z")
    assert "until" not in asked


def test_a_time_of_which_nothing_is_known_is_said_to_be_one(server: FakeServer) -> None:
    server.on("GET", PATH, answer(metrics()))
    assert server.run("metrics", "notes").stdout.startswith("Nothing is known of that time")
    assert json.loads(server.run("metrics", "notes", "--json").stdout)["items"] == []


@pytest.mark.parametrize("option", ["--since", "--until", "--step"])
def test_what_can_t_be_read_as_a_time_is_a_usage_error(server: FakeServer, option: str) -> None:
    assert server.run("metrics", "notes", option, "yesterday").exit_code == ExitCode.USAGE
