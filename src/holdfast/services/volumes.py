"""Volumes on this host: where they are, whether they are still the ones last seen, and their first making.

Invariants:

- Every path comes from the workload's current configuration and the operator's roots (I6), and every look at the disk
  goes through the engine's descriptors, so that no symlink is followed (I7).
- A directory is made once, on the first deploy that finds it missing and remembers nothing of it, with the owner that
  the image's user needs. Afterwards neither it nor its owner is ever written again.
- What was seen is remembered (identity, and whether anything was in it) after each successful deploy and each restore.
  A volume that is suddenly missing, empty, a symlink, a mount point or another directory stops deploy, start and
  capture: starting a database on an empty directory is how data gets lost quietly.
- A volume of the container engine's is made by the engine, and used only while the engine says that it is what it is.

A workload that is made again under its old name finds its ``stage`` directories as they were left, and adopts them.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from holdfast.config import Settings
from holdfast.domain import volumes as rules
from holdfast.domain.errors import HoldfastError, Problem, Refused
from holdfast.domain.restore import Identity, RootRef
from holdfast.domain.volumes import Placed
from holdfast.domain.workload import (
    SHARED_SCOPES,
    SUPPORTED_SCOPES,
    Scope,
    Volume,
    Workload,
    WorkloadSpec,
)
from holdfast.engine.live import LiveRoots
from holdfast.services.engine_volumes import MISSING, EngineVolumes
from holdfast.store.volume_states import VolumeState, VolumeStateStore

DIRECTORY_MODE: Final = 0o755

USUAL_CAUSE: Final = "The usual cause is a disk that is not mounted: check that first (findmnt, lsblk)."
"""Of a volume that is missing, empty or another directory: what a person should rule out before anything else."""
_ACCEPT: Final = "If the change is meant, accept it: holdfast deploy --accept-volumes."


class VolumeResolver:
    """Resolves the volumes of workloads and watches over their directories.

    Args:
        live: the operator's roots, held as descriptors: the volumes base and the allowed roots.
        states: what was last seen of every volume.
        named: those that the container engine keeps.
    """

    def __init__(self, settings: Settings, live: LiveRoots, states: VolumeStateStore, named: EngineVolumes) -> None:
        self._base = str(settings.volumes_base)
        self._own = str(settings.data_dir)
        self._roots = tuple(str(root) for root in settings.allowed_roots)
        self._live = live
        self._states = states
        self._named = named
        self._engine_root: str | None = None

    def learn_engine_root(self, path: str) -> None:
        """Note where the container engine keeps its own state: no volume may be there."""
        self._engine_root = path

    # Where volumes are

    def resolve(self, spec: WorkloadSpec, volume: Volume) -> RootRef:
        """The trusted root and the path below it of a captured volume.

        Raises:
            Refused: ``volume_root_not_allowed``, ``volume_path_forbidden``.
        """
        if volume.named:
            return self._named.resolve(spec, volume)
        if volume.scope in (Scope.STAGE, Scope.PROJECT):
            return RootRef(root=self._base, relative=rules.relative_path(spec, volume))
        if volume.scope is not Scope.ABSOLUTE:
            raise ValueError(f"a volume of scope {volume.scope} has no directory of its own on the host")
        problem = rules.forbidden(volume.source, own=self._own, volumes_base=self._base, engine_root=self._engine_root)
        if problem is not None:
            raise Refused([problem])
        root = rules.choose_root(volume.source, self._roots)
        if root is None:
            raise Refused([self._root_not_allowed(volume)])
        return RootRef(root=root, relative=volume.source[len(root.rstrip("/")) + 1 :])

    def problems(self, spec: WorkloadSpec) -> list[Problem]:
        """Why volumes of ``spec`` can't be where they are configured to be. Looks at no disk."""
        found: list[Problem] = []
        for volume in spec.captured_volumes:
            try:
                self.resolve(spec, volume)
            except Refused as refusal:
                found.extend(refusal.problems)
        return found

    def conflicts(self, spec: WorkloadSpec, others: Iterable[Workload]) -> list[Problem]:
        """Equal or nested paths of ``spec``'s volumes and others', but for what a project shares on purpose.

        Args:
            others: all workloads; one with the same name is the same workload and is passed over.
        """
        placed = [place for other in others if other.name != spec.name for place in self.placed(other.spec)]
        return rules.conflicts(self.placed(spec), placed)

    def sharers(self, workload: Workload, all_workloads: Iterable[Workload]) -> frozenset[str]:
        """The ids of all workloads that share a volume with ``workload``, its own included."""
        mine = {place.path for place in self.placed(workload.spec) if place.scope in SHARED_SCOPES}
        return frozenset({workload.id}) | {
            other.id
            for other in all_workloads
            if any(place.scope in SHARED_SCOPES and place.path in mine for place in self.placed(other.spec))
        }

    # What is on the disk

    async def prepare(
        self, workload: Workload, owner: tuple[int, int], *, sharers: Iterable[str] = ()
    ) -> tuple[str, ...]:
        """Make the directories that were never there, and remember them.

        Args:
            owner: uid and gid for new directories (:func:`holdfast.domain.volumes.owner`).
            sharers: ids of workloads that share a volume: what one of them remembers is not made again either.

        Returns:
            The paths that were made. What is missing but remembered is left for :meth:`check_before_start`.

        Raises:
            Refused: a volume can't be placed, or a root is unusable.
            NoSpace, Failed: a directory can't be made.
        """
        remembered = {
            state.path for each in {workload.id, *sharers} for state in (await self._states.get(each)).values()
        }
        await self._named.make_missing(workload.spec, besides=remembered)
        told = await self.engine_problems(workload.spec)
        wanted = [
            (volume, ref)
            for volume in workload.spec.captured_volumes
            if volume.target not in told and (ref := self.resolve(workload.spec, volume)).path not in remembered
        ]
        made = await asyncio.to_thread(self._make_missing, wanted, owner)
        await self._put(workload.id, [(volume, ref, identity, False) for volume, ref, identity in made])
        return tuple(ref.path for _, ref, _ in made)

    async def present(self, spec: WorkloadSpec) -> list[Placed]:
        """The captured volumes at whose place a directory is already, whoever made it.

        Raises:
            Refused, Failed: one can't be looked at, for another reason than that it is missing.
        """

        def look() -> list[Placed]:
            return [
                place
                for volume in spec.captured_volumes
                if self._live.first_missing(self.resolve(spec, volume)) is None
                for place in self.placed(spec)
                if place.target == volume.target
            ]

        return await asyncio.to_thread(look)

    async def check_before_start(self, workload: Workload) -> list[Problem]:
        """Whether every captured volume is there, and is the directory that was last seen.

        Asked before every deploy, start and capture.

        Raises:
            Unavailable: it has volumes of the container engine's, which does not answer.
        """
        return await self._checked(workload, workload.spec)

    @asynccontextmanager
    async def made_by_engine(self, workload: Workload, keep: Callable[[], bool]) -> AsyncIterator[None]:
        """Have the container engine make the volumes that it has none of, though there were, for a restore into them.

        What was seen of the workload's volumes stays, so that without a restore none is ever taken for a new one: where
        there was content, nothing starts on the empty volume that a death before the exchange leaves.

        Args:
            keep: asked when the block fails: whether what was made stays all the same.
        """
        made = await self._named.make_missing(workload.spec, restoring=True)
        try:
            for ref in made:
                identity = await asyncio.to_thread(self._live.identity, ref)
                await self.remember_identity(workload.id, ref.path, identity, with_content=False)
            yield
        except HoldfastError:
            if not keep():
                with suppress(HoldfastError):  # an empty volume is left, which the next restore goes on with
                    await self._named.unmake(made)
            raise

    async def engine_problems(self, spec: WorkloadSpec) -> dict[str, Problem]:
        """By target: volumes of the container engine's that are not what they have to be."""
        return {str(problem.details["target"]): problem for problem in await self._named.problems(spec)}

    async def _checked(self, workload: Workload, spec: WorkloadSpec) -> list[Problem]:
        """What is wrong with the captured volumes of ``spec``: what the engine says of its own, then the disk."""
        told = await self.engine_problems(spec)
        states = await self._states.get(workload.id)
        rest = tuple(volume for volume in spec.captured_volumes if volume.target not in told)
        return [*told.values(), *await asyncio.to_thread(self._check, dataclasses.replace(spec, volumes=rest), states)]

    async def check_before_removal(self, workload: Workload) -> list[Problem]:
        """What forbids removing the workload's data: a directory that is not the one last seen.

        Looks at those that may be removed. A directory that was never seen may be missing.
        """
        states = await self._states.get(workload.id)
        own = tuple(volume for volume in workload.spec.volumes if volume.own)
        found = await self._checked(workload, dataclasses.replace(workload.spec, volumes=own))
        return [
            dataclasses.replace(problem, next_step=f"{USUAL_CAUSE} Or delete the workload without its data.")
            for problem in found
            if problem.code != "volume_emptied"
            and not (problem.code in ("volume_missing", MISSING) and problem.details["target"] not in states)
        ]

    async def remember(self, workload: Workload) -> None:
        """Note all captured volumes as they are now, after a successful deploy; forget those that are gone.

        Raises:
            HoldfastError: a volume can't be opened.
        """
        seen = await asyncio.to_thread(self._look, workload.spec)
        await self._put(workload.id, seen)
        configured = {volume.target for volume, _, _, _ in seen}
        for target in set(await self._states.get(workload.id)) - configured:
            await self._states.delete(workload.id, target)

    async def remember_identity(
        self, workload_id: str, path: str, identity: Identity, *, with_content: bool = True
    ) -> None:
        """Note that another directory stands at ``path`` on purpose, after a restore or its way back.

        Whether it has content is only known again after the next successful deploy. A workload that does not remember
        the path is left alone: it adopts what it finds.

        Args:
            with_content: whether it holds what the workload is to have, be that nothing; else that is still to come.
        """
        states = await self._states.get(workload_id)
        await self._states.put(
            *(
                dataclasses.replace(state, identity=identity, had_content=state.had_content and not with_content)
                for state in states.values()
                if state.path == path
            )
        )

    async def accept(self, workload: Workload, *, sharers: Iterable[str] = ()) -> None:
        """A person accepts the directories as they are, missing ones included: forget what was seen of them.

        Args:
            sharers: ids of workloads that share a volume; what they remember of the same paths is forgotten too.
        """
        paths = {self.resolve(workload.spec, volume).path for volume in workload.spec.captured_volumes}
        await self._forget({workload.id, *sharers}, paths)

    async def forget(self, workload: Workload, going: Iterable[RootRef]) -> None:
        """Forget what was seen of directories that are about to be removed.

        A removal that is cut off can then go on: what is missing is no longer missed.
        """
        await self._forget({workload.id}, {ref.path for ref in going})

    async def _forget(self, workload_ids: Iterable[str], paths: Collection[str]) -> None:
        for workload_id in workload_ids:
            for state in (await self._states.get(workload_id)).values():
                if state.path in paths:
                    await self._states.delete(workload_id, state.target)

    # In a thread: quick looks at directories

    def _check(self, spec: WorkloadSpec, states: Mapping[str, VolumeState]) -> list[Problem]:
        problems: list[Problem] = []
        for volume in spec.captured_volumes:
            try:
                ref = self.resolve(spec, volume)
            except Refused as refusal:
                problems.extend(refusal.problems)
                continue
            found = [_explained(problem, volume) for problem in self._live.check(ref)]
            state = states.get(volume.target)
            if not found and state is not None and state.path == ref.path:
                found = self._compare(volume, ref, state)
            problems.extend(found)
        return problems

    def _compare(self, volume: Volume, ref: RootRef, state: VolumeState) -> list[Problem]:
        details = {"path": ref.path, "target": volume.target}
        if self._live.identity(ref) != state.identity:
            return [
                Problem(
                    code="volume_replaced",
                    message=f"{ref.path} (for {volume.target}) is another directory than the one last seen there.",
                    next_step=f"{USUAL_CAUSE} If it was copied back by hand, look at what it holds. {_ACCEPT}",
                    details=details,
                )
            ]
        if state.had_content and self._live.is_empty(ref):
            return [
                Problem(
                    code="volume_emptied",
                    message=f"{ref.path} (for {volume.target}) had content when it was last seen, and is empty now.",
                    next_step=f"{USUAL_CAUSE} If the data was deleted, restore a snapshot. {_ACCEPT}",
                    details=details,
                )
            ]
        return []

    def _make_missing(
        self, wanted: Sequence[tuple[Volume, RootRef]], owner: tuple[int, int]
    ) -> list[tuple[Volume, RootRef, Identity]]:
        made: list[tuple[Volume, RootRef, Identity]] = []
        uid, gid = owner
        for volume, ref in wanted:
            found = [problem.code for problem in self._live.check(ref)]
            if volume.named:
                new = not (found or volume.engine_volume) and self._live.give(
                    ref, uid=uid, gid=gid, mode=DIRECTORY_MODE
                )
            else:
                new = found == ["volume_missing"] and self._live.create(ref, uid=uid, gid=gid, mode=DIRECTORY_MODE)
            if new:
                made.append((volume, ref, self._live.identity(ref)))
        return made

    def _look(self, spec: WorkloadSpec) -> list[tuple[Volume, RootRef, Identity, bool]]:
        seen: list[tuple[Volume, RootRef, Identity, bool]] = []
        for volume in spec.captured_volumes:
            ref = self.resolve(spec, volume)
            seen.append((volume, ref, self._live.identity(ref), not self._live.is_empty(ref)))
        return seen

    # Helpers

    async def _put(self, workload_id: str, seen: Iterable[tuple[Volume, RootRef, Identity, bool]]) -> None:
        await self._states.put(
            *(
                VolumeState(
                    workload_id=workload_id,
                    target=volume.target,
                    path=ref.path,
                    identity=identity,
                    had_content=had_content,
                )
                for volume, ref, identity, had_content in seen
            )
        )

    def placed(self, spec: WorkloadSpec) -> list[Placed]:
        """Where the captured volumes are; for an absolute one that is what was configured, allowed or not."""
        return [
            Placed(
                workload=spec.name,
                project=spec.project,
                target=volume.target,
                scope=volume.scope,
                path=volume.source if volume.scope is Scope.ABSOLUTE else self.resolve(spec, volume).path,
            )
            for volume in spec.volumes
            if volume.scope in SUPPORTED_SCOPES
        ]

    def _root_not_allowed(self, volume: Volume) -> Problem:
        if self._roots:
            step = f"Choose a path strictly below one of: {', '.join(self._roots)}."
        else:
            step = "No root is allowed yet."
        return Problem(
            code="volume_root_not_allowed",
            message=f"{volume.source} (for {volume.target}) is not below a directory that the operator allowed.",
            next_step=f"{step} The operator allows roots with allowed_roots in Holdfast's configuration file.",
            details={"path": volume.source, "target": volume.target, "allowed_roots": list(self._roots)},
        )


def _explained(problem: Problem, volume: Volume) -> Problem:
    """The engine's finding, with the volume it is about, and the usual cause where there is one."""
    details = {**problem.details, "target": volume.target}
    if problem.code != "volume_missing":
        return dataclasses.replace(problem, details=details)
    step = f"{USUAL_CAUSE} If the directory was removed, restore a snapshot with --create-missing. {_ACCEPT}"
    return dataclasses.replace(problem, next_step=step, details=details)
