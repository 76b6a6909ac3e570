"""Named points at which a process kills itself with SIGKILL, for crashes that are placed and never timed."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from contextvars import ContextVar
from pathlib import Path

UNCOUNTED: ContextVar[bool] = ContextVar("UNCOUNTED", default=False)
"""Set in tasks whose points don't count, and so in all that they start."""


class KillPoints:
    """Counts points, writes their names down, and kills the process at one of them.

    A point's name is what happens there and how often it has happened: ``before journal COMMIT #1``. So it is the same
    point in every run, whatever else goes on beside it.

    Args:
        trace: where the names go, one a line, each before anything else happens at its point; what is there is kept.
        kill_at: the name at which the process dies; ``None``: nowhere.

    Attributes:
        armed: whether points count at all.
    """

    def __init__(self, trace: Path, kill_at: str | None = None, *, armed: bool = False) -> None:
        self.armed = armed
        self._trace = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._kill_at = kill_at
        self._seen: Counter[str] = Counter()
        self._counting = threading.Lock()

    def reach(self, what: str) -> None:
        """The process is at a point. May be called from any thread; does not come back from where it dies."""
        if not self.armed or UNCOUNTED.get():
            return
        with self._counting:  # kept while dying: no other thread gets any further either
            self._seen[what] += 1
            name = f"{what} #{self._seen[what]}"
            os.write(self._trace, f"{name}\n".encode())
            if name == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
                signal.pause()
