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
