"""The systemd unit, as it is printed for an installation."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.testing.systemd_units import values_of
from tests.unit.cli.fake_server import FakeServer

EXPOSURE = 50
"""Tenths of what systemd-analyze calls an unprotected service, at most; root with volumes can't come far below."""

pytestmark = pytest.mark.xdist_group("packaging")


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


def printed(server: FakeServer, *arguments: str) -> str:
    result = server.run("systemd-unit", *arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_it_starts_this_very_program_once_its_directories_are_mounted(server: FakeServer, tmp_path: Path) -> None:
    config = tmp_path / 'the "house" 100%$.toml'
    config.write_text(f'data_dir = "{tmp_path}"\nvolumes_base = "/srv/hold fast"\nallowed_roots = ["/srv/data"]\n')
    unit = printed(server, "--config", str(config))
    program = Path(sys.executable).with_name("holdfast")
    shown = str(config).replace('"', '\\"').replace("%", "%%")
    assert values_of(unit, "ExecStart") == [f'{program} serve --config "{shown.replace("$", "$$")}"']
    assert values_of(unit, "RequiresMountsFor") == [f'{tmp_path} "/srv/hold fast" /srv/data']


def test_the_engine_is_first_and_a_worker_or_an_engine_that_dies_does_not_end_the_service(server: FakeServer) -> None:
    unit = printed(server)
    assert "docker.service" in values_of(unit, "After")[0].split()
    assert "docker.service" in values_of(unit, "Wants")[0].split()
    assert values_of(unit, "Requires") == values_of(unit, "BindsTo") == []
    assert (values_of(unit, "OOMPolicy"), values_of(unit, "KillMode")) == (["continue"], ["process"])


def test_it_waits_longer_than_operations_may_take_to_end(server: FakeServer) -> None:
    (patience,) = values_of(printed(server), "TimeoutStopSec")
    assert int(patience) > Settings().drain_deadline + 10


def test_systemd_finds_nothing_wrong_with_it_and_calls_it_protected(server: FakeServer, tmp_path: Path) -> None:
    file = tmp_path / "holdfast.service"
    file.write_text(printed(server))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", "--man=no", file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE}", file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, re.sub(r"\n.*✓.*", "", judged.stdout)
