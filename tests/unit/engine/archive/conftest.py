"""A store of archives with room for uploads and staged trees around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.contract.snapshot_store import WORKLOAD, Bench

from holdfast.domain.ids import new_id
from holdfast.domain.snapshot import SnapshotManifest
from holdfast.engine.archive.importer import ImportRequest
from holdfast.engine.archive.store import ArchiveStore
from holdfast.engine.fs import Fs
from holdfast.engine.job import QuietJob
from holdfast.engine.limits import Limits

KEY = bytes(range(32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A bench whose store imports."""

    bench: Bench
    store: ArchiveStore
    uploads: Path

    def import_bytes(self, content: bytes, *, allow_links: bool = False, job: Any = None) -> SnapshotManifest:
        upload = self.uploads / new_id()
        upload.write_bytes(content)
        return self.import_file(upload, allow_links=allow_links, job=job)

    def import_file(self, upload: Path, *, allow_links: bool = False, job: Any = None) -> SnapshotManifest:
        request = ImportRequest(
            upload=upload,
            workload_id=WORKLOAD,
            workload_name="notes",
            snapshot_id=new_id(),
            allow_links=allow_links,
            actor="admin",
        )
        return self.store.import_archive(request, job or QuietJob())

    def export_bytes(self, snapshot_id: str) -> bytes:
        parts: list[bytes] = []
        self.store.export(snapshot_id, parts.append, QuietJob())
        return b"".join(parts)

    def leftovers(self) -> list[Path]:
        """Whatever is in the store, among the uploads or staged."""
        return [
            path
            for place in (self.bench.store_root, self.uploads, self.bench.base / "staged")
            for path in (sorted(place.rglob("*")) if place.exists() else ())
        ]


MakePlace = Callable[..., Place]


@pytest.fixture
def make_place(tmp_path: Path) -> Iterator[MakePlace]:
    """Makes a place: ``make_place(limits=…, key=…, fs=…, reserve_bytes=…)``."""
    made: list[Place] = []

    def make(*, limits: Limits | None = None, key: bytes = KEY, fs: Fs | None = None, reserve_bytes: int = 0) -> Place:
        base = tmp_path / f"place-{len(made)}"
        uploads = base / "uploads"
        uploads.mkdir(parents=True)
        bench = Bench(
            base,
            lambda fs, root, roots: ArchiveStore(fs, root, key, roots, limits or Limits(), reserve_bytes=reserve_bytes),
            fs,
        )
        assert isinstance(bench.store, ArchiveStore)
        made.append(Place(bench=bench, store=bench.store, uploads=uploads))
        return made[-1]

    yield make
    for place in made:
        place.bench.close()


@pytest.fixture
def place(make_place: MakePlace) -> Place:
    return make_place()
