"""The health gate: watches an instance until it is healthy, or surely is not.

The decisions are made in ``domain/health.py``; here are the looks at the container and the checks made from outside.

- Checks reach the container at its own address, from the host; no proxy, no redirect is followed, no body is read.
- An engine that doesn't answer for a moment says nothing about the instance: the gate goes on until its deadline, and
  only then fails with the engine's error.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import Final, Protocol

import aiohttp

from holdfast.config import Settings
from holdfast.domain.errors import Failed, NotFound, Unavailable
from holdfast.domain.health import (
    Decision,
    Gate,
    Observation,
    OwnHealth,
    Probe,
    Process,
    ProcessState,
    Verdict,
)
from holdfast.domain.times import parse
from holdfast.domain.workload import HealthCheck, HealthType, RestartPolicy
from holdfast.runtime.port import Container, ContainerRuntime, ContainerState

LOG_LINES: Final = 20
"""How many last lines of a failed instance are kept with the failure."""
LOG_LINE_LENGTH: Final = 500
"""Characters; a longer line is cut."""
_LOG_LOOKS: Final = 3
"""So often the last lines are asked for while there are none."""
_LOG_PAUSE: Final = 0.3
"""Seconds between two such looks."""
_SHORTEST_NAP: Final = 0.1
"""Seconds between two looks at least, so that an interval of nought doesn't keep engine and server busy."""
_LONGEST_NAP: Final = 1.0
"""Seconds after which a gate looks whether it was cancelled, however long the interval."""

_STATES: Final = {
    ContainerState.CREATED: ProcessState.NOT_STARTED,
    ContainerState.RUNNING: ProcessState.RUNNING,
    ContainerState.PAUSED: ProcessState.PAUSED,
    ContainerState.RESTARTING: ProcessState.RESTARTING,
    ContainerState.EXITED: ProcessState.ENDED,
    ContainerState.REMOVING: ProcessState.ENDED,
    ContainerState.DEAD: ProcessState.ENDED,
}


class Clock(Protocol):
    """The time, so that tests need not wait for it."""

    def monotonic(self) -> float:
        """Seconds since some moment, never going back."""

    def time(self) -> float:
        """Seconds since 1970."""

    async def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""


class SystemClock:
    """The machine's own time."""

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Cancellable(Protocol):
    """What a gate asks of the operation that it is part of."""

    def check(self) -> None:
        """Raise ``Cancelled`` if somebody cancelled."""


class Uncancellable:
    """For gates that no person can cancel: looking at what runs, and bringing back what ran."""

    def check(self) -> None:
        """Nobody cancels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """How a gate ended.

    Attributes:
        code: why it is unhealthy (see ``domain/health.py``, and ``instance_gone``); empty if healthy.
        reason: the same in words.
        seconds: how long it took.
        logs: the last lines that an unhealthy instance printed.
    """

    healthy: bool
    code: str
    reason: str
    seconds: float
    logs: tuple[str, ...] = ()


class HealthGate:
    """Judges instances."""

    def __init__(self, runtime: ContainerRuntime, settings: Settings, clock: Clock) -> None:
        self._runtime = runtime
        self._steady_seconds = settings.steady_seconds
        self._clock = clock

    async def wait(
        self, container_id: str, check: HealthCheck, ctx: Cancellable, deadline: float | None = None
    ) -> GateResult:
        """Watch a started container until it is healthy, is known to be unhealthy, or the deadline has passed.

        Args:
            deadline: seconds from now; ``None`` takes the check's own.

        Raises:
            Cancelled: somebody cancelled the operation.
            Unavailable: the engine did not answer when the deadline came.
        """
        began = self._clock.monotonic()
        gate = Gate.begin(check, steady_seconds=self._steady_seconds, deadline=deadline)
        while True:
            ctx.check()
            try:
                gate, decision = gate.observe(await self._look(container_id, gate, began))
            except NotFound:
                seconds = self._clock.monotonic() - began
                return GateResult(healthy=False, code="instance_gone", reason="it was removed", seconds=seconds)
            except Unavailable:
                if self._clock.monotonic() - began >= gate.deadline:
                    raise
                decision = Decision(verdict=Verdict.WAIT)
            if decision.verdict is not Verdict.WAIT:
                healthy = decision.verdict is Verdict.HEALTHY
                return GateResult(
                    healthy=healthy,
                    code=decision.code,
                    reason=decision.reason,
                    seconds=self._clock.monotonic() - began,
                    logs=() if healthy else await self.last_lines(container_id, ended=decision.code == "exited"),
                )
            await self._nap(check.interval, gate.deadline - (self._clock.monotonic() - began), ctx)

    async def verify(self, container_id: str, check: HealthCheck, ctx: Cancellable) -> bool:
        """Whether a running instance is healthy right now.

        One check answers that; where there is none, or where the engine had to restart the instance before, it must
        also stand for the steady time, since a crash loop polls as running and may answer in between.
        """
        container = await self._runtime.inspect(container_id)
        if container.state is not ContainerState.RUNNING:
            return False
        if check.type is not HealthType.NONE and not (await self.wait(container_id, check, ctx, deadline=0.0)).healthy:
            return False
        if check.type is not HealthType.NONE and not container.restart_count:
            return True
        if self._age(container) >= self._steady_seconds:
            return process_of(container).same_run(process_of(await self._runtime.inspect(container_id)))
        return (await self.wait(container_id, HealthCheck(interval=check.interval), ctx)).healthy

    def _age(self, container: Container) -> float:
        """For how many seconds the container has run; negative where the engine's clock is ahead."""
        try:
            return self._clock.time() - parse(container.started_at).timestamp()
        except ValueError:
            return 0.0

    async def last_lines(self, container_id: str, *, ended: bool = False) -> tuple[str, ...]:
        """The last lines that the container printed; empty if they can't be had.

        Args:
            ended: it was just seen to have ended: if there are none yet, they are waited for a moment.
        """
        for _ in range(_LOG_LOOKS if ended else 1):
            try:
                lines = [
                    line.text.rstrip()[:LOG_LINE_LENGTH]
                    async for line in self._runtime.logs(container_id, tail=LOG_LINES)
                ]
            except (Failed, NotFound, Unavailable):
                break  # they are told with a failure, and must not hide it behind another one
            if lines:
                return tuple(lines)
            if ended:  # a busy engine may tell of the end before it has written down what was said last
                await self._clock.sleep(_LOG_PAUSE)
        return ()

    async def _look(self, container_id: str, gate: Gate, began: float) -> Observation:
        container = await self._runtime.inspect(container_id)
        before = process_of(container)
        if not gate.probes or before.state is not ProcessState.RUNNING:
            return Observation(elapsed=self._clock.monotonic() - began, before=before)
        probe = await self._probe(container, gate.check)
        after = process_of(await self._runtime.inspect(container_id))
        return Observation(elapsed=self._clock.monotonic() - began, before=before, probe=probe, after=after)

    async def _probe(self, container: Container, check: HealthCheck) -> Probe:
        if check.type is HealthType.COMMAND:
            return await self._probe_command(container.id, check)
        if not container.ip or check.port is None:
            return Probe(passed=False, detail="it has no address to be asked at")
        try:
            async with asyncio.timeout(check.timeout):
                if check.type is HealthType.HTTP:
                    return await _probe_http(container.ip, check.port, check.path)
                return await _probe_tcp(container.ip, check.port)
        except TimeoutError:
            return Probe(passed=False, detail=f"no answer on port {check.port} within {check.timeout:g} seconds")

    async def _probe_command(self, container_id: str, check: HealthCheck) -> Probe:
        try:
            result = await self._runtime.exec(container_id, check.command, check.timeout)
        except Failed as error:
            return Probe(passed=False, detail=f"the check command failed: {error.message}")
        return Probe(passed=result.code == 0, detail=f"the check command ended with {result.code}")

    async def _nap(self, interval: float, remaining: float, ctx: Cancellable) -> None:
        left = min(max(interval, _SHORTEST_NAP), max(remaining, 0.0))
        while left > 0:
            await self._clock.sleep(min(left, _LONGEST_NAP))
            left -= _LONGEST_NAP
            ctx.check()


async def _probe_http(ip: str, port: int, path: str) -> Probe:
    url = f"http://{_host(ip)}:{port}/{path.removeprefix('/')}"
    unlimited = aiohttp.ClientTimeout()  # the caller's limit covers all phases together
    try:
        async with (
            aiohttp.ClientSession(timeout=unlimited, cookie_jar=aiohttp.DummyCookieJar()) as client,
            client.get(url, allow_redirects=False) as response,
        ):
            passed = 200 <= response.status < 400
            return Probe(passed=passed, detail=f"answered {response.status} on port {port}")
    except aiohttp.ClientResponseError:
        return Probe(passed=False, detail=f"what it answers on port {port} is not HTTP")
    except aiohttp.ClientError as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        return Probe(passed=False, detail=f"no answer on port {port}: {reason}")


async def _probe_tcp(ip: str, port: int) -> Probe:
    try:
        _reader, writer = await asyncio.open_connection(ip, port)
    except OSError as error:
        return Probe(passed=False, detail=f"no connection to port {port}: {error.strerror or error}")
    writer.transport.abort()
    return Probe(passed=True, detail=f"accepted a connection on port {port}")


def _host(ip: str) -> str:
    return f"[{ip}]" if ":" in ip else ip


def process_of(container: Container) -> Process:
    """What a container's main process does, in the words of the gate."""
    return Process(
        state=_STATES[container.state],
        started_at=container.started_at,
        restart_count=container.restart_count,
        restarts_by_itself=container.restart is not RestartPolicy.NO,
        exit_code=container.exit_code,
        out_of_memory=container.oom_killed,
        own_health=OwnHealth(container.health.value),
    )
