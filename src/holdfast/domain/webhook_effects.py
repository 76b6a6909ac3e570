"""What a delivery leads to.

Invariants:

- What is deployed comes from the image repository that the workload is configured with, or from the one that the
  binding names; never from one that only a delivery names.
- A delivery leads to something only where every filter of its binding says so; where nothing says otherwise, to as
  little as makes sense: pushes to the default branch, and images with the tag that the workload runs.
- A pull request whose branch is none of the repository's own has no preview: whoever could open one would have code
  run here, with the workload's secrets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Final

from holdfast.domain.errors import InvalidInput
from holdfast.domain.image_ref import ImageRef, parse_image_ref
from holdfast.domain.webhook import PLACEHOLDER, Binding, Effect, Happening, HookAction, HookEvent, Nothing
from holdfast.domain.workload import WorkloadSpec

_SHORT: Final = 7
"""Characters of a commit's short name."""
_NO_TAG: Final = re.compile(r"[^a-zA-Z0-9_.-]")
"""What a tag of an image can't hold."""


def decide(binding: Binding, spec: WorkloadSpec, event: HookEvent) -> Effect | Nothing:
    """What a delivery leads to, with the workload as it is configured now."""
    if event.happening in (Happening.PING, Happening.OTHER):
        return Nothing(event.why or "the provider tries the address out")
    if binding.repository and not _matches(binding.repository.lower(), event.repository.lower()):
        return Nothing(f"{event.repository or 'no repository'} is not {binding.repository}")
    if binding.action is HookAction.PREVIEW:
        return _of_preview(binding, spec, event)
    match event.happening:
        case Happening.IMAGE:
            return _of_image(binding, spec, event)
        case Happening.REQUEST if event.preview:
            return Nothing("no previews are made through this webhook")
        case Happening.REQUEST:
            return _of_request(binding, spec, event)
        case Happening.PULL | Happening.PULL_CLOSED:
            return Nothing("nothing follows from pull requests")
        case Happening.BRANCH_GONE:
            return Nothing("it was deleted")
        case _:
            return _of_code(binding, spec, event)


def _of_preview(binding: Binding, spec: WorkloadSpec, event: HookEvent) -> Effect | Nothing:
    match event.happening:
        case Happening.PULL | Happening.PULL_CLOSED if binding.branch:
            return Nothing("branches have previews here, and not pull requests")
        case Happening.PULL_CLOSED:
            return Effect(preview=f"pr-{event.pull}", closed=True)
        case Happening.PULL if event.fork:
            return Nothing("its branch is in another repository, or in none, and such code is not run here")
        case Happening.PULL:
            return _previewed(f"pr-{event.pull}", spec, _image_of_code(binding, spec, event))
        case Happening.BRANCH | Happening.BRANCH_GONE if not binding.branch:
            return Nothing("pull requests have previews here, and not branches")
        case Happening.BRANCH | Happening.BRANCH_GONE if not _matches(binding.branch, event.ref):
            return Nothing(f"the branch {event.ref} is not {binding.branch}")
        case Happening.BRANCH_GONE:
            return Effect(preview=event.ref, closed=True)
        case Happening.BRANCH:
            return _previewed(event.ref, spec, _image_of_code(binding, spec, event))
        case Happening.REQUEST if not event.preview:
            return Nothing("it names no preview")
        case Happening.REQUEST if event.closed:
            return Effect(preview=event.preview, closed=True)
        case Happening.REQUEST:
            return _previewed(event.preview, spec, _of_request(binding, spec, event))
        case _:
            return Nothing("no preview follows from it")


def _previewed(preview: str, spec: WorkloadSpec, image: Effect | Nothing) -> Effect | Nothing:
    """The preview with the image that the workload would get. What a preview runs is its own: that is named."""
    if isinstance(image, Nothing):
        return image
    return replace(image, preview=preview, image=image.image or spec.image or None)


def _of_code(binding: Binding, spec: WorkloadSpec, event: HookEvent) -> Effect | Nothing:
    if event.happening is Happening.BRANCH:
        if binding.branch:
            if not _matches(binding.branch, event.ref):
                return Nothing(f"the branch {event.ref} is not {binding.branch}")
        elif binding.tag:
            return Nothing("only tags are wanted, and this is a branch")
        elif event.ref != event.default_branch:
            return Nothing(f"the branch {event.ref} is not the default one, and no other is wanted")
    elif not binding.tag:
        return Nothing("no tags are wanted")
    elif not _matches(binding.tag, event.ref):
        return Nothing(f"the tag {event.ref} is not {binding.tag}")
    if binding.action is HookAction.PROMOTE:
        return Effect(promote_from=binding.promote_from)
    return _image_of_code(binding, spec, event)


def _image_of_code(binding: Binding, spec: WorkloadSpec, event: HookEvent) -> Effect | Nothing:
    if not binding.image_tag:
        return _redeploy(binding)
    tag = _filled(binding.image_tag, event)
    if tag is None:
        return Nothing(f"{binding.image_tag} can't be filled in from a {event.happening}")
    return _wanted(binding, spec, tag=tag)


def _of_image(binding: Binding, spec: WorkloadSpec, event: HookEvent) -> Effect | Nothing:
    if binding.action is HookAction.PROMOTE:
        return Nothing("a promotion takes the image that the other workload runs")
    allowed = _allowed(binding, spec)
    if isinstance(allowed, Nothing):
        return allowed
    if event.image.lower() != _path(allowed):
        return Nothing(f"{event.image} is not {_path(allowed)}, which this deploys from")
    if binding.tag:
        if not _matches(binding.tag, event.tag):
            return Nothing(f"the tag {event.tag} is not {binding.tag}")
    else:
        configured = parse_image_ref(spec.image).effective_tag
        if configured is None:
            return Nothing("the workload runs a digest; only a binding with a tag pattern leaves it")
        if configured != event.tag:
            return Nothing(f"the tag {event.tag} is not {configured}, which the workload runs")
    return _wanted(binding, spec, tag=event.tag)


def _of_request(binding: Binding, spec: WorkloadSpec, event: HookEvent) -> Effect | Nothing:
    named = event.image or event.tag or event.digest
    if binding.action is HookAction.PROMOTE:
        if named:
            return Nothing("a promotion takes the image that the other workload runs, and no other")
        return Effect(promote_from=binding.promote_from)
    if not named:
        return _redeploy(binding)
    allowed = _allowed(binding, spec)
    if isinstance(allowed, Nothing):
        return allowed
    tag, digest = event.tag, event.digest
    if event.image:
        ref = parse_image_ref(event.image)
        if _repository(ref) != _repository(allowed):
            return Nothing(f"{ref.name} is not {allowed.name}, which this deploys from")
        tag, digest = ref.effective_tag or "", ref.digest or ""
    if binding.tag and not _matches(binding.tag, tag):
        return Nothing(f"the tag {tag} is not {binding.tag}" if tag else f"it names no tag like {binding.tag}")
    return _wanted(binding, spec, tag=tag, digest=digest)


def _redeploy(binding: Binding) -> Effect | Nothing:
    if binding.image:
        return Nothing(f"it names no tag of {binding.image}")
    return Effect()


def _wanted(binding: Binding, spec: WorkloadSpec, *, tag: str = "", digest: str = "") -> Effect | Nothing:
    """The image of the repository that is allowed."""
    allowed = _allowed(binding, spec)
    if isinstance(allowed, Nothing):
        return allowed
    wanted = ImageRef(registry=allowed.registry, path=allowed.path, tag=tag or None, digest=digest or None)
    try:  # a tag that holds more than a tag would make another image of it
        as_read = parse_image_ref(str(wanted))
    except InvalidInput:
        as_read = None
    if as_read != wanted:
        return Nothing(f"{tag} can't be the tag of an image")
    same = wanted.canonical == parse_image_ref(spec.image).canonical
    return Effect(image=None if same else str(wanted))


def _allowed(binding: Binding, spec: WorkloadSpec) -> ImageRef | Nothing:
    """The repository that may be deployed from."""
    if spec.plugin is not None:
        return Nothing(f"the workload gets its image from its source {spec.plugin.type}, and takes no other one")
    return parse_image_ref(binding.image or spec.image)


def _repository(ref: ImageRef) -> str:
    return ImageRef(registry=ref.registry, path=ref.path, tag="x").canonical


def _path(ref: ImageRef) -> str:
    """The path of a repository as its registry knows it."""
    return _repository(ref).partition("/")[2].rpartition(":")[0]


def _filled(template: str, event: HookEvent) -> str | None:
    """A tag of an image; ``None`` where the event lacks what it needs."""
    is_tag = event.happening not in (Happening.BRANCH, Happening.PULL)
    values = {
        "branch": "" if is_tag else event.ref,
        "tag": event.ref if is_tag else "",
        "pull": event.pull,
        "sha": event.sha,
        "short_sha": event.sha[:_SHORT],
    }
    if not all(values[name] for name in PLACEHOLDER.findall(template)):
        return None
    tag = _NO_TAG.sub("-", PLACEHOLDER.sub(lambda found: values[found[1]], template)).lstrip(".-")[:128]
    return tag or None


def _matches(pattern: str, text: str) -> bool:
    return fnmatchcase(text, pattern)


def superseded(wishes: Iterable[tuple[str, Effect]]) -> dict[str, str]:
    """Those of deliveries that wait, oldest first, which a newer one asks the same as: by id, the newest such one."""
    order = list(wishes)
    newest = {effect: delivery_id for delivery_id, effect in order}
    return {delivery_id: newest[effect] for delivery_id, effect in order if newest[effect] != delivery_id}


def pull_closed(preview: str, binding: Binding, spec: WorkloadSpec, event: HookEvent) -> bool | None:
    """Whether an event says that the pull request of a preview is closed, or open; ``None``: nothing of that."""
    if event.happening is Happening.PULL:
        return False if event.opens and not event.fork and preview == f"pr-{event.pull}" else None
    effect = decide(binding, spec, event) if event.happening is Happening.PULL_CLOSED else None
    return True if isinstance(effect, Effect) and effect.preview == preview else None
