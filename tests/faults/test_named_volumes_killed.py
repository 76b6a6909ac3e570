"""Restores into volumes of the container engine's, killed around the exchange: old or new, as anywhere else.

Recovery decides before an engine answers, so that it has to find those directories by the settings alone. With ``make
test`` at a sample of the points from COMMIT to SWAPPED, with ``make torture`` at every point of the restore.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import pytest
from tests.faults.crash_bench import TORTURE
from tests.faults.crash_scenarios import RunningWorkload

from holdfast.bootstrap import Holdfast
from holdfast.domain.workload import Scope, Volume
from holdfast.testing.installation import deployed, spec_of


@dataclass(kw_only=True)
class NamedVolumes(RunningWorkload):
    """Both volumes are the engine's, one of them shared by the project."""

    @classmethod
    def at(cls, directory: Path, *, power_cut: bool = False) -> Self:
        bench = super().at(directory, power_cut=power_cut)
        root = bench.place.settings.docker_volumes
        return replace(bench, volumes=(root / "holdfast_notes_data/_data", root / "holdfast-project_home_media/_data"))

    async def begin(self, holdfast: Holdfast) -> None:
        volumes = (
            Volume(target="/data", scope=Scope.NAMED, source="data"),
            Volume(target="/media", scope=Scope.PROJECT_NAMED, source="media"),
        )
        self.workloads = (await deployed(holdfast, spec_of(volumes=volumes)),)
        await self.fill(holdfast)


@pytest.mark.timeout(600)
def test_a_restore_killed_around_the_exchange_ends_with_all_volumes_old_or_all_new(
    tmp_path: Path, figure: Callable[[str, int], None]
) -> None:
    points = NamedVolumes.at(tmp_path).crash_everywhere(
        since=None if TORTURE else "before journal COMMIT #1",
        until=None if TORTURE else "after journal SWAPPED #1",
        every=1 if TORTURE else 4,
    )
    assert points >= 8
    figure("volumes of the engine's: points of a restore at which the server was killed", points)
