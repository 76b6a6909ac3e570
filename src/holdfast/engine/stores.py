"""All snapshots of an installation: those in its repository, and those that are archives still."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from holdfast.domain.errors import Conflict, Damaged, HoldfastError, NotFound, Problem, Refused
from holdfast.domain.snapshot import SnapshotManifest
from holdfast.engine.archive.importer import ImportRequest
from holdfast.engine.archive.store import ArchiveStore
from holdfast.engine.entries import Entry
from holdfast.engine.fs import Fs
from holdfast.engine.job import Job
from holdfast.engine.keys import load_or_create_key
from holdfast.engine.limits import Limits
from holdfast.engine.live import LiveRoots
from holdfast.engine.repository.repository import Repository
from holdfast.engine.repository.repository_file import NAME
from holdfast.engine.repository.store import RepositoryStore
from holdfast.engine.snapshot_store import CaptureSource, SnapshotStore, WarmResult
from holdfast.engine.tree_writer import EntrySink


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What has to be known to open the stores. Paths are absolute.

    Attributes:
        installation: id of this Holdfast, by which a repository knows its owner.
        encrypt: whether a repository that is made now is sealed.
        limits: for archives that are not Holdfast's own.
        reserve_bytes: what a new snapshot leaves free on its filesystem.
    """

    installation: str
    archives_dir: str
    archive_key_file: str
    repository_dir: str
    repository_key_file: str
    encrypt: bool
    limits: Limits
    reserve_bytes: int


class Stores:
    """A :class:`holdfast.engine.snapshot_store.SnapshotStore` over both. What is new goes to the repository."""

    def __init__(self, open_repository: Callable[[], RepositoryStore], archives: ArchiveStore) -> None:
        self.archives = archives
        self._open_repository = open_repository
        self._opened: RepositoryStore | None = None
        self._opening = threading.Lock()

    @property
    def repository(self) -> RepositoryStore:
        """The repository, opened when it is first needed: one that can't be used keeps nothing else from working.

        Raises:
            HoldfastError: it is not this installation's, of a newer format, of another key, or damaged. The next use
                tries again.
        """
        with self._opening:
            if self._opened is None:
                self._opened = self._open_repository()
            return self._opened

    def _of(self, snapshot_id: str) -> SnapshotStore:
        try:
            self.repository.manifest(snapshot_id)
        except NotFound:
            return self.archives
        return self.repository

    def capture(self, draft: SnapshotManifest, sources: Sequence[CaptureSource], job: Job) -> SnapshotManifest:
        """See the port."""
        return self.repository.capture(draft, sources, job)

    def warm(self, workload_id: str, sources: Sequence[CaptureSource], job: Job) -> WarmResult:
        """See the port."""
        return self.repository.warm(workload_id, sources, job)

    def manifest(self, snapshot_id: str) -> SnapshotManifest:
        """See the port."""
        try:
            return self.repository.manifest(snapshot_id)
        except NotFound:
            return self.archives.manifest(snapshot_id)

    def manifests(self) -> Iterator[SnapshotManifest]:
        """See the port."""
        known = set()
        for manifest in self.repository.manifests():
            known.add(manifest.id)
            yield manifest
        # An archive whose move into the repository was cut off at its very end is in both.
        yield from (manifest for manifest in self.archives.manifests() if manifest.id not in known)

    def damaged_manifests(self) -> Sequence[Problem]:
        """Why each manifest that :meth:`manifests` leaves out can't be read."""
        return [*self.repository.damaged_manifests(), *self.archives.damaged_manifests()]

    def check(self, manifest: SnapshotManifest, volumes: Collection[int] | None = None) -> Sequence[Problem]:
        """See the port."""
        return self._of(manifest.id).check(manifest, volumes)

    def entries(self, snapshot_id: str, index: int, job: Job) -> Iterator[Entry]:
        """See the port."""
        return self._of(snapshot_id).entries(snapshot_id, index, job)

    def stage(self, snapshot_id: str, writers: Mapping[int, EntrySink], job: Job) -> None:
        """See the port."""
        self._of(snapshot_id).stage(snapshot_id, writers, job)

    def verify(self, snapshot_id: str, job: Job) -> Sequence[str]:
        """See the port."""
        return self._of(snapshot_id).verify(snapshot_id, job)

    def delete(self, snapshot_id: str) -> int:
        """See the port."""
        return self._of(snapshot_id).delete(snapshot_id)

    def delete_damaged(self, snapshot_id: str) -> None:
        """Remove a snapshot whose manifest is damaged: that alone, wherever it is.

        Raises:
            NotFound: ``snapshot_unknown``.
            Conflict: ``snapshot_readable``: it can be read, so it is deleted as any other.
            HoldfastError: why it can't be read now, where that is no damage. It is still there.
        """
        for store in (self.repository, self.archives):
            try:
                store.manifest(snapshot_id)
            except NotFound:
                continue
            except Damaged:
                store.delete(snapshot_id)
                return
            raise Conflict(
                "snapshot_readable",
                f"The manifest of the snapshot {snapshot_id} can be read.",
                next_step="Delete it as any other, with `holdfast snapshot delete`.",
                details={"snapshot": snapshot_id},
            )
        self.archives.manifest(snapshot_id)

    def export(self, snapshot_id: str, write: Callable[[bytes], object], job: Job) -> None:
        """See the port."""
        self._of(snapshot_id).export(snapshot_id, write, job)

    def archive_suffix(self, snapshot_id: str) -> str:
        """See the port."""
        return self._of(snapshot_id).archive_suffix(snapshot_id)

    def clean_orphans(self) -> Sequence[str]:
        """See the port."""
        return [*self.repository.clean_orphans(), *self.archives.clean_orphans()]

    def import_archive(self, request: ImportRequest, job: Job) -> SnapshotManifest:
        """Check an archive from outside, and make it a snapshot of the repository. The upload is taken over.

        Raises:
            HoldfastError: as :meth:`ArchiveStore.import_archive`, and what storing raises. Nothing of it is left.
        """
        imported = self.archives.import_archive(request, job)
        try:
            return self.move_in(imported.id, job)
        except BaseException:
            with suppress(HoldfastError):
                self.archives.delete(imported.id)
            raise

    def browsable(self, snapshot_id: str) -> RepositoryStore:
        """The store that can look into a snapshot.

        Raises:
            NotFound: ``snapshot_unknown``.
            Conflict: ``snapshot_not_moved``; it is an archive still.
        """
        try:
            self.repository.manifest(snapshot_id)
        except NotFound:
            self.archives.manifest(snapshot_id)
            raise Conflict(
                "snapshot_not_moved",
                "The snapshot is an archive of an earlier version, which has not been moved into the repository yet.",
                next_step="See `holdfast operation list` for the move; until it has ended, export the snapshot.",
                details={"snapshot": snapshot_id},
            ) from None
        return self.repository

    def archived(self) -> list[str]:
        """Ids of the snapshots that are archives still, oldest first."""
        return sorted(manifest.id for manifest in self.archives.manifests())

    def move_in(self, snapshot_id: str, job: Job) -> SnapshotManifest:
        """Take an archive into the repository, under the same id; the archive goes when the repository has it.

        Whatever cuts it off, the snapshot is in at least one of both, and doing it again ends it.

        Raises:
            Damaged: the archive is not whole; it stays as it is.
            HoldfastError: what storing raises; the archive stays as it is.
        """
        try:
            moved = self.repository.manifest(snapshot_id)
        except NotFound:
            moved = self.repository.absorb(
                self.archives.manifest(snapshot_id), self.archives.members(snapshot_id, job), job
            )
        self.archives.delete(snapshot_id)
        return moved

    def close(self) -> None:
        """Let go of descriptors and connections."""
        with self._opening:
            if self._opened is not None:
                self._opened.close()
                self._opened = None


def open_stores(fs: Fs, roots: LiveRoots, settings: StoreSettings) -> Stores:
    """The stores of an installation; the repository and the keys are made the first time."""
    archive_key = load_or_create_key(fs, Path(settings.archive_key_file))

    def open_repository() -> RepositoryStore:
        return RepositoryStore(fs, _repository(fs, settings), roots, archive_key)

    archives = ArchiveStore(
        fs,
        Path(settings.archives_dir),
        archive_key,
        roots,
        settings.limits,
        reserve_bytes=settings.reserve_bytes,
    )
    return Stores(open_repository, archives)


def _repository(fs: Fs, settings: StoreSettings) -> Repository:
    directory, key_file = Path(settings.repository_dir), Path(settings.repository_key_file)
    if (directory / NAME).exists() and not key_file.exists():
        raise Refused(
            [
                Problem(
                    code="repository_key_missing",
                    message=f"There is a snapshot repository, but its key {key_file} is gone.",
                    next_step="Put the key file back, or import the key that was exported (holdfast repository key "
                    "import). Nothing was changed; without the key nobody can read the snapshots.",
                    details={"path": str(key_file)},
                )
            ]
        )
    return Repository.open_local(
        fs,
        directory,
        load_or_create_key(fs, key_file),
        owner=settings.installation,
        encrypt=settings.encrypt,
        reserve_bytes=settings.reserve_bytes,
    )
