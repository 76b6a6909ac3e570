"""Captures one open directory into a tree of the repository: what is known is taken over, the rest read and stored."""

from __future__ import annotations

from typing import Final

from holdfast.domain.operation import Progress
from holdfast.engine.archive.census import Census
from holdfast.engine.entries import EntryKind
from holdfast.engine.file_content import FileContent
from holdfast.engine.fs import Fs
from holdfast.engine.job import Job
from holdfast.engine.repository.chunk_writer import ChunkWriter
from holdfast.engine.repository.chunking import WHOLE_BYTES, Chunker
from holdfast.engine.repository.earlier_files import EarlierContent, EarlierFiles
from holdfast.engine.repository.file_ids import FileIds, OneId, store_file
from holdfast.engine.repository.pending_entries import PendingEntries
from holdfast.engine.repository.stretches import Stretches
from holdfast.engine.repository.tree import TreeBuilder, TreeEntry
from holdfast.engine.walk import LeaveOut, Walked, WalkReport, walk_recognising

_BEAT_ENTRIES: Final = 64
_LARGE_BYTES: Final = 4 << 20
"""From this size on a file that changed is compared with what it was; a smaller one is cut as quickly."""


class Meter:
    """Progress and cancellation of a capture.

    Attributes:
        files, bytes: of regular files met so far.
        read_files, read_bytes: of those that had to be read; of large ones only the bytes that had changed.
    """

    def __init__(self, job: Job, *, total_files: int | None = None, total_bytes: int | None = None) -> None:
        self.files = self.bytes = self.read_files = self.read_bytes = 0
        self._job = job
        self._total_files, self._total_bytes = total_files, total_bytes
        self._entries = 0

    def read_file(self) -> None:
        """Count a file whose data was counted as it was read."""
        self.files += 1
        self.read_files += 1
        self.tick()

    def known_file(self, size: int) -> None:
        """Count a file that was recognised."""
        self.files += 1
        self.bytes += size
        self.tick()

    def tick(self) -> None:
        """Count one entry, of whatever kind."""
        self._entries += 1
        if not self._entries % _BEAT_ENTRIES:
            self.beat()

    def data(self, count: int) -> None:
        """Count data that was read and cut into chunks."""
        self.read_bytes += count
        self.known_data(count)

    def known_data(self, count: int) -> None:
        """Count data of a file that changed which is as it was."""
        self.bytes += count
        if count >= WHOLE_BYTES // 4:
            self.beat()

    def beat(self) -> None:
        """Report, and stop if somebody cancelled. Totals are those of the last capture, or what is there by now."""
        self._job.check()
        files, size = self._total_files, self._total_bytes
        self._job.progress(
            Progress(
                done_bytes=self.bytes,
                total_bytes=None if size is None else max(size, self.bytes),
                done_files=self.files,
                total_files=None if files is None else max(files, self.files),
            )
        )


class TreeCapture:
    """Captures one directory.

    Args:
        known: of its files, from an earlier capture; ``None`` reads and cuts every file.
    """

    def __init__(
        self,
        fs: Fs,
        writer: ChunkWriter,
        chunker: Chunker,
        meter: Meter,
        known: EarlierFiles | None,
        stretches: Stretches,
    ) -> None:
        self.census, self.report = Census(), WalkReport()
        self._fs, self._writer, self._chunker, self._meter = fs, writer, chunker, meter
        self._known, self._stretches = known, stretches
        self._builder = TreeBuilder(writer.put_tree, writer.wait)
        self._pending: PendingEntries[None] = PendingEntries(lambda _, entry: self._builder.add(entry))

    def run(self, root_fd: int, leave_out: LeaveOut | None = None) -> tuple[bytes, ...]:
        """Capture the directory. Returns the ids of the tree index' chunks.

        Args:
            leave_out: what in its root is no part of the volume.

        Raises:
            HoldfastError: what reading and storing raise.
        """
        find = None if self._known is None else self._known.find
        for found in walk_recognising(self._fs, root_fd, self.report, find, leave_out=leave_out):
            if isinstance(found, TreeEntry):
                self._take_over(found)
            else:
                self._capture(found)
        self._pending.settle_all()
        return self._builder.finish()

    def _capture(self, walked: Walked) -> None:
        facts = walked.stat
        if walked.entry.kind is not EntryKind.FILE:
            self.census.add(walked.entry)
            self._meter.tick()
            self._append(TreeEntry.of(walked.entry, inode=facts.st_ino, ctime_ns=facts.st_ctime_ns), None)
            return
        if self._known is not None and facts.st_nlink > 1:
            known = self._known.find(walked.entry.path, facts)
            if known is not None:
                self._take_over(known)
                return
        with walked.open() as content:
            entry, facts = content.entry, content.stat
            ids = self._store(content)
        self._meter.read_file()
        self.census.add_file(entry.size, entry.data_bytes, has_xattrs=bool(entry.xattrs))
        self._append(TreeEntry.of(entry, inode=facts.st_ino, ctime_ns=facts.st_ctime_ns), ids)

    def _store(self, content: FileContent) -> FileIds | OneId | None:
        entry = content.entry
        if self._known is not None and entry.extents is None and entry.size >= _LARGE_BYTES:
            earlier = self._known.content_of(entry.path)
            if earlier is not None:
                return self._store_changes(content, earlier)
        return store_file(content, entry.data_bytes, self._writer, self._chunker, self._meter.data)

    def _store_changes(self, content: FileContent, earlier: EarlierContent) -> FileIds:
        """Store what became another of a large file."""
        ids = FileIds(self._writer)
        for start, end, known in self._stretches.of(content, earlier):
            if known is not None:
                self._meter.known_data(end - start)
                ids.add(self._writer.known(known))
                continue
            for chunk in self._chunker.cut(content.part(start, end)):
                self._meter.data(len(chunk))
                ids.add(self._writer.put(chunk))
        return ids

    def _take_over(self, known: TreeEntry) -> None:
        size = known.data_bytes
        self.census.add_file(known.size, size, has_xattrs=bool(known.xattrs))
        self._meter.known_file(size)
        self._append(known, None)

    def _append(self, stored: TreeEntry, ids: FileIds | OneId | None) -> None:
        if ids is None and not self._pending.waiting:
            self._builder.add(stored)
        else:
            self._pending.add(None, stored, ids)
