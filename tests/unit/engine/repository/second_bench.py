"""A second repository, in memory unless a test says otherwise, beside that of a :class:`RepositoryBench`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.unit.engine.repository.faulty_blobs import FaultyBlobs
from tests.unit.engine.repository.repository_bench import KEY, RepositoryBench

from holdfast.domain.repository import CopyResult
from holdfast.engine.fs import Fs
from holdfast.engine.job import Job, QuietJob
from holdfast.engine.repository.blobs import BlobStore
from holdfast.engine.repository.object_blobs import ObjectBlobs
from holdfast.engine.repository.prune import Prune, PruneResult
from holdfast.engine.repository.repository import Repository
from holdfast.engine.repository.repository_file import create_repository, read_repository, require_owner
from holdfast.engine.repository.seal import RepositoryKeys
from holdfast.engine.repository.store import RepositoryStore
from holdfast.testing.stores import INSTALLATION
from holdfast.testing.trees import TreeDescription

KEYS = RepositoryKeys.derive(KEY)
OTHER = "01hyyyyyyyyyyyyyyyyyyyyyyy"
"""Another installation."""


class SecondBench:
    """Opens it anew for everything, as each request does.

    Attributes:
        blobs: what is kept, past whatever breaks.
        described: what each snapshot there must restore to.
    """

    def __init__(self, bench: RepositoryBench, base: Path, blobs: BlobStore | None = None) -> None:
        self._bench, self._base = bench, base
        self.blobs: BlobStore = blobs or ObjectBlobs.in_memory()
        create_repository(self.blobs, KEYS, owner=INSTALLATION, encrypted=True)
        self.described: dict[str, TreeDescription] = {}

    @contextmanager
    def opened(self, blobs: BlobStore | None = None, *, owner: str = INSTALLATION) -> Iterator[Repository]:
        """The repository, as it is opened by ``owner``, who has caches of their own."""
        blobs = blobs or FaultyBlobs(self.blobs)
        description = read_repository(blobs, KEYS)
        require_owner(description, owner)
        local = self._base / owner
        local.mkdir(exist_ok=True)
        with Repository(Fs(), blobs, KEYS, description, local) as repository:
            yield repository

    def store(self, repository: Repository) -> RepositoryStore:
        return RepositoryStore(Fs(), repository, self._bench.roots, KEY)

    def copy(
        self, snapshot_id: str, blobs: BlobStore | None = None, job: Job | None = None, *, pack_bytes: int = 100_000
    ) -> CopyResult:
        """Copy a snapshot there."""
        with self.opened(blobs) as target:
            result = RepositoryStore(Fs(), self._bench.repository, self._bench.roots, KEY).copy_to(
                snapshot_id, target, job or QuietJob(), owner=INSTALLATION, pack_bytes=pack_bytes
            )
        self.described[snapshot_id] = self._bench.described[snapshot_id]
        return result

    def prune(self, blobs: BlobStore | None = None, *, owner: str = INSTALLATION, percent: int = 50) -> PruneResult:
        with self.opened(blobs, owner=owner) as repository:
            prune = Prune(repository, QuietJob(), unused_percent=percent, patience=0.0, owner=owner)
            return prune.run()

    def delete(self, snapshot_id: str) -> None:
        with self.opened() as repository:
            self.store(repository).delete(snapshot_id)
        del self.described[snapshot_id]

    def ids(self) -> set[str]:
        """The snapshots that are there."""
        with self.opened() as repository:
            return set(repository.manifests.ids())

    def restored(self, snapshot_id: str, blobs: BlobStore | None = None) -> TreeDescription:
        """What staging a snapshot from there makes."""
        own = self._bench.store
        with self.opened(blobs) as repository:
            self._bench.store = self.store(repository)
            try:
                return self._bench.restored(snapshot_id)
            finally:
                self._bench.store = own

    def check_all(self) -> None:
        """Every snapshot that is there restores exactly, and those that must be are."""
        assert self.ids() == set(self.described)
        for snapshot_id, description in self.described.items():
            assert self.restored(snapshot_id) == description
