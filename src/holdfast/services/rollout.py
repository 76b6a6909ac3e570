"""Rolling out: the moves with containers that deployments, starts and trials are made of.

- What ran before is held (policies disarmed, stopped, exit confirmed), and removed only when nobody needs it to return.
- Before anything that ran before is started again, whatever the new version left is gone: two writers never share a
  volume, on the way back neither.
- A volume that is missing or was exchanged stops the way back too: an empty directory is no place for a database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from holdfast.domain.deploy_plan import DeployStep
from holdfast.domain.errors import Failed, HoldfastError, NotFound, Problem, Refused
from holdfast.domain.restore import ContainerFacts
from holdfast.domain.stopping import UncleanStop
from holdfast.domain.told import Told, told
from holdfast.domain.volumes import is_below, owner
from holdfast.domain.workload import HealthCheck, RestartPolicy, Workload
from holdfast.runtime.port import LABEL_DEPLOYMENT, Container, ContainerRuntime
from holdfast.services.health_gate import Cancellable, GateResult, HealthGate, Uncancellable
from holdfast.services.image_source import Version
from holdfast.services.instances import Instances
from holdfast.services.networks import missing_networks
from holdfast.services.operation_context import OperationContext
from holdfast.services.path_users import writers_on_volumes
from holdfast.services.port_users import ports_in_use
from holdfast.services.quiesce import Quiescer, facts_of
from holdfast.services.retrying import Waits, until_engine_answers
from holdfast.services.sealed_values import SealedValues
from holdfast.services.unclean_stops import tell_unclean_stops
from holdfast.services.volumes import VolumeResolver

RETURN_PATIENCE: Final = 120.0
"""Seconds that the way back waits for an engine that does not answer."""

ENGINE_AWAY: Final = "engine_away_too_long"
"""The code of a way back that found no engine in all that time."""

T = TypeVar("T")
Announce = Callable[[DeployStep], None]
"""Told which step begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Previous:
    """What was there before a deployment touched anything.

    Attributes:
        workload: the workload with the configuration that what ran was deployed with.
        containers: all of its containers as they were, stopped ones included.
    """

    workload: Workload
    containers: tuple[ContainerFacts, ...]

    @property
    def running(self) -> tuple[ContainerFacts, ...]:
        return tuple(facts for facts in self.containers if facts.running)


class Rollout:
    """Makes, judges, holds, brings back and removes instances. Who calls holds the workload's lifecycle lock."""

    def __init__(
        self,
        *,
        runtime: ContainerRuntime,
        instances: Instances,
        gate: HealthGate,
        quiescer: Quiescer,
        volumes: VolumeResolver,
        secrets: SealedValues,
        return_patience: float = RETURN_PATIENCE,
    ) -> None:
        self._runtime = runtime
        self._instances = instances
        self._gate = gate
        self._quiescer = quiescer
        self._volumes = volumes
        self._secrets = secrets
        self._patience = return_patience

    async def check_volumes(
        self, workload: Workload, version: Version, everyone: Sequence[Workload], *, accept: bool = False
    ) -> list[Told]:
        """Make the directories that were never there, and check all of them.

        Args:
            everyone: all workloads.
            accept: a person accepts the directories as they are; what was seen of them is forgotten first.

        Returns:
            What is worth a warning.

        Raises:
            Refused: a volume is not what it was, or not where it may be, or somebody else's container has it.
        """
        spec = workload.spec
        in_use, warnings = await self._strangers_on(workload)
        problems = [*self._volumes.problems(spec), *self._volumes.conflicts(spec, everyone), *in_use]
        if problems:
            raise Refused(problems)
        sharers = self._volumes.sharers(workload, everyone)
        if accept:
            await self._volumes.accept(workload, sharers=sharers)
        await self._volumes.prepare(workload, owner(spec.user or version.user), sharers=sharers)
        await self.require_volumes(workload)
        return warnings

    async def _strangers_on(self, workload: Workload) -> tuple[list[Problem], list[Told]]:
        """Containers that are not Holdfast's and may write to a volume of the workload, or replace it."""
        places = self._volumes.placed(workload.spec)
        if not places:
            return [], []
        reading = {volume.target for volume in workload.spec.captured_volumes if volume.read_only}
        read_only = [place.path for place in places if place.target in reading]
        writable = [place.path for place in places if place.target not in reading]
        return await asyncio.to_thread(writers_on_volumes, await self._instances.strangers(), writable, read_only)

    async def require_ports(self, workload: Workload, own: Sequence[Container]) -> None:
        """Raises ``Refused`` (``port_in_use``) where somebody else has a host port that the workload is to publish.

        Args:
            own: the workload's containers.
        """
        fixed = [port for port in workload.spec.ports if port.host_port]
        if not fixed:
            return
        mine = {container.id for container in own}
        everyone = [*await self._instances.all(), *await self._instances.strangers()]
        others = [container for container in everyone if container.id not in mine]
        problems = await asyncio.to_thread(ports_in_use, fixed, own, others)
        if problems:
            raise Refused(problems)

    async def require_networks(self, workload: Workload) -> None:
        """Raises ``Refused`` (``network_missing``) where a network of others is gone, or never was there."""
        problems = await missing_networks(self._runtime, workload.spec)
        if problems:
            raise Refused(problems)

    async def require_secrets(self, workload: Workload) -> None:
        """Raises ``Refused`` where a secret has no value, or one that can't be opened."""
        problems = await self._secrets.problems(workload)
        if problems:
            raise Refused(problems)

    async def require_volumes(self, workload: Workload) -> None:
        """Raises ``Refused`` where a volume is not the directory that was last seen."""
        problems = await self._volumes.check_before_start(workload)
        if problems:
            raise Refused(problems)

    async def require_out_of_reach(self, workload: Workload) -> None:
        """Right before instances start: nothing that runs can exchange a volume under the engine's eyes.

        The engine follows a symlink that stands where a volume is. What was checked may be one a moment later if a
        container writes to a directory above it: one whose configuration has changed since it was started, or this
        workload's own earlier instance until its last breath. So all is looked at again, with nobody left to change it.

        Raises:
            Refused: as :meth:`require_volumes`, ``volume_in_reach`` and, for containers of others, ``path_in_use``.
        """
        paths = [place.path for place in self._volumes.placed(workload.spec)]
        if not paths:
            return
        in_use, _ = await self._strangers_on(workload)
        if in_use:
            raise Refused(in_use)
        for container in await self._instances.all():
            sources = [mount.source for mount in container.mounts if mount.source]
            reached = [path for path in paths for source in sources if is_below(path, source) or is_below(source, path)]
            if container.running and reached:
                raise Refused(
                    [
                        Problem(
                            code="volume_in_reach",
                            message=f"The container {container.name} runs with another volume that holds "
                            f"{reached[0]} or lies in it, and could replace one while the other is mounted.",
                            next_step=f"Deploy the workload of {container.name} as it is configured now, or stop it.",
                            details={"container": container.name, "path": reached[0]},
                        )
                    ]
                )
        await self.require_volumes(workload)

    async def remember_volumes(self, workload: Workload) -> None:
        """Note the volumes as they are: a version was healthy on them."""
        await self._volumes.remember(workload)

    async def make(
        self, workload: Workload, version: Version, deployment_id: str, count: int, announce: Announce
    ) -> tuple[str, ...]:
        """Create and start ``count`` instances, with the restart policy ``no``. Returns the containers' ids.

        Raises:
            Refused: as :meth:`require_out_of_reach`.
        """
        await self.require_out_of_reach(workload)
        announce(DeployStep.CREATING)
        async with self._secrets.masking(workload.id):
            made = [
                await self._instances.create(workload, version, deployment_id, number) for number in range(1, count + 1)
            ]
            announce(DeployStep.STARTING)
            for container_id in made:
                await self._runtime.start(container_id)
        return tuple(made)

    async def judge(
        self,
        container_ids: Iterable[str],
        workload: Workload,
        ctx: Cancellable,
        *,
        code: str = "deploy_unhealthy",
    ) -> None:
        """Wait until every instance is healthy.

        Args:
            workload: as its instances were made.

        Raises:
            Failed: with ``code``; the details hold ``cause`` (see ``domain/health.py``) and the last lines (``logs``).
            Cancelled: somebody cancelled.
            Unavailable: the engine did not answer when the deadline came.
        """
        ids = tuple(container_ids)
        async with self._secrets.masking(workload.id):
            results = await _all(self._gate.wait(container_id, workload.spec.health, ctx) for container_id in ids)
            for container_id, result in zip(ids, results, strict=True):
                if not result.healthy:
                    raise _unhealthy(code, container_id, result)

    async def verify(self, containers: Sequence[Container], check: HealthCheck, ctx: Cancellable) -> bool:
        """Whether every one of these runs and is healthy right now. One that is gone is not.

        Raises:
            Failed: the engine can't say.
            Unavailable: it does not answer.
        """
        try:
            return all(await _all(self._gate.verify(container.id, check, ctx) for container in containers))
        except NotFound:
            return False

    async def hold(self, previous: Previous, ctx: OperationContext) -> tuple[UncleanStop, ...]:
        """Disarm and stop all that was there. Returns what did not end well, which is told as well."""
        spec = previous.workload.spec
        unclean = await self._quiescer.stop(previous.containers, {previous.workload.id: spec.stop_grace})
        await tell_unclean_stops(ctx, unclean)
        return unclean

    async def arm(self, container_ids: Iterable[str], policy: RestartPolicy) -> None:
        """Set the configured restart policy, now that nothing half-made can come of it."""
        for container_id in container_ids:
            await self._runtime.set_restart_policy(container_id, policy)

    async def wake(self, container: Container) -> None:
        """Make an existing instance run."""
        if container.running:
            await self._runtime.unpause(container.id)
        else:
            await self._runtime.start(container.id)

    async def bring_back(self, deployment_id: str, previous: Previous, ctx: Waits) -> bool:
        """Remove what a deployment made, and have running again what ran before it. Idempotent.

        Returns:
            Whether anything had to be started again.

        Raises:
            HoldfastError: it could not be brought back; the message says why.
        """
        try:
            async with asyncio.timeout(self._patience):
                stopped = await until_engine_answers(ctx, lambda: self._exchange_back(deployment_id, previous))
        except TimeoutError as error:
            raise Failed(
                ENGINE_AWAY,
                f"The container engine did not answer for {self._patience:g} seconds.",
                next_step="Start the engine.",
            ) from error
        if stopped:
            running = [facts.id for facts in previous.running]
            await self.judge(running, previous.workload, Uncancellable(), code="previous_unhealthy")
        return stopped

    async def _exchange_back(self, deployment_id: str, previous: Previous) -> bool:
        await self.discard(previous.workload, deployment_id)
        now = {container.id: container for container in await self._instances.of(previous.workload.id)}
        stopped = any(facts.id not in now or not now[facts.id].running for facts in previous.running)
        if stopped:
            await self.require_volumes(previous.workload)
        gone = {*(await self._quiescer.let_go(previous.containers)).gone} & {facts.name for facts in previous.running}
        if gone:
            raise Failed(
                "previous_gone",
                f"The container {min(gone)} was removed in the meantime.",
                next_step="Deploy the version that you want again.",
            )
        return stopped

    async def stop_made(self, workload: Workload, deployment_id: str) -> None:
        """Stop what a deployment made, and leave it there, as the evidence that it ran.

        Raises:
            Failed: it could not be stopped.
        """
        made = [c for c in await self._instances.of(workload.id) if c.labels.get(LABEL_DEPLOYMENT) == deployment_id]
        await self._quiescer.stop([facts_of(c) for c in made], {workload.id: workload.spec.stop_grace})

    async def discard(self, workload: Workload, deployment_id: str) -> None:
        """Stop and remove what a deployment made, told by its label: also what the engine made without saying so."""
        made = [c for c in await self._instances.of(workload.id) if c.labels.get(LABEL_DEPLOYMENT) == deployment_id]
        with suppress(Failed, NotFound):  # who doesn't end by TERM ends by the removal, which is not optional
            await self._quiescer.stop([facts_of(c) for c in made], {workload.id: workload.spec.stop_grace})
        for container in made:
            await self._instances.remove(facts_of(container), force=True)

    async def reap(self, workload: Workload, deployment_id: str) -> list[Told]:
        """Remove the stopped instances of all other deployments. Returns what could not be removed."""
        failures: list[Told] = []
        for container in await self._instances.of(workload.id):
            if container.labels.get(LABEL_DEPLOYMENT) != deployment_id and not container.running:
                try:
                    await self._instances.remove(facts_of(container))
                except HoldfastError as error:
                    failures.append(
                        told(
                            "not_removed", "{name} could not be removed: {why}", name=container.name, why=Told.of(error)
                        )
                    )
        return failures


def _unhealthy(code: str, container_id: str, result: GateResult) -> Failed:
    return Failed(
        code,
        f"The instance {container_id[:12]} is not healthy: {result.reason}.",
        next_step="Look at its last log lines, mend what they name, and deploy again.",
        details={"container": container_id, "cause": result.code, "reason": result.reason, "logs": list(result.logs)},
    )


def log_lines(error: HoldfastError) -> tuple[str, ...]:
    """The last lines of the instance that an error is about, if it holds some."""
    lines = error.details.get("logs")
    return tuple(map(str, lines)) if isinstance(lines, list) else ()


async def _all(work: Iterable[Coroutine[object, object, T]]) -> list[T]:
    """The results of all, side by side; when one raises, the others end before that is told."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
