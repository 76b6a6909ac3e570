"""Sharing the content of live files: only with the file that was captured, and only if it stood still."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from holdfast.engine.fs import Fs
from holdfast.engine.live_clone import WORTH_BYTES, LiveClones
from holdfast.engine.repository.manifests import VolumeTree
from holdfast.engine.repository.recognition import MARGIN_NS
from holdfast.engine.repository.tree import TreeEntry

CONTENT = bytes(range(256)) * (WORTH_BYTES // 256)
LATER_NS = 10**18
"""How long after all that a test does its captures began: long enough for files to have stood still."""


class CopyingFs(Fs):
    """Shares by copying, on any filesystem; ``meanwhile`` happens right after it."""

    def __init__(self) -> None:
        self.shared = 0
        self.meanwhile: Callable[[], object] = lambda: None

    def clone(self, fd: int, source: int) -> None:
        self.shared += 1
        os.pwrite(fd, os.pread(source, 1 << 30, 0), 0)
        self.meanwhile()


class Place:
    """A live directory with one large file, as it was captured, and a file to share it with."""

    def __init__(self, base: Path, fs: CopyingFs, root_fd: int, target: int) -> None:
        self.fs, self.base, self.target, self._root_fd = fs, base, target, root_fd
        (base / "folder").mkdir()
        self.file = base / "folder/large"
        self.file.write_bytes(CONTENT)
        facts = self.file.stat()
        self.entry = TreeEntry(
            b"folder/large",
            0,
            0o644,
            0,
            0,
            facts.st_mtime_ns,
            size=len(CONTENT),
            inode=facts.st_ino,
            ctime_ns=facts.st_ctime_ns,
        )
        self.root = fs.identity(root_fd)

    def shared(self, *, began_ns: int | None = None, entry: TreeEntry | None = None) -> bool | None:
        """Whether the file was shared; ``None`` if that was not even tried."""
        began = self.entry.ctime_ns + LATER_NS if began_ns is None else began_ns
        captured = VolumeTree(index=0, chunks=(), root=self.root, scan_started_ns=began)
        share = LiveClones(self.fs, self._root_fd, captured).of(entry or self.entry)
        return None if share is None else share(self.target)


@pytest.fixture
def place(tmp_path: Path, open_dir: Callable[[Path], int]) -> Iterator[Place]:
    target = os.open(tmp_path, os.O_TMPFILE | os.O_RDWR)
    (tmp_path / "live").mkdir()
    yield Place(tmp_path / "live", CopyingFs(), open_dir(tmp_path / "live"), target)
    os.close(target)


def test_a_file_that_stood_still_is_shared(place: Place) -> None:
    assert place.shared() is True
    assert os.pread(place.target, 1 << 30, 0) == CONTENT


def test_a_file_whose_times_are_too_new_to_tell_that_it_stood_still_is_not_shared(place: Place) -> None:
    assert place.shared(began_ns=place.entry.ctime_ns + MARGIN_NS) is None
    assert place.shared(began_ns=place.entry.ctime_ns + MARGIN_NS + 1) is True


def test_of_another_directory_than_the_one_that_was_captured_nothing_is_shared(
    place: Place, open_dir: Callable[[Path], int]
) -> None:
    place.root = place.fs.identity(open_dir(place.base / "folder"))
    assert place.shared() is None


def test_a_file_that_changed_since_its_capture_is_not_even_opened(place: Place) -> None:
    place.file.write_bytes(CONTENT)
    assert place.shared() is False
    assert place.fs.shared == 0


def test_what_was_shared_while_somebody_wrote_is_taken_back(place: Place) -> None:
    def write() -> None:
        with place.file.open("r+b") as file:
            file.write(b"other")

    place.fs.meanwhile = write
    assert place.shared() is False
    assert os.fstat(place.target).st_size == 0


def test_no_symlink_leads_to_a_file_that_is_shared(place: Place) -> None:
    outside = place.base.parent / "outside"
    (place.base / "folder").rename(outside)
    (place.base / "folder").symlink_to(outside)
    assert place.shared() is False
    (place.base / "folder").unlink()
    (place.base / "folder").mkdir()
    (place.base / "folder/large").symlink_to(outside / "large")
    assert place.shared() is False
    os.unlink(place.base / "folder/large")
    os.mkfifo(place.base / "folder/large")
    assert place.shared() is False
    assert place.fs.shared == 0


def test_small_files_are_written_from_their_chunks(place: Place) -> None:
    assert place.shared(entry=msgspec.structs.replace(place.entry, size=WORTH_BYTES - 1)) is None
