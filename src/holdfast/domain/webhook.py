"""Webhooks: bindings of an unguessable address to an action on a workload, and what a delivery leads to.

Invariants:

- What is deployed comes from the image repository that the workload is configured with, or from the one that the
  binding names; never from one that only a delivery names.
- A delivery leads to something only where every filter of its binding says so; where nothing says otherwise, to as
  little as makes sense: pushes to the default branch, and images with the tag that the workload runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

from holdfast.domain.errors import InvalidInput
from holdfast.domain.image_ref import ImageRef, parse_image_ref
from holdfast.domain.workload import WorkloadSpec

MAX_PATTERN: Final = 200
_PLACEHOLDER: Final = re.compile(r"\{([a-z_]*)\}")
_PLACEHOLDERS: Final = ("branch", "tag", "sha", "short_sha")
_SHORT: Final = 7
"""Characters of a commit's short name."""
_NO_TAG: Final = re.compile(r"[^a-zA-Z0-9_.-]")
"""What a tag of an image can't hold."""


class Provider(StrEnum):
    """Whose requests a binding understands."""

    GENERIC = "generic"
    GITHUB = "github"
    GITEA = "gitea"
    """Forgejo as well."""
    GITLAB = "gitlab"
    REGISTRY = "registry"
    """The distribution project's registry, and what sends its notifications."""

    @property
    def of_code(self) -> bool:
        """Whether it tells of branches and tags of source code."""
        return self in (Provider.GITHUB, Provider.GITEA, Provider.GITLAB)


class HookAction(StrEnum):
    """What a delivery leads to."""

    DEPLOY = "deploy"
    PROMOTE = "promote"


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A webhook's address, tied to an action on a workload. Of the address and the secret it holds nothing.

    Attributes:
        signed: whether there is a secret, with which every request has to prove itself.
        branch, tag, repository: shell patterns that the branch, the tag (of source code or of an image) and the
            repository of source code have to match; empty for none.
        image: the image repository (no tag) that is deployed from in place of the workload's own; empty for that.
        image_tag: the image's tag where a push or release of source code is told, with ``{branch}``, ``{tag}``,
            ``{sha}``, ``{short_sha}``; empty for the image that the workload is configured with.
        promote_from: of a promotion, the id of the workload whose image this one gets.
    """

    id: str
    workload_id: str
    provider: Provider
    action: HookAction = HookAction.DEPLOY
    signed: bool = False
    branch: str = ""
    tag: str = ""
    repository: str = ""
    image: str = ""
    image_tag: str = ""
    promote_from: str = ""
    created_at: str = ""
    created_by: str = ""

    @property
    def actor(self) -> str:
        """Who its operations say that they were started by."""
        return f"webhook {self.id}"


class Happening(StrEnum):
    """What a delivery tells."""

    PING = "ping"
    """The provider tries the address out."""
    BRANCH = "branch"
    TAG = "tag"
    RELEASE = "release"
    IMAGE = "image"
    """An image was pushed to a registry."""
    REQUEST = "request"
    """Somebody asks for a deployment."""
    OTHER = "other"
    """Nothing that anything follows from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookEvent:
    """What a delivery tells, in short: all that is kept of its body.

    Attributes:
        name: the provider's own word for it.
        id: the delivery's id, where the body holds one.
        repository: of source code (``owner/name``), where known.
        ref: the branch or the tag of source code.
        sha: the commit.
        image: of a pushed image, the path of its repository; of a request, the reference as written.
        tag, digest: of the image.
        why: of something from which nothing follows, why.
    """

    name: str
    happening: Happening
    id: str = ""
    repository: str = ""
    default_branch: str = ""
    ref: str = ""
    sha: str = ""
    image: str = ""
    tag: str = ""
    digest: str = ""
    why: str = ""

    @property
    def words(self) -> str:
        """For people, one line of a log."""
        match self.happening:
            case Happening.BRANCH | Happening.TAG | Happening.RELEASE:
                what = f"{self.happening} {self.ref}"
            case Happening.IMAGE:
                what = f"image {self.image}:{self.tag}"
            case Happening.REQUEST:
                what = self.image or self.digest or self.tag or "the configured image"
            case _:
                what = ""
        return " ".join(part for part in (self.name, what, f"of {self.repository}" if self.repository else "") if part)


class DeliveryState(StrEnum):
    """How a delivery stands."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    """A newer one asked for the same before this one began."""
    IGNORED = "ignored"
    PING = "ping"

    @property
    def ended(self) -> bool:
        return self not in (DeliveryState.WAITING, DeliveryState.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class HookDelivery:
    """One delivery that was answered as received.

    Attributes:
        key: the provider's id of it, or of its event; ``None`` where it has none.
        digest: of the body; with the event's place in it where it tells several.
        code, message: why it ended as it did; empty where it succeeded.
        operation_id: the operation that it led to.
        replay_of: the delivery that a person had applied once more.
        actor: that person.
    """

    id: str
    binding_id: str
    workload_id: str
    event: HookEvent
    key: str | None
    digest: str
    state: DeliveryState
    received_at: str
    ended_at: str | None = None
    code: str = ""
    message: str = ""
    operation_id: str | None = None
    replay_of: str | None = None
    actor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What is to be done on a workload. Equal ones need to be done once.

    Attributes:
        image: a reference; ``None`` for the image that the workload is configured with.
        promote_from: the id of the workload whose image it gets.
    """

    image: str | None = None
    promote_from: str | None = None


@dataclass(frozen=True, slots=True)
class Nothing:
    """Nothing is to be done, and why."""

    why: str


def settings_problem(binding: Binding) -> str | None:
    """Why a binding can't be as it is asked for, in a sentence; ``None`` if it can."""
    of_code, provider = binding.provider.of_code, binding.provider
    for name in ("branch", "repository", "image_tag"):
        if getattr(binding, name) and not of_code:
            return f"{name} is about source code, and {provider} tells of none"
    if binding.action is HookAction.PROMOTE:
        if not binding.promote_from:
            return "a promotion needs promote_from, the workload whose image this one gets"
        if binding.promote_from == binding.workload_id:
            return "a workload can't be promoted to itself"
        if provider is Provider.REGISTRY or binding.image or binding.image_tag:
            return "a promotion takes the image that the other workload runs, and no other"
        return None
    if binding.promote_from:
        return "promote_from belongs to the action promote"
    return _image_problem(binding.image) or _template_problem(binding.image_tag)


def _image_problem(image: str) -> str | None:
    if not image:
        return None
    try:
        ref = parse_image_ref(image)
    except InvalidInput as error:
        return f"image: {error.message.rstrip('.')}"
    return "image is a repository, without tag and digest" if ref.tag or ref.digest else None


def _template_problem(template: str) -> str | None:
    if not template:
        return None
    unknown = [name for name in _PLACEHOLDER.findall(template) if name not in _PLACEHOLDERS]
    if unknown:
        return f"image_tag knows {', '.join(f'{{{name}}}' for name in _PLACEHOLDERS)}, but not {{{unknown[0]}}}"
    try:
        parse_image_ref(f"x:{_PLACEHOLDER.sub('x', template)}")
    except InvalidInput:
        return "image_tag does not make a tag (letters, digits, '_', '.', '-', at most 128)"
    return None


def decide(binding: Binding, spec: WorkloadSpec, event: HookEvent) -> Effect | Nothing:
    """What a delivery leads to, with the workload as it is configured now."""
    if event.happening in (Happening.PING, Happening.OTHER):
        return Nothing(event.why or "the provider tries the address out")
    if binding.repository and not _matches(binding.repository.lower(), event.repository.lower()):
        return Nothing(f"{event.repository or 'no repository'} is not {binding.repository}")
    if event.happening is Happening.IMAGE:
        return _of_image(binding, spec, event)
    if event.happening is Happening.REQUEST:
        return _of_request(binding, spec, event)
    return _of_code(binding, spec, event)


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
    branch = event.ref if event.happening is Happening.BRANCH else ""
    values = {
        "branch": branch,
        "tag": "" if branch else event.ref,
        "sha": event.sha,
        "short_sha": event.sha[:_SHORT],
    }
    if not all(values[name] for name in _PLACEHOLDER.findall(template)):
        return None
    tag = _NO_TAG.sub("-", _PLACEHOLDER.sub(lambda found: values[found[1]], template)).lstrip(".-")[:128]
    return tag or None


def _matches(pattern: str, text: str) -> bool:
    return fnmatchcase(text, pattern)


def superseded(wishes: Iterable[tuple[str, Effect]]) -> dict[str, str]:
    """Those of deliveries that wait, oldest first, which a newer one asks the same as: by id, the newest such one."""
    order = list(wishes)
    newest = {effect: delivery_id for delivery_id, effect in order}
    return {delivery_id: newest[effect] for delivery_id, effect in order if newest[effect] != delivery_id}
