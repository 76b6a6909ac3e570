"""Archives and the repository are one store: what is imported or left from before moves in, whole or not at all."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.snapshot_store import WORKLOAD, Bench, CountingJob

from holdfast.domain.errors import Cancelled, Damaged, Refused
from holdfast.domain.ids import new_id
from holdfast.domain.snapshot import SnapshotManifest
from holdfast.engine.archive.importer import ImportRequest
from holdfast.engine.diff import diff
from holdfast.engine.fs import Fs
from holdfast.engine.job import QuietJob
from holdfast.engine.live import LiveRoots
from holdfast.engine.stores import Stores, open_stores
from holdfast.testing.stores import store_settings
from holdfast.testing.trees import build_sample_tree, describe_tree


class StoresBench(Bench):
    """A bench over both stores. ``stores`` is its store by its own type."""

    stores: Stores

    def __init__(self, base: Path) -> None:
        (base / "data" / "snapshots").mkdir(parents=True)
        super().__init__(base, self._open)

    def _open(self, fs: Fs, root: Path, roots: LiveRoots) -> Stores:
        self.stores = open_stores(fs, roots, store_settings(root.parent))
        return self.stores

    def archive(self, *names: str) -> SnapshotManifest:
        """Capture into an archive, as earlier versions did."""
        sources = [self.source(index, name) for index, name in enumerate(names)]
        return self.stores.archives.capture(self.draft(*names), sources, QuietJob())

    def import_bytes(self, content: bytes, *, allow_links: bool = False) -> SnapshotManifest:
        upload = self.base / "data" / new_id()
        upload.write_bytes(content)
        request = ImportRequest(
            upload=upload,
            workload_id=WORKLOAD,
            workload_name="notes",
            snapshot_id=new_id(),
            allow_links=allow_links,
            actor="admin",
        )
        return self.stores.import_archive(request, QuietJob())

    def archives(self) -> list[Path]:
        return [path for path in (self.base / "data" / "snapshots").rglob("*") if path.is_file()]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[StoresBench]:
    bench = StoresBench(tmp_path)
    yield bench
    bench.stores.close()
    bench.close()


def test_an_archive_moves_in_with_everything_that_it_holds(bench: StoresBench) -> None:
    build_sample_tree(bench.live("data"))
    (bench.live("uploads") / "which").write_text("uploads")
    before = bench.archive("data", "uploads")
    moved = bench.stores.move_in(before.id, QuietJob())
    assert (moved.id, moved.volumes, moved.created_at, moved.own) == (
        before.id,
        before.volumes,
        before.created_at,
        True,
    )
    assert bench.archives() == []
    assert bench.stores.archived() == []
    assert list(bench.stores.manifests()) == [moved]
    paths, _ = bench.stage(before.id, 0, 1)
    assert describe_tree(paths[0]) == describe_tree(bench.live("data"))
    assert (paths[1] / "which").read_text() == "uploads"


def test_a_move_that_is_cut_off_leaves_the_archive_and_is_done_again(bench: StoresBench) -> None:
    build_sample_tree(bench.live("data"))
    before = bench.archive("data")
    kept = bench.archives()
    counted = CountingJob()
    list(bench.stores.archives.members(before.id, counted))
    for cancel_at in range(1, counted.checks, 7):
        with pytest.raises(Cancelled):
            bench.stores.move_in(before.id, CountingJob(cancel_at))
        assert bench.archives() == kept
        assert [manifest.id for manifest in bench.stores.manifests()] == [before.id]
    bench.stores.move_in(before.id, QuietJob())
    paths, _ = bench.stage(before.id, 0)
    assert describe_tree(paths[0]) == describe_tree(bench.live("data"))


def test_a_snapshot_that_is_in_both_is_one_snapshot_and_the_archive_goes(bench: StoresBench) -> None:
    build_sample_tree(bench.live("data"))
    before = bench.archive("data")
    bench.stores.repository.absorb(before, bench.stores.archives.members(before.id, QuietJob()), QuietJob())
    assert [manifest.id for manifest in bench.stores.manifests()] == [before.id]
    bench.stores.move_in(before.id, QuietJob())
    assert bench.archives() == []
    assert bench.stores.verify(before.id, QuietJob()) == []


def test_a_damaged_archive_stays_where_it_is(bench: StoresBench) -> None:
    (bench.live("data") / "file").write_bytes(bytes(range(256)) * 1000)
    before = bench.archive("data")
    largest = max(bench.archives(), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    kept = bench.archives()
    with pytest.raises(Damaged):
        bench.stores.move_in(before.id, QuietJob())
    assert bench.archives() == kept
    assert list(bench.stores.repository.manifests()) == []


def foreign(*members: tuple[str, bytes, str]) -> bytes:
    """A foreign archive of one volume: (name, type, content or link) in this order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        manifest = b'[{"Index":0,"Target":"/data","Scope":"stage","Source":"data"}]'
        info = tarfile.TarInfo("manifest.json")
        info.size = len(manifest)
        archive.addfile(info, io.BytesIO(manifest))
        for name, kind, text in members:
            info = tarfile.TarInfo(f"0/{name}")
            info.type, info.mode = kind, 0o644
            content = text.encode() if kind == tarfile.REGTYPE else b""
            info.size = len(content)
            if kind == tarfile.LNKTYPE:
                info.linkname = f"0/{text}"
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_an_import_in_any_order_becomes_a_tree_in_walk_order(bench: StoresBench) -> None:
    imported = bench.import_bytes(
        foreign(
            ("z", tarfile.REGTYPE, "last"),
            ("d/b", tarfile.REGTYPE, "inside"),
            ("d", tarfile.DIRTYPE, ""),
            ("a", tarfile.REGTYPE, "first"),
        )
    )
    assert bench.archives() == []
    assert [entry.path for entry in bench.stores.entries(imported.id, 0, QuietJob())] == [b"a", b"d", b"d/b", b"z"]
    paths, _ = bench.stage(imported.id, 0)
    assert (paths[0] / "d/b").read_text() == "inside"


def test_hardlinks_that_sort_before_their_file_are_one_inode_all_the_same(bench: StoresBench) -> None:
    imported = bench.import_bytes(
        foreign(
            ("m", tarfile.REGTYPE, "content"),
            ("a", tarfile.LNKTYPE, "m"),
            ("z", tarfile.LNKTYPE, "m"),
            ("b", tarfile.LNKTYPE, "m"),
        ),
        allow_links=True,
    )
    paths, _ = bench.stage(imported.id, 0)
    assert {(paths[0] / name).stat().st_ino for name in "abmz"} == {(paths[0] / "a").stat().st_ino}
    assert (paths[0] / "b").read_text() == "content"


def test_a_refused_import_leaves_nothing(bench: StoresBench) -> None:
    with pytest.raises(Refused):
        bench.import_bytes(b"no archive at all")
    assert bench.archives() == []
    assert list(bench.stores.manifests()) == []


def test_a_repository_whose_key_is_gone_is_refused_before_another_is_made(bench: StoresBench, tmp_path: Path) -> None:
    (bench.live("data") / "file").write_text("x")
    bench.capture("data")
    key = tmp_path / "data" / "keys" / "repository.key"
    kept = key.read_bytes()
    key.unlink()
    again = open_stores(bench.fs, bench.roots, store_settings(tmp_path / "data"))
    with pytest.raises(Refused) as caught:
        list(again.manifests())
    assert caught.value.problems[0].code == "repository_key_missing"
    assert not key.exists()
    key.write_bytes(kept)
    key.chmod(0o600)
    assert len(list(again.manifests())) == 1
    again.close()


def test_an_archive_whose_manifest_is_damaged_is_deleted_and_the_same_snapshot_elsewhere_is_not(
    bench: StoresBench,
) -> None:
    (bench.live("data") / "file").write_text("x")
    whole, damaged = bench.archive("data"), bench.archive("data")
    stored = bench.capture("data")
    for path in bench.archives():
        if damaged.id in str(path) and path.read_bytes()[:1] == b"{":
            path.write_bytes(b"{")
    assert [problem.details["snapshot"] for problem in bench.stores.damaged_manifests()] == [damaged.id]
    bench.stores.delete_damaged(damaged.id)
    assert bench.stores.damaged_manifests() == []
    assert {manifest.id for manifest in bench.stores.manifests()} == {whole.id, stored.id}


def test_a_root_that_an_archive_from_elsewhere_has_no_entry_of_counts_as_no_difference(bench: StoresBench) -> None:
    imported = bench.import_bytes(foreign(("file", tarfile.REGTYPE, "x")))
    file = bench.live("data") / "file"
    file.write_bytes(b"x")
    file.chmod(0o644)
    os.utime(file, (0, 0))
    live = bench.source(0, "data").live
    found = diff(bench.fs, bench.roots, bench.stores, imported.id, 0, live, QuietJob())
    assert (found.added, found.changed, found.removed) == (0, 0, 0)
    for compared in (
        bench.stores.repository.compare_live(imported.id, 0, live, QuietJob()),
        bench.stores.repository.compare((imported.id, 0), (bench.capture("data").id, 0), QuietJob()),
        bench.stores.repository.compare((bench.capture("data").id, 0), (imported.id, 0), QuietJob()),
    ):
        assert (compared.added.count, compared.changed.count, compared.removed.count) == (0, 0, 0)
