"""What runs of a workload, or ran last: the version and configuration that its data was last used with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from holdfast.domain.deployment import Deployment
from holdfast.domain.restore import ImageFacts
from holdfast.domain.workload import WorkloadSpec
from holdfast.runtime.port import LABEL_CONFIG, LABEL_DEPLOYMENT, LABEL_VERSION, LABEL_WORKLOAD, Container
from holdfast.services.deploy_records import DeployRecords


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A version with its configuration.

    Attributes:
        config_hash: as :attr:`WorkloadSpec.config_hash`.
        deployment_id: the deployment that it is of; empty if that is not known.
    """

    image: ImageFacts
    config_hash: str
    deployment_id: str = ""


class RanVersions:
    """Tells what ran, from containers and from the history of deployments."""

    def __init__(self, records: DeployRecords) -> None:
        self._records = records

    async def running(self, workload_id: str, containers: Iterable[Container]) -> Ran | None:
        """What the newest running instance runs; ``None`` if none runs.

        Args:
            containers: newest first; those of other workloads are passed over.
        """
        for container in containers:
            if container.running and container.labels.get(LABEL_WORKLOAD) == workload_id:
                deployment = await self._records.get(container.labels.get(LABEL_DEPLOYMENT, ""))
                reference = deployment.spec.image if deployment else container.labels.get(LABEL_VERSION, "")
                digest = deployment.digest if deployment else None
                return Ran(
                    image=ImageFacts(id=container.image_id, reference=reference, digest=digest),
                    config_hash=container.labels.get(LABEL_CONFIG, ""),
                    deployment_id=deployment.id if deployment else "",
                )
        return None

    async def last(self, workload_id: str) -> Ran | None:
        """What was last deployed successfully; ``None`` if nothing ever was."""
        deployment = await self._records.last_successful(workload_id)
        return None if deployment is None else _ran(deployment)

    async def last_wished(self, workload_id: str) -> ImageFacts | None:
        """The image that somebody last deployed on purpose, not one that a restore went back to."""
        deployment = await self._records.last_wished(workload_id)
        return None if deployment is None else _ran(deployment).image

    async def configured(self, workload_id: str, config_hash: str) -> WorkloadSpec | None:
        """The newest deployed configuration with this hash; ``None`` if none is remembered."""
        return next(
            (d.spec for d in await self._records.history(workload_id) if d.spec.config_hash == config_hash), None
        )


def _ran(deployment: Deployment) -> Ran:
    return Ran(
        image=image_of(deployment),
        config_hash=deployment.spec.config_hash,
        deployment_id=deployment.id,
    )


def image_of(deployment: Deployment) -> ImageFacts:
    """The image of a deployment, as it was called then."""
    return ImageFacts(id=deployment.image_id, reference=deployment.spec.image, digest=deployment.digest)
