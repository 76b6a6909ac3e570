"""Figures have to be those of what was run."""

import subprocess
from pathlib import Path

import pytest
from benchmarks import measuring


def test_the_memory_of_whoever_measures_does_not_count() -> None:
    ballast = bytearray(100 << 20)
    assert measuring.run("true", {}).peak < len(ballast) / 4


def test_the_memory_and_time_of_what_a_command_starts_do_count() -> None:
    usage = measuring.run("head -c 200M /dev/zero | tail -c 50M > /dev/null", {})
    assert usage.peak > 50 << 20
    assert usage.cpu > 0
    assert usage.seconds > 0


def test_a_command_that_fails_is_no_figure_and_what_it_said_is_told() -> None:
    with pytest.raises(RuntimeError, match="no such luck"):
        measuring.run('echo "$WORDS"; exit 3', {"WORDS": "no such luck"})


def test_what_is_stored_is_counted_as_the_disk_does_without_the_cache(tmp_path: Path) -> None:
    for name in ("cache", "packs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_bytes(b"x" * 100_000)
    told = subprocess.run(["du", "-B1", "-s", tmp_path / "packs"], check=True, capture_output=True, text=True).stdout
    assert measuring.disk_bytes(tmp_path, without="cache") == int(told.split()[0])
