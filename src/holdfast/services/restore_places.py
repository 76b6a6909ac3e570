"""Where a restore's volumes live now, from the current configuration alone (I6), and whether they may be swapped.

What would have a deploy refused (a volume that is missing, or another directory than the one last seen) refuses a
restore as well, until a person says that it is meant: the usual cause is a disk that is not mounted.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from holdfast.domain.errors import Problem, Refused
from holdfast.domain.restore import LiveBefore, RootRef
from holdfast.domain.restore_mapping import MappedVolume
from holdfast.domain.workload import Workload
from holdfast.engine import swap
from holdfast.engine.fs import Fs
from holdfast.engine.live import LiveRoots
from holdfast.services.restore_plan import PlannedVolume, RestoreRequest
from holdfast.services.volumes import USUAL_CAUSE, VolumeResolver


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The volumes that could be placed, and what stands in the way or is worth knowing."""

    volumes: tuple[PlannedVolume, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]


class RestorePlaces:
    """Looks at live directories."""

    def __init__(self, *, fs: Fs, roots: LiveRoots, volumes: VolumeResolver) -> None:
        self._fs = fs
        self._roots = roots
        self._volumes = volumes

    async def find(self, request: RestoreRequest, workload: Workload, mapped: Iterable[MappedVolume]) -> Places:
        """Resolve every volume, and look at its directory. Writes nothing but a throwaway pair beside it."""
        planned: list[PlannedVolume] = []
        problems: list[Problem] = []
        warnings: list[str] = []
        seen = {str(p.details.get("target")): p for p in await self._volumes.check_before_start(workload)}
        for volume in mapped:
            try:
                live = self._volumes.resolve(workload.spec, volume.configured)
            except Refused as refusal:
                problems += refusal.problems
                continue
            place, found = await asyncio.to_thread(self._look, request, PlannedVolume(mapped=volume, live=live))
            planned.append(place)
            problems += found
            if place.before is LiveBefore.MISSING:
                if request.starts is None:  # of a workload that is new nothing was ever there
                    warnings.append(
                        f"{live.path} (for {place.target}) is missing, and is made. If its disk is only not mounted, "
                        "mount it instead: the data would go to the disk below."
                    )
                continue
            problem = seen.get(place.target)
            if problem is not None and problem.code == "volume_emptied":
                warnings.append(problem.message)  # just what a restore may be there to mend
            elif problem is not None and problem.code == "volume_replaced":
                planned[-1], found, told = _replaced(request, place, problem)
                problems += found
                warnings += told
        return Places(volumes=tuple(planned), problems=tuple(problems), warnings=tuple(warnings))

    async def look_again(self, refs: Sequence[RootRef]) -> list[Problem]:
        """What is not, or no longer, as it must be for an exchange."""
        return await asyncio.to_thread(lambda: [problem for ref in refs for problem in self._check(ref)])

    def _look(self, request: RestoreRequest, volume: PlannedVolume) -> tuple[PlannedVolume, list[Problem]]:
        problems = self._check(volume.live)
        if [problem.code for problem in problems] != ["volume_missing"]:
            return volume, problems
        if not request.create_missing:
            return volume, [_missing(volume, problems[0])]
        try:
            first = self._roots.first_missing(volume.live) or volume.live
            return (
                dataclasses.replace(
                    volume,
                    before=LiveBefore.MISSING,
                    missing_parents=volume.live.relative.count("/") - first.relative.count("/"),
                ),
                self._roots.check_parent(first) or self._exchangeable(first),
            )
        except Refused as refusal:
            return volume, list(refusal.problems)

    def _check(self, ref: RootRef) -> list[Problem]:
        return list(self._roots.check(ref)) or self._exchangeable(ref)

    def _exchangeable(self, ref: RootRef) -> list[Problem]:
        unsupported = swap.exchange_supported(self._fs, self._roots, ref)
        return [unsupported] if unsupported is not None else []


def _missing(volume: PlannedVolume, problem: Problem) -> Problem:
    return dataclasses.replace(
        problem,
        next_step=f"{USUAL_CAUSE} If the directory was removed, restore with --create-missing (create_missing): it is "
        "made, and gets the snapshot's data.",
        details={**problem.details, "target": volume.target},
    )


def _replaced(
    request: RestoreRequest, volume: PlannedVolume, problem: Problem
) -> tuple[PlannedVolume, list[Problem], list[str]]:
    if not request.accept_replaced:
        step = (
            f"{USUAL_CAUSE} If the directory was replaced on purpose, restore with --accept-replaced "
            "(accept_replaced): what it holds now is kept in the safety snapshot."
        )
        return volume, [dataclasses.replace(problem, next_step=step)], []
    return (
        dataclasses.replace(volume, before=LiveBefore.REPLACED),
        [],
        [f"{problem.message} It is replaced all the same; what it holds is kept in the safety snapshot."],
    )
