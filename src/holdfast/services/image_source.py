"""Images: from what a source names to exactly one of them on this host.

- A version is pinned by image id, and by digest where a registry gave one. Nothing is touched before it is here.
- An image that was built on this host is used as it is: a name without a registry is never looked up elsewhere while
  the host has an image of that name that came from no registry, since a stranger may own the name there.
- Images of kept deployments carry a tag of Holdfast's own, so that no cleaning up by others takes a rollback away.
"""

from __future__ import annotations

import dataclasses
import platform
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from holdfast.domain.deploy_plan import DeployStep
from holdfast.domain.errors import Failed, InvalidInput
from holdfast.domain.image_ref import ImageRef, parse_image_ref
from holdfast.domain.operation import Progress
from holdfast.domain.registry import RegistryLogin
from holdfast.domain.restore import ImageFacts
from holdfast.domain.told import Told, told
from holdfast.runtime.architectures import runs_here
from holdfast.runtime.port import ContainerRuntime, Image
from holdfast.services.operations import OperationContext

KEPT_REPOSITORY: Final = "holdfast.local"
"""First part of the names by which Holdfast keeps images. Names no registry; nothing is ever pulled from there."""

IMAGE_ID: Final = re.compile(r"sha256:[0-9a-f]{64}")
"""The engine's id of an image."""


class PullPolicy(StrEnum):
    """When a registry is asked."""

    ALWAYS = "always"
    """For every name that a registry may have moved on to another image."""
    INSISTING = "insisting"
    """Likewise, and where it can't be asked the image on this host is no substitute."""
    IF_MISSING = "if_missing"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a workload's code.

    Attributes:
        image_id: the engine's id (``sha256:…``).
        digest: the registry's (``name@sha256:…``), where one gave it.
        reference: as it was asked for, for people.
        user: the user that the image runs as; empty for root.
        has_healthcheck: whether the image brings a health check of its own.
    """

    image_id: str
    digest: str | None
    reference: str
    user: str
    has_healthcheck: bool = False


class ImageSource:
    """Finds, pulls and keeps images.

    Args:
        installation: the id of this Holdfast.
        login_for: what the registry of a reference is told, if anything.
    """

    def __init__(
        self,
        runtime: ContainerRuntime,
        installation: str,
        login_for: Callable[[str], Awaitable[RegistryLogin | None]],
    ) -> None:
        self._runtime = runtime
        self._login_for = login_for
        self._installation = installation

    async def resolve(self, image: str, ctx: OperationContext, *, pull: PullPolicy = PullPolicy.ALWAYS) -> Version:
        """The version that a reference, or an image id, means now.

        Args:
            image: a reference (``registry/name:tag``, ``name@sha256:…``) or the id of an image on this host.

        Raises:
            InvalidInput: the reference is malformed.
            Failed: ``image_missing``, ``image_for_other_platform``, or as the runtime's ``pull``. Nothing was touched.
            Cancelled: somebody cancelled while it was being pulled.
            Unavailable: the engine does not answer.
        """
        if IMAGE_ID.fullmatch(image):
            return await self.pinned(image)
        ref = parse_image_ref(image)
        here = await self._runtime.image(ref.with_tag)
        if here is not None and not _may_be_newer_elsewhere(ref, here, pull):
            if not here.digests:
                ctx.log(told("image_built_here", "{image} was built on this host and is used as it is", image=image))
            return _able(image, here, ref)
        if pull is PullPolicy.NEVER:
            raise _missing(image)
        try:
            ctx.step(DeployStep.PULLING)
            pulled = await self._pull(ref.with_tag, ctx)
        except Failed as error:
            if here is None or pull is PullPolicy.INSISTING:
                raise
            ctx.log(
                told(
                    "image_not_pulled",
                    "{image} could not be pulled ({why}); the one on this host is used",
                    image=image,
                    why=Told.of(error),
                ),
                "warning",
            )
            return _able(image, here, ref)
        return _able(image, pulled, ref)

    async def here(self, image: str) -> Version | None:
        """What a reference, or an image id, means on this host now; no registry is asked.

        Raises:
            InvalidInput: the reference is malformed.
            Unavailable: the engine does not answer.
        """
        if IMAGE_ID.fullmatch(image):
            return await self.pinned(image)
        ref = parse_image_ref(image)
        found = await self._runtime.image(ref.with_tag)
        return None if found is None else _version(image, found, ref)

    async def pinned(self, image_id: str, *, reference: str | None = None) -> Version:
        """The version of an image on this host, by id; nothing is pulled.

        Args:
            reference: its name for people; one of its own if not given.

        Raises:
            Failed: ``image_missing``.
        """
        here = await self._runtime.image(image_id)
        if here is None:
            raise _missing(reference or image_id)
        own = [tag for tag in here.tags if not tag.startswith(f"{KEPT_REPOSITORY}/")]
        return Version(
            image_id=here.id,
            digest=here.digests[0] if here.digests else None,
            reference=reference or (own[0] if own else image_id),
            user=here.user,
            has_healthcheck=here.has_healthcheck,
        )

    async def fetch(self, image: ImageFacts, ctx: OperationContext) -> None:
        """Pull an image by the digest that it was deployed with; the same image, or none.

        Raises:
            Failed: ``image_differs``, or as the runtime's ``pull``. Nothing was touched.
            Cancelled: somebody cancelled meanwhile.
            Unavailable: the engine does not answer.
        """
        assert image.digest is not None
        ctx.step(DeployStep.PULLING)
        try:
            pulled = await self._pull(image.digest, ctx)
        except Failed as error:
            if error.code == "image_not_in_registry":
                error.next_step = (
                    "It is neither here nor there any more: push it again, or load it on this host by hand; or go on "
                    "with the version that runs now. Nothing was changed."
                )
            raise
        if pulled.id != image.id:
            raise Failed(
                "image_differs",
                f"{image.digest} is another image ({pulled.id}) than the one that was deployed ({image.id}).",
                next_step="Load the image of then by hand, or go on with the one that runs now. Nothing was changed.",
                details={"wanted": image.id, "found": pulled.id},
            )

    async def again(self, image: ImageFacts, ctx: OperationContext) -> Version:
        """The version of an earlier deployment: its image on this host, or pulled by its digest where it is gone.

        Raises:
            Failed: ``image_missing`` where no registry gave it a digest; or as :meth:`fetch`. Nothing was touched.
            Cancelled: somebody cancelled while it was being pulled.
            Unavailable: the engine does not answer.
        """
        if image.digest is not None and await self._runtime.image(image.id) is None:
            await self.fetch(image, ctx)
        version = await self.pinned(image.id, reference=image.reference)
        return dataclasses.replace(version, digest=image.digest or version.digest)

    async def tags(self, reference: str) -> Sequence[str]:
        """The tags that the registry of a reference has of its repository.

        Raises:
            Failed: as the runtime's ``tags``.
            Unavailable: the engine does not answer.
        """
        return await self._runtime.tags(reference, login=await self._login_for(reference))

    async def on_host(self, image_id: str) -> bool:
        """Whether this host has an image. Raises ``Unavailable``."""
        return await self._runtime.image(image_id) is not None

    async def keep(self, image_id: str, workload_id: str, deployment_id: str) -> None:
        """Keep an image on this host for as long as the deployment is kept. Idempotent."""
        await self._runtime.tag(image_id, self._repository(workload_id), deployment_id)

    async def release(self, workload_id: str, deployment_id: str) -> None:
        """The deployment needs its image no longer; with its last name the image goes. Fine if it is gone."""
        await self._runtime.untag(f"{self._repository(workload_id)}:{deployment_id}")

    async def _pull(self, reference: str, ctx: OperationContext) -> Image:
        login = await self._login_for(reference)
        with ctx.interruptible():
            return await self._runtime.pull(
                reference, lambda what, done, total: _tell(ctx, what, done, total), login=login
            )

    def _repository(self, workload_id: str) -> str:
        return f"{KEPT_REPOSITORY}/{self._installation}/{workload_id}"


def _may_be_newer_elsewhere(ref: ImageRef, here: Image, pull: PullPolicy) -> bool:
    if pull not in (PullPolicy.ALWAYS, PullPolicy.INSISTING) or ref.digest is not None:
        return False
    return ref.registry is not None or bool(here.digests)


def _able(reference: str, image: Image, ref: ImageRef) -> Version:
    """The version of an image whose programs run on this host: a registry gives the only one that it has, unasked."""
    if not runs_here(image.architecture):
        raise Failed(
            "image_for_other_platform",
            f"{reference} is made for {image.architecture}, and this host's processor is of the kind "
            f"{platform.machine()}.",
            next_step="Build and push it for this host's platform, too; name an image that is; or have this host "
            "emulate the other (Debian's package qemu-user-static).",
        )
    return _version(reference, image, ref)


def _version(reference: str, image: Image, ref: ImageRef) -> Version:
    return Version(
        image_id=image.id,
        digest=next((digest for digest in image.digests if _is_of(ref, digest)), None),
        reference=reference,
        user=image.user,
        has_healthcheck=image.has_healthcheck,
    )


def _is_of(ref: ImageRef, digest: str) -> bool:
    """Whether the registry's digest (``name@sha256:…``) is one of the repository that was asked for."""
    try:
        other = parse_image_ref(digest)
    except InvalidInput:  # engines list odd ones for images that lost their names
        return False
    bare_one, bare_other = (dataclasses.replace(each, tag=None, digest=None) for each in (ref, other))
    return bare_one.canonical == bare_other.canonical


def _missing(image: str) -> Failed:
    return Failed(
        "image_missing",
        f"The image {image} is not on this host. Nothing was changed.",
        next_step="Pull or load it, then try again; or deploy another version.",
        details={"image": image},
    )


def _tell(ctx: OperationContext, what: str, done: int, total: int | None) -> None:
    ctx.progress(Progress(done_bytes=done, total_bytes=total, note=what))
