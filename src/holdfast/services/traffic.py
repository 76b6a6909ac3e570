"""Traffic: what the edge serves is what is deployed.

- Routes come from the database and the engine: the domains of the deployment whose instances run, and their addresses.
  What is served can be made anew at any time, and is: when the edge comes back, when an instance starts or ends.
- A workload that is being worked on is pinned: whoever works on it says what is served, until they let it go.
- A domain belongs to one workload, in its configuration and in what runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

import structlog

from holdfast.domain.deployment import DeploymentState, DeployReason
from holdfast.domain.edge import Route, Served, conflicts, routes
from holdfast.domain.errors import HoldfastError, Problem
from holdfast.domain.workload import Workload, WorkloadSpec
from holdfast.edge.port import Edge
from holdfast.runtime.port import LABEL_DEPLOYMENT, LABEL_WORKLOAD, Container, ContainerEvent
from holdfast.services.deploy_records import REPEATING, DeployRecords
from holdfast.services.instances import Instances

_TELLING: Final = frozenset({"start", "die", "destroy"})
"""What happens to a container that changes where it is reached."""


class Traffic:
    """Has the edge serve workloads.

    Args:
        edge: ``None``: there is none.
    """

    def __init__(self, *, edge: Edge | None, records: DeployRecords, instances: Instances) -> None:
        self._edge = edge
        self._records = records
        self._instances = instances
        self._pinned: dict[str, Served] = {}
        self._routes: tuple[Route, ...] = ()
        self._turn = asyncio.Lock()
        self._log = structlog.get_logger("traffic")
        self.changed = asyncio.Event()
        """Something may have to be served otherwise."""
        self.problem: HoldfastError | None = None
        """Why the edge does not serve what it should; ``None`` while it does."""

    @property
    def driven(self) -> bool:
        """Whether there is an edge."""
        return self._edge is not None

    async def conflicts(self, spec: WorkloadSpec) -> list[Problem]:
        """Which domains of a configuration belong to other workloads, as configured or as deployed."""
        if not spec.domains:
            return []
        taken = []
        for other in await self._records.workloads():
            if other.name != spec.name:
                last = await self._records.last_successful(other.id)
                taken.append((other.name, {*other.spec.domains, *(last.spec.domains if last else ())}))
        return conflicts(spec.domains, taken)

    async def problems(self, spec: WorkloadSpec, reason: DeployReason) -> list[Problem]:
        """What keeps a workload from being reached as configured; found before anything is touched.

        An edge that is not there keeps a version from being deployed, and none from running again.

        Raises:
            HoldfastError: as :meth:`holdfast.edge.port.Edge.serve`.
        """
        if not spec.domains or reason in REPEATING:
            return []
        if self._edge is None:
            return [
                Problem(
                    code="edge_off",
                    message=f"{spec.name} has domains, and Holdfast drives no edge that could serve them.",
                    next_step="Set edge to caddy, or to the address of a Caddy's admin API; or take the domains out.",
                )
            ]
        found = await self.conflicts(spec)
        if not found:
            await self.sync()
        return found

    async def switch(self, workload: Workload, container_ids: Sequence[str], reason: DeployReason) -> None:
        """Have requests go to these instances, and to no others of the workload, until :meth:`let_go`.

        Raises:
            HoldfastError: the edge can't; it serves what it did. Not where a version is only repeated: the edge is told
                as soon as it answers.
        """
        if self._edge is None or not (workload.spec.domains or workload.id in self._pinned):
            return
        there = [container for container in await self._instances.of(workload.id) if container.id in container_ids]
        before = self._pinned.get(workload.id)
        self._pinned[workload.id] = Served(domains=workload.spec.domains, addresses=_addresses(there))
        try:
            await self.sync()
        except HoldfastError as error:
            if reason not in REPEATING:
                self._pin(workload.id, before)
                self.changed.set()  # an answer that was lost may have been a yes
                raise
            self._log.warning("edge_not_told", workload=workload.name, code=error.code, reason=error.message)

    def let_go(self, workload_id: str) -> None:
        """Nobody works on the workload any more: what is deployed is served from now on."""
        self._pinned.pop(workload_id, None)
        self.changed.set()

    def happened(self, event: ContainerEvent) -> None:
        """Something happened to a container: it may be reached elsewhere, or no more."""
        if event.action in _TELLING:
            self.changed.set()

    async def sync(self, *, anew: bool = True) -> int:
        """Have the edge serve what it should.

        Args:
            anew: look what that is; ``False``: what it was when it was looked at last.

        Returns:
            How many domains it serves.

        Raises:
            HoldfastError: as :meth:`holdfast.edge.port.Edge.serve`; or the engine does not answer.
        """
        if self._edge is None:
            return 0
        async with self._turn:
            try:
                if anew:
                    self._routes = routes(await self._served())
                await self._edge.serve(self._routes)
            except HoldfastError as error:
                self.problem = error
                raise
            self.problem = None
            return sum(len(route.domains) for route in self._routes)

    def _pin(self, workload_id: str, served: Served | None) -> None:
        if served is None:
            del self._pinned[workload_id]
        else:
            self._pinned[workload_id] = served

    async def _served(self) -> list[Served]:
        everything = await self._instances.all()
        return [
            self._pinned.get(workload.id) or await self._as_deployed(workload, everything)
            for workload in await self._records.workloads()
        ]

    async def _as_deployed(self, workload: Workload, everything: Iterable[Container]) -> Served:
        """The last successful deployment; another one that runs in its place, as one that a restore kept does."""
        last = await self._records.last_successful(workload.id)
        running = [c for c in everything if c.labels.get(LABEL_WORKLOAD) == workload.id and c.running]
        found = [last.id] if last is not None else []
        for deployment_id in dict.fromkeys([*found, *(c.labels.get(LABEL_DEPLOYMENT, "") for c in running)]):
            its = [c for c in running if c.labels.get(LABEL_DEPLOYMENT) == deployment_id]
            deployment = await self._records.get(deployment_id) if its else None
            if deployment is not None and deployment.state is not DeploymentState.RUNNING:
                return Served(domains=deployment.spec.domains, addresses=_addresses(its))
        return Served(domains=last.spec.domains if last is not None else ())


def _addresses(containers: Iterable[Container]) -> tuple[str, ...]:
    return tuple(container.ip for container in containers if container.ip)
