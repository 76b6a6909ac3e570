"""What is killed: the server with its workers, and the engine with its containers; and how they come back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx

from holdfast.config import Settings
from holdfast.engine.data_lock import FILE_NAME as LOCK
from holdfast.engine.fs import Fs
from holdfast.engine.mounts import holders
from holdfast.testing.docker_engine import DockerEngine, EngineTrouble
from holdfast.testing.server_process import SERVE, ServerProcess, connect, launch
from torture.plan import Victim

PATIENCE: Final = 180.0
"""Seconds after which what does not come is a violation."""
_TICK: Final = 0.05


class Stuck(Exception):
    """Something that has to come did not come; the message says what, and what was there instead."""


class Machine:
    """A server and an engine on directories of their own.

    Args:
        logs: where what the servers print goes, a file for each.

    Attributes:
        command: how a server is started.
    """

    def __init__(self, settings: Settings, engine: DockerEngine, logs: Path) -> None:
        self.settings = settings
        self.engine = engine
        self.command: tuple[str, ...] = SERVE
        self._logs = logs
        self._process: subprocess.Popen[bytes] | None = None
        self._log = logs
        self._server: ServerProcess | None = None
        self._starts = 0

    @property
    def http(self) -> httpx.Client:
        """A client of the running server, as its admin."""
        if self._server is None:
            raise Stuck("no server runs")
        return self._server.http

    def ask(self, path: str, **parameters: str) -> Any:
        """GET something of the API."""
        return self.send("GET", path, params=parameters).json()

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send a request that nothing keeps from being answered.

        Raises:
            Stuck: it was refused, or not answered.
        """
        try:
            answer = self.http.request(method, path, **request)
        except httpx.HTTPError as error:
            raise Stuck(f"{method} {path} was not answered: {error!r}") from error
        if answer.is_error:
            raise Stuck(f"{method} {path} was refused: {answer.text}")
        return answer

    def begin(self, path: str, document: object = None, *, confirm: str | None = None) -> str:
        """Start an operation. Returns its id."""
        headers = {"X-Confirm-Restore": confirm} if confirm else {}
        return str(self.send("POST", path, json=document or {}, headers=headers).json()["id"])

    def operation(self, operation_id: str) -> dict[str, Any]:
        """An operation as it stands."""
        found: dict[str, Any] = self.ask(f"/api/operations/{operation_id}")
        return found

    def ended(self, operation_id: str) -> dict[str, Any]:
        """An operation once it has ended."""
        operation: dict[str, Any] = {}

        def over() -> bool:
            nonlocal operation
            operation = self.operation(operation_id)
            return operation["state"] not in ("queued", "running")

        until(over, lambda: f"operation {operation_id} to end: {json.dumps(operation)[-2000:]}")
        return operation

    def succeeded(self, operation_id: str) -> dict[str, Any]:
        """The outcome of an operation that has to end well."""
        operation = self.ended(operation_id)
        if operation["state"] != "succeeded":
            raise Stuck(f"an operation that nobody disturbed failed: {json.dumps(operation['error'])}")
        outcome: dict[str, Any] = operation["outcome"]
        return outcome

    def start_engine(self) -> None:
        """Start the engine; once more if that fails, as whatever looks after it on a host would."""
        try:
            self.engine.start()
        except EngineTrouble:
            self.engine.start()

    def start_server(self) -> None:
        """Start a server, without waiting for it. Fine if one runs."""
        if self._process is None:
            self._starts += 1
            self._log = self._logs / f"server-{self._starts:03}.log"
            self._process = launch(self.settings, self._log, self.command)

    def bring_up(self, *, engine_first: bool = True) -> None:
        """Have engine and server run, and answer."""
        if not engine_first:
            self.start_server()
        if not self.engine.answers():
            self.start_engine()
        self.start_server()
        if self._server is None and self._process is not None:
            try:
                self._server = connect(self._process, self.settings, self._log)
            except (RuntimeError, AssertionError) as error:
                raise Stuck(f"the server did not come back, see {self._log.name}: {error}") from error

    def ready(self) -> bool:
        """Whether the server is ready, waiting for nothing."""
        answer = self.http.get("/readyz")
        return answer.is_success and not answer.json().get("waiting_for")

    def workers(self) -> list[int]:
        """The workers that are there, orphaned ones included: whoever has the data directory's lock open."""
        server = None if self._process is None else self._process.pid
        return [pid for pid in lock_holders(self.settings.data_dir) if pid != server]

    def kill(self, victim: Victim) -> None:
        """KILL a victim. A worker need not be there."""
        match victim:
            case Victim.SERVER:
                self._kill_server()
            case Victim.WORKER:
                kill_all(self.workers())
            case Victim.ENGINE:
                self.engine.kill()
            case Victim.ALL:
                self._kill_server()
                kill_all(self.workers())
                self.engine.lose_power()

    def close(self) -> None:
        """End the server in an orderly way, and the engine with all that it kept."""
        try:
            if self._server is not None:
                self._server.close()
        finally:
            self._kill_server()
            self.engine.discard()

    def _kill_server(self) -> None:
        process, self._process = self._process, None
        server, self._server = self._server, None
        if process is not None:
            process.kill()
            process.wait()
        if server is not None:
            server.close()


def lock_holders(data_dir: Path) -> list[int]:
    """The processes that have a data directory's lock open: its server and the workers."""
    lock = str(data_dir / LOCK)
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and _has_open(name, lock)]


def _has_open(pid: str, path: str) -> bool:
    with suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{fd}") == path:
                    return True
    return False


def kill_all(pids: list[int]) -> None:
    """KILL processes; those that are gone are fine."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def end_cut_off_starts(paths: Sequence[Path]) -> None:
    """KILL what the death of an engine left of containers that it was about to start: they hold ``paths`` mounted.

    Such a process stands before the container's program for ever, and Holdfast refuses to restore beneath it: it says
    that somebody has to stop it.
    """
    kill_all([holder.pid for holder in holders(Fs(), list(map(str, paths))) if holder.command.startswith("runc:[")])


def came_true(condition: Callable[[], object], seconds: float) -> bool:
    """Wait for a condition, so long at most. Returns whether it came true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_TICK)
    return True


def until(condition: Callable[[], object], what: Callable[[], str]) -> None:
    """Wait for a condition.

    Raises:
        Stuck: it did not come true.
    """
    if not came_true(condition, PATIENCE):
        raise Stuck(f"waited {PATIENCE:.0f} s in vain for {what()}")
