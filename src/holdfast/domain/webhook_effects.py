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
from holdfast.domain.told import TextOrTold, Told, Value, told
from holdfast.domain.webhook import (
    PLACEHOLDER,
    Binding,
    Effect,
    Happening,
    HookAction,
    HookEvent,
    Nothing,
    of_branch,
    of_tag,
)
from holdfast.domain.workload import WorkloadSpec

_SHORT: Final = 7
"""Characters of a commit's short name."""
_NO_TAG: Final = re.compile(r"[^a-zA-Z0-9_.-]")
"""What a tag of an image can't hold."""


def decide(binding: Binding, spec: WorkloadSpec, event: HookEvent) -> Effect | Nothing:
    """What a delivery leads to, with the workload as it is configured now."""
    if event.happening in (Happening.PING, Happening.OTHER):
        if isinstance(event.why, str) and event.why:  # of an earlier version
            return Nothing(Told(event.why))
        return Nothing(event.why) if event.why else _nothing("hook_tried_out", "the provider tries the address out")
    if binding.repository and not _matches(binding.repository.lower(), event.repository.lower()):
        if not event.repository:
            return _nothing("hook_no_repository", "it names no repository like {wanted}", wanted=binding.repository)
        return _filtered(event.repository, binding.repository)
    if binding.action is HookAction.PREVIEW:
        return _of_preview(binding, spec, event)
    match event.happening:
        case Happening.IMAGE:
            return _of_image(binding, spec, event)
        case Happening.REQUEST if event.preview:
            return _nothing("hook_no_previews", "no previews are made through this webhook")
        case Happening.REQUEST:
            return _of_request(binding, spec, event)
        case Happening.PULL | Happening.PULL_CLOSED:
            return _nothing("hook_no_pulls", "nothing follows from pull requests")
        case Happening.BRANCH_GONE:
            return _nothing("hook_deleted", "it was deleted")
        case _:
            return _of_code(binding, spec, event)


def _of_preview(binding: Binding, spec: WorkloadSpec, event: HookEvent) -> Effect | Nothing:
    match event.happening:
        case Happening.PULL | Happening.PULL_CLOSED if binding.branch:
            return _nothing("hook_branches_only", "branches have previews here, and not pull requests")
        case Happening.PULL_CLOSED:
            return Effect(preview=f"pr-{event.pull}", closed=True)
        case Happening.PULL if event.fork:
            return _nothing(
                "hook_fork", "its branch is in another repository, or in none, and such code is not run here"
            )
        case Happening.PULL:
            return _previewed(f"pr-{event.pull}", spec, _image_of_code(binding, spec, event))
        case Happening.BRANCH | Happening.BRANCH_GONE if not binding.branch:
            return _nothing("hook_pulls_only", "pull requests have previews here, and not branches")
        case Happening.BRANCH | Happening.BRANCH_GONE if not _matches(binding.branch, event.ref):
            return _filtered(of_branch(event.ref), binding.branch)
        case Happening.BRANCH_GONE:
            return Effect(preview=event.ref, closed=True)
        case Happening.BRANCH:
            return _previewed(event.ref, spec, _image_of_code(binding, spec, event))
        case Happening.REQUEST if not event.preview:
            return _nothing("hook_no_preview_named", "it names no preview")
        case Happening.REQUEST if event.closed:
            return Effect(preview=event.preview, closed=True)
        case Happening.REQUEST:
            return _previewed(event.preview, spec, _of_request(binding, spec, event))
        case _:
            return _nothing("hook_nothing_for_preview", "no preview follows from it")


def _previewed(preview: str, spec: WorkloadSpec, image: Effect | Nothing) -> Effect | Nothing:
    """The preview with the image that the workload would get. What a preview runs is its own: that is named."""
    if isinstance(image, Nothing):
        return image
    return replace(image, preview=preview, image=image.image or spec.image or None)


def _of_code(binding: Binding, spec: WorkloadSpec, event: HookEvent) -> Effect | Nothing:
    if event.happening is Happening.BRANCH:
        if binding.branch:
            if not _matches(binding.branch, event.ref):
                return _filtered(of_branch(event.ref), binding.branch)
        elif binding.tag:
            return _nothing("hook_only_tags", "only tags are wanted, and this is a branch")
        elif event.ref != event.default_branch:
            return _nothing(
                "hook_other_branch", "branch {branch} is not the default one, and no other is wanted", branch=event.ref
            )
    elif not binding.tag:
        return _nothing("hook_no_tags", "no tags are wanted")
    elif not _matches(binding.tag, event.ref):
        return _filtered(of_tag(event.ref), binding.tag)
    if binding.action is HookAction.PROMOTE:
        return Effect(promote_from=binding.promote_from)
    return _image_of_code(binding, spec, event)


def _image_of_code(binding: Binding, spec: WorkloadSpec, event: HookEvent) -> Effect | Nothing:
    if not binding.image_tag:
        return _redeploy(binding)
    tag = _filled(binding.image_tag, event)
    if tag is None:
        return _nothing(
            "hook_not_filled", "{template} can't be filled in from {what}", template=binding.image_tag, what=event.what
        )
    return _wanted(binding, spec, tag=tag)


def _of_image(binding: Binding, spec: WorkloadSpec, event: HookEvent) -> Effect | Nothing:
    if binding.action is HookAction.PROMOTE:
        return _promoted()
    allowed = _allowed(binding, spec)
    if isinstance(allowed, Nothing):
        return allowed
    if event.image.lower() != _path(allowed):
        return _of_others(event.image, _path(allowed))
    if binding.tag:
        if not _matches(binding.tag, event.tag):
            return _filtered(of_tag(event.tag), binding.tag)
    else:
        configured = parse_image_ref(spec.image).effective_tag
        if configured is None:
            return _nothing(
                "hook_digest_runs", "the workload runs a digest; only a binding with a tag pattern leaves it"
            )
        if configured != event.tag:
            return _nothing(
                "hook_other_tag",
                "the tag {tag} is not {wanted}, which the workload runs",
                tag=event.tag,
                wanted=configured,
            )
    return _wanted(binding, spec, tag=event.tag)


def _of_request(binding: Binding, spec: WorkloadSpec, event: HookEvent) -> Effect | Nothing:
    named = event.image or event.tag or event.digest
    if binding.action is HookAction.PROMOTE:
        if named:
            return _promoted()
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
            return _of_others(ref.name, allowed.name)
        tag, digest = ref.effective_tag or "", ref.digest or ""
    if binding.tag and not _matches(binding.tag, tag):
        if tag:
            return _filtered(of_tag(tag), binding.tag)
        return _nothing("hook_no_tag", "it names no tag like {wanted}", wanted=binding.tag)
    return _wanted(binding, spec, tag=tag, digest=digest)


def _redeploy(binding: Binding) -> Effect | Nothing:
    if binding.image:
        return _nothing("hook_no_tag_of", "it names no tag of {image}", image=binding.image)
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
        return _nothing("hook_no_image_tag", "{tag} can't be the tag of an image", tag=tag)
    same = wanted.canonical == parse_image_ref(spec.image).canonical
    return Effect(image=None if same else str(wanted))


def _allowed(binding: Binding, spec: WorkloadSpec) -> ImageRef | Nothing:
    """The repository that may be deployed from."""
    if spec.plugin is not None:
        return _nothing(
            "hook_source_names_image",
            "the workload gets its image from its source {source}, and takes no other one",
            source=spec.plugin.type,
        )
    return parse_image_ref(binding.image or spec.image)


def _nothing(code: str, why: str, **values: Value) -> Nothing:
    return Nothing(told(code, why, "", **values))


def _filtered(what: TextOrTold, wanted: str) -> Nothing:
    return _nothing("hook_filtered", "{what} is not {wanted}", what=what, wanted=wanted)


def _of_others(image: str, wanted: str) -> Nothing:
    return _nothing("hook_other_image", "{image} is not {wanted}, which this deploys from", image=image, wanted=wanted)


def _promoted() -> Nothing:
    return _nothing("hook_promotes", "a promotion takes the image that the other workload runs, and no other")


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
