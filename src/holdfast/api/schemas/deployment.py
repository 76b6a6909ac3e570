"""Deployments on the wire."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from holdfast.api.schemas.errors import ErrorView
from holdfast.api.schemas.snapshot import SnapshotView
from holdfast.api.schemas.workload_view import ChangeView
from holdfast.domain.deployment import Deployment, DeploymentState, DeployReason
from holdfast.domain.promotion import Promotion
from holdfast.domain.snapshot import Snapshot
from holdfast.services.deployment_changes import DeploymentDetail, DeployPlan
from holdfast.services.rollbacks import RollbackPlan


class DeployRequest(BaseModel, extra="forbid"):
    image: Annotated[
        str | None,
        Field(description="An image reference for this deployment and from now on.", min_length=1, max_length=512),
    ] = None
    accept_volumes: Annotated[
        bool,
        Field(description="Take the volumes' directories as they are now, although they are not the ones last seen."),
    ] = False


class RollbackRequest(BaseModel, extra="forbid"):
    deployment: Annotated[
        str, Field(description="The id of the successful deployment to return to.", min_length=1, max_length=64)
    ]
    accept_volumes: Annotated[
        bool,
        Field(description="Take the volumes' directories as they are now, although they are not the ones last seen."),
    ] = False
    with_data: Annotated[
        bool,
        Field(
            description="Return to the data of then as well: the snapshot from before the deployment by which that "
            "version was left."
        ),
    ] = False
    dry_run: Annotated[
        bool,
        Field(
            description="With `with_data`: check everything, tell what would change, touch nothing. Needs no "
            "confirmation. Without data, `GET` tells all there is to tell."
        ),
    ] = False

    @model_validator(mode="after")
    def _rehearses_data(self) -> Self:
        if self.dry_run and not self.with_data:
            raise ValueError("dry_run goes with with_data; what a rollback without data would do, GET tells")
        return self


class PromoteRequest(BaseModel, extra="forbid"):
    to: Annotated[str, Field(description="The workload that gets it, by id or name.", min_length=1, max_length=64)]
    deployment: Annotated[
        str,
        Field(description="The source's deployment that is meant, as the plan names it.", min_length=1, max_length=64),
    ]
    accept_volumes: Annotated[
        bool,
        Field(description="Take the volumes' directories as they are now, although they are not the ones last seen."),
    ] = False


class DeploymentView(BaseModel):
    """One attempt to run a workload at one version."""

    id: str
    workload_id: str
    state: DeploymentState
    reason: DeployReason
    image: Annotated[str, Field(description="The image reference of then.")]
    image_id: str
    digest: Annotated[str | None, Field(description="The registry's digest, where one gave it.")]
    config_hash: Annotated[str, Field(description="Names the configuration of then.")]
    operation_id: str | None
    snapshot_id: Annotated[
        str | None, Field(description="The snapshot of the data right before it: what the version before left.")
    ]
    started_at: str
    finished_at: str | None
    error: ErrorView | None

    @classmethod
    def of(cls, deployment: Deployment) -> DeploymentView:
        """The view of ``deployment``."""
        return cls(
            id=deployment.id,
            workload_id=deployment.workload_id,
            state=deployment.state,
            reason=deployment.reason,
            image=deployment.spec.image,
            image_id=deployment.image_id,
            digest=deployment.digest,
            config_hash=deployment.spec.config_hash,
            operation_id=deployment.operation_id,
            snapshot_id=deployment.snapshot_id,
            started_at=deployment.started_at,
            finished_at=deployment.finished_at,
            error=ErrorView.model_validate(deployment.error) if deployment.error else None,
        )


class DeploymentDetailView(DeploymentView):
    """A deployment, and what it changed. Of secrets only their names and when they were set are told."""

    before: Annotated[str | None, Field(description="The id of the newest successful deployment before it.")]
    changes: Annotated[list[ChangeView], Field(description="What it changed of the configuration since that one.")]

    @classmethod
    def of_detail(cls, detail: DeploymentDetail) -> DeploymentDetailView:
        """The view of ``detail``."""
        return cls(
            **dict(DeploymentView.of(detail.deployment)),
            before=detail.before.id if detail.before else None,
            changes=[ChangeView.of(change) for change in detail.changes],
        )


class DeployPlanView(BaseModel):
    """What deploying now would change. Of secrets only their names and when they were set are told."""

    image: Annotated[str, Field(description="What would run.")]
    since: Annotated[DeploymentView | None, Field(description="The newest successful deployment.")]
    changes: Annotated[list[ChangeView], Field(description="Of the configuration since then.")]
    problems: Annotated[list[ErrorView], Field(description="What of the workload's secrets forbids it.")]

    @classmethod
    def of(cls, plan: DeployPlan) -> DeployPlanView:
        """The view of ``plan``."""
        return cls(
            image=plan.image,
            since=DeploymentView.of(plan.since) if plan.since else None,
            changes=[ChangeView.of(change) for change in plan.changes],
            problems=[
                ErrorView(code=each.code, message=each.message, next_step=each.next_step, details=dict(each.details))
                for each in plan.problems
            ],
        )


class RollbackView(BaseModel):
    """What a rollback would do. The data stays as it is, unless it was asked for as well."""

    deployment: Annotated[DeploymentView, Field(description="What is returned to.")]
    changes: Annotated[list[ChangeView], Field(description="What that changes of the present configuration.")]
    image_here: Annotated[bool, Field(description="Whether its image is on this host; else its digest is pulled.")]
    snapshot: Annotated[
        SnapshotView | None, Field(description="With `with_data`: the data that returns; what that version left.")
    ]

    @classmethod
    def of(cls, plan: RollbackPlan, snapshot: Snapshot | None = None) -> RollbackView:
        """The view of ``plan``, with ``snapshot`` if the data returns as well."""
        return cls(
            deployment=DeploymentView.of(plan.rollback.to),
            changes=[ChangeView.of(change) for change in plan.rollback.changes],
            image_here=plan.image_here,
            snapshot=SnapshotView.of(snapshot) if snapshot else None,
        )


class PromotionView(BaseModel):
    """What a promotion would do. No data and no configuration of the source goes over."""

    source: Annotated[str, Field(description="The workload whose version goes over.")]
    deployment: Annotated[DeploymentView, Field(description="The source's deployment that it runs, and healthily.")]
    to: Annotated[str, Field(description="The workload that gets it.")]
    digest: Annotated[str, Field(description="The image; the one that `to` is configured with afterwards.")]
    changes: Annotated[list[ChangeView], Field(description="What that changes of the configuration of `to`.")]

    @classmethod
    def of(cls, promotion: Promotion) -> PromotionView:
        """The view of ``promotion``."""
        return cls(
            source=promotion.source.name,
            deployment=DeploymentView.of(promotion.deployment),
            to=promotion.target.name,
            digest=promotion.digest,
            changes=[ChangeView.of(change) for change in promotion.changes],
        )
