"""Images that nothing needs leave the host; whatever anybody may still want stays."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.services.deploy_bench import CRASHING, STATELESS, Bench, opened

from holdfast.domain.deployment import KEPT_VERSIONS
from holdfast.domain.operation import Operation, OperationKind, OperationState
from holdfast.domain.workload import Workload
from holdfast.runtime.port import ContainerSpec, Image
from holdfast.testing.fake_runtime import Call

NOTES = "registry.example/notes:1"
APP = dataclasses.replace(STATELESS, image=NOTES)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened(tmp_path) as bench:
        yield bench


@pytest.fixture
async def app(bench: Bench) -> Workload:
    """A workload that has just fallen off its first version: so many have come after it as are kept."""
    app = await bench.add(APP)
    for number in range(KEPT_VERSIONS):
        await release(bench, app, str(number))
    return app


async def release(bench: Bench, app: Workload, version: str) -> Image:
    """A new version is pushed to the registry, and deployed."""
    bench.runtime.add_remote_image(app.spec.image, version=version)
    end = await bench.deploy(app)
    assert end.state is OperationState.SUCCEEDED, end.error
    return await version_of(bench, end)


async def version_of(bench: Bench, deployed: Operation) -> Image:
    deployment = await bench.deployments.get(str(deployed.outcome["deployment_id"]))
    assert deployment is not None
    found = await bench.runtime.image(deployment.image_id)
    assert found is not None
    return found


async def oldest(bench: Bench, app: Workload) -> str:
    """The id of the image that was deployed first."""
    return (await bench.deployments.list(app.id))[-1].image_id


async def on_host(bench: Bench) -> set[str]:
    return {image.id for image in await bench.runtime.images()}


async def pruned(bench: Bench, *, dry_run: bool = False) -> dict[str, Any]:
    """The outcome of a prune."""
    end = await bench.ended(await bench.image_care.prune(dry_run=dry_run, actor="ann"))
    assert (end.kind, end.state) == (OperationKind.PRUNE_IMAGES, OperationState.SUCCEEDED)
    return end.outcome


async def test_the_images_of_the_last_versions_stay_and_older_ones_leave_the_host(bench: Bench, app: Workload) -> None:
    kept = await on_host(bench)
    assert len(kept) == KEPT_VERSIONS
    first = await oldest(bench, app)
    newest = await release(bench, app, "newest")
    assert await on_host(bench) == (kept - {first}) | {newest.id}


async def test_a_workload_that_is_restarted_again_and_again_loses_no_version(bench: Bench) -> None:
    app = await bench.add(APP)
    first = await release(bench, app, "one")
    await release(bench, app, "two")
    for _ in range(2 * KEPT_VERSIONS):
        for container in await bench.there(app):
            await bench.runtime.remove(container.id, force=True)
        assert (await bench.start(app)).state is OperationState.SUCCEEDED
    assert first.id in await on_host(bench)


async def test_a_version_that_never_ran_healthily_goes_with_the_next_one_that_does(bench: Bench, app: Workload) -> None:
    """Until then it stays: whoever tries it again, or looks at it each night, need not pull it each time."""
    before = await on_host(bench)
    bench.runtime.add_remote_image(NOTES, CRASHING, version="broken")
    assert (await bench.deploy(app)).state is OperationState.FAILED
    (broken,) = await on_host(bench) - before
    (kept,) = [image for image in await bench.image_care.kept() if image.id == broken]
    assert (kept.names, kept.needed_by) == ((NOTES,), ())
    await release(bench, app, "mended")
    assert broken not in await on_host(bench)


async def test_a_newer_tag_that_never_ran_healthily_is_pruned(bench: Bench, app: Workload) -> None:
    before = await on_host(bench)
    newer = NOTES.replace(":1", ":2")
    bench.runtime.add_remote_image(newer, CRASHING)
    assert (await bench.deploy(app, newer)).state is OperationState.FAILED
    assert len(await on_host(bench)) == len(before) + 1
    await pruned(bench)
    assert await on_host(bench) == before


async def test_what_somebody_gave_another_name_loses_only_the_own_ones(bench: Bench, app: Workload) -> None:
    first = await oldest(bench, app)
    await bench.runtime.tag(first, "theirs", "kept")
    await release(bench, app, "newest")
    found = await bench.runtime.image(first)
    assert found is not None
    assert found.tags == ("theirs:kept",)


async def test_what_was_built_here_loses_only_the_own_names(bench: Bench) -> None:
    app = await bench.add(STATELESS)
    built = bench.runtime.add_image("notes:1")
    assert (await bench.deploy(app)).state is OperationState.SUCCEEDED
    for number in range(KEPT_VERSIONS):
        bench.runtime.add_image(f"notes:{number + 2}")
        assert (await bench.deploy(app, f"notes:{number + 2}")).state is OperationState.SUCCEEDED
    found = await bench.runtime.image(built.id)
    assert found is not None
    assert found.tags == ("notes:1",)


async def test_what_a_container_of_somebody_else_was_made_of_stays_until_it_is_gone(
    bench: Bench, app: Workload
) -> None:
    first = await oldest(bench, app)
    theirs = await bench.runtime.create(ContainerSpec(name="theirs", image=first, labels={}))
    await release(bench, app, "newest")
    assert first in await on_host(bench)
    (told,) = (await pruned(bench))["images"]
    assert (told["id"], told["removed"], told["reason"]) == (first, False, "the container theirs was made of it")

    await bench.runtime.remove(theirs)
    (told,) = (await pruned(bench))["images"]
    assert (told["id"], told["removed"]) == (first, True)
    assert first not in await on_host(bench)


async def test_what_another_workload_can_go_back_to_stays(bench: Bench, app: Workload) -> None:
    first = await oldest(bench, app)
    other = await bench.add(dataclasses.replace(APP, name="shop"))
    by_digest = f"registry.example/notes@{first}"
    assert (await bench.deploy(other, by_digest)).state is OperationState.SUCCEEDED
    await release(bench, app, "newest")
    kept = {image.id: image for image in await bench.image_care.kept()}
    assert kept[first].needed_by == ("shop",)
    assert len(kept) == KEPT_VERSIONS + 1


async def test_the_image_that_a_workload_is_configured_to_run_keeps_its_name(bench: Bench) -> None:
    app = await bench.add(APP)
    await release(bench, app, "one")
    await bench.add(dataclasses.replace(APP, name="shop"))  # not deployed yet
    await bench.workloads.delete(app.id)
    for container in await bench.there(app):
        await bench.runtime.remove(container.id, force=True)
    await pruned(bench)
    found = await bench.runtime.image(NOTES)
    assert found is not None
    assert found.tags == (NOTES,)


async def test_the_images_of_a_deleted_workload_go(bench: Bench, app: Workload) -> None:
    await bench.workloads.delete(app.id)
    for container in await bench.there(app):
        await bench.runtime.remove(container.id, force=True)
    told = await pruned(bench)
    assert [image["removed"] for image in told["images"]] == [True] * KEPT_VERSIONS
    assert told["freed_bytes"] == KEPT_VERSIONS  # one byte each, where there is no engine
    assert await on_host(bench) == set()


async def test_a_dry_run_tells_what_would_go_and_changes_nothing(bench: Bench, app: Workload) -> None:
    await bench.workloads.delete(app.id)
    there = await bench.runtime.images()
    told = await pruned(bench, dry_run=True)
    assert told["dry_run"] is True
    running = [image["reason"] for image in told["images"] if not image["removed"]]
    assert [reason.startswith("the container notes-") for reason in running] == [True]
    assert len(told["images"]) == KEPT_VERSIONS
    assert await bench.runtime.images() == there


async def test_while_a_restore_is_unfinished_nothing_of_its_workload_goes(bench: Bench, app: Workload) -> None:
    bench.undecided.add(app.id)
    await bench.images.keep(await oldest(bench, app), app.id, "the-restore")
    assert (await pruned(bench))["images"] == []
    bench.undecided.clear()
    (told,) = (await pruned(bench))["images"]
    assert (told["removed"], told["reason"]) == (False, "notes can go back to it")


async def test_what_a_rollback_is_about_to_run_stays_until_it_runs(bench: Bench, app: Workload) -> None:
    first = (await bench.deployments.list(app.id))[-1]
    bench.runtime.fail("images")
    bench.runtime.add_remote_image(NOTES, version="newest")
    assert (await bench.deploy(app)).state is OperationState.SUCCEEDED
    bench.runtime.heal()
    looked, go_on = asyncio.Event(), asyncio.Event()

    async def held(call: Call) -> None:
        if call.name == "containers" and not looked.is_set():  # the image was found by then, and not kept yet
            looked.set()
            await go_on.wait()

    bench.on_call = held
    rollback = await bench.rollbacks.rollback(app.id, first.id, actor="ann")
    await looked.wait()
    (told,) = (await pruned(bench))["images"]
    assert (told["id"], told["removed"]) == (first.image_id, False)
    assert told["reason"] == f"The workload is busy: deploy {rollback.id}."
    go_on.set()
    assert (await bench.ended(rollback)).state is OperationState.SUCCEEDED
    assert [container.image_id for container in await bench.running(app)] == [first.image_id]


async def test_cut_off_between_two_names_an_image_is_found_again(bench: Bench, app: Workload) -> None:
    first = await oldest(bench, app)
    await bench.runtime.tag(first, "registry.example/notes", "moved-on")
    bench.runtime.fail("untag", times=1, after=True)
    await release(bench, app, "newest")
    assert first in await on_host(bench)
    await pruned(bench)
    assert first not in await on_host(bench)


async def test_a_deployment_succeeds_although_images_cannot_be_listed(bench: Bench, app: Workload) -> None:
    bench.runtime.fail("images")
    bench.runtime.add_remote_image(NOTES, version="newest")
    end = await bench.deploy(app)
    assert end.state is OperationState.SUCCEEDED
    assert "images that are no longer needed were not looked for" in str(end.log)


async def test_what_no_registry_could_give_again_keeps_its_last_name(bench: Bench) -> None:
    app = await bench.add(STATELESS)
    first = bench.runtime.add_image("notes:1", version="0")
    assert (await bench.deploy(app)).state is OperationState.SUCCEEDED
    for number in range(KEPT_VERSIONS):
        bench.runtime.add_image("notes:1", version=str(number + 1))  # built again: the name moves on
        assert (await bench.deploy(app)).state is OperationState.SUCCEEDED
    assert first.id in await on_host(bench)
    (told,) = (await pruned(bench))["images"]
    assert (told["id"], told["removed"], told["reason"]) == (first.id, False, "no registry could give it again")


async def test_what_another_holdfast_on_this_host_keeps_stays_whole(bench: Bench, app: Workload) -> None:
    first = await oldest(bench, app)
    await bench.runtime.tag(first, "holdfast.local/another/workload", "deployment")
    before = await bench.runtime.image(first)
    assert before is not None
    await release(bench, app, "newest")
    found = await bench.runtime.image(first)
    assert found is not None
    assert found.digests == before.digests, "by its digest the other one finds it again"
