"""The disaster drill: the machine is gone; a backup and a second repository bring all of it back on another one."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.bootstrap import Seams
from holdfast.bootstrap.backup import recover_from_backup, recover_from_place
from holdfast.bootstrap.bringing_back import PRIMARY, BroughtBack, bring_back
from holdfast.domain.errors import Conflict, Failed, NotFound, Refused
from holdfast.domain.repository import RepositoryKind, RepositoryPlace
from holdfast.domain.times import now
from holdfast.domain.workload import Scope, Volume
from holdfast.engine.backup_file import BackupFacts, write_backup
from holdfast.services.state_backup import create_backup, verify_backup
from holdfast.testing.installation import Installation, deployed, installation, snapshotted, spec_of, succeeded
from holdfast.testing.quick_workers import QuickWorkers
from holdfast.testing.trees import describe_tree

PASSPHRASE = "correct horse battery"


def quick(directory: Path) -> Installation:
    directory.mkdir()
    return replace(installation(directory), seams=Seams(workers=QuickWorkers, backup_cost=2))


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


def ready(there: Installation) -> Seams:
    """What a server on the other machine is made of."""
    (there.directory / "srv").mkdir()
    there.settings.docker_volumes.mkdir()
    return replace(there.seams, runtime=there.runtime, database=there.database)


async def brought_back(there: Installation, repository: str) -> list[BroughtBack]:
    return [each async for each in bring_back(there.settings, repository, ready(there))]


async def test_a_second_repository_and_a_passphrase_bring_everything_back_on_another_machine(
    here: Installation, there: Installation, tmp_path: Path
) -> None:
    second = RepositoryPlace(kind=RepositoryKind.DIRECTORY, path=str(tmp_path / "second"))
    async with here.running() as holdfast:
        workload = await deployed(holdfast)
        (data_of(here) / "kept").write_bytes(b"what is worth it")
        then = describe_tree(data_of(here))
        await deployed(holdfast, spec_of("front", volumes=()))
        await deployed(holdfast, spec_of("lonely", volumes=(Volume(target="/x", scope=Scope.STAGE, source="x"),)))
        await holdfast.api.secrets.set(workload.id, "KEY", "hush", actor="test")
        await snapshotted(holdfast, workload)
        await holdfast.api.repositories.add("disk", second, "", encrypt=True, take_over=False)
        copies = await holdfast.api.copies.copy(
            "disk", workload=workload.id, snapshot_id=None, limit_rate=None, actor="test"
        )
        await succeeded(holdfast, copies)
        await holdfast.api.backups.set_passphrase(PASSPHRASE)
        made = await succeeded(holdfast, await holdfast.api.backups.create(actor="test"))
        token = holdfast.first_token
    recovered = await asyncio.to_thread(recover_from_place, there.settings, second, "", None, PASSPHRASE)
    assert recovered.backup.backup_id == made.outcome["backup_id"]
    assert (recovered.workloads, recovered.repositories) == (("front", "lonely", "notes"), ("disk",))
    found = {each.workload: each for each in await brought_back(there, "disk")}
    assert {name: each.result for name, each in found.items()} == {
        "front": "started",
        "lonely": "no_snapshot",
        "notes": "restored",
    }
    assert [name for name, each in found.items() if not each.well] == ["lonely"]
    assert describe_tree(data_of(there)) == then
    async with there.running() as holdfast:
        assert token is not None
        assert await holdfast.api.tokens.verify(token) is not None
        assert (await holdfast.api.workloads.get("notes")).id == workload.id
        (secret,) = await holdfast.api.secrets.list("notes")
        assert secret.state == "set"
    assert not [path for path in there.settings.data_dir.iterdir() if path.name.startswith((".", "state-restore"))]
    before = there.settings.database_file.read_bytes()
    with pytest.raises(Conflict) as caught:
        await asyncio.to_thread(recover_from_place, there.settings, second, "", None, PASSPHRASE)
    assert caught.value.code == "data_dir_not_empty"
    assert there.settings.database_file.read_bytes() == before


async def test_a_backup_file_and_the_primary_repository_of_a_disk_that_survived_do_too(
    here: Installation, there: Installation, tmp_path: Path
) -> None:
    async with here.running() as holdfast:
        workload = await deployed(holdfast)
        (data_of(here) / "kept").write_bytes(b"what is worth it")
        then = describe_tree(data_of(here))
        await snapshotted(holdfast, workload)
        facts = await asyncio.to_thread(back_up, here, tmp_path / "backup")  # while it runs
    verified, entries = await asyncio.to_thread(verify_backup, tmp_path / "backup", PASSPHRASE)
    assert (verified.id, verified.audit_head) == (facts.id, facts.audit_head)
    assert {"state.db", "installation", "settings.json", "admin-token"} <= {entry.name for entry in entries}
    there.settings.data_dir.mkdir(mode=0o700)
    shutil.copytree(here.settings.repository_dir, there.settings.repository_dir)
    recovered = await asyncio.to_thread(recover_from_backup, there.settings, tmp_path / "backup", PASSPHRASE)
    assert recovered.backup.backup_id == facts.id
    (found,) = await brought_back(there, PRIMARY)
    assert (found.workload, found.result) == ("notes", "restored")
    assert describe_tree(data_of(there)) == then


def test_a_backup_that_cant_be_used_leaves_nothing_behind(there: Installation, tmp_path: Path) -> None:
    file, database = tmp_path / "backup", tmp_path / "state.db"
    database.write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    for schema, passphrase, code in (
        ("9999", PASSPHRASE, "schema_newer"),
        ("0016", PASSPHRASE, "backup_failed"),
        ("0016", "another passphrase", "backup_not_opened"),
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
