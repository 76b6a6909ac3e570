"""What a restore is told: which volumes, which image, what if it is unhealthy; and taking it back again and again."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from tests.faults.refusal_bench import Bench, assert_told, wear
from tests.faults.restart_bench import Servers

from holdfast.domain.errors import Failed, HoldfastError, Unavailable
from holdfast.domain.workload import HealthType, Scope, Volume
from holdfast.runtime.port import ImageHealth
from holdfast.testing.fake_records import Behaviour
from holdfast.testing.installation import QUICK, spec_of

NOTES = "/api/workloads/notes"
NEEDS_NEWER = Behaviour(requires={"/data/newer": None}, logs=("looking for newer",))
"""Runs on the worn data alone: the snapshot does not hold the file."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    servers = await Servers.at(tmp_path_factory.mktemp("choosing"))
    yield servers
    bench = servers.ready()  # whichever test came last here: with a version that lives on the restored data
    bench.runtime.add_image("notes:1")
    await deploy(bench, "notes:1")
    await servers.end_well()


@pytest_asyncio.fixture(loop_scope="module")
async def bench(standing: Servers) -> Bench:
    """The workload runs ``notes:1`` on worn data."""
    bench = standing.ready()
    bench.runtime.add_image("notes:1")
    await deploy(bench, "notes:1")
    return bench


async def deploy(bench: Bench, image: str) -> None:
    end = await bench.ended(await bench.post(f"{NOTES}/deploy", {"image": image}))
    assert end["state"] == "succeeded", end["error"]


def running(bench: Bench) -> list[str]:
    """The images of what runs, all with its configured policy."""
    alive = [c for c in bench.runtime.engine.state.containers.values() if c.alive]
    assert all(container.restart == "always" for container in alive)
    return [bench.runtime.engine.state.images[c.spec.image].tags[-1] for c in alive]


def image_of(bench: Bench, tag: str) -> str:
    image = bench.runtime.engine.find_image(tag)
    assert image is not None
    return image.id


async def undo(bench: Bench) -> None:
    target = (await bench.client.get(f"{NOTES}/undo")).json()["snapshot"]["id"]
    end = await bench.ended(await bench.post(f"{NOTES}/undo", {}, confirm=target))
    assert (end["kind"], end["state"]) == ("undo", "succeeded"), end["error"]
    await bench.settled()


async def release(bench: Bench) -> None:
    end = await bench.ended(await bench.post(f"{NOTES}/restore-decision", {"choice": "release"}))
    assert end["state"] == "succeeded", end["error"]
    await bench.settled()


async def test_a_whole_volume_of_a_snapshot_that_lost_another_one_is_restored(bench: Bench) -> None:
    await snapshot(bench)
    packs = bench.place.settings.repository_dir / "packs"
    kept = set(packs.iterdir())
    (bench.volumes[0] / "more").write_bytes(os.urandom(100_000))
    damaged, media = await snapshot(bench), bench.trees()[1]
    for pack in set(packs.iterdir()) - kept:
        pack.unlink()
    wear(bench)
    restore, before = f"{NOTES}/snapshots/{damaged}/restore", bench.facts()
    for body in ({}, {"volumes": ["/data"]}, {"paths": ["/data/more"]}):
        await bench.refuses(422, "snapshot_incomplete", await bench.post(restore, body, confirm=damaged), before)
    end = await bench.ended(await bench.post(restore, {"volumes": ["/media"]}, confirm=damaged))
    assert end["state"] == "succeeded", end["error"]
    assert bench.trees() == (before.trees[0], media)
    await bench.settled()


async def snapshot(bench: Bench) -> str:
    end = await bench.ended(await bench.post(f"{NOTES}/snapshots", {}))
    assert end["state"] == "succeeded", end["error"]
    return str(end["outcome"]["snapshot_id"])


async def test_only_the_named_volumes_are_restored_and_only_they_are_undone(bench: Bench) -> None:
    await bench.restored({"volumes": ["/media"]})
    assert bench.trees() == (bench.worn[0], bench.taken[1])
    (bench.volumes[0] / "kept").write_text("written after the restore of the other volume")
    written = bench.trees()
    await undo(bench)
    assert bench.trees() == (written[0], bench.worn[1])


async def test_an_undo_is_confirmed_by_the_safety_snapshot_that_it_returns_to(bench: Bench) -> None:
    await bench.restored()
    before = bench.facts()
    target = (await bench.client.get(f"{NOTES}/undo")).json()["snapshot"]
    assert (target["pinned"], target["reason"]) == (True, "safety")
    missing = await bench.post(f"{NOTES}/undo", {})
    assert missing.status_code == 428
    assert_told(missing.json()["error"], "confirmation_missing")
    wrong = await bench.post(f"{NOTES}/undo", {}, confirm=bench.snapshot_id)
    assert wrong.status_code == 422
    assert_told(wrong.json()["error"], "confirmation_mismatch")
    assert bench.facts() == before
    await undo(bench)


async def test_without_a_restore_there_is_nothing_to_undo(bench: Bench) -> None:
    volume = Volume(target="/data", scope=Scope.STAGE, source="data")
    await bench.holdfast.api.workloads.apply(spec_of("untouched", volumes=(volume,)), actor="test")
    assert (await bench.client.get("/api/workloads/untouched/undo")).json() == {"snapshot": None}
    answer = await bench.post("/api/workloads/untouched/undo", {}, confirm=bench.snapshot_id)
    assert answer.status_code == 404
    assert_told(answer.json()["error"], "nothing_to_undo")


async def test_once_its_safety_snapshot_was_let_go_a_restore_is_nothing_to_undo_any_more(bench: Bench) -> None:
    await bench.restored()
    target = (await bench.client.get(f"{NOTES}/undo")).json()["snapshot"]["id"]
    assert (await bench.client.patch(f"{NOTES}/snapshots/{target}", json={"pinned": False})).is_success
    assert (await bench.client.delete(f"{NOTES}/snapshots/{target}")).is_success
    assert (await bench.client.get(f"{NOTES}/undo")).json() == {"snapshot": None}
    answer = await bench.post(f"{NOTES}/undo", {}, confirm=target)
    assert answer.status_code == 404
    assert_told(answer.json()["error"], "nothing_to_undo")


async def test_an_image_of_then_that_is_gone_refuses_only_a_restore_that_asks_for_it(bench: Bench) -> None:
    bench.runtime.add_image("notes:2", version="2")
    await deploy(bench, "notes:2")
    gone, now = image_of(bench, "notes:1"), image_of(bench, "notes:2")
    bench.runtime.remove_image(gone)
    before = bench.facts()
    error = await bench.refuses(422, "image_missing", await bench.ask({"with_image": True}), before)
    assert gone.removeprefix("sha256:")[:12] in error["message"]
    await bench.restored()
    assert bench.trees() == bench.taken
    assert {c.spec.image for c in bench.runtime.engine.state.containers.values() if c.alive} == {now}


async def test_what_is_not_healthy_on_the_restored_data_gets_its_old_data_back_by_default(bench: Bench) -> None:
    bench.runtime.add_image("picky:1", NEEDS_NEWER)
    await deploy(bench, "picky:1")
    before = bench.facts()
    end = await bench.ended(await bench.ask())
    assert_told(end["error"], "restore_reverted")
    assert end["outcome"]["result"] == "reverted"
    assert any("newer" in line for line in end["outcome"]["instance_logs"])
    assert bench.facts() == before
    assert all(tree.endswith("/staged") for tree in end["outcome"]["kept_trees"])
    await release(bench)
    await deploy(bench, "notes:1")


async def test_a_restore_that_keeps_what_is_unhealthy_says_so_and_can_be_undone(bench: Bench) -> None:
    bench.runtime.add_image("picky:1", NEEDS_NEWER)
    await deploy(bench, "picky:1")
    end = await bench.ended(await bench.ask({"on_unhealthy": "keep"}))
    assert_told(end["error"], "restore_unhealthy")
    assert end["outcome"]["result"] == "restored_unhealthy"
    assert bench.trees() == bench.taken
    await bench.settled()
    await undo(bench)
    assert bench.trees() == bench.worn
    assert len(running(bench)) == 1


async def test_what_was_unhealthy_before_keeps_the_restored_data_by_default(bench: Bench) -> None:
    asked = replace(spec_of(), health=replace(QUICK, type=HealthType.DOCKER))
    await bench.holdfast.api.workloads.apply(asked, actor="test")
    bench.runtime.add_image("sick:1", Behaviour(health=ImageHealth.HEALTHY))
    await deploy(bench, "sick:1")
    image = bench.runtime.engine.state.images[image_of(bench, "sick:1")]
    image.behaviour = replace(image.behaviour, health=ImageHealth.UNHEALTHY)
    plan = await bench.ended(await bench.ask({"dry_run": True}))
    assert plan["outcome"]["on_unhealthy"] == "keep"
    end = await bench.ended(await bench.ask())
    assert_told(end["error"], "restore_unhealthy")
    assert bench.trees() == bench.taken
    await bench.settled()
    await bench.holdfast.api.workloads.apply(spec_of(), actor="test")


@pytest.mark.parametrize(
    "error",
    [
        Failed("engine_error", "The engine said: no.", next_step="See its log."),
        Unavailable("engine_unavailable", "The container engine does not answer.", next_step="Start it."),
    ],
)
async def test_where_nobody_can_tell_whether_it_is_healthy_now_it_has_to_be_said_what_is_to_be_done(
    bench: Bench, error: HoldfastError
) -> None:
    before = bench.facts()
    bench.runtime.fail("inspect", error=error)
    told = await bench.refuses(422, "health_unknown", await bench.ask(), before)
    assert error.message in told["message"]
    bench.runtime.fail("inspect", error=error)
    plan = await bench.ended(await bench.ask({"dry_run": True, "on_unhealthy": "keep"}))
    assert plan["outcome"]["on_unhealthy"] == "keep"
    bench.runtime.heal()


async def test_a_workload_that_was_never_deployed_is_restored_and_not_started(bench: Bench) -> None:
    volume = Volume(target="/data", scope=Scope.STAGE, source="data")
    await bench.holdfast.api.workloads.apply(spec_of("fresh", volumes=(volume,)), actor="test")
    data = bench.place.volumes / "fresh/data"
    data.mkdir(parents=True)
    (data / "kept").write_text("taken")
    taken = await bench.ended(await bench.post("/api/workloads/fresh/snapshots", {}))
    (data / "kept").write_text("worn")
    snapshot = taken["outcome"]["snapshot_id"]
    before = bench.facts()
    end = await bench.ended(await bench.post(f"/api/workloads/fresh/snapshots/{snapshot}/restore", confirm=snapshot))
    assert (end["state"], end["outcome"]["result"]) == ("succeeded", "restored_stopped"), end["error"]
    assert (data / "kept").read_text() == "taken"
    assert bench.facts() == before
    await bench.settled()


async def test_a_request_that_is_sent_again_under_its_key_is_the_same_restore(bench: Bench) -> None:
    headers = {"X-Confirm-Restore": bench.snapshot_id, "Idempotency-Key": "once"}
    first = await bench.client.post(bench.restore_path, headers=headers)
    meanwhile = await bench.client.post(bench.restore_path, headers=headers)
    await bench.ended(first)
    wear(bench)
    later = await bench.client.post(bench.restore_path, headers=headers)
    assert [first.json()["id"]] * 2 == [answer.json()["id"] for answer in (meanwhile, later)]
    assert (first.status_code, later.status_code) == (202, 202)
    assert first.headers["Location"] == later.headers["Location"]
    assert bench.trees() == bench.worn, "nothing was restored again"
    unconfirmed = await bench.client.post(bench.restore_path, headers={"Idempotency-Key": "once"})
    assert unconfirmed.status_code == 428


async def test_a_prune_is_not_taken_for_the_dry_run_that_had_its_key(bench: Bench) -> None:
    rehearsed = await bench.post("/api/repository/prune", {"dry_run": True}, key="nightly")
    await bench.ended(rehearsed)
    again = await bench.post("/api/repository/prune", {"dry_run": True}, key="nightly")
    assert again.json()["id"] == rehearsed.json()["id"]
    for body in ({"dry_run": False}, {}, None):
        real = await bench.post("/api/repository/prune", body, key="nightly")
        assert real.status_code == 409
        assert_told(real.json()["error"], "idempotency_key_reused")
    assert (await bench.ended(await bench.post("/api/repository/prune", key="tonight")))["id"] != rehearsed.json()["id"]
