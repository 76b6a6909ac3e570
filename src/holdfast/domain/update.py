"""When a workload is not deployed by itself, although its source names another image.

An update by a schedule does what a person would have done without thinking. Where thinking is needed, it waits for one.
"""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.domain.deployment import REPEATING, Deployment, DeploymentState, DeployReason
from holdfast.domain.told import Told, told
from holdfast.domain.workload import DesiredState, Workload


def held_back(workload: Workload, deployed: Deployment | None, wished: Deployment | None) -> Told | None:
    """Why a workload is left as it is before its source is asked; ``None`` if it isn't.

    Args:
        deployed: its newest successful deployment.
        wished: its newest one that did not only repeat a version (a start, a restore, reconciliation).
    """
    if workload.desired is DesiredState.STOPPED:
        return told("update_stopped", "it is stopped")
    if deployed is None or wished is None:
        return told("update_never_deployed", "it was never deployed")
    if wished.reason is DeployReason.ROLLBACK:
        return told(
            "update_rolled_back",
            "somebody went back to an earlier version, which stays until a person deploys another one",
        )
    if deployed.image_id != wished.image_id:
        return told(
            "update_restored",
            "a restore went back to an earlier version, which stays until a person deploys another one",
        )
    configured, then = workload.spec, deployed.spec.declared
    if (configured.config_hash, configured.source) != (then.config_hash, then.source):
        return told("update_configuration_changed", "its configuration was changed, which a person has to deploy")
    return None


def failed_before(image_id: str, history: Iterable[Deployment]) -> Deployment | None:
    """The attempt with this image that failed since another version was deployed: it isn't made again by itself.

    What only repeats a version, as a restore after a bad migration, says nothing of the image that failed; and what was
    broken off, by somebody or by a restart, was no fault of the image.

    Args:
        history: deployments of the workload, newest first.
    """
    for deployment in history:
        if deployment.state is DeploymentState.SUCCEEDED and deployment.reason not in REPEATING:
            return None
        if deployment.image_id == image_id and deployment.state in (DeploymentState.FAILED, DeploymentState.RETURNED):
            return deployment
    return None
