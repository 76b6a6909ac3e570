"""The proof by enumeration: every call of a whole restore of two volumes, and of its recovery, stopped at or failed.

The calls are those of :mod:`holdfast.testing.fault_injection`: to the file system, reads included, commits of the
database and reads of it, and calls to the container engine. How many there are is told by the trace of a run in which
nothing fails, and each test asserts that it came to as many.

With ``make test``: servers that stop dead at every call of a restore; at every call of one that is taken back, and of
one that is called off with everything stopped, from where it begins to differ; at every call of the recovery from the
states that decide; one error, of six in turn, at every call of a restore that changes something, at every place in the
code from which one only looks, before COMMIT, after it, in the trial and once confirmed, and on every way there; at
every eighth of those of a recovery; and a delay of an hour at every fifty-ninth call of a restore.

Only with ``make torture`` (``HOLDFAST_TORTURE=1``): all six errors, and a delay, at every call of a restore, each time
that it is made; one error at every call of the other restores, and of the recovery from each state; the calls left out
above because they are the same; and recovery from all other states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.faults.crash_bench import TORTURE
from tests.faults.crash_scenarios import (
    AbortedLate,
    RunningWorkload,
    StoppedWorkload,
    UnhealthyOnRestoredData,
)
from tests.faults.enumeration_bench import (
    Choice,
    Enumeration,
    all_of_them,
    an_hour,
    everywhere,
    one_each,
    part_of,
    quick_directory,
    since,
)

Figure = Callable[[str, int], None]

PARTS = 4
"""Tests into which the errors are cut, so that they run side by side."""
SLOW_EVERY = 59
"""For which of the calls of a restore it is shown with `make test` that they may take an hour."""
RECOVERY_EVERY = 8
"""Which of the calls of a recovery meet an error with `make test`."""
DECIDING = [
    (RunningWorkload, ["after journal SAFE #1"]),
    (RunningWorkload, ["after journal COMMIT #1"]),
    (RunningWorkload, ["after exchange data #1", "after journal COMMIT #1"]),
    (RunningWorkload, ["after journal TRIAL #1"]),
    (RunningWorkload, ["after journal CONFIRMED #1"]),
    (UnhealthyOnRestoredData, ["after journal BACKWARD #1"]),
    (UnhealthyOnRestoredData, ["after journal REVERTED #1"]),
    (AbortedLate, ["after journal ABORTED #1"]),
]
"""States from which recovery goes different ways; in the third, one volume of two is exchanged."""
OTHERS = [
    (RunningWorkload, ["after journal STAGING #1"]),
    (RunningWorkload, ["after journal STAGED #1"]),
    (RunningWorkload, ["after journal PREPARED #1"]),
    (RunningWorkload, ["after journal SWAPPED #1"]),
    (RunningWorkload, ["after journal DONE #1"]),
    (StoppedWorkload, ["after journal COMMIT #1"]),
    (UnhealthyOnRestoredData, ["after journal COMMIT #1"]),
    (UnhealthyOnRestoredData, ["after journal TRIAL #1"]),
]

patiently = pytest.mark.timeout(3600 if TORTURE else 600)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Where the servers run."""
    with quick_directory(tmp_path) as quick:
        yield quick


def from_where_it_differs(point: str) -> Choice:
    return everywhere if TORTURE else since(point)


@patiently
@pytest.mark.parametrize(
    ("scenario", "where"),
    [
        (RunningWorkload, everywhere),
        (UnhealthyOnRestoredData, from_where_it_differs("after journal COMMIT #1")),
        (AbortedLate, from_where_it_differs("after journal SAFE #1")),
        (StoppedWorkload, from_where_it_differs("after journal SAFE #1")),
    ],
)
def test_a_restore_that_stops_dead_at_any_call_ends_with_all_volumes_old_or_all_new(
    directory: Path, scenario: type[RunningWorkload], where: Choice, figure: Figure
) -> None:
    stops = Enumeration.of(scenario, directory).stop_everywhere(where)
    assert stops >= 15
    figure("calls at which a restore stopped dead", stops)


@patiently
@pytest.mark.parametrize("part", range(PARTS))
def test_a_restore_that_meets_an_error_at_any_call_says_what_came_of_it_and_loses_nothing(
    directory: Path, part: int, figure: Figure
) -> None:
    errors = Enumeration.of(RunningWorkload, directory).fail_everywhere(
        part_of(everywhere, part, PARTS), all_of_them if TORTURE else one_each, alike=TORTURE
    )
    assert errors >= 100
    figure("errors injected into a restore", errors)


@patiently
@pytest.mark.parametrize("scenario", [RunningWorkload, UnhealthyOnRestoredData] if TORTURE else [RunningWorkload])
def test_a_restore_of_which_any_call_takes_an_hour_ends_as_it_says(
    directory: Path, scenario: type[RunningWorkload], figure: Figure
) -> None:
    chosen = everywhere if TORTURE else part_of(everywhere, 0, SLOW_EVERY)
    delays = Enumeration.of(scenario, directory).fail_everywhere(chosen, an_hour)
    assert delays >= 25
    figure("calls of a restore that took an hour", delays)


@patiently
@pytest.mark.parametrize(("scenario", "reached"), DECIDING + (OTHERS if TORTURE else []))
def test_a_recovery_that_stops_dead_at_any_call_is_recovered_from(
    directory: Path, scenario: type[RunningWorkload], reached: list[str], figure: Figure
) -> None:
    stops = Enumeration.of(scenario, directory).stop_recovery_everywhere(reached)
    assert stops >= 8
    figure("calls at which a recovery stopped dead", stops)


@patiently
@pytest.mark.parametrize(("scenario", "reached"), DECIDING + OTHERS if TORTURE else DECIDING[1:2])
def test_a_recovery_that_meets_an_error_at_any_call_says_what_came_of_it_and_loses_nothing(
    directory: Path, scenario: type[RunningWorkload], reached: list[str], figure: Figure
) -> None:
    chosen = everywhere if TORTURE else part_of(everywhere, 0, RECOVERY_EVERY)
    errors = Enumeration.of(scenario, directory).fail_recovery_everywhere(reached, chosen, one_each, alike=TORTURE)
    assert errors >= 20
    figure("errors injected into a recovery", errors)


def test_after_a_call_that_only_looks_all_that_is_on_disk_is_as_before(directory: Path, figure: Figure) -> None:
    looks = Enumeration.of(RunningWorkload, directory).look_around_every_call()
    assert looks >= 1000
    figure("calls after which nothing on disk had changed, compared", looks)


if TORTURE:

    @patiently
    @pytest.mark.parametrize("scenario", [UnhealthyOnRestoredData, AbortedLate, StoppedWorkload])
    def test_other_restores_that_meet_an_error_at_any_call_say_what_came_of_it_and_lose_nothing(
        directory: Path, scenario: type[RunningWorkload], figure: Figure
    ) -> None:
        errors = Enumeration.of(scenario, directory).fail_everywhere(everywhere, one_each)
        assert errors >= 1000
        figure("errors injected into a restore", errors)
