"""Restores of chosen paths: whether they can be done, and the steps that such a restore has more than one of all.

It goes through the same staged, journaled exchange of the whole volume. What is not chosen, the rest, is staged from a
capture of the live data, and brought up to the safety snapshot once everything is stopped, before COMMIT: so nothing
that was written meanwhile is lost, and undo is an ordinary restore of that snapshot.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

from holdfast.domain.chosen_paths import ChosenPaths, by_volume, shown
from holdfast.domain.errors import HoldfastError, Problem, Refused
from holdfast.domain.restore import LiveBefore, RestoreStep
from holdfast.domain.told import told
from holdfast.domain.workload import WorkloadSpec
from holdfast.engine.part_staging import CaughtUp
from holdfast.engine.repository.manifests import VolumeTree
from holdfast.engine.repository.parts import Absent, Part
from holdfast.engine.requests import CatchUpRequest, LookAtPartRequest, StagePartsRequest
from holdfast.engine.staging import StageResult
from holdfast.engine.stores import Stores
from holdfast.services.active_restore import ActiveRestore
from holdfast.services.restore_plan import ChosenPart, PlannedVolume, RestorePlan, RestoreRequest
from holdfast.services.workers import WorkerSession


class RestoreParts:
    """Looks at what is chosen, before anything is touched."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    async def problems(self, snapshot_id: str, volumes: Sequence[PlannedVolume]) -> list[Problem]:
        """What forbids restoring the chosen paths of a snapshot, as far as the snapshot tells."""
        found = []
        for volume in volumes:
            if volume.part is None:
                continue
            if volume.before is LiveBefore.MISSING:
                found.append(_nothing_beside(volume))
            if volume.way.inside:
                found.append(_in_mount_point(volume))
            part = _part(volume.index, volume.part.chosen)
            try:
                absent = await asyncio.to_thread(self._absent, snapshot_id, part)
            except HoldfastError as error:
                found.append(Problem(code=error.code, message=error.message, next_step=error.next_step))
                continue
            found += [_not_in_snapshot(volume.target, each) for each in absent]
        return found

    def _absent(self, snapshot_id: str, part: Part) -> list[Absent]:
        return self._stores.browsable(snapshot_id).parts.absent(snapshot_id, part)

    async def look(self, worker: WorkerSession, plan: RestorePlan) -> tuple[RestorePlan, int]:
        """Look at the live data beside the chosen paths.

        Returns:
            The plan, with the sizes of what will be staged and further warnings; and what the volumes hold now, in
            bytes on disk.

        Raises:
            Refused: ``path_parent_not_directory``, ``device_in_volume``.
        """
        volumes: list[PlannedVolume] = []
        problems: list[Problem] = []
        warnings = list(plan.warnings)
        live_bytes = 0
        for volume in plan.volumes:
            assert volume.part is not None
            found = await worker.run(
                LookAtPartRequest(
                    snapshot_id=plan.manifest.id, part=_part(volume.index, volume.part.chosen), live=volume.live
                )
            )
            live_bytes += found.live_bytes
            problems += found.problems
            warnings += [
                told("in_volume", "{volume}: {what}", volume=volume.target, what=warning) for warning in found.warnings
            ]
            part = replace(
                volume.part,
                staged_bytes=found.staged_bytes,
                staged_inodes=found.staged_inodes,
                bytes=found.chosen_bytes,
                names=found.chosen_inodes,
            )
            volumes.append(replace(volume, part=part))
        if problems:
            raise Refused(problems)
        return replace(plan, volumes=tuple(volumes), warnings=tuple(warnings)), live_bytes


class PartsRun:
    """The staged trees of one restore of chosen paths, from their making to COMMIT."""

    def __init__(self, plan: RestorePlan, worker: WorkerSession) -> None:
        self._plan, self._worker = plan, worker
        self._parts = tuple(
            _part(volume.index, volume.part.chosen) for volume in plan.volumes if volume.part is not None
        )
        self._touched_ns = time.time_ns()
        self._live: tuple[VolumeTree, ...] = ()

    async def stage(self, restore: ActiveRestore) -> StageResult:
        """Stage the chosen paths from the snapshot, and the rest as it is live now."""
        staged = await self._worker.run(
            StagePartsRequest(
                snapshot_id=restore.facts.snapshot_id,
                workload_id=restore.facts.workload_id,
                volumes=restore.facts.volumes,
                parts=self._parts,
                touched_ns=self._touched_ns,
            )
        )
        self._live = staged.live
        return staged.result

    async def catch_up(self, restore: ActiveRestore) -> bool:
        """Bring the rest up to what is live while the workload runs. Returns whether doing so again is worth it."""
        return (await self._catch_up(restore, None)).again

    async def catch_up_with_the_stop(self, restore: ActiveRestore) -> None:
        """Bring the rest up to the safety snapshot: to what was written last."""
        restore.ctx.step(RestoreStep.CATCHING_UP)
        with restore.timed("catch_up"):
            found = await self._catch_up(restore, restore.safety_snapshot_id)
        restore.ctx.log(
            told(
                "rest_caught_up",
                "all else was brought up to the stop; paths that had changed: {count}",
                count=found.changed,
            )
        )

    async def _catch_up(self, restore: ActiveRestore, stopped_as: str | None) -> CaughtUp:
        found = await self._worker.run(
            CatchUpRequest(
                snapshot_id=restore.facts.snapshot_id,
                workload_id=restore.facts.workload_id,
                volumes=restore.volumes,
                parts=self._parts,
                staged=self._live,
                touched_ns=self._touched_ns,
                stopped_as=stopped_as,
            )
        )
        self._live = found.live
        return found


def choose(request: RestoreRequest, spec: WorkloadSpec) -> tuple[dict[str, ChosenPaths] | None, tuple[Problem, ...]]:
    """What is chosen of each volume, and what is wrong with that; ``None`` where whole volumes are restored.

    A volume that is named beside paths is chosen whole.
    """
    if not request.paths:
        return None, ()
    named = tuple(target.encode() for target in request.volumes or ())
    return by_volume((*request.paths, *named), [volume.target for volume in spec.volumes])


def chosen_in(volumes: Sequence[PlannedVolume], chosen: dict[str, ChosenPaths]) -> tuple[PlannedVolume, ...]:
    """The volumes, each with what is chosen of it."""
    return tuple(replace(volume, part=ChosenPart(chosen=chosen[volume.target])) for volume in volumes)


def _part(index: int, chosen: ChosenPaths) -> Part:
    return Part(index=index, paths=chosen.paths)


def _not_in_snapshot(target: str, absent: Absent) -> Problem:
    path, near = _in_container(target, absent.path), [_in_container(target, each) for each in absent.near]
    meant = f"It has {', '.join(near)}." if near else "It has nothing that is called like it there."
    return Problem(
        code="path_not_in_snapshot",
        message=f"The snapshot does not have {path}. {meant}",
        next_step="Names are exact: look with `holdfast snapshot files`. What the snapshot does not have can't be "
        "restored; to have it removed, choose the directory that it lies in.",
        details={"path": path, "near": near},
    )


def _nothing_beside(volume: PlannedVolume) -> Problem:
    return Problem(
        code="paths_of_missing_volume",
        message=f"The directory of {volume.target} is missing: there is nothing that chosen paths could be put into.",
        next_step="Mount its disk, or restore the whole volume with --create-missing.",
        details={"target": volume.target, "path": volume.live.path},
    )


def _in_mount_point(volume: PlannedVolume) -> Problem:
    return Problem(
        code="paths_in_mount_point",
        message=f"{volume.live.path} (for {volume.target}) is a mount point. What is staged lies in it, where "
        "containers can get at it, and beside chosen paths it would hold live data that no snapshot vouches for.",
        next_step="Restore the whole volume, or mount the disk one level higher.",
        details={"target": volume.target, "path": volume.live.path},
    )


def _in_container(target: str, path: bytes) -> str:
    return shown(target.encode().rstrip(b"/") + b"/" + path)
