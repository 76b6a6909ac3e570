"""Every call by which a server changes or sees anything, counted; any one of them can be made to fail.

A call is one of :class:`holdfast.engine.fs.Fs` (each step of a generator is one, and what :class:`Fs` puts together of
its own calls is those), a read or a commit of the database, or a call to the container engine. One counter runs over
all of them: with :mod:`holdfast.testing.one_at_a_time` a call has the same number in every run that begins alike.

- A call *looks* or *changes*. Stopping dead before and after one that looks leaves the same state, so that only those
  that change are places to stop at; a test compares what is on disk around each call with what is said here.
- What the watch of the engine does by itself is not counted, as in :mod:`holdfast.testing.crash`.
- Of ``/proc`` a server sees itself alone, and what was mounted at first: both differ from run to run.
- ``close`` raises nothing (:meth:`Fs.close`), so that no error can be injected there.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import os
import re
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import URL, Connection
from sqlalchemy.exc import OperationalError

from holdfast.config import Settings
from holdfast.domain.errors import Failed, HoldfastError, Unavailable
from holdfast.domain.restore import Identity
from holdfast.engine.fs import Fs
from holdfast.store.database import Database, translated
from holdfast.testing.crash import ASKING, QuickClock, crashing_files
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.installation import Installation
from holdfast.testing.kill_points import UNCOUNTED
from holdfast.testing.quick_database import QuickDatabase
from holdfast.testing.quick_workers import QuickWorkers

T = TypeVar("T")

ERRORS: Final = (errno.ENOSPC, errno.EIO, errno.EMFILE, errno.EINTR, errno.EDQUOT, errno.EROFS)
"""What is injected. EINTR too, though Python itself calls again after a signal (PEP 475)."""

COMPOSED: Final = frozenset({"append_durable", "write_file_durable"})
"""Methods of :class:`Fs` that only make other calls of it."""

LOOKING: Final = frozenset(
    {
        *("open_root", "open_read", "open_path", "reopen", "duplicate", "open_unnamed", "close", "try_lock"),
        *("scan", "scan_kinds", "listdir", "statat", "fstat", "readlinkat", "path_of", "statvfs"),
        *("identity", "mount_id", "filesystem_type", "filesystem_id", "flags"),
        *("read", "pread", "is_dense", "extents"),
        *("listxattr", "getxattr", "listxattr_path", "getxattr_path"),
        *("fsync", "syncfs"),
    }
)
"""Methods of :class:`Fs` after which what any other process sees is as before. (What a power cut leaves is another
matter, and shown elsewhere: hence a flush is one of them.)"""

_MAKING: Final = os.O_CREAT | os.O_TRUNC
_FREE: Final = re.compile(r"[0-9a-f]{16,}|[0-9a-hjkmnp-tv-z]{26}|\d{4}-\d\d-\d\dT[0-9:.]+Z")
"""The parts of names that are made of ids and times."""


class Part(StrEnum):
    """Whom a call is made to."""

    FS = "fs"
    DATABASE = "database"
    ENGINE = "engine"


@dataclass(frozen=True, slots=True)
class Call:
    """One call, as it is the same in every run.

    Attributes:
        about: the names that it was given, without what differs from run to run.
        changes: whether anybody else sees something else after it.
    """

    part: Part
    name: str
    about: str
    changes: bool

    def __str__(self) -> str:
        return f"{self.part} {self.name} {self.about}".rstrip()


@dataclass(frozen=True, slots=True)
class Fault:
    """How a call fails.

    Attributes:
        number: the error; what a database or an engine says instead is of the same kind.
        after: it takes effect, and only the answer is lost. Not of calls to the file system, which have no answers
            that get lost.
    """

    number: int
    after: bool = False

    def __str__(self) -> str:
        return f"{errno.errorcode[self.number]}{' after it took effect' if self.after else ''}"

    def of_fs(self) -> OSError:
        """As the kernel says it."""
        return OSError(self.number, os.strerror(self.number))

    def of_database(self) -> OperationalError:
        """As SQLite's driver says it."""
        full = self.number in (errno.ENOSPC, errno.EDQUOT)
        return OperationalError(None, None, Exception("database or disk is full" if full else "disk I/O error"))

    def of_engine(self) -> HoldfastError:
        """As the adapter says it: the engine is away for a moment, too slow, or refuses."""
        if self.number in (errno.EMFILE, errno.EINTR):
            return Unavailable("engine_unavailable", "The container engine does not answer.", next_step="Start it.")
        if self.number == errno.EIO:
            return Unavailable("engine_timeout", "The container engine did not answer.", next_step="See its log.")
        return Failed("engine_error", f"The engine said: {os.strerror(self.number)}.", next_step="See its log.")


@dataclass(frozen=True, slots=True)
class Delay:
    """A call that does what it has to, but takes its time."""

    seconds: float
    after: bool = False

    def __str__(self) -> str:
        return f"{self.seconds:g} seconds"


@lru_cache(maxsize=4096)
def _told(part: Part, name: str, about: str, *, changes: bool) -> Call:
    """A call, without what differs from run to run in what it is about."""
    return Call(part, name, _FREE.sub("*", about), changes)


class Calls:
    """Counts calls, and lets one of them fail.

    Args:
        fail_at: the number of the call that fails; ``None``: none.
        before: told of each call that counts before it is made, with its number.

    Attributes:
        armed: whether calls count at all.
        made: all calls that counted, in order; of a run in which one fails, up to that one.
        passed: what happened beside them that a journal tells of: ``after journal COMMIT #1``.
    """

    def __init__(
        self,
        *,
        fail_at: int | None = None,
        fault: Fault | None = None,
        before: Callable[[int, Call], None] | None = None,
    ) -> None:
        self.armed = False
        self.made: list[Call] = []
        self.passed: list[str] = []
        self._passed_at: list[int] = []
        self._fail_at, self._fault, self._before = fail_at, fault, before
        self._seen: Counter[str] = Counter()
        self._one_at_a_time = threading.RLock()

    @property
    def counting(self) -> bool:
        """Whether a call that is made now counts: not once one has failed, since what follows has no number."""
        return self.armed and (self._fail_at is None or len(self.made) <= self._fail_at) and not UNCOUNTED.get()

    def call(self, part: Part, name: str, about: str = "", *, changes: bool) -> Fault | None:
        """A call is about to be made. Returns how it has to fail."""
        if not self.counting:
            return None
        with self._one_at_a_time:
            number = len(self.made)
            call = _told(part, name, about, changes=changes)
            if self._before is not None:
                self._before(number, call)
            self.made.append(call)
        return self._fault if number == self._fail_at else None

    def reach(self, what: str) -> None:
        """A restore is at a point of its story."""
        if self.armed:
            self._seen[what] += 1
            self.passed.append(f"{what} #{self._seen[what]}")
            self._passed_at.append(len(self.made))

    def passed_before(self, number: int) -> list[str]:
        """What had been passed when the call of this number was about to be made."""
        return [what for what, at in zip(self.passed, self._passed_at, strict=True) if at <= number]


class InjectedFs(Fs):
    """The file system of a server and its workers, each call counted.

    Args:
        identities: of directories that stand for others (:mod:`holdfast.testing.disk_copies`): what they are taken for.
    """

    def __init__(self, calls: Calls, identities: dict[Identity, Identity] | None = None) -> None:
        self.calls = calls
        self._identities = {} if identities is None else identities

    def identity(self, fd: int) -> Identity:
        """The identity of what this is a copy of."""
        real = super().identity(fd)
        return self._identities.get(real, real)

    def exchange(self, dirfd_a: int, name_a: bytes, dirfd_b: int, name_b: bytes) -> None:
        """As ever, and a point of the story."""
        super().exchange(dirfd_a, name_a, dirfd_b, name_b)
        self.calls.reach(f"after exchange {os.fsdecode(name_a)}")

    def open_read(self, path: str) -> int:
        """As ever; but what is mounted is what was when this process first looked."""
        if path not in ("/proc/self/mountinfo", "/proc/1/mountinfo"):
            return super().open_read(path)
        fd = os.memfd_create("mountinfo")
        os.write(fd, _mounted())
        os.lseek(fd, 0, os.SEEK_SET)
        return fd

    def listdir(self, fd: int) -> list[bytes]:
        """As ever; but of all processes only this one is there."""
        if os.readlink(f"/proc/self/fd/{fd}") == "/proc":
            return [b"%d" % os.getpid()]
        return super().listdir(fd)


@cache
def _mounted() -> bytes:
    return Path("/proc/self/mountinfo").read_bytes()


def _about(arguments: tuple[object, ...]) -> str:
    return " ".join([os.fsdecode(each) for each in arguments if isinstance(each, (bytes, str)) and len(each) < 256])


def _changes(name: str, arguments: tuple[object, ...]) -> bool:
    if name in ("openat", "open_beneath"):
        return bool(int(str(arguments[2])) & _MAKING)
    return name not in LOOKING


def _injected(name: str) -> Callable[..., object]:
    """A method of :class:`InjectedFs` that counts, fails if it has to, and else does what it always does."""
    real = getattr(InjectedFs, name)
    told_apart = name not in ("write_all", "pwrite_all", "setxattr", "setxattr_path", "read", "pread")

    def reach(fs: InjectedFs, arguments: tuple[object, ...], step: str = "") -> None:
        if not fs.calls.counting:
            return
        about = _about(arguments) if told_apart else ""
        fault = fs.calls.call(Part.FS, f"{name}{step}", about, changes=_changes(name, arguments))
        if fault is not None:
            raise fault.of_fs()

    def method(fs: InjectedFs, *arguments: object, **options: object) -> object:
        reach(fs, arguments)
        return real(fs, *arguments, **options)

    def stepping(fs: InjectedFs, *arguments: object, **options: object) -> Iterator[object]:
        reach(fs, arguments)
        for item in real(fs, *arguments, **options):
            reach(fs, arguments, " step")
            yield item

    return stepping if inspect.isgeneratorfunction(getattr(Fs, name)) else method


COUNTED: Final = tuple(
    name for name, _ in inspect.getmembers(Fs, inspect.isfunction) if not name.startswith("_") and name not in COMPOSED
)
"""The methods of :class:`Fs` that are calls."""
for _name in COUNTED:
    setattr(InjectedFs, _name, _injected(_name))


class InjectedDatabase(QuickDatabase):
    """The database, each beginning of a read and each commit counted."""

    def __init__(self, url: URL, calls: Calls) -> None:
        super().__init__(url)
        self._calls = calls

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Read, or fail to."""
        fault = self._calls.call(Part.DATABASE, "read", changes=False)
        with translated():
            if fault:
                raise fault.of_database()
        return await super().read(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Write, and commit or fail to."""
        fault = self._calls.call(Part.DATABASE, "commit", changes=True)
        with translated():
            if fault and not fault.after:
                raise fault.of_database()
        done = await super().write(work)
        if fault:
            raise Failed("database_failed", "The database did not say whether that was written.", next_step="Look.")
        return done


class InjectedRuntime(FakeRuntime):
    """The engine, each call counted."""

    def __init__(
        self, calls: Calls, *, state_file: Path, root_dir: str, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(state_file=state_file, root_dir=root_dir, clock=clock)
        self._injecting = calls

    @asynccontextmanager
    async def _call(self, name: str, subject: str = "") -> AsyncIterator[None]:
        task = asyncio.current_task()
        if task is not None and task.get_name() == "engine watch":
            UNCOUNTED.set(True)  # and so for all that it starts
        container = self.engine.state.containers.get(subject)
        about = (subject if container is None else container.spec.name).split("-", 1)[0]
        fault = self._injecting.call(Part.ENGINE, name, about, changes=name not in ASKING)
        if fault and not fault.after:
            raise fault.of_engine()
        async with super()._call(name, subject):
            yield
        if fault:
            raise fault.of_engine()


def injected(place: Installation, calls: Calls, identities: dict[Identity, Identity] | None = None) -> Installation:
    """The installation, with all calls of the servers that are started on it counted."""

    clock = place.seams.clock
    engine_time = clock.engine_time if isinstance(clock, QuickClock) else time.time

    def runtime(_settings: Settings) -> FakeRuntime:
        state = place.directory / "engine.json"
        return InjectedRuntime(calls, state_file=state, root_dir=str(place.directory), clock=engine_time)

    def database(path: Path) -> Database:
        return InjectedDatabase(URL.create("sqlite", database=str(path)), calls)

    fs = InjectedFs(calls, identities)
    seams = replace(
        place.seams,
        fs=fs,
        files=crashing_files(calls),
        workers=partial(QuickWorkers, fs=fs),
    )
    return replace(place, runtime=runtime, database=database, seams=seams)
