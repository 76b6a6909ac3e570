"""Clones between real containers: production is copied while it runs, and never notices."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiodocker import Docker

from holdfast.bootstrap import Holdfast
from holdfast.domain.clone import LikeSource
from holdfast.domain.errors import Refused
from holdfast.domain.operation import OperationKind
from holdfast.domain.workload import DrillPolicy, Scope, SnapshotPolicy, Volume
from holdfast.runtime.port import LABEL_INSTALLATION, Container
from holdfast.services.clones import CloneWish
from holdfast.services.workload_status import Condition
from holdfast.testing.installation import deployed, snapshotted, succeeded, undone
from holdfast.testing.trees import build_sample_tree, describe_tree
from tests.integration.engine_bench import SCRATCH, Ahead, DockerPlace, build_keeper, keeper, the_one_running, until


@pytest.fixture
async def place(tmp_path: Path, docker_host: str) -> AsyncIterator[DockerPlace]:
    await build_keeper(docker_host)
    (tmp_path / "srv").mkdir()
    place = DockerPlace(directory=tmp_path, docker_host=docker_host, roots=(tmp_path / "srv",))
    yield place
    await place.clean()


async def production(holdfast: Holdfast, place: DockerPlace, policy: SnapshotPolicy | None = None) -> str:
    """A workload that runs on two volumes, one of them somewhere on the host; and a snapshot of it."""
    elsewhere = place.directory / "srv/media"
    elsewhere.mkdir(parents=True)
    volumes = (
        Volume(target="/data", scope=Scope.STAGE, source="data"),
        Volume(target="/media", scope=Scope.ABSOLUTE, source=str(elsewhere)),
        SCRATCH,
    )
    spec = replace(keeper(), volumes=volumes)
    workload = await deployed(holdfast, spec if policy is None else replace(spec, snapshots=policy))
    for path in (place.volumes / "keeper/data", elsewhere):
        build_sample_tree(path)
    return await snapshotted(holdfast, workload)


def production_trees(place: DockerPlace) -> tuple[object, object]:
    return describe_tree(place.volumes / "keeper/data"), describe_tree(place.directory / "srv/media")


async def test_production_is_cloned_into_staging_byte_for_byte_and_never_stopped(place: DockerPlace) -> None:
    async with place.running() as holdfast:
        snapshot_id = await production(holdfast, place)
        good = production_trees(place)
        source = await the_one_running(holdfast, (await holdfast.api.workloads.get("keeper")).id)
        staging = await deployed(holdfast, replace(keeper(), name="staging", project="lab"))
        data, media = place.volumes / "staging/data", place.volumes / "@lab/media"
        (data / "mine").write_text("of staging")
        before = describe_tree(data), describe_tree(media)

        wish = CloneWish(snapshot_id=snapshot_id, confirm=snapshot_id, actor="test")
        end = await succeeded(holdfast, await holdfast.api.clones.into(wish, "staging"))
        assert (end.kind, end.outcome["result"]) == (OperationKind.CLONE, "restored")
        assert (describe_tree(data), describe_tree(media)) == good
        await the_one_running(holdfast, staging.id)

        await undone(holdfast, staging)
        assert (describe_tree(data), describe_tree(media)) == before
        assert production_trees(place) == good
        now = await the_one_running(holdfast, source.labels["holdfast.workload"])
        assert (now.id, now.started_at, now.restart_count) == (source.id, source.started_at, source.restart_count)
        await holdfast.reaper.idle()
        assert place.leftovers() == []


async def test_a_new_workload_runs_on_the_data_of_the_snapshot_and_an_undo_takes_it_away(place: DockerPlace) -> None:
    async with place.running() as holdfast:
        snapshot_id = await production(holdfast, place)
        good = production_trees(place)
        wish = CloneWish(snapshot_id=snapshot_id, confirm=snapshot_id, actor="test")
        with pytest.raises(Refused) as refusal:
            await holdfast.api.clones.new(wish, LikeSource(name="trial", project="trial"))
        assert [problem.code for problem in refusal.value.problems] == ["clone_shares_volume"]

        spec = replace(keeper(), name="trial", project="trial")
        end = await succeeded(holdfast, await holdfast.api.clones.new(wish, spec))
        data, media = place.volumes / "trial/data", place.volumes / "@trial/media"
        assert (end.outcome["result"], end.outcome["workload"]) == ("restored", "trial")
        assert (describe_tree(data), describe_tree(media)) == good
        trial = await holdfast.api.workloads.get("trial")
        assert (await the_one_running(holdfast, trial.id)).restart is spec.restart
        status = await holdfast.api.workloads.status("trial")
        assert (status.condition, status.differences) == (Condition.RUNNING, ())

        await undone(holdfast, trial)
        assert not any(data.iterdir())
        await holdfast.reaper.idle()
        assert place.leftovers() == []


async def test_a_drill_by_schedule_proves_a_snapshot_in_a_container_of_its_own_and_leaves_no_trace(
    place: DockerPlace,
) -> None:
    check = (
        'until test -e /scratch/seen; do sleep 0.05; done; test ! -e /data/later && test -n "$(ls /media)" && '
        "echo it lives"
    )
    nightly = DrillPolicy(schedule="0 4 * * *", command=("sh", "-c", check))
    clock = Ahead()
    async with replace(place, seams=replace(place.seams, clock=clock)).running() as holdfast:
        snapshot_id = await production(holdfast, place, SnapshotPolicy(before_deploy=False, drill=nightly))
        good = production_trees(place)
        source = await the_one_running(holdfast, (await holdfast.api.workloads.get("keeper")).id)
        (place.volumes / "keeper/data/later").write_text("not in the snapshot")

        await holdfast.scheduler.look()
        clock.seconds += 25 * 3600
        await holdfast.scheduler.look()
        (begun,) = (await holdfast.operations.list(1, None)).items
        assert (begun.kind, begun.actor) == (OperationKind.DRILL, "schedule")
        assert await reaches_nobody(holdfast, place, source)
        end = await succeeded(holdfast, begun)
        assert "it lives" in [line.message for line in end.log]
        assert (await holdfast.api.snapshots.get("keeper", snapshot_id)).proved_at == end.outcome["proved_at"]
        assert [each.name for each in place.volumes.iterdir() if each.name.startswith("drill-")] == []
        assert len(await holdfast.runtime.containers({LABEL_INSTALLATION: source.labels[LABEL_INSTALLATION]})) == 1
        (place.volumes / "keeper/data/later").unlink()
        assert production_trees(place)[1] == good[1]
        now = await the_one_running(holdfast, source.labels["holdfast.workload"])
        assert (now.id, now.started_at) == (source.id, source.started_at)
        assert place.leftovers() == []


async def reaches_nobody(holdfast: Holdfast, place: DockerPlace, source: Container) -> bool:
    """Whether the engine lets the copy that is being drilled reach nothing. Lets its check go on."""
    label = {LABEL_INSTALLATION: source.labels[LABEL_INSTALLATION]}
    copies: list[Container] = []

    async def runs() -> bool:
        there = await holdfast.runtime.containers(label)
        copies[:] = [each for each in there if each.id != source.id and each.running]
        return bool(copies)

    await until(runs)
    async with Docker(place.docker_host) as docker:
        container = await (await docker.containers.get(copies[0].id)).show()
        names = container["NetworkSettings"]["Networks"]
        internal = [(await (await docker.networks.get(name)).show())["Internal"] for name in names]
    await holdfast.runtime.exec(copies[0].id, ["touch", "/scratch/seen"], 30.0)
    return internal == [True] and not copies[0].ports
