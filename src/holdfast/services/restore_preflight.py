"""Preflight: everything that could make a restore fail is looked at before anything is touched.

All of it is derived from the workload's *current* configuration; a manifest only says which container target and
scope each captured volume had (I6). Every problem found is reported, not just the first. Dry run is exactly this.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Final

from holdfast.config import Settings
from holdfast.domain.errors import HoldfastError, Problem, Refused
from holdfast.domain.restore import LiveBefore, OnUnhealthy, VolumeFacts
from holdfast.domain.restore_mapping import MappedVolume, map_volumes
from holdfast.domain.told import Told, told
from holdfast.domain.volumes import overlap
from holdfast.domain.workload import DesiredState, Workload
from holdfast.engine import mounts, space
from holdfast.engine.fs import Fs
from holdfast.runtime.port import LABEL_INSTALLATION, LABEL_WORKLOAD, Container, ContainerRuntime
from holdfast.services.deployer import Deployer
from holdfast.services.networks import missing_networks
from holdfast.services.path_users import others_on_paths
from holdfast.services.quiesce import facts_of
from holdfast.services.restore_images import RestoreImages
from holdfast.services.restore_parts import RestoreParts, choose, chosen_in
from holdfast.services.restore_places import RestorePlaces
from holdfast.services.restore_plan import (
    PlannedImages,
    PlannedStop,
    PlannedVolume,
    RestorePlan,
    RestoreRequest,
)
from holdfast.services.restore_sources import RestoreSources
from holdfast.services.sealed_values import SealedValues
from holdfast.services.sharing import Sharing
from holdfast.services.traffic import Traffic

LETTING_GO: Final = 2.0
"""Seconds that processes get to let go of a path, or to turn out to be the workload's own."""


class RestorePreflight:
    """Checks a restore, or refuses it with every reason at once."""

    def __init__(
        self,
        *,
        settings: Settings,
        installation: str,
        fs: Fs,
        sources: RestoreSources,
        sharing: Sharing,
        places: RestorePlaces,
        images: RestoreImages,
        parts: RestoreParts,
        runtime: ContainerRuntime,
        deployer: Deployer,
        secrets: SealedValues,
        traffic: Traffic,
    ) -> None:
        self._settings = settings
        self._installation = installation
        self._fs = fs
        self._sources = sources
        self._sharing = sharing
        self._places = places
        self._images = images
        self._parts = parts
        self._runtime = runtime
        self._deployer = deployer
        self._secrets = secrets
        self._traffic = traffic

    async def lock_ids(self, request: RestoreRequest, workload: Workload) -> tuple[str, ...]:
        """The workloads that must stand still: this one and all that share one of its volumes, in id order."""
        return tuple(sorted(await self._sharing.lockable(workload, request.laid_out(workload))))

    async def check(self, request: RestoreRequest, workload: Workload, lock_ids: tuple[str, ...]) -> RestorePlan:
        """Check everything that can be checked without writing, and plan the restore.

        Raises:
            Refused: with every problem found. Nothing was touched.
            NotFound: the snapshot does not exist.
            Damaged: its manifest does not authenticate.
            Unavailable: the engine does not answer.
        """
        manifest = await self._sources.manifest(request)
        problems: list[Problem] = []
        laid_out = request.laid_out(workload)
        chosen, found = choose(request, laid_out.spec)
        problems += found
        mapped: tuple[MappedVolume, ...] = ()
        if chosen != {}:
            mapped, found = map_volumes(
                manifest,
                laid_out.spec,
                request.volumes if chosen is None else tuple(chosen),
                renames=request.renames,
                any_scope=request.cloned_from is not None,
            )
            problems += found
        problems += await self._sources.lacking(request, manifest, [volume.captured.index for volume in mapped])
        places = await self._places.find(request, laid_out, mapped)
        problems += places.problems
        problems += await self._sharing.conflicts(laid_out) if laid_out is not workload else ()
        if request.runs is not None and request.runs.adopt:
            problems += await self._traffic.conflicts(request.running(workload).spec)
        volumes = places.volumes if chosen is None else chosen_in(places.volumes, chosen)
        problems += await self._parts.problems(manifest.id, volumes)
        problems += await self._of_the_source(request, workload, volumes)
        warnings = [*request.notices, *places.warnings]
        everything = await self._runtime.containers()
        # Who shares only by what is deployed would not come back as it was: it has to be stopped by a person.
        held = await self._sharing.configured(workload, laid_out)
        own = [c for c in everything if self._is_own(c) and c.labels.get(LABEL_WORKLOAD) in held]
        paths = [volume.live.path for volume in volumes]
        refusals, noticed = await asyncio.to_thread(others_on_paths, everything, {c.id for c in own}, paths)
        problems += refusals
        warnings += noticed
        problems += await self._strangers_that_stay(paths, held)
        images = await self._images.plan(request, workload, manifest, own, sorted(held))
        problems += images.problems
        for redeployed in await self._sharing.workloads({redeploy.workload_id for redeploy in images.redeploys}):
            then = request.running(redeployed) if redeployed.id == workload.id else redeployed
            problems += await self._secrets.problems(then)
            problems += await missing_networks(self._runtime, then.spec)
        warnings += images.warnings
        if problems:
            raise Refused(problems)
        on_unhealthy = request.on_unhealthy or await self._default_on_unhealthy(workload, volumes, own)
        if request.on_unhealthy is None and on_unhealthy is OnUnhealthy.REVERT:
            images, noticed = await self._not_worse(workload, images)
            warnings += noticed
        return RestorePlan(
            workload=workload,
            manifest=manifest,
            volumes=volumes,
            lock_ids=lock_ids,
            containers=tuple(facts_of(container) for container in own),
            stops=await self._stops(own),
            images=images,
            desired=workload.desired,
            on_unhealthy=on_unhealthy,
            with_image=request.with_image and any(r.workload_id == workload.id for r in images.redeploys),
            warnings=tuple(warnings),
            runs=request.runs,
            cloned_from=request.cloned_from,
        )

    async def _stops(self, own: Iterable[Container]) -> tuple[PlannedStop, ...]:
        running = {container.labels[LABEL_WORKLOAD] for container in own if container.running}
        return tuple(
            PlannedStop(workload=each.name, grace_seconds=each.spec.stop_grace)
            for each in await self._sharing.workloads(running)
        )

    async def _of_the_source(
        self, request: RestoreRequest, workload: Workload, volumes: Iterable[PlannedVolume]
    ) -> list[Problem]:
        """A clone never replaces data that the workload it comes from uses, too."""
        source = request.cloned_from
        if source is None or source.workload_id == workload.id:
            return []
        used = await self._sharing.paths_of(source.workload_id)
        return [
            Problem(
                code="clone_shares_volume",
                message=f"{volume.live.path} (for {volume.target}) is a volume of {source.workload_name} itself: the "
                f"clone would replace the data of the workload that it comes from.",
                next_step=f"Name the volumes to clone, leaving this one out; or give {workload.name} another project.",
                details={"target": volume.target, "path": volume.live.path},
            )
            for volume in volumes
            if any(overlap(volume.live.path, path) for path in used)
        ]

    async def check_space(self, plan: RestorePlan, live_bytes: int) -> None:
        """Check bytes and inodes, per filesystem, of all that the restore will write before it frees anything.

        Args:
            live_bytes: what the volumes hold now: the most that the safety snapshot can add to the store.

        Raises:
            Refused: ``no_space_bytes``, ``no_space_inodes``, naming each filesystem.
        """
        needs = [
            space.Need(
                path=volume.live.path if volume.way.inside else f"{volume.live.root}/{volume.live.parent_relative}",
                bytes=volume.staged_bytes,
                inodes=volume.staged_inodes + 1,
                why=f"the staged tree of {volume.target}",
            )
            for volume in plan.volumes
        ]
        needs.append(
            space.Need(path=str(self._settings.repository_dir), bytes=live_bytes, inodes=4, why="the safety snapshot")
        )
        problems = await self._missing_space(needs)
        if problems:
            raise Refused(problems)

    async def _missing_space(self, needs: Sequence[space.Need]) -> list[Problem]:
        return await asyncio.to_thread(
            space.check,
            self._fs,
            needs,
            reserve_bytes=self._settings.disk_reserve_bytes,
            reserve_inodes=self._settings.disk_reserve_inodes,
        )

    async def recheck(self, volumes: Sequence[VolumeFacts], lock_ids: Collection[str]) -> None:
        """Look once more, right before the exchange: directories, flags, mounts, space, and who has the paths mounted.

        Nothing is written any more that could be large, so that of the space only the reserve must be there still: a
        disk that somebody else filled meanwhile is no place to start a service on. Everything of the locked workloads
        is stopped by now, so that nobody may have them.

        Raises:
            Refused: something changed since the preflight.
        """
        paths = [volume.live.path for volume in volumes]
        problems = await self._places.look_again(volumes)
        problems += await self._missing_space(
            [space.Need(path=volume.wrapper_parent, bytes=0, inodes=0, why="the exchange") for volume in volumes]
        )
        everything = await self._runtime.containers()
        own = {c.id for c in everything if self._is_own(c) and c.labels.get(LABEL_WORKLOAD) in lock_ids}
        refusals, _ = await asyncio.to_thread(others_on_paths, everything, own, paths)
        problems += refusals
        problems += await self._strangers_that_stay(paths, ())
        if problems:
            raise Refused(problems)

    async def _strangers_that_stay(self, paths: Sequence[str], own_of: Collection[str]) -> list[Problem]:
        """Who has a path mounted, is no container of the workloads ``own_of``, and does not let go of it.

        What was just stopped may take a moment to be gone, and a container that crashes again and again is another
        process each time: who is found is looked for again, beside the containers as they are then.
        """
        deadline = time.monotonic() + LETTING_GO
        while True:
            own = [c.pid for c in await self._containers_of(own_of) if c.running]
            found = await asyncio.to_thread(self._strangers, paths, own)
            if not found or time.monotonic() > deadline:
                return found
            await asyncio.sleep(0.05)

    async def _containers_of(self, workload_ids: Collection[str]) -> list[Container]:
        if not workload_ids:
            return []
        found = await self._runtime.containers({LABEL_INSTALLATION: self._installation})
        return [container for container in found if container.labels.get(LABEL_WORKLOAD) in workload_ids]

    def _is_own(self, container: Container) -> bool:
        return container.labels.get(LABEL_INSTALLATION) == self._installation

    def _strangers(self, paths: Sequence[str], own_pids: Collection[int]) -> list[Problem]:
        """Processes in other mount namespaces than ours and our own containers' that have a path mounted."""
        own_namespaces = {mounts.namespace_of(pid) for pid in own_pids}
        problems = []
        for holder in mounts.holders(self._fs, paths):
            if holder.namespace in own_namespaces:
                continue
            problems.append(
                Problem(
                    code="path_mounted_elsewhere",
                    message=f"The process {holder.pid} ({holder.command}) has {holder.path} mounted, "
                    f"at {holder.mount_point}.",
                    next_step="Stop it; it would go on writing to the tree that the restore replaces.",
                    details={"pid": holder.pid, "path": holder.path},
                )
            )
        return problems

    async def _default_on_unhealthy(
        self, workload: Workload, volumes: Iterable[PlannedVolume], own: Sequence[Container]
    ) -> OnUnhealthy:
        """Revert, unless there is nothing to go back to, or the workload was not healthy on its old data either.

        One that should run and doesn't is not; of one that stays stopped, nothing is judged.

        Raises:
            Refused: ``health_unknown``; a guess would keep data that has to be taken back, or the other way round.
        """
        if any(volume.before is LiveBefore.MISSING for volume in volumes):
            return OnUnhealthy.KEEP
        running = [c for c in own if c.labels.get(LABEL_WORKLOAD) == workload.id and c.running]
        if not running:
            return OnUnhealthy.KEEP if workload.desired is DesiredState.RUNNING else OnUnhealthy.REVERT
        return OnUnhealthy.REVERT if await self._healthy_now(workload) else OnUnhealthy.KEEP

    async def _not_worse(self, workload: Workload, images: PlannedImages) -> tuple[PlannedImages, list[Told]]:
        """Mark those that share a volume, run again afterwards, and are not healthy now: going back mends none of them.

        Raises:
            Refused: ``health_unknown``.
        """
        unwell = {
            sharer.id: sharer.name
            for sharer in await self._sharing.workloads({r.workload_id for r in images.redeploys} - {workload.id})
            if not await self._healthy_now(sharer)
        }
        redeploys = tuple(replace(r, unwell=r.workload_id in unwell) for r in images.redeploys)
        return replace(images, redeploys=redeploys), [
            told(
                "restore_sharer_unwell",
                "{workload} shares a volume, and is not healthy now: if it is not afterwards either, the restored data "
                "stays all the same.",
                workload=name,
            )
            for name in unwell.values()
        ]

    async def _healthy_now(self, workload: Workload) -> bool:
        try:
            return await self._deployer.healthy_now(workload)
        except HoldfastError as error:
            raise Refused([_health_unknown(workload, error)]) from error


def _health_unknown(workload: Workload, error: HoldfastError) -> Problem:
    return Problem(
        code="health_unknown",
        message=f"Whether {workload.name} is healthy now can't be told ({error.message}), and so not either what is to "
        "be done if it is unhealthy on the restored data.",
        next_step="Mend that and restore again; or say what is to be done: --on-unhealthy revert, or keep "
        "(on_unhealthy).",
        details={"cause": error.code},
    )
