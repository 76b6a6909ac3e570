"""Faults placed by seams: what happens at a named moment of a server, and disks that fail where a test says so."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from holdfast.bootstrap import Seams
from holdfast.config import Settings
from holdfast.domain.restore import RecordType, RestoreFacts
from holdfast.domain.restore_records import Record, TrialRecord
from holdfast.engine.fs import Fs
from holdfast.engine.journal import Journal
from holdfast.services.restore_files import RestoreFiles
from holdfast.testing.crash import QuickClock
from holdfast.testing.fake_runtime import Call, FakeRuntime
from holdfast.testing.installation import Installation
from holdfast.testing.quick_workers import QuickWorkers

Hook = Callable[[], Awaitable[object]]


class When(StrEnum):
    """When the writing of a record fails."""

    WRITING = "writing"
    """The disk is full: nothing of it is written."""
    FLUSHING = "flushing"
    """It is written, and the flush fails: it may be on disk or not."""


class FaultyFs(Fs):
    """A disk that fails when a journal's record is written or flushed, or when trees are exchanged.

    Attributes:
        failed: how often it did.
    """

    def __init__(self) -> None:
        self.failed = 0
        self._planned: list[tuple[RecordType, When]] = []
        self._lasting = False
        self._broken = False
        self._due = False
        self._exchanges: list[int] = []
        self._exchanged = 0

    def fail_record(self, record: RecordType, when: When, *, lasting: bool = False) -> None:
        """Let the next writing of ``record`` fail; if others are to fail before it, then once they have.

        Args:
            lasting: from then on nothing can be written to any journal, until :meth:`heal`.
        """
        self._planned.append((record, when))
        self._lasting = lasting

    def fail_exchange(self, *which: int) -> None:
        """Let these exchanges of live trees fail; the next one is 1."""
        self._exchanges, self._exchanged = list(which), 0

    def heal(self) -> None:
        """Nothing fails any more."""
        self._broken, self._due = False, False
        self._planned, self._exchanges = [], []

    def pwrite_all(self, fd: int, data: bytes | memoryview, offset: int) -> None:
        """Write, unless told to fail."""
        if self._is_journal(fd):
            if self._broken:
                self._fail(When.WRITING)
            if self._planned and f'"type":"{self._planned[0][0]}"'.encode() in bytes(data):
                _, when = self._planned.pop(0)
                self._broken = self._lasting and not self._planned
                if when is When.WRITING:
                    self._fail(when)
                self._due = True
        super().pwrite_all(fd, data, offset)

    def fsync(self, fd: int) -> None:
        """Flush, unless told to fail."""
        if self._due or (self._broken and self._is_journal(fd)):
            self._due = False
            self._fail(When.FLUSHING)
        super().fsync(fd)

    def exchange(self, dirfd_a: int, name_a: bytes, dirfd_b: int, name_b: bytes) -> None:
        """Exchange, unless told to fail; throwaway pairs don't count."""
        if name_b == b"staged" and name_a != b"live":
            self._exchanged += 1
            if self._exchanged in self._exchanges:
                self.failed += 1
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().exchange(dirfd_a, name_a, dirfd_b, name_b)

    def _is_journal(self, fd: int) -> bool:
        return self.path_of(fd).endswith(".journal")

    def _fail(self, when: When) -> None:
        self.failed += 1
        number = errno.EIO if when is When.FLUSHING else errno.ENOSPC
        raise OSError(number, os.strerror(number))


@dataclass(kw_only=True)
class Faults:
    """What a test has in its hand of the servers of one installation.

    Attributes:
        moments: what to do once at a moment: ``engine stop`` is before the next such call, ``journal SAFE`` before that
            record is written (``journal STAGING``: before the journal is made).
        trial_deadline: what TRIAL says instead of its deadline.
    """

    directory: Path
    fs: FaultyFs = field(default_factory=FaultyFs)
    moments: dict[str, Hook] = field(default_factory=dict)
    trial_deadline: str = ""

    def heal(self) -> None:
        """Nothing happens and nothing fails any more."""
        self.fs.heal()
        self.moments.clear()
        self.trial_deadline = ""

    def on(self, place: Installation) -> Installation:
        """The installation, with these faults in all of its servers. Its engine waits for nothing longer than that."""
        return Installation(
            directory=place.directory,
            runtime=self.runtime,
            seams=Seams(fs=self.fs, clock=QuickClock(), files=self._hooked_files(), workers=QuickWorkers),
            drain_deadline=0.2,
        )

    def runtime(self, _settings: Settings) -> FakeRuntime:
        """The engine, as the next server meets it; its own directory is apart, so that volumes may be anywhere."""
        own = self.directory / "engine"
        own.mkdir(exist_ok=True)
        return FakeRuntime(
            state_file=self.directory / "engine.json", root_dir=str(own), timeout=0.05, on_call=self._called
        )

    async def reach(self, moment: str) -> None:
        """A server has come to a moment."""
        if hook := self.moments.pop(moment, None):
            await hook()

    async def _called(self, call: Call) -> None:
        await self.reach(f"engine {call.name}")

    def _hooked_files(self) -> Callable[..., RestoreFiles]:
        faults = self

        class HookedFiles(RestoreFiles):
            async def begin(self, facts: RestoreFacts) -> Journal:
                await faults.reach("journal STAGING")
                return await super().begin(facts)

            async def append(self, to: Journal, record: Record) -> None:
                await faults.reach(f"journal {record.type}")
                if isinstance(record, TrialRecord) and faults.trial_deadline:
                    record = replace(record, deadline=faults.trial_deadline)
                await super().append(to, record)

        return HookedFiles
