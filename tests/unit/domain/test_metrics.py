"""From totals to what a workload used, and to points in time."""

from __future__ import annotations

import pytest

from holdfast.domain.errors import InvalidInput
from holdfast.domain.metrics import (
    MOST_POINTS,
    ROLLED_UP,
    SAMPLED,
    SPANS,
    Totals,
    Used,
    metrics_query,
    points,
    used_since,
)

NOW = 1_800_000_123
QUARTERS, HOURS = ROLLED_UP
DAY = 86400


def totals(at: float, cpu: int, memory: int = 100, received: int = 0, sent: int = 0) -> Totals:
    return Totals(at=at, cpu=cpu, memory=memory, received=received, sent=sent)


def used(at: int, *, seconds: int = 60, cpu: int = 6000, cpu_max: int = 100, memory: int = 10, peak: int = 20) -> Used:
    return Used(at=at, seconds=seconds, cpu=cpu, cpu_max=cpu_max, memory=memory, memory_max=peak, received=600, sent=60)


def test_what_two_looks_differ_by_was_used_by_all_instances_together() -> None:
    before = {"a": totals(10.0, 1000, received=5), "b": totals(10.5, 0)}
    now = {"a": totals(70.0, 31_000, memory=300, received=25, sent=7), "b": totals(70.5, 15_000, memory=200)}
    found = used_since(before, now, NOW)
    assert found == Used(
        at=NOW - 60, seconds=60, cpu=45_000, cpu_max=750, memory=500, memory_max=500, received=20, sent=7
    )


def test_a_total_that_became_smaller_began_anew() -> None:
    before = {"a": totals(0.0, 50_000, received=900)}
    found = used_since(before, {"a": totals(60.0, 6_000, received=40)}, NOW)
    assert found is not None
    assert (found.cpu, found.received) == (6_000, 40)


def test_of_an_instance_that_was_not_looked_at_before_only_the_memory_counts() -> None:
    assert used_since({}, {"a": totals(60.0, 50_000)}, NOW) is None
    found = used_since({"a": totals(0.0, 0)}, {"a": totals(60.0, 600), "b": totals(60.0, 99_000)}, NOW)
    assert found is not None
    assert (found.cpu, found.memory) == (600, 200)


def test_two_looks_at_the_same_time_say_nothing() -> None:
    assert used_since({"a": totals(60.0, 0)}, {"a": totals(60.0, 10)}, NOW) is None


def test_a_step_adds_up_and_keeps_the_peaks() -> None:
    late = used(690, seconds=30, cpu=60_000, cpu_max=2000, memory=40, peak=90)
    assert points([used(600), late, used(900)], 300) == (
        Used(at=600, seconds=90, cpu=66_000, cpu_max=2000, memory=20, memory_max=90, received=1200, sent=120),
        used(900),
    )


@pytest.mark.parametrize(
    ("age", "step", "span", "chosen"),
    [
        (3600, None, SAMPLED, 300),
        (3600, 60, SAMPLED, 60),
        (3600, 10, SAMPLED, 60),
        (3600, 100, SAMPLED, 100),
        (23 * 3600, 900, QUARTERS, 900),
        (DAY, None, HOURS, 3600),
        (3 * DAY, 60, QUARTERS, 900),
        (3 * DAY, 1000, QUARTERS, 900),
        (8 * DAY, None, HOURS, 6 * 3600),
        (8 * DAY, 900, HOURS, 3600),
        (400 * DAY, None, HOURS, DAY),
        (400 * DAY, 60, HOURS, 3600),
    ],
)
def test_the_older_the_coarser(age: int, step: int | None, span: object, chosen: int) -> None:
    query = metrics_query(since=NOW - age, until=None, step=step, now=NOW, interval=60)
    assert (query.span, query.step) == (span, chosen)
    assert query.since % query.step == 0
    assert (query.until - query.since) / query.step <= MOST_POINTS + 1
    assert query.until == NOW
    assert query.since > NOW - SPANS[-1].keep - query.step


def test_points_are_never_too_many() -> None:
    query = metrics_query(since=NOW - DAY, until=None, step=10, now=NOW, interval=10)
    assert query.step == 60
    assert metrics_query(since=NOW - 3600, until=None, step=10, now=NOW, interval=10).step == 10


def test_the_last_hour_up_to_a_time_is_told_unless_it_is_said_since_when() -> None:
    query = metrics_query(since=None, until=NOW - DAY // 2, step=60, now=NOW, interval=60)
    assert query.until - query.since in range(3600, 3660)
    assert metrics_query(since=None, until=NOW + DAY, step=60, now=NOW, interval=60).until == NOW


@pytest.mark.parametrize(("since", "until"), [(NOW, None), (NOW + 1, NOW + 2), (5, 5)])
def test_a_time_that_has_not_passed_is_refused(since: int, until: int | None) -> None:
    with pytest.raises(InvalidInput) as refusal:
        metrics_query(since=since, until=until, step=None, now=NOW, interval=60)
    assert refusal.value.code == "metrics_range_empty"
