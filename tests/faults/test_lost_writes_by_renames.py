"""Power cuts where directories can't be exchanged, on the model of a disk that loses what was not flushed.

They change places in three renames. Whatever of these is there after a cut, recovery ends on one side, from where it is
cut off again as well; with the flush before SWAPPED left out, the loss is noticed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults.crash_bench import TORTURE
from tests.faults.crash_scenarios import RunningWorkload, UnhealthyOnRestoredData
from tests.faults.lost_writes_bench import LossyBench, LostWriteError, recorded

LIMIT = 400 if TORTURE else 4
"""States that are looked at for each point."""

patiently = pytest.mark.timeout(3600 if TORTURE else 300)


def by_renames(scenario: RunningWorkload, *, careless: Callable[[str, str], bool] | None = None) -> LossyBench:
    return recorded(scenario, limit=LIMIT, careless=careless, exchanges=False)


@patiently
@pytest.mark.parametrize("scenario", [RunningWorkload, *([UnhealthyOnRestoredData] if TORTURE else [])])
def test_whatever_is_left_of_the_renames_all_volumes_end_on_one_side(
    tmp_path: Path, scenario: type[RunningWorkload], figure: Callable[[str, int], None]
) -> None:
    bench = by_renames(scenario.at(tmp_path))
    bench.recoveries_cut = True
    bench.cut_everywhere()
    assert bench.cuts > bench.points > 40
    figure("lost writes where directories are renamed: points at which the power failed", bench.points)
    figure("lost writes where directories are renamed: power cuts", bench.cuts)
    figure("lost writes where directories are renamed: different states recovered", bench.states)


@patiently
def test_the_flush_before_the_swap_counts_as_done_is_missed(tmp_path: Path) -> None:
    def careless(call: str, path: str) -> bool:
        return call == "fsync" and "/volumes/" in path

    with pytest.raises(LostWriteError):
        by_renames(RunningWorkload.at(tmp_path), careless=careless).cut_everywhere()
