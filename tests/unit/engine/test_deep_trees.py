"""A container can nest directories without end: none of it keeps its owner from snapshots and restores."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.domain.errors import TooLarge
from holdfast.engine import written_tree
from holdfast.engine.entries import Entry, EntryKind
from holdfast.engine.fs import Fs
from holdfast.engine.job import QuietJob
from holdfast.engine.limits import Limits
from holdfast.engine.remove_tree import remove_tree
from holdfast.engine.special_files import special_files
from holdfast.engine.tree_writer import TreeWriter, WritePolicy
from holdfast.engine.walk import OPEN_LEVELS, WalkReport, walk
from holdfast.testing.descriptors import few_descriptors

OWN = WritePolicy(links=True, privileged=True, limits=Limits.for_own_snapshots())


@pytest.fixture
def place(fs: Fs, tmp_path: Path) -> Iterator[Path]:
    """A directory that is removed again however deep it becomes: by path nobody could."""
    place = tmp_path / "place"
    place.mkdir()
    yield place
    at = fs.open_root(str(tmp_path))
    remove_tree(fs, at, b"place", QuietJob())
    os.close(at)


def nest(directory: Path, depth: int, name: bytes = b"d", sibling: bytes = b"", fifo: bytes = b"") -> None:
    """Directories below each other, with a file, its second name and a symlink in the last; beside each one a file."""
    at = os.open(directory, os.O_RDONLY)
    for _ in range(depth):
        if sibling:
            os.close(os.open(sibling, os.O_CREAT | os.O_WRONLY, dir_fd=at))
        os.mkdir(name, dir_fd=at)
        below = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    file = os.open(b"file", os.O_CREAT | os.O_WRONLY, dir_fd=at)
    os.write(file, b"at the bottom")
    os.close(file)
    os.link(b"file", b"name", src_dir_fd=at, dst_dir_fd=at)
    os.symlink(b"file", b"symlink", dir_fd=at)
    if fifo:
        os.mkfifo(fifo, dir_fd=at)
    os.close(at)


def entries(fs: Fs, root: int) -> list[Entry]:
    report = WalkReport()
    found = [walked.entry for walked in walk(fs, root, report)]
    assert report.warnings("/data") == []
    return found


def copy(fs: Fs, source: int, target: int) -> None:
    writer = TreeWriter(fs, target, OWN)
    for walked in walk(fs, source, WalkReport()):
        if walked.entry.kind is EntryKind.FILE:
            with walked.open() as content:
                writer.add(content.entry, content)
        else:
            writer.add(walked.entry)
    writer.finish()


@pytest.mark.parametrize("sibling", [b"a", b"z"])
def test_a_tree_much_deeper_than_there_are_descriptors_is_read_and_written(
    fs: Fs, place: Path, open_dir: Callable[[Path], int], sibling: bytes
) -> None:
    live, staged = place / "live", place / "staged"
    source, target = open_dir(live), open_dir(staged)
    nest(live, 600, sibling=sibling)
    with few_descriptors(OPEN_LEVELS + written_tree.OPEN_LEVELS + 10):
        copy(fs, source, target)
        found = entries(fs, source)
        assert len(found) == 1 + 600 + 600 + 3
        assert entries(fs, target) == found


def test_entries_in_any_order_find_their_place_however_deep(
    fs: Fs, place: Path, open_dir: Callable[[Path], int]
) -> None:
    live, staged = place / "live", place / "staged"
    source, target = open_dir(live), open_dir(staged)
    nest(live, 60, sibling=b"s")
    found = [entry for entry in entries(fs, source) if entry.kind is EntryKind.DIRECTORY or not entry.data_bytes]
    found = [entry for entry in found if entry.kind is not EntryKind.HARDLINK]
    shuffled = sorted(found, key=lambda entry: entry.path[::-1] + bytes([len(entry.path) % 7]))
    shuffled.sort(key=lambda entry: len(entry.path) * 7919 % 61)
    writer = TreeWriter(fs, target, OWN)
    for entry in shuffled:
        writer.add(entry)
    writer.finish()
    assert entries(fs, target) == found


def test_memory_does_not_grow_with_the_square_of_the_depth(
    fs: Fs, place: Path, open_dir: Callable[[Path], int]
) -> None:
    live, staged = place / "live", place / "staged"
    source, target = open_dir(live), open_dir(staged)
    nest(live, 600, name=b"n" * 255)  # all paths together take 46 MB
    tracemalloc.start()
    try:
        copy(fs, source, target)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


def test_looking_for_special_files_finds_them_however_deep_and_takes_no_memory_for_the_way(
    fs: Fs, place: Path, open_dir: Callable[[Path], int]
) -> None:
    root = open_dir(place / "live")
    nest(place / "live", 600, name=b"n" * 255, fifo=b"queue")
    (place / "live/z").mkdir()
    os.mkfifo(place / "live/z/queue")
    tracemalloc.start()
    try:
        found = special_files(fs, root, lambda _path: False, lambda: None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sorted(each.path for each in found) == [(b"n" * 255 + b"/") * 600 + b"queue", b"z/queue"]
    assert peak < 8 << 20


def test_nothing_outside_is_read_where_the_way_back_was_moved_away_and_what_is_missed_is_named(
    fs: Fs, place: Path, open_dir: Callable[[Path], int]
) -> None:
    live, outside = place / "live", place / "outside"
    root = open_dir(live)
    nest(live, OPEN_LEVELS + 50, sibling=b"z")
    outside.mkdir()
    (outside / "z").write_text("not of this tree")
    report = WalkReport()
    found = []
    for walked in walk(fs, root, report):
        found.append(walked.entry)
        if walked.entry.path.endswith(b"/file"):
            (live / "d/d/d/d").rename(outside / "moved")  # below what the walk still has open
    paths = [entry.path for entry in found]
    assert b"z" in paths, "what the root holds is read to its end"
    assert not [entry for entry in found if entry.size == len("not of this tree")]
    missed = {b"d/" * level + b"z" for level in (1, 2, 3)}
    assert not missed & set(paths)
    assert set(report.vanished.first) == {path.decode() for path in missed}


def test_a_path_that_no_snapshot_can_name_is_refused_and_never_left_out(
    fs: Fs, place: Path, open_dir: Callable[[Path], int]
) -> None:
    root = open_dir(place / "live")
    nest(place / "live", 50, name=b"n" * 199)
    assert len([*walk(fs, root, WalkReport(), max_path_bytes=50 * 200 + len("symlink"))]) == 1 + 50 + 3
    with pytest.raises(TooLarge) as caught:
        list(walk(fs, root, WalkReport(), max_path_bytes=50 * 200 + len("name")))
    assert caught.value.code == "tree_too_deep"
    assert "rm -r" in caught.value.next_step
    assert len(caught.value.message) < 2000
