"""Captures the volumes of a workload into the repository, and warms up for it.

Invariants: a snapshot exists with its manifest, which is written last, after every chunk that it needs is durable. What
a capture leaves that fails, is cancelled or killed is chunks that nothing names: the next one finds them there and does
not store them again, and a prune removes them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final

from holdfast.domain.errors import Damaged
from holdfast.domain.snapshot import SnapshotManifest
from holdfast.engine.archive.format import check_draft
from holdfast.engine.archive.problems import bounded_warnings, refused
from holdfast.engine.fs import Fs
from holdfast.engine.job import Job
from holdfast.engine.live import LiveRoots
from holdfast.engine.live_sources import open_sources
from holdfast.engine.repository.chunk_reader import ChunkReader
from holdfast.engine.repository.chunking import Chunker
from holdfast.engine.repository.earlier_files import EarlierFiles
from holdfast.engine.repository.manifests import StoredSnapshot, VolumeTree
from holdfast.engine.repository.recognition import Scan, begin_scan
from holdfast.engine.repository.repository import Repository
from holdfast.engine.repository.stretches import Stretches
from holdfast.engine.repository.tree import Tree
from holdfast.engine.repository.tree_capture import Meter, TreeCapture
from holdfast.engine.repository.warm_files import Warm
from holdfast.engine.snapshot_store import CaptureSource, WarmResult

_WORTH_FILES: Final = 256
_WORTH_BYTES: Final = 8 << 20
"""What a warm pass has to have read for another one to be worth it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Earlier:
    """An earlier tree of a live directory, and what it is called in the index' table of whole ones."""

    tree: VolumeTree
    name: str


class Capture:
    """Captures into one repository. ``now_ns`` is the wall clock."""

    def __init__(
        self, fs: Fs, roots: LiveRoots, repository: Repository, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._fs, self._roots, self._repository, self._now_ns = fs, roots, repository, now_ns
        self._chunker = Chunker()

    def run(self, draft: SnapshotManifest, sources: Sequence[CaptureSource], job: Job) -> SnapshotManifest:
        """As the port's ``capture``; also raises ``OSError`` for the live directories."""
        started = time.monotonic()
        check_draft(draft)
        if [volume.index for volume in draft.volumes] != [source.index for source in sources]:
            raise refused(
                "manifest_out_of_bounds",
                "The capture does not name one live directory for each of its volumes, in the same order.",
                next_step="Nothing was changed. This is a fault of the program; report it.",
            )
        repository = self._repository
        with repository.lock.shared(job):
            losses = repository.sync_index()
            done = self._scan(draft.workload_id, sources, job)
            volumes = [
                capture.census.describe(volume) for volume, capture in zip(draft.volumes, done.captures, strict=True)
            ]
            warnings = [
                sentence
                for volume, capture in zip(draft.volumes, done.captures, strict=True)
                for sentence in capture.report.warnings(volume.target)
            ]
            manifest = replace(
                draft,
                volumes=tuple(volumes),
                own=True,
                stored_bytes=self._stored_ahead(draft.workload_id) + done.stored_bytes,
                duration_seconds=round(time.monotonic() - started, 3),
                warnings=bounded_warnings([*draft.warnings, *warnings]),
            )
            repository.commit(StoredSnapshot(manifest=manifest, trees=done.trees), since=losses)
        repository.warm_files.forget(draft.workload_id)
        return manifest

    def warm(self, workload_id: str, sources: Sequence[CaptureSource], job: Job) -> WarmResult:
        """As the port's ``warm``: what was read is stored, and the next capture relies on it."""
        return self.read_ahead(workload_id, sources, job)[0]

    def read_ahead(
        self, workload_id: str, sources: Sequence[CaptureSource], job: Job
    ) -> tuple[WarmResult, tuple[VolumeTree, ...]]:
        """As :meth:`warm`; gives the trees that it found as well, one for each source."""
        with self._repository.lock.shared(job):
            losses = self._repository.sync_index()
            done = self._scan(workload_id, sources, job)
            warm = Warm.new(done.trees, self._stored_ahead(workload_id) + done.stored_bytes)
            self._repository.warm_files.write(workload_id, warm)
            self._repository.index.set_whole(warm.name, since=losses)
        meter = done.meter
        found = WarmResult(
            changed_files=meter.read_files,
            changed_bytes=meter.read_bytes,
            useful=meter.read_files >= _WORTH_FILES or meter.read_bytes >= _WORTH_BYTES,
        )
        return found, done.trees

    def _scan(self, workload_id: str, sources: Sequence[CaptureSource], job: Job) -> _Done:
        repository = self._repository
        with ExitStack() as stack:
            opened = open_sources(self._fs, self._roots, sources, stack)
            earlier = list(self._earlier(workload_id))
            meter = Meter(job)
            reader = stack.enter_context(repository.reader())
            writer = stack.enter_context(repository.writer())
            stretches = stack.enter_context(Stretches(repository.keys.chunk_id))
            captures, trees = [], []
            for source, fd in zip(sources, opened, strict=True):
                scan = begin_scan(self._fs, fd, self._now_ns())
                known = self._known(scan, earlier, reader)
                capture = TreeCapture(self._fs, writer, self._chunker, meter, known, stretches)
                chunks = capture.run(fd, self._roots.not_of_volume(source.live))
                captures.append(capture)
                trees.append(
                    VolumeTree(index=source.index, chunks=chunks, root=scan.root, scan_started_ns=scan.started_ns)
                )
            writer.finish()
            meter.beat()
            return _Done(captures=captures, trees=tuple(trees), meter=meter, stored_bytes=writer.stored_bytes)

    def _stored_ahead(self, workload_id: str) -> int:
        """What warm passes since the last capture stored: without them this capture would have."""
        warm = self._repository.warm_files.read(workload_id)
        return 0 if warm is None else warm.stored_bytes

    def _earlier(self, workload_id: str) -> Iterator[_Earlier]:
        """Earlier trees of the workload, newest first."""
        warm = self._repository.warm_files.read(workload_id)
        found = [] if warm is None else [_Earlier(tree=tree, name=warm.name) for tree in warm.trees]
        for stored in self._repository.manifests.load().snapshots:
            if stored.manifest.workload_id == workload_id:
                found += [_Earlier(tree=tree, name=stored.id) for tree in stored.trees]
        return iter(sorted(found, key=lambda item: item.tree.scan_started_ns, reverse=True))

    def _known(self, scan: Scan, earlier: Sequence[_Earlier], reader: ChunkReader) -> EarlierFiles | None:
        """What is known of the files of a directory: by the newest earlier tree of the very same one."""
        if scan.root is None or (earlier and earlier[0].tree.scan_started_ns >= scan.started_ns):
            return None
        found = next((item for item in earlier if item.tree.root == scan.root), None)
        if found is None:
            return None
        try:
            tree = Tree(found.tree.chunks, reader.read_many)
        except Damaged:
            return None
        index = self._repository.index
        return EarlierFiles(tree, found.tree.scan_started_ns, index, reader, whole=index.is_whole(found.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    captures: Sequence[TreeCapture]
    trees: tuple[VolumeTree, ...]
    meter: Meter
    stored_bytes: int
