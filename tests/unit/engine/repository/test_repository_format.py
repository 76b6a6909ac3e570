"""What the reference says of the format is what is stored: a reader written from that page alone reads it all back."""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3
from tests.unit.engine.repository.packs import KEYS, SEALED
from tests.unit.engine.repository.tiny_reader import DIRECTORY, FILE, SYMLINK, Entry, Reader, Unreadable

from holdfast.domain import times
from holdfast.domain.ids import new_id
from holdfast.domain.restore import RootRef
from holdfast.domain.snapshot import CapturedVolume, Consistency, SnapshotManifest, SnapshotReason
from holdfast.domain.workload import Scope
from holdfast.engine.fs import Fs
from holdfast.engine.job import QuietJob
from holdfast.engine.live import LiveRoots
from holdfast.engine.repository.file_ids import FileIds
from holdfast.engine.repository.manifests import StoredSnapshot, VolumeTree
from holdfast.engine.repository.repository import Repository
from holdfast.engine.repository.store import RepositoryStore
from holdfast.engine.repository.tree import TreeBuilder, TreeEntry
from holdfast.engine.snapshot_store import CaptureSource
from holdfast.testing.stores import INSTALLATION
from holdfast.testing.trees import TreeDescription, build_sample_tree, describe_tree

KEY = bytes(range(32))
PAGE = Path(__file__).parents[4] / "docs/reference/repository-format.md"


class Place:
    """Live volumes, and a repository beside them."""

    def __init__(self, base: Path, *, encrypt: bool) -> None:
        self.live, self.root = base / "live", base / "repository"
        self.live.mkdir()
        self._encrypt = encrypt

    def open(self) -> Repository:
        return Repository.open_local(Fs(), self.root, KEY, owner=INSTALLATION, encrypt=self._encrypt)

    def draft(self, *names: str) -> SnapshotManifest:
        return SnapshotManifest(
            id=new_id(),
            workload_id=new_id(),
            workload_name="notes",
            created_at=times.now(),
            reason=SnapshotReason.MANUAL,
            consistency=Consistency.STOPPED,
            volumes=tuple(
                CapturedVolume(index=index, target=f"/{name}", scope=Scope.STAGE, source=name)
                for index, name in enumerate(names)
            ),
            note='café "mac":"0000",',
        )

    def capture(self, *names: str) -> SnapshotManifest:
        roots = LiveRoots(Fs(), [str(self.live)])
        store = RepositoryStore(Fs(), self.open(), roots, KEY)
        sources = [
            CaptureSource(index=index, live=RootRef(root=str(self.live), relative=name), expected=None)
            for index, name in enumerate(names)
        ]
        try:
            return store.capture(self.draft(*names), sources, QuietJob())
        finally:
            store.close()
            roots.close()

    def reader(self) -> Reader:
        return Reader(self.root, KEY)


@pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(tmp_path, encrypt=request.param)


def described(reader: Reader, snapshot: str, volume: int) -> TreeDescription:
    """A stored tree, described as :func:`describe_tree` describes a live one."""
    description: TreeDescription = {}
    links: dict[bytes, list[bytes]] = {}
    for entry in reader.entries(snapshot, volume):
        attributes = tuple((os.fsdecode(name), value) for name, value in entry.attributes)
        common = (entry.mode, entry.uid, entry.gid, entry.mtime, attributes)
        if entry.kind == DIRECTORY:
            description[entry.path] = ("directory", *common)
        elif entry.kind == SYMLINK:
            description[entry.path] = ("symlink", *common, entry.link)
        elif entry.kind == FILE:
            regions = None if entry.regions is None else tuple((offset, length) for offset, length in entry.regions)
            description[entry.path] = ("file", *common, entry.size, content_hash(reader, entry), regions, None)
        else:
            links.setdefault(entry.link, [entry.link]).append(entry.path)
    for first, names in links.items():
        for name in names:
            description[name] = (*description[first][:-1], min(names))
    return description


def content_hash(reader: Reader, entry: Entry) -> str:
    content = bytearray(entry.size)
    for offset, data in reader.data(entry):
        content[offset : offset + len(data)] = data
    return hashlib.sha256(content).hexdigest()


def test_a_second_reader_finds_everything_that_was_captured(place: Place) -> None:
    build_sample_tree(place.live / "data")
    (place.live / "uploads").mkdir()
    video = os.urandom(5_000_000)
    (place.live / "uploads" / "video").write_bytes(video)
    first = place.capture("data", "uploads")
    os.truncate(place.live / "uploads" / "video", 3_000_000)
    second = place.capture("data", "uploads")

    reader = place.reader()
    assert reader.snapshots() == sorted([first.id, second.id])
    assert [volume["target"] for volume in reader.manifest(first.id)["snapshot"]["volumes"]] == ["/data", "/uploads"]
    for snapshot in (first, second):
        assert described(reader, snapshot.id, 0) == describe_tree(place.live / "data")
    assert described(reader, second.id, 1) == describe_tree(place.live / "uploads")
    _, before = reader.entries(first.id, 1)
    assert list(reader.data(before)) == [(0, video)]


def test_a_second_reader_finds_files_of_many_chunks_and_trees_of_many_parts(place: Place) -> None:
    chunks = [b"%d," % number for number in range(20_000)]
    others = [b"file %05d" % number for number in range(20_000)]
    with place.open() as repository, repository.writer() as writer:
        since = repository.sync_index()
        ids = FileIds(writer)
        for chunk in chunks:
            ids.add(writer.put(chunk))
        builder = TreeBuilder(writer.put, writer.wait)
        builder.add(TreeEntry(b"", DIRECTORY, 0o755, 0, 0, 0))
        large = TreeEntry(b"a large file", FILE, 0o644, 0, 0, -1, size=sum(len(chunk) for chunk in chunks))
        builder.add(ids.named_in(large))
        for path in others:
            builder.add(TreeEntry(path, FILE, 0o644, 0, 0, 0))
        tree = VolumeTree(index=0, chunks=builder.finish(), root=None, scan_started_ns=0)
        writer.finish()
        draft = place.draft("data")
        repository.commit(StoredSnapshot(manifest=draft, trees=(tree,)), since=since)

    reader = place.reader()
    _, found, *rest = reader.entries(draft.id, 0)
    assert found.listed
    assert found.mtime == -1
    assert list(reader.data(found)) == [(0, b"".join(chunks))]
    assert [entry.path for entry in rest] == others


def test_a_second_reader_notices_a_changed_byte_in_a_pack(place: Place) -> None:
    build_sample_tree(place.live / "data")
    place.capture("data")
    pack = next((place.root / "packs").iterdir())
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.write_bytes(content)
    with pytest.raises(Unreadable):
        place.reader()


def vectors() -> Iterator[str]:
    _, _, section = PAGE.read_text().partition("## Test vectors")
    yield from re.findall(r"\| `([0-9a-f]+)` \|", section)


def test_the_reference_s_test_vectors_are_right() -> None:
    assert list(vectors()) == [
        KEYS.chunk_id.hex(),
        KEYS.pack_name.hex(),
        KEYS.manifest.hex(),
        KEYS.description.hex(),
        KEYS.seal.hex(),
        KEYS.check,
        blake3(b"hello", key=KEYS.chunk_id).hexdigest(),
        bytes(SEALED.seal(bytes(32), 48, b"holdfast pack frame", b"hello")).hex(),
    ]


def test_the_second_reader_knows_nothing_of_holdfast() -> None:
    source = (Path(__file__).parent / "tiny_reader.py").read_text()
    assert not re.search(r"^\s*(import|from)\s+(holdfast|tests)", source, re.MULTILINE)
