"""Fuzz targets of the repository: packs, trees and the index."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import zstandard
from blake3 import blake3

from holdfast.domain.errors import Damaged, HoldfastError, InvalidInput
from holdfast.engine.entries import EntryKind
from holdfast.engine.entry_checks import check_entry
from holdfast.engine.fs import Fs
from holdfast.engine.repository.index import Index
from holdfast.engine.repository.pack import (
    HEADER_BYTES,
    MAX_CHUNK_BYTES,
    MAX_FRAME_BYTES,
    FrameInfo,
    GetRange,
    PackBuilder,
    check_frame,
    decode_frame,
    encode_frame,
    read_trailer,
    scan_frames,
)
from holdfast.engine.repository.seal import PlainSealer, RepositoryKeys
from holdfast.engine.repository.tree import Tree, TreeEntry, TreePart, decode_entries, sort_key, split_list

_KEYS: Final = RepositoryKeys.derive(bytes(range(32)))
_SEALER: Final = PlainSealer()
_FOOTER: Final = 44
_ROUND: Final = msgspec.msgpack.Encoder()


# --- packs -------------------------------------------------------------------------------------------------------


def read_pack(data: bytes) -> bool:
    """The first byte says whether the pack gets its right name, so that what its trailer says is looked at."""
    pack = _rightly_named(data[1:]) if data[:1] >= b"\x40" else data[1:]
    asked = 0

    def get_range(offset: int, length: int) -> bytes:
        nonlocal asked
        assert 0 <= offset <= len(pack)
        asked += length
        return pack[offset : offset + length]

    for frame, chunks in _scanned(get_range, len(pack)):
        assert HEADER_BYTES <= frame.offset < frame.offset + frame.length <= len(pack)
        assert tuple((chunk_id, len(chunk)) for chunk_id, chunk in chunks) == frame.chunks
        assert sum(len(chunk) for _, chunk in chunks) <= MAX_FRAME_BYTES
    assert asked <= 2 * len(pack) + 64
    try:
        trailer = read_trailer(get_range, len(pack), pack[-40:-8].hex(), _KEYS.pack_name, _SEALER)
    except Damaged:
        return False
    end = HEADER_BYTES
    for frame in trailer.frames:
        assert frame.offset == end
        end += frame.length
        assert end < len(pack)
        assert all(0 < length <= MAX_CHUNK_BYTES for _, length in frame.chunks)
        stored = pack[frame.offset : end]
        with suppress(Damaged):
            check_frame(stored, frame)
            given = decode_frame(stored, frame.offset, trailer.salt, _SEALER)
            assert sum(len(chunk) for _, chunk in given) <= MAX_FRAME_BYTES
    return True


def _scanned(get_range: GetRange, size: int) -> Iterator[tuple[FrameInfo, list[tuple[bytes, memoryview]]]]:
    with suppress(Damaged):
        yield from scan_frames(get_range, size, _SEALER)


def _rightly_named(pack: bytes) -> bytes:
    if len(pack) < HEADER_BYTES + _FOOTER:
        return pack
    length = int.from_bytes(pack[-_FOOTER : -_FOOTER + 4], "little")
    start = len(pack) - _FOOTER - length
    if start < HEADER_BYTES:
        return pack
    name = blake3(pack[:HEADER_BYTES], key=_KEYS.pack_name).update(pack[start:-_FOOTER]).digest()
    return pack[:-40] + name + pack[-8:]


def pack_seeds() -> Iterable[bytes]:
    """Packs of one frame and of several, and what is left of one."""
    compressor = zstandard.ZstdCompressor(level=1)
    for groups in ([[b"one"]], [[b"one", b"two" * 100], [bytes(5000)]], [[b"%d" % n for n in range(20)]] * 3):
        builder = PackBuilder(_KEYS.pack_name, _SEALER)
        for chunks in groups:
            known = [(blake3(chunk, key=_KEYS.chunk_id).digest(), chunk) for chunk in chunks]
            builder.add_frame(encode_frame(known, compressor))
        content = b"".join(bytes(buffer) for buffer in builder.finish().buffers)
        yield b"\0" + content
        yield b"\x40" + content
        yield b"\0" + content[:-60]


# --- trees -------------------------------------------------------------------------------------------------------


def read_tree(data: bytes) -> bool:
    """A tree chunk, an index of one, or a list of chunks: typed, in order, and bounded by what was given."""
    kind, chunk = data[:1], data[1:]
    try:
        if kind < b"\x40":
            ids = split_list(chunk)
            assert b"".join(ids) == chunk
            assert all(len(each) == 32 for each in ids)
            return True
        if kind < b"\x80":
            parts = Tree([b""], lambda _: iter([chunk])).parts
            assert all(len(part.id) == 32 for part in parts)
            return bool(parts)
        entries = decode_entries(chunk)
    except Damaged as error:
        assert error.code == "tree_malformed"
        return False
    assert decode_entries(_ROUND.encode(entries)) == entries
    _check_entries(entries, chunk)
    return True


def _check_entries(entries: list[TreeEntry], chunk: bytes) -> None:
    for entry in entries:
        assert b"".join(entry.ids) == entry.content
        assert entry.weight <= len(chunk) * 64
        with suppress(InvalidInput):
            check_entry(entry.entry())
            components = entry.path.split(b"/") if entry.path else []
            assert not {b"", b".", b".."} & set(components)
            assert entry.data_bytes <= entry.size
    if not entries:
        return
    part = TreePart(entries[0].path, bytes(32), min(len(entries), 8192))
    chunks = {b"index": msgspec.msgpack.encode([part]), bytes(32): chunk}
    read = Tree([b"index"], lambda ids: (chunks[bytes(each)] for each in ids))
    with suppress(Damaged):
        keys = [sort_key(entry.path) for entry in read.entries()]
        assert keys == sorted(set(keys))


def tree_seeds() -> Iterable[bytes]:
    """One of every kind of entry, an index and a list."""
    entries = [
        TreeEntry(b"", 1, 0o755, 0, 0, 0),
        TreeEntry(b"a", 0, 0o644, 1, 2, 3, 4, 5, 6, b"", bytes(32)),
        TreeEntry(b"b", 2, 0o777, 0, 0, 0, link=b"../../etc"),
        TreeEntry(b"c", 3, 0o644, 0, 0, 0, link=b"a"),
        TreeEntry(b"d", 0, 0o644, 0, 0, 0, size=9999, content=bytes(64), listed=True, extents=((0, 10), (100, 10))),
        TreeEntry(b"e", 0, 0o4755, 0, 0, -1, xattrs=((b"user.a", b"b"),)),
    ]
    assert {entry.kind for entry in entries} == set(range(len(EntryKind)))
    yield b"\x80" + _ROUND.encode(entries)
    yield b"\x80" + _ROUND.encode([entries[0]])
    yield b"\x40" + _ROUND.encode([TreePart(b"", bytes(32), 3), TreePart(b"m", b"x" * 32, 8192)])
    yield b"\0" + bytes(64)
    yield b"\x80" + b"\x91" * 3000
    yield b"\x80\xdd\xff\xff\xff\xff"
    yield b"\x80\x91\xdd\xff\xff\xff\xff"


# --- the index ---------------------------------------------------------------------------------------------------

_ONE: Final = (b"\1" * 32, b"\2" * 32)


def read_index(data: bytes) -> bool:
    """A database that somebody changed is made anew or answers; what it says is at most wrong, never another error."""
    place = Path(tempfile.mkdtemp(prefix="holdfast-fuzz-"))
    try:
        (place / "cache").mkdir()
        (place / "cache" / "index.sqlite").write_bytes(data)
        try:
            with Index(Fs(), place / "cache" / "index.sqlite", "r1", patience=0.1) as index:
                index.locate(_ONE)
                index.missing(_ONE)
                packs = index.packs()
                for _ in index.rows():
                    pass
        except HoldfastError as error:
            assert error.code in ("repository_index_unusable", "repository_index_busy", "no_space"), error
            return False
        assert sorted(each.name for each in place.iterdir()) == ["cache"]
        return bool(packs)
    finally:
        shutil.rmtree(place)


def index_seeds() -> Iterable[bytes]:
    """An index of one pack."""
    compressor = zstandard.ZstdCompressor(level=1)
    builder = PackBuilder(_KEYS.pack_name, _SEALER)
    builder.add_frame(encode_frame([(each, b"data") for each in _ONE], compressor))
    pack = builder.finish()
    place = Path(tempfile.mkdtemp(prefix="holdfast-fuzz-"))
    try:
        path = place / "cache" / "index.sqlite"
        with Index(Fs(), path, "r1") as index:
            index.add_pack(pack.name, pack.size, pack.frames)
            index.flush()
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
        yield path.read_bytes()
        yield path.read_bytes()[: os.path.getsize(path) // 2]
        yield b"SQLite format 3\0" + bytes(100)
    finally:
        shutil.rmtree(place)
