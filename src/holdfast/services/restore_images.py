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
from holdfast.domain.workload import DesiredState, Workload
from holdfast.runtime.port import Container, ContainerRuntime
from holdfast.services.ran import Ran, RanVersions, image_of
from holdfast.services.restore_plan import PlannedImages, RestoreRequest

_OF_THE_IMAGE = ("image", "source")
_NAMED = 5
"""How many changed keys of a configuration are named."""


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
                warnings.append(f"{redeploy.image.reference} is not on this host yet, and is pulled first.")
                continue
            if redeploy.image.id and redeploy.image.digest is not None:
                to_pull.append(redeploy.image)
                warnings.append(f"{redeploy.image.words} is not on this host any more, and is pulled first.")
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
    ) -> list[str]:
        """Args: ``after``: what would run if the image of then were not asked for."""
        told: list[str] = []
        if after is None and request.with_image:
            runs = f"starting it runs {before.image.words}" if before else "it was never deployed"
            told.append(
                f"{workload.name} stays stopped, so that only its data returns: {runs}. "
                f"To run the image of then: holdfast deploy {workload.name} --image {manifest.image or 'IMAGE'}."
            )
        elif after is not None and then.id and then.id != after.id:
            if request.with_image:
                told.append(f"{then.words} is going to run, instead of {after.words}.")
                wished = await self._ran.last_wished(workload.id)
                if wished is None or wished.id != then.id:
                    told.append(f"Configured stays {workload.spec.image_words}: the next deploy returns to that.")
            else:
                told.append(
                    f"The snapshot was taken with {then.words}, and {after.words} is going to run on its data. "
                    "To return to the image of then as well, restore with --with-image (with_image)."
                    if request.cloned_from is None
                    else "To run that image on it, clone with --with-image (with_image)."
                )
        if request.cloned_from is not None:
            return told  # nothing of the other workload's configuration is looked at, let alone told
        spec = workload.spec if request.runs is None else request.runs.deployment.spec
        if manifest.config_hash and manifest.config_hash != spec.config_hash:
            told.append(await self._reconfigured(workload, manifest.config_hash))
        return told

    async def _reconfigured(self, workload: Workload, config_hash: str) -> str:
        spec = await self._ran.configured(workload.id, config_hash)
        found = changes(spec, workload.spec) if spec else ()
        paths = [change.path for change in found if change.path.partition(".")[0] not in _OF_THE_IMAGE]
        named = ", ".join(paths[:_NAMED]) + (f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else "")
        return (
            "The snapshot was taken with another configuration"
            + (f" (changed since: {named})" if named else "")
            + "; what runs on its data is configured as now."
        )


def _missing(redeploy: Redeploy) -> Problem:
    return Problem(
        code="image_missing",
        message=f"The image {redeploy.image.words} is not on this host.",
        next_step="Load or pull it, or restore without returning to the snapshot's image.",
        details={"image_id": redeploy.image.id, "workload_id": redeploy.workload_id},
    )
