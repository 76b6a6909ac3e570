"""backup and recover --backup: made, read back, brought back; and nothing is replaced or shown."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from holdfast.bootstrap.backup import create_backup
from holdfast.cli.exit_codes import ExitCode
from holdfast.config import Settings
from holdfast.domain.ids import new_id
from holdfast.store.database import Database
from tests.unit.cli.fake_server import FakeServer

PASSPHRASE = "correct horse battery"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    directory.mkdir(mode=0o700)
    (directory / "installation").write_text(f"{new_id()}\n")
    (directory / "keys").mkdir()
    (directory / "keys" / "sealing.key").write_bytes(b"k" * 32)

    async def make() -> None:
        database = Database.at(directory / "state.db")
        await database.open()
        await database.close()

    asyncio.run(make())
    return directory


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    (tmp_path / "passphrase").write_text(f"{PASSPHRASE}\n")
    return ["--passphrase-file", str(tmp_path / "passphrase")]


def test_a_backup_is_made_and_read_back(server: FakeServer, data_dir: Path, given: list[str], tmp_path: Path) -> None:
    file = tmp_path / "own.backup"
    made = server.run("backup", "create", "-o", str(file), "--data-dir", str(data_dir), *given)
    assert made.exit_code == ExitCode.OK, made.output
    assert "read it back: 4 files" in made.stdout
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_backup_is_looked_at_and_brought_back(
    server: FakeServer, data_dir: Path, given: list[str], tmp_path: Path
) -> None:
    file, other = tmp_path / "own.backup", tmp_path / "other"
    with file.open("wb") as out:
        create_backup(Settings(data_dir=data_dir), PASSPHRASE, out, scrypt_n=2)
    found = server.run("backup", "verify", str(file), *given, "--json")
    names = [entry["name"] for entry in json.loads(found.stdout)["files"]]
    assert names == ["state.db", "settings.json", "installation", "keys/sealing.key"]
    result = server.run("recover", "--backup", str(file), "--data-dir", str(other), *given)
    assert result.exit_code == ExitCode.OK, result.output
    for name in ("installation", "keys/sealing.key"):
        assert (other / name).read_bytes() == (data_dir / name).read_bytes()
        assert (other / name).stat().st_mode & 0o777 == 0o600
    assert "--create-missing" in result.stderr
    again = server.run("recover", "--backup", str(file), "--data-dir", str(other), *given)
    assert "is not empty" in again.stderr


def test_no_file_is_replaced_and_none_is_left_that_is_not_whole(
    server: FakeServer, data_dir: Path, given: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "own.backup"
    file.write_text("mine")
    refused = server.run("backup", "create", "-o", str(file), "--data-dir", str(data_dir), *given)
    assert "file_exists" in refused.output or "is there already" in refused.output
    assert file.read_text() == "mine"
    assert "stdout can't be" in server.run("backup", "create", "-o", "-", *given).output
    assert server.run("backup", "verify", str(file), *given).exit_code == ExitCode.USAGE
    assert [path.name for path in data_dir.iterdir() if path.name.startswith(".")] == []
