"""Every way in to another version waits while real containers are held by a restore; then each comes to its end.

The engine is Docker, the versions come from a real registry, which tells of a push itself; the restores are under way
because the programs that they stop take their time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import uvicorn

from holdfast.api.app import create_app
from holdfast.bootstrap import Holdfast
from holdfast.domain.deployment import DeployReason
from holdfast.domain.operation import Operation
from holdfast.domain.webhook import Binding, Provider
from holdfast.domain.workload import Hooks, Scope, SourceWish, UpdatePolicy, Volume, Workload
from holdfast.runtime.port import LABEL_INSTALLATION, Container
from holdfast.services.previews import PreviewWish
from holdfast.services.scheduler import PATIENCE
from holdfast.testing.images import build_image
from holdfast.testing.installation import deployed, restore, snapshotted, succeeded
from holdfast.testing.plugins import install
from holdfast.testing.registry import push, registry
from tests.integration.engine_bench import SCRATCH, Ahead, DockerPlace, keeper, the_one_running, until

PLUGIN = Path(__file__).resolve().parents[1] / "plugins" / "holdfast-channel"
SHARED = Volume(target="/media", scope=Scope.PROJECT, source="media")
SECRET = "the-registry-s-own"
RELUCTANT = """
trap 'touch /scratch/stopping; while [ -e /scratch/held ]; do sleep 0.05; done; exit 0' TERM
touch /scratch/alive
while :; do sleep 0.1 & wait $!; done
"""
"""Told to end, it first waits until ``/scratch/held`` is gone."""


@pytest.fixture
async def place(tmp_path: Path, docker_host: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DockerPlace]:
    site = tmp_path / "site"
    site.mkdir()
    install(PLUGIN, site)
    monkeypatch.syspath_prepend(site)
    place = DockerPlace(directory=tmp_path, docker_host=docker_host)
    yield place
    await place.clean()


@asynccontextmanager
async def serving(holdfast: Holdfast) -> AsyncIterator[str]:
    """The address at which it answers."""
    server = uvicorn.Server(uvicorn.Config(create_app(holdfast.api), port=0, lifespan="off", log_config=None))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.wait([task], timeout=0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


class HeldRestore:
    """A restore that is under way, until it is let go, since the workload's program does not end before."""

    def __init__(self, holdfast: Holdfast, workload: Workload) -> None:
        self._holdfast, self._workload = holdfast, workload
        self._container_id = ""

    async def begin(self, snapshot_id: str) -> Operation:
        self._container_id = (await the_one_running(self._holdfast, self._workload.id)).id
        await self._must("touch", "/scratch/held")
        operation = await restore(self._holdfast, self._workload, snapshot_id)
        await until(lambda: self._does("test", "-e", "/scratch/stopping"))
        return operation

    async def let_go(self) -> None:
        await self._must("rm", "/scratch/held")

    async def _must(self, *command: str) -> None:
        assert await self._does(*command), command

    async def _does(self, *command: str) -> bool:
        return (await self._holdfast.runtime.exec(self._container_id, list(command), 30.0)).code == 0


async def pushed(docker_host: str, repository: str, tag: str) -> str:
    """Have a new image under a tag of the registry. Returns the image's id."""
    image_id = await build_image(docker_host, f"{repository}:{tag}", script=RELUCTANT, env={"VERSION": tag})
    await push(docker_host, image_id, f"{repository}:{tag}")
    return image_id


async def delivered(holdfast: Holdfast, workload: Workload, binding: Binding) -> Operation:
    """The operation that binding's delivery led to; of other tags it is told as well."""

    async def begun() -> list[str]:
        told = await holdfast.api.webhooks.deliveries(workload.id, binding.id, 10, None)
        return [delivery.operation_id for delivery in told.items if delivery.operation_id is not None]

    async def has_begun() -> bool:
        return bool(await begun())

    await until(has_begun)
    (operation_id,) = await begun()
    return await holdfast.operations.get(operation_id)


async def updated(holdfast: Holdfast, clock: Ahead) -> Operation:
    """The operation that the schedule begins: at first it lets others go first, then it gets in line."""
    for seconds in (0.0, 61.0, PATIENCE.total_seconds()):
        clock.seconds += seconds
        await holdfast.scheduler.look()
    (update,) = [each for each in (await holdfast.operations.list(50, None)).items if each.actor == "schedule"]
    return update


async def waits_for(holdfast: Holdfast, operation: Operation) -> str:
    async for seen in holdfast.operations.events(operation.id):
        if seen.waiting_for or seen.state.ended:
            return seen.waiting_for
    return ""


async def on_the_engine(place: DockerPlace, holdfast: Holdfast) -> list[Container]:
    """All its containers, as they stand."""
    installation = place.settings.installation_file.read_text().strip()
    found = await holdfast.runtime.containers({LABEL_INSTALLATION: installation})
    return sorted(found, key=lambda container: container.id)


@pytest.mark.xdist_group("registry")
async def test_every_way_in_waits_for_a_restore_of_real_containers_and_says_for_which(
    place: DockerPlace, docker_host: str, tmp_path: Path
) -> None:
    clock = Ahead()
    place = replace(place, seams=replace(place.seams, clock=clock))
    async with place.running() as holdfast, serving(holdfast) as url:
        api = holdfast.api
        spec = replace(keeper("notes", volumes=(SHARED,), image="none:1"), stop_grace=120.0, hooks=Hooks())
        notes = (await api.workloads.apply(spec, actor="test")).workload
        assert notes is not None
        wanted = Binding(id="", workload_id="", provider=Provider.REGISTRY, tag="3")
        binding, address = await api.webhooks.create(notes.id, wanted, SECRET, actor="test")
        with registry(tmp_path, tells=f"{url}{address}", secret=SECRET) as host:
            repository = f"{host}/holdfast-test/ways-in"
            first, second = [await pushed(docker_host, repository, tag) for tag in ("1", "2")]
            spec = replace(spec, image=f"{repository}:1")
            await deployed(holdfast, replace(spec, updates=UpdatePolicy(schedule="* * * * *")))
            await deployed(holdfast, replace(spec, name="staging", image=f"{repository}:2", volumes=(SCRATCH,)))
            channel = tmp_path / "channel"
            channel.write_text(first)
            wish = SourceWish(type="channel", settings=(("file", str(channel)),))
            plugged = await deployed(holdfast, replace(spec, name="plugged", image="", plugin=wish))
            branch = PreviewWish(key="pr-17", image=f"{repository}:2", actor="ann")
            made = await succeeded(holdfast, await api.previews.begin("notes", branch))
            preview = (await api.previews.get(str(made.workload_id))).workload
            (deployment,) = (await api.deployer.deployments("notes", 10, None)).items
            (tried,) = (await api.deployer.deployments("staging", 10, None)).items
            media = place.volumes / "@house/media/entry"
            media.write_text("of the snapshot")
            snapshots = {each.name: await snapshotted(holdfast, each) for each in (notes, plugged, preview)}
            media.write_text("of later")

            held, held_preview = HeldRestore(holdfast, notes), HeldRestore(holdfast, preview)
            running = await held.begin(snapshots["notes"])
            of_preview = await held_preview.begin(snapshots[preview.name])
            before = await on_the_engine(place, holdfast)
            channel.write_text(second)
            deploy = await api.deployer.deploy("notes", image=f"{repository}:2", actor="ann")
            rollback = await api.rollbacks.rollback("notes", deployment.id, actor="ann")
            promotion = await api.promotions.promote("staging", "notes", tried.id, actor="ann")
            third = await pushed(docker_host, repository, "3")
            ways = {
                DeployReason.DEPLOY: deploy,
                DeployReason.ROLLBACK: rollback,
                DeployReason.PROMOTE: promotion,
                DeployReason.WEBHOOK: await delivered(holdfast, notes, binding),
                DeployReason.START: await api.deployer.start("notes", actor="ann"),
                DeployReason.UPDATE: await updated(holdfast, clock),
                "a source of a plugin": await api.deployer.deploy("plugged", actor="ann"),
                DeployReason.RESTORE: await restore(holdfast, plugged, snapshots["plugged"]),
            }
            again = await api.previews.begin("notes", replace(branch, image=f"{repository}:1"))
            waiting = {name: await waits_for(holdfast, way) for name, way in ways.items()}
            assert waiting == dict.fromkeys(ways, f"waiting for restore {running.id}")
            assert await waits_for(holdfast, again) == f"waiting for restore {of_preview.id}"
            skipped = await holdfast.reconciler.look(notes.id)
            assert skipped.skipped == "a restore is unfinished"
            assert {*ways, DeployReason.PREVIEW, DeployReason.RECONCILE} >= set(DeployReason)
            assert await on_the_engine(place, holdfast) == before

            await held.let_go()
            await held_preview.let_go()
            for operation in (running, of_preview, *ways.values(), again):
                await succeeded(holdfast, operation)
            deployments = reversed((await api.deployer.deployments("notes", 20, None)).items)
            assert [(each.reason, each.image_id) for each in deployments] == [
                (DeployReason.DEPLOY, first),
                (DeployReason.RESTORE, first),
                (DeployReason.DEPLOY, second),
                (DeployReason.ROLLBACK, first),
                (DeployReason.PROMOTE, second),
                (DeployReason.WEBHOOK, third),
                (DeployReason.RESTORE, third),
            ], "a start and an update find there what they are for"
            assert media.read_text() == "of the snapshot"
            images = {each.name: (await the_one_running(holdfast, each.id)).image_id for each in (plugged, preview)}
            assert images == {"plugged": second, preview.name: first}
        for tag in ("1", "2", "3"):
            await holdfast.runtime.untag(f"{repository}:{tag}")
