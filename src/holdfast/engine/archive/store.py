"""The snapshot store that keeps each snapshot as one portable archive beside its manifest.

What it gives up is named honestly: each capture writes everything again, and a warm pass saves nothing. What it gains:
a snapshot is one file that ``tar`` can open, with nothing else needed to read it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from holdfast.domain.errors import Damaged, HoldfastError, NotFound, Problem
from holdfast.domain.operation import Progress
from holdfast.domain.snapshot import SnapshotManifest
from holdfast.engine.archive.capture import Capture
from holdfast.engine.archive.importer import Importer, ImportRequest
from holdfast.engine.archive.layout import Layout
from holdfast.engine.archive.problems import is_archive_problem, refused
from holdfast.engine.archive.reader import Member
from holdfast.engine.archive.reading import NEXT_STEP, StoredArchive, damaged, open_stored
from holdfast.engine.archive.source import PIECE_BYTES
from holdfast.engine.entries import Entry
from holdfast.engine.fs import Fs
from holdfast.engine.job import Job
from holdfast.engine.limits import Limits
from holdfast.engine.live import LiveRoots
from holdfast.engine.os_errors import translate
from holdfast.engine.snapshot_store import CaptureSource, WarmResult
from holdfast.engine.tree_writer import EntrySink


@contextmanager
def _doing(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise translate(error, what) from error


class ArchiveStore:
    """A :class:`holdfast.engine.snapshot_store.SnapshotStore` of archives.

    Args:
        root: absolute path of the store's directory; made when it is first needed.
        key: 32 bytes, by which this installation's own manifests are told from others.
        limits: for archives that are not its own.
        reserve_bytes: what a new snapshot leaves free on the root's filesystem.
    """

    def __init__(self, fs: Fs, root: Path, key: bytes, roots: LiveRoots, limits: Limits, *, reserve_bytes: int) -> None:
        self._fs, self._limits = fs, limits
        self._layout = Layout(fs, root, key, reserve_bytes)
        self._capture = Capture(fs, roots, self._layout, key)
        self._importer = Importer(fs, self._layout, key, limits)

    def capture(self, draft: SnapshotManifest, sources: Sequence[CaptureSource], job: Job) -> SnapshotManifest:
        """See the port. ``sources`` are the draft's volumes, in the same order."""
        with _doing(f"writing the snapshot {draft.id}"):
            return self._capture.run(draft, sources, job)

    def warm(self, workload_id: str, sources: Sequence[CaptureSource], job: Job) -> WarmResult:  # noqa: ARG002 - the port's signature
        """Nothing: an archive is always written whole, so there is no delta that a warm pass could make smaller."""
        return WarmResult(changed_files=0, changed_bytes=0, useful=False)

    def manifest(self, snapshot_id: str) -> SnapshotManifest:
        """See the port."""
        with _doing("reading a snapshot's manifest"):
            return self._layout.manifest(snapshot_id)

    def manifests(self) -> Iterator[SnapshotManifest]:
        """See the port."""
        for found in self._all():
            if isinstance(found, SnapshotManifest):
                yield found

    def damaged_manifests(self) -> Sequence[Problem]:
        """Why each manifest that :meth:`manifests` leaves out can't be read."""
        return [found for found in self._all() if isinstance(found, Problem)]

    def _all(self) -> Iterator[SnapshotManifest | Problem]:
        with _doing("listing the snapshots"):
            ids = [item for workload_id in self._layout.workloads() for item in self._layout.snapshots(workload_id)]
        for snapshot_id in ids:
            try:
                yield self.manifest(snapshot_id)
            except NotFound:
                continue  # deleted since it was listed
            except HoldfastError as error:
                yield Problem(
                    code=error.code,
                    message=error.message,
                    next_step=error.next_step,
                    details={**error.details, "snapshot": snapshot_id},
                )

    def check(self, manifest: SnapshotManifest, _volumes: Collection[int] | None = None, /) -> Sequence[Problem]:
        """See the port: ``snapshot_incomplete`` if the archive, which holds all volumes, is missing or cut off."""
        with _doing("looking at a snapshot's archive"):
            found = self._layout.archive(manifest.workload_id, manifest.id)
        if found is not None and found[1] == manifest.stored_bytes:
            return ()
        state = "is missing" if found is None else f"has {found[1]} bytes instead of {manifest.stored_bytes}"
        return (
            Problem(
                code="snapshot_incomplete",
                message=f"The archive of the snapshot {manifest.id} {state}.",
                next_step=NEXT_STEP,
                details={"snapshot": manifest.id},
            ),
        )

    def entries(self, snapshot_id: str, index: int, job: Job) -> Iterator[Entry]:
        """See the port. Reads the whole archive, and raises ``Damaged`` at its end if that is not what was stored."""
        manifest = self.manifest(snapshot_id)
        _require_volume(manifest, index)
        with self._opened(manifest, job) as archive:
            for member in archive.members():
                if member.index == index:
                    yield member.entry

    def stage(self, snapshot_id: str, writers: Mapping[int, EntrySink], job: Job) -> None:
        """See the port."""
        manifest = self.manifest(snapshot_id)
        for index in writers:
            _require_volume(manifest, index)
        with self._opened(manifest, job) as archive:
            for member in archive.members():
                writer = writers.get(member.index)
                if writer is not None:
                    writer.add(member.entry, member.data)

    def members(self, snapshot_id: str, job: Job) -> Iterator[Member]:
        """Everything that an archive holds, in its own order; the data of one before the next is drawn.

        Raises:
            Damaged: ``snapshot_damaged``, at the latest at its end, if it is not what was stored.
        """
        with self._opened(self.manifest(snapshot_id), job) as archive:
            yield from archive.members()

    def verify(self, snapshot_id: str, job: Job) -> Sequence[str]:
        """See the port."""
        try:
            manifest = self.manifest(snapshot_id)
            problems = self.check(manifest)
            if problems:
                return [problem.message for problem in problems]
            with self._opened(manifest, job) as archive:
                for _ in archive.members():
                    job.check()
        except Damaged as error:
            return [error.message]
        return []

    @contextmanager
    def _opened(self, manifest: SnapshotManifest, job: Job) -> Iterator[StoredArchive]:
        """Open a snapshot's archive and tell damage from all else that may go wrong with it."""
        with _doing(f"reading the snapshot {manifest.id}"):
            last = b""
            try:
                with open_stored(self._fs, self._layout, manifest, self._limits, job) as archive:
                    try:
                        yield archive
                    finally:
                        last = archive.last
            except HoldfastError as error:
                if not is_archive_problem(error):
                    raise
                if isinstance(error, Damaged) or not self._is_whole(manifest, job):
                    raise damaged(manifest, error.message, last) from error
                raise

    def _is_whole(self, manifest: SnapshotManifest, job: Job) -> bool:
        """Whether the content is what was stored, so that what was wrong with it can't be damage."""
        try:
            # Without limits: it reads no further than what was stored, and understands none of it.
            unlimited = Limits.for_own_snapshots()
            with open_stored(self._fs, self._layout, manifest, unlimited, job) as archive:
                return archive.is_whole()
        except HoldfastError as error:
            if is_archive_problem(error):
                return False
            raise

    def delete(self, snapshot_id: str) -> int:
        """See the port."""
        with _doing(f"deleting the snapshot {snapshot_id}"):
            return self._layout.delete(snapshot_id)

    def export(self, snapshot_id: str, write: Callable[[bytes], object], job: Job) -> None:
        """See the port. The archive goes out as it is stored, bit by bit; :meth:`archive_suffix` names its kind."""
        manifest = self.manifest(snapshot_id)
        with _doing(f"reading the snapshot {snapshot_id}"):
            found = self._layout.archive(manifest.workload_id, manifest.id)
            if found is None or found[1] != manifest.stored_bytes:
                raise damaged(manifest, "its archive is missing or incomplete.")
            done = 0
            with self._layout.open_archive(manifest.workload_id, manifest.id, found[0]) as fd:
                while piece := self._fs.read(fd, PIECE_BYTES):
                    job.check()
                    write(piece)
                    done += len(piece)
                    job.progress(Progress(done_bytes=done, total_bytes=manifest.stored_bytes))

    def archive_suffix(self, snapshot_id: str) -> str:
        """How the file name of an export ends: ``.tar.zst``, or ``.tar.gz`` for what was imported so."""
        manifest = self.manifest(snapshot_id)
        with _doing("looking at a snapshot's archive"):
            found = self._layout.archive(manifest.workload_id, manifest.id)
        if found is None:
            raise damaged(manifest, "its archive is missing.")
        return found[0].value

    def clean_orphans(self) -> Sequence[str]:
        """See the port. Only for a time at which nothing is captured or imported."""
        with _doing("removing what interrupted snapshots left"):
            return self._layout.clean_orphans()

    def import_archive(self, request: ImportRequest, job: Job) -> SnapshotManifest:
        """Check an archive from outside and make it a snapshot of the workload. The upload is taken over.

        Raises:
            Refused, InvalidInput, TooLarge, Damaged: ``archive_…``: something in it is not acceptable.
            Cancelled, NoSpace, Failed: see their messages. Whatever is raised, neither the upload nor anything of it is
                left.
        """
        with _doing(f"importing {request.upload.name}"):
            return self._importer.run(request, job)


def _require_volume(manifest: SnapshotManifest, index: int) -> None:
    if all(volume.index != index for volume in manifest.volumes):
        raise refused(
            "snapshot_volume_unknown",
            f"The snapshot {manifest.id} has no volume {index}.",
            next_step="Choose among the volumes that the snapshot lists.",
        )
