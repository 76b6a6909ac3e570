"""The snapshot store on a repository: what a capture adds is only what changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Final

from holdfast.domain import times
from holdfast.domain.errors import Damaged, Problem
from holdfast.domain.repository import CopyResult
from holdfast.domain.restore import RootRef
from holdfast.domain.snapshot import FolderFormat, SnapshotManifest
from holdfast.engine.archive.format import Use, encode
from holdfast.engine.archive.reader import Member
from holdfast.engine.archive.source import Compression
from holdfast.engine.archive.writer import ArchiveWriter
from holdfast.engine.entries import Entry
from holdfast.engine.fs import Fs
from holdfast.engine.job import Job, QuietJob
from holdfast.engine.live import LiveRoots
from holdfast.engine.os_errors import translate
from holdfast.engine.repository.absorb import absorb
from holdfast.engine.repository.audit import AuditResult, audit
from holdfast.engine.repository.browse import Comparison, Folder, compare, compare_live, find, list_folder
from holdfast.engine.repository.capture import Capture
from holdfast.engine.repository.chunk_reader import ChunkReader
from holdfast.engine.repository.chunk_writer import PACK_BYTES
from holdfast.engine.repository.contents import with_data
from holdfast.engine.repository.copying import copy_snapshot
from holdfast.engine.repository.folder_stream import Write, send_file, send_folder
from holdfast.engine.repository.parts import Parts
from holdfast.engine.repository.passing_meter import PassingMeter
from holdfast.engine.repository.prune import Prune, PruneResult
from holdfast.engine.repository.repository import Repository
from holdfast.engine.repository.tree import Tree
from holdfast.engine.repository.verify import damage, in_words, incomplete, tree_of
from holdfast.engine.snapshot_store import CaptureSource, WarmResult
from holdfast.engine.tree_writer import EntrySink
from holdfast.engine.walk import WalkReport, walk

_NAMED: Final = 20
"""Files that a problem names."""


@contextmanager
def _doing(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise translate(error, what) from error


@contextmanager
def _reading(snapshot_id: str) -> Iterator[None]:
    """Tell damage as damage of the snapshot that is being read."""
    try:
        yield
    except Damaged as error:
        raise Damaged(
            "snapshot_damaged",
            f"The snapshot {snapshot_id} is damaged: {error.message}",
            next_step="Nothing live was changed. Restore another snapshot, or verify this one to see what of it is "
            "whole; and check the disk (dmesg, smartctl) before you trust it.",
            details={**error.details, "snapshot": snapshot_id, "cause": error.code},
        ) from error


class RepositoryStore:
    """A :class:`holdfast.engine.snapshot_store.SnapshotStore` on one repository.

    Args:
        archive_key: 32 bytes, by which exported archives are known as this installation's own.
        now_ns: the wall clock.
    """

    def __init__(
        self,
        fs: Fs,
        repository: Repository,
        roots: LiveRoots,
        archive_key: bytes,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._fs, self._roots = fs, roots
        self._repository, self._archive_key = repository, archive_key
        self._capture = Capture(fs, roots, repository, now_ns)
        self.parts = Parts(repository, self._capture)

    def capture(self, draft: SnapshotManifest, sources: Sequence[CaptureSource], job: Job) -> SnapshotManifest:
        """See the port. ``sources`` are the draft's volumes, in the same order."""
        with _doing(f"capturing the snapshot {draft.id}"):
            return self._capture.run(draft, sources, job)

    def warm(self, workload_id: str, sources: Sequence[CaptureSource], job: Job) -> WarmResult:
        """See the port."""
        with _doing("reading ahead for a snapshot"):
            return self._capture.warm(workload_id, sources, job)

    def manifest(self, snapshot_id: str) -> SnapshotManifest:
        """See the port."""
        return self._repository.manifests.read(snapshot_id).manifest

    def manifests(self) -> Iterator[SnapshotManifest]:
        """See the port."""
        return (stored.manifest for stored in self._repository.manifests.load().snapshots)

    def damaged_manifests(self) -> Sequence[Problem]:
        """Why each manifest that can't be read can't. All are read anew: one may have been lost since."""
        return self._repository.manifests.load(anew=True).damaged

    def entries(self, snapshot_id: str, index: int, job: Job) -> Iterator[Entry]:
        """See the port."""
        tree_ref = tree_of(self._repository.manifests.read(snapshot_id), index)
        with (
            _reading(snapshot_id),
            self._repository.lock.shared(job),
            self._repository.reader() as reader,
        ):
            for entry in Tree(tree_ref.chunks, reader.read_many).entries():
                yield entry.entry()

    def stage(self, snapshot_id: str, writers: Mapping[int, EntrySink], job: Job) -> None:
        """See the port."""
        stored = self._repository.manifests.read(snapshot_id)
        trees = [(writer, tree_of(stored, index)) for index, writer in sorted(writers.items())]
        total_bytes = sum(volume.bytes for volume in stored.manifest.volumes if volume.index in writers)
        total_files = sum(volume.files for volume in stored.manifest.volumes if volume.index in writers)
        meter = PassingMeter(job, total_files=total_files, total_bytes=total_bytes)
        with (
            _reading(snapshot_id),
            self._repository.lock.shared(job),
            self._repository.reader() as reader,
        ):
            self._repository.sync_index()
            for writer, tree_ref in trees:
                tree = Tree(tree_ref.chunks, reader.read_many)
                for entry, chunks in with_data(tree.entries(), reader):
                    writer.add(entry.entry(), meter.watch(chunks))
                    meter.entry(entry)
            meter.beat()

    def check(self, manifest: SnapshotManifest, volumes: Collection[int] | None = None) -> Sequence[Problem]:
        """See the port: ``snapshot_incomplete``, with the files that miss something."""
        repository = self._repository
        with repository.lock.shared(QuietJob()):
            losses = repository.sync_index()
            if repository.index.is_whole(manifest.id):
                return ()
            stored = repository.manifests.read(manifest.id)
            with repository.reader() as reader:
                lacking = list(islice(incomplete(stored, repository.index, reader, set(), volumes), _NAMED + 1))
            if not lacking:
                if volumes is None:
                    repository.index.set_whole(manifest.id, since=losses)
                return ()
        return (
            Problem(
                code="snapshot_incomplete",
                message=f"The snapshot {manifest.id} is not complete: {in_words(lacking[:_NAMED])}"
                + (", and more." if len(lacking) > _NAMED else "."),
                next_step=(
                    "Restore another one, or only the volumes that are whole (--volume)"
                    if len(manifest.volumes) > 1
                    else "Restore another one"
                )
                + ", or take a new one: what is still live is stored again, which heals it.",
                details={"snapshot": manifest.id, "lacking": lacking[:_NAMED]},
            ),
        )

    def verify(self, snapshot_id: str, job: Job) -> Sequence[str]:
        """See the port. What is found damaged is stored again by the next capture that meets it alive."""
        repository = self._repository
        try:
            stored = repository.manifests.read(snapshot_id)
        except Damaged as error:
            return [error.message]
        meter = PassingMeter(job, total_files=stored.manifest.files, total_bytes=stored.manifest.bytes)
        with repository.lock.shared(job), repository.reader() as reader:
            repository.sync_index()
            return list(damage(stored, repository.index, reader, meter.entry, meter.watch))

    def copy_to(
        self, snapshot_id: str, target: Repository, job: Job, *, owner: str, pack_bytes: int = PACK_BYTES
    ) -> CopyResult:
        """Copy a snapshot into another repository; see :func:`copy_snapshot`.

        It is copied only if the repository was still the ``owner``'s afterwards: who takes it over from then on sees
        the snapshot, and spares what it needs.

        Raises:
            Conflict: ``repository_of_another``: another machine took it over meanwhile.
        """
        with _reading(snapshot_id):
            result = copy_snapshot(self._repository, target, snapshot_id, job, pack_bytes=pack_bytes)
        target.check_owner(owner)
        return result

    def delete(self, snapshot_id: str) -> int:
        """See the port. Nothing is freed before a prune: other snapshots may need the same chunks."""
        self._repository.manifests.delete([snapshot_id])
        return 0

    def prune(
        self, job: Job, *, dry_run: bool, without: Collection[str], unused_percent: int, owner: str = ""
    ) -> PruneResult:
        """Free what no snapshot needs; see :class:`Prune`."""
        prune = Prune(self._repository, job, unused_percent=unused_percent, owner=owner)
        return prune.run(without=without, dry_run=dry_run)

    def audit(self, job: Job, share: float) -> AuditResult:
        """Read a share of all packs back; see :func:`audit`."""
        return audit(self._repository, job, share=share)

    def export(self, snapshot_id: str, write: Callable[[bytes], object], job: Job) -> None:
        """See the port."""
        repository = self._repository
        stored = repository.manifests.read(snapshot_id)
        meter = PassingMeter(job, total_files=stored.manifest.files, total_bytes=stored.manifest.bytes)
        writer = ArchiveWriter(write, threads=1)
        with _reading(snapshot_id), repository.lock.shared(job), repository.reader() as reader:
            repository.sync_index()
            for volume in stored.manifest.volumes:
                tree = Tree(tree_of(stored, volume.index).chunks, reader.read_many)
                for entry, chunks in with_data(tree.entries(), reader):
                    writer.add(volume.index, entry.entry(), meter.watch(chunks))
                    meter.entry(entry)
        manifest = replace(stored.manifest, content=writer.content())
        seconds = int(times.parse(manifest.created_at).timestamp())
        writer.finish(encode(manifest, self._archive_key, Use.ARCHIVE), seconds)

    def archive_suffix(self, snapshot_id: str) -> str:
        """See the port."""
        self._repository.manifests.read(snapshot_id)
        return Compression.ZSTD.value

    def clean_orphans(self) -> Sequence[str]:
        """See the port. What a capture left that was cut off inside of a pack; whole packs are for a prune to judge."""
        return self._repository.blobs.clean_temporary()

    # --- looking into snapshots ----------------------------------------------------------------------------------

    def folder(self, snapshot_id: str, index: int, folder: bytes, *, after: bytes, limit: int) -> Folder:
        """What lies directly in a folder of volume ``index``; see :func:`list_folder`."""
        with self._tree(snapshot_id, index, QuietJob()) as (tree, _):
            return list_folder(tree, folder, after=after, limit=limit)

    def entry(self, snapshot_id: str, index: int, path: bytes) -> Entry:
        """One entry; see :func:`find`."""
        with self._tree(snapshot_id, index, QuietJob()) as (tree, _):
            return find(tree, path).entry()

    def send_file(self, snapshot_id: str, index: int, path: bytes, write: Write, job: Job) -> None:
        """Write the content of a file; see :func:`send_file`."""
        with self._tree(snapshot_id, index, job) as (tree, reader):
            send_file(tree, path, reader, write, job)

    def send_folder(
        self, snapshot_id: str, index: int, folder: bytes, kind: FolderFormat, write: Write, job: Job
    ) -> None:
        """Write a folder as a stream; see :func:`send_folder`."""
        with self._tree(snapshot_id, index, job) as (tree, reader):
            send_folder(tree, folder, kind, reader, write, job)

    def compare(self, old: tuple[str, int], new: tuple[str, int], job: Job) -> Comparison:
        """How a volume of one snapshot differs in another: (snapshot, volume) each."""
        with self._tree(*old, job) as (before, _), self._tree(*new, job) as (after, _):
            return compare(before, after, job.check)

    def compare_live(self, snapshot_id: str, index: int, live: RootRef, job: Job) -> Comparison:
        """How what is live now differs from a volume of a snapshot, by metadata."""
        with self._tree(snapshot_id, index, job) as (tree, _), _doing(f"looking at {live.path}"):
            fd = self._roots.open(live)
            try:
                leave_out = self._roots.not_of_volume(live)
                return compare_live(tree, walk(self._fs, fd, WalkReport(), leave_out=leave_out), job.check)
            finally:
                self._fs.close(fd)

    @contextmanager
    def _tree(self, snapshot_id: str, index: int, job: Job) -> Iterator[tuple[Tree, ChunkReader]]:
        """A tree, open to be read."""
        reference = tree_of(self._repository.manifests.read(snapshot_id), index)
        with (
            _reading(snapshot_id),
            self._repository.lock.shared(job),
            self._repository.reader() as reader,
        ):
            self._repository.sync_index()
            yield Tree(reference.chunks, reader.read_many), reader

    def absorb(self, manifest: SnapshotManifest, members: Iterable[Member], job: Job) -> SnapshotManifest:
        """Take the content of an archive in as the snapshot that ``manifest`` describes; see :func:`absorb`."""
        with _doing(f"taking the archive {manifest.id} into the repository"):
            return absorb(manifest, members, self._repository, job)

    def close(self) -> None:
        """Let go of descriptors and connections."""
        self._repository.close()
