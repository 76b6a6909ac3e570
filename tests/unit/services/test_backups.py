"""Backups that the server makes and keeps: whole or not there, by a schedule, and told of where they fail."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from holdfast.bootstrap import Holdfast, Seams
from holdfast.config import Settings
from holdfast.domain.backup import BackupReason, PassphraseState
from holdfast.domain.errors import Busy, InvalidInput, NotFound, Refused
from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.repository import RepositoryKind, RepositoryPlace
from holdfast.domain.schedule import SPREAD, ScheduleHealth
from holdfast.services.backups import Backups
from holdfast.services.state_backup import verify_backup
from holdfast.testing.installation import Installation, ended, installation, succeeded
from holdfast.testing.quick_workers import QuickWorkers

PASSPHRASE = "correct horse battery"
TWO = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


class NightClock:
    """Time of day as it was set; all else goes on as always."""

    def __init__(self) -> None:
        self.at = TWO - timedelta(hours=1)

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return self.at.timestamp()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Tight(Installation):
    """One that has to leave more free than any disk has."""

    @property
    def settings(self) -> Settings:
        return replace(super().settings, disk_reserve_bytes=1 << 60)


@pytest.fixture
def here(tmp_path: Path) -> Installation:
    return replace(installation(tmp_path), seams=Seams(workers=QuickWorkers, backup_cost=2))


@asynccontextmanager
async def serving(here: Installation, passphrase: str | None = PASSPHRASE) -> AsyncIterator[tuple[Holdfast, Backups]]:
    async with here.running() as holdfast:
        backups = holdfast.api.backups
        assert isinstance(backups, Backups)
        if passphrase is not None:
            await backups.set_passphrase(passphrase)
        yield holdfast, backups


async def made(holdfast: Holdfast, backups: Backups) -> str:
    return str((await succeeded(holdfast, await backups.create(actor="test"))).outcome["backup_id"])


def leftovers(here: Installation) -> list[str]:
    return [path.name for path in here.settings.backups_dir.iterdir() if path.name.startswith(".")]


async def test_a_backup_is_made_listed_verified_handed_out_and_deleted(here: Installation, tmp_path: Path) -> None:
    async with serving(here) as (holdfast, backups):
        first, second = await made(holdfast, backups), await made(holdfast, backups)
        kept = await backups.list()
        assert [(backup.id, backup.reason) for backup in kept.backups] == [
            (second, BackupReason.MANUAL),
            (first, BackupReason.MANUAL),
        ]
        lines = [f"{line.number}:{line.hash}" async for line in await holdfast.api.audit.export()]
        assert kept.backups[0].audit_head in lines
        verified = await succeeded(holdfast, await backups.verify(first, None, actor="test"))
        assert verified.outcome["files"] == 8
        download = await backups.download(first)
        data = b"".join([piece async for piece in download.content])
        assert (len(data), download.name) == (download.size, f"holdfast-{first}.backup")
        (tmp_path / "downloaded").write_bytes(data)
        facts, entries = await asyncio.to_thread(verify_backup, tmp_path / "downloaded", PASSPHRASE)
        assert facts.id == first
        assert "keys/backup.passphrase" in {entry.name for entry in entries}
        await backups.delete(first, actor="test")
        assert [backup.id for backup in (await backups.list()).backups] == [second]
        with pytest.raises(NotFound):
            await backups.delete(first, actor="test")
        with pytest.raises(NotFound):
            await backups.download("../state.db")
    assert leftovers(here) == []
    (file,) = here.settings.backups_dir.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


async def test_without_a_passphrase_none_is_made(here: Installation) -> None:
    async with serving(here, passphrase=None) as (_, backups):
        assert await backups.passphrase_state() is PassphraseState.NOT_SET
        with pytest.raises(Refused) as caught:
            await backups.create(actor="test")
        assert caught.value.code == "backup_passphrase_not_set"
        with pytest.raises(InvalidInput) as short:
            await backups.set_passphrase("short")
        assert short.value.code == "passphrase_too_short"
        await backups.set_passphrase(PASSPHRASE)
        assert await backups.passphrase_state() is PassphraseState.SET
        sealed = here.settings.keys_dir / "backup.passphrase"
        assert PASSPHRASE.encode() not in sealed.read_bytes()
        sealed.write_bytes(b"x" * 60)
        assert await backups.passphrase_state() is PassphraseState.UNREADABLE
        with pytest.raises(Refused) as unreadable:
            await backups.create(actor="test")
        assert unreadable.value.code == "backup_passphrase_unreadable"


async def test_one_that_is_read_is_not_deleted_and_one_of_an_earlier_passphrase_needs_that(here: Installation) -> None:
    async with serving(here) as (holdfast, backups):
        first = await made(holdfast, backups)
        with backups.using(first, "somebody"), pytest.raises(Busy) as busy:
            await backups.delete(first, actor="test")
        assert busy.value.code == "backup_in_use"
        await backups.set_passphrase("another one by now")
        failed = await ended(holdfast, await backups.verify(first, None, actor="test"))
        assert (failed.state, (failed.error or {})["code"]) == (OperationState.FAILED, "backup_not_opened")
        await succeeded(holdfast, await backups.verify(first, PASSPHRASE, actor="test"))


async def test_a_backup_that_is_not_whole_when_read_back_is_not_kept(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(here) as (holdfast, backups):
        fsync = here.seams.fs.fsync

        def cut_off(fd: int) -> None:
            fsync(fd)
            if b".holdfast-tmp-" in os.readlink(f"/proc/self/fd/{fd}").encode():
                os.ftruncate(fd, os.fstat(fd).st_size - 1)

        monkeypatch.setattr(here.seams.fs, "fsync", cut_off)
        end = await ended(holdfast, await backups.create(actor="test"))
        assert (end.state, (end.error or {})["code"]) == (OperationState.FAILED, "backup_damaged")
        assert (await backups.list()).backups == ()
        assert leftovers(here) == []


async def test_a_disk_without_room_keeps_its_reserve(here: Installation) -> None:
    async with serving(Tight(directory=here.directory, runtime=here.runtime, seams=here.seams)) as (holdfast, backups):
        end = await ended(holdfast, await backups.create(actor="test"))
        assert (end.error or {})["code"] == "disk_reserve_reached"
        assert leftovers(here) == []


async def test_what_is_no_backup_is_told_and_what_a_killed_server_left_is_removed(here: Installation) -> None:
    async with serving(here) as (holdfast, backups):
        await made(holdfast, backups)
        (here.settings.backups_dir / "01jzzzzzzzzzzzzzzzzzzzzzz0.backup").write_bytes(b"x")
        left = here.settings.backups_dir / ".holdfast-tmp-left"
        left.mkdir()
        (left / "state.db").write_bytes(b"x")
        (here.settings.backups_dir / ".holdfast-tmp-file").write_bytes(b"x")
        assert (await backups.list()).unreadable == ("01jzzzzzzzzzzzzzzzzzzzzzz0.backup",)
        findings = {finding.check: finding for finding in await holdfast.api.doctor.findings()}
        assert findings["backups"].level == "error"
    async with here.running():
        assert leftovers(here) == []


async def test_each_is_copied_to_all_second_repositories_and_one_that_is_away_is_told(
    here: Installation, tmp_path: Path
) -> None:
    one_each = replace(here, more={"backup_keep": 1})
    async with serving(one_each) as (holdfast, backups):
        for name in ("far", "near"):
            place = RepositoryPlace(kind=RepositoryKind.DIRECTORY, path=str(tmp_path / name))
            await holdfast.api.repositories.add(name, place, "", encrypt=True, take_over=False)
        await made(holdfast, backups)
        second = await succeeded(holdfast, await backups.create(actor="test"))
        assert second.outcome["copied"] == ["far", "near"]
        (copy,) = (tmp_path / "far" / "backups").iterdir()
        assert copy.name == f"{second.outcome['backup_id']}.backup"
        assert copy.read_bytes() == (here.settings.backups_dir / copy.name).read_bytes()
        (tmp_path / "far").rename(tmp_path / "away")
        end = await ended(holdfast, await backups.create(actor="test"))
        assert (end.state, (end.error or {})["code"]) == (OperationState.FAILED, "backup_not_copied")
        assert [path.stem for path in (tmp_path / "near" / "backups").iterdir()] == [end.outcome["backup_id"]]
        assert end.outcome["backup_id"] in [backup.id for backup in (await backups.list()).backups]


async def scheduled(holdfast: Holdfast, clock: NightClock, day: int) -> Operation:
    """The backup of a night."""
    clock.at = TWO + timedelta(days=day) + SPREAD
    before = {operation.id for operation in (await holdfast.operations.list(limit=50)).items}
    while True:
        await holdfast.scheduler.look()
        for operation in (await holdfast.operations.list(limit=50)).items:
            if operation.id not in before:
                return await ended(holdfast, operation)


async def test_scheduled_ones_are_made_at_night_and_kept_by_count_and_a_failure_is_told(here: Installation) -> None:
    clock = NightClock()
    nightly = replace(
        here,
        seams=replace(here.seams, clock=clock),
        more={"backup_schedule": "0 2 * * *", "backup_keep": 2},
    )
    async with serving(nightly) as (holdfast, backups):
        asked_for = await made(holdfast, backups)
        await holdfast.scheduler.look()
        nights = [str((await scheduled(holdfast, clock, day)).outcome["backup_id"]) for day in range(3)]
        assert [backup.id for backup in (await backups.list()).backups] == [nights[2], nights[1], asked_for]
        await holdfast.scheduler.look()
        (standing,) = await holdfast.scheduler.list()
        assert (standing.schedule.words, standing.health) == (
            "backups of Holdfast's own state",
            ScheduleHealth.ON_TIME,
        )
        figures = {family.name: family.values for family in await holdfast.api.monitoring.figures()}
        assert figures["holdfast_backups"] == {(): 3}
        assert figures["holdfast_schedule_well"] == {("backup", ""): True}
        (here.settings.keys_dir / "backup.passphrase").unlink()
        clock.at = TWO + timedelta(days=3) + SPREAD
        await holdfast.scheduler.look()
        (standing,) = await holdfast.scheduler.list()
        assert standing.health is ScheduleHealth.FAILED
        assert standing.state.last is not None
        assert standing.state.last.code == "backup_passphrase_not_set"
        findings = {finding.check: finding for finding in await holdfast.api.doctor.findings()}
        assert findings["schedules"].level == "error"
        assert findings["backups"].level == "ok"
