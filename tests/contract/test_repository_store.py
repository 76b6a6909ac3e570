"""The store on a repository passes the suite of its port, plain and encrypted."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.engine.fs import Fs
from holdfast.engine.live import LiveRoots
from holdfast.engine.repository.repository import Repository
from holdfast.engine.repository.store import RepositoryStore
from holdfast.testing.stores import INSTALLATION
from tests.contract.snapshot_store import OpenStore, SnapshotStoreContract

KEY = bytes(range(32))


class RepositoryStoreContract(SnapshotStoreContract):
    encrypt: bool

    @pytest.fixture
    def open_store(self) -> OpenStore:
        def open_store(fs: Fs, root: Path, roots: LiveRoots) -> RepositoryStore:
            repository = Repository.open_local(fs, root, KEY, owner=INSTALLATION, encrypt=self.encrypt)
            return RepositoryStore(fs, repository, roots, KEY)

        return open_store


class TestRepositoryStore(RepositoryStoreContract):
    encrypt = False


class TestEncryptedRepositoryStore(RepositoryStoreContract):
    encrypt = True
