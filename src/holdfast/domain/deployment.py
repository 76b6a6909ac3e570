"""Deployments: attempts to run a workload at one version."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from holdfast.domain.workload import WorkloadSpec


class DeploymentState(StrEnum):
    """How an attempt ended, or that it has not yet."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETURNED = "returned"
    """The new version failed its health gate and the previous one is running again."""
    INTERRUPTED = "interrupted"


class DeployReason(StrEnum):
    """The entry point through which a deployment came."""

    DEPLOY = "deploy"
    START = "start"
    ROLLBACK = "rollback"
    PROMOTE = "promote"
    WEBHOOK = "webhook"
    PREVIEW = "preview"
    RESTORE = "restore"
    RECONCILE = "reconcile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One attempt to run a workload at one version.

    Attributes:
        image_id: the engine's id of the image (``sha256:…``); what a rollback pins to.
        digest: the registry's digest (``name@sha256:…``), where one gave it.
        spec: the configuration of then.
        error: the failure as ``{"code", "message", "next_step"}``; ``None`` unless it failed.
    """

    id: str
    workload_id: str
    state: DeploymentState
    reason: DeployReason
    spec: WorkloadSpec
    image_id: str
    digest: str | None
    operation_id: str | None
    started_at: str
    finished_at: str | None = None
    error: dict[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnedImage:
    """A restore went back to another image than the one that somebody deployed last.

    Attributes:
        image: what runs now, by the name that it was deployed with.
        configured: what the next deployment brings.
    """

    image: str
    image_id: str
    configured: str

    @property
    def words(self) -> str:
        """For people."""
        short = self.image_id.removeprefix("sha256:")[:12]
        return (
            f"It runs {self.image} ({short}) by a restore; the next deploy returns to {self.configured}, as configured."
        )


def returned_image(configured: str, deployed: Deployment | None, wished: Deployment | None) -> ReturnedImage | None:
    """Whether what was last deployed is an image that a restore went back to.

    Args:
        configured: the image that the workload's configuration names now.
        deployed: its newest successful deployment.
        wished: its newest one that did not only repeat a version (a start, a restore, reconciliation).
    """
    if deployed is None or wished is None or deployed.image_id == wished.image_id:
        return None
    return ReturnedImage(image=deployed.spec.image, image_id=deployed.image_id, configured=configured)
