"""One worker process, as the server sees it: a pipe to it, a pipe from it, and what it printed."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, Self, TypeVar, cast

import msgspec
import structlog

from holdfast.domain.errors import Failed
from holdfast.domain.operation import Progress
from holdfast.engine.requests import AnyRequest, Request, WorkerSettings
from holdfast.engine.worker_protocol import Cancel, FromWorker, Problematic, Report, Result, Run, Setup, ToWorker, line

WORKER_DIED: Final = "worker_died"
"""Code of the error that tells that the process which did the work is gone."""

START_SECONDS: Final = 30.0
"""How long a worker may take until it is ready."""

EXIT_SECONDS: Final = 5.0
"""How long it may take to go when it is not needed any more."""

_LINE_BYTES: Final = 64 * 1024 * 1024
_PRINTED_BYTES: Final = 8192
_DECODER: Final[msgspec.json.Decoder[FromWorker]] = msgspec.json.Decoder(FromWorker)

R = TypeVar("R")


class WorkerProcess:
    """A running worker; :meth:`start` makes one. Carries out one request at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._in, self._out = process.stdin, process.stdout
        self._printed = asyncio.create_task(_tail(process.stderr))
        self._number = 0
        self._log = structlog.get_logger("workers")

    @classmethod
    async def start(
        cls, command: Sequence[str], settings: WorkerSettings, *, env: Mapping[str, str], keep: Sequence[int] = ()
    ) -> Self:
        """Start a worker and wait until it is ready.

        Args:
            keep: descriptors that it inherits.

        Raises:
            Failed: ``worker_not_started``, ``worker_died``, or what kept it from opening its roots and store.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=_LINE_BYTES,
                env=dict(env),
                pass_fds=tuple(keep),
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise _not_started(error.strerror or str(error)) from error
        worker = cls(process)
        try:
            await worker._send(Setup(settings=settings))
            async with asyncio.timeout(START_SECONDS):
                await worker._hello()
        except TimeoutError as error:
            await worker.kill()
            raise _not_started(f"it was not ready after {START_SECONDS:.0f} seconds") from error
        except BaseException:
            await worker.kill()
            raise
        return worker

    @property
    def alive(self) -> bool:
        """Whether it can take another request."""
        return self._process.returncode is None and not self._out.at_eof()

    async def ask(self, request: Request[R], on_progress: Callable[[Progress], object]) -> R:
        """Have a request carried out.

        Raises:
            HoldfastError: what the job raised.
            Failed: ``worker_died``.
        """
        self._number += 1
        await self._send(Run(number=self._number, request=cast("AnyRequest", request)))
        while True:
            answer = await self._next()
            if isinstance(answer, Report):
                on_progress(answer.progress)
            elif isinstance(answer, Problematic):
                raise answer.error()
            elif isinstance(answer, Result):
                return cast("R", msgspec.json.decode(answer.value, type=request.result))

    async def cancel(self) -> None:
        """Ask it to give the present request up."""
        await self._send(Cancel(number=self._number))

    async def close(self) -> None:
        """Let it go: the end of its input tells it that it is not needed any more."""
        self._in.close()
        try:
            async with asyncio.timeout(EXIT_SECONDS):
                await self._process.wait()
        except TimeoutError:
            pass
        finally:
            await self.kill()

    async def kill(self) -> None:
        """End it now, whatever it does. Idempotent."""
        with suppress(ProcessLookupError):
            self._process.kill()
        self._in.close()
        await self._process.wait()
        await asyncio.wait([self._printed])

    async def _send(self, message: ToWorker) -> None:
        # If it is gone, reading from it says so, and better.
        with suppress(ConnectionError):
            self._in.write(line(message))
            await self._in.drain()

    async def _hello(self) -> None:
        answer = await self._next()
        if isinstance(answer, Problematic):
            raise answer.error()

    async def _next(self) -> FromWorker:
        text = await self._out.readline()
        if not text.endswith(b"\n"):
            raise await self._died()
        return _DECODER.decode(text)

    async def _died(self) -> Failed:
        # Its end is waited for first: to kill a process that has just died takes its exit status from the event loop.
        await self.close()
        how, printed = _ending(self._process.returncode or 0), await self._printed
        self._log.error("worker_died", pid=self._process.pid, how=how, printed=printed)
        return Failed(
            WORKER_DIED,
            f"The worker process that did the work ended unexpectedly ({how}).",
            next_step="Look into Holdfast's own log, and whether the host ran out of memory; then try again.",
            details={"how": how},
        )


async def _tail(stream: asyncio.StreamReader) -> str:
    """Read a stream to its end; the last part of it, as text."""
    kept = b""
    while piece := await stream.read(_PRINTED_BYTES):
        kept = (kept + piece)[-_PRINTED_BYTES:]
    return kept.decode("utf-8", "backslashreplace")


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _not_started(reason: str) -> Failed:
    return Failed(
        "worker_not_started",
        f"The worker process could not be started: {reason}.",
        next_step="Check the host's memory and its limit of processes, then try again. Nothing was changed.",
    )
