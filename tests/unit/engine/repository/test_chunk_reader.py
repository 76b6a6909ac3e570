"""Chunks are read back ahead of their turn, but never more of them than memory allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.unit.engine.repository.repository_bench import RepositoryBench, data

from holdfast.engine.job import QuietJob
from holdfast.engine.repository.chunk_reader import ChunkReader
from holdfast.engine.repository.index import Location
from holdfast.engine.repository.tree import Tree
from holdfast.engine.repository.verify import tree_of

FRAMES = 60


class Counting(ChunkReader):
    """Counts the frames that it fetched."""

    fetched = 0

    def _load(self, location: Location) -> Any:
        self.fetched += 1
        return super()._load(location)

    def settle(self) -> None:
        """Wait until everything is fetched that was asked for."""
        self._pool.shutdown(wait=True)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[RepositoryBench]:
    bench = RepositoryBench(tmp_path)
    yield bench
    bench.close()


def stored(bench: RepositoryBench, chunks: Sequence[bytes]) -> list[bytes]:
    with bench.repository.lock.shared(QuietJob()), bench.repository.writer() as writer:
        tickets = [writer.put(chunk) for chunk in chunks]
        writer.finish()
        return [writer.wait(ticket) for ticket in tickets]


def reader(bench: RepositoryBench) -> Counting:
    repository = bench.repository
    return Counting(repository.blobs, repository.index, repository.keys, repository.sealer)


@pytest.mark.parametrize("together", [True, False], ids=["one large file", "many small ones"])
def test_few_frames_are_fetched_ahead_however_much_is_asked_for(bench: RepositoryBench, together: bool) -> None:
    chunks = [data(number, 8) * (1 << 17) for number in range(FRAMES)]
    ids = stored(bench, chunks)
    requests = [("all", ids)] if together else [("one", [chunk_id]) for chunk_id in ids]
    with reader(bench) as reading:
        asked = reading.read_ahead(requests)
        _, found = next(asked)
        assert bytes(next(found)) == chunks[0]
        reading.settle()
        assert 2 <= reading.fetched <= 20
    with reader(bench) as reading:
        everything = [bytes(chunk) for _, found in reading.read_ahead(requests) for chunk in found]
    assert everything == chunks
    assert reading.fetched == FRAMES


def test_what_nobody_took_of_one_request_is_not_given_to_the_next(bench: RepositoryBench) -> None:
    ids = stored(bench, [b"one", b"two", b"three", b"four"])
    with bench.repository.reader() as reading:
        found = [next(chunks) for _, chunks in reading.read_ahead([("a", ids[:3]), ("none", []), ("b", ids[3:])][::2])]
        assert [bytes(chunk) for chunk in found] == [b"one", b"four"]
        assert [tag for tag, _ in reading.read_ahead([("a", ids[:3]), ("none", []), ("b", ids[3:])])] == [
            "a",
            "none",
            "b",
        ]


def test_trees_lie_in_frames_of_their_own(bench: RepositoryBench) -> None:
    """Or going through a tree of a million files would read, and hold, their data as well."""
    snapshot = bench.take({f"{number:04}": b"file %d" % number for number in range(2500)})
    repository = bench.repository
    with repository.reader() as reading:
        trees = tree_of(repository.manifests.read(snapshot), 0).chunks
        tree = Tree(trees, reading.read_many)
        of_trees = {*trees, *(part.id for part in tree.parts)}
        of_files = {chunk_id for entry in tree.entries() for chunk_id in entry.ids}
        frames = [
            {(place.pack, place.frame_offset) for place in repository.index.locate(ids).values()}
            for ids in (of_trees, of_files)
        ]
    assert frames[0]
    assert len(frames[1]) >= 2
    assert not frames[0] & frames[1]
