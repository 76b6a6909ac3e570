"""Sightings: what the engine said of this installation's containers, kept between looks, for those who only tell of it.

- Never for a decision: whoever deploys, restores, stops or removes looks at the engine itself.
- The engine is asked at each look which containers there are and how they are. Only what it said of each in full is
  kept, until an event of that container, or an answer that does not agree with it.
- Nothing is kept while the engine's events are not followed: what changed meanwhile, nobody would be told.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from holdfast.domain.errors import NotFound
from holdfast.runtime.port import (
    LABEL_INSTALLATION,
    Container,
    ContainerEvent,
    ContainerRuntime,
    ContainerState,
    ListedContainer,
)

_AT_ONCE = 8
"""Containers that are looked at side by side."""


@dataclass(slots=True)
class _Sighting:
    """What was seen of a container. An event has it dropped: what is put into it afterwards, nobody reads."""

    container: Container | None = None

    def agrees(self, listed: ListedContainer) -> bool:
        seen = self.container
        if seen is None or seen.state is not listed.state:
            return False
        return seen.state is not ContainerState.RUNNING or seen.health is listed.health


class Sightings:
    """The containers of an installation.

    Args:
        installation: the id of this Holdfast.
    """

    def __init__(self, runtime: ContainerRuntime, installation: str) -> None:
        self._runtime = runtime
        self._installation = installation
        self._kept: dict[str, _Sighting] | None = None
        self._looks = asyncio.Semaphore(_AT_ONCE)

    def follow(self, followed: bool) -> None:  # noqa: FBT001 - the state, as it is told
        """Be told whether each event of a container is told from now on."""
        self._kept = {} if followed else None

    def happened(self, event: ContainerEvent) -> None:
        """Something happened to a container: what was seen of it holds no longer."""
        if self._kept is not None:
            self._kept.pop(event.container_id, None)

    async def all(self) -> tuple[Container, ...]:
        """Every container of this installation, newest first.

        Raises:
            Unavailable: the engine does not answer.
        """
        listed = await self._runtime.listed({LABEL_INSTALLATION: self._installation})
        kept = {} if self._kept is None else self._kept
        for gone in kept.keys() - {entry.id for entry in listed}:
            del kept[gone]
        found = await asyncio.gather(*(self._seen(entry, kept) for entry in listed))
        return tuple(container for container in found if container is not None)

    async def _seen(self, listed: ListedContainer, kept: dict[str, _Sighting]) -> Container | None:
        sighting = kept.get(listed.id)
        if sighting is not None and sighting.agrees(listed):
            return sighting.container
        sighting = kept[listed.id] = _Sighting()
        async with self._looks:
            try:
                sighting.container = await self._runtime.inspect(listed.id)
            except NotFound:
                return None  # removed since it was listed
        return sighting.container
