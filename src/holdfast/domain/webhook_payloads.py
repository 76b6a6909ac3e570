"""What deliveries tell, read from the bodies that each provider documents.

- GitHub: https://docs.github.com/en/webhooks/webhook-events-and-payloads
- Gitea, Forgejo: https://docs.gitea.com/usage/repository/webhooks, https://forgejo.org/docs/latest/user/webhooks/
- GitLab: https://docs.gitlab.com/user/project/integrations/webhook_events/
- Registry: https://distribution.github.io/distribution/about/notifications/

Of what is not understood nothing follows; of what is, only short printable text is kept.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final, NoReturn, TypedDict

from holdfast.domain.errors import InvalidInput
from holdfast.domain.image_ref import parse_image_ref
from holdfast.domain.told import Told, told
from holdfast.domain.webhook import Happening, HookEvent, Provider

MAX_TEXT: Final = 255
_MOST_PULLS: Final = 10**12
MAX_EVENTS: Final = 100
"""So many pushes of images one notification of a registry may tell."""

_REQUEST: Final = ("image", "tag", "digest", "id", "preview", "closed")
_BRANCHES: Final = "refs/heads/"
_TAGS: Final = "refs/tags/"
_NO_BRANCH: Final = "refs/"
"""How the head begins of a pull request in Gitea or Forgejo that has no branch: one made by a push to ``refs/for/…``
(AGit), which whoever may read a repository may do. It is said to be in the repository itself."""
_OPENED: Final = ("opened", "reopened")
_OPEN: Final = (*_OPENED, "synchronize", "synchronized")
"""What GitHub, and then Gitea and Forgejo, call it when there is something new in a pull request."""
_GITLAB: Final = {"push": _BRANCHES, "tag_push": _TAGS}

Document = Mapping[str, object]


class _About(TypedDict):
    """What all events of source code have."""

    name: str
    repository: str


def events_in(provider: Provider, name: str, document: Document) -> tuple[HookEvent, ...]:
    """What a delivery tells: one event, or of a registry several.

    Args:
        name: the event's name by the provider's header; empty where there is none.
        document: the body.

    Raises:
        InvalidInput: ``webhook_body_malformed``, ``image_reference_malformed``.
    """
    if provider is Provider.REGISTRY:
        return _of_registry(document)
    if provider is Provider.GENERIC:
        return (_request(document),)
    name = _text(name) or "?"
    if provider is Provider.GITLAB:
        return (_of_gitlab(name, document),)
    return (_of_forge(name, document),)


def malformed(why: str) -> InvalidInput:
    """The error for a body that is not what the provider sends."""
    return InvalidInput(
        "webhook_body_malformed",
        f"The delivery can't be read: {why}.",
        next_step="Check that the binding's provider is the one that sends this. Nothing was done.",
    )


def _of_forge(name: str, document: Document) -> HookEvent:
    """GitHub, Gitea, Forgejo: their pushes and releases are the same."""
    repository = _part(document, "repository")
    about = _About(name=name, repository=_text(repository.get("full_name")))
    match name:
        case "ping":
            return HookEvent(happening=Happening.PING, **about)
        case "push":
            deleted = document.get("deleted") is True or _is_none(_text(document.get("after")))
            return _push(document, about, deleted=deleted, default_branch=_text(repository.get("default_branch")))
        case "delete":
            if document.get("ref_type") != "branch":
                return _other(about, _deleted())
            return HookEvent(happening=Happening.BRANCH_GONE, ref=_text(document.get("ref")), **about)
        case "pull_request" | "pull_request_sync":
            return _pull_request(document, about)
        case "release":
            release, action = _part(document, "release"), _text(document.get("action"))
            tag = _text(release.get("tag_name"))
            if action != "published" or release.get("draft") is True or not tag:
                return _other(about, _release("published", action))
            return HookEvent(happening=Happening.RELEASE, ref=tag, **about)
        case "package" | "registry_package":
            return _package(document, about)
        case _:
            return _other(about, _event(name))


def _of_gitlab(name: str, document: Document) -> HookEvent:
    project, kind = _part(document, "project"), _text(document.get("object_kind"))
    about = _About(name=kind or name, repository=_text(project.get("path_with_namespace")))
    if kind in _GITLAB:
        gone = "checkout_sha" in document and document["checkout_sha"] is None
        deleted = gone or _is_none(_text(document.get("after")))
        return _push(document, about, deleted=deleted, default_branch=_text(project.get("default_branch")))
    if kind == "merge_request":
        return _merge_request(document, about)
    if kind == "release":
        action, tag = _text(document.get("action")), _text(document.get("tag"))
        if action != "create" or not tag:
            return _other(about, _release("create", action))
        return HookEvent(happening=Happening.RELEASE, ref=tag, sha=_text(_part(document, "commit").get("id")), **about)
    return _other(about, _event(kind or name))


def _push(document: Document, about: _About, *, deleted: bool, default_branch: str) -> HookEvent:
    ref = _text(document.get("ref"))
    branch, tag = _after(ref, _BRANCHES), _after(ref, _TAGS)
    if deleted:
        if branch:
            return HookEvent(happening=Happening.BRANCH_GONE, ref=branch, **about)
        return _other(about, _deleted())
    if not branch and not tag:
        raise malformed("a push names neither a branch nor a tag")
    return HookEvent(
        happening=Happening.BRANCH if branch else Happening.TAG,
        ref=branch or tag,
        sha=_text(document.get("after")),
        default_branch=default_branch,
        **about,
    )


def _pull_request(document: Document, about: _About) -> HookEvent:
    """Of GitHub, Gitea or Forgejo."""
    request, action = _part(document, "pull_request"), _text(document.get("action"))
    head, base = _part(request, "head"), _part(request, "base")
    if action not in (*_OPEN, "closed"):
        return _other(about, _event(f"pull_request {action}"))
    whose = [_text(_part(side, "repo").get("full_name")) for side in (head, base)]
    ref = _text(head.get("ref"))
    return _pull(
        document.get("number"),
        ref,
        _text(head.get("sha")),
        about,
        opens=action in _OPENED,
        fork=not whose[0] or whose[0] != whose[1] or ref.startswith(_NO_BRANCH),
        closed=action == "closed",
    )


def _merge_request(document: Document, about: _About) -> HookEvent:
    """Of GitLab. One that was updated has ``oldrev`` only if something was pushed."""
    request = _part(document, "object_attributes")
    action = _text(request.get("action"))
    pushed = action in ("open", "reopen") or (action == "update" and bool(_text(request.get("oldrev"))))
    if not pushed and action not in ("close", "merge"):
        event = f"merge_request {action}".rstrip()
        return _other(about, told("hook_nothing_pushed", "nothing was pushed with the event {event}", event=event))
    whose = [request.get("source_project_id"), request.get("target_project_id")]
    return _pull(
        request.get("iid"),
        _text(request.get("source_branch")),
        _text(_part(request, "last_commit").get("id")),
        about,
        opens=action in ("open", "reopen"),
        fork=whose[0] is None or whose[0] != whose[1],
        closed=not pushed,
    )


def _pull(number: object, ref: str, sha: str, about: _About, *, opens: bool, fork: bool, closed: bool) -> HookEvent:
    if isinstance(number, bool) or not isinstance(number, int) or not 0 < number < _MOST_PULLS:
        raise malformed("a pull request has no number")
    happening = Happening.PULL_CLOSED if closed else Happening.PULL
    return HookEvent(happening=happening, pull=str(number), ref=ref, sha=sha, opens=opens, fork=fork, **about)


def _package(document: Document, about: _About) -> HookEvent:
    """A container image in the registry of GitHub (``package``, ``registry_package``), Gitea or Forgejo."""
    package = _part(document, "package") or _part(document, "registry_package")
    kind = _text(package.get("package_type") or package.get("type")).lower()
    action = _text(document.get("action"))
    if kind not in ("container", "docker"):
        return _other(about, told("hook_no_container", "the package is no container image: {kind}", kind=kind or "?"))
    if action not in ("published", "updated", "created"):
        return _other(about, _event(f"{about['name']} {action}"))
    owner = _part(package, "owner")
    space = _text(package.get("namespace")) or _text(owner.get("login")) or _text(owner.get("username"))
    version = _part(package, "package_version")
    tagged = _part(_part(version, "container_metadata"), "tag")
    tag, digest = _text(tagged.get("name")), _text(tagged.get("digest"))
    if not version:  # Gitea and Forgejo name the tag as the version; what has no tag is there by its digest
        tag = _text(package.get("version"))
        tag, digest = ("", tag) if ":" in tag else (tag, "")
    if not tag:
        return _other(about, _untagged())
    image = f"{space}/{_text(package.get('name'))}".lower()
    return HookEvent(happening=Happening.IMAGE, image=image, tag=tag, digest=digest, **about)


def _of_registry(document: Document) -> tuple[HookEvent, ...]:
    events = document.get("events")
    if not isinstance(events, list):
        raise malformed("it has no list of events")
    found = [event for each in events if isinstance(each, dict) and (event := _pushed(each)) is not None]
    if len(found) > MAX_EVENTS:
        raise malformed(f"it tells more than {MAX_EVENTS} pushes")
    if found:
        return tuple(found)
    first = events[0] if events and isinstance(events[0], dict) else {}
    action = _text(first.get("action"))
    return (
        HookEvent(
            name=action or "?",
            happening=Happening.OTHER,
            id=_text(first.get("id")),
            why=_untagged(),
        ),
    )


def _pushed(event: Document) -> HookEvent | None:
    """The push of an image with a tag; other events tell of layers, pulls and deletions."""
    target = _part(event, "target")
    image, tag = _text(target.get("repository")), _text(target.get("tag"))
    if event.get("action") != "push" or not image or not tag:
        return None
    return HookEvent(
        name="push",
        happening=Happening.IMAGE,
        id=_text(event.get("id")),
        image=image,
        tag=tag,
        digest=_text(target.get("digest")),
    )


def _request(document: Document) -> HookEvent:
    values = {}
    closed = document.get("closed", False)
    if not isinstance(closed, bool) or (closed and "preview" not in document):
        raise malformed("closed is true or false, of a preview that is named")
    for key, value in document.items():
        if key not in _REQUEST:
            _unknown(key)
        if key == "closed":
            continue
        values[key] = _text(value)
        if not values[key]:
            raise malformed(f"{key} is no short printable text")
    image, tag, digest = (values.get(key, "") for key in ("image", "tag", "digest"))
    if image and (tag or digest):
        raise malformed("an image names tag and digest itself")
    # the grammar of references bounds all three
    parse_image_ref(image or f"x{f':{tag}' if tag else ''}{f'@{digest}' if digest else ''}")
    return HookEvent(
        name="request",
        happening=Happening.REQUEST,
        id=values.get("id", ""),
        image=image,
        tag=tag,
        digest=digest,
        preview=values.get("preview", ""),
        closed=closed,
    )


def _unknown(key: str) -> NoReturn:
    nearest = difflib.get_close_matches(key[:MAX_TEXT], _REQUEST, 1, cutoff=0.0)
    raise malformed(
        f"there is no {_text(key)[:60] or 'such key'}, only {', '.join(_REQUEST)}; did you mean {nearest[0]}?"
    )


def _other(about: _About, why: Told) -> HookEvent:
    return HookEvent(happening=Happening.OTHER, why=why, **about)


def _event(event: str) -> Told:
    return told("hook_other_event", "nothing follows from the event {event}", event=event.rstrip())


def _deleted() -> Told:
    return told("hook_deleted", "it was deleted")


def _release(wanted: str, action: str) -> Told:
    return told(
        "hook_release",
        "a release is deployed by the event {wanted}, and this is {action}",
        wanted=wanted,
        action=action or "?",
    )


def _untagged() -> Told:
    return told("hook_untagged", "no image was pushed with a tag")


def _part(document: Document, key: str) -> Document:
    part = document.get(key)
    return part if isinstance(part, dict) else {}


def _text(value: object) -> str:
    """Short printable text, or nothing."""
    return value if isinstance(value, str) and len(value) <= MAX_TEXT and value.isprintable() else ""


def _after(text: str, prefix: str) -> str:
    return text.removeprefix(prefix) if text.startswith(prefix) else ""


def _is_none(sha: str) -> bool:
    """Whether it is the name that stands for no commit: nothing but noughts."""
    return bool(sha) and not sha.strip("0")
