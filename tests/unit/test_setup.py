"""Setting up: nothing where nothing is missing, and where packages can't be installed exactly what is."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SETUP = Path(__file__).parents[2] / "scripts/setup.py"


class Machine:
    """A machine on which one package is missing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.script: dict[str, Any] = runpy.run_path(str(SETUP))
        self.installed: list[list[str]] = []
        self._there = False
        self._monkeypatch = monkeypatch
        need = self.script["Need"]("btrfs-progs", "tests on btrfs", lambda: self._there)
        found = self.script["Need"]("acl", "tests of access control lists", lambda: True)
        self.set(NEEDS=(need, found), install=self._install)
        self.can(root=True, apt=True)

    def set(self, **names: object) -> None:
        self.main.__globals__.update(names)

    @property
    def main(self) -> Callable[[], int]:
        main: Callable[[], int] = self.script["main"]
        return main

    def can(self, *, root: bool, apt: bool) -> None:
        self._monkeypatch.setattr("os.geteuid", lambda: 0 if root else 1000)
        self._monkeypatch.setattr("shutil.which", lambda _name, **_where: "/usr/bin/apt-get" if apt else None)
        self._monkeypatch.setattr("sys.argv", ["setup.py"])

    def _install(self, _apt: str, packages: list[str]) -> None:
        self.installed.append(packages)
        self._there = True


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_what_is_missing_is_said_before_it_is_installed(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert machine.main() == 0
    assert machine.installed == [["btrfs-progs"]]
    said = capsys.readouterr().out
    assert "btrfs-progs       tests on btrfs" in said
    assert "acl" not in said
    assert machine.main() == 0
    assert capsys.readouterr().out == ""


def test_without_root_the_command_for_exactly_what_is_missing_is_said(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.can(root=False, apt=True)
    assert machine.main() == 1
    assert (
        "sudo apt-get update && sudo apt-get install -y --no-install-recommends btrfs-progs\n"
        in capsys.readouterr().out
    )
    assert machine.installed == []


def test_without_apt_it_is_said_what_is_missing(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.can(root=True, apt=False)
    assert machine.main() == 1
    said = capsys.readouterr().out
    assert "btrfs-progs       tests on btrfs" in said
    assert "there is no apt-get here" in said
    assert machine.installed == []
