"""How workloads were over time: what is kept of it, and what is told.

A state holds until the next one. Of what nobody looked at, because Holdfast or the engine was away, nothing is made up:
it is unknown. Times are whole seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Final

from holdfast.domain.metrics import SPANS

KEEP: Final = SPANS[-1].keep
"""As long as what workloads used."""
MOST_STATES: Final = 1500
"""So many steps an answer is put together in where it would have more states."""

FLAPPING: Final = 6
"""After so many falls within :data:`FLAPPING_WITHIN` a workload that gets better is not believed."""
FLAPPING_WITHIN: Final = 30 * 60
"""Seconds."""


class Health(StrEnum):
    """How a workload is, the worst first."""

    DOWN = "down"
    """It should run, and doesn't."""
    UNHEALTHY = "unhealthy"
    """Its image's own health check fails, or the engine starts it again and again."""
    UNKNOWN = "unknown"
    STOPPED = "stopped"
    HEALTHY = "healthy"


_WORST_FIRST: Final = tuple(Health)


@dataclass(frozen=True, slots=True)
class Held:
    """A state, from ``at`` until the next one."""

    at: int
    state: Health


def is_flapping(last: Health, found: Health, falls: int) -> bool:
    """Whether a workload that is better than it was keeps falling, and stays what it was for now.

    One that crashes in a loop is unhealthy all the time, and is no thousand rows a day.

    Args:
        falls: how often it became unhealthy or down within :data:`FLAPPING_WITHIN`.
    """
    better = (last, found) in {
        (Health.DOWN, Health.UNHEALTHY),
        (Health.DOWN, Health.HEALTHY),
        (Health.UNHEALTHY, Health.HEALTHY),
    }
    return better and falls >= FLAPPING


def health_history(rows: Iterable[Held], *, since: int, until: int) -> tuple[Held, ...]:
    """What held from ``since`` through ``until``, oldest first; the first begins with ``since``.

    The second of ``until`` counts: who is told of a change asks within the very second in which it was.

    Args:
        rows: what is kept, oldest first: what was found in that time, and the last before.
    """
    held = [Held(since, Health.UNKNOWN), *(Held(max(row.at, since), row.state) for row in rows if row.at <= until)]
    found = _merged(held)
    return found if len(found) <= MOST_STATES else _merged(_coarse(found, -(-(until - since) // MOST_STATES), until))


def _merged(held: Iterable[Held]) -> tuple[Held, ...]:
    """Without what held for no time, and what is no other state than before."""
    found: list[Held] = []
    for each in held:
        if found and found[-1].at == each.at:
            found.pop()
        if not found or found[-1].state is not each.state:
            found.append(each)
    return tuple(found)


def _coarse(held: Sequence[Held], step: int, until: int) -> Iterable[Held]:
    """For each step in which something changed the worst of it; after it, or at the end, what it ended with."""
    for begin, states in groupby(held, key=lambda each: each.at - (each.at - held[0].at) % step):
        among = [each.state for each in states]
        yield Held(begin, min(among, key=_WORST_FIRST.index))
        yield Held(min(begin + step, until), among[-1])
