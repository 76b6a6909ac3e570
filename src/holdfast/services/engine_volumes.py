"""Volumes of the container engine's that are those of workloads: made, proved to be what they are, and removed.

Where such a volume is follows from the workload's configuration alone (I6); the engine is asked whether it agrees.

- Only a volume that carries this installation's label is used or removed: one that somebody else made under its name
  stays theirs. But for one that the configuration names as it was made (``engine_volume``), for whom data was taken
  over: that is used, not made where nothing is known of it, and never removed.
- Only the driver ``local`` without options has its data where Holdfast can capture and exchange it: anything else is
  a disk, a network share or another directory, mounted there while a container runs.
- The engine makes what it has no volume of, and only where no directory is: of one that it finds it changes the owner.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from holdfast.config import Settings
from holdfast.domain.errors import Problem, Refused
from holdfast.domain.restore import RootRef
from holdfast.domain.volumes import engine_name, engine_path
from holdfast.domain.workload import Volume, WorkloadSpec
from holdfast.engine.live import LiveRoots
from holdfast.runtime.port import LABEL_INSTALLATION, ContainerRuntime, EngineVolume

MISSING: Final = "engine_volume_missing"
"""The code of a volume that the engine has none of."""
_DRIVER: Final = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A volume of the engine's in a workload."""

    volume: Volume
    name: str
    live: RootRef


class EngineVolumes:
    """The engine's volumes of workloads.

    Args:
        installation: the id of this Holdfast.
    """

    def __init__(self, settings: Settings, installation: str, runtime: ContainerRuntime, live: LiveRoots) -> None:
        self._root = str(settings.docker_volumes)
        self._installation = installation
        self._runtime = runtime
        self._live = live

    def resolve(self, spec: WorkloadSpec, volume: Volume) -> RootRef:
        """The directory of a volume of scope ``named`` or ``project_named``. Asks nobody."""
        return RootRef(root=self._root, relative=engine_path(spec, volume))

    async def problems(self, spec: WorkloadSpec) -> list[Problem]:
        """Why the engine's volumes of a workload can't be used; each names its target.

        Raises:
            Unavailable: the engine does not answer, and the workload has such volumes.
        """
        found: list[Problem] = []
        for place in self._places(spec):
            known = await self._runtime.volume(place.name)
            found += [_missing(place)] if known is None else await asyncio.to_thread(self._compare, place, known)
        return found

    async def make_missing(
        self, spec: WorkloadSpec, *, besides: Collection[str] = (), restoring: bool = False
    ) -> tuple[RootRef, ...]:
        """Make the volumes that the engine has none of, unless a directory is where it would put one.

        Args:
            besides: paths of directories that have been there; one that is gone is not made again.
            restoring: also those that were there before the workload: a restore brings their data.

        Returns:
            The directories of those that were made.

        Raises:
            Refused: the directory of the engine's volumes can't be looked at.
        """
        made: list[RootRef] = []
        for place in self._places(spec):
            if place.live.path in besides or await self._runtime.volume(place.name) is not None:
                continue
            if place.volume.engine_volume and not restoring:
                continue
            if await asyncio.to_thread(self._live.first_missing, place.live) in (None, place.live):
                continue
            await self._runtime.create_volume(place.name, {LABEL_INSTALLATION: self._installation})
            made.append(place.live)
        return tuple(made)

    async def unmake(self, made: Collection[RootRef]) -> None:
        """Remove volumes that :meth:`make_missing` made, as far as nothing was put into them.

        Raises:
            HoldfastError: one can't be looked at or removed.
        """
        for live in made:
            if await asyncio.to_thread(self._live.is_empty, live):
                await self._runtime.remove_volume(live.parent_relative)

    async def remove(self, spec: WorkloadSpec) -> None:
        """Remove all the engine's volumes of a workload, whatever is left in them.

        Raises:
            Conflict: ``engine_volume_in_use``.
            Refused: one is not this installation's.
        """
        for place in self._places(spec):
            known = await self._runtime.volume(place.name)
            if known is None or not place.volume.own:
                continue
            problems = await asyncio.to_thread(self._compare, place, known)
            if problems:
                raise Refused(problems)
            await self._runtime.remove_volume(place.name)

    def _places(self, spec: WorkloadSpec) -> Iterator[_Place]:
        for volume in spec.volumes:
            if volume.named:
                yield _Place(volume=volume, name=engine_name(spec, volume), live=self.resolve(spec, volume))

    def _compare(self, place: _Place, known: EngineVolume) -> list[Problem]:
        owner = known.labels.get(LABEL_INSTALLATION, self._installation if place.volume.engine_volume else "")
        if owner != self._installation:
            return [_foreign(place)]
        if known.driver != _DRIVER or known.options:
            return [_not_plain(place, known)]
        holder, data = os.path.split(known.mountpoint)
        root, name = os.path.split(holder)
        if f"{os.path.realpath(root)}/{name}/{data}" != place.live.path:
            return [self._elsewhere(place, known)]
        return []

    def _elsewhere(self, place: _Place, known: EngineVolume) -> Problem:
        root = os.path.realpath(os.path.dirname(os.path.dirname(known.mountpoint)))
        return Problem(
            code="engine_volume_elsewhere",
            message=f"The container engine keeps its volume {place.name} (for {place.volume.target}) at "
            f"{known.mountpoint}, and not below {self._root}.",
            next_step=f"Set docker_volumes to {root} in Holdfast's settings, if that is where the engine keeps its "
            "volumes, and restart Holdfast.",
            details=_details(place) | {"mountpoint": known.mountpoint},
        )


def _missing(place: _Place) -> Problem:
    return Problem(
        code=MISSING,
        message=f"The container engine has no volume {place.name} (for {place.volume.target}).",
        next_step=f"{'Check its name (docker volume ls). ' if place.volume.engine_volume else ''}"
        "If it was removed, restore a snapshot with --create-missing (create_missing), which has it made. "
        f"If its directory {place.live.path} is still there, restart the engine: it looks for it then.",
        details=_details(place),
    )


def _foreign(place: _Place) -> Problem:
    return Problem(
        code="engine_volume_foreign",
        message=f"The container engine has a volume {place.name} (for {place.volume.target}) that this Holdfast did "
        "not make.",
        next_step="Choose another source for the volume. Or, if nobody needs what is in that one, remove it: "
        f"docker volume rm {place.name}",
        details=_details(place),
    )


def _not_plain(place: _Place, known: EngineVolume) -> Problem:
    kind = known.driver if known.driver != _DRIVER else "options " + ", ".join(sorted(known.options))
    return Problem(
        code="engine_volume_not_plain",
        message=f"The volume {place.name} (for {place.volume.target}) is not a plain directory of the container "
        f"engine's: it has {'the driver ' if known.driver != _DRIVER else 'the '}{kind}.",
        next_step="Only volumes of the driver local without options can be captured and restored. Choose another "
        "source for the volume, or mount what it stands for on this host and use scope absolute.",
        details=_details(place) | {"driver": known.driver, "options": sorted(known.options)},
    )


def _details(place: _Place) -> dict[str, object]:
    return {"target": place.volume.target, "path": place.live.path, "volume": place.name}
