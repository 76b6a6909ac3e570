"""Crashes placed by a seam: the server's process is killed with SIGKILL at a named point, never after a time.

A point lies before and after each journal record, each exchange, each call to the engine, and each small file that
recovery goes by (:mod:`holdfast.testing.kill_points`). A call that only asks leaves what it found: after it lies none.

Points are set in the server's process by stand-ins for its :class:`holdfast.bootstrap.Seams`; they change nothing but
that they count, and kill. What the watch of the engine does by itself is not counted: it goes on beside operations.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NoReturn, Protocol

from holdfast.config import Settings
from holdfast.domain.restore import RestoreFacts
from holdfast.domain.restore_records import Record
from holdfast.engine.fs import Fs
from holdfast.engine.journal import Journal
from holdfast.services.restore_files import RestoreFiles
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.installation import Installation
from holdfast.testing.kill_points import UNCOUNTED, KillPoints

FAILED: Final = 70
"""Exit status of a child whose scenario raised."""
PATIENCE: Final = 60.0
"""Seconds after which a child that neither ended nor died is taken for stuck."""
_AN_HOUR: Final = 3600.0


PROBED: Final = (b"live", b"wrapper", b"staged")
"""What the throwaway pairs consist of on which an exchange is tried."""

ASKING: Final = frozenset({"containers", "events", "image", "info", "inspect", "inspection", "logs"})
"""Calls to the engine that change nothing."""


class CrashingFs(Fs):
    """Points around each exchange, each new directory, and the small files by which captures and journals are known."""

    def __init__(self, points: KillPoints) -> None:
        self._points = points

    def exchange(self, dirfd_a: int, name_a: bytes, dirfd_b: int, name_b: bytes) -> None:
        """Exchange, between two points. Trials on throwaway pairs have none: their number is not the same each time."""
        if name_a in PROBED:
            super().exchange(dirfd_a, name_a, dirfd_b, name_b)
            return
        what = f"exchange {os.fsdecode(name_a)}"
        self._points.reach(f"before {what}")
        super().exchange(dirfd_a, name_a, dirfd_b, name_b)
        self._points.reach(f"after {what}")

    def rename(self, from_dirfd: int, from_name: bytes, to_dirfd: int, to_name: bytes) -> None:
        """Put a whole file in place, between two points."""
        self._points.reach(f"before placing {_kind(to_name)}")
        super().rename(from_dirfd, from_name, to_dirfd, to_name)
        self._points.reach(f"after placing {_kind(to_name)}")

    def rename_noreplace(self, from_dirfd: int, from_name: bytes, to_dirfd: int, to_name: bytes) -> None:
        """Give a new directory its name, between two points."""
        self._points.reach(f"before making {os.fsdecode(to_name)}")
        super().rename_noreplace(from_dirfd, from_name, to_dirfd, to_name)
        self._points.reach(f"after making {os.fsdecode(to_name)}")

    def rmdirat(self, dirfd: int, name: bytes) -> None:
        """Take a live directory away, between two points; probes come and go without."""
        if name.startswith(b".holdfast-") or name in PROBED:
            super().rmdirat(dirfd, name)
            return
        self._points.reach(f"before taking away {os.fsdecode(name)}")
        super().rmdirat(dirfd, name)
        self._points.reach(f"after taking away {os.fsdecode(name)}")

    def unlinkat(self, dirfd: int, name: bytes) -> None:
        """Remove a name, between two points."""
        self._points.reach(f"before removing {_kind(name)}")
        super().unlinkat(dirfd, name)
        self._points.reach(f"after removing {_kind(name)}")


def _kind(name: bytes) -> str:
    """A file by its ending: its name is made of ids, which differ from run to run."""
    return f"a {Path(os.fsdecode(name)).suffix or 'plain'} file"


Scenario = Callable[[KillPoints], Coroutine[None, None, None]]
"""What a child does; it arms the points."""

Runs = Callable[[Coroutine[None, None, None]], None]
"""Runs a scenario, as :func:`asyncio.run` does."""


class Points(Protocol):
    """What is told that a server got to a point."""

    def reach(self, what: str) -> None:
        """It is there now."""


def crashing_files(points: Points) -> type[RestoreFiles]:
    """What makes a restore's file operations with points around each journal record."""

    class CrashingFiles(RestoreFiles):
        async def begin(self, facts: RestoreFacts) -> Journal:
            points.reach("before journal STAGING")
            journal = await super().begin(facts)
            points.reach("after journal STAGING")
            return journal

        async def append(self, to: Journal, record: Record) -> None:
            points.reach(f"before journal {record.type}")
            await super().append(to, record)
            points.reach(f"after journal {record.type}")

    return CrashingFiles


class CrashingRuntime(FakeRuntime):
    """An engine with points around each call, once what it did is in its state file."""

    def __init__(self, points: KillPoints, *, state_file: Path, root_dir: str) -> None:
        super().__init__(state_file=state_file, root_dir=root_dir)
        self._points = points

    @asynccontextmanager
    async def _call(self, name: str, subject: str = "") -> AsyncIterator[None]:
        task = asyncio.current_task()
        if task is not None and task.get_name() == "engine watch":
            UNCOUNTED.set(True)  # and so for all that it starts
        what = f"engine {name} {self._named(subject)}".rstrip()
        self._points.reach(f"before {what}")
        async with super()._call(name, subject):
            yield
        if name not in ASKING:
            self._points.reach(f"after {what}")

    def _named(self, subject: str) -> str:
        """Whom a call is about, without what differs from run to run."""
        container = self.engine.state.containers.get(subject)
        name = container.spec.name if container is not None else subject
        return "" if name.startswith("sha256:") or ":" in name else name.split("-", 1)[0]


_NOW_AND_THEN: Final = 5.0
"""Seconds: whoever pauses for so long looks after the whole server, and would do so hundreds of times in no time."""


class QuickClock:
    """A clock by which health gates take no time, and look equally often in every run."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def monotonic(self) -> float:
        """Seconds that were slept; no others pass."""
        return self._ahead

    def engine_time(self) -> float:
        """What the engine takes for the time."""
        return time.time()

    def time(self) -> float:
        """An hour ahead of the engine, so that what runs has run for long."""
        return self.engine_time() + _AN_HOUR + self._ahead

    def pass_by(self, seconds: float) -> None:
        """Let time pass while somebody is at work."""
        self._ahead += seconds

    async def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass at once; what is done only now and then is not done again while a test lasts."""
        if seconds >= _NOW_AND_THEN:
            await asyncio.Event().wait()
        self._ahead += seconds
        await asyncio.sleep(0)


class StillClock(QuickClock):
    """A clock by which no time passes but what was slept, however long the work takes; and that can be set back.

    So what depends on the time, such as whether that of a trial is over, is the same in every run that begins alike.
    """

    def __init__(self) -> None:
        super().__init__()
        self._began = time.time()

    def engine_time(self) -> float:
        """Always the same, but for a microsecond, so that no two things happen at once."""
        self._began += 1e-6
        return self._began

    def set_to(self, seconds: float) -> None:
        """Let it be as late as when :meth:`monotonic` said so."""
        self._ahead = seconds


def crashing(place: Installation, points: KillPoints) -> Installation:
    """The installation, with all points in the servers that are started on it."""

    def runtime(_settings: Settings) -> FakeRuntime:
        return CrashingRuntime(points, state_file=place.directory / "engine.json", root_dir=str(place.directory))

    seams = replace(place.seams, fs=CrashingFs(points), files=crashing_files(points))
    return replace(place, runtime=runtime, seams=seams)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a forked child ended.

    Attributes:
        killed: by SIGKILL, at its point.
        reached: the points that it reached, in order; the last one is where it died.
        trouble: what it raised; empty if it came to its end.
    """

    killed: bool
    reached: tuple[str, ...]
    trouble: str = ""


def in_child(directory: Path, kill_at: str | None, scenario: Scenario, *, run: Runs = asyncio.run) -> Ended:
    """Run a scenario in a forked process, to be killed at a point. Call it where no event loop runs.

    Args:
        directory: where the child's notes go.
        kill_at: see :class:`KillPoints`.
        run: what runs the scenario.
    """
    trace, trouble = directory / "points", directory / "trouble"
    for left in (trace, trouble):
        left.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        _be_child(trace, trouble, kill_at, scenario, run)
    status = _wait(pid)
    return Ended(
        killed=os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL,
        reached=tuple(trace.read_text().splitlines()) if trace.exists() else (),
        trouble=trouble.read_text() if trouble.exists() else "",
    )


def _be_child(trace: Path, trouble: Path, kill_at: str | None, scenario: Scenario, run: Runs) -> NoReturn:
    status = FAILED
    try:
        run(scenario(KillPoints(trace, kill_at)))
        status = 0
    except BaseException:  # noqa: BLE001 - the parent tells it; nothing of the test runner may run on in this process
        trouble.write_text(traceback.format_exc())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait(pid: int) -> int:
    """Wait for a child; end it if it is stuck. Returns its wait status."""
    fd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(PATIENCE * 1000):
            signal.pidfd_send_signal(fd, signal.SIGABRT)
        return os.waitpid(pid, 0)[1]
    finally:
        os.close(fd)
