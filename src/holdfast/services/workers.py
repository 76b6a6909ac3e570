"""Worker processes for the use cases: started when they are needed, bounded, cancelled, replaced when they die.

- A bounded number of requests are worked on at the same time. A session waits for its turn with its first request
  only, so that what belongs to a downtime never waits; and it has its turn for the length of that request, never while
  it waits for a lock, so that turns and lifecycle locks can't wait for each other.
- A worker never outlives its session, and it inherits the data directory's lock: nothing recovers while one could
  write.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Final, Protocol, TypeVar

from holdfast.domain.errors import Cancelled
from holdfast.domain.operation import Progress
from holdfast.domain.told import TextOrTold, told
from holdfast.engine.requests import Request, WorkerSettings
from holdfast.services.worker_process import WorkerProcess

COMMAND: Final = (sys.executable, "-P", "-m", "holdfast.engine.worker")
CANCEL_SECONDS: Final = 60.0
"""How long a job may take to put things back after a person cancelled; then its worker is killed."""

STOP_SECONDS: Final = 5.0
"""The same when the server stops."""

R = TypeVar("R")


class Watcher(Protocol):
    """What a session needs of the operation that it works for."""

    @property
    def cancelled(self) -> asyncio.Event: ...

    def progress(self, progress: Progress) -> None: ...

    def waiting(self, reason: TextOrTold) -> None: ...

    def check(self) -> None: ...

    def interruptible(self) -> AbstractContextManager[None]: ...


class RunningWorker(Protocol):
    """One worker; :class:`holdfast.services.worker_process.WorkerProcess` says what each of these means."""

    @property
    def alive(self) -> bool: ...

    async def ask(self, request: Request[R], on_progress: Callable[[Progress], object]) -> R: ...

    async def cancel(self) -> None: ...

    async def kill(self) -> None: ...

    async def close(self) -> None: ...


class Workers:
    """Gives out sessions.

    Args:
        count: how many sessions may be at their first request at the same time.
        keep: descriptors that the workers inherit: the data directory's lock.
        command: how a worker is started.
        env: its whole environment.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        count: int,
        keep: Sequence[int] = (),
        command: Sequence[str] = COMMAND,
        env: Mapping[str, str] | None = None,
        cancel_seconds: float = CANCEL_SECONDS,
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        self._settings = settings
        self._turns = asyncio.Semaphore(count)
        self._keep = tuple(keep)
        self._command = tuple(command)
        self._env = {"LANG": "C.UTF-8"} if env is None else dict(env)
        self.cancel_seconds: Final = cancel_seconds
        self.stop_seconds: Final = stop_seconds

    @asynccontextmanager
    async def session(self, ctx: Watcher | None) -> AsyncIterator[WorkerSession]:
        """A worker for several requests in turn. Its process starts with the first, and ends with the session.

        Args:
            ctx: the operation that it works for: is told the progress, and may be cancelled.
        """
        session = WorkerSession(self, ctx)
        try:
            yield session
        finally:
            await session.close()

    async def start(self) -> RunningWorker:
        """Start a worker, ready for requests. For sessions."""
        return await WorkerProcess.start(self._command, self._settings, env=self._env, keep=self._keep)

    @asynccontextmanager
    async def turn(self, ctx: Watcher | None) -> AsyncIterator[None]:
        """Wait until few enough others are at work. For sessions."""
        if self._turns.locked() and ctx is not None:
            ctx.waiting(told("free_worker", "a free worker"))
        with nullcontext() if ctx is None else ctx.interruptible():
            await self._turns.acquire()
        try:
            if ctx is not None:
                ctx.waiting("")
            yield
        finally:
            self._turns.release()


class WorkerSession:
    """One after the other, requests to one worker. If that dies, the next request gets a new one."""

    def __init__(self, workers: Workers, ctx: Watcher | None) -> None:
        self._workers = workers
        self._ctx = ctx
        self._process: RunningWorker | None = None
        self._admitted = False

    async def run(self, request: Request[R], *, cancellable: bool = True) -> R:
        """Have a request carried out.

        Args:
            cancellable: whether a person's cancel reaches it; ``False`` for what must be done after a cancel.

        Raises:
            HoldfastError: what the job raised; ``Cancelled`` if a person cancelled.
            Failed: ``worker_died`` or ``worker_not_started``; what the job had begun is as it left it.
        """
        ctx = self._ctx if cancellable else None
        if ctx is not None:
            ctx.check()
        if self._admitted:
            return await self._run(request, ctx)
        async with self._workers.turn(ctx):
            self._admitted = True
            return await self._run(request, ctx)

    async def close(self) -> None:
        """Let the worker go."""
        process, self._process = self._process, None
        if process is not None:
            await process.close()

    async def _run(self, request: Request[R], ctx: Watcher | None) -> R:
        if self._process is None or not self._process.alive:
            await self.close()
            self._process = await self._workers.start()
        process = self._process
        answer = asyncio.create_task(process.ask(request, self._progress))
        stop = None if ctx is None else asyncio.create_task(ctx.cancelled.wait())
        try:
            await asyncio.wait([answer, stop] if stop else [answer], return_when=asyncio.FIRST_COMPLETED)
            if not answer.done() and not await _give_up(process, answer, self._workers.cancel_seconds):
                raise Cancelled
            return answer.result()
        except asyncio.CancelledError:
            await _give_up(process, answer, self._workers.stop_seconds)
            raise
        finally:
            if stop is not None:
                stop.cancel()

    def _progress(self, progress: Progress) -> None:
        if self._ctx is not None:
            self._ctx.progress(progress)


async def _give_up(process: RunningWorker, answer: asyncio.Task[R], seconds: float) -> bool:
    """Cancel what a worker does. If it has not put things back after ``seconds``, kill it. Whether it answered."""
    await process.cancel()
    done, _ = await asyncio.wait([answer], timeout=seconds)
    if not done:
        await process.kill()
        await asyncio.wait([answer])
    answer.exception()  # looked at, so that nobody complains where it is not raised
    return bool(done)
