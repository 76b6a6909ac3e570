"""Looking into trees: folders, files, what differs; exact, and without reading what is not asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.engine.repository.test_tree import Chunks, build, entry

from holdfast.domain.errors import NotFound
from holdfast.engine.entries import EntryKind
from holdfast.engine.repository.browse import below, compare, find, list_folder
from holdfast.engine.repository.tree import Tree, TreeEntry, sort_key


def directory(path: bytes) -> TreeEntry:
    return TreeEntry(path, 1, 0o755, 0, 0, 0)


def tree_of(chunks: Chunks, entries: Iterable[TreeEntry]) -> Tree:
    return Tree(build(chunks, sorted(entries, key=lambda item: sort_key(item.path))), chunks.read)


names = st.sampled_from([b"a", b"b", b"a.b", b"a-b", b"\xff", b"B", b"a\x01", b"z"])
paths = st.sets(st.lists(names, min_size=1, max_size=4).map(tuple), max_size=30)


def complete(leaves: set[tuple[bytes, ...]]) -> list[TreeEntry]:
    """Files at the leaves, and every folder above them; a leaf above another leaf is a folder."""
    folders = {leaf[:depth] for leaf in leaves for depth in range(len(leaf))}
    files = leaves - folders
    return [directory(b"/".join(f)) for f in folders] + [entry(b"/".join(f)) for f in files]


@given(paths, st.integers(1, 4), st.booleans())
def test_paging_through_every_folder_finds_everything_once(
    leaves: set[tuple[bytes, ...]], limit: int, implied: bool
) -> None:
    entries = complete(leaves)
    stored = [item for item in entries if not (implied and item.kind == 1)] if leaves else entries
    tree = tree_of(Chunks(), stored)
    found: list[tuple[bytes, EntryKind]] = []

    def visit(folder: bytes) -> None:
        after = b""
        while True:
            page = list_folder(tree, folder, after=after, limit=limit)
            assert len(page.entries) <= limit
            for item in page.entries:
                found.append((item.path, item.kind))
                if item.kind is EntryKind.DIRECTORY:
                    visit(item.path)
            if not page.more:
                return
            after = page.entries[-1].path.rpartition(b"/")[2]

    visit(b"")
    expected = sorted((item.path, item.entry().kind) for item in entries if item.path)
    assert sorted(found) == expected
    assert len(set(found)) == len(found)


@given(paths)
def test_a_folder_and_what_is_below_it_is_exactly_that(leaves: set[tuple[bytes, ...]]) -> None:
    entries = complete(leaves)
    tree = tree_of(Chunks(), entries)
    for item in entries:
        if item.kind == 1:
            got = [each.path for each in below(tree, item.path)]
            inside = [
                each.path
                for each in entries
                if not item.path or each.path == item.path or each.path.startswith(item.path + b"/")
            ]
            assert got == sorted(inside, key=sort_key)
        else:
            assert find(tree, item.path) == item


def test_a_large_folder_beside_what_is_asked_for_is_not_read() -> None:
    chunks = Chunks()
    inside = [directory(b"large"), *(entry(b"large/%06d" % number) for number in range(50_000))]
    tree = tree_of(chunks, [directory(b""), directory(b"a"), *inside, directory(b"z"), entry(b"z/file")])
    read: list[bytes] = []

    def noted(ids: Iterable[bytes]) -> Iterator[bytes]:
        for chunk_id in ids:
            read.append(chunk_id)
            yield chunks.kept[chunk_id]

    tree._read = noted
    assert [item.path for item in list_folder(tree, b"", limit=10).entries] == [b"a", b"large", b"z"]
    assert len(read) <= 3 < len(tree.parts)


@pytest.mark.parametrize("path", [b"missing", b"a/missing", b"fil", b"file/x", b"a/b/c"])
def test_what_is_not_there_is_not_found(path: bytes) -> None:
    tree = tree_of(Chunks(), [directory(b""), directory(b"a"), entry(b"a/b"), entry(b"file")])
    for ask in (
        lambda: list_folder(tree, path, limit=5),
        lambda: find(tree, path),
        lambda: list(below(tree, path)),
    ):
        with pytest.raises(NotFound) as caught:
            ask()
        assert caught.value.code == "file_unknown"


def test_a_further_name_of_a_file_is_that_file() -> None:
    file = entry(b"a", content=bytes(32))
    link = TreeEntry(b"b", 3, 0o644, 0, 0, 0, link=b"a")
    assert find(tree_of(Chunks(), [file, link]), b"b") == file


@given(paths, paths, st.sets(st.integers(0, 29)))
def test_what_differs_is_what_was_added_changed_and_removed(
    before: set[tuple[bytes, ...]], after: set[tuple[bytes, ...]], touched: set[int]
) -> None:
    old = {b"/".join(path): entry(b"/".join(path), mtime_ns=1) for path in before}
    new = {
        b"/".join(path): entry(b"/".join(path), mtime_ns=2 if number in touched else 1)
        for number, path in enumerate(sorted(after))
    }
    chunks = Chunks()
    found = compare(tree_of(chunks, old.values()), tree_of(chunks, new.values()), lambda: None)
    assert found.added.count == len(new.keys() - old.keys())
    assert found.removed.count == len(old.keys() - new.keys())
    assert found.changed.count == sum(1 for path in old.keys() & new.keys() if old[path] != new[path])


def test_comparing_reads_only_what_two_trees_don_t_share() -> None:
    chunks = Chunks()
    many = [entry(b"%06d" % number) for number in range(40_000)]
    old = tree_of(chunks, many)
    many[20_000] = entry(b"020000", mtime_ns=5)
    new = tree_of(chunks, many)
    read: list[bytes] = []

    def noted(ids: Iterable[bytes]) -> Iterator[bytes]:
        for chunk_id in ids:
            read.append(chunk_id)
            yield chunks.kept[chunk_id]

    old._read = new._read = noted
    found = compare(old, new, lambda: None)
    assert found.changed.first == (("020000", 0, "MDIwMDAw"),)
    assert len(read) == 2
