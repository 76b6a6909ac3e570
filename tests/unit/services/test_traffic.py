"""What the edge serves is what is deployed; an edge in trouble keeps the old version running."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.services.deploy_bench import STATEFUL, STATELESS, Bench, opened

from holdfast.domain.deployment import DeploymentState
from holdfast.domain.edge import Route
from holdfast.domain.errors import Failed
from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.workload import Domain, HealthCheck, HealthType, Workload, WorkloadSpec
from holdfast.runtime.port import ImageHealth
from holdfast.services.edge_watch import EdgeWatch
from holdfast.testing.caddies import until
from holdfast.testing.fake_records import Behaviour
from holdfast.testing.fake_runtime import Call

DOMAINS = (Domain(name="notes.test", port=80),)
OLD, NEW = Behaviour(ip="10.0.0.1"), Behaviour(ip="10.0.0.2")
TO_OLD = (Route(domains=("notes.test",), upstreams=("10.0.0.1:80",)),)
TO_NEW = (Route(domains=("notes.test",), upstreams=("10.0.0.2:80",)),)
TO_NOBODY = (Route(domains=("notes.test",), upstreams=()),)
BOTH = pytest.mark.parametrize("spec", [STATEFUL, STATELESS], ids=["recreate", "blue_green"])


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened(tmp_path) as bench:
        yield bench


def with_domains(spec: WorkloadSpec, domains: tuple[Domain, ...] = DOMAINS) -> WorkloadSpec:
    return dataclasses.replace(spec, domains=domains)


def code(operation: Operation) -> str:
    assert operation.error is not None, operation.outcome
    return str(operation.error["code"])


async def deployed(bench: Bench, spec: WorkloadSpec = STATEFUL) -> Workload:
    return await bench.deployed(with_domains(spec), OLD)


async def configure(bench: Bench, workload: Workload, *, domains: tuple[Domain, ...]) -> None:
    await bench.workloads.update_spec(workload.id, with_domains(workload.spec, domains), "ann")


@BOTH
async def test_a_new_version_is_served_once_it_is_healthy(bench: Bench, spec: WorkloadSpec) -> None:
    workload = await deployed(bench, spec)
    assert bench.edge.served == TO_OLD
    bench.runtime.add_image("new:1", NEW)
    assert (await bench.deploy(workload, "new:1")).state is OperationState.SUCCEEDED
    await bench.traffic.sync()
    assert bench.edge.served == TO_NEW


async def test_blue_green_switches_while_the_old_version_still_runs(bench: Bench) -> None:
    workload = await deployed(bench, STATELESS)
    bench.runtime.add_image("new:1", NEW)
    seen: list[tuple[Route, ...]] = []

    async def stopping(call: Call) -> None:
        if call.name == "stop":
            seen.append(bench.edge.served)

    bench.on_call = stopping
    await bench.deploy(workload, "new:1")
    assert seen == [TO_NEW]


async def test_blue_green_stops_the_old_version_once_it_has_answered_what_it_was_asked(bench: Bench) -> None:
    workload = await deployed(bench, STATELESS)
    bench.runtime.add_image("new:1", NEW)
    bench.edge.busy = True

    async def answered_after_a_while() -> None:
        if len(bench.edge.looked_at) == 5:
            assert not bench.calls("stop")
            bench.edge.busy = False

    bench.clock.while_asleep = answered_after_a_while
    assert (await bench.deploy(workload, "new:1")).state is OperationState.SUCCEEDED
    assert bench.edge.looked_at == [("10.0.0.1:80",)] * 6
    assert len(bench.calls("stop")) == 1


async def test_a_request_that_never_ends_holds_a_deployment_up_no_longer_than_a_stop_may_take(bench: Bench) -> None:
    workload = await deployed(bench, STATELESS)
    bench.runtime.add_image("new:1", NEW)
    bench.edge.busy = True
    before = bench.clock.monotonic()
    operation = await bench.deploy(workload, "new:1")
    assert operation.state is OperationState.SUCCEEDED
    assert bench.clock.monotonic() - before >= STATELESS.stop_grace
    assert any("still under way" in line.message for line in operation.log)


async def test_recreate_has_whoever_asks_come_back_before_the_old_version_stops(bench: Bench) -> None:
    workload = await deployed(bench)
    bench.runtime.add_image("new:1", NEW)
    seen: list[tuple[Route, ...]] = []

    async def stopping(call: Call) -> None:
        if call.name == "stop":
            seen.append(bench.edge.served)

    bench.on_call = stopping
    await bench.deploy(workload, "new:1")
    assert seen == [TO_NOBODY]
    assert bench.edge.served == TO_NEW


async def test_what_was_served_before_is_not_served_again_however_often_the_edge_is_told(bench: Bench) -> None:
    workload = await deployed(bench, STATELESS)
    bench.runtime.add_image("new:1", NEW)
    telling: list[asyncio.Task[int]] = []

    async def told_by_others(call: Call) -> None:
        if call.name == "stop":
            bench.edge.answering.clear()
            telling.extend(asyncio.create_task(bench.traffic.sync(look_at=())) for _ in range(2))

    bench.on_call = told_by_others
    operation = await bench.deployer.deploy(workload.id, image="new:1", actor="ann")
    while not telling or (await bench.newest(workload)).state is DeploymentState.RUNNING:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    bench.edge.answering.set()
    assert (await bench.ended(operation)).state is OperationState.SUCCEEDED
    await asyncio.gather(*telling)
    assert bench.edge.told == [TO_OLD, TO_NEW]


@BOTH
async def test_after_a_failed_deployment_the_old_version_is_served_at_once(bench: Bench, spec: WorkloadSpec) -> None:
    workload = await deployed(bench, spec)
    bench.runtime.add_image("sick:1", dataclasses.replace(NEW, exit_code=1))
    assert code(await bench.deploy(workload, "sick:1")) == "deploy_unhealthy"
    assert bench.edge.served == TO_OLD
    assert TO_NEW not in bench.edge.told


async def test_what_fails_after_the_switch_is_served_no_more_before_it_is_removed(bench: Bench) -> None:
    workload = await deployed(bench, STATELESS)
    bench.runtime.add_image("new:1", NEW)
    seen: list[tuple[Route, ...]] = []

    async def failing(call: Call) -> None:
        if call.name == "set_restart_policy" and bench.edge.served == TO_NEW:
            raise Failed("engine_error", "It can't be armed.")
        if call.name == "remove":
            seen.append(bench.edge.served)

    bench.on_call = failing
    assert code(await bench.deploy(workload, "new:1")) == "engine_error"
    assert seen == [TO_OLD]


async def test_other_domains_are_served_from_the_next_deployment_on(bench: Bench) -> None:
    workload = await deployed(bench)
    await configure(bench, workload, domains=(Domain(name="other.test", port=81),))
    await bench.traffic.sync()
    assert bench.edge.served == TO_OLD
    await bench.deploy(workload)
    await bench.traffic.sync()
    assert bench.edge.served == (Route(domains=("other.test",), upstreams=("10.0.0.1:81",)),)


async def test_domains_that_were_taken_out_are_served_no_more(bench: Bench) -> None:
    workload = await deployed(bench)
    await configure(bench, workload, domains=())
    await bench.deploy(workload)
    await bench.traffic.sync()
    assert bench.edge.served == ()


async def test_a_stopped_workload_keeps_its_domains(bench: Bench) -> None:
    workload = await deployed(bench)
    await bench.stop(workload)
    await bench.traffic.sync()
    assert bench.edge.served == TO_NOBODY


async def test_a_deployment_switches_nothing_before_the_restore_that_it_waits_for_has_ended(bench: Bench) -> None:
    workload = await deployed(bench)
    bench.runtime.add_image("new:1", NEW)
    async with bench.locks.hold([workload.id], "restore 01j"):
        await bench.traffic.close([workload.id])
        operation = await bench.deployer.deploy(workload.id, image="new:1", actor="ann")
        async for seen in bench.operations.events(operation.id):
            if seen.waiting_for:
                assert seen.waiting_for == "waiting for restore 01j"
                break
        assert bench.edge.served == TO_NOBODY
        await bench.traffic.let_go([workload.id])
        assert bench.edge.served == TO_OLD
    assert (await bench.ended(operation)).state is OperationState.SUCCEEDED
    assert bench.edge.served == TO_NEW


# --- trouble -------------------------------------------------------------------------------------------------------


@BOTH
async def test_while_the_edge_is_away_nothing_new_is_deployed_and_the_old_runs_on(
    bench: Bench, spec: WorkloadSpec
) -> None:
    workload = await deployed(bench, spec)
    (before,) = await bench.running(workload)
    bench.edge.go_away()
    bench.runtime.add_image("new:1", NEW)
    bench.runtime.calls.clear()
    assert code(await bench.deploy(workload, "new:1")) == "edge_unavailable"
    assert not bench.calls("create", "stop", "set_restart_policy")
    assert await bench.running(workload) == (before,)


@BOTH
async def test_an_edge_that_fails_at_the_switch_has_the_old_version_run_and_served(
    bench: Bench, spec: WorkloadSpec
) -> None:
    workload = await deployed(bench, spec)
    (before,) = await bench.running(workload)
    bench.runtime.add_image("new:1", NEW)

    async def failing_from_now_on(call: Call) -> None:
        if call.name == "create":
            bench.edge.failure = Failed("edge_refused", "Caddy does not take it.")

    bench.on_call = failing_from_now_on
    operation = await bench.deploy(workload, "new:1")
    assert code(operation) == "edge_refused"
    assert [container.id for container in await bench.running(workload)] == [before.id]
    bench.edge.failure = None
    assert bench.traffic.changed.is_set()
    await bench.traffic.sync()
    assert bench.edge.served == TO_OLD


async def test_a_version_that_only_runs_again_does_so_without_the_edge(bench: Bench) -> None:
    workload = await deployed(bench)
    (before,) = await bench.running(workload)
    await bench.stop(workload)
    await bench.runtime.remove(before.id, force=True)
    bench.edge.go_away()
    assert (await bench.start(workload)).state is OperationState.SUCCEEDED
    bench.edge.come_back()
    await bench.traffic.sync()
    assert bench.edge.served == TO_OLD


async def test_a_domain_that_the_edge_serves_for_somebody_else_keeps_no_other_workload_from_being_deployed(
    bench: Bench,
) -> None:
    workload = await deployed(bench, STATELESS)
    bench.runtime.add_image("new:1", NEW)
    await bench.deployed(
        dataclasses.replace(STATELESS, name="other", image="other:1", domains=(Domain(name="other.test", port=80),)),
        OLD,
    )
    bench.edge.taken.add("other.test")
    assert (await bench.deploy(workload, "new:1")).state is OperationState.SUCCEEDED
    assert bench.edge.served == TO_NEW
    assert bench.traffic.problem is not None
    bench.edge.taken.add("notes.test")
    bench.runtime.add_image("newer:1", NEW)
    assert code(await bench.deploy(workload, "newer:1")) == "domain_at_edge_already"


async def test_domains_without_an_edge_are_refused_before_anything_is_touched(bench: Bench) -> None:
    bench.traffic._edge = None
    bench.runtime.add_image(STATEFUL.image)
    workload = await bench.add(with_domains(STATEFUL))
    assert code(await bench.deploy(workload)) == "edge_off"
    assert not bench.calls("create")


async def test_going_back_to_a_domain_that_another_workload_has_by_now_is_refused(bench: Bench) -> None:
    workload = await deployed(bench)
    first = await bench.newest(workload)
    await configure(bench, workload, domains=())
    await bench.deploy(workload)
    other = dataclasses.replace(STATELESS, name="other", image="other:1")
    await bench.deployed(with_domains(other), NEW)
    operation = await bench.ended(await bench.rollbacks.rollback(workload.id, first.id, actor="ann"))
    assert code(operation) == "domain_conflict"
    assert bench.edge.served == TO_NEW


async def test_what_another_workload_still_runs_with_is_its_own_until_it_is_deployed(bench: Bench) -> None:
    workload = await deployed(bench)
    await configure(bench, workload, domains=())
    asked = with_domains(dataclasses.replace(STATELESS, name="other"))
    assert [problem.code for problem in await bench.traffic.conflicts(asked)] == ["domain_conflict"]
    await bench.deploy(workload)
    assert await bench.traffic.conflicts(asked) == []


# --- derived from what is there ------------------------------------------------------------------------------------


async def test_a_first_instance_is_not_served_before_it_is_healthy(bench: Bench) -> None:
    bench.runtime.add_image(STATELESS.image, OLD)
    workload = await bench.add(with_domains(STATELESS))
    seen: list[tuple[Route, ...]] = []

    async def looking(call: Call) -> None:
        if call.name == "inspect" and not bench.edge.told:
            await bench.traffic.sync()
            seen.append(bench.edge.served)

    bench.on_call = looking
    await bench.deploy(workload)
    assert set(seen) == {()}
    assert bench.edge.served == TO_OLD


async def test_an_unhealthy_version_that_a_restore_kept_is_served(bench: Bench) -> None:
    judged = HealthCheck(type=HealthType.DOCKER, interval=0.1, deadline=1.0)
    spec = with_domains(dataclasses.replace(STATEFUL, health=judged))
    workload = await bench.deployed(spec, dataclasses.replace(OLD, health=ImageHealth.HEALTHY))
    await bench.stop(workload)
    bench.runtime.add_image("sick:1", dataclasses.replace(NEW, health=ImageHealth.UNHEALTHY))
    with pytest.raises(Failed):
        await bench.within(lambda ctx: bench.trial(workload, "sick:1", ctx))
    await bench.traffic.sync()
    assert bench.edge.served == TO_NEW


class TestWatching:
    @pytest.fixture
    async def watch(self, bench: Bench) -> AsyncIterator[EdgeWatch]:
        watch = EdgeWatch(bench.traffic, pause=0.0)
        yield watch
        await watch.close()

    async def test_an_edge_that_lost_its_configuration_gets_it_again(self, bench: Bench, watch: EdgeWatch) -> None:
        await deployed(bench)
        watch.start()
        bench.edge.go_away()
        await until(lambda: bench.traffic.problem is not None)
        bench.edge.come_back()
        await until(lambda: bench.edge.served == TO_OLD)
        assert bench.traffic.problem is None

    async def test_one_that_forgot_in_silence_is_found_out(self, bench: Bench, watch: EdgeWatch) -> None:
        await deployed(bench)
        watch.start()
        bench.edge.come_back()
        await until(lambda: bench.edge.served == TO_OLD)

    async def test_what_happens_to_a_container_has_the_routes_made_anew(self, bench: Bench, watch: EdgeWatch) -> None:
        workload = await deployed(bench)
        (instance,) = await bench.running(workload)
        events = bench.runtime.events()
        watch.start()
        await until(lambda: not bench.traffic.changed.is_set())
        follow = asyncio.ensure_future(tell(bench, events))
        await asyncio.sleep(0)
        bench.runtime.crash(instance.id)
        await until(lambda: bench.edge.served == TO_NOBODY)
        follow.cancel()
        await asyncio.gather(follow, return_exceptions=True)

    async def test_a_defect_does_not_end_the_watching(self, bench: Bench, watch: EdgeWatch) -> None:
        await deployed(bench)
        failures = [RuntimeError("a defect")]

        async def failing(call: Call) -> None:
            if call.name == "containers" and failures:
                raise failures.pop()

        bench.on_call = failing
        bench.edge.come_back()
        watch.start()
        await until(lambda: bench.edge.served == TO_OLD)
        assert failures == []


async def tell(bench: Bench, events: AsyncIterator[object]) -> None:
    async for event in events:
        bench.traffic.happened(event)  # type: ignore[arg-type] # the fake's events
