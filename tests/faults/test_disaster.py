"""The disaster drill: the machine is gone; a backup and a second repository bring all of it back on another one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.bootstrap import Holdfast, Seams
from holdfast.bootstrap.backup import recover_from_backup
from holdfast.domain.errors import Conflict, Failed, NotFound, Refused
from holdfast.domain.repository import RepositoryKind, RepositoryPlace
from holdfast.domain.times import now
from holdfast.engine.backup_file import BackupFacts, write_backup
from holdfast.services.state_backup import create_backup, verify_backup
from holdfast.testing.installation import Installation, deployed, installation, snapshotted, succeeded
from holdfast.testing.quick_workers import QuickWorkers
from holdfast.testing.trees import describe_tree

PASSPHRASE = "correct horse battery"


def quick(directory: Path) -> Installation:
    directory.mkdir()
    return replace(installation(directory), seams=Seams(workers=QuickWorkers))


@pytest.fixture
def here(tmp_path: Path) -> Installation:
    return quick(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> Installation:
    return quick(tmp_path / "there")


def back_up(here: Installation, file: Path) -> BackupFacts:
    with file.open("wb") as out:
        return create_backup(here.settings, PASSPHRASE, out, scrypt_n=2)


def data_of(machine: Installation) -> Path:
    (path,) = machine.volumes.glob("*/data")
    return path


async def bring_back(holdfast: Holdfast, snapshot_id: str) -> None:
    operation = await holdfast.api.restores.restore(
        "notes",
        snapshot_id,
        confirm=snapshot_id,
        volumes=None,
        on_unhealthy=None,
        with_image=False,
        create_missing=True,
        repository="disk",
        dry_run=False,
        actor="test",
    )
    await succeeded(holdfast, operation)


async def test_a_backup_and_a_second_repository_bring_workload_secret_and_data_back_on_another_machine(
    here: Installation, there: Installation, tmp_path: Path
) -> None:
    file, second = tmp_path / "backup", tmp_path / "second"
    async with here.running() as holdfast:
        workload = await deployed(holdfast)
        (data_of(here) / "kept").write_bytes(b"what is worth it")
        then = describe_tree(data_of(here))
        await holdfast.api.secrets.set(workload.id, "KEY", "hush", actor="test")
        snapshot_id = await snapshotted(holdfast, workload)
        place = RepositoryPlace(kind=RepositoryKind.DIRECTORY, path=str(second))
        await holdfast.api.repositories.add("disk", place, "", encrypt=True, take_over=False)
        copied = await holdfast.api.copies.copy(
            "disk", workload=workload.id, snapshot_id=None, limit_rate=None, actor="test"
        )
        await succeeded(holdfast, copied)
        facts = await asyncio.to_thread(back_up, here, file)  # while it runs, with what is only in the database's log
        assert facts.audit_head == str(await holdfast.api.audit.head())
        token = holdfast.first_token
    verified, entries = await asyncio.to_thread(verify_backup, file, PASSPHRASE)
    assert (verified.id, verified.audit_head) == (facts.id, facts.audit_head)
    assert {"state.db", "installation", "settings.json", "admin-token"} <= {entry.name for entry in entries}
    recovered = await asyncio.to_thread(recover_from_backup, there.settings, file, PASSPHRASE)
    assert (recovered.backup.backup_id, recovered.workloads, recovered.repositories) == (
        facts.id,
        ("notes",),
        ("disk",),
    )
    async with there.running() as holdfast:
        assert token is not None
        assert await holdfast.api.tokens.verify(token) is not None
        assert (await holdfast.api.workloads.get("notes")).id == workload.id
        (secret,) = await holdfast.api.secrets.list("notes")
        assert secret.state == "set"
        await bring_back(holdfast, snapshot_id)
        assert describe_tree(data_of(there)) == then
    assert not [path for path in there.settings.data_dir.iterdir() if path.name.startswith(".")]
    before = there.settings.database_file.read_bytes()
    with pytest.raises(Conflict) as caught:
        await asyncio.to_thread(recover_from_backup, there.settings, file, PASSPHRASE)
    assert caught.value.code == "data_dir_not_empty"
    assert there.settings.database_file.read_bytes() == before


def test_a_backup_that_cant_be_used_leaves_nothing_behind(there: Installation, tmp_path: Path) -> None:
    file, database = tmp_path / "backup", tmp_path / "state.db"
    database.write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    for schema, passphrase, code in (
        ("9999", PASSPHRASE, "schema_newer"),
        ("0014", PASSPHRASE, "backup_failed"),
        ("0014", "another passphrase", "backup_not_opened"),
    ):
        facts = BackupFacts(
            id="i", created_at=now(), holdfast="9", schema=schema, installation="i", audit_head="0:0", scrypt_n=2
        )
        with file.open("wb") as out:
            write_backup(out, facts, {"state.db": database, "keys/sealing.key": database}, PASSPHRASE)
        with pytest.raises((Failed, Refused)) as caught:
            recover_from_backup(there.settings, file, passphrase)
        assert caught.value.code == code
    assert not there.settings.database_file.exists()
    assert not list(there.settings.keys_dir.iterdir())


def test_without_a_holdfast_there_is_nothing_to_back_up(there: Installation, tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        back_up(there, tmp_path / "backup")
    assert caught.value.code == "data_dir_empty"
    assert not there.settings.data_dir.exists()
