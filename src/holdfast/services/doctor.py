"""Checks everything that a support person would ask, and says for each finding how to mend it.

Each check is a small function that looks at one thing and changes nothing that lasts; a check that fails itself is a
finding like any other and never hides the rest. The doctor reports; it mends nothing.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from holdfast.config import Settings
from holdfast.domain import edge as edge_kinds
from holdfast.domain.errors import HoldfastError
from holdfast.domain.ids import new_id
from holdfast.domain.told import Told, some, told
from holdfast.engine.fs import Fs
from holdfast.engine.probes import PROBE_PREFIX
from holdfast.runtime.port import ContainerRuntime

_CLOCK_SLACK: Final = timedelta(minutes=1)
_EARLIEST: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""No clock that runs this program can be right and earlier."""
_COMFORT: Final = 4
"""Free space below this many times the reserve is worth a warning."""


class FindingLevel(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found.

    Attributes:
        check: what was looked at, e.g. ``engine``, ``space /srv``.
        told: what was found, and how to put it right where something is wrong.
    """

    check: str
    level: FindingLevel
    told: Told

    @property
    def message(self) -> str:
        return self.told.message

    @property
    def mend(self) -> str:
        return self.told.next_step


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFacts:
    """How the snapshots are. ``damaged`` and ``unreadable`` are ids, the latter where the manifest can't be read."""

    total: int
    never_verified: int
    damaged: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFacts:
    """How the schedules are.

    Attributes:
        total: how many there are.
        ailing: those that need somebody ("snapshots of notes (overdue)").
        unprotected: workloads whose data no schedule captures.
    """

    total: int = 0
    ailing: tuple[Told, ...] = ()
    unprotected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelFacts:
    """How the channels are. ``failing``: through which nothing could be delivered, and why."""

    total: int = 0
    failing: tuple[Told, ...] = ()


def worst(findings: Sequence[Finding]) -> FindingLevel:
    """The worst level found; ``ok`` for none."""
    order = list(FindingLevel)
    return max((finding.level for finding in findings), key=order.index, default=FindingLevel.OK)


class Doctor:
    """Runs all checks.

    Args:
        database_check: the problems that the database's own quick check found, in words.
        snapshot_facts: how the snapshots are.
        unfinished_restores: restores whose journals are still there ("notes: needs a decision").
        schedule_facts: how the schedules are.
        unreadable_secrets: secrets that can't be opened, in words ("notes: NOTES_KEY").
        channel_facts: how the channels are.
        backups: whether Holdfast itself could be brought back.
        leftovers: what restores left that can't be removed yet, and what to do about each.
        edge: how many domains the edge serves, once it serves what it should; raises where it can't.
        now: the clock to check, UTC.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        runtime: ContainerRuntime,
        fs: Fs,
        database_check: Callable[[], Awaitable[Sequence[str]]],
        snapshot_facts: Callable[[], Awaitable[SnapshotFacts]],
        unfinished_restores: Callable[[], Awaitable[Sequence[Told]]],
        schedule_facts: Callable[[], Awaitable[ScheduleFacts]],
        unreadable_secrets: Callable[[], Awaitable[Sequence[str]]],
        channel_facts: Callable[[], Awaitable[ChannelFacts]],
        backups: Callable[[], Awaitable[Finding]],
        leftovers: Callable[[], Sequence[Told]],
        edge: Callable[[], Awaitable[int]],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._runtime = runtime
        self._fs = fs
        self._database_check = database_check
        self._snapshot_facts = snapshot_facts
        self._unfinished_restores = unfinished_restores
        self._schedule_facts = schedule_facts
        self._unreadable_secrets = unreadable_secrets
        self._channel_facts = channel_facts
        self._backups = backups
        self._leftovers = leftovers
        self._edge = edge
        self._now = now

    async def space(self) -> dict[str, Finding]:
        """What is left on the filesystems of the data directory and of all volumes, by place."""
        settings = self._settings
        places = dict.fromkeys((settings.data_dir, settings.volumes_base, *settings.allowed_roots))
        found = [
            await _guarded(f"space {place}", asyncio.to_thread(check_space, self._fs, place, settings))
            for place in places
        ]
        return {str(place): finding for place, finding in zip(places, found, strict=True)}

    async def findings(self) -> list[Finding]:
        """What every check found, in a fixed order."""
        settings = self._settings
        volume_roots = (settings.volumes_base, *settings.allowed_roots)
        checks: list[tuple[str, Awaitable[Finding]]] = [
            ("socket", asyncio.to_thread(check_socket, settings.docker_host)),
            ("engine", check_engine(self._runtime)),
            ("clock", asyncio.to_thread(check_clock, self._now(), settings.database_file)),
            ("edge", check_edge(settings.edge, self._edge)),
            ("database", check_database(self._database_check)),
        ]
        checks += [
            (f"space {place}", asyncio.to_thread(check_space, self._fs, place, settings))
            for place in dict.fromkeys((settings.data_dir, *volume_roots))
        ]
        checks += [(f"volumes {root}", asyncio.to_thread(check_volume_root, self._fs, root)) for root in volume_roots]
        checks += [
            ("snapshots", check_snapshots(self._snapshot_facts)),
            ("schedules", check_schedules(self._schedule_facts)),
            ("notifications", check_notifications(self._channel_facts)),
            ("backups", self._backups()),
            ("restores", check_restores(self._unfinished_restores)),
            ("secrets", check_secrets(self._unreadable_secrets)),
            ("leftovers", check_leftovers(self._leftovers)),
        ]
        return [await _guarded(name, check) for name, check in checks]


async def _guarded(name: str, check: Awaitable[Finding]) -> Finding:
    try:
        return await check
    except HoldfastError as error:
        return Finding(check=name, level=FindingLevel.ERROR, told=Told.of(error))
    except OSError as error:
        failed = told(
            "doctor_not_looked_at",
            "This could not be looked at: {why}.",
            "Check that the path exists and that Holdfast runs as root.",
            why=str(error),
        )
        return Finding(check=name, level=FindingLevel.ERROR, told=failed)


def check_socket(docker_host: str) -> Finding:
    """Whether the engine's socket is there and may be used."""
    if not docker_host.startswith("unix://"):
        remote = told(
            "doctor_socket_remote",
            "The engine is reached over the network ({host}).",
            "Make sure that the engine is on this very host: volumes are directories of this host.",
            host=docker_host,
        )
        return Finding(check="socket", level=FindingLevel.WARNING, told=remote)
    path = docker_host.removeprefix("unix://")
    try:
        is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
    except FileNotFoundError:
        is_socket = False
    if not is_socket:
        missing = told(
            "doctor_socket_missing",
            "There is no socket at {path}.",
            "Start the Docker Engine, or set docker_host (HOLDFAST_DOCKER_HOST) to where it listens.",
            path=path,
        )
        return Finding(check="socket", level=FindingLevel.ERROR, told=missing)
    if not os.access(path, os.R_OK | os.W_OK):
        forbidden = told(
            "doctor_socket_forbidden", "Holdfast may not use the socket {path}.", "Run Holdfast as root.", path=path
        )
        return Finding(check="socket", level=FindingLevel.ERROR, told=forbidden)
    there = told("doctor_socket_there", "{path} is there and may be used.", path=path)
    return Finding(check="socket", level=FindingLevel.OK, told=there)


async def check_engine(runtime: ContainerRuntime) -> Finding:
    """Whether the engine answers, and who it is."""
    info = await runtime.info()
    answers = told(
        "doctor_engine_answers",
        "The engine answers: version {version}, API {api}.",
        version=info.version,
        api=info.api_version,
    )
    return Finding(check="engine", level=FindingLevel.OK, told=answers)


async def check_edge(edge: str, served: Callable[[], Awaitable[int]]) -> Finding:
    """Whether the edge serves what it should."""
    if edge == edge_kinds.OFF:
        found = told("doctor_edge_off", "No edge is driven; none is needed without domains.")
    else:
        found = told("doctor_edge_serves", "The edge ({edge}) serves {count} domains.", edge=edge, count=await served())
    return Finding(check="edge", level=FindingLevel.OK, told=found)


def check_clock(now: datetime, witness: Path) -> Finding:
    """Whether the clock can be right: not before this program was written, nor before what was written last."""
    last = datetime.fromtimestamp(witness.stat().st_mtime, UTC) if witness.exists() else _EARLIEST
    if now >= max(last - _CLOCK_SLACK, _EARLIEST):
        right = told("doctor_clock_right", "The clock says {now}.", now=now)
        return Finding(check="clock", level=FindingLevel.OK, told=right)
    wrong = told(
        "doctor_clock_wrong",
        "The clock says {now}, but Holdfast wrote its state at {last}.",
        "Set the clock (timedatectl set-ntp true). Lists are sorted by time, newest first.",
        now=now,
        last=last,
    )
    return Finding(check="clock", level=FindingLevel.ERROR, told=wrong)


async def check_database(check: Callable[[], Awaitable[Sequence[str]]]) -> Finding:
    """Whether the database is whole."""
    problems = await check()
    if not problems:
        whole = told("doctor_database_whole", "The database is whole.")
        return Finding(check="database", level=FindingLevel.OK, told=whole)
    damaged = told(
        "doctor_database_damaged",
        "The database is damaged: {problems}.",
        "Stop Holdfast, keep a copy of state.db, and check the disk. Snapshots do not depend on the database.",
        problems=some(problems),
    )
    return Finding(check="database", level=FindingLevel.ERROR, told=damaged)


def check_space(fs: Fs, place: Path, settings: Settings) -> Finding:
    """Whether bytes and inodes are left on the filesystem of ``place``."""
    fd = fs.open_root(str(place))
    try:
        facts = fs.statvfs(fd)
    finally:
        fs.close(fd)
    free_bytes, free_inodes = facts.f_bavail * facts.f_frsize, facts.f_favail
    if facts.f_files > 0:
        free = told("space_free", "{bytes} and {inodes} inodes free", bytes=free_bytes, inodes=free_inodes)
    else:  # btrfs makes inodes as it goes and reports none
        free = told("space_free_bytes", "{bytes} free", bytes=free_bytes)
    shortage = min(
        free_bytes / max(settings.disk_reserve_bytes, 1),
        free_inodes / max(settings.disk_reserve_inodes, 1) if facts.f_files > 0 else float("inf"),
    )
    name = f"space {place}"
    if shortage >= _COMFORT:
        return Finding(check=name, level=FindingLevel.OK, told=told("doctor_space_enough", "{free}.", free=free))
    scarce = told(
        "doctor_space_scarce",
        "{free}, of which {reserve_bytes} and {reserve_inodes} inodes stay reserved.",
        "Delete snapshots that nobody needs, or enlarge the filesystem. A restore needs room for a second copy.",
        free=free,
        reserve_bytes=settings.disk_reserve_bytes,
        reserve_inodes=settings.disk_reserve_inodes,
    )
    return Finding(check=name, level=FindingLevel.WARNING if shortage >= 1 else FindingLevel.ERROR, told=scarce)


def check_volume_root(fs: Fs, root: Path) -> Finding:
    """Whether restores are possible below ``root``: file handles, and the exchange of two directories.

    Makes and removes a throwaway directory.
    """
    name = f"volumes {root}"
    fd = fs.open_root(str(root))
    probe = PROBE_PREFIX + new_id().encode()
    try:
        fs.identity(fd)
        fs.mkdirat(fd, probe, 0o700)
        try:
            _probe_exchange(fs, fd, probe)
        finally:
            fs.rmdirat(fd, probe)
    except OSError as error:
        unfit = told(
            "doctor_volumes_unfit",
            "The filesystem can't hold volumes that are restored: {why}.",
            "Put volumes on ext4, XFS or btrfs, mounted writable on this host.",
            why=error.strerror or str(error),
        )
        return Finding(check=name, level=FindingLevel.ERROR, told=unfit)
    finally:
        fs.close(fd)
    fit = told("doctor_volumes_fit", "Directories can be exchanged and have file handles.")
    return Finding(check=name, level=FindingLevel.OK, told=fit)


def _probe_exchange(fs: Fs, dirfd: int, probe: bytes) -> None:
    inside = fs.openat(dirfd, probe, os.O_RDONLY | os.O_DIRECTORY)
    made: list[bytes] = []
    try:
        for name in (b"a", b"b"):
            fs.mkdirat(inside, name)
            made.append(name)
        fs.exchange(inside, b"a", inside, b"b")
    finally:
        for name in made:
            fs.rmdirat(inside, name)
        fs.close(inside)


async def check_snapshots(facts: Callable[[], Awaitable[SnapshotFacts]]) -> Finding:
    """Whether snapshots are whole, and known to be."""
    found = await facts()
    if found.unreadable:
        unreadable = told(
            "doctor_snapshots_unreadable",
            "The manifests of these snapshots can't be read: {snapshots}.",
            "See `holdfast repository damaged`: bring the manifests back from a copy, or delete these snapshots. "
            "Until then no prune frees anything. Check the disk (dmesg, smartctl).",
            snapshots=some(found.unreadable),
        )
        return Finding(check="snapshots", level=FindingLevel.ERROR, told=unreadable)
    if found.damaged:
        damaged = told(
            "doctor_snapshots_damaged",
            "{count} of {total} snapshots are damaged: {snapshots}.",
            "Check the disk (dmesg, smartctl) and take new snapshots. The undamaged ones are not affected.",
            count=len(found.damaged),
            total=found.total,
            snapshots=some(found.damaged),
        )
        return Finding(check="snapshots", level=FindingLevel.ERROR, told=damaged)
    if found.never_verified:
        never = told(
            "doctor_snapshots_never_verified",
            "{count} of {total} snapshots were never verified.",
            "Run 'holdfast snapshot verify' for those that you rely on.",
            count=found.never_verified,
            total=found.total,
        )
        return Finding(check="snapshots", level=FindingLevel.WARNING, told=never)
    verified = told("doctor_snapshots_verified", "{count} snapshots, all verified.", count=found.total)
    return Finding(check="snapshots", level=FindingLevel.OK, told=verified)


async def check_schedules(facts: Callable[[], Awaitable[ScheduleFacts]]) -> Finding:
    """Whether what is scheduled happens, and all data is captured by a schedule."""
    found = await facts()
    if found.ailing:
        ailing = told(
            "doctor_schedules_ailing",
            "{count} of {total} schedules need somebody: {schedules}.",
            "See `holdfast schedule list` for why. What can't wait is done by hand until it is mended.",
            count=len(found.ailing),
            total=found.total,
            schedules=some(found.ailing),
        )
        return Finding(check="schedules", level=FindingLevel.ERROR, told=ailing)
    if found.unprotected:
        unprotected = told(
            "doctor_schedules_unprotected",
            "No schedule takes snapshots of: {workloads}.",
            'Give each a snapshots.schedule, for example "0 3 * * *".',
            workloads=some(found.unprotected),
        )
        return Finding(check="schedules", level=FindingLevel.WARNING, told=unprotected)
    on_time = told("doctor_schedules_on_time", "{count} schedules, all on time.", count=found.total)
    return Finding(check="schedules", level=FindingLevel.OK, told=on_time)


async def check_notifications(facts: Callable[[], Awaitable[ChannelFacts]]) -> Finding:
    """Whether somebody hears of what fails."""
    found = await facts()
    if found.failing:
        waiting = told(
            "doctor_notices_wait",
            "Notices wait that could not be delivered: {channels}.",
            "See `holdfast notification list`, mend what it names, then `holdfast notification test NAME`.",
            channels=some(found.failing),
        )
        return Finding(check="notifications", level=FindingLevel.ERROR, told=waiting)
    if not found.total:
        nobody = told(
            "doctor_nobody_is_told",
            "Nobody is told when something fails.",
            "Add a channel: holdfast notification add-webhook, or add-mail.",
        )
        return Finding(check="notifications", level=FindingLevel.WARNING, told=nobody)
    delivered = told("doctor_notices_delivered", "{count} channels; nothing waits.", count=found.total)
    return Finding(check="notifications", level=FindingLevel.OK, told=delivered)


async def check_restores(unfinished: Callable[[], Awaitable[Sequence[Told]]]) -> Finding:
    """Whether restores are left that need somebody."""
    found = await unfinished()
    if not found:
        finished = told("doctor_restores_finished", "No restore is unfinished.")
        return Finding(check="restores", level=FindingLevel.OK, told=finished)
    left = told(
        "doctor_restores_unfinished",
        "{count} unfinished: {restores}.",
        "Look at 'holdfast operation list'; what needs a decision is settled by 'holdfast restore-decision'.",
        count=len(found),
        restores=some(found),
    )
    return Finding(check="restores", level=FindingLevel.WARNING, told=left)


async def check_secrets(unreadable: Callable[[], Awaitable[Sequence[str]]]) -> Finding:
    """Whether all secrets can be opened."""
    found = await unreadable()
    if not found:
        readable = told("doctor_secrets_readable", "All secrets can be opened.")
        return Finding(check="secrets", level=FindingLevel.OK, told=readable)
    sealed = told(
        "doctor_secrets_unreadable",
        "Secrets can't be opened: {secrets}.",
        "Put the key back from its copy (docs/how-to/secrets.md); if it is lost, set each of them again.",
        secrets=some(found),
    )
    return Finding(check="secrets", level=FindingLevel.ERROR, told=sealed)


async def check_leftovers(leftovers: Callable[[], Sequence[Told]]) -> Finding:
    """Whether restores left something beside volumes that can't be removed."""
    found = leftovers()
    if not found:
        nothing = told("doctor_leftovers_none", "Restores left nothing beside the volumes.")
        return Finding(check="leftovers", level=FindingLevel.OK, told=nothing)
    left = told(
        "doctor_leftovers",
        "{leftovers}",
        "{steps} It is tried again by itself.",
        leftovers=some(found),
        steps=list(dict.fromkeys(each.next_step for each in found)),
    )
    return Finding(check="leftovers", level=FindingLevel.WARNING, told=left)
