"""Removing a tree removes that tree, whatever its inhabitants left in it (I7)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.domain.errors import Cancelled, Failed
from holdfast.domain.operation import Progress
from holdfast.engine.fs import Fs
from holdfast.engine.job import Job, QuietJob
from holdfast.engine.remove_tree import LEVELS, remove_tree
from holdfast.testing.descriptors import few_descriptors


def remove(path: Path, *, fs: Fs | None = None, job: Job | None = None) -> None:
    fs = fs or Fs()
    parent = fs.open_root(str(path.parent))
    try:
        remove_tree(fs, parent, os.fsencode(path.name), job or QuietJob())
    finally:
        fs.close(parent)


def test_a_tree_of_everything_goes_and_its_neighbours_stay(tmp_path: Path) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    (tree / "a/b/c").mkdir(parents=True)
    outside.mkdir()
    (outside / "precious").write_text("stays")
    (tree / "a/file").write_bytes(b"x" * 5000)
    (tree / "to-outside").symlink_to(outside)
    (tree / "a/to-file").symlink_to(outside / "precious")
    (tree / "a/b/linked").hardlink_to(outside / "precious")
    os.mkfifo(tree / "a/fifo")
    Path(os.fsdecode(os.fsencode(tree) + b"/bad-\xff-name")).write_text("x")
    (tree / "a/b").chmod(0)
    remove(tree)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["outside"]
    assert (outside / "precious").read_text() == "stays"


def test_what_is_not_there_is_gone_already(tmp_path: Path) -> None:
    remove(tmp_path / "nothing")


def test_a_symlink_in_the_place_of_the_tree_is_removed_itself(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/precious").touch()
    (tmp_path / "tree").symlink_to("outside")
    remove(tmp_path / "tree")
    assert (tmp_path / "outside/precious").exists()
    assert not (tmp_path / "tree").is_symlink()


def test_a_tree_deeper_than_there_are_descriptors_goes(tmp_path: Path) -> None:
    fs = Fs()
    depth = LEVELS * 5
    at = fs.open_root(str(tmp_path))
    for level in range(depth):
        name = b"tree" if level == 0 else b"d" * 200
        fs.mkdirat(at, name)
        below = fs.openat(at, name, os.O_RDONLY | os.O_DIRECTORY)
        fs.close(fs.openat(below, b"file", os.O_WRONLY | os.O_CREAT))
        fs.close(at)
        at = below
    fs.close(at)
    with few_descriptors(LEVELS * 4):
        remove(tmp_path / "tree")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def mounted_tree(tmp_path: Path) -> Iterator[Path]:
    """A tree with a mount in it."""
    tree, mount = tmp_path / "tree", tmp_path / "tree/a/mount"
    mount.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mount)], check=True)
    try:
        (mount / "precious").write_text("stays")
        yield tree
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True)


def test_a_mount_in_the_tree_is_refused_and_what_is_below_it_stays(mounted_tree: Path) -> None:
    with pytest.raises(Failed) as caught:
        remove(mounted_tree)
    assert caught.value.code == "mount_in_tree"
    assert caught.value.details["path"] == "tree/a/mount"
    assert (mounted_tree / "a/mount/precious").read_text() == "stays"


def test_a_mounted_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").touch()
    (tmp_path / "precious").write_text("stays")
    subprocess.run(["mount", "--bind", str(tmp_path / "precious"), str(tmp_path / "tree/file")], check=True)
    try:
        with pytest.raises(Failed) as caught:
            remove(tmp_path / "tree")
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path / "tree/file")], check=True)
    assert caught.value.code == "mount_in_tree"
    assert (tmp_path / "precious").read_text() == "stays"


class Exchanging(Fs):
    """A container that puts a symlink in the place of a directory right before it is entered."""

    def __init__(self, victim: Path, target: Path) -> None:
        self._victim = victim
        self._target = target

    def open_beneath(
        self, dirfd: int, relative: str | bytes, flags: int, *, mode: int = 0, no_xdev: bool = False
    ) -> int:
        if os.fsencode(relative) == os.fsencode(self._victim.name):
            self._victim.rename(self._victim.with_name("moved"))
            self._victim.symlink_to(self._target)
        return super().open_beneath(dirfd, relative, flags, mode=mode, no_xdev=no_xdev)


def test_a_symlink_planted_in_the_last_moment_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "tree/victim").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/precious").touch()
    with pytest.raises(Failed):
        remove(tmp_path / "tree", fs=Exchanging(tmp_path / "tree/victim", tmp_path / "outside"))
    assert (tmp_path / "outside/precious").exists()
    remove(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


class HalfBlind(Fs):
    """A file system that passes over every other name while names vanish under the reader."""

    def scan(self, fd: int) -> Iterator[bytes]:
        return iter(sorted(self.listdir(fd))[::2])


def test_names_that_were_passed_over_are_removed_in_another_round(tmp_path: Path) -> None:
    (tmp_path / "tree/sub").mkdir(parents=True)
    for number in range(20):
        (tmp_path / f"tree/{number}").touch()
        (tmp_path / f"tree/sub/{number}").touch()
    remove(tmp_path / "tree", fs=HalfBlind())
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_can_not_be_removed_is_named(tmp_path: Path) -> None:
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/stuck").touch()
    subprocess.run(["chattr", "+i", str(tmp_path / "tree/sub/stuck")], check=True)
    try:
        with pytest.raises(Failed, match="tree/sub/stuck") as caught:
            remove(tmp_path / "tree")
    finally:
        subprocess.run(["chattr", "-i", str(tmp_path / "tree/sub/stuck")], check=True)
    assert caught.value.code == "permission_denied"


class StopsAfter:
    """Cancelled after so many files."""

    def __init__(self, files: int) -> None:
        self._files = files
        self.seen = 0

    def progress(self, progress: Progress) -> None:
        self.seen = progress.done_files

    def check(self) -> None:
        if self.seen >= self._files:
            raise Cancelled


def test_a_cancelled_removal_can_be_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    for number in range(10):
        (tmp_path / f"tree/{number}").touch()
    with pytest.raises(Cancelled):
        remove(tmp_path / "tree", job=StopsAfter(3))
    assert len(list((tmp_path / "tree").iterdir())) == 7
    remove(tmp_path / "tree")
    assert list(tmp_path.iterdir()) == []
