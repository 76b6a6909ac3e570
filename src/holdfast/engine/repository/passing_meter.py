"""Progress and cancellation while stored data passes by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from holdfast.domain.operation import Progress
from holdfast.engine.job import Job
from holdfast.engine.repository.chunk_reader import Chunk
from holdfast.engine.repository.tree import TreeEntry

_BEAT_ENTRIES: Final = 64
_BEAT_BYTES: Final = 64 << 10


class PassingMeter:
    """Progress and cancellation while a stored tree passes by."""

    def __init__(self, job: Job, *, total_files: int | None, total_bytes: int | None) -> None:
        self._job, self._total_files, self._total_bytes = job, total_files, total_bytes
        self._entries = self._files = self._bytes = 0

    def watch(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """Count data as it passes."""
        for chunk in chunks:
            self._bytes += len(chunk)
            if len(chunk) >= _BEAT_BYTES:
                self.beat()
            yield chunk

    def entry(self, entry: TreeEntry) -> None:
        """Count one entry whose data has passed; holes count when their file is done."""
        self._entries += 1
        if not entry.kind:
            self._files += 1
            self._bytes += entry.size - entry.data_bytes
        if not self._entries % _BEAT_ENTRIES:
            self.beat()

    def beat(self) -> None:
        """Report, and stop if somebody cancelled."""
        self._job.check()
        self._job.progress(
            Progress(
                done_bytes=self._bytes,
                total_bytes=self._total_bytes,
                done_files=self._files,
                total_files=self._total_files,
            )
        )
