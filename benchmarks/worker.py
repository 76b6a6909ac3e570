"""Holdfast's engine, measured as the server runs it: a worker process of its own that is asked one thing."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import TypeVar, cast

import msgspec

from benchmarks.measuring import Usage
from holdfast.engine.requests import AnyRequest, Request, WorkerSettings
from holdfast.engine.worker_protocol import FromWorker, Problematic, Result, Run, Setup, line
from holdfast.services.workers import COMMAND

R = TypeVar("R")
_DECODER: msgspec.json.Decoder[FromWorker] = msgspec.json.Decoder(FromWorker)


def ask(settings: WorkerSettings, request: Request[R]) -> tuple[R, Usage]:
    """Start a worker, have it carry a request out, and let it go. The start is part of what it took.

    Raises:
        HoldfastError: what the request raised.
        RuntimeError: the worker died; what it printed stands above.
    """
    began = time.monotonic()
    process = subprocess.Popen(COMMAND, env={"LANG": "C.UTF-8"}, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(line(Setup(settings=settings)))
        process.stdin.write(line(Run(number=1, request=cast("AnyRequest", request))))
        process.stdin.flush()
        for text in process.stdout:
            answer = _DECODER.decode(text)
            if isinstance(answer, Problematic):
                raise answer.error()
            if isinstance(answer, Result):
                seconds, peak = time.monotonic() - began, _peak(process.pid)
                process.stdin.close()
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                value = cast("R", msgspec.json.decode(answer.value, type=request.result))
                return value, Usage(seconds=seconds, cpu=usage.ru_utime + usage.ru_stime, peak=peak)
        raise RuntimeError("the worker died")
    finally:
        process.kill()
        process.wait()


def _peak(pid: int) -> int:
    """The most memory that a process had at once, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
