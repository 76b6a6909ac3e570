from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest

from holdfast.domain.errors import Cancelled, Refused
from holdfast.domain.restore import RootRef
from holdfast.engine.diff import SAMPLE, VolumeDiff, diff, measure
from holdfast.engine.entries import Entry, EntryKind
from holdfast.engine.fs import Fs
from holdfast.engine.job import Job, QuietJob
from holdfast.engine.live import LiveRoots
from holdfast.engine.snapshot_store import SnapshotStore
from holdfast.engine.walk import WalkReport, walk
from holdfast.testing.trees import build_sample_tree

REF_NAME = "data"


class StoredEntries:
    """A store that knows the entries of one volume."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries

    def entries(self, snapshot_id: str, index: int, job: Job) -> Iterator[Entry]:
        assert (snapshot_id, index) == ("s1", 0)
        return iter(self._entries)


@pytest.fixture
def live(tmp_path: Path) -> Path:
    path = tmp_path / REF_NAME
    path.mkdir()
    return path


def entries_of(live: Path) -> list[Entry]:
    fs = Fs()
    fd = fs.open_root(str(live))
    try:
        return [walked.entry for walked in walk(fs, fd, WalkReport())]
    finally:
        fs.close(fd)


def compare(entries: Sequence[Entry], live: Path, job: Job | None = None) -> VolumeDiff:
    store = cast("SnapshotStore", StoredEntries(entries))
    ref = RootRef(root=str(live.parent), relative=live.name)
    with LiveRoots(Fs(), [str(live.parent)]) as roots:
        return diff(Fs(), roots, store, "s1", 0, ref, job or QuietJob())


def write(path: Path, size: int, *, mtime: int = 1) -> None:
    path.write_bytes(b"x" * size)
    os.utime(path, ns=(mtime, mtime))


def test_a_tree_that_has_not_changed_differs_in_nothing_whatever_the_order(live: Path) -> None:
    build_sample_tree(live)
    entries = entries_of(live)
    assert len(entries) > 10
    assert compare(entries, live) == compare(entries[::-1], live) == VolumeDiff()


def test_what_is_added_changed_and_removed_is_counted_named_and_weighed(live: Path) -> None:
    for name, size in (("gone", 10), ("same", 5), ("grown", 7)):
        write(live / name, size)
    entries = entries_of(live)
    (live / "gone").unlink()
    write(live / "grown", 8)
    write(live / "new", 3)
    assert compare(entries, live) == VolumeDiff(
        added=1,
        changed=1,
        removed=1,
        bytes_added=10,
        bytes_changed=7,
        bytes_removed=3,
        added_paths=("gone",),
        changed_paths=("grown",),
        removed_paths=("new",),
    )


@pytest.mark.parametrize("what", ["mtime", "mode", "owner", "link target", "kind"])
def test_a_change_of_metadata_is_a_change(live: Path, what: str) -> None:
    write(live / "file", 5)
    (live / "link").symlink_to("here")
    entries = entries_of(live)
    match what:
        case "mtime":
            os.utime(live / "file", ns=(2, 2))
        case "mode":
            (live / "file").chmod(0o600 ^ (live / "file").stat().st_mode & 0o777)
        case "owner":
            os.chown(live / "file", 1234, 1234)
        case "link target":
            (live / "link").unlink()
            (live / "link").symlink_to("there")
        case _:
            (live / "link").unlink()
            (live / "link").mkdir()
    found = compare(entries, live)
    assert (found.added, found.changed, found.removed) == (0, 1, 0)


def test_a_directory_in_which_something_changed_is_not_counted_itself(live: Path) -> None:
    (live / "folder").mkdir()
    entries = entries_of(live)
    write(live / "folder" / "new", 1)
    found = compare(entries, live)
    assert (found.changed, found.removed_paths) == (0, ("folder/new",))


def test_the_first_paths_of_many_are_named_in_order_and_fit_to_be_shown(live: Path) -> None:
    entries = entries_of(live)
    for number in range(100):
        write(live / f"{(number * 37) % 100:03}", 1)
    write(live / "00\x1b[31m", 1)
    found = compare(entries, live)
    assert found.removed == 101
    assert len(found.removed_paths) == SAMPLE
    assert found.removed_paths == ("00\\x1b[31m", *(f"{number:03}" for number in range(SAMPLE - 1)))


def test_a_live_directory_that_is_missing_is_refused(live: Path) -> None:
    live.rmdir()
    with pytest.raises(Refused):
        compare([], live)


def test_a_comparison_can_be_cancelled(live: Path) -> None:
    class CancelledJob(QuietJob):
        def check(self) -> None:
            raise Cancelled

    with pytest.raises(Cancelled):
        compare(entries_of(live), live, CancelledJob())


def test_a_tree_is_measured_by_its_data_without_its_holes(live: Path) -> None:
    write(live / "file", 100_000)
    with (live / "sparse").open("wb") as file:
        file.truncate(50_000_000)
    assert (live / "sparse").stat().st_size == 50_000_000
    ref = RootRef(root=str(live.parent), relative=live.name)
    with LiveRoots(Fs(), [str(live.parent)]) as roots:
        measured = measure(Fs(), roots, ref, QuietJob())
    assert 100_000 < measured < 1_000_000
    assert entries_of(live)[0].kind is EntryKind.DIRECTORY
