"""Captures live directories into one archive.

Invariants: a live directory is opened below a trusted root, through no symlink, and must be the one that was expected;
from then on only its descriptor counts (I7). Nothing is left behind unless the manifest was written, durably, last.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

from holdfast.domain import times
from holdfast.domain.operation import Progress
from holdfast.domain.snapshot import SnapshotManifest
from holdfast.domain.told import Told
from holdfast.engine.archive.census import Census
from holdfast.engine.archive.format import Use, check_draft, encode
from holdfast.engine.archive.layout import Layout
from holdfast.engine.archive.problems import bounded_warnings, refused
from holdfast.engine.archive.source import Compression
from holdfast.engine.archive.writer import ArchiveWriter
from holdfast.engine.entries import EntryKind
from holdfast.engine.fs import Fs
from holdfast.engine.job import Job
from holdfast.engine.live import LiveRoots
from holdfast.engine.live_sources import open_sources
from holdfast.engine.snapshot_store import CaptureSource
from holdfast.engine.walk import WalkReport, walk

_MAX_THREADS: Final = 2
"""Each takes about 70 MiB of buffers; a capture is to stay below 256 MiB."""


class Capture:
    """Captures into a store's directory."""

    def __init__(self, fs: Fs, roots: LiveRoots, layout: Layout, key: bytes) -> None:
        self._fs, self._roots, self._layout, self._key = fs, roots, layout, key

    def run(self, draft: SnapshotManifest, sources: Sequence[CaptureSource], job: Job) -> SnapshotManifest:
        """As the port's ``capture``; also raises ``OSError`` for the store's own files."""
        started = time.monotonic()
        check_draft(draft)
        if [volume.index for volume in draft.volumes] != [source.index for source in sources]:
            raise refused(
                "manifest_out_of_bounds",
                "The capture does not name one live directory for each of its volumes, in the same order.",
                next_step="Nothing was changed. This is a fault of the program; report it.",
            )
        with ExitStack() as stack:
            opened = open_sources(self._fs, self._roots, sources, stack)
            pending = stack.enter_context(self._layout.new(draft.workload_id, draft.id))
            with pending.create() as write:
                written, stored = self._write(draft, sources, opened, write, job)
            pending.place(Compression.ZSTD)
            manifest = replace(
                written, stored_bytes=stored, duration_seconds=round(time.monotonic() - started, 3), own=True
            )
            pending.commit(manifest)
            return manifest

    def _write(
        self,
        draft: SnapshotManifest,
        sources: Sequence[CaptureSource],
        opened: Sequence[int],
        write: Callable[[bytes], None],
        job: Job,
    ) -> tuple[SnapshotManifest, int]:
        writer = ArchiveWriter(write, threads=_threads())
        meter = _Meter(job)
        warnings: list[Told] = []
        volumes = []
        for volume, source, root_fd in zip(draft.volumes, sources, opened, strict=True):
            census, report = Census(), WalkReport()
            for walked in walk(self._fs, root_fd, report, leave_out=self._roots.not_of_volume(source.live)):
                if walked.entry.kind is EntryKind.FILE:
                    with walked.open() as content:
                        writer.add(volume.index, content.entry, meter.watch(content))
                else:
                    writer.add(volume.index, walked.entry, ())
                census.add(walked.entry)
                meter.entry()
            volumes.append(census.describe(volume))
            warnings += report.warnings(volume.target)
        manifest = replace(
            draft,
            volumes=tuple(volumes),
            content=writer.content(),
            own=True,
            warnings=bounded_warnings([*draft.warnings, *warnings]),
        )
        seconds = int(times.parse(draft.created_at).timestamp())
        writer.finish(encode(manifest, self._key, Use.ARCHIVE), seconds)
        return manifest, writer.stored


class _Meter:
    """Progress and cancellation while data passes."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._bytes = self._files = 0

    def watch(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._bytes += len(piece)
            self._beat()
            yield piece

    def entry(self) -> None:
        self._files += 1
        self._beat()

    def _beat(self) -> None:
        self._job.check()
        self._job.progress(Progress(done_bytes=self._bytes, done_files=self._files))


def _threads() -> int:
    """One core is for reading and hashing; compression always gets a thread beside it."""
    return max(1, min(_MAX_THREADS, (os.cpu_count() or 1) - 1))
