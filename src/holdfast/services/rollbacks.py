"""Rollbacks: a workload runs an earlier deployment's version again; its data stays as it is.

With its data: :mod:`holdfast.services.data_rollbacks`.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.domain.deployment import Deployment, DeploymentState, DeployReason, Rollback, version_before
from holdfast.domain.errors import Conflict, Forbidden, NotFound
from holdfast.domain.operation import Operation, OperationKind
from holdfast.domain.workload import Workload
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.deployer import Deployer, DeployIntent
from holdfast.services.image_source import ImageSource


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackPlan:
    """What a rollback would do.

    Attributes:
        image_here: whether its image is on this host; else it has to be pulled by its digest, if it has one.
    """

    rollback: Rollback
    image_here: bool


class Rollbacks:
    """Shows what a rollback would do, and begins it. It passes the deployer's choke point like any deployment."""

    def __init__(self, *, deployer: Deployer, records: DeployRecords, images: ImageSource) -> None:
        self._deployer = deployer
        self._records = records
        self._images = images

    async def plan(self, ref: str, deployment_id: str | None) -> RollbackPlan:
        """What a rollback would do now.

        Args:
            ref: the workload's id or name.
            deployment_id: where to; ``None``: what ran before the present version.

        Raises:
            NotFound: ``workload_unknown``, ``deployment_unknown``.
            Conflict: ``deployment_not_successful``, ``nothing_to_roll_back_to``.
            Unavailable: the engine does not answer.
        """
        workload = await self._records.workload(ref)
        if deployment_id is None:
            to = version_before(await self._records.history(workload.id))
            if to is None:
                raise Conflict(
                    "nothing_to_roll_back_to",
                    f"No other version of {workload.name} was deployed successfully before the present one.",
                    next_step=f"See what was deployed: holdfast deployment list {workload.name}",
                )
        else:
            to = await self.successful(workload, deployment_id)
        rollback = Rollback.of(workload, to)
        return RollbackPlan(rollback=rollback, image_here=await self._images.on_host(to.image_id))

    async def rollback(
        self,
        ref: str,
        deployment_id: str,
        *,
        accept_volumes: bool = False,
        volumes_of_others: bool = True,
        actor: str,
        idempotency_key: str | None = None,
    ) -> Operation:
        """Return to a deployment; the data stays. Asked for twice, it is done once: the second time it runs already.

        Args:
            volumes_of_others: whether it may bring back directories of the host and volumes of the engine's that the
                workload had then, and is not configured to have now.

        Raises:
            NotFound: ``workload_unknown``, ``deployment_unknown``.
            Conflict: ``deployment_not_successful``.
            Forbidden: ``rollback_volumes_forbidden``.
        """
        workload = await self._records.workload(ref)
        to = await self.successful(workload, deployment_id)
        now = workload.spec
        again = [each.target for each in to.spec.volumes if each.of_others and each not in now.volumes]
        again += [name for name in to.spec.networks if name not in now.networks]
        if again and not volumes_of_others:
            raise Forbidden(
                "rollback_volumes_forbidden",
                f"It would give {workload.name} back directories of the host, or volumes or networks of the engine's, "
                f"that it is not configured to have any more ({', '.join(again)}); that is for admins only.",
                next_step="Ask an admin. Nothing was changed.",
                details={"targets": again},
            )
        intent = DeployIntent(reason=DeployReason.ROLLBACK, to=to, accept_volumes=accept_volumes)
        return await self._deployer.begin(
            OperationKind.ROLLBACK, workload.id, intent, actor=actor, idempotency_key=idempotency_key
        )

    async def successful(self, workload: Workload, deployment_id: str) -> Deployment:
        """A deployment of a workload that can be returned to. Raises as :meth:`rollback`."""
        found = await self._records.get(deployment_id)
        listing = f"Choose one that succeeded: holdfast deployment list {workload.name}"
        if found is None or found.workload_id != workload.id:
            raise NotFound(
                "deployment_unknown", f"{workload.name} has no deployment {deployment_id}.", next_step=listing
            )
        if found.state is not DeploymentState.SUCCEEDED:
            raise Conflict(
                "deployment_not_successful",
                f"The deployment {deployment_id} did not succeed ({found.state.value}): there is nothing to return to.",
                next_step=listing,
            )
        return found
