"""A preview in real containers, from its first deployment to the last snapshot that is left of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.domain.workload import PreviewPolicy, PreviewSeed, Scope, Volume
from holdfast.runtime.port import LABEL_INSTALLATION
from holdfast.services.previews import PreviewWish
from holdfast.testing.images import build_image
from holdfast.testing.installation import deployed, snapshotted, succeeded
from tests.integration.engine_bench import IMAGE, KEEPER, DockerPlace, build_keeper, keeper, the_one_running

DATA = Volume(target="/data", scope=Scope.STAGE, source="data")
CHANGED = "holdfast-test/keeper:of-a-branch"


@pytest.fixture
async def place(tmp_path: Path, docker_host: str) -> AsyncIterator[DockerPlace]:
    await build_keeper(docker_host)
    await build_image(docker_host, CHANGED, script=f"echo changed\n{KEEPER}")
    place = DockerPlace(directory=tmp_path, docker_host=docker_host)
    yield place
    await place.clean()


async def test_a_preview_has_data_of_its_own_is_updated_on_it_and_leaves_a_snapshot_alone(place: DockerPlace) -> None:
    async with place.running() as holdfast:
        policy = PreviewPolicy(seed=PreviewSeed.LATEST, last_snapshot=True)
        parent = await deployed(holdfast, replace(keeper(volumes=(DATA,)), previews=policy))
        live = place.volumes / "keeper/data/entry"
        live.write_text("of production")
        await snapshotted(holdfast, parent)
        there = await the_one_running(holdfast, parent.id)

        wish = PreviewWish(key="pr-17", image=CHANGED, actor="test")
        made = await succeeded(holdfast, await holdfast.api.previews.begin("keeper", wish))
        assert made.workload_id is not None
        preview = (await holdfast.api.previews.get(made.workload_id)).workload
        (theirs,) = {*place.volumes.rglob("entry")} - {live}
        assert theirs.read_text() == "of production"
        assert (await the_one_running(holdfast, preview.id)).image_id != there.image_id
        theirs.write_text("of the branch")

        await succeeded(holdfast, await holdfast.api.previews.begin("keeper", replace(wish, image=IMAGE)))
        assert (await the_one_running(holdfast, preview.id)).image_id == there.image_id
        assert (theirs.read_text(), live.read_text()) == ("of the branch", "of production")

        end = await succeeded(
            holdfast,
            await holdfast.api.previews.end(preview.id, last_snapshot=None, actor="test", idempotency_key=None),
        )
        installation = place.settings.installation_file.read_text().strip()
        left = await holdfast.runtime.containers({LABEL_INSTALLATION: installation})
        assert [container.id for container in left] == [there.id]
        assert not theirs.exists()
        last = await holdfast.api.snapshots.anywhere(str(end.outcome["snapshot_id"]))
        assert (last.manifest.workload_id, last.manifest.consistency) == (preview.id, "stopped")
        await holdfast.reaper.idle()
        assert place.leftovers() == []
