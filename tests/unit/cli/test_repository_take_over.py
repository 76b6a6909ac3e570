"""A repository changes its owner when somebody says so, and not under a running server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.bootstrap.repository_owner import take_over_repository
from holdfast.cli.exit_codes import ExitCode
from holdfast.config import Settings
from holdfast.domain.errors import Busy
from holdfast.domain.ids import new_id
from holdfast.engine.data_lock import DataLock
from holdfast.engine.fs import Fs
from holdfast.engine.keys import load_or_create_key
from holdfast.engine.repository.posix_blobs import PosixBlobs
from holdfast.engine.repository.repository_file import create_repository, read_repository
from holdfast.engine.repository.seal import RepositoryKeys
from tests.unit.cli.fake_server import FakeServer

STRANGER = new_id()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a data directory that holds the repository of another installation."""
    settings = Settings(data_dir=tmp_path / "data")
    settings.data_dir.mkdir(mode=0o700)
    keys = RepositoryKeys.derive(load_or_create_key(Fs(), settings.repository_key_file))
    settings.installation_file.write_text(f"{new_id()}\n")
    with PosixBlobs.made_at(Fs(), settings.repository_dir) as blobs:
        create_repository(blobs, keys, owner=STRANGER, encrypted=True)
    return settings


def owner(settings: Settings) -> str:
    keys = RepositoryKeys.derive(settings.repository_key_file.read_bytes())
    with PosixBlobs(Fs(), settings.repository_dir) as blobs:
        return read_repository(blobs, keys).owner


def test_a_repository_is_taken_over_when_that_is_typed(server: FakeServer, settings: Settings) -> None:
    arguments = ("repository", "take-over", "--data-dir", str(settings.data_dir))
    for how in ({"interactive": True, "typed": "no\n"}, {"interactive": False, "typed": ""}):
        result = server.run(*arguments, interactive=bool(how["interactive"]), typed=str(how["typed"]))
        assert result.exit_code == ExitCode.REFUSED
        assert owner(settings) == STRANGER
    result = server.run(*arguments, interactive=True, typed="take over\n")
    assert result.exit_code == ExitCode.OK, result.output
    assert owner(settings) == settings.installation_file.read_text().strip()


def test_a_lost_description_is_written_anew_only_over_snapshots(server: FakeServer, settings: Settings) -> None:
    (settings.repository_dir / "repository.json").unlink()
    result = server.run("repository", "take-over", "--yes", "--json", "--data-dir", str(settings.data_dir))
    assert result.exit_code == ExitCode.NOT_FOUND
    assert json.loads(result.stdout)["error"]["code"] == "repository_missing"


def test_without_the_key_nothing_is_taken_over(server: FakeServer, settings: Settings) -> None:
    settings.repository_key_file.unlink()
    result = server.run("repository", "take-over", "--yes", "--json", "--data-dir", str(settings.data_dir))
    assert json.loads(result.stdout)["error"]["code"] == "repository_key_missing"


def test_nothing_is_taken_over_under_a_running_server(settings: Settings) -> None:
    with DataLock.acquire(settings.data_dir), pytest.raises(Busy):
        take_over_repository(settings, lock_wait=0)
    assert owner(settings) == STRANGER
