"""Clones: the data of one workload in another one, or in a new one, and the one that it comes from never touched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from holdfast.bootstrap import Holdfast, Seams
from holdfast.domain.clone import LikeSource
from holdfast.domain.deployment import DeployReason
from holdfast.domain.errors import ConfirmationMissing, Conflict, NotFound, Refused
from holdfast.domain.operation import OperationKind, OperationState
from holdfast.domain.restore import OnUnhealthy
from holdfast.domain.workload import DesiredState, Port, Scope, SourceWish, Volume, WorkloadSpec
from holdfast.runtime.port import LABEL_WORKLOAD
from holdfast.services.clones import CloneWish
from holdfast.services.workload_status import Condition
from holdfast.testing.fake_records import Behaviour
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.installation import (
    Installation,
    deployed,
    ended,
    installation,
    restore,
    snapshotted,
    spec_of,
    succeeded,
    undone,
)
from holdfast.testing.plugins import install
from holdfast.testing.quick_workers import QuickWorkers
from holdfast.testing.trees import describe_tree

DATA = Volume(target="/data", scope=Scope.STAGE, source="data")
MEDIA = Volume(target="/media", scope=Scope.PROJECT, source="media")


@pytest.fixture
def place(tmp_path: Path) -> Installation:
    """With an engine that keeps its own state beside what is allowed for volumes, not above it."""
    place = installation(tmp_path)
    (tmp_path / "engine").mkdir()
    engine = partial(FakeRuntime, state_file=tmp_path / "engine.json", root_dir=str(tmp_path / "engine"))
    return replace(place, runtime=lambda _settings: engine(), seams=Seams(workers=QuickWorkers))


@pytest.fixture
async def holdfast(place: Installation) -> AsyncIterator[Holdfast]:
    async with place.running() as holdfast:
        yield holdfast


def staging(name: str = "staging", **fields: object) -> WorkloadSpec:
    """Another workload of the same image, whose volumes are its own."""
    return replace(spec_of(name), project=name, **fields)  # type: ignore[arg-type]


def apart(**fields: object) -> LikeSource:
    return LikeSource(name="staging", project="staging", **fields)  # type: ignore[arg-type]


def wish(snapshot_id: str, **fields: object) -> CloneWish:
    return CloneWish(snapshot_id=snapshot_id, confirm=snapshot_id, actor="test", **fields)  # type: ignore[arg-type]


def fill(place: Installation, name: str, project: str, text: str) -> None:
    for directory in (place.volumes / name / "data", place.volumes / f"@{project}" / "media"):
        (directory / "content").write_text(text)


def trees(place: Installation, name: str, project: str) -> tuple[object, object]:
    return describe_tree(place.volumes / name / "data"), describe_tree(place.volumes / f"@{project}" / "media")


async def production(holdfast: Holdfast, place: Installation) -> str:
    """A workload with data, and a snapshot of it; its id."""
    workload = await deployed(holdfast)
    fill(place, "notes", "home", "of production")
    snapshot_id = await snapshotted(holdfast, workload)
    fill(place, "notes", "home", "of production, later")
    return snapshot_id


def codes(refusal: Refused) -> list[str]:
    return [problem.code for problem in refusal.problems]


def running(holdfast: Holdfast, workload_id: str) -> list[tuple[str, float]]:
    """Id and start of a workload's running containers: other ones, or another start, mean that it was stopped."""
    assert isinstance(holdfast.runtime, FakeRuntime)
    return [
        (container.id, container.started)
        for container in holdfast.runtime.engine.state.containers.values()
        if container.spec.labels[LABEL_WORKLOAD] == workload_id and container.alive
    ]


# --- into an existing workload --------------------------------------------------------------------------------------


async def test_a_clone_brings_all_volumes_over_and_leaves_the_workload_that_it_comes_from_alone(
    holdfast: Holdfast, place: Installation
) -> None:
    snapshot_id = await production(holdfast, place)
    target = await deployed(holdfast, staging())
    fill(place, "staging", "staging", "of staging")
    source = await holdfast.api.workloads.get("notes")
    before, ran = trees(place, "notes", "home"), running(holdfast, source.id)

    end = await succeeded(holdfast, await holdfast.api.clones.into(wish(snapshot_id), "staging"))

    assert (end.kind, end.workload_id, end.outcome["result"]) == (OperationKind.CLONE, target.id, "restored")
    assert end.outcome["cloned_from"] == {"id": source.id, "name": "notes"}
    for path in (place.volumes / "staging/data", place.volumes / "@staging/media"):
        assert (path / "content").read_text() == "of production"
    assert trees(place, "notes", "home") == before
    assert running(holdfast, source.id) == ran
    safety = await holdfast.api.snapshots.get("staging", str(end.outcome["safety_snapshot_id"]))
    assert (safety.pinned, safety.manifest.workload_name) == (True, "staging")
    assert "notes" in safety.manifest.note

    await undone(holdfast, target)
    assert (place.volumes / "staging/data/content").read_text() == "of staging"
    await undone(holdfast, target)
    assert (place.volumes / "staging/data/content").read_text() == "of production"


async def test_a_dry_run_of_a_clone_says_whose_data_would_come_and_changes_nothing(
    holdfast: Holdfast, place: Installation
) -> None:
    snapshot_id = await production(holdfast, place)
    await deployed(holdfast, staging())
    fill(place, "staging", "staging", "of staging")
    before = trees(place, "staging", "staging")
    dry = CloneWish(snapshot_id=snapshot_id, actor="test", dry_run=True)
    end = await succeeded(holdfast, await holdfast.api.clones.into(dry, "staging"))
    assert (end.outcome["result"], end.outcome["workload"]) == ("dry_run", "staging")
    assert end.outcome["cloned_from"]["name"] == "notes"  # type: ignore[index]
    assert trees(place, "staging", "staging") == before
    assert not [warning for warning in end.outcome["warnings"] if "configuration" in str(warning)]  # type: ignore[attr-defined]


async def test_a_volume_may_lie_elsewhere_in_the_workload_that_the_data_goes_to(
    holdfast: Holdfast, place: Installation
) -> None:
    snapshot_id = await production(holdfast, place)
    elsewhere = place.directory / "srv/files"
    elsewhere.mkdir(parents=True)
    volumes = (DATA, Volume(target="/files", scope=Scope.ABSOLUTE, source=str(elsewhere)))
    await deployed(holdfast, staging(volumes=volumes))
    with pytest.raises(Refused) as refusal:
        await holdfast.api.clones.into(wish(snapshot_id), "staging")
    assert codes(refusal.value) == ["volume_not_in_snapshot", "volume_not_configured"]
    mapped = wish(snapshot_id, renames={"/media": "/files"})
    await succeeded(holdfast, await holdfast.api.clones.into(mapped, "staging"))
    assert (elsewhere / "content").read_text() == "of production"


async def test_an_unhealthy_clone_is_taken_back(tmp_path: Path) -> None:
    place = installation(tmp_path, image="picky:1", behaviour=Behaviour(requires={"/data/content": "of staging"}))
    async with place.running() as holdfast:
        source = (await holdfast.api.workloads.apply(spec_of(image="picky:1"), actor="test")).workload
        assert source is not None
        for path in (place.volumes / "notes/data", place.volumes / "@home/media"):
            path.mkdir(parents=True)
        fill(place, "notes", "home", "of production")
        snapshot_id = await snapshotted(holdfast, source)
        made = (await holdfast.api.workloads.apply(staging(image="picky:1"), actor="test")).workload
        assert made is not None
        for path in (place.volumes / "staging/data", place.volumes / "@staging/media"):
            path.mkdir(parents=True)
        fill(place, "staging", "staging", "of staging")
        await succeeded(holdfast, await holdfast.api.deployer.deploy(made.id, actor="test"))
        asked = holdfast.api.clones.into(wish(snapshot_id), "staging", on_unhealthy=OnUnhealthy.REVERT)
        end = await ended(holdfast, await asked)
        assert (end.error or {})["code"] == "restore_reverted"
        assert (place.volumes / "staging/data/content").read_text() == "of staging"
        assert len(running(holdfast, made.id)) == 1


async def test_a_restore_of_another_workloads_snapshot_is_refused(holdfast: Holdfast, place: Installation) -> None:
    snapshot_id = await production(holdfast, place)
    target = await deployed(holdfast, staging())
    for dry_run in (True, False):
        with pytest.raises(NotFound) as unknown:
            await restore(holdfast, target, snapshot_id, dry_run=dry_run)
        assert unknown.value.code == "snapshot_unknown"
        assert f"holdfast clone {snapshot_id} --into staging" in unknown.value.next_step


async def test_a_workloads_own_snapshot_is_restored_and_not_cloned(holdfast: Holdfast, place: Installation) -> None:
    snapshot_id = await production(holdfast, place)
    with pytest.raises(Refused) as refusal:
        await holdfast.api.clones.into(wish(snapshot_id), "notes")
    assert codes(refusal.value) == ["clone_into_itself"]
    assert "holdfast restore notes" in refusal.value.problems[0].next_step


async def test_a_clone_needs_the_snapshots_id_as_its_confirmation(holdfast: Holdfast, place: Installation) -> None:
    snapshot_id = await production(holdfast, place)
    await deployed(holdfast, staging())
    before = trees(place, "staging", "staging")
    with pytest.raises(ConfirmationMissing):
        await holdfast.api.clones.into(replace(wish(snapshot_id), confirm=None), "staging")
    with pytest.raises(Refused) as refusal:
        await holdfast.api.clones.into(replace(wish(snapshot_id), confirm="staging"), "staging")
    assert codes(refusal.value) == ["confirmation_mismatch"]
    with pytest.raises(ConfirmationMissing):
        await holdfast.api.clones.new(replace(wish(snapshot_id), confirm=None), staging("other"))
    assert trees(place, "staging", "staging") == before
    assert [w.name for w in (await holdfast.api.workloads.list(10, None)).items] == ["staging", "notes"]


async def test_a_volume_that_both_share_is_never_replaced_by_a_clone(holdfast: Holdfast, place: Installation) -> None:
    snapshot_id = await production(holdfast, place)
    await deployed(holdfast, replace(spec_of("staging"), project="home"))
    before = trees(place, "notes", "home")
    with pytest.raises(Refused) as refusal:
        await holdfast.api.clones.into(wish(snapshot_id), "staging")
    assert codes(refusal.value) == ["clone_shares_volume"]
    await succeeded(holdfast, await holdfast.api.clones.into(wish(snapshot_id, volumes=("/data",)), "staging"))
    assert trees(place, "notes", "home") == before
    assert (place.volumes / "staging/data/content").read_text() == "of production"


async def test_a_workload_that_is_being_deleted_does_not_disturb_the_clone_of_its_snapshot(
    holdfast: Holdfast, place: Installation
) -> None:
    snapshot_id = await production(holdfast, place)
    await deployed(holdfast, staging())
    clone = await holdfast.api.clones.into(wish(snapshot_id), "staging")
    deletion = await holdfast.api.workloads.delete("notes", delete_data=True, actor="test")
    await succeeded(holdfast, deletion)
    await succeeded(holdfast, clone)
    assert (place.volumes / "staging/data/content").read_text() == "of production"
    # And afterwards: the snapshot is all that is left of it.
    fill(place, "staging", "staging", "worn")
    await succeeded(holdfast, await holdfast.api.clones.into(wish(snapshot_id), "staging"))
    assert (place.volumes / "staging/data/content").read_text() == "of production"
    listed = await holdfast.api.snapshots.list_all(of="notes", limit=10, cursor=None)
    assert [snapshot.id for snapshot in listed.items] == [snapshot_id]


async def test_a_snapshot_that_is_being_cloned_is_not_deleted(holdfast: Holdfast, place: Installation) -> None:
    snapshot_id = await production(holdfast, place)
    await deployed(holdfast, staging())
    clone = await holdfast.api.clones.into(wish(snapshot_id), "staging")
    async for state in holdfast.operations.events(clone.id):
        if any(step.name == "staging" for step in state.steps):
            break
    with pytest.raises(Conflict) as conflict:
        await holdfast.api.snapshots.delete("notes", snapshot_id, actor="test")
    assert conflict.value.code == "snapshot_in_use"
    await succeeded(holdfast, clone)


# --- into a new workload --------------------------------------------------------------------------------------------


async def test_a_new_workload_gets_its_data_before_it_runs_for_the_first_time(tmp_path: Path) -> None:
    needs = Behaviour(requires={"/data/content": "of production"})
    place = installation(tmp_path)
    async with place.running() as holdfast:
        snapshot_id = await production(holdfast, place)
        assert isinstance(holdfast.runtime, FakeRuntime)
        holdfast.runtime.add_image("notes:1", needs)
        before = trees(place, "notes", "home")
        end = await succeeded(holdfast, await holdfast.api.clones.new(wish(snapshot_id), apart(stage="staging")))
        made = await holdfast.api.workloads.get("staging")
        assert (end.kind, end.workload_id, end.outcome["result"]) == (OperationKind.CLONE, made.id, "restored")
        assert (made.desired, made.spec.stage, made.spec.project) == (DesiredState.RUNNING, "staging", "staging")
        assert (place.volumes / "@staging/media/content").read_text() == "of production"
        assert trees(place, "notes", "home") == before
        status = await holdfast.api.workloads.status("staging")
        assert (status.condition, status.differences, status.pending) == (Condition.RUNNING, (), ())
        assert status.deployed is not None
        assert status.deployed.reason is DeployReason.DEPLOY
        await holdfast.reaper.idle()
        assert place.leftovers() == []


async def test_a_declaration_makes_a_workload_of_a_snapshot_whose_own_is_gone(
    holdfast: Holdfast, place: Installation
) -> None:
    snapshot_id = await production(holdfast, place)
    await succeeded(holdfast, await holdfast.api.workloads.delete("notes", delete_data=True, actor="test"))
    with pytest.raises(Refused) as refusal:
        await holdfast.api.clones.new(wish(snapshot_id), apart())
    assert codes(refusal.value) == ["clone_source_gone"]
    await succeeded(holdfast, await holdfast.api.clones.new(wish(snapshot_id), staging()))
    assert (place.volumes / "staging/data/content").read_text() == "of production"
    # Also under its old name, with the snapshots that it left.
    await succeeded(holdfast, await holdfast.api.clones.new(wish(snapshot_id), spec_of()))
    assert (place.volumes / "notes/data/content").read_text() == "of production"
    listed = await holdfast.api.snapshots.list("notes", limit=10, cursor=None)
    assert snapshot_id in [snapshot.id for snapshot in listed.items]


async def test_a_dry_run_of_a_new_workload_makes_none(holdfast: Holdfast, place: Installation) -> None:
    snapshot_id = await production(holdfast, place)
    dry = CloneWish(snapshot_id=snapshot_id, actor="test", dry_run=True)
    end = await succeeded(holdfast, await holdfast.api.clones.new(dry, apart()))
    assert (end.workload_id, end.outcome["workload"], end.outcome["image"]) == (None, "staging", "notes:1")
    assert end.outcome["warnings"] == []
    assert [volume["before"] for volume in end.outcome["volumes"]] == ["missing", "missing"]  # type: ignore[attr-defined]
    with pytest.raises(NotFound):
        await holdfast.api.workloads.get("staging")
    assert not (place.volumes / "staging").exists()


async def test_what_would_collide_with_the_source_is_refused_all_at_once(
    holdfast: Holdfast, place: Installation
) -> None:
    elsewhere = place.directory / "srv/files"
    elsewhere.mkdir(parents=True)
    spec = replace(
        spec_of(volumes=(DATA, MEDIA, Volume(target="/files", scope=Scope.ABSOLUTE, source=str(elsewhere)))),
        ports=(Port(container_port=80, host_port=8080, host_ip="127.0.0.1"), Port(container_port=81)),
    )
    workload = await deployed(holdfast, spec)
    snapshot_id = await snapshotted(holdfast, workload)
    with pytest.raises(Refused) as refusal:
        await holdfast.api.clones.new(wish(snapshot_id), LikeSource(name="staging"))
    assert codes(refusal.value) == ["port_conflict", "clone_shares_volume", "clone_shares_volume"]
    assert {problem.details.get("target") for problem in refusal.value.problems} == {None, "/media", "/files"}
    with pytest.raises(Refused) as refusal:
        await holdfast.api.clones.new(wish(snapshot_id), apart(ports=(Port(container_port=80),)))
    assert codes(refusal.value) == ["clone_shares_volume"]
    with pytest.raises(NotFound):
        await holdfast.api.workloads.get("staging")


async def test_a_workload_that_has_run_is_not_made_anew(holdfast: Holdfast, place: Installation) -> None:
    snapshot_id = await production(holdfast, place)
    await deployed(holdfast, staging())
    with pytest.raises(Conflict) as conflict:
        await holdfast.api.clones.new(wish(snapshot_id), staging())
    assert conflict.value.code == "clone_name_taken"
    assert "--into staging" in conflict.value.next_step


async def test_of_a_new_workload_that_fails_before_its_data_is_in_place_nothing_is_left(
    holdfast: Holdfast, place: Installation
) -> None:
    snapshot_id = await production(holdfast, place)
    asked = await holdfast.api.clones.new(wish(snapshot_id), staging(image="unknown:1"))
    end = await ended(holdfast, asked)
    assert end.state is OperationState.FAILED
    assert any("was not made" in line.message for line in end.log)
    with pytest.raises(NotFound):
        await holdfast.api.workloads.get("staging")
    assert not (place.volumes / "staging").exists()
    await succeeded(holdfast, await holdfast.api.clones.new(wish(snapshot_id), staging()))


async def test_a_refused_new_workload_is_not_made(holdfast: Holdfast, place: Installation) -> None:
    snapshot_id = await production(holdfast, place)
    with pytest.raises(Refused) as refusal:
        await holdfast.api.clones.new(wish(snapshot_id), staging(volumes=(DATA,)))
    assert codes(refusal.value) == ["volume_not_configured"]
    with pytest.raises(NotFound):
        await holdfast.api.workloads.get("staging")


async def test_a_new_workload_that_is_unhealthy_keeps_its_data_and_says_so(
    holdfast: Holdfast, place: Installation
) -> None:
    snapshot_id = await production(holdfast, place)
    assert isinstance(holdfast.runtime, FakeRuntime)
    holdfast.runtime.add_image("picky:1", Behaviour(requires={"/data/content": "other"}))
    end = await ended(holdfast, await holdfast.api.clones.new(wish(snapshot_id), staging(image="picky:1")))
    assert (end.error or {})["code"] == "restore_unhealthy"
    assert (place.volumes / "staging/data/content").read_text() == "of production"
    # Mended, the same request goes on where that one ended.
    holdfast.runtime.add_image("picky:1", Behaviour())
    await succeeded(holdfast, await holdfast.api.clones.new(wish(snapshot_id), staging(image="picky:1")))
    assert (await holdfast.api.workloads.status("staging")).condition is Condition.RUNNING


async def test_a_new_workload_that_is_called_off_during_its_trial_has_no_data_and_runs_nothing(
    holdfast: Holdfast, place: Installation
) -> None:
    snapshot_id = await production(holdfast, place)
    assert isinstance(holdfast.runtime, FakeRuntime)
    holdfast.runtime.add_image("slow:1", Behaviour(requires={"/data/content": "other"}))
    clone = await holdfast.api.clones.new(wish(snapshot_id), staging(image="slow:1"))
    async for state in holdfast.operations.events(clone.id):
        if any(step.name == "redeploying" for step in state.steps):
            await holdfast.operations.cancel(clone.id)
            break
    end = await ended(holdfast, clone)
    assert (end.error or {})["code"] == "restore_reverted"
    assert "nothing runs on it" in str((end.error or {})["message"])
    assert not (place.volumes / "staging/data").exists()
    made = await holdfast.api.workloads.get("staging")
    assert running(holdfast, made.id) == []


async def test_what_comes_along_of_the_sources_configuration_is_named_without_its_values(
    holdfast: Holdfast, place: Installation
) -> None:
    secret = replace(spec_of(), env=(("DATABASE_URL", "postgres://secret"),), labels=(("proxy.host", "notes"),))
    workload = await deployed(holdfast, secret)
    snapshot_id = await snapshotted(holdfast, workload)
    dry = CloneWish(snapshot_id=snapshot_id, actor="test", dry_run=True)
    end = await succeeded(holdfast, await holdfast.api.clones.new(dry, apart()))
    assert "environment (DATABASE_URL), labels (proxy.host) of notes" in str(end.outcome["warnings"])
    assert "secret" not in str(end.outcome)


async def test_the_image_of_then_runs_on_the_clone_if_that_is_asked_for(
    holdfast: Holdfast, place: Installation
) -> None:
    snapshot_id = await production(holdfast, place)
    assert isinstance(holdfast.runtime, FakeRuntime)
    then = await holdfast.runtime.image("notes:1")
    assert then is not None
    holdfast.runtime.add_image("notes:2", Behaviour())
    await succeeded(holdfast, await holdfast.api.deployer.deploy("notes", image="notes:2", actor="test"))
    end = await succeeded(holdfast, await holdfast.api.clones.new(wish(snapshot_id, with_image=True), apart()))
    assert (end.outcome["image"], end.outcome["image_id"]) == ("notes:1", then.id)
    made = await holdfast.api.workloads.get("staging")
    assert made.spec.image == "notes:1"


async def test_a_clone_of_what_a_plugin_names_asks_the_plugin_what_to_run(
    holdfast: Holdfast, place: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, file = tmp_path / "site", tmp_path / "channel"
    site.mkdir()
    install(Path(__file__).parents[1] / "plugins" / "holdfast-channel", site)
    monkeypatch.syspath_prepend(site)
    wish_of = SourceWish(type="channel", settings=(("file", str(file)),))
    with pytest.raises(Refused) as refusal:
        await holdfast.api.workloads.apply(replace(spec_of(), image="", plugin=SourceWish(type="chanel")), actor="test")
    assert refusal.value.code == "source_unknown"
    file.write_text("notes:1")
    workload = await deployed(holdfast, replace(spec_of(), image="", plugin=wish_of))
    snapshot_id = await snapshotted(holdfast, workload)
    assert isinstance(holdfast.runtime, FakeRuntime)
    newer = holdfast.runtime.add_image("notes:2", Behaviour())
    file.write_text("notes:2")
    end = await succeeded(holdfast, await holdfast.api.clones.new(wish(snapshot_id), apart()))
    assert (end.outcome["image"], end.outcome["image_id"]) == ("notes:2", newer.id)
    made = await holdfast.api.workloads.get("staging")
    assert (made.spec.image, made.spec.plugin) == ("", wish_of)
    status = await holdfast.api.workloads.status("staging")
    assert (status.condition, status.pending) == (Condition.RUNNING, ())


async def test_the_same_key_gives_the_clone_that_it_started(holdfast: Holdfast, place: Installation) -> None:
    snapshot_id = await production(holdfast, place)
    first = await holdfast.api.clones.new(wish(snapshot_id, idempotency_key="k"), staging())
    again = await holdfast.api.clones.new(wish(snapshot_id, idempotency_key="k"), staging())
    assert first.id == again.id
    await succeeded(holdfast, first)
    later = await holdfast.api.clones.new(wish(snapshot_id, idempotency_key="k"), staging())
    assert later.id == first.id
