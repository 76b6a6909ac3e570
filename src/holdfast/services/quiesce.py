"""Holding writers still, and letting them go as they were.

Used by captures (for a moment) and restores (until the data is exchanged). Who calls holds the lifecycle locks of all
workloads whose containers are named, and has written down what is about to be held before anything is touched.

- A stopped container is first given the restart policy ``no``: with ``always`` the engine would bring it back within
  seconds, or at its own next start, and have it write into whatever is at the path by then (I4).
- Letting go is idempotent: recovery repeats it from the written facts until it has succeeded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.domain.errors import Failed, NotFound
from holdfast.domain.restore import ContainerFacts
from holdfast.domain.stopping import UncleanStop, unclean_end
from holdfast.domain.workload import RestartPolicy
from holdfast.runtime.port import (
    LABEL_INSTALLATION,
    LABEL_WORKLOAD,
    Container,
    ContainerRuntime,
    ContainerState,
    Exit,
)
from holdfast.services.path_users import overlap


@dataclass(frozen=True, slots=True, kw_only=True)
class LetGo:
    """What could not be put back, by name.

    Attributes:
        gone: containers that somebody removed meanwhile.
        left: those that were left stopped, since what they ran on is not there.
    """

    gone: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class Quiescer:
    """Stops, pauses and releases the containers of locked workloads."""

    def __init__(self, runtime: ContainerRuntime, installation: str) -> None:
        self._runtime = runtime
        self._installation = installation

    async def survey(self, workload_ids: Collection[str]) -> tuple[ContainerFacts, ...]:
        """The containers of these workloads as they are now, stopped ones included."""
        containers = await self._runtime.containers({LABEL_INSTALLATION: self._installation})
        return tuple(
            facts_of(container) for container in containers if container.labels.get(LABEL_WORKLOAD) in workload_ids
        )

    async def stop(self, containers: Sequence[ContainerFacts], graces: Mapping[str, float]) -> tuple[UncleanStop, ...]:
        """Disarm the restart policies, then stop all that run, side by side.

        Args:
            graces: seconds that a workload's containers get to end by themselves, by workload id.

        Returns:
            Those that did not end well, or not within their grace.

        Raises:
            Failed: ``stop_not_confirmed`` if one still runs afterwards.
        """
        for container in containers:
            if container.restart_policy is not RestartPolicy.NO:
                await self._runtime.set_restart_policy(container.id, RestartPolicy.NO)
        running = [container for container in containers if container.running]
        exits = await asyncio.gather(
            *(self._runtime.stop(container.id, graces[container.workload_id]) for container in running)
        )
        for container in containers:
            if (await self._runtime.inspect(container.id)).running:
                raise Failed(
                    "stop_not_confirmed",
                    f"The container {container.name} was told to stop and still runs.",
                    next_step="Look at why it does not stop (docker logs), stop it by hand, then try again.",
                    details={"container": container.name},
                )
        return tuple(
            unclean
            for container, exit_ in zip(running, exits, strict=True)
            if (unclean := unclean_stop(container.name, exit_, graces[container.workload_id])) is not None
        )

    async def pause(self, containers: Iterable[ContainerFacts]) -> None:
        """Freeze all that run."""
        for container in containers:
            if container.running and not container.paused:
                await self._runtime.pause(container.id)

    async def let_go(self, containers: Iterable[ContainerFacts], *, not_on: Collection[str] = ()) -> LetGo:
        """Put containers back as the facts say: policy, running, paused. Idempotent.

        Args:
            not_on: paths on which nothing is started: there is no data, or other data than before.
        """
        gone, left = [], []
        for facts in containers:
            try:
                now = await self._runtime.inspect(facts.id)
                if now.state is ContainerState.PAUSED and not facts.paused:
                    await self._runtime.unpause(facts.id)
                if facts.running and not now.running and _mounts(now, not_on):
                    left.append(facts.name)
                elif facts.running:
                    if not now.running:
                        await self._runtime.start(facts.id)
                    if facts.paused and now.state is not ContainerState.PAUSED:
                        await self._runtime.pause(facts.id)
                if (now.restart, now.max_retries) != (facts.restart_policy, facts.max_retries):
                    await self._runtime.set_restart_policy(facts.id, facts.restart_policy, facts.max_retries)
            except NotFound:
                gone.append(facts.name)
        return LetGo(gone=tuple(gone), left=tuple(left))


def _mounts(container: Container, paths: Collection[str]) -> bool:
    return any(overlap(path, mount.source) for mount in container.mounts if mount.source for path in paths)


def unclean_stop(name: str, exit_: Exit, grace: float) -> UncleanStop | None:
    """What there is to say of how a container ended that was told to; ``None`` if it ended well.

    Args:
        grace: seconds that it had.
    """
    end = unclean_end(exit_.code, outlasted=exit_.outlasted, out_of_memory=exit_.out_of_memory)
    if end is None:
        return None
    return UncleanStop(container=name, end=end, exit_code=exit_.code, grace_seconds=grace)


def facts_of(container: Container) -> ContainerFacts:
    """What has to be written down of a container before it is held."""
    return ContainerFacts(
        id=container.id,
        name=container.name,
        workload_id=container.labels.get(LABEL_WORKLOAD, ""),
        restart_policy=container.restart,
        max_retries=container.max_retries,
        running=container.running,
        paused=container.state is ContainerState.PAUSED,
    )
