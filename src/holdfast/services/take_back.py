"""Taking back deployments that a death of the server cut off.

What such a deployment made is removed, and what ran before it runs again if the workload is meant to run. Its record is
closed only afterwards, so that this can itself be cut off and repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from holdfast.domain.deployment import Deployment, DeploymentState
from holdfast.domain.errors import Failed, HoldfastError
from holdfast.domain.workload import DesiredState, Workload
from holdfast.runtime.port import LABEL_DEPLOYMENT, Container
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.instances import Instances
from holdfast.services.locks import Held
from holdfast.services.quiesce import facts_of
from holdfast.services.rollout import ENGINE_AWAY, Previous, Rollout


async def take_back_cut_off(
    held: Held, workload: Workload, *, records: DeployRecords, instances: Instances, rollout: Rollout
) -> tuple[str, ...]:
    """Take back every deployment of a workload that never ended.

    Args:
        held: the proof that the workload's lock is held; hence none of them is still under way.

    Returns:
        The ids of those that were taken back. Without an engine they stay as they are, for the next time.
    """
    held.require(workload.id)
    taken_back: list[str] = []
    for cut_off in await records.cut_off(workload.id):
        last = await records.last_successful(workload.id)
        previous = _before(workload, last, await instances.of(workload.id))
        outcome = "What ran before runs again." if previous.running else "Nothing of it is left."
        try:
            await rollout.bring_back(cut_off.id, previous, _Silent())
        except HoldfastError as error:
            if error.code == ENGINE_AWAY:
                break
            outcome = f"What ran before could not be brought back: {error.message}"
        interrupted = Failed(
            "deploy_interrupted",
            f"Holdfast stopped while this deployment was running. {outcome}",
            next_step="Deploy again.",
        )
        await records.end(cut_off, DeploymentState.INTERRUPTED, interrupted)
        await records.let_image_go(cut_off)
        taken_back.append(cut_off.id)
    return tuple(taken_back)


def _before(workload: Workload, last: Deployment | None, there: Sequence[Container]) -> Previous:
    """What an interrupted deployment found when it began, as far as it is to come back.

    Those are the instances of the last successful deployment, with the policy that it configured, if the workload is
    meant to run; else everything stays as it is.
    """
    if last is None or workload.desired is DesiredState.STOPPED:
        return Previous(workload=workload, containers=())
    return Previous(
        workload=replace(workload, spec=last.spec),
        containers=tuple(
            replace(facts_of(container), running=True, restart_policy=last.spec.restart)
            for container in there
            if container.labels.get(LABEL_DEPLOYMENT) == last.id
        ),
    )


class _Silent:
    """Waits for the engine without saying so; readiness does."""

    def waiting(self, reason: str) -> None:
        """Nobody is told."""
