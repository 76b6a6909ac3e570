"""Traffic: what the edge serves is what is deployed.

- Routes come from the database and the engine: the domains of the deployment whose instances run, and their addresses.
  What is served can be made anew at any time, and is: when the edge comes back, when an instance starts or ends.
- A workload that is being worked on is pinned: whoever works on it says what is served, until they let it go.
- A domain belongs to one workload, in its configuration and in what runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Final

import structlog

from holdfast.domain.deployment import REPEATING, DeploymentState, DeployReason
from holdfast.domain.edge import Served, conflicts, routes
from holdfast.domain.errors import HoldfastError, Problem, Refused
from holdfast.domain.workload import Workload, WorkloadSpec
from holdfast.edge.port import Edge
from holdfast.runtime.port import LABEL_DEPLOYMENT, LABEL_WORKLOAD, Container, ContainerEvent
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.health_gate import Clock
from holdfast.services.instances import Instances

_TELLING: Final = frozenset({"start", "die", "destroy"})
"""What happens to a container that changes where it is reached."""
_LOOKING: Final = 0.02
"""Seconds between two looks whether requests are under way."""
_PATIENCE: Final = 5.0
"""Seconds that what does not depend on the edge waits for it."""


class Traffic:
    """Has the edge serve workloads.

    Args:
        edge: ``None``: there is none.
    """

    def __init__(self, *, edge: Edge | None, records: DeployRecords, instances: Instances, clock: Clock) -> None:
        self._edge = edge
        self._clock = clock
        self._records = records
        self._instances = instances
        self._deployed: dict[str, Served] | None = None
        self._pinned: dict[str, Served] = {}
        self._turn = asyncio.Lock()
        self._log = structlog.get_logger("traffic")
        self.changed = asyncio.Event()
        """Something may have to be served otherwise."""
        self.problem: HoldfastError | None = None
        """Why the edge does not serve what it should; ``None`` while it does."""

    async def conflicts(self, spec: WorkloadSpec) -> list[Problem]:
        """Which domains of a configuration belong to other workloads, as configured or as deployed."""
        if not spec.domains:
            return []
        taken = []
        last_of_all = await self._records.last_successful_of_all()
        for other in await self._records.workloads():
            if other.name != spec.name:
                last = last_of_all.get(other.id)
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
            await self._sync_for(spec)
        return found

    async def switch(self, workload: Workload, container_ids: Collection[str], reason: DeployReason) -> None:
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
        if reason in REPEATING:
            await self._tell(())
            return
        try:
            await self._sync_for(workload.spec)
        except HoldfastError:
            self._pin(workload.id, before)
            self.changed.set()  # an answer that was lost may have been a yes
            raise

    async def drain(self, workload_id: str, seconds: float) -> bool:
        """Wait until what was served before the switch answers no request any more.

        Args:
            seconds: how long at most.

        Returns:
            Whether none is under way.
        """
        before = (self._deployed or {}).get(workload_id)
        upstreams = [] if before is None else [to for route in routes([before]) for to in route.upstreams]
        if self._edge is None or not upstreams:
            return True
        deadline = self._clock.monotonic() + seconds
        while await self._edge.under_way(upstreams):
            if self._clock.monotonic() >= deadline:
                return False
            await self._clock.sleep(_LOOKING)
        return True

    async def close(self, workload_ids: Iterable[str]) -> None:
        """Have whoever asks for these workloads be told to come back, until :meth:`let_go`.

        Never raises: what is about to be done does not wait for the edge.
        """
        if self._edge is None:
            return
        for workload_id in workload_ids:
            with suppress(HoldfastError):
                last = await self._records.last_successful(workload_id)
                if last is not None and last.spec.domains:
                    self._pinned[workload_id] = Served(domains=last.spec.domains)
        if not self._pinned.keys().isdisjoint(workload_ids):
            await self._tell(())

    async def let_go(self, workload_ids: Collection[str]) -> None:
        """Nobody works on these workloads any more: what is deployed is served. Never raises; the edge is watched."""
        if self._edge is None:
            return
        try:
            await self._tell(workload_ids, let_go=workload_ids)
        finally:
            self._unpin(workload_ids)

    def happened(self, event: ContainerEvent) -> None:
        """Something happened to a container: it may be reached elsewhere, or no more."""
        if event.action in _TELLING:
            self.changed.set()

    async def sync(self, *, look_at: Iterable[str] | None = None, let_go: Iterable[str] = ()) -> int:
        """Have the edge serve what it should.

        Args:
            look_at: the ids of the workloads whose instances are looked at first; ``None``: all.
            let_go: those on which nobody works any more, once they were looked at: never is served what ran before.

        Returns:
            How many domains it serves.

        Raises:
            HoldfastError: as :meth:`holdfast.edge.port.Edge.serve`; or the engine does not answer.
        """
        if self._edge is None:
            return 0
        async with self._turn:
            try:
                deployed = await self._look(look_at)
                self._unpin(let_go)
                found = routes((deployed | self._pinned).values())
                await self._edge.serve(found)
            except HoldfastError as error:
                self.problem = error
                raise
            self.problem = None
            return sum(len(route.domains) for route in found)

    async def _sync_for(self, spec: WorkloadSpec) -> None:
        """Have the edge serve what it should, as far as a workload is concerned: others' domains are others' trouble.

        Raises:
            HoldfastError: as :meth:`sync`.
        """
        try:
            await self.sync(look_at=())
        except Refused as refused:  # the domains that are named are not served; all others are
            names = {domain.name for domain in spec.domains}
            own = [problem for problem in refused.problems if problem.details.get("domain") in names]
            if own:
                raise Refused(own) from refused

    async def _tell(self, look_at: Iterable[str], *, let_go: Iterable[str] = ()) -> None:
        """Have the edge serve what it should, if it does so soon; else it is told by the watch."""
        try:
            async with asyncio.timeout(_PATIENCE):
                await self.sync(look_at=look_at, let_go=let_go)
        except (HoldfastError, TimeoutError) as error:
            self._deployed = None
            self.changed.set()
            self._log.warning("edge_not_told", reason=str(error) or "it does not answer in time")

    def _unpin(self, workload_ids: Iterable[str]) -> None:
        for workload_id in workload_ids:
            self._pinned.pop(workload_id, None)

    def _pin(self, workload_id: str, served: Served | None) -> None:
        if served is None:
            del self._pinned[workload_id]
        else:
            self._pinned[workload_id] = served

    async def _look(self, at: Iterable[str] | None) -> dict[str, Served]:
        """What is deployed: looked at now, or when it was looked at last."""
        if at is None or self._deployed is None:
            everything = await self._instances.all()
            workloads = await self._records.workloads()
            self._deployed = {w.id: await self._as_deployed(w.id, everything) for w in workloads}
            return self._deployed
        for workload_id in at:
            self._deployed[workload_id] = await self._as_deployed(workload_id, await self._instances.of(workload_id))
        return self._deployed

    async def _as_deployed(self, workload_id: str, everything: Iterable[Container]) -> Served:
        """The last successful deployment; another one that runs in its place, as one that a restore kept does."""
        last = await self._records.last_successful(workload_id)
        running = [c for c in everything if c.labels.get(LABEL_WORKLOAD) == workload_id and c.running]
        found = [last.id] if last is not None else []
        for deployment_id in dict.fromkeys([*found, *(c.labels.get(LABEL_DEPLOYMENT, "") for c in running)]):
            its = [c for c in running if c.labels.get(LABEL_DEPLOYMENT) == deployment_id]
            deployment = await self._records.get(deployment_id) if its else None
            if deployment is not None and deployment.state is not DeploymentState.RUNNING:
                return Served(domains=deployment.spec.domains, addresses=_addresses(its))
        return Served(domains=last.spec.domains if last is not None else ())


def _addresses(containers: Iterable[Container]) -> tuple[str, ...]:
    return tuple(container.ip for container in containers if container.ip)
