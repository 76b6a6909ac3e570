"""The store of archives passes the suite of its port."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.engine.archive.store import ArchiveStore
from holdfast.engine.fs import Fs
from holdfast.engine.limits import Limits
from holdfast.engine.live import LiveRoots
from tests.contract.snapshot_store import OpenStore, SnapshotStoreContract

KEY = bytes(range(32))


class TestArchiveStore(SnapshotStoreContract):
    @pytest.fixture
    def open_store(self) -> OpenStore:
        def open_store(fs: Fs, root: Path, roots: LiveRoots) -> ArchiveStore:
            return ArchiveStore(fs, root, KEY, roots, Limits(), reserve_bytes=0)

        return open_store
