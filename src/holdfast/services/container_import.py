"""Import of foreign containers: looked at, and proposed as workloads. Nothing is applied, and nothing is touched."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from holdfast.domain.container_import import ContainersProposal, ForeignContainer, propose_containers
from holdfast.domain.container_volumes import ForeignVolume, engine_volumes_of, mounts_of
from holdfast.domain.errors import Problem, Refused
from holdfast.runtime.port import LABEL_INSTALLATION, ContainerRuntime


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
            Refused: ``container_own``, ``container_of_another_holdfast``; with all of them.
        """
        found: dict[str, ForeignContainer] = {}
        for name in names:
            seen = await self._runtime.inspection(name)
            each = ForeignContainer(container=seen.container, image=seen.image)
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
        return await asyncio.to_thread(
            lambda: propose_containers(containers, project=project, volumes=volumes, files=files)
        )

    async def _volume(self, name: str) -> ForeignVolume | None:
        known = await self._runtime.volume(name)
        if known is None:
            return None
        return ForeignVolume(driver=known.driver, options=tuple(sorted(known.options)), labels=known.labels)

    def _owned(self, each: ForeignContainer) -> list[Problem]:
        """Why it can't be imported: it is a Holdfast's."""
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
