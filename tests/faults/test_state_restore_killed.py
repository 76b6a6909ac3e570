"""A backup takes the place of the state, and the process dies at each step: what is there is the old or the new."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from holdfast.bootstrap.data_directory import make_directories
from holdfast.config import Settings
from holdfast.domain.errors import Conflict, Refused
from holdfast.engine.fs import Fs
from holdfast.engine.sealing import Sealing
from holdfast.services.backup_files import BackupFiles
from holdfast.services.backup_passphrase import BackupPassphrase
from holdfast.services.state_backup import create_backup
from holdfast.services.state_swap import StateSwap
from holdfast.store.migrations import HEAD
from holdfast.testing.crash import CrashingFs, in_child
from holdfast.testing.kill_points import KillPoints

PASSPHRASE = "correct horse battery"
TABLES = (
    "CREATE TABLE alembic_version (version_num)",
    "CREATE TABLE audit_head (number, hash)",
    "CREATE TABLE workloads (name)",
    "CREATE TABLE repositories (name)",
    "CREATE TABLE snapshots (id, workload_id, safety_for, pinned)",
    "CREATE TABLE users (id, disabled)",
    "CREATE TABLE tokens (id, user_id)",
    "INSERT INTO users VALUES ('ann', 0), ('bob', 1)",
    "INSERT INTO tokens VALUES ('still good', 'ann'), ('shut out', 'bob')",
    "INSERT INTO snapshots VALUES ('pinned', 'notes', 'restore', 1), ('other', 'notes', NULL, 0)",
    f"INSERT INTO alembic_version VALUES ('{HEAD}')",
)


def swap_of(settings: Settings, fs: Fs | None = None) -> StateSwap:
    fs = fs or Fs()
    passphrase = BackupPassphrase(settings, fs, Sealing(fs, settings.keys_dir))
    return StateSwap(settings, fs, BackupFiles(settings, fs, 2), passphrase)


def write(settings: Settings, state: str) -> None:
    """A state, of which each file says which one it is; the newest of the database is only in its log."""
    (settings.keys_dir / "far.sealed").write_text(state)
    (settings.keys_dir / "sealing.key").write_bytes(state.encode().ljust(32))
    (settings.keys_dir / "sealing.key").chmod(0o600)
    database = sqlite3.connect(settings.database_file)
    if state == "new":
        for statement in TABLES:
            database.execute(statement)
        database.commit()
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("DELETE FROM workloads")
    database.execute("INSERT INTO workloads VALUES (?)", (state,))
    database.commit()
    # not closed in order: that would put the log into the database
    logs = {name: (settings.data_dir / name).read_bytes() for name in ("state.db-wal", "state.db-shm")}
    main = settings.database_file.read_bytes()
    database.close()
    settings.database_file.write_bytes(main)
    for name, content in logs.items():
        (settings.data_dir / name).write_bytes(content)


def state_of(settings: Settings) -> set[str]:
    """Which state each file is of."""
    with closing(sqlite3.connect(settings.database_file)) as database:
        (name,) = database.execute("SELECT name FROM workloads").fetchone()
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    sealing = (settings.keys_dir / "sealing.key").read_text().strip()
    return {name, sealing, (settings.keys_dir / "far.sealed").read_text()}


@dataclass(frozen=True)
class Place:
    """A data directory with the state ``old``, to whose ``backup`` it is to go ``new``; ``start`` is a copy of it."""

    settings: Settings
    start: Path

    def reset(self) -> None:
        shutil.rmtree(self.settings.data_dir)
        shutil.copytree(self.start, self.settings.data_dir)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """What was asked for is staged."""
    settings = Settings(data_dir=tmp_path / "data", disk_reserve_bytes=0, disk_reserve_inodes=0)
    make_directories(settings, Fs())
    settings.installation_file.write_text("01jzzzzzzzzzzzzzzzzzzzzzz0\n")
    write(settings, "new")
    (settings.keys_dir / "repository.key").write_bytes(b"r" * 32)
    with (tmp_path / "backup").open("wb") as out:
        create_backup(settings, PASSPHRASE, out, scrypt_n=2)
    write(settings, "old")
    fs = Fs()
    BackupPassphrase(settings, fs, Sealing(fs, settings.keys_dir)).set(PASSPHRASE)
    swap = swap_of(settings)
    asked = swap.stage(tmp_path / "backup", PASSPHRASE, lambda _done, _total: None)
    swap.check_keys()
    swap.ask(msgspec.structs.replace(asked, operation_id="01jzzzzzzzzzzzzzzzzzzzzzz1", actor="ann"))
    shutil.copytree(settings.data_dir, tmp_path / "start")
    return Place(settings, tmp_path / "start")


def test_whatever_dies_when_the_state_is_the_old_or_the_new(place: Place, tmp_path: Path) -> None:
    settings = place.settings

    async def carried_out(points: KillPoints) -> None:
        swap = swap_of(settings, CrashingFs(points))
        points.armed = True
        settled = swap.settle()
        assert settled is not None
        assert settled.error is None
        swap.drop()

    whole = in_child(tmp_path, None, carried_out)
    assert (whole.trouble, state_of(settings)) == ("", {"new"})
    assert len(whole.reached) > 20
    results = []
    # what lies after a point lies before the next one; only the last has none
    for point in [point for point in whole.reached if point.startswith("before ")] + [whole.reached[-1]]:
        place.reset()
        died = in_child(tmp_path, point, carried_out)
        assert died.killed, point
        torn = swap_of(settings).torn
        settled = swap_of(settings).settle()
        (state,) = state_of(settings)
        if torn:
            assert state == "new", point
        if settled is not None:  # else it had been told, and was being tidied up
            assert (state == "new") == (settled.committed is not None), point
            assert (settled.error is None) == (settled.committed is not None), point
        swap_of(settings).drop()
        assert swap_of(settings).settle() is None
        assert state_of(settings) == {state}, point
        assert not settings.state_restore_dir.exists()
        results.append(state)
    assert results[0] == "new"  # what nobody has begun with is carried out by the next start
    assert results[1:] == sorted(results[1:], reverse=True)  # and never back from the new one to the old
    assert "old" in results


def test_what_it_takes_the_place_of_is_backed_up_and_no_key_is_lost(place: Place, tmp_path: Path) -> None:
    settings = place.settings
    swap = swap_of(settings)
    settled = swap.settle()
    assert settled is not None
    assert settled.committed is not None
    assert settled.committed.pins == (("pinned", "notes", "restore"),)
    assert settled.committed.tokens == ("still good",)
    swap.drop()
    fs = Fs()
    passphrase = BackupPassphrase(settings, fs, Sealing(fs, settings.keys_dir))
    assert passphrase.get() == PASSPHRASE  # sealed with the key of before, which is kept beside
    safety = BackupFiles(settings, fs, 2).path(settled.committed.safety_id)
    asked = swap.stage(safety, PASSPHRASE, lambda _done, _total: None)
    swap.ask(msgspec.structs.replace(asked, operation_id="01jzzzzzzzzzzzzzzzzzzzzzz2", actor="ann"))
    assert swap.settle() is not None
    assert state_of(settings) == {"old"}


def test_what_was_changed_since_it_was_staged_is_not_put_in_place(place: Place) -> None:
    settings = place.settings
    staged = settings.state_restore_dir / "new" / "keys" / "far.sealed"
    staged.write_text("something else")
    settled = swap_of(settings).settle()
    assert settled is not None
    assert settled.error is not None
    assert settled.error.code == "state_not_whole"
    assert state_of(settings) == {"old"}
    assert list(settings.backups_dir.iterdir()) == []


def test_what_a_start_began_with_and_did_not_commit_is_given_up(place: Place) -> None:
    settings = place.settings
    (settings.state_restore_dir / "begun").write_text("")
    settled = swap_of(settings).settle()
    assert settled is not None
    assert settled.error is not None
    assert settled.error.code == "backup_restore_interrupted"
    assert state_of(settings) == {"old"}


def test_without_a_safety_backup_nothing_is_put_in_place(place: Place) -> None:
    settings = place.settings
    (settings.keys_dir / "backup.passphrase").unlink()
    settled = swap_of(settings).settle()
    assert settled is not None
    assert settled.error is not None
    assert settled.error.code == "backup_passphrase_not_set"
    assert state_of(settings) == {"old"}


def test_nothing_is_put_in_place_while_a_restore_of_a_workload_is_not_over(place: Place) -> None:
    settings = place.settings
    (settings.journal_dir / "01jzzzzzzzzzzzzzzzzzzzzzz3.journal").write_text("")
    settled = swap_of(settings).settle()
    assert settled is not None
    assert isinstance(settled.error, Conflict)
    assert settled.error.code == "restores_unfinished"
    assert state_of(settings) == {"old"}


def test_a_backup_of_another_repository_is_refused(place: Place, tmp_path: Path) -> None:
    settings = place.settings
    (settings.keys_dir / "repository.key").write_bytes(b"q" * 32)
    swap = swap_of(settings)
    swap.stage(tmp_path / "backup", PASSPHRASE, lambda _done, _total: None)
    with pytest.raises(Refused) as caught:
        swap.check_keys()
    assert caught.value.code == "backup_of_another_repository"


def test_who_needs_the_whole_state_is_refused_while_it_is_torn(place: Place, tmp_path: Path) -> None:
    settings = place.settings

    async def carried_out(points: KillPoints) -> None:
        swap = swap_of(settings, CrashingFs(points))
        points.armed = True
        swap.settle()

    assert in_child(tmp_path, "after placing a .json file #1", carried_out).killed
    with (tmp_path / "other").open("wb") as out, pytest.raises(Conflict) as caught:
        create_backup(settings, PASSPHRASE, out, scrypt_n=2)
    assert caught.value.code == "state_restore_unfinished"
    shutil.copy(place.start / "state.db-wal", settings.data_dir)  # as somebody leaves it who looked into the old one
    assert swap_of(settings).finish() is not None
    assert state_of(settings) == {"new"}
