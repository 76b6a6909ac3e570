"""Restores onto a volume that is a mount point, killed around every rename: old or new, whatever was cut off.

With ``make test``: every point from COMMIT to SWAPPED and from BACKWARD to REVERTED. Only with ``make torture``: every
other point, every point of the recovery from the first name that was moved, and the host going down with the server.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.faults.crash_bench import POINTS_EVERY, TORTURE
from tests.faults.crash_scenarios import MountPoint, MountPointUnhealthy

HOSTS = [pytest.param(False, id="host-stays"), *([pytest.param(True, id="host-goes-down")] if TORTURE else [])]
COMMITTED = None if TORTURE else "before journal COMMIT #1"
SWAPPED = None if TORTURE else "after journal SWAPPED #1"
BACKWARD = None if TORTURE else "before journal BACKWARD #1"
REVERTED = None if TORTURE else "after journal REVERTED #1"

every_host = pytest.mark.parametrize("power_cut", HOSTS)
patiently = pytest.mark.timeout(600)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A place for an installation of which one volume is a mount point."""
    at = tmp_path / "data/volumes/notes/data"
    at.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "tmpfs", str(at)], check=True)
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(at)], check=True)


@patiently
@every_host
def test_a_restore_killed_around_each_rename_ends_with_all_volumes_old_or_all_new(
    directory: Path, power_cut: bool, figure: Callable[[str, int], None]
) -> None:
    points = MountPoint.at(directory, power_cut=power_cut).crash_everywhere(
        since=COMMITTED, until=SWAPPED, every=POINTS_EVERY
    )
    assert points >= 12
    figure("mount points: points of the swap at which the server was killed", len(range(0, points, POINTS_EVERY)))


@patiently
@every_host
def test_a_restore_that_is_taken_back_ends_with_the_old_data_wherever_it_is_killed(
    directory: Path, power_cut: bool, figure: Callable[[str, int], None]
) -> None:
    points = MountPointUnhealthy.at(directory, power_cut=power_cut).crash_everywhere(
        since=BACKWARD, until=REVERTED, every=POINTS_EVERY
    )
    assert points >= 12
    figure("mount points: points of the way back at which the server was killed", len(range(0, points, POINTS_EVERY)))


if TORTURE:

    @patiently
    @every_host
    @pytest.mark.parametrize(
        ("scenario", "state"),
        [(MountPoint, "after exchange library #1"), (MountPointUnhealthy, "after exchange library #2")],
    )
    def test_a_recovery_killed_at_any_point_is_recovered_from(
        directory: Path, scenario: type[MountPoint], state: str, power_cut: bool
    ) -> None:
        assert scenario.at(directory, power_cut=power_cut).crash_recovery_everywhere(state) > 0
