"""A real server in a forked process: what this one has imported already, it need not import; its end is its own."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import NoReturn

from holdfast.bootstrap import Seams, serve
from holdfast.config import Settings

_POLL_SECONDS = 0.02


class ForkedServer:
    """As much of :class:`subprocess.Popen` as a server needs. Make it where no event loop runs.

    Args:
        log: where its output goes; what is there is replaced.
    """

    def __init__(self, settings: Settings, log: Path, seams: Seams) -> None:
        self.returncode: int | None = None
        log.write_bytes(b"")
        self.pid = os.fork()
        if self.pid == 0:
            _be_server(settings, log, seams)

    def poll(self) -> int | None:
        """How it ended; ``None`` while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """How it ended, once it has."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"the server {self.pid} does not end")
            time.sleep(_POLL_SECONDS)
        return code

    def terminate(self) -> None:
        """Ask it to end."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self._send(signal.SIGKILL)

    def _send(self, what: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, what)


def _be_server(settings: Settings, log: Path, seams: Seams) -> NoReturn:
    status = 1
    try:
        fd = os.open(log, os.O_WRONLY)
        for standard in (1, 2):
            os.dup2(fd, standard)
        sys.stdout = sys.stderr = os.fdopen(fd, "w", buffering=1)
        serve(settings, seams)
        status = 0
    except BaseException:  # noqa: BLE001 - nothing of the test runner may run on in this process
        traceback.print_exc()
    finally:
        os._exit(status)
