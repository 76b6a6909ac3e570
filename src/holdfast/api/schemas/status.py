"""How a workload is doing, on the wire."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from holdfast.api.schemas.deployment import DeploymentView
from holdfast.api.schemas.errors import ErrorView
from holdfast.api.schemas.schedule import ScheduleView
from holdfast.api.schemas.workload_view import ChangeView
from holdfast.domain.deployment import Deployment, DeploymentState
from holdfast.domain.snapshot import SafetyKept
from holdfast.domain.workload import DesiredState
from holdfast.runtime.port import ContainerState, ImageHealth
from holdfast.services.scheduler import Standing
from holdfast.services.workload_status import Condition, InstanceStatus, WorkloadStatus


class PublishedPortView(BaseModel):
    container_port: int
    host_port: int
    host_ip: str
    protocol: str


class InstanceView(BaseModel):
    """One container of a workload."""

    id: str
    name: str
    state: ContainerState
    health: Annotated[ImageHealth, Field(description="What the image's own health check says.")]
    image_id: str
    deployment_id: str
    current: Annotated[bool, Field(description="Whether it is of the last successful deployment.")]
    started_at: str
    finished_at: str
    restart_count: int
    exit_code: int | None
    oom_killed: bool
    ports: list[PublishedPortView]

    @classmethod
    def of(cls, instance: InstanceStatus) -> InstanceView:
        """The view of ``instance``."""
        return cls.model_validate(instance, from_attributes=True)


class DifferenceView(BaseModel):
    code: str
    message: str
    instance_id: Annotated[str, Field(description="The container concerned; empty if there is none.")]


class ReturnedImageView(BaseModel):
    """An image that a restore went back to; the configuration names another one, or another version of it."""

    image: Annotated[str, Field(description="What runs, by the name that it was deployed with.")]
    image_id: str
    configured: Annotated[str, Field(description="What the next deployment brings.")]
    words: Annotated[str, Field(description="The same, in a sentence.")]


class SafetyKeptView(BaseModel):
    """Safety snapshots that are still pinned: nothing but a person lets them go."""

    model_config = ConfigDict(from_attributes=True)

    count: int
    stored_bytes: Annotated[int, Field(description="What they added to the store, all together.")]
    oldest_id: Annotated[str, Field(description="Empty if there is none.")]
    oldest_at: Annotated[str, Field(description="Empty if there is none.")]


class StatusView(BaseModel):
    """A workload as it stands."""

    id: str
    name: str
    image: str
    condition: Annotated[Condition, Field(description="Its state in one word.")]
    desired: DesiredState
    instances: Annotated[list[InstanceView], Field(description="Newest first.")]
    last_deployment: Annotated[DeploymentView | None, Field(description="The newest attempt, successful or not.")]
    deployed: Annotated[DeploymentView | None, Field(description="The last successful deployment.")]
    differences: Annotated[list[DifferenceView], Field(description="Where what runs is not what was deployed.")]
    pending: Annotated[list[ChangeView], Field(description="Configured, but not deployed yet.")]
    returned: Annotated[
        ReturnedImageView | None,
        Field(description="Set where a restore went back to an image that a deployment would replace again."),
    ]
    busy: Annotated[str | None, Field(description="Who holds the workload right now, in words.")]
    undecided: Annotated[str | None, Field(description="Why a restore waits for a decision.")]
    engine_problem: Annotated[ErrorView | None, Field(description="Why nothing is known about the instances.")]
    domains: Annotated[list[str], Field(description="By which it is reached through the edge, as deployed last.")]
    edge_problem: Annotated[
        ErrorView | None,
        Field(description="Why it may not be reached by its domains; null while the edge serves them."),
    ]
    safety_snapshots: SafetyKeptView
    schedule: Annotated[ScheduleView | None, Field(description="That of its snapshots; null if none is in force.")]

    @classmethod
    def of(cls, status: WorkloadStatus, safety: SafetyKept, schedule: Standing | None) -> StatusView:
        """The view of ``status``, of the safety snapshots that are kept, and of the snapshots' schedule."""
        return cls(
            id=status.workload.id,
            name=status.workload.name,
            image=status.workload.spec.image_words,
            condition=status.condition,
            desired=status.desired,
            instances=[InstanceView.of(instance) for instance in status.instances],
            last_deployment=DeploymentView.of(status.last_deployment) if status.last_deployment else None,
            deployed=DeploymentView.of(status.deployed) if status.deployed else None,
            differences=[
                DifferenceView(code=d.code, message=d.message, instance_id=d.instance_id) for d in status.differences
            ],
            pending=[ChangeView.of(change) for change in status.pending],
            returned=ReturnedImageView.model_validate(status.returned, from_attributes=True)
            if status.returned
            else None,
            busy=status.busy,
            undecided=status.undecided,
            engine_problem=ErrorView.of_any(status.engine_problem),
            domains=[domain.name for domain in status.domains],
            edge_problem=ErrorView.of_any(status.edge_problem),
            safety_snapshots=SafetyKeptView.model_validate(safety),
            schedule=None if schedule is None else ScheduleView.of(schedule),
        )


class AttemptView(BaseModel):
    """A deployment in brief."""

    id: str
    state: DeploymentState
    image: str
    started_at: str
    finished_at: str | None

    @classmethod
    def of(cls, deployment: Deployment) -> AttemptView:
        """The view of ``deployment``."""
        return cls(
            id=deployment.id,
            state=deployment.state,
            image=deployment.spec.image_words,
            started_at=deployment.started_at,
            finished_at=deployment.finished_at,
        )


class StatusInBriefView(BaseModel):
    """A workload as it stands, as far as a list shows it. `GET /api/workloads/{workload}/status` tells the rest."""

    id: str
    name: str
    project: str
    stage: str
    image: Annotated[str, Field(description="As configured.")]
    condition: Annotated[Condition, Field(description="Its state in one word.")]
    desired: DesiredState
    running: Annotated[int, Field(description="So many of its instances run.")]
    last_deployment: Annotated[AttemptView | None, Field(description="The newest attempt, successful or not.")]
    deployed: Annotated[AttemptView | None, Field(description="The last successful deployment.")]
    pending: Annotated[bool, Field(description="Whether something is configured that is not deployed yet.")]
    busy: Annotated[str | None, Field(description="Who holds the workload right now, in words.")]
    undecided: Annotated[str | None, Field(description="Why a restore waits for a decision.")]
    engine_problem: Annotated[ErrorView | None, Field(description="Why nothing is known about the instances.")]
    edge_problem: Annotated[
        ErrorView | None,
        Field(description="Why it may not be reached by its domains; null while the edge serves them."),
    ]
    updated_at: Annotated[str, Field(description="When its configuration changed last.")]

    @classmethod
    def of(cls, status: WorkloadStatus) -> StatusInBriefView:
        """The view of ``status``."""
        spec = status.workload.spec
        return cls(
            id=status.workload.id,
            name=spec.name,
            project=spec.project,
            stage=spec.stage,
            image=spec.image_words,
            condition=status.condition,
            desired=status.desired,
            running=sum(instance.state is ContainerState.RUNNING for instance in status.instances),
            last_deployment=AttemptView.of(status.last_deployment) if status.last_deployment else None,
            deployed=AttemptView.of(status.deployed) if status.deployed else None,
            pending=bool(status.pending),
            busy=status.busy,
            undecided=status.undecided,
            engine_problem=ErrorView.of_any(status.engine_problem),
            edge_problem=ErrorView.of_any(status.edge_problem),
            updated_at=status.workload.updated_at,
        )
