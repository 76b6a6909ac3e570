"""What each provider's documented payloads tell, and what follows from it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from holdfast.domain.errors import InvalidInput
from holdfast.domain.told import Told, as_json
from holdfast.domain.webhook import (
    Binding,
    Effect,
    Happening,
    HookAction,
    HookEvent,
    Nothing,
    Provider,
    of_branch,
    settings_problem,
)
from holdfast.domain.webhook_effects import decide, superseded
from holdfast.domain.webhook_payloads import MAX_EVENTS, events_in
from holdfast.domain.workload import SourceWish, WorkloadSpec
from holdfast.store.codec import decode, encode

SPEC = WorkloadSpec(name="notes", image="registry.example:5000/home/notes:main", project="home")
SHA = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"
NONE = "0" * 40
DIGEST = "sha256:" + "a" * 64
REPOSITORY = {"id": 1, "full_name": "Home/Notes", "default_branch": "main", "owner": {"login": "Home"}}
PROJECT = {"id": 15, "path_with_namespace": "home/notes", "default_branch": "main"}
GITHUB_PACKAGE = {
    "name": "notes",
    "namespace": "Home",
    "ecosystem": "CONTAINER",
    "package_type": "CONTAINER",
    "owner": {"login": "Home"},
    "package_version": {
        "version": DIGEST,
        "container_metadata": {"tag": {"name": "main", "digest": DIGEST}, "labels": {}, "manifest": {}},
        "package_url": "ghcr.io/Home/notes:main",
    },
}
GITEA_PACKAGE = {"id": 3, "type": "container", "name": "notes", "version": "main", "owner": {"login": "Home"}}
PUSHED = {
    "id": "320678d8-ca14-430f-8bb6-4ca139cd83f7",
    "timestamp": "2016-03-09T14:44:26.402973972-08:00",
    "action": "push",
    "target": {
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "size": 708,
        "digest": DIGEST,
        "length": 708,
        "repository": "home/notes",
        "url": f"http://registry.example:5000/v2/home/notes/manifests/{DIGEST}",
        "tag": "main",
    },
    "request": {"id": "6df24a34", "addr": "192.168.64.11:42961", "host": "registry.example:5000", "method": "PUT"},
    "actor": {},
    "source": {"addr": "xtal.local:5000", "instanceID": "a53db899"},
}


def push(ref: str, **fields: Any) -> dict[str, Any]:
    return {"ref": ref, "before": NONE, "after": SHA, "repository": REPOSITORY, "project": PROJECT} | fields


def binding(provider: Provider = Provider.GITHUB, **fields: Any) -> Binding:
    return Binding(id="b", workload_id="w", provider=provider, **fields)


def outcome(bound: Binding, name: str, document: dict[str, Any], spec: WorkloadSpec = SPEC) -> Effect | str:
    """What follows, or why nothing does."""
    (event,) = events_in(bound.provider, name, document)
    found = decide(bound, spec, event)
    return str(found.why) if isinstance(found, Nothing) else found


AGAIN = Effect()
FORGES = (Provider.GITHUB, Provider.GITEA)


@pytest.mark.parametrize("provider", FORGES)
def test_a_push_to_the_default_branch_deploys_the_configured_image_again(provider: Provider) -> None:
    bound = binding(provider)
    assert outcome(bound, "push", push("refs/heads/main")) == AGAIN
    assert "not the default one" in str(outcome(bound, "push", push("refs/heads/feature/x")))
    assert outcome(bound, "push", push("refs/tags/v1")) == "no tags are wanted"
    for gone in ({"deleted": True}, {"after": NONE}):
        assert outcome(bound, "push", push("refs/heads/main", **gone)) == "it was deleted"


def test_gitlab_tells_of_pushes_tags_and_releases() -> None:
    bound = binding(Provider.GITLAB, tag="v*", branch="main")
    branch = push("refs/heads/main", object_kind="push", checkout_sha=SHA)
    assert outcome(bound, "Push Hook", branch) == AGAIN
    assert outcome(bound, "Push Hook", branch | {"checkout_sha": None}) == "it was deleted"
    tag = push("refs/tags/v1.0.0", object_kind="tag_push", checkout_sha=SHA)
    assert outcome(bound, "Tag Push Hook", tag) == AGAIN
    release = {"object_kind": "release", "action": "create", "tag": "v1.1", "project": PROJECT, "commit": {"id": SHA}}
    assert outcome(bound, "Release Hook", release) == AGAIN
    assert "by the event create," in str(outcome(bound, "Release Hook", release | {"action": "update"}))
    assert "nothing follows" in str(outcome(bound, "Pipeline Hook", {"object_kind": "pipeline", "project": PROJECT}))


@pytest.mark.parametrize("provider", FORGES)
def test_a_release_is_deployed_when_it_is_published(provider: Provider) -> None:
    bound = binding(provider, tag="v*", image_tag="{tag}")
    release = {"action": "published", "release": {"tag_name": "v1.2", "draft": False}, "repository": REPOSITORY}
    assert outcome(bound, "release", release) == Effect(image="registry.example:5000/home/notes:v1.2")
    for other in ({"action": "edited"}, {"release": {"tag_name": "v1.2", "draft": True}}):
        assert "by the event published," in str(outcome(bound, "release", release | other))
    assert outcome(bound, "release", release | {"release": {"tag_name": "x1"}}) == "tag x1 is not v*"


@pytest.mark.parametrize(
    ("provider", "name", "document"),
    [
        (Provider.GITHUB, "package", {"action": "published", "package": GITHUB_PACKAGE}),
        (Provider.GITHUB, "registry_package", {"action": "updated", "registry_package": GITHUB_PACKAGE}),
        (Provider.GITEA, "package", {"action": "created", "package": GITEA_PACKAGE}),
        (Provider.REGISTRY, "", {"events": [PUSHED]}),
    ],
)
def test_an_image_is_deployed_if_it_has_the_tag_that_runs(
    provider: Provider, name: str, document: dict[str, Any]
) -> None:
    document = document | {"repository": REPOSITORY}
    assert outcome(binding(provider), name, document) == AGAIN
    other = dataclasses.replace(SPEC, image="registry.example:5000/home/notes:1")
    assert "which the workload runs" in str(outcome(binding(provider), name, document, other))
    moved = Effect(image="registry.example:5000/home/notes:main")
    assert outcome(binding(provider, tag="m*"), name, document, other) == moved
    pinned = dataclasses.replace(SPEC, image=f"registry.example:5000/home/notes@{DIGEST}")
    assert "runs a digest" in str(outcome(binding(provider), name, document, pinned))


@pytest.mark.parametrize(
    ("name", "document", "why"),
    [
        ("package", {"action": "published", "package": GITHUB_PACKAGE | {"package_type": "npm"}}, "no container image"),
        ("package", {"action": "deleted", "package": GITEA_PACKAGE}, "event package deleted"),
        ("package", {"action": "created", "package": GITEA_PACKAGE | {"version": DIGEST}}, "with a tag"),
        ("issues", {"action": "opened"}, "nothing follows from the event issues"),
    ],
)
def test_from_what_is_no_image_and_no_push_nothing_follows(name: str, document: dict[str, Any], why: str) -> None:
    assert why in str(outcome(binding(), name, document))


def test_a_ping_is_known_as_such() -> None:
    (event,) = events_in(Provider.GITHUB, "ping", {"zen": "Design for failure.", "hook_id": 1, "hook": {}})
    assert event.happening is Happening.PING


def test_of_a_registry_only_images_with_a_tag_count_each_by_its_own_id() -> None:
    layer = PUSHED | {"target": {"mediaType": "application/octet-stream", "repository": "home/notes"}}
    second = PUSHED | {"id": "2", "target": PUSHED["target"] | {"tag": "next"}}  # type: ignore[operator]
    found = events_in(Provider.REGISTRY, "", {"events": [layer, PUSHED, PUSHED | {"action": "pull"}, second]})
    assert [(event.id, event.tag) for event in found] == [(PUSHED["id"], "main"), ("2", "next")]
    assert "no image was pushed" in str(outcome(binding(Provider.REGISTRY), "", {"events": [layer]}))
    assert "no image was pushed" in str(outcome(binding(Provider.REGISTRY), "", {"events": []}))
    wrong: dict[str, Any]
    for wrong in ({}, {"events": {}}, {"events": [PUSHED] * (MAX_EVENTS + 1)}):
        with pytest.raises(InvalidInput) as caught:
            events_in(Provider.REGISTRY, "", wrong)
        assert caught.value.code == "webhook_body_malformed"


def test_nothing_but_the_workloads_repository_or_the_bindings_is_deployed_from() -> None:
    evil = PUSHED | {"target": PUSHED["target"] | {"repository": "evil/notes"}}  # type: ignore[operator]
    assert "evil/notes is not home/notes" in str(outcome(binding(Provider.REGISTRY), "", {"events": [evil]}))
    named = binding(Provider.REGISTRY, image="other.example/evil/notes", tag="*")
    assert outcome(named, "", {"events": [evil]}) == Effect(image="other.example/evil/notes:main")
    generic = binding(Provider.GENERIC)
    for image in ("evil.example/home/notes:1", "home/notes:1", "registry.example:5000/home/notes2:1"):
        assert "which this deploys from" in str(outcome(generic, "", {"image": image}))
    # a registry's tag that is none, and that would be read as another registry's image, or as a digest
    for image, path, tag in (
        ("notes", "library/notes", "5000/evil:main"),
        ("registry.example/home/notes", "home/notes", f"main@{DIGEST}"),
    ):
        forged = {"id": "1", "action": "push", "target": {"repository": path, "tag": tag}}
        told = outcome(binding(Provider.REGISTRY, image=image, tag="*"), "", {"events": [forged]})
        assert told == f"{tag} can't be the tag of an image"
    sourced = dataclasses.replace(SPEC, image="", plugin=SourceWish(type="channel"))
    assert "takes no other one" in str(outcome(generic, "", {"tag": "2"}, sourced))
    assert outcome(generic, "", {}, sourced) == AGAIN


def test_a_request_names_an_image_a_tag_or_a_digest_or_nothing() -> None:
    generic, name = binding(Provider.GENERIC), "registry.example:5000/home/notes"
    assert outcome(generic, "", {}) == AGAIN
    assert outcome(generic, "", {"tag": "main", "id": "b-1"}) == AGAIN
    assert (
        outcome(generic, "", {"tag": "2"}) == outcome(generic, "", {"image": f"{name}:2"}) == Effect(image=f"{name}:2")
    )
    assert outcome(generic, "", {"digest": DIGEST}) == Effect(image=f"{name}@{DIGEST}")
    assert outcome(generic, "", {"digest": DIGEST, "tag": "2"}) == Effect(image=f"{name}:2@{DIGEST}")
    versions = binding(Provider.GENERIC, tag="v*")
    assert outcome(versions, "", {"tag": "2"}) == "tag 2 is not v*"
    assert outcome(versions, "", {"digest": DIGEST}) == "it names no tag like v*"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"tga": "2"}, "webhook_body_malformed"),
        ({"tag": 2}, "webhook_body_malformed"),
        ({"tag": "a\nb"}, "webhook_body_malformed"),
        ({"image": "x:1", "tag": "2"}, "webhook_body_malformed"),
        ({"tag": "../x"}, "image_reference_malformed"),
        ({"image": "Not An Image"}, "image_reference_malformed"),
        ({"digest": "sha256:12"}, "image_reference_malformed"),
    ],
)
def test_a_request_that_can_not_be_meant_is_malformed(body: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        events_in(Provider.GENERIC, "", body)
    assert caught.value.code == code


def test_filters_by_branch_repository_and_tag() -> None:
    bound = binding(branch="release/*", repository="home/*")
    assert outcome(bound, "push", push("refs/heads/release/1")) == AGAIN
    assert outcome(bound, "push", push("refs/heads/main")) == "branch main is not release/*"
    foreign = push("refs/heads/release/1", repository=REPOSITORY | {"full_name": "evil/notes"})
    assert outcome(bound, "push", foreign) == "evil/notes is not home/*"
    assert "only tags" in str(outcome(binding(tag="v*"), "push", push("refs/heads/main")))


def test_a_template_makes_a_tag_of_what_was_pushed() -> None:
    bound = binding(branch="*", tag="*", image_tag="{branch}-{short_sha}")
    made = Effect(image="registry.example:5000/home/notes:feature-x-6113728")
    assert outcome(bound, "push", push("refs/heads/feature/x")) == made
    assert "can't be filled in" in str(outcome(bound, "push", push("refs/tags/v1")))


def test_a_promotion_takes_what_the_other_workload_runs() -> None:
    bound = binding(action=HookAction.PROMOTE, promote_from="s", tag="v*")
    assert outcome(bound, "push", push("refs/tags/v1")) == Effect(promote_from="s")
    asked = binding(Provider.GENERIC, action=HookAction.PROMOTE, promote_from="s")
    assert outcome(asked, "", {}) == Effect(promote_from="s")
    assert "and no other" in str(outcome(asked, "", {"tag": "2"}))


@pytest.mark.parametrize(
    "fields",
    [
        {"provider": Provider.REGISTRY, "branch": "main"},
        {"provider": Provider.GENERIC, "repository": "x"},
        {"provider": Provider.GENERIC, "image_tag": "{tag}"},
        {"action": HookAction.PROMOTE},
        {"action": HookAction.PROMOTE, "promote_from": "w"},
        {"action": HookAction.PROMOTE, "promote_from": "s", "image": "x"},
        {"provider": Provider.REGISTRY, "action": HookAction.PROMOTE, "promote_from": "s"},
        {"promote_from": "s"},
        {"image": "x:1"},
        {"image": "No"},
        {"image_tag": "{commit}"},
        {"image_tag": "-{tag}"},
    ],
)
def test_a_setting_that_would_do_nothing_or_can_not_be_is_refused(fields: dict[str, Any]) -> None:
    assert settings_problem(binding(**fields))


def test_settings_that_fit_together_are_taken() -> None:
    for bound in (
        binding(branch="main", tag="v*", repository="a/b", image="x/y", image_tag="{tag}"),
        binding(Provider.GENERIC, action=HookAction.PROMOTE, promote_from="s"),
    ):
        assert settings_problem(bound) is None


def test_of_equal_wishes_the_newest_stays() -> None:
    one, two = Effect(image="x:1"), Effect(image="x:2")
    assert superseded([("a", one), ("b", two), ("c", one), ("d", one)]) == {"a": "d", "c": "d"}


def told_by(**fields: Any) -> Told:
    return HookEvent(**fields).told


def test_events_are_told_in_words() -> None:
    branch = told_by(name="push", happening=Happening.BRANCH, ref="main", repository="a/b")
    assert (str(branch), branch.code) == ("push branch main of a/b", "hook_event_in")
    assert str(told_by(name="request", happening=Happening.REQUEST)) == "request the configured image"
    assert str(told_by(name="request", happening=Happening.REQUEST, preview="x", closed=True)) == (
        "request preview x closed"
    )
    image = told_by(name="push", happening=Happening.IMAGE, image="a/b", tag="1")
    assert str(image) == "push image a/b:1"
    assert image.values is not None
    assert image.values["what"] == {
        "message": "image a/b:1",
        "code": "hook_of_image",
        "next_step": "",
        "values": {"image": "a/b:1"},
    }
    assert told_by(name="ping", happening=Happening.PING) == Told("ping")


def test_why_nothing_follows_has_a_code_and_values() -> None:
    (event,) = events_in(Provider.GITHUB, "push", push("refs/heads/main"))
    found = decide(binding(branch="release/*"), SPEC, event)
    assert isinstance(found, Nothing)
    assert (found.why.code, str(found.why)) == ("hook_filtered", "branch main is not release/*")
    assert found.why.values == {"what": as_json(of_branch("main")), "wanted": "release/*"}


def test_an_event_that_an_earlier_version_kept_tells_why_in_its_words() -> None:
    before = HookEvent(name="issues", happening=Happening.OTHER, why="nothing follows from the event issues")
    assert decode(HookEvent, encode(before)) == before
    assert decide(binding(), SPEC, before) == Nothing(Told("nothing follows from the event issues"))
