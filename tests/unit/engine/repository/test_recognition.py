"""Unchanged files are recognised, and no write is ever missed: on a real file system, with real times."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.engine.fs import Fs
from holdfast.engine.repository.recognition import Recogniser, begin_scan
from holdfast.engine.repository.tree import TreeEntry, sort_key
from holdfast.engine.walk import WalkReport, walk, walk_recognising

FS = Fs()
LATER = 10_000_000_000
"""Nanoseconds by which a scan is said to have begun after the files were last touched."""


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = FS.open_root(str(path))
    try:
        yield fd
    finally:
        FS.close(fd)


def captured(root: Path) -> list[TreeEntry]:
    """The tree's entries as a capture keeps them."""
    with opened(root) as fd:
        return [
            TreeEntry.of(walked.entry, inode=walked.stat.st_ino, ctime_ns=walked.stat.st_ctime_ns)
            for walked in walk(FS, fd, WalkReport())
        ]


def recognised(root: Path, entries: list[TreeEntry], started_ns: int) -> set[bytes]:
    """The files that the next walk need not open."""
    recogniser = Recogniser(((sort_key(entry.path), entry) for entry in entries), started_ns)
    with opened(root) as fd:
        found = list(walk_recognising(FS, fd, WalkReport(), recogniser.find))
    return {entry.path for entry in found if isinstance(entry, TreeEntry)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    for name in ("a.b", "a/x", "b"):
        (tmp_path / name).write_bytes(b"content")
    return tmp_path


def test_files_that_nobody_touched_are_recognised(root: Path) -> None:
    entries = captured(root)
    assert recognised(root, entries, time.time_ns() + LATER) == {b"a.b", b"a/x", b"b"}


def test_new_and_removed_names_don_t_hide_the_others(root: Path) -> None:
    entries = captured(root)
    (root / "a/x").unlink()
    for name in ("0", "a/y", "aa", "c"):
        (root / name).write_bytes(b"new")
    assert recognised(root, entries, time.time_ns() + LATER) == {b"a.b", b"b"}


def test_a_write_whose_size_and_mtime_are_set_back_is_not_missed(root: Path) -> None:
    entries = captured(root)
    before = (root / "b").stat()
    (root / "b").write_bytes(b"CONTENT")
    os.utime(root / "b", ns=(before.st_atime_ns, before.st_mtime_ns))
    after = (root / "b").stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    assert b"b" not in recognised(root, entries, time.time_ns() + LATER)


def test_another_file_of_the_same_times_in_its_place_is_not_taken_for_it(root: Path) -> None:
    entries = captured(root)
    facts = (root / "b").stat()
    (root / "other").write_bytes(b"CONTENT")
    os.utime(root / "other", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    (root / "other").rename(root / "b")
    assert b"b" not in recognised(root, entries, time.time_ns() + LATER)


def test_a_file_touched_around_the_scan_s_start_is_read_again(root: Path) -> None:
    entries = captured(root)
    assert recognised(root, entries, (root / "b").stat().st_ctime_ns + 900_000_000) == set()
    assert recognised(root, entries, (root / "b").stat().st_ctime_ns + 1_100_000_000) >= {b"b"}


@pytest.mark.parametrize("flushed", [False, True])
def test_a_store_through_an_mmap_is_seen_because_the_scan_flushes_first(root: Path, flushed: bool) -> None:
    """A page that is dirty already takes stores without any time moving; after a flush the next one has to fault."""
    with (root / "b").open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[0] = ord("1")
        if flushed:
            with opened(root) as fd:
                begin_scan(FS, fd, time.time_ns())
        entries = captured(root)
        memory[0] = ord("2")
        assert (b"b" not in recognised(root, entries, time.time_ns() + LATER)) is flushed
    assert (root / "b").read_bytes() == b"2ontent"


def test_on_a_file_system_whose_times_are_not_known_nothing_is_recognised() -> None:
    with opened(Path("/dev/shm")) as fd:
        assert begin_scan(FS, fd, 1).root is None


def test_hardlinks_are_not_recognised_by_name_alone(root: Path) -> None:
    os.link(root / "b", root / "second")
    assert recognised(root, captured(root), time.time_ns() + LATER) == {b"a.b", b"a/x"}
