"""A preview in real containers, from its first deployment to the last snapshot that is left of it."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.bootstrap import Holdfast
from holdfast.domain.errors import HoldfastError
from holdfast.domain.operation import Operation
from holdfast.domain.webhook import Binding, HookAction, Provider
from holdfast.domain.workload import PreviewPolicy, PreviewSeed, Scope, Volume
from holdfast.runtime.port import LABEL_INSTALLATION
from holdfast.services.health_gate import SystemClock
from holdfast.services.previews import PreviewWish
from holdfast.testing.images import build_image
from holdfast.testing.installation import deployed, snapshotted, succeeded
from tests.integration.engine_bench import KEEPER, DockerPlace, build_keeper, containers, keeper, the_one_running, until

DATA = Volume(target="/data", scope=Scope.STAGE, source="data")
SECRET = "the-forge-s-own"
OPENED, PUSHED = "a" * 40, "b" * 40


class Ahead(SystemClock):
    """The machine's clock, set ahead."""

    seconds = 0.0

    def time(self) -> float:
        return super().time() + self.seconds


@pytest.fixture
async def place(tmp_path: Path, docker_host: str) -> AsyncIterator[DockerPlace]:
    await build_keeper(docker_host)
    await build_image(docker_host, f"holdfast-test/keeper:pr-17-{OPENED[:7]}", script=f"echo changed\n{KEEPER}")
    await build_image(docker_host, f"holdfast-test/keeper:pr-17-{PUSHED[:7]}", script=KEEPER)
    place = DockerPlace(directory=tmp_path, docker_host=docker_host)
    yield place
    await place.clean()


class Forge:
    """GitHub, as far as a workload with a webhook for previews knows of it."""

    def __init__(self, holdfast: Holdfast, workload_id: str) -> None:
        self._holdfast, self._workload_id = holdfast, workload_id

    async def is_told_the_address(self) -> None:
        wanted = Binding(
            id="",
            workload_id="",
            provider=Provider.GITHUB,
            action=HookAction.PREVIEW,
            image_tag="pr-{pull}-{short_sha}",
        )
        self._binding, address = await self._holdfast.api.webhooks.create(
            self._workload_id, wanted, SECRET, actor="test"
        )
        self._address = address.rpartition("/")[2]

    async def tells(self, action: str, sha: str) -> Operation:
        """What a pull request's event leads to, once that has succeeded."""
        repository = {"full_name": "home/keeper"}
        request = {"head": {"ref": "a-branch", "sha": sha, "repo": repository}, "base": {"repo": repository}}
        event: dict[str, Any] = {
            "action": action,
            "number": 17,
            "pull_request": request,
            "repository": repository,
        }
        body = json.dumps(event).encode()

        async def read() -> bytes:
            return body

        headers = {
            "x-github-event": "pull_request",
            "x-hub-signature-256": f"sha256={hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}",
        }
        (receipt,) = await self._holdfast.api.webhooks.receive(self._address, headers, read)
        began: list[str] = []

        async def begun() -> bool:
            page = await self._holdfast.api.webhooks.deliveries(self._workload_id, self._binding.id, 10, None)
            began.extend(d.operation_id for d in page.items if d.id == receipt.delivery.id and d.operation_id)
            return bool(began)

        await until(begun)
        return await succeeded(self._holdfast, await self._holdfast.operations.get(began[0]))


async def test_a_pull_request_has_a_preview_with_data_of_its_own_until_it_is_closed(place: DockerPlace) -> None:
    async with place.running() as holdfast:
        policy = PreviewPolicy(seed=PreviewSeed.LATEST, last_snapshot=True)
        parent = await deployed(holdfast, replace(keeper(volumes=(DATA,)), previews=policy))
        live = place.volumes / "keeper/data/entry"
        live.write_text("of production")
        await snapshotted(holdfast, parent)
        there = await the_one_running(holdfast, parent.id)
        forge = Forge(holdfast, parent.id)
        await forge.is_told_the_address()

        made = await forge.tells("opened", OPENED)
        assert made.workload_id is not None
        preview = (await holdfast.api.previews.get(made.workload_id)).workload
        (theirs,) = {*place.volumes.rglob("entry")} - {live}
        assert theirs.read_text() == "of production"
        assert (await the_one_running(holdfast, preview.id)).image_id != there.image_id
        theirs.write_text("of the branch")

        await forge.tells("synchronize", PUSHED)
        assert (await the_one_running(holdfast, preview.id)).image_id == there.image_id
        assert (theirs.read_text(), live.read_text()) == ("of the branch", "of production")

        end = await forge.tells("closed", PUSHED)
        installation = place.settings.installation_file.read_text().strip()
        left = await holdfast.runtime.containers({LABEL_INSTALLATION: installation})
        assert [container.id for container in left] == [there.id]
        assert not theirs.exists()
        last = await holdfast.api.snapshots.anywhere(str(end.outcome["snapshot_id"]))
        assert (last.manifest.workload_id, last.manifest.consistency) == (preview.id, "stopped")
        await holdfast.reaper.idle()
        assert place.leftovers() == []


async def test_an_empty_preview_that_nobody_updates_goes_with_its_data_and_makes_room_for_another(
    place: DockerPlace,
) -> None:
    clock = Ahead()
    async with replace(place, seams=replace(place.seams, clock=clock)).running() as holdfast:
        policy = PreviewPolicy(expires=3600.0, most=1)
        parent = await deployed(holdfast, replace(keeper(volumes=(DATA,)), previews=policy))
        (place.volumes / "keeper/data/entry").write_text("of production")
        wish = PreviewWish(key="a-branch", actor="test")
        made = await succeeded(holdfast, await holdfast.api.previews.begin("keeper", wish))
        assert made.workload_id is not None
        container = await the_one_running(holdfast, made.workload_id)
        (data,) = [Path(mount.source) for mount in container.mounts if mount.target == "/data"]
        assert list(data.iterdir()) == []
        with pytest.raises(HoldfastError) as refusal:
            await holdfast.api.previews.begin("keeper", replace(wish, key="another"))
        assert refusal.value.code == "previews_too_many"

        clock.seconds += 2 * 3600
        await holdfast.preview_expiry.look()
        (removal,) = (await holdfast.operations.list(1)).items
        assert removal.actor == "expiry"
        await succeeded(holdfast, removal)
        assert not data.exists()
        there = [each.id for each in await containers(holdfast, parent.id)]
        label = {LABEL_INSTALLATION: container.labels[LABEL_INSTALLATION]}
        assert [each.id for each in await holdfast.runtime.containers(label)] == there
        await succeeded(holdfast, await holdfast.api.previews.begin("keeper", replace(wish, key="another")))
