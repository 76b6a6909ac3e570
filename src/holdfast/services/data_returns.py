"""The data of before, where a deployment failed after its new version had run on it (``revert_data``).

- That it ran there is always told, with the command that brings the data back.
- With ``always`` it comes back at once, together with the version of before: by a restore of the snapshot from before
  the deployment, under the deployment's own lock. The version of before never runs on what the new one left.
- Not by itself where what would be set aside may be somebody's work: where a server that was away finds the new version
  running for longer than a trial takes, and where another writer may have gone on since the snapshot, the old version
  beside the new one (``blue_green``) or a workload that shares a volume.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from holdfast.domain.deployment import Deployment
from holdfast.domain.errors import HoldfastError
from holdfast.domain.restore import OnUnhealthy, RestoreResult
from holdfast.domain.times import parse
from holdfast.domain.workload import RevertData, Strategy
from holdfast.runtime.port import LABEL_DEPLOYMENT, Container
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.instances import Instances
from holdfast.services.locks import Held
from holdfast.services.operations import OperationContext
from holdfast.services.restore_plan import RestoreRequest, Runs
from holdfast.services.rollout import Rollout
from holdfast.services.sharing import Sharing

_SLACK: Final = 60.0
"""Seconds that a trial may take besides its health gate: the server's own restart."""

RestoreLocked = Callable[[OperationContext, Held, RestoreRequest], Awaitable[object]]
"""Carries out a restore as part of an operation that holds the locks already."""


class Returned(StrEnum):
    """What became of bringing the data of before back."""

    BACK = "back"
    """It is live, and what ran before runs on it."""
    BACK_BUT_DOWN = "back_but_down"
    """It is live, but what ran before is not healthy on it, or was not started."""
    NOT_BACK = "not_back"
    """All is as the new version left it, and nothing runs."""
    UNDECIDED = "undecided"
    """A person decides; until then nothing runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReturn:
    """How it ended, and why it did not end better."""

    how: Returned
    why: HoldfastError | None = None


_DOWN: Final = (RestoreResult.RESTORED_UNHEALTHY, RestoreResult.RESTORED_DEPLOY_FAILED)


class DataReturns:
    """Says what a failed deployment may have done to the data, and takes that back.

    Args:
        undecided: why a restore of the workload (by id) waits for a person; ``None`` if none does.
    """

    def __init__(
        self,
        *,
        records: DeployRecords,
        instances: Instances,
        rollout: Rollout,
        sharing: Sharing,
        undecided: Callable[[str], str | None],
        restore: RestoreLocked,
    ) -> None:
        self._records = records
        self._instances = instances
        self._rollout = rollout
        self._sharing = sharing
        self._undecided = undecided
        self._restore = restore

    async def ran(self, deployment: Deployment) -> bool:
        """Whether an instance of a deployment ran on data that it could write to. Asked before they are removed."""
        if all(volume.read_only for volume in deployment.spec.captured_volumes):
            return False
        try:
            there = await self._instances.of(deployment.workload_id)
        except HoldfastError:
            return True  # nobody can say that it did not
        return any(c.labels.get(LABEL_DEPLOYMENT) == deployment.id and c.ran for c in there)

    async def due(self, deployment: Deployment) -> bool:
        """Whether the data of before comes back by itself."""
        spec = deployment.spec
        if spec.revert_data is not RevertData.ALWAYS or deployment.snapshot_id is None:
            return False
        if spec.effective_strategy is not Strategy.RECREATE:
            return False
        workload = await self._records.workload(deployment.workload_id)
        last = await self._records.last_successful(workload.id)
        if last is None:
            return False
        sharers = await self._sharing.lockable(workload, replace(workload, spec=last.spec))
        return sharers == {workload.id} and await self.ran(deployment)

    async def served(self, deployment: Deployment) -> bool:
        """Whether an instance of a deployment that was cut off runs, and for longer than a trial takes."""
        longest = deployment.spec.health.deadline + _SLACK
        try:
            there = await self._instances.of(deployment.workload_id)
        except HoldfastError:
            return True  # nobody can say that it does not
        return any(_age(c) > longest for c in there if c.running and c.labels.get(LABEL_DEPLOYMENT) == deployment.id)

    async def bring_back(self, held: Held, deployment: Deployment, ctx: OperationContext) -> DataReturn:
        """Stop what a deployment made, and have the version of before run on the data of before. It is due."""
        workload = await self._records.workload(deployment.workload_id)
        last = await self._records.last_successful(workload.id)
        assert last is not None
        assert deployment.snapshot_id is not None
        ctx.on_cancel(None)
        ctx.outcome.pop("result", None)
        request = RestoreRequest(
            workload_id=workload.id,
            snapshot_id=deployment.snapshot_id,
            on_unhealthy=OnUnhealthy.KEEP,
            runs=Runs(deployment=last, adopt=False, laid_out=True, returns_from=deployment.id),
            actor=ctx.actor,
        )
        try:
            await self._rollout.stop_made(workload, deployment.id)
            await self._restore(ctx, held, request)
        except HoldfastError as error:
            if self._undecided(workload.id) is not None:
                return DataReturn(how=Returned.UNDECIDED, why=error)
            down = ctx.outcome.get("result") in _DOWN
            return DataReturn(how=Returned.BACK_BUT_DOWN if down else Returned.NOT_BACK, why=error)
        return DataReturn(how=Returned.BACK)

    async def told(self, deployment: Deployment) -> tuple[str, str]:
        """What to say where a deployment ran on the data and that stays as it is: the fact, and the next step."""
        fact = "The new version ran on the data, and may have changed it."
        last = await self._records.last_successful(deployment.workload_id)
        if deployment.snapshot_id is None or last is None:
            return f"{fact} No snapshot was taken before it.", ""
        if deployment.spec.revert_data is RevertData.NEVER:
            return f"{fact} It stays so (revert_data: never); before, it was as in {deployment.snapshot_id}.", ""
        command = f"holdfast rollback {deployment.spec.name} --to {last.id} --with-data"
        return fact, f"To have the data of before back as well: {command}"


def _age(container: Container) -> float:
    """For how many seconds a container has run; for ever, where its engine does not say since when."""
    try:
        return time.time() - parse(container.started_at).timestamp()
    except ValueError:
        return math.inf
