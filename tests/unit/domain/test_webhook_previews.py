"""What previews follow from branches, pull requests and requests; payloads in the form that the providers document."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.domain.errors import InvalidInput
from holdfast.domain.webhook import Binding, Effect, HookAction, Nothing, Provider, settings_problem
from holdfast.domain.webhook_effects import decide
from holdfast.domain.webhook_payloads import events_in
from holdfast.domain.workload import SourceWish, WorkloadSpec

SPEC = WorkloadSpec(name="notes", image="notes:1", project="home")
SHA = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"
NONE = "0" * 40
HOME = {"id": 1, "full_name": "home/notes", "default_branch": "main"}
FORGES = (Provider.GITHUB, Provider.GITEA)


def binding(provider: Provider = Provider.GITHUB, **fields: Any) -> Binding:
    return Binding(id="b", workload_id="w", provider=provider, action=HookAction.PREVIEW, **fields)


def outcome(bound: Binding, name: str, document: dict[str, Any], spec: WorkloadSpec = SPEC) -> Effect | str:
    """What follows, or why nothing does."""
    (event,) = events_in(bound.provider, name, document)
    found = decide(bound, spec, event)
    return str(found.why) if isinstance(found, Nothing) else found


def pull(action: str, *, head: object = HOME, ref: str = "feature/x", number: object = 17) -> dict[str, Any]:
    """A pull request of GitHub, Gitea or Forgejo."""
    request = {
        "number": number,
        "state": "open",
        "head": {"label": "home:feature/x", "ref": ref, "sha": SHA, "repo": head},
        "base": {"label": "home:main", "ref": "main", "sha": SHA, "repo": HOME},
    }
    return {"action": action, "number": number, "pull_request": request, "repository": HOME}


def merge(action: str, *, source: object = 15, **fields: Any) -> dict[str, Any]:
    """A merge request of GitLab."""
    attributes = {
        "iid": 17,
        "action": action,
        "source_branch": "feature/x",
        "source_project_id": source,
        "target_project_id": 15,
        "last_commit": {"id": SHA},
    }
    project = {"id": 15, "path_with_namespace": "home/notes", "default_branch": "main"}
    return {"object_kind": "merge_request", "project": project, "object_attributes": attributes | fields}


@pytest.mark.parametrize("provider", FORGES)
def test_a_pull_request_has_a_preview_from_its_opening_to_its_end(provider: Provider) -> None:
    bound = binding(provider, image_tag="pr-{pull}-{short_sha}")
    for action in ("opened", "reopened", "synchronize", "synchronized"):
        effect = outcome(bound, "pull_request", pull(action))
        assert effect == Effect(image=f"notes:pr-17-{SHA[:7]}", preview="pr-17")
    assert outcome(bound, "pull_request", pull("closed")) == Effect(preview="pr-17", closed=True)
    assert "labeled" in str(outcome(bound, "pull_request", pull("labeled")))
    assert outcome(binding(provider), "pull_request", pull("opened")) == Effect(image="notes:1", preview="pr-17")


def test_a_merge_request_has_one_likewise() -> None:
    bound = binding(Provider.GITLAB, image_tag="{branch}")
    wanted = Effect(image="notes:feature-x", preview="pr-17")
    for document in (merge("open"), merge("reopen"), merge("update", oldrev=NONE)):
        assert outcome(bound, "Merge Request Hook", document) == wanted
    for action in ("close", "merge"):
        assert outcome(bound, "Merge Request Hook", merge(action)) == Effect(preview="pr-17", closed=True)
    for action in ("update", "approved", ""):
        assert "nothing was pushed" in str(outcome(bound, "Merge Request Hook", merge(action)))


def test_code_from_another_repository_is_not_run() -> None:
    theirs = {"id": 2, "full_name": "mallory/notes"}
    for head in (theirs, None, {}, {"full_name": 7}):
        assert "another repository" in str(outcome(binding(), "pull_request", pull("opened", head=head)))
        closed = outcome(binding(), "pull_request", pull("closed", head=head))
        assert closed == Effect(preview="pr-17", closed=True), "what is there goes all the same"
    for source in (16, None):
        document = merge("open", source=source)
        assert "another repository" in str(outcome(binding(Provider.GITLAB), "Merge Request Hook", document))


def test_code_that_is_in_no_branch_of_the_repository_is_not_run() -> None:
    """AGit: Gitea and Forgejo say of it that it is in the repository itself."""
    document = pull("opened", ref="refs/pull/17/head")
    assert "or in none" in str(outcome(binding(Provider.GITEA), "pull_request", document))


def test_branches_have_previews_where_they_are_named_and_then_pull_requests_have_none() -> None:
    push = {"ref": "refs/heads/feature/x", "after": SHA, "repository": HOME}
    gone = push | {"after": NONE, "deleted": True}
    bound = binding(branch="feature/*", image_tag="{branch}")
    assert outcome(bound, "push", push) == Effect(image="notes:feature-x", preview="feature/x")
    for name, document in (
        ("push", gone),
        ("delete", {"ref": "feature/x", "ref_type": "branch", "repository": HOME}),
    ):
        assert outcome(bound, name, document) == Effect(preview="feature/x", closed=True)
    assert outcome(bound, "delete", {"ref": "v1", "ref_type": "tag", "repository": HOME}) == "it was deleted"
    assert "is not feature/*" in str(outcome(bound, "push", push | {"ref": "refs/heads/main"}))
    assert "is not feature/*" in str(outcome(bound, "push", gone | {"ref": "refs/heads/main"}))
    assert "no preview follows" in str(outcome(bound, "push", push | {"ref": "refs/tags/v1"}))
    assert "not pull requests" in str(outcome(bound, "pull_request", pull("opened")))
    assert "not branches" in str(outcome(binding(), "push", push))
    assert "is not other/*" in str(outcome(binding(repository="other/*"), "pull_request", pull("closed")))


def test_a_request_names_the_preview() -> None:
    bound = binding(Provider.GENERIC)
    assert outcome(bound, "", {"preview": "pr-17", "tag": "x"}) == Effect(image="notes:x", preview="pr-17")
    assert outcome(bound, "", {"preview": "pr-17"}) == Effect(image="notes:1", preview="pr-17")
    assert outcome(bound, "", {"preview": "pr-17", "closed": True}) == Effect(preview="pr-17", closed=True)
    assert outcome(bound, "", {"tag": "x"}) == "it names no preview"
    assert "is not notes" in str(outcome(bound, "", {"preview": "x", "image": "evil/notes:1"}))
    deploys = Binding(id="b", workload_id="w", provider=Provider.GENERIC)
    assert outcome(deploys, "", {"preview": "pr-17"}) == "no previews are made through this webhook"
    for body in ({"closed": True}, {"preview": "x", "closed": "yes"}, {"preview": ""}, {"preview": 7}):
        with pytest.raises(InvalidInput):
            events_in(Provider.GENERIC, "", body)


def test_a_source_says_itself_what_a_preview_runs() -> None:
    built = WorkloadSpec(name="notes", image="", project="home", plugin=SourceWish(type="build"))
    assert outcome(binding(), "pull_request", pull("opened"), built) == Effect(preview="pr-17")
    assert "source build" in str(outcome(binding(image_tag="{sha}"), "pull_request", pull("opened"), built))


def test_what_deploys_does_not_care_for_pull_requests() -> None:
    deploys = Binding(id="b", workload_id="w", provider=Provider.GITHUB)
    for action in ("opened", "closed"):
        assert outcome(deploys, "pull_request", pull(action)) == "nothing follows from pull requests"


@pytest.mark.parametrize("number", [None, 0, -1, True, "17", 10**15, 1.5])
def test_a_pull_request_without_a_number_is_malformed(number: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        events_in(Provider.GITHUB, "pull_request", pull("opened", number=number))
    assert refused.value.code == "webhook_body_malformed"


def test_settings_that_make_no_sense_for_previews_are_refused() -> None:
    assert settings_problem(binding(image_tag="pr-{pull}")) is None
    assert settings_problem(binding(Provider.GENERIC, tag="pr-*")) is None
    assert "registry" in str(settings_problem(binding(Provider.REGISTRY)))
    assert "tags" in str(settings_problem(binding(tag="v*")))
    assert "promote_from" in str(settings_problem(binding(promote_from="staging")))
    deploys = Binding(id="b", workload_id="w", provider=Provider.GITHUB, image_tag="pr-{pull}")
    assert "{pull}" in str(settings_problem(deploys))
