"""Taking back deployments that a death of the server cut off.

What such a deployment made is removed, and what ran before it runs again if the workload is meant to run. Its record is
closed only afterwards, so that this can itself be cut off and repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from holdfast.domain.deployment import Deployment, DeploymentState
from holdfast.domain.errors import Failed, HoldfastError
from holdfast.domain.told import TextOrTold
from holdfast.domain.workload import DesiredState, Workload
from holdfast.runtime.port import LABEL_DEPLOYMENT, Container
from holdfast.services.data_returns import DataReturns, Returned
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.instances import Instances
from holdfast.services.locks import Held
from holdfast.services.operations import OperationContext
from holdfast.services.quiesce import facts_of
from holdfast.services.rollout import ENGINE_AWAY, Previous, Rollout


async def take_back_cut_off(
    held: Held,
    workload: Workload,
    *,
    records: DeployRecords,
    instances: Instances,
    rollout: Rollout,
    data: DataReturns,
    ctx: OperationContext | None = None,
) -> tuple[str, ...]:
    """Take back every deployment of a workload that never ended.

    Args:
        held: the proof that the workload's lock is held; hence none of them is still under way.
        ctx: the operation that it is a part of; without one, none whose data of before is due is taken back.

    Returns:
        The ids of those that were taken back. Without an engine they stay as they are, for the next time.
    """
    held.require(workload.id)
    taken_back: list[str] = []
    for cut_off in await records.cut_off(workload.id):
        fact, step = await data.told(cut_off) if await data.ran(cut_off) else ("", "")
        if await data.due(cut_off) and not await data.served(cut_off):
            if ctx is None:
                break
            returned = await data.bring_back(held, cut_off, ctx)
            if returned.how is not Returned.NOT_BACK:
                await records.end(cut_off, DeploymentState.INTERRUPTED, interrupted_with(_RETURNED[returned.how]))
                taken_back.append(cut_off.id)
                if returned.how is not Returned.BACK and returned.why is not None:
                    raise returned.why
                continue
        last = await records.last_successful(workload.id)
        previous = _before(workload, last, await instances.of(workload.id))
        outcome = "What ran before runs again." if previous.running else "Nothing of it is left."
        try:
            await rollout.bring_back(cut_off.id, previous, _Silent())
        except HoldfastError as error:
            if error.code == ENGINE_AWAY:
                break
            outcome = f"What ran before could not be brought back: {error.message}"
        interrupted = interrupted_with(f"{fact} {outcome}".lstrip(), step)
        await records.end(cut_off, DeploymentState.INTERRUPTED, interrupted)
        taken_back.append(cut_off.id)
    return tuple(taken_back)


def interrupted_with(outcome: str, step: str = "") -> Failed:
    """What a deployment ends with that a death of the server cut off.

    Args:
        outcome: how things are now, in sentences.
        step: what can be done besides deploying again.
    """
    return Failed(
        "deploy_interrupted",
        f"Holdfast stopped while this deployment was running. {outcome}",
        next_step=f"Deploy again. {step}".rstrip(),
    )


_RETURNED: Final = {
    Returned.BACK: "The data of before is back, and what ran before runs on it.",
    Returned.BACK_BUT_DOWN: "The data of before is back, but what ran before is not healthy on it.",
    Returned.UNDECIDED: "Bringing the data of before back waits for a decision.",
}


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

    def waiting(self, reason: TextOrTold) -> None:
        """Nobody is told."""
