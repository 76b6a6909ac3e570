"""The law that capture and staging stand on: what the writer writes is what the walker reads."""

import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from holdfast.engine.entries import Entry, EntryKind
from holdfast.engine.fs import Fs
from holdfast.engine.limits import Limits
from holdfast.engine.tree_writer import TreeWriter, WritePolicy
from holdfast.engine.walk import WalkReport, walk

BLOCK = 4096
Tree = list[tuple[Entry, bytes]]

names = st.binary(min_size=1, max_size=12).filter(lambda n: b"/" not in n and b"\0" not in n and n not in (b".", b".."))
facts = st.fixed_dictionaries(
    {
        "mode": st.integers(0, 0o7777),
        "uid": st.integers(0, 2**32 - 2),
        "gid": st.integers(0, 2**32 - 2),
        # What ext4, XFS and btrfs all keep: 1901 to 2446.
        "mtime_ns": st.integers((1 - 2**31) * 10**9, 15_000_000_000 * 10**9),
    }
)
xattrs = st.dictionaries(
    st.sampled_from([b"user.a", b"user.b\xff", b"trusted.c"]), st.binary(max_size=40), max_size=3
).map(lambda found: tuple(sorted(found.items())))
dense = st.binary(max_size=3 * BLOCK).map(lambda data: (data, len(data), None))


@st.composite
def sparse(draw: st.DrawFn) -> tuple[bytes, int, tuple[tuple[int, int], ...] | None]:
    """Data, size and regions of a file of a few blocks, some of them holes."""
    blocks = draw(st.lists(st.booleans(), min_size=1, max_size=8))
    size = len(blocks) * BLOCK - draw(st.integers(0, BLOCK - 1))
    regions: list[tuple[int, int]] = []
    for number, is_data in enumerate(blocks):
        start, end = number * BLOCK, min((number + 1) * BLOCK, size)
        if is_data and regions and sum(regions[-1]) == start:
            regions[-1] = (regions[-1][0], end - regions[-1][0])
        elif is_data:
            regions.append((start, end - start))
    data = b"d" * sum(length for _, length in regions)
    return data, size, None if all(blocks) else tuple(regions)


link_texts = st.binary(min_size=1, max_size=60).filter(lambda text: b"\0" not in text)
nodes = st.recursive(
    st.tuples(st.just(EntryKind.FILE), facts, xattrs, dense | sparse())
    | st.tuples(st.just(EntryKind.SYMLINK), facts, st.just(()), link_texts)
    | st.tuples(st.just(EntryKind.HARDLINK), facts, st.just(()), st.integers(0, 100)),
    lambda below: st.tuples(st.just(EntryKind.DIRECTORY), facts, xattrs, st.dictionaries(names, below, max_size=5)),
    max_leaves=12,
)
trees = st.tuples(facts, xattrs, st.dictionaries(names, nodes, max_size=5))


def lay_out(root: tuple[Any, ...]) -> Tree:
    """The tree's entries in the walker's order; a hardlink becomes a further name of one of the files before it."""
    found: Tree = []
    files: list[Entry] = []

    def visit(path: bytes, kind: EntryKind, facts: dict[str, Any], xattrs: tuple[Any, ...], content: Any) -> None:
        entry = Entry(path=path, kind=kind, xattrs=xattrs, **facts)
        if kind is EntryKind.FILE:
            data, size, extents = content
            files.append(replace(entry, size=size, extents=extents))
            found.append((files[-1], data))
        elif kind is EntryKind.SYMLINK:
            # Linux gives symlinks no mode of their own.
            found.append((replace(entry, link_target=content, mode=0o777), b""))
        elif kind is EntryKind.DIRECTORY:
            found.append((entry, b""))
            for name, node in sorted(content.items()):
                visit(path + b"/" + name if path else name, *node)
        elif files:
            first = files[content % len(files)]
            link = replace(first, path=path, kind=kind, link_target=first.path)
            found.append((replace(link, size=0, extents=None, xattrs=()), b""))

    visit(b"", EntryKind.DIRECTORY, *root)
    return found


@given(trees)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_written_is_what_is_read(tree: tuple[Any, ...]) -> None:
    expected = lay_out(tree)
    fs, report = Fs(), WalkReport()
    with tempfile.TemporaryDirectory() as path:
        root = Path(path) / "staged"
        root.mkdir(mode=0o700)
        fd = os.open(root, os.O_RDONLY)
        try:
            writer = TreeWriter(fs, fd, WritePolicy(links=True, privileged=True, limits=Limits()))
            for entry, data in expected:
                writer.add(entry, [data])
            writer.finish()
            found: Tree = []
            for walked in walk(fs, fd, report):
                data = b""
                if walked.entry.kind is EntryKind.FILE:
                    with walked.open() as content:
                        data = b"".join(content)
                found.append((walked.entry, data))
        finally:
            os.close(fd)
    assert found == expected
    assert report == WalkReport()
