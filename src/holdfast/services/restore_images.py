"""The images of a restore: what runs on the restored data, whether it can, and what a person should know about it.

Code and data fit each other or they don't; a restore moves the data. So it says which version wrote it and which one is
going to read it, and returns to the version of then only if it is asked to.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.domain.changes import changes
from holdfast.domain.errors import Problem
from holdfast.domain.restore import ImageFacts, Redeploy
from holdfast.domain.snapshot import SnapshotManifest
from holdfast.domain.told import Told, some, told
from holdfast.domain.workload import DesiredState, Workload
from holdfast.runtime.port import Container, ContainerRuntime
from holdfast.services.ran import Ran, RanVersions, image_of
from holdfast.services.restore_plan import PlannedImages, RestoreRequest

_OF_THE_IMAGE = ("image", "source")


class RestoreImages:
    """Plans the images of restores."""

    def __init__(self, *, runtime: ContainerRuntime, ran: RanVersions) -> None:
        self._runtime = runtime
        self._ran = ran

    async def plan(
        self,
        request: RestoreRequest,
        workload: Workload,
        manifest: SnapshotManifest,
        own: Sequence[Container],
        lock_ids: Sequence[str],
    ) -> PlannedImages:
        """What will run: what runs now, pinned by id; the last version if it should run and doesn't; or that of then.

        Args:
            own: the containers of the locked workloads, newest first.
        """
        before = await self._ran.running(workload.id, own)
        after = before.image if before else None
        if before is None:
            before = await self._ran.last(workload.id)
            after = before.image if before and workload.desired is DesiredState.RUNNING else None
        after = request.starts or after
        runs = request.runs
        if runs is not None and (runs.adopt or after is not None):
            after = image_of(runs.deployment)
        then = ImageFacts(id=manifest.image_id, reference=manifest.image, digest=manifest.image_digest)
        warnings = await self._warnings(request, workload, manifest, then, before, after)
        if after is not None and request.with_image:
            after = then
        redeploys = []
        for workload_id in lock_ids:
            image = after
            if workload_id != workload.id:
                running = await self._ran.running(workload_id, own)
                image = running.image if running else None
            if image is not None:
                own_one = workload_id == workload.id
                redeploys.append(
                    Redeploy(
                        workload_id=workload_id,
                        image=image,
                        first=own_one and request.starts is not None,
                        as_deployed=runs.deployment.id if own_one and runs else "",
                        adopt=own_one and runs is not None and runs.adopt,
                    )
                )
        problems, to_pull = [], []
        for redeploy in redeploys:
            if redeploy.image.id and await self._runtime.image(redeploy.image.id) is not None:
                continue
            if redeploy.image == request.starts and not redeploy.image.id and not request.with_image:
                warnings.append(
                    told(
                        "image_pulled_first",
                        "{image} is not on this host yet, and is pulled first.",
                        image=redeploy.image.reference,
                    )
                )
                continue
            if redeploy.image.id and redeploy.image.digest is not None:
                to_pull.append(redeploy.image)
                warnings.append(
                    told(
                        "image_pulled_again",
                        "{image} is not on this host any more, and is pulled first.",
                        image=redeploy.image.words,
                    )
                )
            else:
                problems.append(_missing(redeploy))
        return PlannedImages(
            before=before,
            redeploys=tuple(redeploys),
            to_pull=tuple(to_pull),
            problems=tuple(problems),
            warnings=tuple(warnings),
        )

    async def _warnings(
        self,
        request: RestoreRequest,
        workload: Workload,
        manifest: SnapshotManifest,
        then: ImageFacts,
        before: Ran | None,
        after: ImageFacts | None,
    ) -> list[Told]:
        """Args: ``after``: what would run if the image of then were not asked for."""
        warnings: list[Told] = []
        if after is None and request.with_image:
            warnings.append(_stays_stopped(workload, before, manifest.image or "IMAGE"))
        elif after is not None and then.id and then.id != after.id:
            if request.with_image:
                warnings.append(
                    told(
                        "restore_other_image",
                        "{then} is going to run, instead of {after}.",
                        then=then.words,
                        after=after.words,
                    )
                )
                wished = await self._ran.last_wished(workload.id)
                if wished is None or wished.id != then.id:
                    warnings.append(
                        told(
                            "restore_image_configured",
                            "Configured stays {image}: the next deploy returns to that.",
                            image=workload.spec.image_words,
                        )
                    )
            else:
                warnings.append(_taken_with(then, after, cloned=request.cloned_from is not None))
        if request.cloned_from is not None:
            return warnings  # nothing of the other workload's configuration is looked at, let alone told
        spec = workload.spec if request.runs is None else request.runs.deployment.spec
        if manifest.config_hash and manifest.config_hash != spec.config_hash:
            warnings.append(await self._reconfigured(workload, manifest.config_hash))
        return warnings

    async def _reconfigured(self, workload: Workload, config_hash: str) -> Told:
        spec = await self._ran.configured(workload.id, config_hash)
        found = changes(spec, workload.spec) if spec else ()
        paths = [change.path for change in found if change.path.partition(".")[0] not in _OF_THE_IMAGE]
        if not paths:
            return told(
                "restore_other_configuration",
                "The snapshot was taken with another configuration; what runs on its data is configured as now.",
            )
        return told(
            "restore_changed_configuration",
            "The snapshot was taken with another configuration (changed since: {keys}); what runs on its data is "
            "configured as now.",
            keys=some(paths),
        )


def _stays_stopped(workload: Workload, before: Ran | None, image: str) -> Told:
    if before is None:
        return told(
            "restore_never_deployed",
            "{workload} stays stopped, so that only its data returns: it was never deployed. To run the image of then: "
            "holdfast deploy {workload} --image {image}.",
            workload=workload.name,
            image=image,
        )
    return told(
        "restore_stays_stopped",
        "{workload} stays stopped, so that only its data returns: starting it runs {runs}. To run the image of then: "
        "holdfast deploy {workload} --image {image}.",
        workload=workload.name,
        runs=before.image.words,
        image=image,
    )


def _taken_with(then: ImageFacts, after: ImageFacts, *, cloned: bool) -> Told:
    if cloned:
        return told(
            "clone_taken_with",
            "The snapshot was taken with {then}, and {after} is going to run on its data. To run that image on it, "
            "clone it with its image (--with-image).",
            then=then.words,
            after=after.words,
        )
    return told(
        "restore_taken_with",
        "The snapshot was taken with {then}, and {after} is going to run on its data. To return to the image of then "
        "as well, restore it with its image (--with-image).",
        then=then.words,
        after=after.words,
    )


def _missing(redeploy: Redeploy) -> Problem:
    return Problem(
        code="image_missing",
        message=f"The image {redeploy.image.words} is not on this host.",
        next_step="Load or pull it, or restore without returning to the snapshot's image.",
        details={"image_id": redeploy.image.id, "workload_id": redeploy.workload_id},
    )
