"""Imports look at the engine: what is beside the containers, and what others would bring back."""

from __future__ import annotations

import pytest

from holdfast.domain.errors import Refused
from holdfast.runtime.port import ContainerSpec
from holdfast.services.container_import import ContainerImport
from holdfast.testing.fake_runtime import FakeRuntime


async def run(engine: FakeRuntime, name: str, **labels: str) -> str:
    image = engine.add_image("app:1")
    marked = {f"com.docker.{key.replace('_', '.')}": value for key, value in labels.items()}
    container_id = await engine.create(ContainerSpec(name=name, image=image.id, labels=marked))
    await engine.start(container_id)
    return container_id


async def test_running_containers_of_the_same_compose_project_that_stay_behind_are_named() -> None:
    engine = FakeRuntime()
    await run(engine, "shop-db-1", compose_project="shop", compose_service="db")
    await run(engine, "shop-web-1", compose_project="shop", compose_service="web")
    await run(engine, "apart", compose_project="other", compose_service="db")
    imports = ContainerImport(engine, "me")
    (db,) = (await imports.propose(["shop-db-1"], project=None)).containers
    (finding,) = [finding for finding in db.workload.findings if finding.path == "shop-db-1.networks"]
    assert finding.message.startswith("shop-web-1 of the same project")
    together = await imports.propose(["shop-db-1", "shop-web-1"], project=None)
    assert not [f for each in together.containers for f in each.workload.findings if f.path.endswith("networks")]


async def test_what_a_container_wrote_beside_its_volumes_is_looked_for() -> None:
    engine = FakeRuntime()
    engine.engine.find(await run(engine, "blog")).layer.append("/app/db.sqlite")
    (blog,) = (await ContainerImport(engine, "me").propose(["blog"], project=None)).containers
    assert "blog.layer" in {finding.path for finding in blog.workload.findings}


async def test_a_container_that_an_orchestrator_would_bring_back_is_refused() -> None:
    engine = FakeRuntime()
    await run(engine, "web.1.abc", swarm_task_id="abc")
    with pytest.raises(Refused) as refusal:
        await ContainerImport(engine, "me").propose(["web.1.abc"], project=None)
    (problem,) = refusal.value.problems
    assert problem.code == "container_orchestrated"
    assert "Docker Swarm" in problem.message
