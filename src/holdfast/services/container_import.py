"""Import of foreign containers: looked at, and proposed as workloads. Nothing is applied, and nothing is touched."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Final

from holdfast.domain.container_import import COMPOSE, ContainersProposal, ForeignContainer, propose_containers
from holdfast.domain.container_volumes import ForeignVolume, engine_volumes_of, mounts_of
from holdfast.domain.errors import Problem, Refused
from holdfast.runtime.port import LABEL_INSTALLATION, ContainerRuntime

_ORCHESTRATORS: Final = {
    "com.docker.swarm.task.id": "Docker Swarm",
    "io.kubernetes.pod.uid": "Kubernetes",
    "com.hashicorp.nomad.alloc_id": "Nomad",
}
"""By the label that each puts on its containers: who starts another one, on the same data, for one that is stopped."""


class ContainerImport:
    """Proposes workloads from the containers of this host.

    Args:
        installation: the id of this Holdfast.
    """

    def __init__(self, runtime: ContainerRuntime, installation: str) -> None:
        self._runtime = runtime
        self._installation = installation

    async def propose(self, names: Sequence[str], *, project: str | None) -> ContainersProposal:
        """Propose a workload for each of these containers.

        Args:
            names: names or ids.
            project: for all of them; ``None``: Compose's, or each its own.

        Raises:
            NotFound: ``container_unknown``.
            Refused: ``container_own``, ``container_of_another_holdfast``, ``container_orchestrated``; with all of them.
        """
        found: dict[str, ForeignContainer] = {}
        for name in names:
            seen = await self._runtime.inspection(name)
            each = ForeignContainer(container=seen.container, image=seen.image, changed=seen.changed)
            found[each.id] = each
        containers = tuple(found.values())
        problems = [problem for each in containers for problem in self._owned(each)]
        if problems:
            raise Refused(problems)
        mounted = {name for each in containers for name in engine_volumes_of(each.container)}
        volumes = {name: known for name in sorted(mounted) if (known := await self._volume(name)) is not None}
        binds = {
            str(mount.get("Source"))
            for each in containers
            for mount in mounts_of(each.container)
            if mount.get("Type") == "bind"
        }
        files = await asyncio.to_thread(lambda: [path for path in binds if not os.path.isdir(path)])
        beside = {each.compose("project"): await self._beside(each, found) for each in containers}
        return await asyncio.to_thread(
            lambda: propose_containers(containers, project=project, volumes=volumes, files=files, beside=beside)
        )

    async def _beside(self, each: ForeignContainer, found: Mapping[str, ForeignContainer]) -> list[str]:
        """Names of the other containers of the same project of Compose that run, and are not among those."""
        project = each.compose("project")
        if not project:
            return []
        others = await self._runtime.containers({f"{COMPOSE}project": project})
        return sorted(other.name for other in others if other.running and other.id not in found)

    async def _volume(self, name: str) -> ForeignVolume | None:
        known = await self._runtime.volume(name)
        if known is None:
            return None
        return ForeignVolume(driver=known.driver, options=tuple(sorted(known.options)), labels=known.labels)

    def _owned(self, each: ForeignContainer) -> list[Problem]:
        """Why it can't be imported: it is a Holdfast's, or another's that brings back what is stopped."""
        for label, orchestrator in _ORCHESTRATORS.items():
            if label in each.labels:
                return [_orchestrated(each.name, orchestrator)]
        owner = each.labels.get(LABEL_INSTALLATION)
        if owner is None:
            return []
        if owner == self._installation:
            return [
                Problem(
                    code="container_own",
                    message=f"The container {each.name} is an instance of a workload of this Holdfast.",
                    next_step="Look at the workload instead: holdfast workload list.",
                    details={"container": each.name},
                )
            ]
        return [
            Problem(
                code="container_of_another_holdfast",
                message=f"The container {each.name} belongs to another Holdfast, which would bring it back.",
                next_step="Stop and delete its workload there, or remove the container if that Holdfast is gone; then "
                "apply its workload file here.",
                details={"container": each.name},
            )
        ]


def _orchestrated(name: str, orchestrator: str) -> Problem:
    return Problem(
        code="container_orchestrated",
        message=f"The container {name} belongs to {orchestrator}, which starts another one as soon as it is stopped.",
        next_step=f"Remove its service from {orchestrator}, run it as a container of its own, and import that.",
        details={"container": name},
    )
