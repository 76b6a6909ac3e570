"""Retention: which snapshots of a workload are kept, and why.

A rule keeps the newest snapshot of each of the last so many hours, days, weeks … *that have one*. So time that passes
without snapshots costs none, and a clock that jumps ahead makes nothing old.

Invariants:

- Kept in any case: the newest good snapshot, what a person pinned, the safety snapshot of a restore that is not
  confirmed, and what is dated in the future (a clock was wrong; it also takes nobody's place).
- Damage costs nothing: a damaged snapshot is kept where a good one would be, and takes no good one's place.
- Nothing of another workload is judged.
- What is kept is kept again when the same rules are applied once more, and older snapshots don't matter to newer ones.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Final


class KeepReason(StrEnum):
    """Why a snapshot is kept."""

    NEWEST_GOOD = "newest_good"
    PINNED = "pinned"
    SAFETY = "safety"
    FUTURE = "future"
    IN_USE = "in_use"
    LAST = "last"
    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    YEARLY = "yearly"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How many snapshots a workload keeps: the last ones, and the newest of each of so many hours, days …; 0 is none.

    Weeks are those of ISO 8601: they begin on Monday.
    """

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0


KEEP_RULES: Final = tuple(rule.name for rule in fields(Keep))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What retention has to know of a snapshot.

    Attributes:
        taken_at: with its zone.
        damaged: whether a verification found it so.
        safety: whether it is the way back from a restore that is not confirmed.
        in_use: whether somebody reads it now.
    """

    id: str
    workload_id: str
    taken_at: datetime
    damaged: bool = False
    pinned: bool = False
    safety: bool = False
    in_use: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of a snapshot: it is kept for ``reasons``, or goes."""

    id: str
    taken_at: datetime
    reasons: tuple[KeepReason, ...] = ()

    @property
    def kept(self) -> bool:
        return bool(self.reasons)


_SLACK: Final = timedelta(minutes=5)
"""What two clocks, or one that was set, may differ without anything being dated in the future."""

_Period = Callable[[datetime], Hashable]
_PERIODS: Final[dict[KeepReason, _Period]] = {
    # The offset tells the hour that a zone has twice in autumn apart.
    KeepReason.HOURLY: lambda local: (local.date(), local.hour, local.utcoffset()),
    KeepReason.DAILY: lambda local: local.date(),
    KeepReason.WEEKLY: lambda local: local.isocalendar()[:2],
    KeepReason.MONTHLY: lambda local: (local.year, local.month),
    KeepReason.YEARLY: lambda local: local.year,
}


def judge(
    snapshots: Iterable[Candidate], keep: Keep, *, workload_id: str, zone: tzinfo, now: datetime
) -> tuple[Verdict, ...]:
    """What becomes of the snapshots of one workload, newest first.

    Args:
        snapshots: those of other workloads are passed over.
        zone: where hours, days, weeks, months and years begin.
        now: with its zone.
    """
    own = sorted(
        (snapshot for snapshot in snapshots if snapshot.workload_id == workload_id),
        key=lambda snapshot: (snapshot.taken_at, snapshot.id),
        reverse=True,
    )
    past = [snapshot for snapshot in own if snapshot.taken_at <= now + _SLACK]
    good = [snapshot for snapshot in past if not snapshot.damaged]
    kept: dict[KeepReason, Iterable[Candidate]] = {
        KeepReason.NEWEST_GOOD: good[:1],
        KeepReason.PINNED: [snapshot for snapshot in own if snapshot.pinned],
        KeepReason.SAFETY: [snapshot for snapshot in own if snapshot.safety],
        KeepReason.FUTURE: [snapshot for snapshot in own if snapshot.taken_at > now + _SLACK],
        KeepReason.IN_USE: [snapshot for snapshot in own if snapshot.in_use],
        KeepReason.LAST: [*past[: keep.last], *good[: keep.last]],
    }
    for reason, period in _PERIODS.items():
        count: int = getattr(keep, reason)
        kept[reason] = [*_newest_of_each(past, period, zone)[:count], *_newest_of_each(good, period, zone)[:count]]
    reasons: dict[str, list[KeepReason]] = {}
    for reason, snapshots in kept.items():
        for snapshot_id in {snapshot.id for snapshot in snapshots}:
            reasons.setdefault(snapshot_id, []).append(reason)
    return tuple(
        Verdict(id=snapshot.id, taken_at=snapshot.taken_at, reasons=tuple(reasons.get(snapshot.id, ())))
        for snapshot in own
    )


def _newest_of_each(snapshots: Sequence[Candidate], period: _Period, zone: tzinfo) -> list[Candidate]:
    """The newest snapshot of each period that has one. ``snapshots`` are newest first, and so is the result."""
    newest: dict[Hashable, Candidate] = {}
    for snapshot in snapshots:
        newest.setdefault(period(snapshot.taken_at.astimezone(zone)), snapshot)
    return list(newest.values())
