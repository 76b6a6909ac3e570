"""What the writer writes, the reader reads; and so do other programs."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.domain.errors import Damaged, HoldfastError, TooLarge
from holdfast.engine.archive import pax
from holdfast.engine.archive.names import NameRegister
from holdfast.engine.archive.reader import ArchiveReader
from holdfast.engine.archive.source import TarStream
from holdfast.engine.archive.tar_headers import decode
from holdfast.engine.archive.writer import ArchiveWriter
from holdfast.engine.archive.zstd_frame import FrameWalk
from holdfast.engine.entries import Entry, EntryKind
from holdfast.engine.limits import Limits, Tally
from holdfast.testing.raw_tar import header, zstandard_frame

TEXT = st.binary(min_size=1, max_size=300).map(lambda text: text.replace(b"\0", b"~"))
NAMES = TEXT.map(lambda text: text.replace(b"/", b"~")).filter(lambda name: name not in (b".", b".."))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(b"/".join)
XATTRS = st.dictionaries(TEXT.map(lambda text: b"user." + text[:200]), st.binary(max_size=300), max_size=3)


@st.composite
def files(draw: st.DrawFn) -> tuple[Entry, bytes]:
    """A FILE entry with its data, sparse or not."""
    data = draw(st.binary(max_size=2000))
    extents: tuple[tuple[int, int], ...] | None = None
    size = len(data)
    if draw(st.booleans()):
        gaps = draw(st.lists(st.integers(0, 2**36), min_size=1, max_size=4))
        cuts = sorted(draw(st.lists(st.integers(0, len(data)), min_size=len(gaps) - 1, max_size=len(gaps) - 1)))
        regions, position = [], 0
        for gap, start, end in zip(gaps, [0, *cuts], [*cuts, len(data)], strict=True):
            position += gap
            if end > start:
                regions.append((position, end - start))
            position += end - start
        extents, size = tuple(regions), position + draw(st.integers(0, 2**30))
    return draw(entries(EntryKind.FILE, size=size, extents=extents)), data


@st.composite
def entries(
    draw: st.DrawFn, kind: EntryKind, *, size: int = 0, extents: tuple[tuple[int, int], ...] | None = None
) -> Entry:
    link = b""
    if kind is EntryKind.SYMLINK:
        link = draw(TEXT)
    elif kind is EntryKind.HARDLINK:
        link = draw(PATHS)
    return Entry(
        path=draw(PATHS),
        kind=kind,
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(st.integers(0, 2**32 - 2)),
        gid=draw(st.integers(0, 2**32 - 2)),
        mtime_ns=draw(st.integers(-(2**61), 2**61)),
        size=size,
        link_target=link,
        xattrs=() if kind is EntryKind.HARDLINK else tuple(sorted(draw(XATTRS).items())),
        extents=extents,
    )


OTHERS = st.one_of(
    *(entries(kind) for kind in EntryKind if kind is not EntryKind.FILE),
).map(lambda entry: (entry, b""))


class Plain:
    """A source that is not compressed, in pieces of a given size."""

    def __init__(self, data: bytes, piece: int = 1 << 20) -> None:
        self._file, self._piece = io.BytesIO(data), piece
        self.consumed = 0

    def read(self) -> bytes:
        data = self._file.read(self._piece)
        self.consumed += len(data)
        return data


def written(items: list[tuple[int, Entry, bytes]]) -> tuple[ArchiveWriter, bytes]:
    parts: list[bytes] = []
    writer = ArchiveWriter(parts.append, threads=1)
    for index, entry, data in items:
        writer.add(index, entry, [data] if data else [])
    writer.finish(b"[]", 0)
    return writer, zstandard.ZstdDecompressor().decompressobj().decompress(b"".join(parts))


def reader(tar: bytes, piece: int = 1 << 20) -> ArchiveReader:
    return ArchiveReader(TarStream(Plain(tar, piece), lambda _consumed, _produced: None), Tally(Limits()))


@settings(max_examples=150, deadline=None)
@given(
    items=st.lists(st.tuples(st.integers(0, 255), st.one_of(files(), OTHERS)), max_size=6), piece=st.integers(1, 3000)
)
def test_every_entry_is_read_as_it_was_written(items: list[tuple[int, tuple[Entry, bytes]]], piece: int) -> None:
    flat = [(index, entry, data) for index, (entry, data) in items]
    _, tar = written(flat)
    read = reader(tar, piece)
    assert [(m.index, m.entry, b"".join(m.data)) for m in read.members()] == flat
    assert read.manifest == b"[]"
    assert read.manifest_is_last


@settings(max_examples=60, deadline=None)
@given(items=st.lists(st.one_of(files(), OTHERS), max_size=4))
def test_every_entry_is_read_by_python_as_well(items: list[tuple[Entry, bytes]]) -> None:
    _, tar = written([(0, entry, data) for entry, data in items])
    with tarfile.open(fileobj=io.BytesIO(tar), errors="surrogateescape", encoding="utf-8") as opened:
        members = opened.getmembers()
    assert [os.fsencode(info.name) for info in members[:-1]] == [b"0/" + entry.path for entry, _ in items]
    assert [(info.uid, info.gid, info.mode, info.size) for info in members[:-1]] == [
        (entry.uid, entry.gid, entry.mode, entry.size) for entry, _ in items
    ]


def test_a_whole_volume_named_by_its_number_alone_is_its_root() -> None:
    root = Entry(path=b"", kind=EntryKind.DIRECTORY, mode=0o750, uid=1, gid=2, mtime_ns=3)
    _, tar = written([(7, root, b"")])
    assert [(member.index, member.entry) for member in reader(tar).members()] == [(7, root)]


def test_the_digest_covers_exactly_what_precedes_the_manifest() -> None:
    parts: list[bytes] = []
    writer = ArchiveWriter(parts.append, threads=1)
    entry = Entry(path=b"file", kind=EntryKind.FILE, mode=0, uid=0, gid=0, mtime_ns=0, size=3_000_000)
    writer.add(0, entry, (b"x" * 1000 for _ in range(3000)))
    content = writer.content()
    writer.finish(b"[]", 0)
    tar = zstandard.ZstdDecompressor().decompressobj().decompress(b"".join(parts))
    for piece in (700, 1 << 20, 1 << 30):
        read = reader(tar, piece)
        assert len(list(read.members())) == 1
        assert read.manifest_at == content
        assert read.end is not None
        assert read.end.bytes == content.bytes + 1024


def test_data_of_another_length_than_promised_is_never_written_as_if_it_fitted() -> None:
    writer = ArchiveWriter(lambda _data: None, threads=1)
    entry = Entry(path=b"file", kind=EntryKind.FILE, mode=0, uid=0, gid=0, mtime_ns=0, size=10)
    with pytest.raises(ValueError, match="promised"):
        writer.add(0, entry, [b"short"])


def test_data_that_nobody_takes_is_passed_over() -> None:
    entry = Entry(path=b"a", kind=EntryKind.FILE, mode=0, uid=0, gid=0, mtime_ns=0, size=5000)
    _, tar = written([(0, entry, b"x" * 5000), (1, entry, b"y" * 5000)])
    members = reader(tar).members()
    next(members)
    half = next(members)
    assert next(half.data)[:1] == b"y"
    assert list(members) == []


@given(st.integers(-(2**62), 2**62))
def test_times_are_exact(ns: int) -> None:
    assert pax.time_ns(pax.time_text(ns)) == ns


@pytest.mark.parametrize(
    ("text", "ns"),
    [(b"1", 10**9), (b"1.5", 15 * 10**8), (b"-0.000000001", -1), (b"0.0000000019", 1), (b"-0.0000000011", -2)],
)
def test_times_finer_than_a_nanosecond_are_cut_towards_the_past(text: bytes, ns: int) -> None:
    assert pax.time_ns(text) == ns


@given(st.dictionaries(TEXT.filter(lambda key: b"=" not in key), st.binary(max_size=2000), max_size=5))
def test_extended_records_are_read_as_they_were_written(records: dict[bytes, bytes]) -> None:
    listed = [(key, value) for key, value in records.items() if key != b"hdrcharset"]
    block = pax.encode_header(listed)
    assert pax.parse(block[512 : 512 + decode(block[:512]).size]) == listed


@given(TEXT)
def test_names_of_attributes_survive_their_escaping(name: bytes) -> None:
    assert b"=" not in pax.xattr_key(name)
    assert pax.xattr_name(pax.xattr_key(name)) == name


def test_numbers_are_read_in_all_their_forms() -> None:
    for size in (
        b"00000000017\0",
        b"        17 \0",
        b"17\0" + bytes(9),
        b"000000000017",
        b"\x80" + bytes(10) + b"\x0f",
    ):
        assert decode(header(b"x", size=size)).size == 15
    assert decode(header(b"x", size=bytes(12))).size == 0
    assert decode(header(b"x", mtime=b"\xff" * 12)).mtime == -1


@given(st.binary(max_size=400_000), st.lists(st.integers(1, 5000), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_the_end_of_a_frame_is_found_wherever_it_is_cut(data: bytes, sizes: list[int]) -> None:
    frame = zstandard_frame(data)
    walk, position, turn = FrameWalk(), 0, 0
    stream = frame + b"what follows"
    while not walk.complete:
        size = sizes[turn % len(sizes)]
        position += walk.feed(stream[position : position + size])
        turn += 1
    assert position == len(frame)


@pytest.mark.parametrize("options", [{"write_content_size": False}, {"write_checksum": True}, {"threads": 2}])
def test_frames_of_all_shapes_are_walked(options: dict[str, int]) -> None:
    for size in (0, 1, 255, 256, 65_536, 1 << 20):
        compressor = zstandard.ZstdCompressor(level=1, **options).compressobj()  # type: ignore[arg-type]  # a test matrix
        frame = compressor.compress(os.urandom(size)) + compressor.flush()
        walk = FrameWalk()
        assert walk.feed(frame) == len(frame)
        assert walk.complete


def test_reading_past_the_end_is_damage() -> None:
    stream = TarStream(Plain(b"abc"), lambda _consumed, _produced: None)
    assert stream.exactly(2) == b"ab"
    with pytest.raises(Damaged) as caught:
        stream.exactly(2)
    assert caught.value.code == "archive_truncated"


def test_a_register_counts_directories_without_an_entry_once() -> None:
    register = NameRegister()
    register.add(0, b"a/b/c", EntryKind.FILE)
    register.add(0, b"a/b/d", EntryKind.FILE)
    assert (register.implied[0], len(register)) == (2, 5)
    register.add(0, b"a", EntryKind.DIRECTORY)
    assert (register.implied[0], len(register)) == (1, 5)


def hostile_sizes() -> Iterator[bytes]:
    for kind in (b"x", b"g", b"L", b"K"):
        for size in (1 << 23, 1 << 33, 1 << 60):
            yield header(b"x", type=kind, size=(size | 0x80 << 88).to_bytes(12, "big"))


@pytest.mark.parametrize("block", tuple(hostile_sizes()))
def test_nothing_is_read_before_its_size_was_looked_at(block: bytes) -> None:
    with pytest.raises(TooLarge):
        list(reader(block).members())


@given(st.binary(max_size=2048))
@settings(deadline=None)
def test_any_bytes_end_in_an_error_of_ours(data: bytes) -> None:
    with pytest.raises(HoldfastError):
        list(reader(data).members())
