"""A repository with live directories beside it, for the tests of what deletes, verifies and mends."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.contract.snapshot_store import Bench

from holdfast.domain.snapshot import SnapshotManifest
from holdfast.engine.fs import Fs
from holdfast.engine.job import Job, QuietJob
from holdfast.engine.live import LiveRoots
from holdfast.engine.repository.prune import Prune, PruneResult
from holdfast.engine.repository.repository import Repository
from holdfast.engine.repository.store import RepositoryStore
from holdfast.testing.stores import INSTALLATION
from holdfast.testing.trees import TreeDescription, describe_tree

KEY = bytes(range(32))


def data(seed: int, size: int = 40_000) -> bytes:
    """Bytes that don't compress, always the same ones."""
    return random.Random(seed).randbytes(size)


class Seam(QuietJob):
    """A job that runs ``then`` once, at the ``at``-th time that it is asked whether somebody cancelled."""

    def __init__(self, then: Callable[[], object], at: int = 1) -> None:
        self._then, self._left = then, at

    def check(self) -> None:
        self._left -= 1
        if not self._left:
            self._then()


class RepositoryBench(Bench):
    """Captures keep a description of what was captured, so that every snapshot can be compared with itself."""

    def __init__(self, base: Path, fs: Fs | None = None, *, encrypt: bool = False) -> None:
        self._encrypt = encrypt
        self.described: dict[str, TreeDescription] = {}
        super().__init__(base, self._open, fs)

    def _open(self, fs: Fs, root: Path, roots: LiveRoots) -> RepositoryStore:
        self.repository = Repository.open_local(fs, root, KEY, owner=INSTALLATION, encrypt=self._encrypt)
        # Its clock is ahead of the file system's, so that files written a moment ago are recognised as unchanged.
        return RepositoryStore(fs, self.repository, roots, KEY, now_ns=lambda: time.time_ns() + 10_000_000_000)

    def reopen(self, fs: Fs | None = None) -> None:
        """Open everything anew, as another process does, on ``fs`` if given."""
        self.repository.close()
        self.store = self._open(fs or Fs(), self.store_root, self.roots)

    def close(self) -> None:
        super().close()
        self.repository.close()

    # --- live data ---------------------------------------------------------------------------------------------------

    def write(self, files: dict[str, bytes], *, volume: str = "data") -> None:
        """Make a volume hold exactly these files; those that are the same already are not touched."""
        live = self.live(volume)
        for path in live.iterdir():
            if path.name not in files:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name, content in files.items():
            path = live / name
            if not path.exists() or path.read_bytes() != content:
                path.write_bytes(content)

    def take(self, files: dict[str, bytes] | None = None, *, job: Job | None = None, **changes: Any) -> str:
        """Capture the volume ``data``, with these files in it. Returns the snapshot's id."""
        if files is not None:
            self.write(files)
        manifest: SnapshotManifest = self.capture("data", job=job, **changes)
        self.described[manifest.id] = describe_tree(self.live("data"))
        return manifest.id

    # --- the repository ----------------------------------------------------------------------------------------------

    def prune(self, job: Job | None = None, **options: Any) -> PruneResult:
        """Prune without waiting for anybody."""
        wanted = {key: options.pop(key) for key in ("without", "dry_run") if key in options}
        return Prune(self.repository, job or QuietJob(), **{"patience": 0.0, **options}).run(**wanted)

    def delete(self, snapshot_id: str) -> None:
        self.store.delete(snapshot_id)
        del self.described[snapshot_id]

    def packs(self) -> dict[str, int]:
        """Size by name of the pack files."""
        return {path.name: path.stat().st_size for path in sorted((self.store_root / "packs").glob("*"))}

    def restored(self, snapshot_id: str) -> TreeDescription:
        """What staging a snapshot makes."""
        paths, _ = self.stage(snapshot_id, 0)
        found = describe_tree(paths[0])
        shutil.rmtree(paths[0])
        return found

    def check_all(self) -> None:
        """Every snapshot that was not deleted restores exactly."""
        assert {manifest.id for manifest in self.store.manifests()} == set(self.described)
        for snapshot_id, description in self.described.items():
            assert self.restored(snapshot_id) == description

    def damage(self, path: Path, at: int) -> None:
        """Change a byte of a file."""
        with path.open("r+b") as file:
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 0x41]))

    def files(self) -> list[str]:
        """Everything in the repository's directory but its caches and the lock."""
        found = (str(path.relative_to(self.store_root)) for path in self.store_root.rglob("*") if path.is_file())
        return sorted(name for name in found if not name.startswith(("cache/", "lock")))


def age(path: Path, seconds: float) -> None:
    """Make a file look as if it had been written earlier."""
    facts = path.stat()
    os.utime(path, (facts.st_atime - seconds, facts.st_mtime - seconds))
