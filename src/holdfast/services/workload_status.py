"""How a workload is doing: what is wanted, what runs, and where the two differ.

Pure but for its inputs: :class:`holdfast.services.workloads.Workloads` looks, this puts together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from holdfast.domain.changes import Change, changes
from holdfast.domain.deploy_plan import Difference, differences
from holdfast.domain.deployment import Deployment, ReturnedImage, returned_image
from holdfast.domain.errors import HoldfastError
from holdfast.domain.workload import DesiredState, Domain, Port, Workload
from holdfast.runtime.port import LABEL_DEPLOYMENT, Container, ContainerState, ImageHealth
from holdfast.services.instances import instance_facts


class Condition(StrEnum):
    """A workload's state in one word."""

    NEVER_DEPLOYED = "never_deployed"
    RUNNING = "running"
    DEGRADED = "degraded"
    """It should run, and does, but not as it was deployed."""
    UNHEALTHY = "unhealthy"
    """It runs, and its image's own health check fails."""
    DOWN = "down"
    """It should run, and doesn't."""
    STOPPED = "stopped"
    UNDECIDED = "undecided"
    """A restore waits for a person's decision."""
    UNKNOWN = "unknown"
    """The container engine doesn't answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceStatus:
    """One container of the workload. Times as the engine gave them.

    Attributes:
        current: whether it is of the last successful deployment.
    """

    id: str
    name: str
    state: ContainerState
    health: ImageHealth
    image_id: str
    deployment_id: str
    current: bool
    started_at: str
    finished_at: str
    restart_count: int
    exit_code: int | None
    oom_killed: bool
    ports: tuple[Port, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadStatus:
    """A workload as it stands.

    Attributes:
        instances: newest first; empty as well while the engine doesn't answer.
        last_deployment: the newest attempt, successful or not.
        deployed: the last successful deployment.
        differences: where what runs is not what was deployed (something done by hand, or died).
        pending: configured, but not deployed yet; the next deploy brings it.
        returned: set where a restore went back to an image that a deploy would replace again.
        busy: who holds the workload right now (``restore 01j…``).
        undecided: why a restore waits for a decision.
        engine_problem: why nothing is known about the instances.
        edge_problem: why it may not be reached by its domains.
    """

    workload: Workload
    condition: Condition
    desired: DesiredState
    instances: tuple[InstanceStatus, ...]
    last_deployment: Deployment | None
    deployed: Deployment | None
    differences: tuple[Difference, ...]
    pending: tuple[Change, ...]
    returned: ReturnedImage | None = None
    busy: str | None = None
    undecided: str | None = None
    engine_problem: HoldfastError | None = None
    edge_problem: HoldfastError | None = None

    @property
    def domains(self) -> tuple[Domain, ...]:
        """By which names it is reached, as it was deployed last."""
        return self.deployed.spec.domains if self.deployed is not None else ()


def assess(
    workload: Workload,
    *,
    containers: Sequence[Container],
    last_deployment: Deployment | None,
    deployed: Deployment | None,
    wished: Deployment | None = None,
    busy: str | None = None,
    undecided: str | None = None,
    engine_problem: HoldfastError | None = None,
    edge_problem: HoldfastError | None = None,
) -> WorkloadStatus:
    """Put a status together.

    Args:
        containers: the workload's own, newest first.
        wished: the last successful deployment that somebody asked for; see :func:`returned_image`.
        engine_problem: set where ``containers`` could not be asked for.
        edge_problem: why the edge does not serve what it should.
    """
    found: list[Difference] = []
    if engine_problem is None:
        found = differences(workload.desired, deployed, [instance_facts(container) for container in containers])
    deployed_id = deployed.id if deployed is not None else ""
    instances = tuple(_instance(container, deployed_id) for container in containers)
    if undecided is not None:
        condition = Condition.UNDECIDED
    elif engine_problem is not None:
        condition = Condition.UNKNOWN
    else:
        condition = _condition(workload.desired, deployed, containers, found)
    return WorkloadStatus(
        workload=workload,
        condition=condition,
        desired=workload.desired,
        instances=instances,
        last_deployment=last_deployment,
        deployed=deployed,
        differences=tuple(found),
        pending=changes(deployed.spec, workload.spec) if deployed is not None else (),
        returned=returned_image(workload.spec.image_words, deployed, wished),
        busy=busy,
        undecided=undecided,
        engine_problem=engine_problem,
        edge_problem=edge_problem if deployed is not None and deployed.spec.domains else None,
    )


def _condition(
    desired: DesiredState, deployed: Deployment | None, containers: Sequence[Container], found: Sequence[Difference]
) -> Condition:
    running = [c for c in containers if c.running]
    if not running:
        if deployed is None:
            return Condition.NEVER_DEPLOYED
        return Condition.DOWN if desired is DesiredState.RUNNING else Condition.STOPPED
    if any(c.health is ImageHealth.UNHEALTHY for c in running):
        return Condition.UNHEALTHY
    unsteady = any(c.state is not ContainerState.RUNNING for c in running)
    return Condition.DEGRADED if found or unsteady else Condition.RUNNING


def _instance(container: Container, deployed_id: str) -> InstanceStatus:
    deployment_id = container.labels.get(LABEL_DEPLOYMENT, "")
    return InstanceStatus(
        id=container.id,
        name=container.name,
        state=container.state,
        health=container.health,
        image_id=container.image_id,
        deployment_id=deployment_id,
        current=bool(deployment_id) and deployment_id == deployed_id,
        started_at=container.started_at,
        finished_at=container.finished_at,
        restart_count=container.restart_count,
        exit_code=container.exit_code,
        oom_killed=container.oom_killed,
        ports=container.ports,
    )
