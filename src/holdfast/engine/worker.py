"""The worker process: carries out engine jobs one after the other, so that the server never blocks or dies with one.

``python -m holdfast.engine.worker`` speaks :mod:`holdfast.engine.worker_protocol` on its standard input and output.

- The end of its input means that the server is gone: it exits at once, in the middle of a job too. (A parent-death
  signal would not do: it tells of the thread that started the worker.) Until then it holds the data directory's lock,
  whose descriptor it inherited.
- It imports the engine and the domain only, which keeps it small and quick to start.
- Signals for the server's process group don't reach or concern it: the server ends it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from queue import SimpleQueue
from typing import BinaryIO, Final

import msgspec

from holdfast.domain.errors import Cancelled, Failed, HoldfastError
from holdfast.domain.operation import Progress
from holdfast.engine.job import Job
from holdfast.engine.jobs import Engine
from holdfast.engine.requests import AnyRequest, WorkerSettings
from holdfast.engine.worker_protocol import (
    Cancel,
    FromWorker,
    Hello,
    Problematic,
    Report,
    Result,
    Run,
    Setup,
    ToWorker,
    line,
)

EXIT_ORPHANED: Final = 3
_REPORT_SECONDS: Final = 0.1

Handler = Callable[[AnyRequest, Job], object]


class PipeJob:
    """The job of one request: its progress goes to the server, at most every tenth of a second."""

    def __init__(self, send: Callable[[FromWorker], None]) -> None:
        self._send = send
        self._due = 0.0
        self.cancelled = threading.Event()

    def progress(self, progress: Progress) -> None:
        """Report how far the present step is."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + _REPORT_SECONDS
            self._send(Report(progress=progress))

    def check(self) -> None:
        """Raise ``Cancelled`` if somebody cancelled."""
        if self.cancelled.is_set():
            raise Cancelled


class Worker:
    """Serves one server.

    Args:
        incoming, outgoing: the pipes from and to it.
        make_handler: builds what carries requests out, from the settings that come first.
    """

    def __init__(
        self, incoming: BinaryIO, outgoing: BinaryIO, make_handler: Callable[[WorkerSettings], Handler]
    ) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._make_handler = make_handler
        self._requests: SimpleQueue[tuple[Setup | Run, PipeJob]] = SimpleQueue()
        self._latest = (0, PipeJob(self._send))

    def serve(self) -> None:
        """Carry requests out until the server goes away, which ends the process."""
        threading.Thread(target=self._listen, name="server", daemon=True).start()
        handler: Handler | None = None
        while True:
            message, job = self._requests.get()
            try:
                if isinstance(message, Setup):
                    handler = self._make_handler(message.settings)
                    self._send(Hello(pid=os.getpid()))
                elif handler is not None:
                    value = handler(message.request, job)
                    self._send(Result(value=msgspec.Raw(msgspec.json.encode(value))))
            except HoldfastError as error:
                self._send(Problematic.of(error))
            except Exception:  # noqa: BLE001 - the server logs what the worker prints; the next request may do well
                traceback.print_exc()
                self._send(Problematic.of(_unforeseen()))

    def _listen(self) -> None:
        """In a thread: note what the server says; when it says nothing any more, go."""
        try:
            decoder = msgspec.json.Decoder(ToWorker)
            for text in self._incoming:
                self._note(decoder.decode(text))
        except msgspec.DecodeError:
            traceback.print_exc()
        finally:
            os._exit(EXIT_ORPHANED)

    def _note(self, message: ToWorker) -> None:
        if isinstance(message, Cancel):
            number, job = self._latest
            if number == message.number:
                job.cancelled.set()
            return
        job = PipeJob(self._send)
        if isinstance(message, Run):
            self._latest = (message.number, job)
        self._requests.put((message, job))

    def _send(self, message: FromWorker) -> None:
        try:
            self._outgoing.write(line(message))
            self._outgoing.flush()
        except BrokenPipeError:
            os._exit(EXIT_ORPHANED)


def _unforeseen() -> Failed:
    return Failed(
        "internal_error",
        "The operation failed for a reason that Holdfast did not foresee.",
        next_step="Look into Holdfast's own log for what the worker printed, and report the defect.",
    )


def run(make_handler: Callable[[WorkerSettings], Handler]) -> None:
    """Be a worker on this process's standard input and output. Never returns."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    outgoing = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what prints by mistake must not end up among the messages
    Worker(sys.stdin.buffer, outgoing, make_handler).serve()


if __name__ == "__main__":
    run(lambda settings: Engine(settings).handle)
