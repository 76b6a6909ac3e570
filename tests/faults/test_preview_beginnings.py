"""Previews that begin badly, or on a name that another workload has left."""

from __future__ import annotations

from typing import Any

from tests.faults.test_previews import Hook, engine_of, holdfast, made, names, place, removal_of, wish, with_previews

from holdfast.bootstrap import Holdfast
from holdfast.domain.deployment import DeploymentState
from holdfast.domain.operation import OperationState
from holdfast.domain.webhook import DeliveryState, Provider
from holdfast.testing.fake_records import Behaviour
from holdfast.testing.installation import TWO_VOLUMES, deployed, ended, snapshotted, spec_of, succeeded

__all__ = ["holdfast", "place"]


async def test_those_whose_first_deployment_fails_are_seen_updated_and_removed(holdfast: Holdfast) -> None:
    await holdfast.api.workloads.apply(with_previews(), actor="test")
    engine_of(holdfast).add_image("notes:broken", Behaviour(exit_code=3))
    for key, image in (("pr-1", "notes:not-built-yet"), ("pr-2", "notes:broken")):
        first = await ended(holdfast, await holdfast.api.previews.begin("notes", wish(key, image=image)))
        assert first.state is OperationState.FAILED
    newest, oldest = await holdfast.api.previews.list(None)
    assert (oldest.deployment, newest.deployment) == (None, DeploymentState.FAILED)

    assert (await made(holdfast, "pr-1", image="notes:1")).deployment is DeploymentState.SUCCEEDED
    await succeeded(holdfast, await removal_of(holdfast, "notes-pr-2"))
    assert await names(holdfast) == ["notes", "notes-pr-1"]
    await made(holdfast, "pr-3", image="notes:1")


async def test_a_preview_and_a_workload_of_one_name_each_have_only_the_snapshots_that_they_left(
    holdfast: Holdfast,
) -> None:
    async def ids(ref: str) -> tuple[str, list[str]]:
        found = (await holdfast.api.snapshots.list(ref, limit=10, cursor=None)).items
        return (await holdfast.api.workloads.get(ref)).id, [snapshot.id for snapshot in found]

    name = "notes-pr-1"
    await holdfast.api.workloads.apply(with_previews(), actor="test")
    lasting = await deployed(holdfast, spec_of(name, volumes=TWO_VOLUMES[:1]))
    of_lasting = (lasting.id, [await snapshotted(holdfast, lasting)])
    await succeeded(holdfast, await holdfast.api.workloads.delete(name, delete_data=True, actor="test"))

    await made(holdfast, "pr-1", last_snapshot=True)
    of_preview = await ids(name)
    assert of_preview == (of_preview[0], [])
    assert of_preview[0] != lasting.id
    await succeeded(holdfast, await removal_of(holdfast, name))

    await made(holdfast, "pr-1", last_snapshot=False)
    assert ((again := await ids(name))[0], len(again[1])) == (of_preview[0], 1), "made again, it has what it left"
    await succeeded(holdfast, await removal_of(holdfast, name))

    await holdfast.api.workloads.apply(spec_of(name, volumes=TWO_VOLUMES[:1]), actor="test")
    assert await ids(name) == of_lasting


async def test_what_comes_late_makes_no_preview_of_a_pull_request_that_is_closed(holdfast: Holdfast) -> None:
    await holdfast.api.workloads.apply(with_previews(), actor="test")
    hook, builds = await Hook.made(holdfast, Provider.GITHUB), await Hook.made(holdfast, Provider.GENERIC)
    repository = {"full_name": "home/notes"}

    def pull(action: str) -> dict[str, Any]:
        request = {"head": {"ref": "x", "sha": "a" * 40, "repo": repository}, "base": {"repo": repository}}
        return {"action": action, "number": 17, "pull_request": request, "repository": repository}

    built = {"preview": "pr-17", "image": "notes:1"}
    await hook.applied(pull("synchronize"))
    assert await names(holdfast) == ["notes", "notes-pr-17"], "one that was opened before there was a webhook has one"
    await hook.applied(pull("closed"))
    for late in (await hook.applied(pull("synchronize")), await builds.applied(built)):
        assert (late.state, "was closed before" in str(late.why)) == (DeliveryState.IGNORED, True)
    assert await names(holdfast) == ["notes"]
    await hook.applied(pull("reopened"))
    await succeeded(holdfast, await removal_of(holdfast, "notes-pr-17"))
    await builds.applied({**built, "id": "once more"})
    assert await names(holdfast) == ["notes", "notes-pr-17"]
