"""Workers that are threads of the server: for tests that restore often and are not about worker processes.

A process of its own costs most of what a small restore costs. Requests and results pass through the same messages as
on the pipes, so that what can't be written down fails here as well. What a thread can't show is a worker that dies.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgspec

from holdfast.domain.errors import Cancelled
from holdfast.domain.operation import Progress
from holdfast.engine.fs import Fs
from holdfast.engine.jobs import Engine
from holdfast.engine.requests import AnyRequest, Request, WorkerSettings
from holdfast.engine.worker_protocol import Run, ToWorker, line
from holdfast.services.workers import Workers

R = TypeVar("R")


class QuickWorkers(Workers):
    """Give it as ``Seams(workers=QuickWorkers)``.

    Args:
        fs: the workers' file system, where it is not the ordinary one: ``partial(QuickWorkers, fs=…)``.
        options: those of :class:`Workers`.
    """

    def __init__(self, settings: WorkerSettings, *, fs: Fs | None = None, **options: Any) -> None:
        super().__init__(settings, **options)
        self._fs = fs

    async def start(self) -> ThreadWorker:
        """Start a worker, ready for requests."""
        return await asyncio.to_thread(ThreadWorker, self._settings, self._fs)


class ThreadWorker:
    """Carries out one request at a time, each in a thread."""

    def __init__(self, settings: WorkerSettings, fs: Fs | None = None) -> None:
        self._engine = Engine(settings, fs)
        self._job = ThreadJob(lambda _progress: None)
        self.alive = True

    async def ask(self, request: Request[R], on_progress: Callable[[Progress], object]) -> R:
        """Have a request carried out."""
        loop = asyncio.get_running_loop()
        self._job = ThreadJob(lambda progress: loop.call_soon_threadsafe(on_progress, progress))
        sent = line(Run(number=1, request=cast("AnyRequest", request)))
        answer = await asyncio.to_thread(_carried_out, self._engine, sent, self._job)
        return cast("R", msgspec.json.decode(answer, type=request.result))

    async def cancel(self) -> None:
        """Ask it to give the present request up."""
        self._job.cancelled.set()

    async def kill(self) -> None:
        """A thread can't be killed: it gives up at its next step."""
        self._job.cancelled.set()

    async def close(self) -> None:
        """Let it go. Its last request has ended."""
        self.alive = False
        self._engine.close()


class ThreadJob:
    """The job of one request."""

    def __init__(self, tell: Callable[[Progress], object]) -> None:
        self._tell = tell
        self.cancelled = threading.Event()

    def progress(self, progress: Progress) -> None:
        """Tell how far the present step is."""
        self._tell(progress)

    def check(self) -> None:
        """Raise ``Cancelled`` if somebody cancelled."""
        if self.cancelled.is_set():
            raise Cancelled


def _carried_out(engine: Engine, sent: bytes, job: ThreadJob) -> bytes:
    message = msgspec.json.decode(sent, type=ToWorker)
    assert isinstance(message, Run)
    return msgspec.json.encode(engine.handle(message.request, job))
