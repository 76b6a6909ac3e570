"""A container engine that is down, hangs or loses its answers, at every place where a restore needs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from tests.faults.refusal_bench import PATIENCE, Bench, bench_on, wear

from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.installation import installation

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    directory = tmp_path_factory.mktemp("engine")
    place = replace(
        installation(directory),
        runtime=lambda _: FakeRuntime(state_file=directory / "engine.json", root_dir=str(directory), timeout=0.1),
    )
    async with bench_on(place) as bench:
        yield bench


@pytest.fixture
def bench(standing: Bench) -> Bench:
    wear(standing)
    return standing


def trouble(bench: Bench, kind: str, call: str) -> str:
    """Let the engine be in trouble whenever it is called so. Returns the code of its error."""
    if kind == "hangs":
        bench.runtime.hang(call)
        return "engine_timeout"
    bench.runtime.fail(call, after=kind == "loses its answer")
    return "engine_unavailable"


async def waits_for_engine(bench: Bench, operation_id: str) -> None:
    """Until it does, or has ended without: removing what is left over is nothing to wait for."""
    while True:
        now = await bench.holdfast.operations.get(operation_id)
        if "container engine" in now.waiting_for or now.state.ended:
            return
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", ["down", "hangs"])
async def test_no_restore_begins_without_an_engine(bench: Bench, kind: str) -> None:
    before = bench.facts()
    code = trouble(bench, kind, "containers")
    await bench.refuses(503, code, await bench.ask(), before)
    await bench.refuses(503, code, await bench.ask({"dry_run": True}), before)
    bench.runtime.heal()
    await bench.still_works()


@pytest.mark.parametrize("kind", ["down", "hangs", "loses its answer"])
async def test_an_engine_that_cannot_stop_containers_leaves_everything_running_as_before(
    bench: Bench, kind: str
) -> None:
    before = bench.facts()
    code = trouble(bench, kind, "stop")
    await bench.refuses(202, code, await bench.ask(), before)
    bench.runtime.heal()
    await bench.still_works()


async def test_an_engine_that_goes_away_while_it_stops_containers_is_waited_for(bench: Bench) -> None:
    before = bench.facts()
    trouble(bench, "loses its answer", "stop")
    for call in ("inspect", "start", "set_restart_policy"):
        bench.runtime.fail(call, times=2)
    asked = await bench.ask({"on_unhealthy": "revert"})  # otherwise its health would be looked at before
    await bench.refuses(202, "engine_unavailable", asked, before)
    bench.runtime.heal()
    await bench.still_works()


@pytest.mark.parametrize("kind", ["down", "hangs", "loses its answer"])
@pytest.mark.parametrize("call", ["create", "start", "inspect", "remove"])
async def test_after_the_exchange_the_engine_is_waited_for_and_the_restore_ends_well(
    bench: Bench, kind: str, call: str
) -> None:
    real = bench.runtime.info
    asked = asyncio.Event()

    async def exchanging() -> object:  # of those who run no more, info is the last that is asked before COMMIT
        if all(state != "running" for _, state, _ in bench.facts().containers):
            asked.set()
            trouble(bench, kind, call)
        return await real()

    bench.runtime.info = exchanging  # type: ignore[assignment,method-assign]
    try:
        started = await bench.started()
        await asyncio.wait_for(asked.wait(), PATIENCE)
        await asyncio.wait_for(waits_for_engine(bench, started), PATIENCE)
        bench.runtime.heal()
        await bench.holdfast.operations.wait(started)
    finally:
        del bench.runtime.info
        bench.runtime.heal()
    end = await bench.operation(started)
    assert end["state"] == "succeeded", end["error"]
    assert bench.trees() == bench.taken
    running = [(state, policy) for _, state, policy in bench.facts().containers if state == "running"]
    assert running == [("running", "always")]
    await bench.settled()
    wear(bench)
    await bench.still_works()


async def test_a_server_without_an_engine_serves_and_says_what_it_waits_for(tmp_path: Path) -> None:
    place = installation(tmp_path)
    async with bench_on(place) as bench:
        kept = bench.trees()
    runtime = FakeRuntime(state_file=tmp_path / "engine.json", root_dir=str(tmp_path))
    runtime.fail()
    async with replace(place, runtime=lambda _: runtime).running() as holdfast:
        ready, waiting = holdfast.api.readiness.ready()
        assert not ready
        assert "engine" in waiting[0]
        assert (await holdfast.api.workloads.get("notes")).name == "notes"
    assert bench.trees() == kept
