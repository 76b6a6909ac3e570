from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from holdfast.domain.errors import Cancelled, Failed, HoldfastError, NoSpace, Refused
from holdfast.domain.operation import Progress
from holdfast.domain.told import TextOrTold
from holdfast.engine.requests import VerifyRequest, WorkerSettings
from holdfast.services.workers import Workers, WorkerSession
from holdfast.testing.stores import store_settings
from holdfast.testing.worker_program import REFUSAL

PROGRAM = (sys.executable, "-P", "-m", "holdfast.testing.worker_program")


class Context:
    """An operation's side of a session."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.reports: list[Progress] = []
        self.waits: list[str] = []
        self.reported = asyncio.Event()
        self.waited = asyncio.Event()

    def progress(self, progress: Progress) -> None:
        self.reports.append(progress)
        self.reported.set()

    def waiting(self, reason: TextOrTold) -> None:
        self.waits.append(str(reason))
        self.waited.set()

    def check(self) -> None:
        if self.cancelled.is_set():
            raise Cancelled

    def interruptible(self) -> AbstractContextManager[None]:
        return self._interruptible()

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        yield


def workers(
    *,
    count: int = 2,
    data_dir: str = "/",
    keep: tuple[int, ...] = (),
    cancel_seconds: float = 30.0,
    stop_seconds: float = 30.0,
) -> Workers:
    return Workers(
        WorkerSettings(roots=(), stores=store_settings(Path(data_dir))),
        count=count,
        keep=keep,
        command=PROGRAM,
        cancel_seconds=cancel_seconds,
        stop_seconds=stop_seconds,
    )


async def say(session: WorkerSession, what: str, *, cancellable: bool = True) -> tuple[str, ...]:
    async with asyncio.timeout(30):
        return await session.run(VerifyRequest(snapshot_id=what), cancellable=cancellable)


async def pid_of(session: WorkerSession) -> int:
    return int((await say(session, "pid"))[0])


def running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


class TestRequests:
    async def test_one_worker_carries_out_several_requests_and_goes_with_its_session(self) -> None:
        async with workers().session(None) as session:
            assert await say(session, "say:hello") == ("hello",)
            pid = await pid_of(session)
            assert await pid_of(session) == pid
            assert running(pid)
        assert not running(pid)

    async def test_progress_reaches_the_operation_now_and_then(self) -> None:
        ctx = Context()
        async with workers().session(ctx) as session:
            await say(session, "report")
        assert 1 <= len(ctx.reports) < 100
        assert ctx.reports[0] == Progress(note="reporting")

    async def test_an_error_arrives_as_what_it_was(self) -> None:
        async with workers().session(None) as session:
            with pytest.raises(Refused) as refused:
                await say(session, "refuse")
            assert refused.value.problems == REFUSAL.problems
            assert refused.value.message == REFUSAL.message
            assert refused.value.details == REFUSAL.details
            with pytest.raises(NoSpace) as full:
                await say(session, "full")
            assert (full.value.code, full.value.message, full.value.next_step) == ("no_space", "Full.", "Free some.")
            assert await say(session, "say:still here") == ("still here",)

    async def test_what_nobody_foresaw_keeps_its_inside_to_itself_and_spares_the_worker(self) -> None:
        async with workers().session(None) as session:
            pid = await pid_of(session)
            with pytest.raises(Failed) as caught:
                await say(session, "stumble")
            assert caught.value.code == "internal_error"
            assert "secret" not in str(caught.value.__dict__)
            assert await pid_of(session) == pid

    async def test_what_prints_by_mistake_does_not_disturb_the_messages(self) -> None:
        async with workers().session(None) as session:
            assert await say(session, "print") == ("printed",)

    async def test_a_large_result_arrives_whole(self) -> None:
        async with workers().session(None) as session:
            assert len((await say(session, "much"))[0]) == 1_000_000

    async def test_a_worker_inherits_the_lock(self, tmp_path: Path) -> None:
        fd = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            async with workers(keep=(fd,)).session(None) as session:
                assert await say(session, f"lock:{fd}") == (str(tmp_path / "lock"),)
        finally:
            os.close(fd)


class TestDeath:
    @pytest.mark.parametrize(("what", "how"), [("die", "killed by SIGKILL"), ("exit", "exit status 7")])
    async def test_a_dead_worker_is_an_error_and_the_next_request_gets_a_new_one(self, what: str, how: str) -> None:
        with capture_logs() as logs:
            async with workers().session(None) as session:
                before = await pid_of(session)
                with pytest.raises(Failed) as caught:
                    await say(session, what)
                assert caught.value.code == "worker_died"
                assert caught.value.details == {"how": how}
                assert await pid_of(session) != before
        assert [log["event"] for log in logs] == ["worker_died"]
        assert ("last words" in logs[0]["printed"]) == (what == "exit")

    async def test_a_worker_that_dies_between_requests_is_replaced(self) -> None:
        async with workers().session(None) as session:
            before = await pid_of(session)
            os.kill(before, 9)
            while running(before):  # noqa: ASYNC110 - the kernel tells nobody
                await asyncio.sleep(0.005)
            for _ in range(5):
                await asyncio.sleep(0)  # its pipes ended before it was gone; what reads them has its turns
            after = await pid_of(session)
        assert after != before

    @pytest.mark.parametrize(("data_dir", "code"), [("/unusable", "root_unusable"), ("/dies", "worker_died")])
    async def test_a_worker_that_does_not_get_ready_is_an_error(self, data_dir: str, code: str) -> None:
        async with workers(data_dir=data_dir).session(None) as session:
            with pytest.raises(HoldfastError) as caught:
                await say(session, "pid")
        assert caught.value.code == code

    async def test_a_program_that_is_not_there_is_an_error(self) -> None:
        settings = WorkerSettings(roots=(), stores=store_settings(Path("/")))
        async with Workers(settings, count=1, command=["/nonexistent"]).session(None) as session:
            with pytest.raises(Failed) as caught:
                await say(session, "pid")
        assert caught.value.code == "worker_not_started"


class TestCancelling:
    async def test_a_persons_cancel_reaches_the_job_and_spares_the_worker(self) -> None:
        ctx = Context()
        async with workers().session(ctx) as session:
            pid = await pid_of(session)
            task = asyncio.create_task(say(session, "wait"))
            await ctx.reported.wait()
            ctx.cancelled.set()
            with pytest.raises(Cancelled):
                await task
            with pytest.raises(Cancelled):
                await say(session, "pid")
            assert await say(session, "pid", cancellable=False) == (str(pid),)

    async def test_a_job_that_does_not_heed_a_cancel_is_killed(self) -> None:
        ctx = Context()
        async with workers(cancel_seconds=0.05).session(ctx) as session:
            pid = await pid_of(session)
            task = asyncio.create_task(say(session, "hang"))
            await ctx.reported.wait()
            ctx.cancelled.set()
            with pytest.raises(Cancelled):
                await task
            assert not running(pid)
            assert await say(session, "say:new", cancellable=False) == ("new",)

    @pytest.mark.parametrize("what", ["wait", "hang"])
    async def test_when_the_server_stops_no_worker_is_left(self, what: str) -> None:
        ctx = Context()
        found: list[int] = []

        async def work() -> None:
            async with workers(stop_seconds=0.05).session(ctx) as session:
                found.append(await pid_of(session))
                await say(session, what)

        task = asyncio.create_task(work())
        await asyncio.wait_for(ctx.reported.wait(), 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not running(found[0])


class TestTurns:
    async def test_the_first_requests_of_sessions_take_turns(self) -> None:
        few, first, second = workers(count=1), Context(), Context()
        async with few.session(first) as one, few.session(second) as other:
            busy = asyncio.create_task(say(one, "wait"))
            await first.reported.wait()
            waiting = asyncio.create_task(say(other, "say:mine"))
            await second.waited.wait()
            assert second.waits == ["a free worker"]
            first.cancelled.set()
            assert await waiting == ("mine",)
            assert second.waits == ["a free worker", ""]
            with pytest.raises(Cancelled):
                await busy

    async def test_later_requests_of_a_session_never_wait(self) -> None:
        few, ctx = workers(count=1), Context()
        async with few.session(None) as early, few.session(ctx) as late:
            await say(early, "say:first")
            busy = asyncio.create_task(say(late, "wait"))
            await ctx.reported.wait()
            assert await say(early, "say:again") == ("again",)
            ctx.cancelled.set()
            with pytest.raises(Cancelled):
                await busy

    async def test_a_session_without_a_request_holds_nobody_up(self) -> None:
        few = workers(count=1)
        async with few.session(None), few.session(None) as other:
            assert await say(other, "say:free") == ("free",)
