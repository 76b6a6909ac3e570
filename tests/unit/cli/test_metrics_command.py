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
        "volumes": [],
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


def test_how_large_volumes_were_follows(server: FakeServer) -> None:
    sizes = [{"target": "/data", "at": AT, "bytes": 3 << 20}]
    server.on("GET", PATH, answer(metrics() | {"volumes": sizes}))
    assert server.run("metrics", "notes").stdout.splitlines()[-1].split() == [
        *("/data", "2026-11-23", "09:00:00", "UTC"),
        *("3", "MiB"),
    ]


def test_what_takes_space_is_told_by_cause_the_largest_first(server: FakeServer) -> None:
    items = [{"name": f"w{number}:/data", "bytes": 2048, "at": AT} for number in range(6)]
    document = {
        "filesystems": [
            {"mount_point": place, "type": "ext4", "total_bytes": 4 << 30, "free_bytes": 1 << 30, "forecast": forecast}
            for place, forecast in (
                ("/", {"since": AT, "bytes_per_day": 1 << 20, "full_at": "2027-02-03T00:00:00Z"}),
                ("/srv", {"since": AT, "bytes_per_day": -1024, "full_at": None}),
                ("/new", None),
            )
        ],
        "causes": [
            {"cause": "volumes", "bytes": 12288, "problem": None, "items": items},
            {"cause": "images", "bytes": 0, "problem": {"message": "The engine does not answer."}, "items": []},
            {
                "cause": "leftovers",
                "bytes": 0,
                "problem": None,
                "items": [{"name": "restore 1", "bytes": None, "at": None}],
            },
        ],
    }
    server.on("GET", "/api/disk", answer(document))
    lines = [" ".join(line.split()) for line in server.run("disk").stdout.splitlines()]
    assert lines[:4] == [
        "FILESYSTEM TYPE SIZE FREE FILLS BY FULL",
        "/ ext4 4 GiB 1 GiB 1 MiB a day 2027-02-03",
        "/srv ext4 4 GiB 1 GiB -1 KiB a day not within a year",
        "/new ext4 4 GiB 1 GiB too early to tell",
    ]
    lines = lines[2:]
    assert lines[2:4] == ["", "CAUSE SIZE WHAT AS OF"]
    assert lines[4] == "volumes 12 KiB"
    assert lines[5].startswith("2 KiB w0:/data ")
    assert lines[5].endswith(" ago")
    assert lines[10:] == [
        "and 1 more (--all)",
        "images unknown The engine does not answer.",
        "leftovers 0 B",
        "not looked at restore 1",
    ]
    assert "w5:/data" in server.run("disk", "--all").stdout
    assert json.loads(server.run("disk", "--json").stdout) == document
