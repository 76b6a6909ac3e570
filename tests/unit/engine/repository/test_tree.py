"""Trees: what is built is read, in order, from any place on; what does not fit together is damage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.domain.errors import Damaged, TooLarge
from holdfast.engine.repository.tree import Tree, TreeBuilder, TreeEntry, TreePart, decode_entries, sort_key

NAMES = st.binary(min_size=1, max_size=6).filter(lambda name: b"/" not in name and b"\0" not in name)
PATHS = st.sets(st.lists(NAMES, min_size=1, max_size=4).map(b"/".join), max_size=60)


class Chunks:
    """Keeps chunks by a number, as if it were their id."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.stored = 0

    def put(self, data: bytes) -> bytes:
        for chunk_id, known in self.kept.items():
            if known == data:
                return chunk_id
        chunk_id = len(self.kept).to_bytes(32, "big")
        self.kept[chunk_id] = data
        self.stored += 1
        return chunk_id

    def read(self, ids: Iterable[bytes]) -> Iterator[bytes]:
        for chunk_id in ids:
            yield self.kept[chunk_id]


def entry(
    path: bytes, *, mtime_ns: int = 0, content: bytes = b"", xattrs: tuple[tuple[bytes, bytes], ...] = ()
) -> TreeEntry:
    return TreeEntry(path, 0, 0o644, 0, 0, mtime_ns, content=content, xattrs=xattrs)


def build(chunks: Chunks, entries: Iterable[TreeEntry]) -> tuple[bytes, ...]:
    builder = TreeBuilder(chunks.put, lambda chunk_id: chunk_id)
    for item in entries:
        builder.add(item)
    return builder.finish()


def many(count: int) -> list[TreeEntry]:
    return [entry(b"d%03d/f%03d" % divmod(number, 1000)) for number in range(count)]


@given(PATHS)
def test_a_tree_is_read_as_it_was_built(paths: set[bytes]) -> None:
    entries = [entry(path, mtime_ns=len(path)) for path in sorted(paths, key=sort_key)]
    chunks = Chunks()
    tree = Tree(build(chunks, entries), chunks.read)
    assert list(tree.entries()) == entries
    assert tree.entries_total == len(entries)


@given(PATHS, st.lists(NAMES, max_size=3).map(b"/".join))
def test_reading_from_a_path_on_gives_what_comes_at_or_after_it(paths: set[bytes], start: bytes) -> None:
    entries = [entry(path) for path in sorted(paths, key=sort_key)]
    chunks = Chunks()
    tree = Tree(build(chunks, entries), chunks.read)
    assert list(tree.entries(start)) == [item for item in entries if sort_key(item.path) >= sort_key(start)]


def test_reading_from_the_middle_of_a_large_tree_reads_little() -> None:
    chunks = Chunks()
    tree = Tree(build(chunks, many(40_000)), chunks.read)
    read: list[bytes] = []

    def noted(ids: Iterable[bytes]) -> Iterator[bytes]:
        for chunk_id in ids:
            read.append(chunk_id)
            yield chunks.kept[chunk_id]

    tree._read = noted
    assert next(tree.entries(b"d020/f500")).path == b"d020/f500"
    assert len(read) <= 2 < len(tree.parts)


def test_what_did_not_change_is_not_stored_again() -> None:
    chunks = Chunks()
    build(chunks, many(40_000))
    before = chunks.stored
    changed = many(40_000)
    changed[20_000] = entry(changed[20_000].path, mtime_ns=1)
    changed.insert(30_000, entry(changed[29_999].path + b"x"))
    build(chunks, changed)
    assert chunks.stored - before <= 4  # a part for each change, at most one that a boundary moved in, and the index


def test_a_tree_without_entries_is_empty() -> None:
    chunks = Chunks()
    assert list(Tree(build(chunks, []), chunks.read).entries()) == []


def test_attributes_too_large_to_be_stored_are_refused_by_name() -> None:
    huge = entry(b"a/file", xattrs=tuple((b"user.%d" % number, bytes(60_000)) for number in range(80)))
    with pytest.raises(TooLarge) as caught:
        build(Chunks(), [entry(b"a"), huge])
    assert (caught.value.code, caught.value.details["path"]) == ("tree_entry_too_large", "a/file")


def malformed() -> dict[str, bytes]:
    good = msgspec.to_builtins(entry(b"a"))
    return {
        "nothing": b"",
        "no list": msgspec.msgpack.encode({}),
        "a short entry": msgspec.msgpack.encode([good[:3]]),
        "a kind that is none": msgspec.msgpack.encode([[b"a", 4, *good[2:]]]),
        "a negative size": msgspec.msgpack.encode([[*good[:8], -1, *good[9:]]]),
        "an owner beyond 32 bits": msgspec.msgpack.encode([[*good[:3], 2**32, *good[4:]]]),
        "half an id": msgspec.msgpack.encode([[*good[:10], b"x" * 33, *good[11:]]]),
        "content of a directory": msgspec.msgpack.encode([[b"a", 1, *good[2:10], b"x" * 32, *good[11:]]]),
        "bytes after its end": msgspec.msgpack.encode([good]) + b"\0",
        "very deep": b"\x91" * 100_000,
    }


@pytest.mark.parametrize("what", malformed())
def test_a_part_that_is_malformed_is_damage(what: str) -> None:
    with pytest.raises(Damaged) as caught:
        decode_entries(malformed()[what])
    assert caught.value.code == "tree_malformed"


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([TreePart(b"b", bytes(32), 1), TreePart(b"a", bytes(32), 1)], id="out of order"),
        pytest.param([TreePart(b"a", bytes(31), 1)], id="a short id"),
        pytest.param([TreePart(b"a", bytes(32), 2)], id="another count"),
        pytest.param([TreePart(b"b", bytes(32), 1)], id="another first path"),
    ],
)
def test_an_index_that_does_not_fit_its_parts_is_damage(parts: list[TreePart]) -> None:
    chunks = Chunks()
    chunks.put(msgspec.msgpack.encode([entry(b"a")]))
    index = chunks.put(msgspec.msgpack.encode(parts))
    with pytest.raises(Damaged) as caught:
        list(Tree((index,), chunks.read).entries())
    assert caught.value.code == "tree_malformed"


def test_entries_out_of_order_are_damage() -> None:
    chunks = Chunks()
    tree = Tree(build(chunks, [entry(b"b"), entry(b"a")]), chunks.read)
    with pytest.raises(Damaged) as caught:
        list(tree.entries())
    assert caught.value.code == "tree_malformed"
