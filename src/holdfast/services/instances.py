"""Instances: the containers that Holdfast makes of a workload, how they are named, and how it knows its own again.

- Its own are those that carry this installation's label; others are never listed here, and so never touched.
- A container is made with the restart policy ``no``: until it has proved healthy, the engine starts nothing by itself.
- What it printed is kept before a container is removed: nobody else removes any.
- Bind mounts go to where the volume resolver says that a volume is, in the form that never makes a directory. Volumes
  of the engine's are mounted by name, so that no clearing up takes them for unused.
"""

from __future__ import annotations

from typing import Final, Protocol

from holdfast.domain.deploy_plan import InstanceFacts, instance_count
from holdfast.domain.drill import is_throw_away
from holdfast.domain.restore import ContainerFacts, RootRef
from holdfast.domain.volumes import engine_name
from holdfast.domain.workload import RestartPolicy, Scope, Volume, Workload, WorkloadSpec
from holdfast.runtime.port import (
    LABEL_CONFIG,
    LABEL_DEPLOYMENT,
    LABEL_INSTALLATION,
    LABEL_VERSION,
    LABEL_WORKLOAD,
    Bind,
    Container,
    ContainerRuntime,
    ContainerSpec,
    Tmpfs,
    VolumeMount,
)
from holdfast.services.image_source import Version

_SHORT: Final = 6
"""Characters of an id's random end that make a name unique enough to read and to tell apart."""


class VolumePlaces(Protocol):
    """Where volumes are."""

    def resolve(self, spec: WorkloadSpec, volume: Volume) -> RootRef: ...


class SecretValues(Protocol):
    """The values of secrets."""

    async def environment(self, workload: Workload) -> dict[str, str]: ...


class KeepsLogs(Protocol):
    """Keeps what a container printed; never fails, nor takes long."""

    async def keep(self, workload_id: str, container_id: str, instance: str) -> None: ...


class Instances:
    """Makes, lists and removes containers.

    Args:
        installation: the id of this Holdfast.
        logs: keeps those of what is removed.
    """

    def __init__(
        self,
        runtime: ContainerRuntime,
        installation: str,
        volumes: VolumePlaces,
        secrets: SecretValues,
        logs: KeepsLogs,
    ) -> None:
        self._runtime = runtime
        self._installation = installation
        self._volumes = volumes
        self._secrets = secrets
        self._logs = logs

    async def all(self) -> tuple[Container, ...]:
        """Every container of this installation, newest first."""
        return tuple(await self._runtime.containers({LABEL_INSTALLATION: self._installation}))

    async def strangers(self) -> tuple[Container, ...]:
        """Every container on this host that is not of this installation."""
        return tuple(await self._runtime.containers(without={LABEL_INSTALLATION: self._installation}))

    async def of(self, workload_id: str) -> tuple[Container, ...]:
        """The containers of one workload, stopped ones included, newest first."""
        labels = {LABEL_INSTALLATION: self._installation, LABEL_WORKLOAD: workload_id}
        return tuple(await self._runtime.containers(labels))

    async def create(self, workload: Workload, version: Version, deployment_id: str, number: int) -> str:
        """Create one instance, not started. Returns its container's id.

        Args:
            number: which one of the deployment it is, from 1.

        Raises:
            Refused: a volume can't be placed, or a secret can't be opened.
            Failed: the engine refused.
        """
        spec = workload.spec
        network = self.network_name(spec.project)
        await self._runtime.ensure_network(
            network, {LABEL_INSTALLATION: self._installation}, internal=is_throw_away(spec)
        )
        return await self._runtime.create(
            ContainerSpec(
                name=instance_name(spec, deployment_id, number),
                image=version.image_id,
                labels=dict(spec.labels) | self._labels(workload, version, deployment_id),
                env=dict(spec.env) | await self._secrets.environment(workload),
                command=spec.command,
                entrypoint=spec.entrypoint,
                user=spec.user,
                stop_signal=spec.stop_signal,
                stop_grace=spec.stop_grace,
                ports=spec.ports,
                binds=tuple(
                    Bind(
                        source=self._volumes.resolve(spec, volume).path,
                        target=volume.target,
                        read_only=volume.read_only,
                    )
                    for volume in spec.captured_volumes
                    if not volume.named
                ),
                volumes=tuple(
                    VolumeMount(name=engine_name(spec, volume), target=volume.target, read_only=volume.read_only)
                    for volume in spec.volumes
                    if volume.named
                ),
                tmpfs=tuple(
                    Tmpfs(target=volume.target, size=volume.size)
                    for volume in spec.volumes
                    if volume.scope is Scope.EPHEMERAL
                ),
                restart=RestartPolicy.NO,
                network=network,
                more_networks=spec.networks,
                aliases=(spec.name,),
                memory=spec.resources.memory,
                cpus=spec.resources.cpus,
            )
        )

    async def remove(self, container: ContainerFacts, *, force: bool = False) -> None:
        """Remove a container, and keep what it printed. Fine if it is gone.

        Args:
            force: even if it runs.
        """
        await self._logs.keep(container.workload_id, container.id, container.name)
        await self._runtime.remove(container.id, force=force)

    def network_name(self, project: str) -> str:
        """The network on which a project's workloads find each other by name."""
        return f"holdfast-{self._installation[-_SHORT:]}-{project}"

    def _labels(self, workload: Workload, version: Version, deployment_id: str) -> dict[str, str]:
        return {
            LABEL_INSTALLATION: self._installation,
            LABEL_WORKLOAD: workload.id,
            LABEL_DEPLOYMENT: deployment_id,
            LABEL_CONFIG: workload.spec.config_hash,
            LABEL_VERSION: version.reference,
        }


def instance_name(spec: WorkloadSpec, deployment_id: str, number: int) -> str:
    """A container's name: the workload's, and which deployment and, where there are several, which instance it is."""
    suffix = f"-{number}" if instance_count(spec) > 1 else ""
    return f"{spec.name}-{deployment_id[-_SHORT:]}{suffix}"


def instance_facts(container: Container) -> InstanceFacts:
    """A container as the deployer's plans see it."""
    return InstanceFacts(
        id=container.id,
        name=container.name,
        deployment_id=container.labels.get(LABEL_DEPLOYMENT, ""),
        image_id=container.image_id,
        config_hash=container.labels.get(LABEL_CONFIG, ""),
        running=container.running,
        restart=container.restart,
    )
