"""The repository's key goes out sealed and comes in again; nothing is shown or replaced unasked."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from typer.testing import Result

from holdfast.bootstrap.repository_key import import_repository_key
from holdfast.cli.exit_codes import ExitCode
from holdfast.config_reading import load_settings
from holdfast.domain.errors import Busy
from holdfast.engine.data_lock import DataLock
from holdfast.engine.fs import Fs
from holdfast.engine.keys import load_or_create_key
from holdfast.engine.repository.key_export import export_key
from tests.unit.cli.fake_server import FakeServer

PASSPHRASE = "correct horse battery"


class Machine:
    """A data directory with the command line at it."""

    def __init__(self, server: FakeServer, path: Path) -> None:
        self._server, self.path = server, path
        self.data_dir = path / "data"
        self.key_file = self.data_dir / "keys" / "repository.key"
        self.exported = path / "exported.json"
        self.passphrase_file = path / "passphrase"
        self.passphrase_file.write_text(PASSPHRASE + "\n")

    def make_key(self) -> bytes:
        self.data_dir.mkdir()
        return load_or_create_key(Fs(), self.key_file)

    def run(self, verb: str, *arguments: str, passphrase: bool = True, **how: object) -> Result:
        given = ["--data-dir", str(self.data_dir)]
        given += ["--passphrase-file", str(self.passphrase_file)] if passphrase else []
        return self._server.run("repository", "key", verb, *arguments, *given, **how)  # type: ignore[arg-type]  # passed on

    def export(self) -> None:
        """As the command does, but quickly."""
        self.exported.write_bytes(export_key(self.key_file.read_bytes(), PASSPHRASE, scrypt_n=1 << 10))


@pytest.fixture
def machine(server: FakeServer, tmp_path: Path) -> Machine:
    (tmp_path / "first").mkdir()
    return Machine(server, tmp_path / "first")


@pytest.fixture
def other(server: FakeServer, tmp_path: Path) -> Machine:
    (tmp_path / "other").mkdir()
    return Machine(server, tmp_path / "other")


def test_a_key_moves_to_another_machine(machine: Machine, other: Machine) -> None:
    key = machine.make_key()
    result = machine.run("export", "-o", str(machine.exported))
    assert result.exit_code == ExitCode.OK, result.output
    assert stat.S_IMODE(machine.exported.stat().st_mode) == 0o600
    assert key not in machine.exported.read_bytes()
    result = other.run("import", str(machine.exported))
    assert result.exit_code == ExitCode.OK, result.output
    assert other.key_file.read_bytes() == key
    assert stat.S_IMODE(other.key_file.stat().st_mode) == 0o600
    again = other.run("import", str(machine.exported))
    assert "already" in again.stdout


def test_a_key_is_exported_beside_a_running_server(machine: Machine) -> None:
    machine.make_key()
    with DataLock.acquire(machine.data_dir):
        result = machine.run("export", "-o", str(machine.exported))
    assert result.exit_code == ExitCode.OK, result.output


def test_a_key_is_not_imported_under_a_running_server(machine: Machine, other: Machine) -> None:
    machine.make_key()
    machine.export()
    mine = other.make_key()
    settings = load_settings(None, {"HOLDFAST_DATA_DIR": str(other.data_dir)})
    with DataLock.acquire(other.data_dir), pytest.raises(Busy):
        import_repository_key(settings, machine.exported.read_bytes(), PASSPHRASE, replace=True, lock_wait=0)
    assert other.key_file.read_bytes() == mine


def test_another_key_gives_way_only_when_told_and_is_kept(machine: Machine, other: Machine) -> None:
    key = machine.make_key()
    machine.export()
    mine = other.make_key()
    refused = other.run("import", str(machine.exported))
    assert refused.exit_code == ExitCode.REFUSED
    assert other.key_file.read_bytes() == mine
    result = other.run("import", str(machine.exported), "--replace", "--json")
    told = json.loads(result.stdout)
    assert other.key_file.read_bytes() == key
    assert (other.key_file.parent / told["former"]).read_bytes() == mine
    assert stat.S_IMODE((other.key_file.parent / told["former"]).stat().st_mode) == 0o600


def test_a_wrong_passphrase_changes_nothing(machine: Machine, other: Machine) -> None:
    machine.make_key()
    machine.export()
    other.passphrase_file.write_text("something else entirely\n")
    result = other.run("import", str(machine.exported))
    assert result.exit_code == ExitCode.REFUSED
    assert "passphrase does not open" in result.stderr
    assert not other.key_file.exists()


def test_the_passphrase_is_asked_for_twice_when_it_is_chosen(machine: Machine) -> None:
    machine.make_key()
    typed = f"{PASSPHRASE}\n{PASSPHRASE}\n"
    result = machine.run("export", "-o", str(machine.exported), passphrase=False, interactive=True, typed=typed)
    assert result.exit_code == ExitCode.OK, result.output
    assert PASSPHRASE not in result.output
    result = machine.run("import", str(machine.exported), passphrase=False, interactive=True, typed=f"{PASSPHRASE}\n")
    assert "already" in result.stdout


def test_without_a_passphrase_nothing_happens_where_nobody_can_be_asked(machine: Machine) -> None:
    machine.make_key()
    result = machine.run("export", "-o", str(machine.exported), passphrase=False)
    assert result.exit_code == ExitCode.USAGE
    assert "--passphrase-file" in result.stderr
    assert not machine.exported.exists()


def test_the_key_is_shown_on_a_terminal_only_when_that_is_agreed_to(machine: Machine) -> None:
    machine.make_key()
    refused = machine.run("export", "-o", "-", interactive=True, typed="n\n")
    assert refused.exit_code == ExitCode.REFUSED
    assert "sealed" not in refused.stdout
    shown = machine.run("export", "-o", "-", interactive=True, typed="y\n")
    assert json.loads(shown.stdout.splitlines()[-1])["what"] == "holdfast repository key"
    unasked = machine.run("export", "-o", "-", "--yes", interactive=True)
    assert json.loads(unasked.stdout)["what"] == "holdfast repository key"
    piped = machine.run("export", "-o", "-")
    assert json.loads(piped.stdout)["what"] == "holdfast repository key"


def test_an_export_replaces_no_file(machine: Machine) -> None:
    machine.make_key()
    machine.exported.write_text("mine")
    result = machine.run("export", "-o", str(machine.exported))
    assert result.exit_code == ExitCode.REFUSED
    assert machine.exported.read_text() == "mine"


def test_where_there_is_no_key_none_is_made(machine: Machine) -> None:
    result = machine.run("export", "-o", str(machine.exported))
    assert result.exit_code == ExitCode.NOT_FOUND
    assert not machine.data_dir.exists()


def test_a_short_passphrase_is_refused(machine: Machine) -> None:
    machine.make_key()
    machine.passphrase_file.write_text("short\n")
    result = machine.run("export", "-o", str(machine.exported))
    assert result.exit_code == ExitCode.USAGE
    assert not machine.exported.exists()
