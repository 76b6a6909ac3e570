"""Large files that changed a little: what is still there is found by its hash, and the rest is all that is cut anew."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.contract.snapshot_store import WORKLOAD
from tests.unit.engine.repository.repository_bench import RepositoryBench, data

from holdfast.engine.file_content import FileContent, describe_file
from holdfast.engine.fs import Fs
from holdfast.engine.job import QuietJob
from holdfast.engine.repository.chunking import MIN_BYTES
from holdfast.engine.repository.earlier_files import EarlierChunk, EarlierContent, EarlierFiles
from holdfast.engine.repository.file_ids import FileIds
from holdfast.engine.repository.stretches import Stretch, Stretches
from holdfast.engine.repository.tree import IDS_PER_LIST, Tree, TreeBuilder, TreeEntry

FS = Fs()
KEY = bytes(range(32))
MIB = 1 << 20


def digest(content: bytes) -> bytes:
    return blake3(content, key=KEY).digest()


def chunks_of(content: bytes, lengths: Sequence[int]) -> list[EarlierChunk]:
    """``content`` in pieces of these lengths, and a last one with what is left."""
    found, at = [], 0
    for length in (*lengths, len(content)):
        if piece := content[at : at + length]:
            found.append(EarlierChunk(digest(piece), len(piece), True))
        at += length
    return found


def stretches_of(now: bytes, size: int, *blocks: list[EarlierChunk]) -> list[Stretch]:
    """What a file that holds ``now`` consists of, once of ``size`` bytes and these chunks."""
    with tempfile.TemporaryFile() as file, Stretches(KEY) as stretches:
        file.write(now)
        file.flush()
        facts = FS.fstat(file.fileno())
        entry = describe_file(FS, file.fileno(), b"file", facts)
        changed: list[bytes] = []
        with FileContent(FS, file.fileno(), entry, facts, changed.append) as content:
            found = list(stretches.of(content, EarlierContent(size, iter(blocks))))
        assert not changed
        return found


LENGTHS = st.lists(st.sampled_from([1, 500, MIN_BYTES, MIN_BYTES + 1, 100_000]), max_size=12)
EDITS = st.lists(
    st.tuples(st.sampled_from(["write", "insert", "delete"]), st.integers(0, 400_000), st.integers(0, 70_000)),
    max_size=3,
)


def edited(content: bytes, edits: Sequence[tuple[str, int, int]]) -> bytes:
    for number, (kind, at, length) in enumerate(edits):
        new = data(number, length)
        replaced = 0 if kind == "insert" else length
        content = content[:at] + (b"" if kind == "delete" else new) + content[at + replaced :]
    return content


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 400_000), lengths=LENGTHS, edits=EDITS, unusable=st.sets(st.integers(0, 12)))
@example(size=300_000, lengths=[100_000, 100_000], edits=[("insert", 300_000, 10)], unusable=set())
@example(size=300_000, lengths=[100_000, 100_000], edits=[("delete", 299_990, 70_000)], unusable=set())
def test_stretches_cover_a_file_and_what_is_called_known_is_there(
    size: int, lengths: list[int], edits: list[tuple[str, int, int]], unusable: set[int]
) -> None:
    before = data(99, size)
    chunks = [chunk._replace(usable=number not in unusable) for number, chunk in enumerate(chunks_of(before, lengths))]
    now = edited(before, edits)
    if not now:
        return
    found = stretches_of(now, size, chunks[:5], chunks[5:])
    assert [start for start, _, _ in found] == [0, *(end for _, end, _ in found[:-1])]
    assert found[-1].end == len(now)
    usable = {chunk.id for chunk in chunks if chunk.usable}
    for start, end, known in found:
        assert start < end
        assert known is None or (known == digest(now[start:end]) and known in usable)


def test_only_what_changed_is_cut_anew() -> None:
    before = data(1, 500_000)
    chunks = chunks_of(before, [100_000] * 4)
    now = before[:250_000] + b"!" + before[250_001:]
    kept = [Stretch(at, at + 100_000, chunk.id) for at, chunk in zip(range(0, 500_000, 100_000), chunks, strict=True)]
    assert stretches_of(before, 500_000, chunks) == kept
    assert stretches_of(now, 500_000, chunks) == [*kept[:2], Stretch(200_000, 300_000, None), *kept[3:]]
    assert stretches_of(now, 500_000, chunks[:4]) == [
        *kept[:2],
        Stretch(200_000, 300_000, None),
        kept[3],
        Stretch(400_000, 500_000, None),
    ]


def test_the_end_of_a_file_that_grew_or_shrank_is_cut_anew_with_the_chunk_that_ended_there() -> None:
    before = data(1, 250_000)
    chunks = chunks_of(before, [100_000, 100_000])
    kept = [Stretch(0, 100_000, chunks[0].id), Stretch(100_000, 200_000, chunks[1].id)]
    assert stretches_of(before + b"more", 250_000, chunks) == [*kept, Stretch(200_000, 250_004, None)]
    assert stretches_of(before[:220_000], 250_000, chunks) == [*kept, Stretch(200_000, 220_000, None)]
    assert stretches_of(before[:200_000], 250_000, chunks) == kept


def test_zeros_beyond_the_end_of_a_file_are_not_taken_for_its_own() -> None:
    chunks = chunks_of(bytes(300_000), [100_000, 100_000])
    found = stretches_of(bytes(150_000), 300_000, chunks)
    assert found == [Stretch(0, 100_000, chunks[0].id), Stretch(100_000, 150_000, None)]


def test_a_short_chunk_is_cut_anew_with_the_neighbour_that_changed() -> None:
    before = data(1, 300_000)
    chunks = chunks_of(before, [100_000, 10, 100_000])
    now = b"!" + before[1:]
    assert stretches_of(now, 300_000, chunks)[0] == Stretch(0, 100_010, None)
    assert [known is not None for _, _, known in stretches_of(before, 300_000, chunks)] == [True] * 4


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[RepositoryBench]:
    bench = RepositoryBench(tmp_path)
    yield bench
    bench.check_all()
    bench.close()


def changed_bytes(bench: RepositoryBench) -> int:
    return bench.store.warm(WORKLOAD, [bench.source(0, "data")], QuietJob()).changed_bytes


def test_of_a_large_file_in_place_only_the_pages_that_were_written_are_stored(bench: RepositoryBench) -> None:
    content = data(1, 8 * MIB)
    bench.take({"rows.db": content})
    with open(bench.live("data") / "rows.db", "r+b") as file:
        os.pwrite(file.fileno(), b"a page" * 1000, 3 * MIB)
        os.pwrite(file.fileno(), b"another" * 1000, 6 * MIB)
    bench.take()
    with open(bench.live("data") / "rows.db", "r+b") as file:
        os.pwrite(file.fileno(), b"x", 4 * MIB)
    assert changed_bytes(bench) <= MIB, "one chunk; the rest is known by its hash"
    (bench.live("data") / "rows.db").write_bytes(b"at its front" + content)
    bench.take()
    bench.take({"rows.db": content[: 5 * MIB]})


def test_what_of_a_large_file_was_lost_in_the_store_is_stored_again(bench: RepositoryBench) -> None:
    bench.take({"rows.db": data(1, 8 * MIB)})
    for pack in (bench.store_root / "packs").iterdir():
        bench.damage(pack, 3 * MIB)
    first = bench.store.manifests()
    assert [bench.store.verify(manifest.id, QuietJob()) != [] for manifest in first] == [True]
    with open(bench.live("data") / "rows.db", "r+b") as file:
        os.pwrite(file.fileno(), b"x", 5 * MIB)
    bench.take()


def test_a_file_of_very_many_chunks_is_known_as_far_as_its_lists_can_be_read(bench: RepositoryBench) -> None:
    pieces = [b"%d" % number for number in range(IDS_PER_LIST + 10)]
    repository = bench.repository
    with repository.lock.shared(QuietJob()), repository.writer() as writer:
        ids = FileIds(writer)
        for piece in pieces:
            ids.add(writer.put(piece))
        size = sum(map(len, pieces))
        entry = ids.named_in(TreeEntry(b"large", 0, 0o644, 0, 0, 0, inode=1, size=size))
        builder = TreeBuilder(writer.put, writer.wait)
        builder.add(entry)
        index = builder.finish()
        writer.finish()
    assert entry.listed
    with repository.reader() as reader:
        earlier = EarlierFiles(Tree(index, reader.read_many), 0, repository.index, reader, whole=True)
        assert earlier.find(b"large", os.stat(bench.store_root)) is None
        assert earlier.content_of(b"small") is None
        content = earlier.content_of(b"large")
        assert content is not None
        found = [chunk for block in content.chunks for chunk in block]
    assert content.size == size
    assert [chunk.length for chunk in found] == [len(piece) for piece in pieces]
    assert all(chunk.usable for chunk in found)
