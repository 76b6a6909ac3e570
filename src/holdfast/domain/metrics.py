"""What workloads use of the machine: from what the engine counts to what is kept, and to points in time.

- A total that is smaller than before began anew with its instance: what it counts is what was used since.
- Of what an instance used before it was first looked at nothing is told: no peak that never was.
- Values are kept in three spans, the coarser ones longer. An answer takes the finest that reaches back far enough, says
  which steps it came in, and never has more than :data:`MOST_POINTS` points.

Times are whole seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from holdfast.domain.errors import InvalidInput

_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR

MOST_POINTS: Final = 1500
"""The most points of one answer."""
_FEW_POINTS: Final = 48
"""So many at most where nobody asks for a step."""
_NICE_STEPS: Final = (60, 300, 900, _HOUR, 3 * _HOUR, 6 * _HOUR, _DAY, 7 * _DAY)
"""Each a multiple of every coarser span that is not longer, so that no value belongs to two points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Values that are kept alike.

    Attributes:
        seconds: how long a time each is about; 0: as they were sampled.
        keep: for how long they are kept.
    """

    seconds: int
    keep: int


SAMPLED: Final = Span(seconds=0, keep=_DAY)
ROLLED_UP: Final = (Span(seconds=900, keep=7 * _DAY), Span(seconds=_HOUR, keep=31 * _DAY))
"""What samples are rolled up to, finest first."""
SPANS: Final = (SAMPLED, *ROLLED_UP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What one instance used since it was started, and the memory that it has now.

    Attributes:
        at: when it was read, in seconds of a clock that only ever goes forward.
        cpu: milliseconds of one core.
        memory: bytes; what the kernel only keeps of files, and can drop, is not counted.
        received, sent: bytes, through all of its networks.
    """

    at: float
    cpu: int
    memory: int
    received: int
    sent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What one workload used in some time, all its instances together.

    Attributes:
        at: when that time began.
        seconds: how long it was looked at.
        cpu: milliseconds of one core.
        cpu_max: the most of it in a sample, in thousandths of a core.
        memory, memory_max: bytes, on average and at most.
        received, sent: bytes.
    """

    at: int
    seconds: int
    cpu: int
    cpu_max: int
    memory: int
    memory_max: int
    received: int
    sent: int


def used_since(before: Mapping[str, Totals], now: Mapping[str, Totals], at: int) -> Used | None:
    """What a workload used since the last look; ``None`` if none of its instances was looked at before.

    Args:
        before, now: the totals of its instances by id.
        at: what time it is.
    """
    pairs = [(before[key], totals) for key, totals in now.items() if key in before and totals.at > before[key].at]
    if not pairs:
        return None
    seconds = max(1, round(max(new.at - old.at for old, new in pairs)))
    cores = sum(_grown(old.cpu, new.cpu) / (new.at - old.at) for old, new in pairs)
    memory = sum(totals.memory for totals in now.values())
    return Used(
        at=at - seconds,
        seconds=seconds,
        cpu=round(cores * seconds),
        cpu_max=round(cores),
        memory=memory,
        memory_max=memory,
        received=sum(_grown(old.received, new.received) for old, new in pairs),
        sent=sum(_grown(old.sent, new.sent) for old, new in pairs),
    )


def _grown(old: int, new: int) -> int:
    return new - old if new >= old else new


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsQuery:
    """Which values are asked for: from ``since`` up to ``until``, put together in steps of so many seconds.

    Attributes:
        since: when the first step begins.
        span: in which they are read.
    """

    since: int
    until: int
    step: int
    span: Span


def time_asked_for(since: int | None, until: int | None, *, now: int, usual: int) -> tuple[int, int]:
    """From when until when a request is about, within what is kept.

    Args:
        usual: so many seconds where it does not say since when.

    Raises:
        InvalidInput: ``metrics_range_empty``.
    """
    until = now if until is None else min(until, now)
    since = until - usual if since is None else since
    if since >= until:
        raise InvalidInput(
            "metrics_range_empty",
            "Between since and until there is no time that has passed.",
            next_step="Give since a time that is before until and before now.",
        )
    return max(since, now - SPANS[-1].keep), until


def metrics_query(*, since: int | None, until: int | None, step: int | None, now: int, interval: int) -> MetricsQuery:
    """What a request comes to: the last hour unless it says otherwise, in steps that can be had and told.

    Args:
        step: seconds; raised where values are no longer kept so finely, or the points would be too many.
        interval: seconds between two samples.

    Raises:
        InvalidInput: ``metrics_range_empty``.
    """
    since, until = time_asked_for(since, until, now=now, usual=_HOUR)
    length = max(1, until - since)
    reaching = next(span for span in SPANS if now - since <= span.keep)
    finest = max(reaching.seconds, interval)
    if step is None:
        step = _nice(max(finest, length / _FEW_POINTS))
    elif step < finest or length / step > MOST_POINTS:
        step = _nice(max(finest, length / MOST_POINTS))
    elif reaching.seconds:
        step -= step % reaching.seconds
    fitting = [span for span in SPANS if now - since <= span.keep and (not span.seconds or step % span.seconds == 0)]
    return MetricsQuery(since=since - since % step, until=until, step=step, span=fitting[-1])


def _nice(seconds: float) -> int:
    return next((step for step in _NICE_STEPS if step >= seconds), _NICE_STEPS[-1])


def points(values: Iterable[Used], step: int) -> tuple[Used, ...]:
    """Values put together in steps, oldest first; ``at`` is when a step begins. Where nothing is known, none is."""
    steps: dict[int, list[Used]] = {}
    for value in values:
        steps.setdefault(value.at - value.at % step, []).append(value)
    return tuple(_together(at, steps[at]) for at in sorted(steps))


def _together(at: int, values: list[Used]) -> Used:
    seconds = sum(value.seconds for value in values)
    return Used(
        at=at,
        seconds=seconds,
        cpu=sum(value.cpu for value in values),
        cpu_max=max(value.cpu_max for value in values),
        memory=sum(value.memory * value.seconds for value in values) // seconds,
        memory_max=max(value.memory_max for value in values),
        received=sum(value.received for value in values),
        sent=sum(value.sent for value in values),
    )
