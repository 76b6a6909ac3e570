"""Where a restore's volumes live now, from the current configuration alone (I6), and whether they may be swapped.

What would have a deploy refused (a volume that is missing, or another directory than the one last seen) refuses a
restore as well, until a person says that it is meant: the usual cause is a disk that is not mounted.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from holdfast.domain.errors import Problem, Refused
from holdfast.domain.restore import LiveBefore, RootRef, SwapWay, VolumeFacts
from holdfast.domain.restore_mapping import MappedVolume
from holdfast.domain.told import Told, told
from holdfast.domain.workload import Workload
from holdfast.engine import mounts
from holdfast.engine.fs import Fs
from holdfast.engine.live import LiveRoots
from holdfast.engine.step_swap import look_at_children
from holdfast.engine.swap_way import choose_way
from holdfast.services.engine_volumes import MISSING
from holdfast.services.restore_plan import PlannedVolume, RestoreRequest
from holdfast.services.volumes import USUAL_CAUSE, VolumeResolver


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The volumes that could be placed, and what stands in the way or is worth knowing."""

    volumes: tuple[PlannedVolume, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Told, ...]


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
        warnings: list[Told] = []
        named = await self._volumes.engine_problems(workload.spec)
        seen = {str(p.details.get("target")): p for p in await self._volumes.check_before_start(workload)}
        for volume in mapped:
            try:
                live = self._volumes.resolve(workload.spec, volume.configured)
            except Refused as refusal:
                problems += refusal.problems
                continue
            place = PlannedVolume(mapped=volume, live=live)
            problem = named.get(place.target)
            if problem is None:
                place, found = await asyncio.to_thread(self._look, request, place)
            elif problem.code == MISSING and request.create_missing:  # the engine makes it, before anything is staged
                place, found = dataclasses.replace(place, before=LiveBefore.MISSING), []
            else:
                problems.append(problem)
                continue
            planned.append(place)
            problems += found
            warnings += _told_of_swap(place)
            captured = volume.captured
            nothing = not (captured.files or captured.directories or captured.links or request.paths)
            if nothing and not found and not await asyncio.to_thread(self._holds_nothing, place):
                warnings.append(
                    told(
                        "restore_of_nothing",
                        "The snapshot holds nothing of {volume}: whatever runs finds an empty directory there, and "
                        "may begin anew in it.",
                        volume=place.target,
                    )
                )
            if place.before is LiveBefore.MISSING:
                if request.starts is None:  # of a workload that is new nothing was ever there
                    warnings.append(
                        told(
                            "restore_makes_directory",
                            "{path} (for {volume}) is missing, and is made. If its disk is only not mounted, mount it "
                            "instead: the data would go to the disk below.",
                            path=live.path,
                            volume=place.target,
                        )
                    )
                continue
            problem = seen.get(place.target)
            if problem is not None and problem.code == "volume_emptied":
                warnings.append(Told(problem.message, code=problem.code))  # just what a restore may be there to mend
            elif problem is not None and problem.code == "volume_replaced":
                planned[-1], found, noticed = _replaced(request, place, problem)
                problems += found
                warnings += noticed
        problems += self._one_directory(planned)
        return Places(volumes=tuple(planned), problems=tuple(problems), warnings=tuple(warnings))

    async def look_again(self, volumes: Sequence[VolumeFacts]) -> list[Problem]:
        """What is not, or no longer, as it must be for an exchange."""
        return await asyncio.to_thread(lambda: [problem for volume in volumes for problem in self._check(volume)])

    def _look(self, request: RestoreRequest, volume: PlannedVolume) -> tuple[PlannedVolume, list[Problem]]:
        problems = [*self._roots.check(volume.live), *self._elsewhere(volume.live)]
        if [problem.code for problem in problems] != ["volume_missing"]:
            return (volume, problems) if problems else self._with_way(volume, volume.live)
        if not request.create_missing:
            return volume, [_missing(volume, problems[0])]
        try:
            first = self._roots.first_missing(volume.live) or volume.live
            volume = dataclasses.replace(
                volume,
                before=LiveBefore.MISSING,
                missing_parents=volume.live.relative.count("/") - first.relative.count("/"),
            )
            problems = self._roots.check_parent(first)
            return (volume, problems) if problems else self._with_way(volume, first)
        except Refused as refusal:
            return volume, list(refusal.problems)

    def _holds_nothing(self, volume: PlannedVolume) -> bool:
        return volume.before is LiveBefore.MISSING or self._roots.is_empty(volume.live)

    def _check(self, volume: VolumeFacts) -> list[Problem]:
        problems = [*self._roots.check(volume.live), *self._elsewhere(volume.live)]
        if problems:
            return problems
        way = choose_way(self._fs, self._roots, volume.live)
        if isinstance(way, Problem):
            return [way]
        return [] if way is volume.way else [_other_way(volume)]

    def _elsewhere(self, live: RootRef) -> Iterator[Problem]:
        """A mount that would go on to show what a restore displaces, and then removes."""
        mount = mounts.mounted_elsewhere(live.path, mounts.read_own(self._fs))
        if mount is not None:
            yield Problem(
                code="volume_mounted_elsewhere",
                message=f"A directory in {live.path} is mounted at {mount.shown} as well, which would go on to "
                "show what the restore displaces, until that is removed.",
                next_step=f"Unmount it (umount {mount.shown}), restore, then mount it again.",
                details={"path": live.path, "mount_point": mount.shown},
            )

    def _one_directory(self, planned: Sequence[PlannedVolume]) -> Iterator[Problem]:
        """Volumes that are the same directory by way of a mount: each would have the other's names in it."""
        own = mounts.parse(mounts.read_own(self._fs))
        places: dict[tuple[str, str], PlannedVolume] = {}
        for volume in planned:
            first = places.setdefault(mounts.inside_filesystem(volume.live.path, own), volume)
            if first is not volume:
                yield Problem(
                    code="volume_mounted_elsewhere",
                    message=f"{first.live.path} (for {first.target}) and {volume.live.path} (for {volume.target}) are "
                    "one directory, mounted twice.",
                    next_step="Restore one of them (--volume), or have one volume in their place.",
                    details={"path": volume.live.path, "target": volume.target, "other": first.target},
                )

    def _with_way(self, volume: PlannedVolume, ref: RootRef) -> tuple[PlannedVolume, list[Problem]]:
        """The volume with how its trees change places, tried beside or in ``ref``."""
        way = choose_way(self._fs, self._roots, ref)
        if isinstance(way, Problem):
            return volume, [way]
        volume = dataclasses.replace(volume, way=way)
        if not way.inside:
            return volume, []
        count, problems = look_at_children(self._fs, self._roots, ref)
        return dataclasses.replace(volume, children=count), problems


def _told_of_swap(volume: PlannedVolume) -> Iterator[Told]:
    """What a person should know of a swap that is not one exchange."""
    if volume.way is SwapWay.RENAMES:
        yield told(
            "restore_by_renames",
            "The filesystem of {path} (for {volume}) can't exchange two directories: they change places in three "
            "renames while everything is stopped.",
            path=volume.live.path,
            volume=volume.target,
        )
    if volume.way.inside:
        yield told(
            "restore_name_by_name",
            "{path} (for {volume}) is a mount point: what is in it is exchanged name by name while everything is "
            "stopped (names in its root now: {names}). What is staged lies in it as well, where containers see it, and "
            "is compared with the snapshot once more before: {bytes} to read, which adds to the downtime.",
            path=volume.live.path,
            volume=volume.target,
            names=volume.children,
            bytes=volume.mapped.captured.bytes,
        )


def _other_way(volume: VolumeFacts) -> Problem:
    return Problem(
        code="volume_moved",
        message=f"{volume.live.path} (for {volume.target}) was mounted, or its disk unmounted, under the restore.",
        next_step="Find out who mounts disks there. Nothing was exchanged; start the restore again.",
        details={"target": volume.target, "path": volume.live.path},
    )


def _missing(volume: PlannedVolume, problem: Problem) -> Problem:
    return dataclasses.replace(
        problem,
        next_step=f"{USUAL_CAUSE} If the directory was removed, restore with --create-missing (create_missing): it is "
        "made, and gets the snapshot's data.",
        details={**problem.details, "target": volume.target},
    )


def _replaced(
    request: RestoreRequest, volume: PlannedVolume, problem: Problem
) -> tuple[PlannedVolume, list[Problem], list[Told]]:
    if not request.accept_replaced:
        step = (
            f"{USUAL_CAUSE} If the directory was replaced on purpose, restore with --accept-replaced "
            "(accept_replaced): what it holds now is kept in the safety snapshot."
        )
        return volume, [dataclasses.replace(problem, next_step=step)], []
    return (
        dataclasses.replace(volume, before=LiveBefore.REPLACED),
        [],
        [
            told(
                "restore_replaces",
                "{problem} It is replaced all the same; what it holds is kept in the safety snapshot.",
                problem=Told(problem.message, code=problem.code),
            )
        ],
    )
