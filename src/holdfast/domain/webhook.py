"""Webhooks: bindings of an unguessable address to an action on a workload, and what comes in through them.

What a delivery leads to is told in :mod:`holdfast.domain.webhook_effects`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from holdfast.domain.errors import InvalidInput
from holdfast.domain.image_ref import parse_image_ref
from holdfast.domain.told import TextOrTold, Told, told

MAX_PATTERN: Final = 200
PLACEHOLDER: Final = re.compile(r"\{([a-z_]*)\}")
_PLACEHOLDERS: Final = ("branch", "tag", "sha", "short_sha", "pull")


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
    PREVIEW = "preview"


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A webhook's address, tied to an action on a workload. Of the address and the secret it holds nothing.

    Attributes:
        signed: whether there is a secret, with which every request has to prove itself.
        branch, tag, repository: shell patterns that the branch, the tag (of source code or of an image) and the
            repository of source code have to match; empty for none.
        image: the image repository (no tag) that is deployed from in place of the workload's own; empty for that.
        image_tag: the image's tag where a push or release of source code is told, with ``{branch}``, ``{tag}``,
            ``{sha}``, ``{short_sha}``, ``{pull}``; empty for the image that the workload is configured with.
        promote_from: of a promotion, the id of the workload whose image this one gets.

    With the action ``preview``, branches have previews where ``branch`` names them, else pull requests have.
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
    """Somebody asks for a deployment, or for a preview."""
    PULL = "pull"
    """A pull request, a merge request: it was opened, or there is more in it."""
    PULL_CLOSED = "pull_closed"
    """It was merged, or closed without that."""
    BRANCH_GONE = "branch_gone"
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
        pull: the number of a pull request; its branch is ``ref``.
        opens: a pull request was opened, or opened again; otherwise there is only more in it.
        fork: its branch is none of the repository's own: whoever may not write to that can make one.
        preview: of a request, what the preview is for that is asked for.
        closed: that preview is not needed any more.
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
    pull: str = ""
    opens: bool = False
    fork: bool = False
    preview: str = ""
    closed: bool = False
    why: TextOrTold = ""

    @property
    def what(self) -> TextOrTold:
        """What it is about, for people; empty where nothing is known of that."""
        match self.happening:
            case Happening.BRANCH:
                return of_branch(self.ref)
            case Happening.TAG:
                return of_tag(self.ref)
            case Happening.RELEASE:
                return told("hook_of_release", "release {name}", name=self.ref)
            case Happening.PULL | Happening.PULL_CLOSED:
                return told("hook_of_pull", "pull request {number} ({branch})", number=self.pull, branch=self.ref)
            case Happening.BRANCH_GONE:
                return told("hook_of_branch_gone", "branch {name} is gone", name=self.ref)
            case Happening.IMAGE:
                return told("hook_of_image", "image {image}", image=f"{self.image}:{self.tag}")
            case Happening.REQUEST if self.preview and self.closed:
                return told("hook_of_preview_closed", "preview {name} closed", name=self.preview)
            case Happening.REQUEST if self.preview:
                return told("hook_of_preview", "preview {name}", name=self.preview)
            case Happening.REQUEST:
                named = self.image or self.digest or self.tag
                return named or told("hook_of_configured_image", "the configured image")
            case _:
                return ""

    @property
    def told(self) -> Told:
        """For people, a part of a sentence."""
        event = told("hook_event", "{name} {what}", name=self.name, what=self.what) if self.what else Told(self.name)
        if not self.repository:
            return event
        return told("hook_event_in", "{event} of {repository}", event=event, repository=self.repository)


def of_branch(name: str) -> Told:
    """A branch, in a sentence."""
    return told("hook_of_branch", "branch {name}", name=name)


def of_tag(name: str) -> Told:
    """A tag, of source code or of an image, in a sentence."""
    return told("hook_of_tag", "tag {name}", name=name)


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
        why: it ended as it did; ``None`` where it succeeded.
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
    why: Told | None = None
    operation_id: str | None = None
    replay_of: str | None = None
    actor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What is to be done on a workload. Equal ones need to be done once.

    Attributes:
        image: a reference; ``None`` for the image that the workload is configured with.
        promote_from: the id of the workload whose image it gets.
        preview: not the workload itself, but its preview for this.
        closed: that preview is to go.
    """

    image: str | None = None
    promote_from: str | None = None
    preview: str | None = None
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Nothing:
    """Nothing is to be done, and why."""

    why: Told


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
    if binding.action is HookAction.PREVIEW:
        if provider is Provider.REGISTRY:
            return "a registry tells neither of branches nor of pull requests"
        if binding.tag and of_code:
            return "tags of source code have no previews"
    elif "{pull}" in binding.image_tag:
        return "{pull} is for previews of pull requests"
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
    unknown = [name for name in PLACEHOLDER.findall(template) if name not in _PLACEHOLDERS]
    if unknown:
        return f"image_tag knows {', '.join(f'{{{name}}}' for name in _PLACEHOLDERS)}, but not {{{unknown[0]}}}"
    try:
        parse_image_ref(f"x:{PLACEHOLDER.sub('x', template)}")
    except InvalidInput:
        return "image_tag does not make a tag (letters, digits, '_', '.', '-', at most 128)"
    return None
