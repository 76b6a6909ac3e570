"""A real server in a process of its own, spoken to over HTTP: for what is about the server's death."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import httpx

from holdfast.config import Settings

PATIENCE: Final = 60.0
"""Seconds after which what does not come is a failure."""
SERVE: Final = (sys.executable, "-m", "holdfast", "serve")
_LISTENS: Final = re.compile(r"listens on (http://\S+),")


def crashing_at(trace: Path, point: str) -> tuple[str, ...]:
    """The command of a server that dies at a point; see :mod:`holdfast.testing.crashing_server`."""
    return sys.executable, "-m", "holdfast.testing.crashing_server", str(trace), point


class Process(Protocol):
    """A server's process, as :class:`subprocess.Popen` is one."""

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


class ServerProcess:
    """A running server; :func:`server` makes one."""

    def __init__(self, process: Process, http: httpx.Client) -> None:
        self._process = process
        self.http = http

    def answers(self) -> bool:
        """Whether it serves by now."""
        try:
            return self.http.get("/healthz").is_success
        except httpx.TransportError:
            return False

    def start(self, method: str, path: str, **request: Any) -> str:
        """Start an operation. Returns its id."""
        answer = self.http.request(method, path, **request)
        assert answer.is_success, answer.text
        return str(answer.json()["id"])

    def operation(self, operation_id: str) -> dict[str, Any]:
        """An operation as it stands."""
        answer = self.http.get(f"/api/operations/{operation_id}")
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def ended(self, operation_id: str) -> dict[str, Any]:
        """An operation once it has ended."""
        until(lambda: self.operation(operation_id)["state"] not in ("queued", "running"))
        return self.operation(operation_id)

    def succeeded(self, operation_id: str) -> dict[str, Any]:
        """The outcome of an operation that has to end well."""
        end = self.ended(operation_id)
        assert end["state"] == "succeeded", json.dumps(end["error"], indent=2)
        outcome: dict[str, Any] = end["outcome"]
        return outcome

    def kill(self) -> None:
        """KILL it, as a crash or the kernel would."""
        self._process.kill()
        self._process.wait()

    def died(self) -> None:
        """Wait for it to die by itself, by SIGKILL and nothing else."""
        assert self._process.wait(PATIENCE) == -signal.SIGKILL

    def close(self) -> None:
        """An orderly end; fine if it is dead, how is told beside what failed for it."""
        self.http.close()
        if (code := self._process.poll()) is None:
            self._process.terminate()
            self._process.wait(PATIENCE)
        else:
            logging.getLogger(__name__).warning("the server had ended before, with %s", code)


def launch(settings: Settings, log: Path, command: Sequence[str] = SERVE) -> subprocess.Popen[bytes]:
    """Start a server's process, on a free port, without waiting for it.

    Args:
        log: where its output goes; what is there is replaced.
    """
    with log.open("wb") as output:
        return subprocess.Popen(  # noqa: S603 - a program of our own
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_outside() | _environment(settings) | {"PYTHONFAULTHANDLER": "1"},  # a crash is in its log, too
        )


def connect(process: Process, settings: Settings, log: Path) -> ServerProcess:
    """Wait until a launched server answers.

    Raises:
        RuntimeError: it ended; with what it said.
    """
    until(lambda: process.poll() is not None or _address(log) is not None)
    address = _address(log)
    if address is None:
        raise RuntimeError(f"the server does not start. What it said:\n{log.read_text(errors='replace')}")
    token = settings.admin_token_file  # it is there until somebody is an admin
    headers = {"Authorization": f"Bearer {token.read_text().strip()}"} if token.exists() else {}
    running = ServerProcess(process, httpx.Client(base_url=address, headers=headers, timeout=PATIENCE, trust_env=False))
    try:
        until(running.answers)
    except BaseException:
        running.close()
        raise
    return running


@contextmanager
def server(settings: Settings, log: Path, command: Sequence[str] = SERVE) -> Iterator[ServerProcess]:
    """A server that answers, on a free port, until the end of the block; for ``log`` see :func:`launch`."""
    process = launch(settings, log, command)
    try:
        running = connect(process, settings, log)
        try:
            yield running
        finally:
            running.close()
    finally:
        process.kill()
        process.wait()


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait for a condition; never coming true is a failure."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def _address(log: Path) -> str | None:
    found = _LISTENS.search(log.read_text(errors="replace"))
    return found[1] if found else None


def _outside() -> dict[str, str]:
    """This process's environment without what is for Holdfast: ``HOLDFAST_TORTURE`` is no setting of a server's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}


def _environment(settings: Settings) -> dict[str, str]:
    roots = {"HOLDFAST_ALLOWED_ROOTS": ":".join(map(str, settings.allowed_roots))} if settings.allowed_roots else {}
    return roots | {
        "HOLDFAST_DATA_DIR": str(settings.data_dir),
        "HOLDFAST_DOCKER_HOST": settings.docker_host,
        "HOLDFAST_LISTEN": "127.0.0.1:0",
        "HOLDFAST_STEADY_SECONDS": f"{round(settings.steady_seconds * 1000)}ms",
        "HOLDFAST_DISK_RESERVE_BYTES": str(settings.disk_reserve_bytes),
        "HOLDFAST_DISK_RESERVE_INODES": str(settings.disk_reserve_inodes),
        "HOLDFAST_METRICS_INTERVAL": f"{round(settings.metrics_interval * 1000)}ms",
        "HOLDFAST_DRAIN_DEADLINE": f"{round(settings.drain_deadline * 1000)}ms",
    }
