"""When something is due, and how a schedule is doing, whatever the clock does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.domain.operation import Operation, OperationKind, OperationState
from holdfast.domain.schedule import (
    GRACE,
    SPREAD,
    OnMissed,
    RunResult,
    Schedule,
    ScheduleHealth,
    ScheduleKind,
    ScheduleState,
    begins_at,
    begun,
    ended,
    health,
    in_force,
    is_due,
    is_overdue,
    not_begun,
)

HOURLY = Schedule(kind=ScheduleKind.SNAPSHOT, subject="w1", name="notes", cron="0 * * * *", zone="UTC")
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def hourly(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0) + HOUR


def operation(state: OperationState, **facts: object) -> Operation:
    made = Operation(
        id="o", kind=OperationKind.SNAPSHOT, state=state, workload_id="w1", actor="schedule", created_at=""
    )
    return replace(made, **facts)  # type: ignore[arg-type] # a test may set any field


def fresh(at: datetime = NOON) -> ScheduleState:
    return in_force(HOURLY, None, at, hourly)


def run(state: ScheduleState, at: datetime, result: OperationState = OperationState.SUCCEEDED) -> ScheduleState:
    return ended(HOURLY, begun(state, at, hourly, operation_id="o"), at, operation(result))


def word(state: ScheduleState, at: datetime) -> ScheduleHealth:
    return health(HOURLY, state, at, hourly)


def test_the_first_run_is_the_first_that_comes_due_after_the_schedule_was_made() -> None:
    state = fresh(NOON + timedelta(minutes=1))
    assert state.due_at == NOON + HOUR
    assert not is_due(HOURLY, state, NOON + timedelta(minutes=59), hourly)
    assert is_due(HOURLY, state, begins_at(HOURLY, state, hourly), hourly)
    assert word(state, NOON + timedelta(minutes=2)) is ScheduleHealth.WAITING


def test_those_that_are_due_together_begin_one_after_the_other_and_each_at_its_own_time() -> None:
    state = fresh()
    times = sorted(begins_at(replace(HOURLY, subject=f"w{n}"), state, hourly) - state.due_at for n in range(100))
    assert timedelta(0) <= times[0]
    assert times[-1] <= SPREAD
    assert len(set(times)) == 100
    assert max(later - earlier for earlier, later in pairwise(times)) < SPREAD / 5


def test_a_day_of_missed_runs_makes_one() -> None:
    state = fresh()
    late = NOON + DAY
    assert is_due(HOURLY, state, late, hourly)
    state = run(state, late)
    assert state.due_at == late + HOUR
    assert not is_due(HOURLY, state, late, hourly)


def test_a_clock_that_goes_back_an_hour_repeats_nothing() -> None:
    state = run(fresh(), NOON + HOUR + SPREAD)
    for minutes in range(6, 120, 6):
        back = NOON + timedelta(minutes=minutes)
        state = in_force(HOURLY, state, back, hourly)
        assert not is_due(HOURLY, state, back, hourly)


def test_a_clock_that_was_years_ahead_keeps_nothing_from_running_now_that_it_is_right() -> None:
    state = run(fresh(), NOON + 2000 * DAY)
    state = in_force(HOURLY, state, NOON, hourly)
    assert state.due_at == NOON + HOUR


def test_another_expression_or_zone_reckons_anew_and_forgets_nothing() -> None:
    state = run(fresh(), NOON + HOUR, OperationState.FAILED)
    for changed in (replace(HOURLY, cron="0 */1 * * *"), replace(HOURLY, zone="Europe/Berlin")):
        again = in_force(changed, state, NOON + 9 * HOUR, hourly)
        assert (again.due_at, again.failures, again.last) == (NOON + 10 * HOUR, 1, state.last)
    assert in_force(HOURLY, state, NOON + 9 * HOUR, hourly) == state


@given(st.lists(st.timedeltas(min_value=-2 * DAY, max_value=2 * DAY), min_size=1, max_size=30))
def test_however_the_clock_leaps_each_leap_makes_one_run_at_most(leaps: list[timedelta]) -> None:
    now, state, runs = NOON, fresh(), 0
    for leap in leaps:
        now += leap
        for _ in range(3):
            state = in_force(HOURLY, state, now, hourly)
            if is_due(HOURLY, state, now, hourly):
                state, runs = run(state, now), runs + 1
        assert not is_due(HOURLY, state, now, hourly)
        assert now - SPREAD < state.due_at <= max(now, state.reckoned_at) + HOUR
        assert state.reckoned_at - now <= HOUR
    assert runs <= len(leaps)


def test_while_a_run_is_under_way_the_next_waits_for_its_end_and_is_overdue_in_the_end() -> None:
    state = begun(fresh(), NOON + HOUR, hourly, operation_id="o")
    assert word(state, NOON + HOUR) is ScheduleHealth.RUNNING
    late = NOON + 2 * HOUR + GRACE + SPREAD
    assert not is_due(HOURLY, state, late, hourly)
    assert is_overdue(HOURLY, state, late, hourly)
    assert word(state, late) is ScheduleHealth.OVERDUE


def test_a_failure_is_told_until_a_success_and_also_while_it_is_tried_again() -> None:
    state = run(fresh(), NOON + HOUR, OperationState.FAILED)
    assert word(state, NOON + HOUR) is ScheduleHealth.FAILED
    trying = begun(state, NOON + 2 * HOUR, hourly, operation_id="o")
    assert word(trying, NOON + 2 * HOUR) is ScheduleHealth.FAILED
    state = run(state, NOON + 2 * HOUR)
    assert (state.failures, word(state, NOON + 2 * HOUR)) == (0, ScheduleHealth.ON_TIME)


def test_why_a_run_failed_is_kept() -> None:
    state = begun(fresh(), NOON + HOUR, hourly, operation_id="o")
    told = {"code": "pre_snapshot_failed", "message": "The hook failed."}
    last = ended(HOURLY, state, NOON + HOUR, operation(OperationState.FAILED, error=told)).last
    assert last is not None
    assert (last.result, last.code, last.message) == (RunResult.FAILED, "pre_snapshot_failed", "The hook failed.")


@pytest.mark.parametrize("found", [operation(OperationState.INTERRUPTED), None])
def test_a_run_that_the_servers_end_cut_off_is_made_again_once(found: Operation | None) -> None:
    at = NOON + HOUR
    state = ended(HOURLY, begun(fresh(), at, hourly, operation_id="o"), at, found)
    assert is_due(HOURLY, state, at + SPREAD, hourly)
    state = ended(HOURLY, begun(state, at + SPREAD, hourly, operation_id="p"), at + SPREAD, found)
    assert not is_due(HOURLY, state, at + 2 * SPREAD, hourly)
    assert (state.failures, state.due_at) == (2, NOON + 2 * HOUR)


def test_where_missed_runs_are_only_told_one_that_was_cut_off_is_not_made_again() -> None:
    telling = replace(HOURLY, missed=OnMissed.TELL)
    state = begun(fresh(), NOON + HOUR, hourly, operation_id="o")
    state = ended(telling, state, NOON + HOUR, operation(OperationState.INTERRUPTED))
    assert not is_due(telling, state, NOON + HOUR + SPREAD, hourly)


def test_a_missed_run_is_a_failure_of_its_own_kind() -> None:
    state = not_begun(fresh(), NOON + DAY, hourly, result=RunResult.MISSED, code="schedule_missed", message="Away.")
    assert (state.failures, state.due_at) == (1, NOON + DAY + HOUR)
    assert word(state, NOON + DAY) is ScheduleHealth.MISSED
