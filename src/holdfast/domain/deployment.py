"""Deployments: attempts to run a workload at one version."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from holdfast.domain.changes import Change, changes
from holdfast.domain.times import parse
from holdfast.domain.told import Told, told
from holdfast.domain.workload import Workload, WorkloadSpec

KEPT_VERSIONS: Final = 10
"""So many images of a workload stay on the host, the present one among them."""


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
    UPDATE = "update"
    """By a schedule: the configured name meant another image."""
    RESTORE = "restore"
    RECONCILE = "reconcile"


REPEATING: Final = (DeployReason.START, DeployReason.RESTORE, DeployReason.RECONCILE)
"""Deployments for these reasons repeat a version that somebody had deployed for another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One attempt to run a workload at one version.

    Attributes:
        image_id: the engine's id of the image (``sha256:…``); what a rollback pins to.
        digest: the registry's digest (``name@sha256:…``), where one gave it.
        spec: the configuration of then.
        snapshot_id: the snapshot of the data right before it: what the version before left. ``None`` if there is none.
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
    snapshot_id: str | None = None
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """What a rollback does: a workload returns to a deployment of before, its image and its configuration of then.

    What says which snapshots are kept stays as it is: returning to an earlier version must not let data go. So does
    when it is looked for newer images.

    Attributes:
        to: the deployment that is returned to.
        spec: the configuration afterwards.
        changes: what that changes of the present configuration.
    """

    to: Deployment
    spec: WorkloadSpec
    changes: tuple[Change, ...]

    @property
    def told(self) -> Told:
        """For people, one line of a log."""
        back = told(
            "rolls_back",
            "back to the deployment {deployment} of {at}: {image} ({id})",
            deployment=self.to.id,
            at=parse(self.to.started_at),
            image=self.to.spec.image,
            id=self.to.image_id.removeprefix("sha256:")[:12],
        )
        if not self.changes:
            return back
        keys = [change.path for change in self.changes]
        return told("rolls_back_configuration", "{back}, configuration: {keys}", back=back, keys=keys)

    @classmethod
    def of(cls, workload: Workload, to: Deployment) -> Rollback:
        """The rollback of a workload, as it is configured now, to one of its deployments."""
        now = workload.spec
        spec = replace(
            to.spec,
            revert_data=now.revert_data,
            time_zone=now.time_zone,
            snapshots=now.snapshots,
            hooks=now.hooks,
            updates=now.updates,
        )
        return cls(to=to, spec=spec, changes=changes(workload.spec, spec))


def version_before(history: Iterable[Deployment]) -> Deployment | None:
    """What a rollback returns to where nobody says it.

    Args:
        history: deployments of one workload, newest first.

    Returns:
        The newest successful one of another version (image, or configuration of the containers) than the newest
        successful one: what ran before the present version was deployed.
    """
    successful = [deployment for deployment in history if deployment.state is DeploymentState.SUCCEEDED]
    return next((each for each in successful[1:] if not same_version(each, successful[0])), None)


def kept_deployments(history: Iterable[Deployment]) -> frozenset[str]:
    """The ids of the deployments whose images stay on the host: what a rollback can go back to without a registry.

    Args:
        history: deployments of one workload, newest first.

    Returns:
        Of the successful ones the newest of each of the last :data:`KEPT_VERSIONS` images, and all that came since the
        oldest of these: a workload that is restarted again and again must not lose what it could go back to.
    """
    successful = [deployment for deployment in history if deployment.state is DeploymentState.SUCCEEDED]
    images: set[str] = set()
    ids = set()
    for deployment in successful:
        if deployment.image_id not in images and len(images) == KEPT_VERSIONS:
            break
        images.add(deployment.image_id)
        ids.add(deployment.id)
    return frozenset(ids)


def left_by(history: Iterable[Deployment], to: Deployment) -> Deployment | None:
    """By which deployment a workload left the version of ``to``, so that the snapshot before it is what that left.

    Args:
        history: deployments of the workload, newest first.

    Returns:
        The oldest successful one after ``to`` of another version; if that version is still the present one, the newest
        attempt to leave it that failed with a snapshot of its own; ``None`` if there was none.
    """
    after = [each for each in history if each.id > to.id]
    successful = [each for each in after if each.state is DeploymentState.SUCCEEDED]
    left = next((each for each in reversed(successful) if not same_version(each, to)), None)
    if left is not None:
        return left
    failed = [each for each in after if each.state in _FAILED and each.snapshot_id is not None]
    return failed[0] if failed else None


_FAILED: Final = frozenset({DeploymentState.FAILED, DeploymentState.RETURNED, DeploymentState.INTERRUPTED})


def same_version(one: Deployment, other: Deployment) -> bool:
    """Whether two deployments make the same containers."""
    return (one.image_id, one.spec.config_hash) == (other.image_id, other.spec.config_hash)
