"""The journal of one restore: what recovery goes by, whatever died and whenever.

An append-only file of one checksummed record a line; :mod:`holdfast.engine.journal_codec` knows the lines. Invariants:

- A record that :meth:`Journal.append` returned for is on disk: the file and its directory were flushed.
- An error of a write or a flush is never retried and never ignored: the object refuses every further append. Only
  :meth:`Journal.reopen` goes on: it writes anew what it read and flushes that, since after a failed flush the kernel
  may take pages for clean that never reached the disk.
- The space that a record will lie in holds nothing but zeros before, so that a torn line can be told from damage.
- Space for everything from COMMIT on is reserved before COMMIT, so that a full disk can't stop a restore half-way.
- Only the holder of the data directory's lock writes a journal.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Final

from holdfast.domain import times
from holdfast.domain.errors import Conflict, Failed
from holdfast.domain.recovery import Direction
from holdfast.domain.restore import RecordType, RestoreFacts, VolumeFacts
from holdfast.domain.restore_records import (
    AbortedRecord,
    BackwardRecord,
    CommitRecord,
    Record,
    StagingRecord,
    allowed_next,
)
from holdfast.engine.fs import FLAG_NO_COW, MAGIC_BTRFS, Fs
from holdfast.engine.journal_codec import ParsedJournal, encode, parse, unreadable
from holdfast.engine.os_errors import translate

SUFFIX: Final = ".journal"
TAIL_RESERVE: Final = 64 * 1024
"""Bytes kept reserved behind every record that comes before COMMIT; all that can follow takes a fraction of it."""
MAX_BYTES: Final = 64 * 1024 * 1024
"""Of a journal that is read: facts of the most volumes with the longest paths take a tenth of it."""
WHY_CHARACTERS: Final = 2000
"""Longest reason that is recorded; the rest is cut off."""

_RESERVING: Final = frozenset(
    {RecordType.STAGING, RecordType.STAGED, RecordType.PREPARED, RecordType.MADE, RecordType.SAFE}
)


class Journal:
    """An open journal, for appending. Made by :meth:`create` or :meth:`reopen`."""

    def __init__(self, fs: Fs, parsed: ParsedJournal, directory: int, fd: int, now: Callable[[], str]) -> None:
        self._fs = fs
        self._parsed = parsed
        self._directory = directory
        self._fd = fd
        self._now = now
        self._failed: RecordType | None = None

    @classmethod
    def create(cls, fs: Fs, directory: str, facts: RestoreFacts, *, now: Callable[[], str] = times.now) -> Journal:
        """Begin a journal with STAGING, durably.

        Raises:
            NoSpace: its space could not be reserved; there is no journal.
            Failed: ``journal_write_failed``, or the directory can't be written to. Nothing was begun; a file that is
                left all the same is one that recovery tidies up.
        """
        path = f"{directory}/{facts.restore_id}{SUFFIX}"
        with ExitStack() as undo:
            with _translating(f"creating the restore journal {path}"):
                dirfd = fs.open_root(directory)
                undo.callback(fs.close, dirfd)
                fd = fs.openat(dirfd, _name(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
                undo.callback(fs.close, fd)
                undo.callback(_unlink_if_possible, fs, dirfd, _name(path))
                if fs.filesystem_type(fd) == MAGIC_BTRFS:
                    # Copy-on-write takes new space for every record; reserved space is of use only without it.
                    fs.set_flags(fd, fs.flags(fd) | FLAG_NO_COW)
            empty = ParsedJournal(path=path, facts=None, records=(), torn=False, whole_bytes=0)
            journal = cls(fs, empty, dirfd, fd, now)
            journal.append(StagingRecord(facts=facts))
            undo.pop_all()
        return journal

    @classmethod
    def reopen(cls, fs: Fs, path: str, *, now: Callable[[], str] = times.now) -> Journal:
        """Open a journal to go on with it. When this returns, all its records are on disk and a torn line is gone.

        Raises:
            Damaged: ``journal_damaged`` or ``journal_too_new``.
            Failed: ``journal_write_failed``, or the file can't be read.
        """
        with ExitStack() as undo:
            with _translating(f"opening the restore journal {path}"):
                dirfd = fs.open_root(os.path.dirname(path))
                undo.callback(fs.close, dirfd)
                fd = fs.openat(dirfd, _name(path), os.O_RDWR | os.O_NONBLOCK)
                undo.callback(fs.close, fd)
                content = _read_all(fs, fd, path)
            parsed = parse(path, content)
            torn = content[parsed.whole_bytes :].rstrip(b"\0")
            try:
                fs.pwrite_all(fd, content[: parsed.whole_bytes] + bytes(len(torn)), 0)
                fs.fsync(fd)
                fs.fsync(dirfd)
            except OSError as error:
                raise _write_failed(path, error, None, may_be_on_disk=True) from error
            undo.pop_all()
        return cls(fs, replace(parsed, torn=False), dirfd, fd, now)

    @property
    def path(self) -> str:
        return self._parsed.path

    @property
    def facts(self) -> RestoreFacts | None:
        return self._parsed.facts

    @property
    def records(self) -> tuple[Record, ...]:
        """The records that are known to be on disk."""
        return self._parsed.records

    @property
    def direction(self) -> Direction:
        return self._parsed.direction

    @property
    def volumes(self) -> tuple[VolumeFacts, ...]:
        """The restore's volumes, with the identities of what was made for them once STAGED and MADE are written."""
        return self._parsed.volumes

    def append(self, record: Record) -> None:
        """Write ``record``, durably.

        Raises:
            Conflict: ``journal_order``, if the record can't come next. Nothing was written.
            NoSpace: the record's space could not be reserved. Nothing was written; from COMMIT on only for one that
                lists what there is to swap.
            Failed: ``journal_write_failed``; ``details["may_be_on_disk"]`` tells whether recovery may find the record.
                This object then refuses to go on; see :meth:`reopen`.
        """
        if self._failed is not None:
            raise _write_failed(self.path, f"writing {self._failed} failed before", record.type, may_be_on_disk=False)
        if record.type not in allowed_next(self.records):
            last = self.records[-1].type if self.records else "the beginning"
            raise Conflict(
                "journal_order",
                f"The restore has got to {last}; {record.type} can't come next.",
                next_step="Look at the operation again: it has moved on, or was decided otherwise.",
                details={"journal": self.path},
            )
        if isinstance(record, BackwardRecord | AbortedRecord):
            record = replace(record, why=record.why[:WHY_CHARACTERS])
        start = self._parsed.whole_bytes
        line = encode(record, seq=len(self.records) + 1, at=self._now())
        listed = isinstance(record, CommitRecord | BackwardRecord) and record.children
        if record.type in _RESERVING or listed:
            with _translating(f"reserving space for the restore journal {self.path}"):
                # Whoever writes down what there is to swap may have to do so once more on the way back.
                self._fs.fallocate(self._fd, start + len(line) * (2 if listed else 1) + TAIL_RESERVE)
        self._failed = record.type
        try:
            self._fs.pwrite_all(self._fd, line, start)
        except OSError as error:
            raise _write_failed(self.path, error, record.type, may_be_on_disk=False) from error
        try:
            self._fs.fsync(self._fd)
            self._fs.fsync(self._directory)
        except OSError as error:
            raise _write_failed(self.path, error, record.type, may_be_on_disk=True) from error
        self._failed = None
        self._parsed = replace(
            self._parsed,
            facts=record.facts if isinstance(record, StagingRecord) else self.facts,
            records=(*self.records, record),
            whole_bytes=start + len(line),
        )

    def close(self) -> None:
        """Close the file. What was appended is on disk already. Idempotent: nothing can be appended afterwards."""
        for fd in (self._fd, self._directory):
            if fd >= 0:
                self._fs.close(fd)
        self._fd = self._directory = -1

    def remove(self) -> None:
        """Remove the file, and close it. Only of a restore that is done, or of a journal without a whole record.

        Raises:
            Conflict: ``journal_needed``; the file is still there, and open.
            Failed: the file is still there, or may be again after a power cut; recovery will remove it.
        """
        if self.records and self.direction is not Direction.DONE:
            raise Conflict(
                "journal_needed",
                f"The restore of {self.path} is not done: recovery goes by its journal, which stays.",
                next_step="Let recovery finish the restore.",
                details={"journal": self.path},
            )
        try:
            with _translating(f"removing the restore journal {self.path}"):
                self._fs.unlinkat(self._directory, _name(self.path))
                self._fs.fsync(self._directory)
        finally:
            self.close()


def read_journal(fs: Fs, path: str) -> ParsedJournal:
    """What the journal at ``path`` says; changes nothing.

    For looking only: a record that is read here may not be on disk yet. To act on one, :meth:`Journal.reopen`.

    Raises:
        Damaged: ``journal_damaged`` or ``journal_too_new``; ``details`` name the file, and the workload if the first
            line could be read.
        Failed: the file can't be read at all.
    """
    with ExitStack() as opened, _translating(f"reading the restore journal {path}"):
        dirfd = fs.open_root(os.path.dirname(path))
        opened.callback(fs.close, dirfd)
        fd = fs.openat(dirfd, _name(path), os.O_RDONLY | os.O_NONBLOCK)
        opened.callback(fs.close, fd)
        content = _read_all(fs, fd, path)
    return parse(path, content)


def journals(fs: Fs, directory: str) -> list[str]:
    """The paths of all journals in ``directory``, oldest first. Raises ``Failed`` if it can't be listed."""
    with _translating(f"listing the restore journals in {directory}"):
        dirfd = fs.open_root(directory)
        try:
            names = fs.listdir(dirfd)
        finally:
            fs.close(dirfd)
    return [f"{directory}/{os.fsdecode(name)}" for name in sorted(names) if name.endswith(SUFFIX.encode())]


def _read_all(fs: Fs, fd: int, path: str) -> bytes:
    facts = fs.fstat(fd)
    if not stat.S_ISREG(facts.st_mode):
        raise unreadable(path, "it is no regular file")
    size = facts.st_size
    if size > MAX_BYTES:
        raise unreadable(path, f"it has more than {MAX_BYTES} bytes, which no restore writes")
    parts: list[bytes] = []
    offset = 0
    while offset < size and (part := fs.pread(fd, size - offset, offset)):
        parts.append(part)
        offset += len(part)
    return b"".join(parts)


def _name(path: str) -> bytes:
    return os.fsencode(os.path.basename(path))


def _unlink_if_possible(fs: Fs, dirfd: int, name: bytes) -> None:
    # The failure that led here is what gets reported; a journal that began nothing is tidied up by recovery.
    with suppress(OSError):
        fs.unlinkat(dirfd, name)


@contextmanager
def _translating(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise translate(error, doing) from error


def _write_failed(path: str, why: OSError | str, record: RecordType | None, *, may_be_on_disk: bool) -> Failed:
    reason = why if isinstance(why, str) else (why.strerror or str(why))
    whether = f" Its record {record} may be on disk or not." if may_be_on_disk and record else ""
    return Failed(
        "journal_write_failed",
        f"The restore journal {path} could not be written: {reason}.{whether}",
        next_step="Look at the disk that holds Holdfast's data directory (kernel log, free space), then restart "
        "Holdfast: recovery goes by what the journal says then.",
        details={"journal": path, "record": record and str(record), "may_be_on_disk": may_be_on_disk},
    )
