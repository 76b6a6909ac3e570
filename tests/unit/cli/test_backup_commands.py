"""backup and recover --backup: made, read back, brought back; and nothing is replaced or shown."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from holdfast.cli.exit_codes import ExitCode
from holdfast.config import Settings
from holdfast.domain.ids import new_id
from holdfast.services.state_backup import create_backup
from holdfast.store.database import Database
from tests.unit.cli.fake_server import (
    AT,
    OPERATION,
    SNAPSHOT,
    WORKLOAD,
    FakeServer,
    answer,
    operation,
    refusal,
    stream,
)

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
    assert server.run("recover", "--backup", str(tmp_path / "none"), *given).exit_code == ExitCode.USAGE
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


def kept() -> dict[str, object]:
    item = {
        "id": SNAPSHOT,
        "created_at": AT,
        "bytes": 4096,
        "reason": "scheduled",
        "holdfast": "1",
        "schema": "0015",
        "audit_head": "7:ab",
    }
    return {"items": [item], "unreadable": ["x.backup"], "passphrase": "not_set"}


def ends_with(server: FakeServer, kind: str, outcome: dict[str, object]) -> None:
    server.on("GET", f"/api/operations/{OPERATION}/events", stream(operation(kind, "succeeded", outcome=outcome)))


def test_the_server_makes_one_and_tells_of_those_that_it_keeps(server: FakeServer, given: list[str]) -> None:
    server.on("POST", "/api/backups", answer(operation("backup"), 202))
    ends_with(server, "backup", {"backup_id": SNAPSHOT, "bytes": 4096})
    made = server.run("backup", "create")
    assert (made.exit_code, SNAPSHOT in made.stdout) == (ExitCode.OK, True)
    assert server.run("backup", "create", *given).exit_code == ExitCode.USAGE
    server.on("GET", "/api/backups", answer(kept()))
    listed = server.run("backup", "list")
    assert SNAPSHOT in listed.stdout
    assert "x.backup is no backup" in listed.stderr
    assert "holdfast backup passphrase" in listed.stderr


def test_the_servers_passphrase_is_set_and_never_shown(server: FakeServer, given: list[str], tmp_path: Path) -> None:
    server.on("PUT", "/api/backups/passphrase", httpx.Response(204))
    done = server.run("backup", "passphrase", *given)
    assert server.bodies("PUT", "/api/backups/passphrase") == [{"passphrase": PASSPHRASE}]
    assert PASSPHRASE not in done.output
    (tmp_path / "odd").write_bytes(b"correct horse \xff battery\n")
    odd = server.run("backup", "passphrase", "--passphrase-file", str(tmp_path / "odd"))
    assert odd.exit_code == ExitCode.USAGE


def test_a_kept_one_is_verified_downloaded_and_deleted(server: FakeServer, given: list[str], tmp_path: Path) -> None:
    server.on("POST", f"/api/backups/{SNAPSHOT}/verify", answer(operation("verify_backup"), 202))
    ends_with(server, "verify_backup", {"backup_id": SNAPSHOT, "files": 6})
    assert "It is whole" in server.run("backup", "verify", SNAPSHOT, *given).stdout
    assert server.bodies("POST", f"/api/backups/{SNAPSHOT}/verify") == [{"passphrase": PASSPHRASE}]
    assert server.run("backup", "verify", "nowhere").exit_code == ExitCode.USAGE
    server.on("GET", f"/api/backups/{SNAPSHOT}/file", httpx.Response(200, content=b"sealed"))
    target = tmp_path / "own.backup"
    assert server.run("backup", "download", SNAPSHOT, "-o", str(target)).exit_code == ExitCode.OK
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"sealed", 0o600)
    server.on("GET", "/api/backups", answer(kept()))
    server.on("DELETE", f"/api/backups/{SNAPSHOT}", httpx.Response(204))
    assert server.run("backup", "delete", SNAPSHOT).exit_code != ExitCode.OK
    assert not server.sent("DELETE", f"/api/backups/{SNAPSHOT}")
    assert server.run("backup", "delete", SNAPSHOT, "--yes").exit_code == ExitCode.OK


def test_a_restore_is_confirmed_by_the_backups_id_and_waits_until_the_server_is_back(
    server: FakeServer, given: list[str]
) -> None:
    path = f"/api/backups/{SNAPSHOT}/restore"
    server.on("GET", "/api/backups", answer(kept()))
    assert server.run("backup", "restore", SNAPSHOT).exit_code != ExitCode.OK
    assert not server.sent("POST", path)
    server.on("POST", path, answer(operation("restore_backup"), 202))
    ends_with(server, "restore_backup", {"backup_id": SNAPSHOT, "safety_backup_id": WORKLOAD})
    done = server.run("backup", "restore", SNAPSHOT, "--yes", *given)
    assert (done.exit_code, WORKLOAD in done.stdout) == (ExitCode.OK, True)
    (sent,) = server.sent("POST", path)
    assert sent.headers["X-Confirm-Restore"] == SNAPSHOT
    assert server.bodies("POST", path) == [{"passphrase": PASSPHRASE}]


def test_who_is_not_known_to_the_state_that_is_back_is_told_so(server: FakeServer) -> None:
    server.on("GET", "/api/backups", answer(kept()))
    server.on("POST", f"/api/backups/{SNAPSHOT}/restore", answer(operation("restore_backup"), 202))
    server.on("GET", f"/api/operations/{OPERATION}/events", refusal(401, "session_over"))
    done = server.run("backup", "restore", SNAPSHOT, "--yes")
    assert (done.exit_code, "has started anew" in done.stdout) == (ExitCode.OK, True)
    assert "holdfast login" in done.stderr


def test_a_new_machine_is_filled_from_the_second_repository_that_the_backup_was_copied_to(
    server: FakeServer, data_dir: Path, given: list[str], tmp_path: Path
) -> None:
    far, other = tmp_path / "far", tmp_path / "other"
    (far / "backups").mkdir(parents=True)
    with (tmp_path / "made").open("wb") as file:
        made = create_backup(Settings(data_dir=data_dir), PASSPHRASE, file, scrypt_n=2)
    (tmp_path / "made").rename(far / "backups" / f"{made.id}.backup")
    place = ["recover", "--directory", str(far), "--data-dir", str(other), *given]
    assert server.run(*place, "--backup", "newest").exit_code == ExitCode.USAGE
    assert server.run(*place, "--backup", SNAPSHOT).exit_code == ExitCode.NOT_FOUND
    done = server.run(*place, "--json")
    assert done.exit_code == ExitCode.OK, done.output
    assert json.loads(done.stdout)["backup"] == made.id
    assert (other / "keys/sealing.key").read_bytes() == (data_dir / "keys/sealing.key").read_bytes()
