"""The proof by real kills: a server killed with SIGKILL at every point, started again, and everything as it must be.

Points lie before and after each journal record, each exchange, each call to the engine and each small file that
recovery goes by; they are placed by a seam (:mod:`holdfast.testing.crash`), never by timing. Each test first finds out
by a run that nobody kills which points there are, then kills one server at each of them, and asserts that it did.
What must hold then is in ``crash_checks.py``; what goes on meanwhile, in ``crash_scenarios.py``.

In ``test_every_call.py``, where each call is a point, copies of a disk stand for kills. Here processes die, and real
workers do the engine's work. Of what is enumerated there, ``make test`` kills at every fortieth point: of a
restore of a running workload; of one that is taken back, of one of a stopped workload and of one that is called off,
from where it begins to differ from that; and of the recovery from SAFE, COMMIT, CONFIRMED, BACKWARD, ABORTED. At every
sixth: of captures; where a missing directory is made, all else catches up with chosen paths, and hooks hold a workload
or work on restored data.

Only with ``make torture`` (``HOLDFAST_TORTURE=1``): every point of all that; of an undo, of a rollback with data and of
a restore of a shared volume; of the recovery from all other states; the points that were left out above because they
are the same; and all of it once more with the host going down along with the server, so that the engine comes first.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.faults.crash_bench import KILLED_EVERY, POINTS_EVERY, TORTURE
from tests.faults.crash_scenarios import (
    AbortedLate,
    Captured,
    CapturedHooked,
    CapturedStopped,
    CapturedWhilePausedByHand,
    ChosenPaths,
    DamagedSnapshot,
    MissingDirectory,
    RolledBack,
    RunningWorkload,
    SharedVolume,
    StoppedWorkload,
    Undone,
    UnhealthyOnRestoredData,
    WorkedOn,
)

PARTS = 2 if TORTURE else 1
"""Tests into which a long scenario is cut, so that they run side by side."""
BEGUN = None if TORTURE else "before journal STAGING #1"
MADE = None if TORTURE else "before journal MADE #1"
DECIDED = None if TORTURE else "before journal COMMIT #1"
SAFE = None if TORTURE else "before journal SAFE #1"
COMMITTED = None if TORTURE else "after journal COMMIT #1"
HOOKED = None if TORTURE else "before engine exec notes #1"
UNHOOKED = None if TORTURE else "after engine exec_start notes #2"
CALLED_OFF = None if TORTURE else "before engine info #2"
HOSTS = [pytest.param(False, id="host-stays"), *([pytest.param(True, id="host-goes-down")] if TORTURE else [])]

every_part = pytest.mark.parametrize("part", range(PARTS))
every_host = pytest.mark.parametrize("power_cut", HOSTS)
patiently = pytest.mark.timeout(600)


@patiently
@every_host
@every_part
def test_a_restore_killed_at_any_point_ends_with_all_volumes_old_or_all_new(
    tmp_path: Path, part: int, power_cut: bool
) -> None:
    assert RunningWorkload.at(tmp_path, power_cut=power_cut).crash_everywhere(part, PARTS, every=KILLED_EVERY) >= 70


@patiently
@every_host
def test_a_restore_of_a_stopped_workload_killed_at_any_point_leaves_it_stopped(tmp_path: Path, power_cut: bool) -> None:
    assert StoppedWorkload.at(tmp_path, power_cut=power_cut).crash_everywhere(since=BEGUN, every=KILLED_EVERY) >= 28


@patiently
@every_host
@every_part
def test_a_restore_on_which_the_workload_is_unhealthy_is_taken_back_wherever_it_is_killed(
    tmp_path: Path, part: int, power_cut: bool
) -> None:
    scenario = UnhealthyOnRestoredData.at(tmp_path, power_cut=power_cut)
    assert scenario.crash_everywhere(part, PARTS, since=DECIDED, every=KILLED_EVERY) >= 45


@patiently
@every_host
def test_a_restore_after_which_a_hook_works_on_the_data_killed_at_any_point_has_it_run_in_what_runs_then(
    tmp_path: Path, power_cut: bool
) -> None:
    scenario = WorkedOn.at(tmp_path, power_cut=power_cut)
    assert scenario.crash_everywhere(since=None if TORTURE else HOOKED, every=POINTS_EVERY) >= 15


@patiently
@every_host
def test_a_restore_of_a_damaged_snapshot_killed_at_any_point_leaves_all_as_it_was(
    tmp_path: Path, power_cut: bool
) -> None:
    assert DamagedSnapshot.at(tmp_path, power_cut=power_cut).crash_everywhere(since=BEGUN, every=POINTS_EVERY) >= 8


@patiently
@every_host
def test_a_restore_called_off_with_everything_stopped_killed_at_any_point_leaves_all_as_it_was(
    tmp_path: Path, power_cut: bool
) -> None:
    scenario = AbortedLate.at(tmp_path, power_cut=power_cut)
    assert scenario.crash_everywhere(since=CALLED_OFF, every=KILLED_EVERY) >= 12


@patiently
@every_host
def test_a_restore_into_a_missing_directory_killed_at_any_point_leaves_it_missing_or_restored(
    tmp_path: Path, power_cut: bool
) -> None:
    scenario = MissingDirectory.at(tmp_path, power_cut=power_cut)
    assert scenario.crash_everywhere(since=MADE, until=SAFE, every=POINTS_EVERY) >= 5


@patiently
@every_host
def test_a_restore_of_chosen_paths_killed_at_any_point_ends_with_them_old_or_restored_and_all_else_kept(
    tmp_path: Path, power_cut: bool
) -> None:
    scenario = ChosenPaths.at(tmp_path, power_cut=power_cut)
    assert scenario.crash_everywhere(since=SAFE, until=COMMITTED, every=POINTS_EVERY) >= 6


@patiently
@pytest.mark.parametrize("scenario", [Captured, CapturedStopped, CapturedWhilePausedByHand])
def test_a_capture_killed_at_any_point_leaves_the_containers_as_they_were(
    tmp_path: Path, scenario: type[Captured]
) -> None:
    assert scenario.at(tmp_path).crash_everywhere(every=POINTS_EVERY) >= 8


@patiently
def test_a_capture_killed_while_hooks_hold_the_workload_is_followed_by_what_undoes_them(tmp_path: Path) -> None:
    assert CapturedHooked.at(tmp_path).crash_everywhere(since=HOOKED, until=UNHOOKED, every=POINTS_EVERY) >= 15


@patiently
@every_host
@pytest.mark.parametrize(
    ("scenario", "state"),
    [
        (RunningWorkload, "after journal SAFE #1"),
        (RunningWorkload, "after journal COMMIT #1"),
        (RunningWorkload, "after journal CONFIRMED #1"),
        (UnhealthyOnRestoredData, "after journal BACKWARD #1"),
        (AbortedLate, "after journal ABORTED #1"),
    ],
)
def test_a_recovery_killed_at_any_point_is_recovered_from(
    tmp_path: Path, scenario: type[RunningWorkload], state: str, power_cut: bool
) -> None:
    assert scenario.at(tmp_path, power_cut=power_cut).crash_recovery_everywhere(state, every=KILLED_EVERY) > 0


if TORTURE:

    @patiently
    @every_host
    @pytest.mark.parametrize(
        ("scenario", "state"),
        [
            (RunningWorkload, "after journal STAGING #1"),
            (RunningWorkload, "after journal STAGED #1"),
            (RunningWorkload, "after journal PREPARED #1"),
            (RunningWorkload, "after engine stop notes #1"),
            (RunningWorkload, "after exchange data #1"),
            (RunningWorkload, "after journal SWAPPED #1"),
            (RunningWorkload, "after journal TRIAL #1"),
            (RunningWorkload, "after engine start notes #1"),
            (RunningWorkload, "after journal DONE #1"),
            (WorkedOn, "after engine exec_start notes #1"),
            (StoppedWorkload, "after journal COMMIT #1"),
            (UnhealthyOnRestoredData, "after journal COMMIT #1"),
            (UnhealthyOnRestoredData, "after journal TRIAL #1"),
            (UnhealthyOnRestoredData, "after exchange data #2"),
            (UnhealthyOnRestoredData, "after journal REVERTED #1"),
            (SharedVolume, "after journal COMMIT #1"),
            (MissingDirectory, "after journal MADE #1"),
            (MissingDirectory, "after making data #1"),
            (MissingDirectory, "after journal COMMIT #1"),
            (Undone, "after journal COMMIT #1"),
            (RolledBack, "after journal CONFIRMED #1"),
        ],
    )
    def test_a_recovery_from_any_other_state_killed_at_any_point_is_recovered_from(
        tmp_path: Path, scenario: type[RunningWorkload], state: str, power_cut: bool
    ) -> None:
        assert scenario.at(tmp_path, power_cut=power_cut).crash_recovery_everywhere(state) > 0

    @patiently
    @every_host
    @every_part
    def test_a_restore_of_a_shared_volume_killed_at_any_point_brings_both_workloads_back(
        tmp_path: Path, part: int, power_cut: bool
    ) -> None:
        assert SharedVolume.at(tmp_path, power_cut=power_cut).crash_everywhere(part, PARTS) >= 105

    @patiently
    @every_host
    @every_part
    def test_an_undo_killed_at_any_point_ends_with_all_volumes_old_or_all_new(
        tmp_path: Path, part: int, power_cut: bool
    ) -> None:
        assert Undone.at(tmp_path, power_cut=power_cut).crash_everywhere(part, PARTS) >= 70

    @patiently
    @every_host
    @every_part
    def test_a_rollback_with_data_killed_at_any_point_ends_with_version_configuration_and_data_on_one_side(
        tmp_path: Path, part: int, power_cut: bool
    ) -> None:
        assert RolledBack.at(tmp_path, power_cut=power_cut).crash_everywhere(part, PARTS) >= 70
