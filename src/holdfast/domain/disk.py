"""What takes space on the disks, by its cause.

A volume is never walked because somebody asks: its size is what the last snapshot found, or what a look in the
background did. So each size says from when it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from statistics import median
from typing import Final

from holdfast.domain.drill import is_throw_away
from holdfast.domain.errors import HoldfastError
from holdfast.domain.snapshot import SnapshotManifest, SnapshotReason
from holdfast.domain.times import parse
from holdfast.domain.workload import Workload

KEEP_SIZES: Final = 31 * 86400
"""Seconds for which the sizes of volumes are kept."""
TAKE_OVER: Final = 6 * 3600
"""Seconds after which the size that a snapshot found is taken over again."""
LOOK_AGAIN: Final = 86400
"""Seconds after which a volume is walked that no snapshot tells about."""
NOTE_SPACE: Final = 6 * 3600
"""Seconds after which it is noted again what is free on a filesystem; kept as long as sizes are."""
_ENOUGH: Final = 86400
"""Seconds that notes have to span before anything is said of the days to come."""
_FAR: Final = 365 * 86400
"""Seconds beyond which nobody can say when a disk is full."""


class Cause(StrEnum):
    """Why something is on a disk."""

    VOLUMES = "volumes"
    TRIALS = "trials"
    """Volumes of throw-away copies, in which a snapshot is proved."""
    SNAPSHOTS = "snapshots"
    IMAGES = "images"
    LOGS = "logs"
    """What removed instances printed."""
    LEFTOVERS = "leftovers"
    """What restores staged, displaced or keep for a decision, and archives that are received."""
    DATABASE = "database"
    OTHER = "other"
    """What else is in the data directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSize:
    """How large a volume was; ``at`` in seconds since 1970."""

    workload_id: str
    target: str
    at: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeSpace:
    """What was free on a filesystem; ``at`` in seconds since 1970."""

    mount_point: str
    at: int
    free_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """How a filesystem fills.

    Attributes:
        since: the time of the first note that it is made of, in seconds since 1970.
        bytes_per_day: by how much it fills; negative where it empties.
        full_at: when it is full if it goes on so, in seconds since 1970; ``None``: not within a year.
    """

    since: int
    bytes_per_day: int
    full_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskItem:
    """One thing on a disk.

    Attributes:
        name: what it is, for people.
        bytes: ``None`` if it has not been looked at yet.
        at: when it was looked at, in seconds since 1970; ``None``: just now.
    """

    name: str
    bytes: int | None
    at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseUse:
    """What one cause takes.

    Attributes:
        bytes: all together, as far as it is known.
        items: largest first; they may be less than all, or overlap, as the cause says.
        problem: why it is not known; ``None`` if it is.
    """

    cause: Cause
    bytes: int
    items: tuple[DiskItem, ...] = ()
    problem: HoldfastError | None = None


def cause_use(cause: Cause, items: Iterable[DiskItem], *, total: int | None = None) -> CauseUse:
    """A cause with its items.

    Args:
        total: what it takes, if that is not the sum of its items.
    """
    ordered = tuple(sorted(items, key=lambda item: (-(item.bytes or 0), item.name)))
    known = sum(item.bytes or 0 for item in ordered)
    return CauseUse(cause=cause, bytes=known if total is None else total, items=ordered)


def found_by_snapshots(manifests: Iterable[SnapshotManifest]) -> dict[tuple[str, str], VolumeSize]:
    """The newest size of each live volume that a snapshot tells about: what came from elsewhere tells nothing."""
    newest: dict[tuple[str, str], VolumeSize] = {}
    for manifest in manifests:
        if manifest.reason is SnapshotReason.IMPORTED or not manifest.own:
            continue
        at = int(parse(manifest.created_at).timestamp())
        for volume in manifest.volumes:
            key = (manifest.workload_id, volume.target)
            if key not in newest or newest[key].at < at:
                newest[key] = VolumeSize(
                    workload_id=manifest.workload_id, target=volume.target, at=at, bytes=volume.disk_bytes
                )
    return newest


def sizes_since(sizes: Sequence[VolumeSize], since: int) -> tuple[VolumeSize, ...]:
    """Of sizes, oldest first, those since a time, and for each volume the last one before."""
    before = {size.target: size for size in sizes if size.at < since}
    return (*before.values(), *(size for size in sizes if size.at >= since))


def volume_uses(
    workloads: Sequence[Workload], paths: Mapping[tuple[str, str], str], sizes: Mapping[tuple[str, str], VolumeSize]
) -> tuple[CauseUse, CauseUse]:
    """What volumes of workloads take, and what those of throw-away copies do. A shared one is there once.

    Args:
        paths: where each is, by its workload's id and its target.
    """
    of_path: dict[str, list[tuple[Workload, str]]] = {}
    for workload in sorted(workloads, key=lambda each: each.name):
        for volume in workload.spec.captured_volumes:
            if path := paths.get((workload.id, volume.target)):
                of_path.setdefault(path, []).append((workload, volume.target))
    items: dict[Cause, list[DiskItem]] = {Cause.VOLUMES: [], Cause.TRIALS: []}
    for path, users in of_path.items():
        known = [sizes[workload.id, target] for workload, target in users if (workload.id, target) in sizes]
        newest = max(known, key=lambda size: size.at, default=None)
        names = ", ".join(f"{workload.name}:{target}" for workload, target in users)
        trial = all(is_throw_away(workload.spec) for workload, _ in users)
        items[Cause.TRIALS if trial else Cause.VOLUMES].append(
            DiskItem(
                name=f"{names} ({path})",
                bytes=None if newest is None else newest.bytes,
                at=None if newest is None else newest.at,
            )
        )
    return cause_use(Cause.VOLUMES, items[Cause.VOLUMES]), cause_use(Cause.TRIALS, items[Cause.TRIALS])


def forecast(notes: Sequence[FreeSpace], *, free_bytes: int, now: float) -> Forecast | None:
    """How a filesystem fills, by what was free on it in the last weeks; ``None`` while there is less than a day of it.

    The rate is the median of those between any two notes (Theil and Sen): what took space for a while only counts for
    little, and what a prune clears away each week counts against what is added meanwhile.
    """
    if not notes or notes[-1].at - notes[0].at < _ENOUGH:
        return None
    rates = [(a.free_bytes - b.free_bytes) / (b.at - a.at) for a, b in combinations(notes, 2) if b.at > a.at]
    rate = median(rates)
    full_in = free_bytes / rate if rate > 0 else _FAR
    return Forecast(
        since=notes[0].at,
        bytes_per_day=round(rate * 86400),
        full_at=round(now + full_in) if full_in < _FAR else None,
    )
