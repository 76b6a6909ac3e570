"""Recovery without an engine: the trees are decided before anything is served, the rest waits for the engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.faults.crash_scenarios import RunningWorkload, UnhealthyOnRestoredData

from holdfast.bootstrap import Holdfast
from holdfast.config import Settings
from holdfast.testing.fake_runtime import FakeRuntime


@pytest.mark.parametrize(
    ("scenario", "state", "side"),
    [
        (RunningWorkload, "after engine stop notes #1", "old"),
        (RunningWorkload, "after journal COMMIT #1", "new"),
        (UnhealthyOnRestoredData, "after journal BACKWARD #1", "old"),
    ],
)
def test_a_recovery_that_finds_no_engine_decides_the_trees_and_waits_with_the_rest(
    tmp_path: Path, scenario: type[RunningWorkload], state: str, side: str
) -> None:
    bench = scenario.at(tmp_path)
    bench.open()
    crash = bench.look(bench.killed(state, bench.act).reached)
    place = bench.place

    def away(settings: Settings) -> FakeRuntime:
        runtime = place.runtime(settings)
        runtime.fail()
        return runtime

    async def recovered(holdfast: Holdfast) -> None:
        assert set(bench.sides()) == {side}
        (operation,) = [o for o in (await holdfast.operations.list(limit=20)).items if o.id not in bench.operations]
        async for told in holdfast.operations.events(operation.id):
            if told.waiting_for:
                break
        assert "engine" in told.waiting_for
        ready, waits = holdfast.api.readiness.ready()
        assert not ready
        assert waits != []
        assert isinstance(holdfast.runtime, FakeRuntime)
        assert not any(container.alive for container in bench.containers(holdfast.runtime))
        holdfast.runtime.heal()
        await bench.recovered(holdfast, crash)

    bench.place = replace(place, runtime=away)
    bench.serve(recovered)
