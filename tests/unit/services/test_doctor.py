"""What the doctor finds, and how it says to mend it."""

from __future__ import annotations

import dataclasses
import errno
import os
import socket
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.domain.errors import Unavailable
from holdfast.domain.restore import Identity
from holdfast.domain.told import Told
from holdfast.engine.fs import Fs
from holdfast.services.doctor import (
    ChannelFacts,
    Doctor,
    Finding,
    FindingLevel,
    ScheduleFacts,
    SnapshotFacts,
    check_clock,
    check_database,
    check_leftovers,
    check_notifications,
    check_restores,
    check_schedules,
    check_snapshots,
    check_socket,
    check_space,
    check_volume_root,
    worst,
)
from holdfast.testing.fake_runtime import FakeRuntime

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
OK, WARNING, ERROR = FindingLevel.OK, FindingLevel.WARNING, FindingLevel.ERROR


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for name in ("data/volumes", "srv"):
        (tmp_path / name).mkdir(parents=True)
    return Settings(
        data_dir=tmp_path / "data",
        allowed_roots=(tmp_path / "srv",),
        docker_host=f"unix://{tmp_path}/docker.sock",
        disk_reserve_bytes=1,
        disk_reserve_inodes=1,
    )


@pytest.fixture
def listening(settings: Settings) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(settings.docker_host.removeprefix("unix://"))
        yield


def doctor(settings: Settings, runtime: FakeRuntime) -> Doctor:
    async def nothing() -> tuple[()]:
        return ()

    async def facts() -> SnapshotFacts:
        return SnapshotFacts(total=2, never_verified=0)

    async def schedules() -> ScheduleFacts:
        return ScheduleFacts(total=1)

    async def channels() -> ChannelFacts:
        return ChannelFacts(total=1)

    async def backups() -> Finding:
        return Finding(check="backups", level=OK, told=Told("One."))

    async def no_domains() -> int:
        return 0

    return Doctor(
        settings=settings,
        runtime=runtime,
        fs=Fs(),
        database_check=nothing,
        snapshot_facts=facts,
        unfinished_restores=nothing,
        schedule_facts=schedules,
        unreadable_secrets=nothing,
        channel_facts=channels,
        backups=backups,
        leftovers=lambda: (),
        edge=no_domains,
        now=lambda: NOW,
    )


@pytest.mark.usefixtures("listening")
async def test_a_healthy_host_gets_a_clean_bill(settings: Settings) -> None:
    found = await doctor(settings, FakeRuntime()).findings()
    assert [f for f in found if f.level is not OK] == []
    assert {f.check.split()[0] for f in found} == {
        "socket",
        "engine",
        "edge",
        "clock",
        "database",
        "space",
        "volumes",
        "snapshots",
        "schedules",
        "notifications",
        "backups",
        "restores",
        "secrets",
        "leftovers",
    }
    words = (Path(__file__).parents[3] / "web/src/i18n/languages/en.ts").read_text()
    assert [f.check for f in found if f'"doctor_check.{f.check.split()[0]}"' not in words] == []


@pytest.mark.usefixtures("listening")
async def test_nothing_is_left_in_the_roots_that_were_tried(settings: Settings) -> None:
    await doctor(settings, FakeRuntime()).findings()
    assert [list(root.iterdir()) for root in (settings.volumes_base, *settings.allowed_roots)] == [[], []]


async def test_a_check_that_fails_is_a_finding_and_hides_no_other(settings: Settings) -> None:
    settings.allowed_roots[0].rmdir()
    runtime = FakeRuntime()
    runtime.fail("info", error=Unavailable("engine_unavailable", "It does not answer.", next_step="Start it."))
    found = {f.check: f for f in await doctor(settings, runtime).findings()}
    assert (found["engine"].level, found["engine"].mend) == (ERROR, "Start it.")
    assert found[f"volumes {settings.allowed_roots[0]}"].level is ERROR
    assert found["restores"].level is OK


def test_every_finding_that_is_not_fine_says_how_to_mend_it(tmp_path: Path) -> None:
    no_socket = check_socket(f"unix://{tmp_path}/nothing")
    over_network = check_socket("tcp://192.0.2.1:2375")
    assert (no_socket.level, over_network.level) == (ERROR, WARNING)
    assert no_socket.mend
    assert over_network.mend


def test_a_file_in_the_place_of_the_socket_is_none(tmp_path: Path) -> None:
    (tmp_path / "docker.sock").touch()
    assert check_socket(f"unix://{tmp_path}/docker.sock").level is ERROR


@pytest.mark.parametrize(
    ("now", "level"),
    [
        (NOW, OK),
        (NOW - timedelta(seconds=59), OK),
        (NOW - timedelta(minutes=2), ERROR),
        (datetime(1970, 1, 1, tzinfo=UTC), ERROR),
    ],
)
def test_a_clock_that_went_back_is_found(tmp_path: Path, now: datetime, level: FindingLevel) -> None:
    witness = tmp_path / "state.db"
    witness.touch()
    os.utime(witness, (NOW.timestamp(), NOW.timestamp()))
    assert check_clock(now, witness).level is level


def test_without_anything_written_only_the_year_counts(tmp_path: Path) -> None:
    assert check_clock(NOW, tmp_path / "nothing").level is OK


async def _many() -> Sequence[str]:
    return [f"row {number}" for number in range(8)]


async def test_a_damaged_database_is_told_with_the_first_of_its_problems() -> None:
    found = await check_database(_many)
    assert found.level is ERROR
    assert "row 4 and 3 more" in found.message


async def test_unfinished_restores_are_named() -> None:
    async def unfinished() -> Sequence[Told]:
        return [Told(row) for row in await _many()]

    found = await check_restores(unfinished)
    assert found.level is WARNING
    assert "8 unfinished: row 0" in found.message


async def test_what_restores_left_is_named_with_what_stands_in_the_way() -> None:
    left = [Told(f"notes: it can't be removed {number}.", next_step="Look at lsattr.") for number in range(7)]
    found = await check_leftovers(lambda: left)
    assert found.level is WARNING
    assert "it can't be removed 0." in found.message
    assert found.mend == "Look at lsattr. It is tried again by itself."


@pytest.mark.parametrize(
    ("facts", "level"),
    [
        (SnapshotFacts(total=0, never_verified=0), OK),
        (SnapshotFacts(total=3, never_verified=1), WARNING),
        (SnapshotFacts(total=3, never_verified=1, damaged=("01j",)), ERROR),
        (SnapshotFacts(total=0, never_verified=0, unreadable=("01j",)), ERROR),
    ],
)
async def test_snapshots_are_judged_by_what_is_known_of_them(facts: SnapshotFacts, level: FindingLevel) -> None:
    async def told() -> SnapshotFacts:
        return facts

    assert (await check_snapshots(told)).level is level


class Room(Fs):
    """A filesystem with so much room."""

    def __init__(self, free_bytes: int, free_inodes: int, inodes: int = 1000) -> None:
        self._facts = (4096, 1, free_bytes, free_bytes, free_bytes, inodes, free_inodes, free_inodes, 0, 255)

    def statvfs(self, fd: int) -> os.statvfs_result:
        return os.statvfs_result(self._facts)


@pytest.mark.parametrize(
    ("free_bytes", "free_inodes", "inodes", "level"),
    [
        (4000, 400, 1000, OK),
        (3999, 400, 1000, WARNING),
        (4000, 399, 1000, WARNING),
        (999, 400, 1000, ERROR),
        (4000, 99, 1000, ERROR),
        (4000, 0, 0, OK),
    ],
)
def test_room_is_measured_against_the_reserve(
    settings: Settings, free_bytes: int, free_inodes: int, inodes: int, level: FindingLevel
) -> None:
    reserved = dataclasses.replace(settings, disk_reserve_bytes=1000, disk_reserve_inodes=100)
    found = check_space(Room(free_bytes, free_inodes, inodes), settings.data_dir, reserved)
    assert found.level is level, found.message


class WithoutHandles(Fs):
    def identity(self, fd: int) -> Identity:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")


class WithoutExchange(Fs):
    def exchange(self, dirfd_a: int, name_a: bytes, dirfd_b: int, name_b: bytes) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")


@pytest.mark.parametrize("fs", [WithoutHandles(), WithoutExchange()])
def test_a_filesystem_that_can_t_do_restores_is_found_and_left_clean(tmp_path: Path, fs: Fs) -> None:
    found = check_volume_root(fs, tmp_path)
    assert found.level is ERROR
    assert "ext4" in found.mend
    assert list(tmp_path.iterdir()) == []


def test_the_worst_of_the_findings_counts() -> None:
    found = [Finding(check="x", level=level, told=Told("")) for level in (WARNING, ERROR, OK)]
    assert worst(found) is ERROR
    assert worst([]) is OK


@pytest.mark.parametrize(
    ("facts", "level", "words"),
    [
        (ScheduleFacts(total=2, ailing=(Told("snapshots of notes (overdue)"),)), ERROR, "snapshots of notes (overdue)"),
        (ScheduleFacts(total=1, unprotected=("wiki",)), WARNING, "wiki"),
        (ScheduleFacts(total=3), OK, "3 schedules, all on time"),
    ],
)
async def test_a_schedule_that_fails_and_data_that_none_captures_are_told(
    facts: ScheduleFacts, level: FindingLevel, words: str
) -> None:
    async def found() -> ScheduleFacts:
        return facts

    finding = await check_schedules(found)
    assert (finding.level, words in finding.message, bool(finding.mend)) == (level, True, level is not OK)


@pytest.mark.parametrize(
    ("facts", "level", "words"),
    [
        (ChannelFacts(total=1, failing=(Told("ops: It is down."),)), ERROR, "ops: It is down."),
        (ChannelFacts(), WARNING, "Nobody is told"),
        (ChannelFacts(total=2), OK, "2 channels"),
    ],
)
async def test_a_channel_that_fails_and_that_there_is_none_are_told(
    facts: ChannelFacts, level: FindingLevel, words: str
) -> None:
    async def found() -> ChannelFacts:
        return facts

    finding = await check_notifications(found)
    assert (finding.level, words in finding.message, bool(finding.mend)) == (level, True, level is not OK)


async def test_what_is_left_is_told_by_place(settings: Settings) -> None:
    found = await doctor(settings, FakeRuntime()).space()
    assert set(found) == {str(settings.data_dir), str(settings.volumes_base), *map(str, settings.allowed_roots)}
    assert {finding.level for finding in found.values()} == {OK}
