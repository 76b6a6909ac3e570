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
from holdfast.domain.units import format_size
from holdfast.engine.fs import Fs
from holdfast.engine.probes import PROBE_PREFIX
from holdfast.runtime.port import ContainerRuntime

_CLOCK_SLACK: Final = timedelta(minutes=1)
_EARLIEST: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""No clock that runs this program can be right and earlier."""
_COMFORT: Final = 4
"""Free space below this many times the reserve is worth a warning."""
_NAMED: Final = 5
"""How many things a message names at most."""


class FindingLevel(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found.

    Attributes:
        check: what was looked at, e.g. ``engine``, ``space /srv``.
        mend: how to put it right; empty where nothing is wrong.
    """

    check: str
    level: FindingLevel
    message: str
    mend: str = ""


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
        ailing: those that need somebody, in words ("snapshots of notes: overdue").
        unprotected: workloads whose data no schedule captures.
    """

    total: int = 0
    ailing: tuple[str, ...] = ()
    unprotected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelFacts:
    """How the channels are. ``failing``: through which nothing could be delivered, and why, in words."""

    total: int = 0
    failing: tuple[str, ...] = ()


def worst(findings: Sequence[Finding]) -> FindingLevel:
    """The worst level found; ``ok`` for none."""
    order = list(FindingLevel)
    return max((finding.level for finding in findings), key=order.index, default=FindingLevel.OK)


class Doctor:
    """Runs all checks.

    Args:
        database_check: the problems that the database's own quick check found, in words.
        snapshot_facts: how the snapshots are.
        unfinished_restores: restores whose journals are still there, in words ("notes: needs a decision").
        schedule_facts: how the schedules are.
        unreadable_secrets: secrets that can't be opened, in words ("notes: NOTES_KEY").
        channel_facts: how the channels are.
        backups: whether Holdfast itself could be brought back.
        leftovers: what restores left that can't be removed yet, in words, and what to do about each.
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
        unfinished_restores: Callable[[], Awaitable[Sequence[str]]],
        schedule_facts: Callable[[], Awaitable[ScheduleFacts]],
        unreadable_secrets: Callable[[], Awaitable[Sequence[str]]],
        channel_facts: Callable[[], Awaitable[ChannelFacts]],
        backups: Callable[[], Awaitable[Finding]],
        leftovers: Callable[[], Sequence[tuple[str, str]]],
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
        return Finding(check=name, level=FindingLevel.ERROR, message=error.message, mend=error.next_step)
    except OSError as error:
        return Finding(
            check=name,
            level=FindingLevel.ERROR,
            message=f"This could not be looked at: {error}.",
            mend="Check that the path exists and that Holdfast runs as root.",
        )


def check_socket(docker_host: str) -> Finding:
    """Whether the engine's socket is there and may be used."""
    if not docker_host.startswith("unix://"):
        return Finding(
            check="socket",
            level=FindingLevel.WARNING,
            message=f"The engine is reached over the network ({docker_host}).",
            mend="Make sure that the engine is on this very host: volumes are directories of this host.",
        )
    path = docker_host.removeprefix("unix://")
    try:
        is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
    except FileNotFoundError:
        is_socket = False
    if not is_socket:
        return Finding(
            check="socket",
            level=FindingLevel.ERROR,
            message=f"There is no socket at {path}.",
            mend="Start the Docker Engine, or set docker_host (HOLDFAST_DOCKER_HOST) to where it listens.",
        )
    if not os.access(path, os.R_OK | os.W_OK):
        return Finding(
            check="socket",
            level=FindingLevel.ERROR,
            message=f"Holdfast may not use the socket {path}.",
            mend="Run Holdfast as root.",
        )
    return Finding(check="socket", level=FindingLevel.OK, message=f"{path} is there and may be used.")


async def check_engine(runtime: ContainerRuntime) -> Finding:
    """Whether the engine answers, and who it is."""
    info = await runtime.info()
    return Finding(
        check="engine",
        level=FindingLevel.OK,
        message=f"The engine answers: version {info.version}, API {info.api_version}.",
    )


async def check_edge(edge: str, served: Callable[[], Awaitable[int]]) -> Finding:
    """Whether the edge serves what it should."""
    if edge == edge_kinds.OFF:
        return Finding(
            check="edge", level=FindingLevel.OK, message="No edge is driven; none is needed without domains."
        )
    count = await served()
    return Finding(check="edge", level=FindingLevel.OK, message=f"The edge ({edge}) serves {count} domains.")


def check_clock(now: datetime, witness: Path) -> Finding:
    """Whether the clock can be right: not before this program was written, nor before what was written last."""
    last = datetime.fromtimestamp(witness.stat().st_mtime, UTC) if witness.exists() else _EARLIEST
    if now >= max(last - _CLOCK_SLACK, _EARLIEST):
        return Finding(check="clock", level=FindingLevel.OK, message=f"The clock says {now:%Y-%m-%d %H:%M} UTC.")
    return Finding(
        check="clock",
        level=FindingLevel.ERROR,
        message=f"The clock says {now:%Y-%m-%d %H:%M} UTC, but Holdfast wrote its state at {last:%Y-%m-%d %H:%M} UTC.",
        mend="Set the clock (timedatectl set-ntp true). Lists are sorted by time, newest first.",
    )


async def check_database(check: Callable[[], Awaitable[Sequence[str]]]) -> Finding:
    """Whether the database is whole."""
    problems = await check()
    if not problems:
        return Finding(check="database", level=FindingLevel.OK, message="The database is whole.")
    return Finding(
        check="database",
        level=FindingLevel.ERROR,
        message=f"The database is damaged: {_some(problems)}.",
        mend="Stop Holdfast, keep a copy of state.db, and check the disk. Snapshots do not depend on the database.",
    )


def check_space(fs: Fs, place: Path, settings: Settings) -> Finding:
    """Whether bytes and inodes are left on the filesystem of ``place``."""
    fd = fs.open_root(str(place))
    try:
        facts = fs.statvfs(fd)
    finally:
        fs.close(fd)
    free_bytes, free_inodes = facts.f_bavail * facts.f_frsize, facts.f_favail
    counts_inodes = facts.f_files > 0  # btrfs makes inodes as it goes and reports none
    text = f"{format_size(free_bytes)}" + (f" and {free_inodes} inodes" if counts_inodes else "") + " free"
    shortage = min(
        free_bytes / max(settings.disk_reserve_bytes, 1),
        free_inodes / max(settings.disk_reserve_inodes, 1) if counts_inodes else float("inf"),
    )
    if shortage >= _COMFORT:
        return Finding(check=f"space {place}", level=FindingLevel.OK, message=f"{text}.")
    reserve = f"{format_size(settings.disk_reserve_bytes)} and {settings.disk_reserve_inodes} inodes stay reserved"
    return Finding(
        check=f"space {place}",
        level=FindingLevel.WARNING if shortage >= 1 else FindingLevel.ERROR,
        message=f"{text}, of which {reserve}.",
        mend="Delete snapshots that nobody needs, or enlarge the filesystem. A restore needs room for a second copy.",
    )


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
        return Finding(
            check=name,
            level=FindingLevel.ERROR,
            message=f"The filesystem can't hold volumes that are restored: {error.strerror or error}.",
            mend="Put volumes on ext4, XFS or btrfs, mounted writable on this host.",
        )
    finally:
        fs.close(fd)
    return Finding(check=name, level=FindingLevel.OK, message="Directories can be exchanged and have file handles.")


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
        return Finding(
            check="snapshots",
            level=FindingLevel.ERROR,
            message=f"The manifests of these snapshots can't be read: {_some(found.unreadable)}.",
            mend="See `holdfast repository damaged`: bring the manifests back from a copy, or delete these snapshots. "
            "Until then no prune frees anything. Check the disk (dmesg, smartctl).",
        )
    if found.damaged:
        return Finding(
            check="snapshots",
            level=FindingLevel.ERROR,
            message=f"{len(found.damaged)} of {found.total} snapshots are damaged: {_some(found.damaged)}.",
            mend="Check the disk (dmesg, smartctl) and take new snapshots. The undamaged ones are not affected.",
        )
    if found.never_verified:
        return Finding(
            check="snapshots",
            level=FindingLevel.WARNING,
            message=f"{found.never_verified} of {found.total} snapshots were never verified.",
            mend="Run 'holdfast snapshot verify' for those that you rely on.",
        )
    return Finding(check="snapshots", level=FindingLevel.OK, message=f"{found.total} snapshots, all verified.")


async def check_schedules(facts: Callable[[], Awaitable[ScheduleFacts]]) -> Finding:
    """Whether what is scheduled happens, and all data is captured by a schedule."""
    found = await facts()
    if found.ailing:
        return Finding(
            check="schedules",
            level=FindingLevel.ERROR,
            message=f"{len(found.ailing)} of {found.total} schedules need somebody: {_some(found.ailing)}.",
            mend="See `holdfast schedule list` for why. What can't wait is done by hand until it is mended.",
        )
    if found.unprotected:
        return Finding(
            check="schedules",
            level=FindingLevel.WARNING,
            message=f"No schedule takes snapshots of: {_some(found.unprotected)}.",
            mend='Give each a snapshots.schedule, for example "0 3 * * *".',
        )
    return Finding(check="schedules", level=FindingLevel.OK, message=f"{found.total} schedules, all on time.")


async def check_notifications(facts: Callable[[], Awaitable[ChannelFacts]]) -> Finding:
    """Whether somebody hears of what fails."""
    found = await facts()
    if found.failing:
        return Finding(
            check="notifications",
            level=FindingLevel.ERROR,
            message=f"Notices wait that could not be delivered: {_some(found.failing)}.",
            mend="See `holdfast notification list`, mend what it names, then `holdfast notification test NAME`.",
        )
    if not found.total:
        return Finding(
            check="notifications",
            level=FindingLevel.WARNING,
            message="Nobody is told when something fails.",
            mend="Add a channel: holdfast notification add-webhook, or add-mail.",
        )
    return Finding(check="notifications", level=FindingLevel.OK, message=f"{found.total} channels; nothing waits.")


async def check_restores(unfinished: Callable[[], Awaitable[Sequence[str]]]) -> Finding:
    """Whether restores are left that need somebody."""
    found = await unfinished()
    if not found:
        return Finding(check="restores", level=FindingLevel.OK, message="No restore is unfinished.")
    return Finding(
        check="restores",
        level=FindingLevel.WARNING,
        message=f"{len(found)} unfinished: {_some(found)}.",
        mend="Look at 'holdfast operation list'; what needs a decision is settled by 'holdfast restore-decision'.",
    )


async def check_secrets(unreadable: Callable[[], Awaitable[Sequence[str]]]) -> Finding:
    """Whether all secrets can be opened."""
    found = await unreadable()
    if not found:
        return Finding(check="secrets", level=FindingLevel.OK, message="All secrets can be opened.")
    return Finding(
        check="secrets",
        level=FindingLevel.ERROR,
        message=f"Secrets can't be opened: {_some(found)}.",
        mend="Put the key back from its copy (docs/how-to/secrets.md); if it is lost, set each of them again.",
    )


async def check_leftovers(leftovers: Callable[[], Sequence[tuple[str, str]]]) -> Finding:
    """Whether restores left something beside volumes that can't be removed."""
    found = leftovers()
    if not found:
        return Finding(check="leftovers", level=FindingLevel.OK, message="Restores left nothing beside the volumes.")
    return Finding(
        check="leftovers",
        level=FindingLevel.WARNING,
        message=" ".join(words for words, _ in found[:_NAMED]) + (" And others." if len(found) > _NAMED else ""),
        mend=f"{' '.join(dict.fromkeys(mend for _, mend in found))} It is tried again by itself.",
    )


def _some(items: Sequence[str]) -> str:
    shown = ", ".join(items[:_NAMED])
    return shown if len(items) <= _NAMED else f"{shown} and {len(items) - _NAMED} more"
