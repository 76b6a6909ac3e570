"""Promotions: what one workload runs and proved healthy with, another one gets; its image by digest, never its data."""

from __future__ import annotations

from holdfast.domain.deployment import DeployReason
from holdfast.domain.errors import Conflict
from holdfast.domain.operation import Operation, OperationKind
from holdfast.domain.promotion import Promotion, promotion
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.deployer import Deployer, DeployIntent
from holdfast.services.instances import Instances, instance_facts


class Promotions:
    """Shows what a promotion would do, and begins it. It passes the deployer's choke point like any deployment."""

    def __init__(self, *, deployer: Deployer, records: DeployRecords, instances: Instances) -> None:
        self._deployer = deployer
        self._records = records
        self._instances = instances

    async def plan(self, ref: str, to: str) -> Promotion:
        """What a promotion would do now. Asks the source's instances whether they are healthy.

        Args:
            ref: the id or name of the workload whose version goes over.
            to: that of the workload which gets it.

        Raises:
            NotFound: ``workload_unknown``.
            Conflict: ``promotion_unhealthy``, or as :func:`holdfast.domain.promotion.promotion`.
            Unavailable: the engine does not answer.
        """
        found = await self._found(ref, to)
        await self._require_healthy(found)
        return found

    async def promote(
        self,
        ref: str,
        to: str,
        deployment_id: str,
        *,
        accept_volumes: bool = False,
        actor: str,
        idempotency_key: str | None = None,
    ) -> Operation:
        """Have the workload ``to`` run what the workload ``ref`` runs.

        Args:
            deployment_id: the deployment of the source that is meant, as :meth:`plan` told it. Once the target's turn
                has come, the source must still run it, and healthy.

        Raises:
            NotFound: ``workload_unknown``.
            Conflict: ``promotion_outdated``, or as :func:`holdfast.domain.promotion.promotion`.
            Unavailable: the engine does not answer.
        """
        found = await self._meant(ref, to, deployment_id)

        async def still_so() -> None:
            await self._require_healthy(await self._meant(found.source.id, found.target.id, deployment_id))

        intent = DeployIntent(
            reason=DeployReason.PROMOTE,
            image=found.digest,
            accept_volumes=accept_volumes,
            note=found.told,
            require=still_so,
        )
        return await self._deployer.begin(
            OperationKind.PROMOTE, found.target.id, intent, actor=actor, idempotency_key=idempotency_key
        )

    async def _meant(self, ref: str, to: str, deployment_id: str) -> Promotion:
        found = await self._found(ref, to)
        if found.deployment.id != deployment_id:
            raise Conflict(
                "promotion_outdated",
                f"{found.source.name} no longer runs the deployment {deployment_id}, but {found.deployment.id} "
                f"({found.deployment.spec.image}).",
                next_step=f"Look at what it runs now, then promote that: "
                f"holdfast promote {found.source.name} --to {found.target.name} --dry-run",
                details={"wanted": deployment_id, "found": found.deployment.id},
            )
        return found

    async def _found(self, ref: str, to: str) -> Promotion:
        source, target = await self._records.workload(ref), await self._records.workload(to)
        instances = [instance_facts(container) for container in await self._instances.of(source.id)]
        named = next((instance.deployment_id for instance in instances if instance.running), "")
        return promotion(source, target, await self._records.get(named), instances)

    async def _require_healthy(self, found: Promotion) -> None:
        """Raises ``Conflict`` unless all that the source runs is healthy right now, judged as it was when deployed."""
        then = found.source_then
        if not await self._deployer.healthy_now(then):
            raise Conflict(
                "promotion_unhealthy",
                f"{found.source.name} runs {found.deployment.spec.image}, but is not healthy now.",
                next_step=f"Look at it: holdfast status {found.source.name}, holdfast logs {found.source.name}",
            )
