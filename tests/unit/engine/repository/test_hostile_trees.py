"""Trees that somebody with the repository's key wrote, and that lie: staged, they end in an error by its code,
within bounds, and nothing outside of the staged tree is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from tests.unit.engine.repository.repository_bench import RepositoryBench

from holdfast.domain.errors import HoldfastError
from holdfast.engine.job import QuietJob
from holdfast.engine.repository.manifests import StoredSnapshot, VolumeTree
from holdfast.engine.repository.tree import TreeEntry, TreePart
from holdfast.testing.counted_work import counted_work
from holdfast.testing.trees import describe_tree

DATA = b"the data of a chunk"
ROOT = TreeEntry(b"", 1, 0o755, 0, 0, 0)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[RepositoryBench]:
    bench = RepositoryBench(tmp_path)
    yield bench
    bench.close()


@dataclass(frozen=True, slots=True)
class Ids:
    """Chunks that are there."""

    data: bytes
    list_of_nowhere: bytes
    half: bytes


def file(path: bytes, content: bytes = b"", size: int = 0, **more: object) -> TreeEntry:
    return msgspec.structs.replace(TreeEntry(path, 0, 0o644, 0, 0, 0, size=size, content=content), **more)


def directory(path: bytes) -> TreeEntry:
    return TreeEntry(path, 1, 0o755, 0, 0, 0)


def symlink(path: bytes, link: bytes = b"/etc") -> TreeEntry:
    return TreeEntry(path, 2, 0o777, 0, 0, 0, link=link)


def hardlink(path: bytes, link: bytes) -> TreeEntry:
    return TreeEntry(path, 3, 0o644, 0, 0, 0, link=link)


NAME, TREE, PARENT = "archive_name_refused", "snapshot_damaged", "archive_parent_not_directory"
LINK, SPARSE, TWICE = "archive_link_target_refused", "archive_sparse_map_invalid", "archive_duplicate_entry"
SIZE = len(DATA)
HOSTILE: dict[str, tuple[str, Callable[[Ids], list[TreeEntry]]]] = {
    "parent": (NAME, lambda _: [directory(b"..")]),
    "below the parent": (NAME, lambda _: [file(b"../caught")]),
    "parent inside": (NAME, lambda _: [file(b"a/../../caught")]),
    "absolute": (NAME, lambda _: [file(b"/caught")]),
    "dot": (NAME, lambda _: [directory(b".")]),
    "two slashes": (NAME, lambda _: [file(b"a//b")]),
    "NUL": (NAME, lambda _: [file(b"a\0b")]),
    "name longer than any": ("archive_name_too_long", lambda _: [file(b"n" * 256)]),
    "twice": (TREE, lambda _: [file(b"a"), file(b"a")]),
    "out of order": (TREE, lambda _: [file(b"b"), file(b"a")]),
    "root twice": (TREE, lambda _: [ROOT]),
    "below a file": (PARENT, lambda _: [file(b"a"), file(b"a/b")]),
    "below a symlink": (TWICE, lambda _: [symlink(b"a"), file(b"a/passwd")]),
    "below a hardlink": (PARENT, lambda _: [file(b"a"), hardlink(b"b", b"a"), file(b"b/c")]),
    "hardlink to the outside": (NAME, lambda _: [hardlink(b"a", b"../../etc/passwd")]),
    "hardlink to an absolute path": (NAME, lambda _: [hardlink(b"a", b"/etc/passwd")]),
    "hardlink to nothing": (LINK, lambda _: [hardlink(b"a", b"b")]),
    "hardlink to a later file": (LINK, lambda _: [hardlink(b"a", b"b"), file(b"b")]),
    "hardlink to itself": (LINK, lambda _: [hardlink(b"a", b"a")]),
    "hardlink to a directory": (LINK, lambda _: [directory(b"a"), hardlink(b"b", b"a")]),
    "hardlink to a symlink": (LINK, lambda _: [symlink(b"a"), hardlink(b"b", b"a")]),
    "symlink to nothing": (LINK, lambda _: [symlink(b"a", b"")]),
    "symlink with a NUL": (LINK, lambda _: [symlink(b"a", b"b\0c")]),
    "directory with content": (TREE, lambda ids: [msgspec.structs.replace(directory(b"a"), content=ids.data)]),
    "half an id": (TREE, lambda ids: [file(b"a", ids.data[:31], SIZE)]),
    "chunk that is not there": (TREE, lambda _: [file(b"a", b"\1" * 32, SIZE)]),
    "more content than size": ("archive_size_disagrees", lambda ids: [file(b"a", ids.data, SIZE - 1)]),
    "less content than size": ("archive_size_disagrees", lambda ids: [file(b"a", ids.data, SIZE + 1)]),
    "size of exabytes": ("archive_size_disagrees", lambda ids: [file(b"a", ids.data, 2**62)]),
    "size beyond all": ("archive_metadata_invalid", lambda ids: [file(b"a", ids.data, 2**63)]),
    "owner beyond all": ("archive_metadata_invalid", lambda _: [file(b"a", uid=2**32 - 1)]),
    "list of what is nowhere": (TREE, lambda ids: [file(b"a", ids.list_of_nowhere, SIZE, listed=True)]),
    "list of half an id": (TREE, lambda ids: [file(b"a", ids.half, SIZE, listed=True)]),
    "list that is missing": (TREE, lambda _: [file(b"a", b"\1" * 32, SIZE, listed=True)]),
    "regions that overlap": (SPARSE, lambda ids: [file(b"a", ids.data, 99, extents=((0, 9), (5, SIZE - 9)))]),
    "region beyond the end": (SPARSE, lambda ids: [file(b"a", ids.data, 9, extents=((0, SIZE),))]),
    "region of nothing": (SPARSE, lambda ids: [file(b"a", ids.data, 99, extents=((0, 0), (1, SIZE)))]),
    "attribute twice": ("archive_xattr_invalid", lambda _: [file(b"a", xattrs=((b"user.a", b""), (b"user.a", b"")))]),
    "access list of garbage": (
        "archive_xattr_invalid",
        lambda _: [file(b"a", xattrs=((b"system.posix_acl_access", b"garbage"),))],
    ),
}


def forged(
    bench: RepositoryBench, make: Callable[[Ids], list[TreeEntry]], *, first: bytes = b"", count: int = 0
) -> str:
    """A snapshot whose tree is these entries below a root."""
    repository = bench.repository
    with repository.lock.shared(QuietJob()):
        since = repository.sync_index()
        with repository.writer() as writer:

            def stored(content: bytes) -> bytes:
                return writer.wait(writer.put(content))

            data = stored(DATA)
            ids = Ids(data, stored(b"\2" * 32), stored(data[:31]))
            entries = [ROOT, *make(ids)]
            part = TreePart(first, stored(msgspec.msgpack.encode(entries)), count or len(entries))
            index = stored(msgspec.msgpack.encode([part]))
            writer.finish()
        manifest = bench.draft("data", own=True)
        tree = VolumeTree(index=0, chunks=(index,), root=None, scan_started_ns=1)
        repository.commit(StoredSnapshot(manifest=manifest, trees=(tree,)), since=since)
    return manifest.id


@pytest.mark.parametrize("name", HOSTILE)
def test_a_tree_that_lies_is_refused_by_its_code(
    name: str, bench: RepositoryBench, tmp_path: Path, figure: Callable[[str, int], None]
) -> None:
    code, make = HOSTILE[name]
    snapshot = forged(bench, make)
    beside = {path for path in tmp_path.rglob("*") if "staged" not in path.parts}
    with pytest.raises(HoldfastError) as caught, counted_work(lines=100_000, peak_bytes=64 << 20):
        bench.stage(snapshot, 0)
    assert caught.value.code == code
    assert {path for path in tmp_path.rglob("*") if "staged" not in path.parts} == beside
    assert not list(tmp_path.rglob("caught"))
    figure("hostile trees tried", 1)


def test_a_part_that_its_index_counts_wrongly_is_malformed(bench: RepositoryBench) -> None:
    for lie in ({"first": b"a"}, {"count": 7}):
        snapshot = forged(bench, lambda _: [file(b"a")], **lie)
        with pytest.raises(HoldfastError) as caught:
            bench.stage(snapshot, 0)
        assert caught.value.code == TREE


def test_the_same_chunk_many_times_is_what_it_says(bench: RepositoryBench) -> None:
    snapshot = forged(bench, lambda ids: [file(b"a", ids.data * 1000, 1000 * SIZE)])
    paths, _ = bench.stage(snapshot, 0)
    assert (paths[0] / "a").read_bytes() == DATA * 1000
    assert len(describe_tree(paths[0])) == 2
