"""The index: what it knows, how it comes to agree with the packs that are there, and what it survives."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.engine.repository.packs import KEYS, PLAIN, chunk_id, pack_of

from holdfast.engine.fs import Fs
from holdfast.engine.repository.index import Index
from holdfast.engine.repository.pack import Pack, decode_frame
from holdfast.engine.repository.posix_blobs import PosixBlobs

ONE, TWO, THREE = b"one" * 100, b"two" * 200, b"three" * 300
ABSENT = chunk_id(b"nowhere")


@pytest.fixture
def blobs(fs: Fs, tmp_path: Path) -> Iterator[PosixBlobs]:
    with PosixBlobs.made_at(fs, tmp_path / "repository") as blobs:
        yield blobs


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "index.sqlite"


@pytest.fixture
def index(fs: Fs, path: Path) -> Iterator[Index]:
    with Index(fs, path, "r1") as index:
        yield index


def stored(blobs: PosixBlobs, pack: Pack) -> Pack:
    blobs.put(f"packs/{pack.name}", pack.buffers)
    return pack


def test_what_was_added_is_found_where_it_lies(blobs: PosixBlobs, index: Index) -> None:
    pack = stored(blobs, pack_of([ONE, TWO], [THREE]))
    assert index.missing([chunk_id(ONE), ABSENT]) == {chunk_id(ONE), ABSENT}
    index.add_pack(pack.name, pack.size, pack.frames)
    for _ in range(2):
        assert index.missing([chunk_id(ONE), chunk_id(TWO), chunk_id(THREE), ABSENT]) == {ABSENT}
        found = index.locate([chunk_id(TWO), ABSENT])
        assert list(found) == [chunk_id(TWO)]
        location = found[chunk_id(TWO)]
        raw = blobs.get_range(f"packs/{location.pack}", location.frame_offset, location.frame_length)
        plain = b"".join(chunk for _, chunk in decode_frame(raw, location.frame_offset, b"", PLAIN))
        assert plain[location.start : location.start + location.length] == TWO
        index.flush()


def test_a_new_index_learns_everything_from_the_packs(blobs: PosixBlobs, index: Index) -> None:
    packs = [stored(blobs, pack_of([ONE])), stored(blobs, pack_of([TWO], [THREE]))]
    assert index.sync(blobs, KEYS, PLAIN, condemned=()) == []
    assert index.packs() == {pack.name: pack.size for pack in packs}
    assert index.missing([chunk_id(ONE), chunk_id(TWO), chunk_id(THREE), ABSENT]) == {ABSENT}
