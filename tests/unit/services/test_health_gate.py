"""The health gate against containers that crash, hang, answer wrongly, or answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from holdfast.config import Settings
from holdfast.domain.errors import Cancelled, Unavailable
from holdfast.domain.workload import HealthCheck, HealthType, RestartPolicy
from holdfast.runtime.port import ContainerSpec, ExecResult, ImageHealth
from holdfast.services.health_gate import HealthGate, SystemClock
from holdfast.testing.fake_records import Behaviour
from holdfast.testing.fake_runtime import FakeRuntime

STEADY = HealthCheck(type=HealthType.NONE)


class FakeClock:
    """Time that passes only when somebody sleeps; then ``while_asleep`` happens."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.while_asleep: Callable[[float], Awaitable[None]] | None = None

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)
        if self.while_asleep is not None:
            await self.while_asleep(self.now - 1000.0)


class Watch:
    """An operation that can be cancelled."""

    def __init__(self) -> None:
        self.cancelled = False

    def check(self) -> None:
        if self.cancelled:
            raise Cancelled


class Bench:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.runtime = FakeRuntime(clock=self.clock.monotonic, timeout=0.0)
        self.gate = HealthGate(self.runtime, Settings(), self.clock)
        self.watch = Watch()

    async def instance(self, behaviour: Behaviour | None = None, restart: RestartPolicy = RestartPolicy.NO) -> str:
        image = self.runtime.add_image("notes:1", behaviour)
        name = await self.runtime.create(ContainerSpec(name="notes", image=image.id, labels={}, restart=restart))
        await self.runtime.start(name)
        return name


@pytest.fixture
def bench() -> Bench:
    return Bench()


@asynccontextmanager
async def server(answer: bytes | None) -> AsyncIterator[int]:
    """A server on this host that sends ``answer`` to whoever asks, or never answers. Yields its port."""

    over = asyncio.Event()
    served: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        served.add(task)
        with suppress(OSError):
            await reader.read(1)
            if answer is None:
                await over.wait()
            else:
                writer.write(answer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        yield port
        over.set()
        # Connections are taken in their order: once the last one is answered, all others are among the served.
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write_eof()
        await reader.read()
        writer.close()
        await writer.wait_closed()
        await asyncio.gather(*served)


def http(port: int, **changes: float) -> HealthCheck:
    return HealthCheck(type=HealthType.HTTP, port=port, path="/healthz", deadline=changes.get("deadline", 0.0))


async def test_without_a_check_an_instance_that_stands_for_ten_seconds_is_healthy(bench: Bench) -> None:
    result = await bench.gate.wait(await bench.instance(), STEADY, bench.watch)
    assert (result.healthy, result.code, result.logs) == (True, "", ())
    assert result.seconds == pytest.approx(10.0)


async def test_an_instance_that_exits_fails_at_once_with_its_exit_code_and_last_lines(bench: Bench) -> None:
    instance = await bench.instance(Behaviour(exit_code=3, logs=("starting", "no such table: notes")))
    result = await bench.gate.wait(instance, STEADY, bench.watch)
    assert (result.healthy, result.code, result.seconds) == (False, "exited", 0.0)
    assert "exit code 3" in result.reason
    assert result.logs == ("starting", "no such table: notes")


async def test_a_crash_loop_that_polls_as_running_is_never_healthy(bench: Bench) -> None:
    instance = await bench.instance(Behaviour(exit_code=1, looks_before_exit=3), RestartPolicy.ALWAYS)
    result = await bench.gate.wait(instance, STEADY, bench.watch)
    assert (result.healthy, result.code) == (False, "crash_loop")


async def test_last_lines_that_a_busy_engine_has_not_written_down_yet_are_waited_for(bench: Bench) -> None:
    instance = await bench.instance(Behaviour(exit_code=3, logs=("no such table: notes",)))
    container = bench.runtime.engine.find(instance)
    said, container.logs = container.logs, []

    async def written(_passed: float) -> None:
        container.logs = said

    bench.clock.while_asleep = written
    assert (await bench.gate.wait(instance, STEADY, bench.watch)).logs == ("no such table: notes",)


async def test_only_the_last_lines_are_kept_and_long_ones_are_cut(bench: Bench) -> None:
    instance = await bench.instance(Behaviour(exit_code=1, logs=(*map(str, range(100)), "x" * 10_000)))
    result = await bench.gate.wait(instance, STEADY, bench.watch)
    assert len(result.logs) == 20
    assert len(result.logs[-1]) == 500


async def test_an_instance_that_somebody_removes_is_not_healthy(bench: Bench) -> None:
    instance = await bench.instance()

    async def remove(_elapsed: float) -> None:
        await bench.runtime.remove(instance, force=True)

    bench.clock.while_asleep = remove
    assert (await bench.gate.wait(instance, STEADY, bench.watch)).code == "instance_gone"


@pytest.mark.parametrize("status", ["200 OK", "204 No Content", "302 Found\r\nLocation: http://192.0.2.1/elsewhere"])
async def test_http_answers_of_2xx_and_3xx_are_health_and_no_redirect_is_followed(bench: Bench, status: str) -> None:
    instance = await bench.instance()
    async with server(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()) as port:
        result = await bench.gate.wait(instance, http(port), bench.watch)
    assert result.healthy


@pytest.mark.parametrize("status", ["404 Not Found", "503 Service Unavailable"])
async def test_other_http_answers_are_not_health_and_are_named(bench: Bench, status: str) -> None:
    instance = await bench.instance()
    async with server(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()) as port:
        result = await bench.gate.wait(instance, http(port), bench.watch)
    assert (result.healthy, result.code) == (False, "deadline_passed")
    assert status[:3] in result.reason


async def test_an_answer_that_is_not_http_is_not_health(bench: Bench) -> None:
    instance = await bench.instance()
    async with server(b"\x00\xff garbage\r\n\r\n") as port:
        assert not (await bench.gate.wait(instance, http(port), bench.watch)).healthy


async def test_the_body_of_an_answer_is_not_read(bench: Bench) -> None:
    instance = await bench.instance()
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nthe beginning") as port:
        assert (await bench.gate.wait(instance, http(port), bench.watch)).healthy


async def test_a_server_that_never_answers_times_out(bench: Bench) -> None:
    instance = await bench.instance()
    async with server(None) as port:
        check = HealthCheck(type=HealthType.HTTP, port=port, timeout=0.05, deadline=0.0)
        result = await bench.gate.wait(instance, check, bench.watch)
    assert "within 0.05 seconds" in result.reason


async def test_a_tcp_port_that_accepts_is_health_and_one_that_refuses_is_not(bench: Bench) -> None:
    instance = await bench.instance()
    async with server(b"") as port:
        check = HealthCheck(type=HealthType.TCP, port=port, deadline=0.0)
        assert (await bench.gate.wait(instance, check, bench.watch)).healthy
    result = await bench.gate.wait(instance, check, bench.watch)
    assert "no connection" in result.reason


async def test_an_instance_without_an_address_is_not_healthy(bench: Bench) -> None:
    instance = await bench.instance(Behaviour(ip=""))
    assert "no address" in (await bench.gate.wait(instance, http(80), bench.watch)).reason


@pytest.mark.parametrize(("code", "healthy"), [(0, True), (1, False)])
async def test_a_command_is_health_when_it_ends_with_zero(bench: Bench, code: int, healthy: bool) -> None:
    instance = await bench.instance()
    bench.runtime.on_exec(["check"], ExecResult(code=code, output=""))
    check = HealthCheck(type=HealthType.COMMAND, command=("check",), deadline=3.0)
    assert (await bench.gate.wait(instance, check, bench.watch)).healthy is healthy


async def test_a_command_that_hangs_is_not_health(bench: Bench) -> None:
    def hang(*_: object) -> ExecResult:
        raise TimeoutError

    bench.runtime.on_exec(["check"], hang)
    check = HealthCheck(type=HealthType.COMMAND, command=("check",), deadline=0.0)
    result = await bench.gate.wait(await bench.instance(), check, bench.watch)
    assert "did not end" in result.reason


async def test_an_instance_that_restarts_while_it_is_asked_is_not_healthy(bench: Bench) -> None:
    instance = await bench.instance()

    def answer_and_die(*_: object) -> ExecResult:
        bench.runtime.crash(instance, 9)
        return ExecResult(code=0, output="")

    bench.runtime.on_exec(["check"], answer_and_die)
    check = HealthCheck(type=HealthType.COMMAND, command=("check",))
    result = await bench.gate.wait(instance, check, bench.watch)
    assert (result.healthy, result.code) == (False, "exited")


async def test_the_image_s_own_check_is_waited_for(bench: Bench) -> None:
    instance = await bench.instance(Behaviour(health=ImageHealth.HEALTHY, healthy_after=7.5))
    result = await bench.gate.wait(instance, HealthCheck(type=HealthType.DOCKER), bench.watch)
    assert result.healthy
    assert result.seconds == pytest.approx(8.0)


async def test_an_engine_that_is_away_for_a_moment_does_not_fail_the_gate(bench: Bench) -> None:
    instance = await bench.instance()
    bench.runtime.fail("inspect", times=3)
    assert (await bench.gate.wait(instance, STEADY, bench.watch)).healthy


async def test_an_engine_that_stays_away_fails_the_gate_with_its_own_error_at_the_deadline(bench: Bench) -> None:
    instance = await bench.instance()
    bench.runtime.hang("inspect")
    with pytest.raises(Unavailable) as caught:
        await bench.gate.wait(instance, STEADY, bench.watch)
    assert caught.value.code == "engine_timeout"
    assert bench.clock.now == pytest.approx(1060.0)


async def test_cancelling_ends_a_gate_within_a_second_whatever_the_interval(bench: Bench) -> None:
    instance = await bench.instance()

    async def cancel(elapsed: float) -> None:
        bench.watch.cancelled = elapsed >= 5.0

    bench.clock.while_asleep = cancel
    with pytest.raises(Cancelled):
        await bench.gate.wait(instance, HealthCheck(interval=30.0), bench.watch)
    assert bench.clock.now == pytest.approx(1005.0)


async def test_the_caller_s_deadline_is_kept(bench: Bench) -> None:
    result = await bench.gate.wait(await bench.instance(), http(1, deadline=60.0), bench.watch, deadline=4.0)
    assert result.seconds == pytest.approx(4.0)


async def test_verifying_asks_once_where_there_is_a_check(bench: Bench) -> None:
    instance = await bench.instance()
    async with server(b"HTTP/1.1 200 OK\r\n\r\n") as port:
        assert await bench.gate.verify(instance, http(port, deadline=60.0), bench.watch)
    assert bench.clock.now == 1000.0
    assert not await bench.gate.verify(instance, http(port, deadline=60.0), bench.watch)
    assert bench.clock.now == 1000.0


async def test_verifying_needs_steadiness_where_there_is_no_check(bench: Bench) -> None:
    instance = await bench.instance()
    bench.clock.now += 4.0
    assert await bench.gate.verify(instance, STEADY, bench.watch)
    assert bench.clock.now == pytest.approx(1014.0)


async def test_verifying_does_not_wait_for_what_has_run_steadily_already(bench: Bench) -> None:
    instance = await bench.instance()
    bench.clock.now += 10.0
    assert await bench.gate.verify(instance, STEADY, bench.watch)
    assert bench.clock.now == pytest.approx(1010.0)


async def test_what_does_not_run_is_not_verified(bench: Bench) -> None:
    instance = await bench.instance()
    bench.runtime.crash(instance)
    assert not await bench.gate.verify(instance, STEADY, bench.watch)


async def test_verifying_does_not_believe_a_crash_loop_that_answers_in_between(bench: Bench) -> None:
    instance = await bench.instance(Behaviour(exit_code=1, looks_before_exit=5), RestartPolicy.ALWAYS)
    bench.runtime.on_exec(["check"], ExecResult(code=0, output=""))
    check = HealthCheck(type=HealthType.COMMAND, command=("check",))
    while not (seen := await bench.runtime.inspect(instance)).restart_count or not seen.running:
        pass
    assert not await bench.gate.verify(instance, check, bench.watch)


async def test_the_system_s_clock_goes_forward() -> None:
    clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(0.001)
    assert clock.monotonic() > before
    assert clock.time() > 0
