"""Who shares the volumes of a workload, and so stands still while they are captured or replaced.

What was deployed last counts beside what is configured: a start, a way back of a failed deployment and a reconciliation
run the configuration of then, whatever was applied since (I4, I9).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from holdfast.domain.errors import Problem
from holdfast.domain.workload import Workload
from holdfast.services.volumes import VolumeResolver
from holdfast.store.deployments import DeploymentStore
from holdfast.store.workloads import WorkloadStore


class Sharing:
    """Finds those who share."""

    def __init__(self, *, workloads: WorkloadStore, deployments: DeploymentStore, volumes: VolumeResolver) -> None:
        self._workloads = workloads
        self._deployments = deployments
        self._volumes = volumes

    async def configured(self, *workloads: Workload) -> frozenset[str]:
        """The ids of all that have a volume of one of ``workloads`` in their configuration; these are among them."""
        everyone = await self._workloads.list()
        return frozenset().union(*(self._volumes.sharers(workload, everyone) for workload in workloads))

    async def workloads(self, ids: Collection[str]) -> tuple[Workload, ...]:
        """The workloads with these ids, as they are configured."""
        return tuple(workload for workload in await self._workloads.list() if workload.id in ids)

    async def lockable(self, *workloads: Workload) -> frozenset[str]:
        """The ids of all whose locks keep everybody off the volumes: those, and who may yet be started on one."""
        everyone = await self._workloads.list()
        last = await self._deployments.last_successful_of_all()
        deployed = [replace(other, spec=last[other.id].spec) for other in everyone if other.id in last]
        return frozenset().union(*(self._volumes.sharers(workload, [*everyone, *deployed]) for workload in workloads))

    async def conflicts(self, workload: Workload) -> list[Problem]:
        """Where volumes of ``workload`` would lie in those of others, or others' in them."""
        return self._volumes.conflicts(workload.spec, await self._workloads.list())

    async def paths_of(self, workload_id: str) -> frozenset[str]:
        """Where the volumes of a workload are, as configured and as deployed; none of one that there is not (more)."""
        workload = await self._workloads.get(workload_id)
        if workload is None:
            return frozenset()
        deployed = await self._deployments.last_successful(workload_id)
        specs = [workload.spec] if deployed is None else [workload.spec, deployed.spec]
        return frozenset(place.path for spec in specs for place in self._volumes.placed(spec))
