"""Errors at one call of a recovery that once came to a bad end; at all of them: ``test_every_call.py``."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from tests.faults.crash_scenarios import AbortedLate, RunningWorkload, UnhealthyOnRestoredData
from tests.faults.enumeration_bench import Enumeration, Run, quick_directory

from holdfast.testing.fault_injection import Fault


@pytest.mark.parametrize(
    ("scenario", "reached", "calls"),
    [
        # Told with the bare error of the engine, and taken for let go by the next start.
        (AbortedLate, "after journal ABORTED #1", ["engine start notes"]),
        # The workload stayed down, and nothing said that the data from before was back. A commit that failed was that
        # of which directories are live: it was never made up for, and restores were refused from then on.
        (
            UnhealthyOnRestoredData,
            "after journal REVERTED #1",
            ["engine start notes", "engine remove notes", "database commit"],
        ),
    ],
)
def test_an_error_says_how_things_are_and_what_it_says_to_do_works(
    tmp_path: Path, scenario: type[RunningWorkload], reached: str, calls: list[str]
) -> None:
    with quick_directory(tmp_path) as directory:
        enumeration = Enumeration.of(scenario, directory)
        state = enumeration.stop_at([reached])
        run = Run(state.at, enumeration.scenario.rest, state.reached, from_start=True)
        trace = enumeration.trace(run)
        assert {str(call) for call in trace} >= set(calls)
        for number, call in enumerate(trace):
            if str(call) in calls:
                met = enumeration.meet(run, number, Fault(errno.ENOSPC), trace, thorough=call.name == "commit")
                # A trial instance that can't be removed stands still, and keeps nobody down.
                assert call.name != "remove" or (met and met.told == "restore_reverted")
