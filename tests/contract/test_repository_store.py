"""The store on a repository passes the suite of its port, plain and encrypted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.engine.fs import Fs
from holdfast.engine.live import LiveRoots
from holdfast.engine.repository.repository import Repository
from holdfast.engine.repository.store import RepositoryStore
from holdfast.testing.stores import INSTALLATION
from holdfast.testing.trees import describe_tree
from tests.contract.snapshot_store import Bench, OpenStore, SnapshotStoreContract

KEY = bytes(range(32))


class RepositoryStoreContract(SnapshotStoreContract):
    encrypt: bool

    @pytest.fixture
    def open_store(self) -> OpenStore:
        def open_store(fs: Fs, root: Path, roots: LiveRoots) -> RepositoryStore:
            repository = Repository.open_local(fs, root, KEY, owner=INSTALLATION, encrypt=self.encrypt)
            return RepositoryStore(fs, repository, roots, KEY)

        return open_store

    def test_a_volume_that_is_whole_does_not_lack_what_another_one_does(self, bench: Bench) -> None:
        for target in ("data", "uploads"):
            (bench.live(target) / "file").write_bytes(os.urandom(100_000))
        bench.capture("uploads")
        packs = bench.store_root / "packs"
        kept = set(packs.iterdir())
        manifest = bench.capture("data", "uploads")
        for pack in set(packs.iterdir()) - kept:
            pack.unlink()
        assert bench.store.check(manifest, [1]) == ()
        for volumes in ([0], [0, 1], None):
            (problem,) = bench.store.check(manifest, volumes)
            assert problem.details["lacking"] == ["/data"]
            assert "--volume" in problem.next_step
        paths, _ = bench.stage(manifest.id, 1)
        assert describe_tree(paths[1]) == describe_tree(bench.live("uploads"))


class TestRepositoryStore(RepositoryStoreContract):
    encrypt = False


class TestEncryptedRepositoryStore(RepositoryStoreContract):
    encrypt = True
