"""Promotions: another workload gets the very image that one runs healthily; or all stays as it is, and is told why."""

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.services.deploy_bench import STATEFUL, STATELESS, Bench, opened

from holdfast.domain.deployment import Deployment, DeployReason
from holdfast.domain.errors import Conflict, NotFound
from holdfast.domain.ids import new_id
from holdfast.domain.operation import Operation, OperationKind, OperationState
from holdfast.domain.workload import HealthCheck, HealthType, Workload
from holdfast.testing.fake_records import Behaviour, Command

TAG = "registry.example/notes:main"
STAGING = dataclasses.replace(STATELESS, name="staging", stage="test", image=TAG, env=(("MODE", "test"),))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened(tmp_path) as bench:
        yield bench


async def staged(bench: Bench) -> tuple[Workload, Deployment, Workload]:
    """A workload that runs an image of a registry, its deployment, and the one in production, which runs another."""
    bench.runtime.add_remote_image(TAG)
    staging = await bench.add(STAGING)
    assert (await bench.deploy(staging)).state is OperationState.SUCCEEDED
    return staging, await bench.newest(staging), await bench.deployed(STATEFUL)


async def promoted(bench: Bench, deployment: Deployment) -> Operation:
    return await bench.ended(await bench.promotions.promote("staging", "notes", deployment.id, actor="ann"))


async def refused(bench: Bench, source: str = "staging", to: str = "notes") -> Conflict:
    with pytest.raises(Conflict) as caught:
        await bench.promotions.plan(source, to)
    return caught.value


async def test_the_very_image_runs_and_is_configured_and_nothing_else_goes_over(bench: Bench) -> None:
    staging, deployment, production = await staged(bench)
    moved = bench.runtime.add_remote_image(TAG, version="newer")
    assert moved != deployment.digest
    operation = await promoted(bench, deployment)
    assert (operation.state, operation.kind) == (OperationState.SUCCEEDED, OperationKind.PROMOTE)
    assert operation.workload_id == production.id
    assert "promoted from staging (test)" in operation.log[0].message
    assert operation.log[0].code == "promoted"
    (instance,) = await bench.running(production)
    assert instance.image_id == deployment.image_id
    newest = await bench.newest(production)
    assert (newest.reason, newest.digest) == (DeployReason.PROMOTE, deployment.digest)
    assert (await bench.reload(production)).spec == dataclasses.replace(STATEFUL, image=str(deployment.digest))
    assert (await bench.newest(staging)) == deployment
    again = await promoted(bench, deployment)
    assert again.outcome["result"] == "already_there"


async def test_the_plan_tells_what_changes_and_changes_nothing(bench: Bench) -> None:
    _, deployment, production = await staged(bench)
    plan = await bench.promotions.plan("staging", "notes")
    assert (plan.deployment, plan.digest) == (deployment, deployment.digest)
    assert [(change.path, change.before, change.after) for change in plan.changes] == [
        ("image", "notes:1", deployment.digest)
    ]
    assert await bench.reload(production) == production


async def test_what_runs_nothing_has_no_version_to_promote(bench: Bench) -> None:
    staging, deployment, _ = await staged(bench)
    await bench.stop(staging)
    assert (await refused(bench)).code == "promotion_of_nothing"
    with pytest.raises(Conflict):
        await bench.promotions.promote("staging", "notes", deployment.id, actor="ann")
    assert (await refused(bench, "notes", "notes")).code == "promotion_to_itself"
    with pytest.raises(NotFound):
        await bench.promotions.plan("staging", "nobody")


async def test_an_image_that_was_built_here_has_no_digest(bench: Bench) -> None:
    await bench.deployed(dataclasses.replace(STAGING, image="built:1"))
    await bench.deployed(STATEFUL)
    assert (await refused(bench)).code == "promotion_without_digest"


async def test_once_it_was_pushed_and_deployed_from_there_the_same_image_is_promoted(bench: Bench) -> None:
    staging = await bench.deployed(dataclasses.replace(STAGING, image="built:1"))
    await bench.deployed(STATEFUL)
    digest = f"built@sha256:{'a' * 64}"
    bench.runtime.add_image("built:1", digest=digest)
    assert (await bench.deploy(staging)).outcome["result"] == "deployed"
    assert (await bench.promotions.plan("staging", "notes")).digest == digest
    assert (await bench.deploy(staging)).outcome["result"] == "already_there"


async def test_what_is_not_one_successful_deployment_is_not_promoted(bench: Bench) -> None:
    staging, _, _ = await staged(bench)
    bench.runtime.add_image("other:1")
    await bench.within(lambda ctx: bench.trial(staging, "other:1", ctx))
    assert (await refused(bench)).code == "promotion_unsettled"


async def test_what_is_unhealthy_is_not_promoted(bench: Bench) -> None:
    check = HealthCheck(type=HealthType.COMMAND, command=("check",), deadline=1.0)
    bench.runtime.add_remote_image(TAG, Behaviour(commands={"check": Command()}))
    staging = await bench.add(dataclasses.replace(STAGING, health=check))
    assert (await bench.deploy(staging)).state is OperationState.SUCCEEDED
    deployment = await bench.newest(staging)
    production = await bench.deployed(STATEFUL)
    before = await bench.running(production)
    async with bench.locks.hold([production.id], "restore r1"):
        asked = await bench.promotions.promote("staging", "notes", deployment.id, actor="ann")
        bench.runtime.engine.state.images[deployment.image_id].behaviour = Behaviour(
            commands={"check": Command(code=1)}
        )
    assert (await refused(bench)).code == "promotion_unhealthy"
    operation = await bench.ended(asked)
    assert operation.error is not None
    assert operation.error["code"] == "promotion_unhealthy", "it became so while the promotion waited for its turn"
    assert await bench.running(production) == before


async def test_another_version_than_the_one_that_was_looked_at_is_not_promoted(bench: Bench) -> None:
    staging, deployment, production = await staged(bench)
    with pytest.raises(Conflict) as caught:
        await bench.promotions.promote("staging", "notes", new_id(), actor="ann")
    assert caught.value.code == "promotion_outdated"
    async with bench.locks.hold([production.id], "restore r1"):
        asked = await bench.promotions.promote("staging", "notes", deployment.id, actor="ann")
        bench.runtime.add_remote_image(TAG, version="newer")
        assert (await bench.deploy(staging)).state is OperationState.SUCCEEDED
    operation = await bench.ended(asked)
    assert operation.error is not None
    assert operation.error["code"] == "promotion_outdated"
    assert (await bench.reload(production)) == production


async def test_it_waits_while_a_restore_holds_the_workload_that_gets_it(bench: Bench) -> None:
    _, deployment, production = await staged(bench)
    (before,) = await bench.running(production)
    async with bench.locks.hold([production.id], "restore r1"):
        asked = await bench.promotions.promote("staging", "notes", deployment.id, actor="ann")
        async for seen in bench.operations.events(asked.id):
            if seen.waiting_for:
                assert seen.waiting_for == "waiting for restore r1"
                break
        assert await bench.running(production) == (before,)
    assert (await bench.ended(asked)).state is OperationState.SUCCEEDED


async def test_while_a_restore_waits_for_a_person_it_is_refused(bench: Bench) -> None:
    _, deployment, production = await staged(bench)
    bench.undecided.add(production.id)
    operation = await promoted(bench, deployment)
    assert operation.error is not None
    assert operation.error["code"] == "restore_undecided"
