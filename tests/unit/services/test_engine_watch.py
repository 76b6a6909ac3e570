"""The engine comes, goes and comes back, and those who need it are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import structlog

from holdfast.domain.errors import Failed
from holdfast.runtime.port import ContainerEvent, EngineInfo
from holdfast.services.engine_watch import EngineWatch
from holdfast.services.readiness import Readiness
from holdfast.services.restore_registry import RestoreRegistry
from holdfast.testing.fake_runtime import FakeRuntime


class Bench:
    """A watch, and what it told of.

    Attributes:
        arrivals: what the engine said each time that it came.
        refuse: what reconciliation raises, as often as that stands here.
    """

    def __init__(self) -> None:
        self.runtime = FakeRuntime()
        self.readiness = Readiness(RestoreRegistry())
        self.arrivals: list[EngineInfo] = []
        self.refuse: list[Exception] = []
        self.events: list[ContainerEvent] = []
        self.followed: list[bool] = []
        self.watch = EngineWatch(
            self.runtime, self.readiness, self._arrived, self.events.append, self.followed.append, pause=0.0
        )

    async def _arrived(self, info: EngineInfo) -> None:
        self.arrivals.append(info)
        if self.refuse:
            raise self.refuse.pop()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        self.watch.start()
        try:
            async with asyncio.timeout(5):
                yield
        finally:
            await self.watch.close()

    async def arrived(self, times: int) -> None:
        await until(lambda: len(self.arrivals) >= times)
        await until(lambda: self.runtime.calls[-1].name == "events")


async def until(
    condition: Callable[[], object], turn: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(0)
) -> None:
    while not condition():
        await turn()


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_until_the_engine_has_answered_the_server_is_not_ready(bench: Bench) -> None:
    bench.runtime.fail("info")
    async with bench.watching():
        assert not bench.readiness.ready()[0]
        await until(lambda: len(bench.runtime.calls) > 3)
        assert bench.readiness.ready() == (False, ["The container engine does not answer."])
        assert bench.arrivals == []
        bench.runtime.heal()
        await bench.arrived(1)
        assert bench.readiness.ready() == (True, [])


async def test_an_engine_that_is_there_is_greeted_once(bench: Bench) -> None:
    async with bench.watching():
        await bench.arrived(1)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(bench.arrivals) == 1
        assert bench.arrivals[0].root_dir == "/var/lib/docker"


async def test_an_engine_that_comes_back_is_greeted_again(bench: Bench) -> None:
    async with bench.watching():
        await bench.arrived(1)
        bench.runtime.restart_engine()
        await bench.arrived(2)
        assert bench.readiness.ready() == (True, [])


async def test_whether_its_events_are_followed_is_told(bench: Bench) -> None:
    async with bench.watching():
        bench.runtime.fail("events")
        await until(lambda: len(bench.arrivals) > 1)
        assert set(bench.followed) == {False}, "an engine that takes no request for events is not followed"
        bench.runtime.heal()
        await until(lambda: bench.followed[-1])
        bench.runtime.restart_engine()
        await until(lambda: not bench.followed[-1])
        await until(lambda: bench.followed[-1])
    assert not bench.followed[-1]


async def test_an_engine_that_goes_away_for_long_is_told(bench: Bench) -> None:
    async with bench.watching():
        await bench.arrived(1)
        bench.runtime.fail("info")
        bench.runtime.restart_engine()
        await until(lambda: not bench.readiness.ready()[0])
        bench.runtime.heal()
        await bench.arrived(2)
        assert bench.readiness.ready() == (True, [])


async def test_a_comparison_that_fails_is_made_again(bench: Bench) -> None:
    bench.refuse = [Failed("engine_error", "It will not list its containers.", next_step="Ask it.")] * 2
    async with bench.watching():
        await bench.arrived(3)
        assert bench.readiness.ready() == (True, [])


async def test_a_defect_in_the_comparison_is_logged_and_does_not_end_the_watching(bench: Bench) -> None:
    bench.refuse = [ZeroDivisionError()]
    with structlog.testing.capture_logs() as logs:
        async with bench.watching():
            await bench.arrived(2)
            assert bench.readiness.ready() == (True, [])
    assert "engine_watch_failed_unforeseen" in [entry["event"] for entry in logs]


async def test_a_watch_that_never_began_can_be_closed(bench: Bench) -> None:
    await bench.watch.close()
