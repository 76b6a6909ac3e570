"""Promotions: a workload comes to run the very image that another one, of another stage, proved healthy with.

Only the image goes over, named by its registry's digest; the configuration of the containers and the data stay each
workload's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from holdfast.domain.changes import Change, changes
from holdfast.domain.deploy_plan import InstanceFacts
from holdfast.domain.deployment import Deployment, DeploymentState
from holdfast.domain.errors import Conflict
from holdfast.domain.told import Told, told
from holdfast.domain.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """What a promotion does.

    Attributes:
        source: the workload whose version goes over.
        deployment: the source's deployment that made what it runs.
        target: the workload that gets it.
        digest: the image (``name@sha256:…``), and the target's configured one afterwards.
        changes: what that changes of the target's present configuration.
    """

    source: Workload
    deployment: Deployment
    target: Workload
    digest: str
    changes: tuple[Change, ...]

    @property
    def told(self) -> Told:
        """For people, one line of a log."""
        return told(
            "promoted",
            "promoted from {workload} ({stage}), which runs {image} since the deployment {deployment}: {digest}",
            workload=self.source.name,
            stage=self.source.spec.stage,
            image=self.deployment.spec.image,
            deployment=self.deployment.id,
            digest=self.digest,
        )

    @property
    def source_then(self) -> Workload:
        """The source with the configuration that its instances were made with."""
        return replace(self.source, spec=self.deployment.spec)


def require_takes_image(workload: Workload) -> None:
    """Raises ``Conflict`` (``source_names_image``) where a plugin says which image a workload runs."""
    if workload.spec.plugin is not None:
        raise Conflict(
            "source_names_image",
            f"{workload.name} gets its image from its source {workload.spec.plugin.type}, and takes no other one.",
            next_step="Deploy it without naming an image; or apply a declaration with the source image.",
            details={"source": workload.spec.plugin.type},
        )


def promotion(
    source: Workload, target: Workload, deployed: Deployment | None, instances: Sequence[InstanceFacts]
) -> Promotion:
    """The promotion of what ``source`` runs to ``target``; whether it is healthy is still to be seen.

    Args:
        deployed: the deployment of the source that its running instances name; ``None`` where they name none.
        instances: the source's own, stopped ones included.

    Raises:
        Conflict: ``promotion_to_itself``, ``promotion_of_nothing``, ``promotion_unsettled``,
            ``promotion_without_digest``, ``source_names_image``.
    """
    if source.id == target.id:
        raise Conflict(
            "promotion_to_itself",
            f"{source.name} can't be promoted to itself.",
            next_step="Name another workload with --to.",
        )
    running = [instance for instance in instances if instance.running]
    if not running:
        raise Conflict(
            "promotion_of_nothing",
            f"{source.name} runs nothing, so there is no version to promote.",
            next_step=f"Deploy or start {source.name}, see that it works, then promote it.",
        )
    one = {instance.deployment_id for instance in running} == {deployed.id if deployed else None}
    if deployed is None or not one or deployed.state is not DeploymentState.SUCCEEDED:
        raise Conflict(
            "promotion_unsettled",
            f"What {source.name} runs is not of one successful deployment: it is being replaced, or was put there by "
            "other means.",
            next_step=f"See what it runs (holdfast status {source.name}); deploy it, then promote it.",
        )
    if deployed.digest is None:
        raise Conflict(
            "promotion_without_digest",
            f"{source.name} runs {deployed.spec.image}, to which no registry gave a digest: no name says that another "
            "workload gets exactly this image.",
            next_step="Push the image to a registry and deploy it from there; or deploy it by name.",
            details={"image": deployed.spec.image, "image_id": deployed.image_id},
        )
    require_takes_image(target)
    wanted = replace(target.spec, image=deployed.digest)
    return Promotion(
        source=source,
        deployment=deployed,
        target=target,
        digest=deployed.digest,
        changes=changes(target.spec, wanted),
    )
