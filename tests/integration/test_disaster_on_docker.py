"""The disaster drill on a real engine: the machine is gone, and a second repository brings its workload back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.bootstrap import Seams
from holdfast.bootstrap.backup import recover_from_place
from holdfast.bootstrap.bringing_back import bring_back
from holdfast.domain.repository import RepositoryKind, RepositoryPlace
from holdfast.testing.installation import deployed, snapshotted, succeeded
from holdfast.testing.quick_workers import QuickWorkers
from holdfast.testing.trees import build_sample_tree, describe_tree
from tests.integration.engine_bench import DockerPlace, build_keeper, keeper, the_one_running

PASSPHRASE = "correct horse battery"


@pytest.fixture
async def lost(tmp_path: Path, docker_host: str) -> AsyncIterator[DockerPlace]:
    """A machine, until it is lost."""
    await build_keeper(docker_host)
    (tmp_path / "lost").mkdir()
    place = DockerPlace(
        directory=tmp_path / "lost", docker_host=docker_host, seams=Seams(workers=QuickWorkers, backup_cost=2)
    )
    yield place
    await place.clean()


async def test_a_machine_is_lost_and_comes_back_on_another_with_what_ran_on_its_data(
    lost: DockerPlace, tmp_path: Path
) -> None:
    far = RepositoryPlace(kind=RepositoryKind.DIRECTORY, path=str(tmp_path / "far"))
    async with lost.running() as holdfast:
        workload = await deployed(holdfast, keeper())
        build_sample_tree(lost.volumes / "keeper/data")
        then = describe_tree(lost.volumes / "keeper/data")
        await snapshotted(holdfast, workload)
        await holdfast.api.repositories.add("far", far, "", encrypt=True, take_over=False)
        copies = await holdfast.api.copies.copy(
            "far", workload=workload.id, snapshot_id=None, limit_rate=None, actor="test"
        )
        await succeeded(holdfast, copies)
        await holdfast.api.backups.set_passphrase(PASSPHRASE)
        await succeeded(holdfast, await holdfast.api.backups.create(actor="test"))
    await lost.clean()

    (tmp_path / "new").mkdir()
    new = replace(lost, directory=tmp_path / "new")
    await asyncio.to_thread(recover_from_place, new.settings, far, "", None, PASSPHRASE)
    (found,) = [each async for each in bring_back(new.settings, "far", new.seams)]
    assert (found.workload, found.result) == ("keeper", "restored")
    assert describe_tree(new.volumes / "keeper/data") == then
    async with new.running() as holdfast:
        running = await the_one_running(holdfast, workload.id)
        assert str(new.volumes / "keeper/data") in {mount.source for mount in running.mounts}
