"""Caring for images: those that no kept deployment needs leave the host.

- Only images that Holdfast itself has deployed are looked at: they have names of its own (``image_source.py``).
- What a workload could go back to without a registry stays (``kept_deployments`` says what that is). So does what an
  unfinished deployment or restore needs, and whatever any container on this host was made of, also a stranger's.
- A prune lets go of nothing that a workload once ran while that is at work: it may be about to go back to it.
- An image that a registry can give again loses the names under which it came from there as well, and so goes. One
  that somebody gave another name, or that was built on this host, only loses Holdfast's own names, and never its last.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from holdfast.domain.deployment import DeploymentState, kept_deployments
from holdfast.domain.errors import Busy, Conflict, HoldfastError, InvalidInput
from holdfast.domain.image_ref import parse_image_ref
from holdfast.domain.operation import Operation, OperationKind
from holdfast.domain.told import Told, told
from holdfast.runtime.port import ContainerRuntime, ListedImage
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.image_source import KEPT_REPOSITORY
from holdfast.services.locks import LifecycleLocks
from holdfast.services.operations import OperationContext, Operations


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptImage:
    """An image that Holdfast has deployed, and keeps.

    Attributes:
        names: those of others: what it was built or pulled as, and by which another Holdfast on this host keeps it.
        digests: those of registries (``name@sha256:…``) that gave it.
        size: bytes; layers that it shares with other images are counted in each.
        needed_by: names of workloads that run it or can go back to it; the id of one that is gone.
        unneeded: Holdfast's own names on it that nothing needs any more.
    """

    id: str
    names: tuple[str, ...]
    digests: tuple[str, ...]
    size: int
    needed_by: tuple[str, ...]
    unneeded: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What becomes of an image that nothing needs.

    Attributes:
        names: what is taken away from it, in this order.
        goes: whether it leaves the host with them.
        why_not: why it doesn't; empty if it does.
    """

    image: KeptImage
    names: tuple[str, ...]
    goes: bool
    why_not: str


class ImageCare:
    """Lists the images that are kept, and lets go of those that nothing needs.

    Args:
        installation: the id of this Holdfast.
        restore_pending: whether a restore of the workload (by id) is unfinished.
    """

    def __init__(
        self,
        *,
        runtime: ContainerRuntime,
        installation: str,
        records: DeployRecords,
        operations: Operations,
        restore_pending: Callable[[str], bool],
        locks: LifecycleLocks,
    ) -> None:
        self._runtime = runtime
        self._locks = locks
        self._prefix: Final = f"{KEPT_REPOSITORY}/{installation}/"
        self._records = records
        self._operations = operations
        self._restore_pending = restore_pending

    async def kept(self) -> tuple[KeptImage, ...]:
        """Every image that carries a name of this Holdfast, largest first. Raises ``Unavailable``."""
        found = await self._looked_at([image for image in await self._runtime.images() if self._own(image)])
        return tuple(sorted(found, key=lambda image: (-image.size, image.id)))

    async def prune(self, *, dry_run: bool, actor: str) -> Operation:
        """Start letting go of all images that nothing needs. The outcome lists them."""

        async def run(ctx: OperationContext) -> dict[str, object]:
            removals = await self._removals(await self.kept())
            done = [(each, None) if dry_run else await self._let_go(each, ctx) for each in removals]
            gone = [each for each, failure in done if each.goes and failure is None]
            return {
                "dry_run": dry_run,
                "freed_bytes": sum(each.image.size for each in gone),
                "images": [
                    {
                        "id": each.image.id,
                        "names": list(each.image.names),
                        "size": each.image.size,
                        "removed": each in gone,
                        "reason": failure or each.why_not,
                    }
                    for each, failure in done
                ],
            }

        return await self._operations.start(OperationKind.PRUNE_IMAGES, None, actor, run)

    async def tidy(self, workload_id: str, ctx: OperationContext) -> None:
        """Let go of the images that a workload needs no longer. What fails is logged: it does no harm."""
        try:
            images = [image for image in await self._runtime.images() if self._names_for(workload_id, image)]
            needed = await self._needed_by(workload_id)
            if needed is None or all(
                _deployment(name) in needed for image in images for name in self._names_for(workload_id, image)
            ):
                return  # as mostly, and without a look at what all other workloads need
            found = await self._looked_at(images)
            own = [image for image in found if any(self._owner(name) == workload_id for name in image.unneeded)]
            for removal in await self._removals(own):
                await self._remove(removal, ctx)
        except HoldfastError as error:
            ctx.log(
                told(
                    "images_not_looked_for",
                    "images that are no longer needed were not looked for: {why}",
                    why=Told.of(error),
                ),
                "warning",
            )

    async def _let_go(self, removal: Removal, ctx: OperationContext) -> tuple[Removal, str | None]:
        """Let go of an image, unless a workload that once ran it is at work: it may be on its way back to it.

        Returns:
            What became of it, and why it stays, if that was not meant.
        """
        if not removal.names:
            return removal, None
        owners = {self._owner(name) for name in removal.image.unneeded}
        try:
            async with self._locks.hold_briefly(owners, told("an_image_prune", "image prune {id}", id=ctx.id)):
                there = [image for image in await self._runtime.images() if image.id == removal.image.id]
                for now in await self._removals(await self._looked_at(there)):
                    return now, await self._remove(now, ctx)
        except Busy as busy:
            return removal, busy.message
        return replace(removal, goes=False, why_not="it is needed by now"), None

    async def _removals(self, images: Iterable[KeptImage]) -> Sequence[Removal]:
        """What is to become of those of the images on which something is unneeded."""
        unneeded = [image for image in images if image.unneeded]
        if not unneeded:
            return ()
        in_use = {container.image_id: container.name for container in await self._runtime.containers()}
        configured = {_bare(workload.spec.image) for workload in await self._records.workloads()}
        return [_removal(each, in_use, configured, pulled=await self._was_pulled(each)) for each in unneeded]

    async def _was_pulled(self, image: KeptImage) -> bool:
        """Whether a registry gave it; one whose removal was cut off says so only in the records of deployments."""
        if image.digests:
            return True
        ids = [name.rpartition(":")[2] for name in image.unneeded]
        found = [await self._records.get(deployment_id) for deployment_id in ids]
        return any(deployment is not None and deployment.digest is not None for deployment in found)

    async def _remove(self, removal: Removal, ctx: OperationContext) -> str | None:
        """Returns why it stays, if it does."""
        what = ", ".join(removal.image.names) or removal.image.id
        try:
            for name in removal.names:
                await self._runtime.untag(name)
        except Conflict as conflict:  # a container was made of it since it was looked at
            return conflict.message
        except HoldfastError as error:
            ctx.log(
                told(
                    "image_not_let_go", "the image {image} could not be let go: {why}", image=what, why=Told.of(error)
                ),
                "warning",
            )
            return error.message
        if removal.goes:
            ctx.log(
                told("image_removed", "the image {image} was removed: no deployment that is kept needs it", image=what)
            )
        return None

    async def _looked_at(self, images: Sequence[ListedImage]) -> list[KeptImage]:
        """Images, with what needs them."""
        # Read after the images: what was named in between is on record by now.
        names = {workload.id: workload.name for workload in await self._records.workloads()}
        owners = {self._owner(name) for image in images for name in self._own(image)}
        needed = {workload_id: await self._needed_by(workload_id) for workload_id in names if workload_id in owners}
        return [self._kept(image, needed, names) for image in images]

    async def _needed_by(self, workload_id: str) -> Collection[str] | None:
        """Ids of the deployments whose images a workload needs; ``None``: whatever has a name for its sake."""
        if self._restore_pending(workload_id):
            return None
        history = await self._records.history(workload_id)
        return kept_deployments(history) | {each.id for each in history if each.state is DeploymentState.RUNNING}

    def _kept(
        self, image: ListedImage, needed: Mapping[str, Collection[str] | None], workloads: Mapping[str, str]
    ) -> KeptImage:
        needing, unneeded = set(), []
        for name in self._own(image):
            owner = self._owner(name)
            deployments = needed.get(owner, ())
            if deployments is None or _deployment(name) in deployments:
                needing.add(workloads[owner])
            else:
                unneeded.append(name)
        return KeptImage(
            id=image.id,
            names=tuple(name for name in image.tags if not name.startswith(self._prefix)),
            digests=image.digests,
            size=image.size,
            needed_by=tuple(sorted(needing)),
            unneeded=tuple(sorted(unneeded)),
        )

    def _own(self, image: ListedImage) -> tuple[str, ...]:
        return tuple(name for name in image.tags if name.startswith(self._prefix))

    def _names_for(self, workload_id: str, image: ListedImage) -> tuple[str, ...]:
        return tuple(name for name in self._own(image) if self._owner(name) == workload_id)

    def _owner(self, name: str) -> str:
        """The id of the workload for which the image has this name."""
        return name.removeprefix(self._prefix).rpartition(":")[0]


def _deployment(name: str) -> str:
    """The id of the deployment for which an image has this name."""
    return name.rpartition(":")[2]


def _removal(image: KeptImage, in_use: Mapping[str, str], configured: Collection[str], *, pulled: bool) -> Removal:
    """What to take away of an image's names: all of them, where nobody else has a use for it."""
    came_from = {digest.partition("@")[0] for digest in image.digests}
    others = [name for name in image.names if name.rpartition(":")[0] not in came_from]
    whys = (
        (bool(image.needed_by), f"{', '.join(image.needed_by)} can go back to it"),
        (image.id in in_use, f"the container {in_use.get(image.id)} was made of it"),
        (not pulled, "no registry could give it again"),
        (bool(others), f"it is also named {', '.join(others)}"),
        (any(_bare(name) in configured for name in image.names), "a workload is configured to run it"),
    )
    why_not = next((why for holds, why in whys if holds), "")
    only_here = not (pulled or image.names or image.needed_by)  # with its last name it would go, and never come back
    if image.id in in_use or only_here:  # Holdfast's name stays with it, by which it is found again when it is free
        return Removal(image=image, names=(), goes=False, why_not=why_not)
    # Holdfast's own names go last: cut off before that, the image is found again.
    names = image.unneeded if why_not else (*image.names, *image.digests, *image.unneeded)
    return Removal(image=image, names=names, goes=not why_not, why_not=why_not)


def _bare(reference: str) -> str:
    """One spelling for each name of an image."""
    try:
        return parse_image_ref(reference).canonical
    except InvalidInput:
        return reference
