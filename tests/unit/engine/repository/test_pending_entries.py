"""What waits for its ids is bounded in number and in bytes, and comes out in its order."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from holdfast.engine.fs import Fs
from holdfast.engine.job import QuietJob
from holdfast.engine.remove_tree import remove_tree
from holdfast.engine.repository.chunk_writer import ChunkWriter
from holdfast.engine.repository.chunking import Chunker
from holdfast.engine.repository.file_ids import FileIds
from holdfast.engine.repository.pending_entries import PendingEntries
from holdfast.engine.repository.stretches import Stretches
from holdfast.engine.repository.tree import TreeEntry
from holdfast.engine.repository.tree_capture import Meter, TreeCapture


class Ticket:
    def __init__(self, writer: SlowWriter) -> None:
        self._writer = writer

    @property
    def ready(self) -> bool:
        return self._writer.ready


class SlowWriter:
    """A writer whose chunks have their ids only once somebody waits for them, as with a slow disk."""

    def __init__(self) -> None:
        self.ready = False

    def put(self, data: bytes) -> Ticket:
        del data
        return Ticket(self)

    put_tree = put

    def wait(self, ticket: Ticket) -> bytes:
        del ticket
        return b"i" * 32


def entry(number: int, *, path: bytes = b"", xattr: bytes = b"") -> TreeEntry:
    xattrs = ((b"user.x", xattr),) if xattr else ()
    return TreeEntry(path or b"%06d" % number, 0, 0o644, 0, 0, number, xattrs=xattrs)


def waiting_for(writer: SlowWriter) -> FileIds:
    ids = FileIds(cast("ChunkWriter", writer))
    ids.add(cast("ChunkWriter", writer).put(b"x"))
    return ids


@pytest.mark.parametrize(
    ("path", "xattr", "at_most"),
    [(b"", b"", 4096), (b"p" * 1_000_000, b"", 8), (b"", b"x" * 60_000, 139)],
)
def test_only_so_many_wait_and_only_so_many_bytes(path: bytes, xattr: bytes, at_most: int) -> None:
    writer, given = SlowWriter(), list[int]()
    pending: PendingEntries[int] = PendingEntries(lambda key, _: given.append(key))
    for number in range(at_most + 100):
        pending.add(number, entry(number, path=path, xattr=xattr), waiting_for(writer))
        assert len(pending.waiting) <= at_most
    assert given == list(range(100))
    pending.settle_all()
    assert given == list(range(at_most + 100))


def test_one_that_alone_is_beyond_the_bound_waits_for_its_own_ids() -> None:
    given: list[int] = []
    pending: PendingEntries[int] = PendingEntries(lambda key, _: given.append(key))
    pending.add(0, entry(0, path=b"p" * (9 << 20)), waiting_for(SlowWriter()))
    assert given == [0]


def test_what_needs_no_ids_keeps_its_place_behind_what_does() -> None:
    writer, given = SlowWriter(), list[int]()
    pending: PendingEntries[int] = PendingEntries(lambda key, _: given.append(key))
    pending.add(0, entry(0), waiting_for(writer))
    pending.add(1, entry(1), None)
    assert given == []
    writer.ready = True
    pending.add(2, entry(2), None)
    assert given == [0, 1, 2]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory that is removed again however deep it becomes: by path nobody could."""
    place = tmp_path / "place"
    place.mkdir()
    yield place
    at = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    remove_tree(Fs(), at, b"place", QuietJob())
    os.close(at)


def test_many_files_at_very_long_paths_are_captured_in_bounded_memory(place: Path) -> None:
    files, fs = 400, Fs()
    root = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    here = os.dup(root)
    for _ in range(600):
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    for number in range(files):
        os.close(os.open(f"{number:04}", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=here))
        with os.fdopen(os.open(f"{number:04}", os.O_WRONLY, dir_fd=here), "wb") as file:
            file.write(b"%d" % number)
    os.close(here)
    writer = cast("ChunkWriter", SlowWriter())
    capture = TreeCapture(fs, writer, Chunker(), Meter(QuietJob()), None, cast("Stretches", None))
    tracemalloc.start()
    try:
        capture.run(root)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        os.close(root)
    assert capture.census.files == files
    assert peak < 32 << 20, f"{peak >> 20} MiB for paths of {files * 600 * 251 >> 20} MiB"
