"""What deployments change: what one would change now, and what one of before did. Of secrets only names are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from holdfast.domain.changes import Change, changes
from holdfast.domain.deployment import Deployment, DeploymentState
from holdfast.domain.errors import NotFound, Problem
from holdfast.domain.image_ref import parse_image_ref
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.sealed_values import SealedValues


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployPlan:
    """What a deployment would change.

    Attributes:
        image: what it would run.
        since: the newest successful deployment; ``None`` if there is none.
        changes: of the configuration since then.
        problems: why it would be refused, as far as the configuration's secrets go.
    """

    image: str
    since: Deployment | None
    changes: Sequence[Change]
    problems: Sequence[Problem]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentDetail:
    """One deployment.

    Attributes:
        before: the newest successful one before it; ``None`` if there is none.
        changes: of the configuration since that one.
    """

    deployment: Deployment
    before: Deployment | None
    changes: Sequence[Change]


class DeploymentChanges:
    """Compares configurations. Changes nothing and waits for nobody."""

    def __init__(self, *, records: DeployRecords, secrets: SealedValues) -> None:
        self._records = records
        self._secrets = secrets

    async def plan(self, ref: str, image: str | None = None) -> DeployPlan:
        """What deploying a workload now would change.

        Args:
            ref: the workload's id or name.
            image: another one than the configured.

        Raises:
            NotFound: ``workload_unknown``.
            InvalidInput: ``image_reference_malformed``.
        """
        workload = await self._records.workload(ref)
        spec = workload.spec
        if image is not None:
            parse_image_ref(image)
            spec = replace(spec, image=image)
        last = await self._records.last_successful(workload.id)
        return DeployPlan(
            image=spec.image_words,
            since=last,
            changes=changes(last.spec.declared if last else None, spec),
            problems=await self._secrets.problems(workload),
        )

    async def show(self, ref: str, deployment_id: str) -> DeploymentDetail:
        """A deployment, and what it changed.

        Raises:
            NotFound: ``workload_unknown``, ``deployment_unknown``.
        """
        workload = await self._records.workload(ref)
        found = await self._records.get(deployment_id)
        if found is None or found.workload_id != workload.id:
            raise NotFound(
                "deployment_unknown",
                f"{workload.name} has no deployment {deployment_id}.",
                next_step=f"See which there are: holdfast deployment list {workload.name}",
            )
        history = await self._records.history(workload.id, before=found.id)
        before = next((each for each in history if each.state is DeploymentState.SUCCEEDED), None)
        return DeploymentDetail(
            deployment=found, before=before, changes=changes(before.spec if before else None, found.spec)
        )
