"""What is measured on has to be the same for everybody and every time."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from benchmarks import trees
from benchmarks.trees import Changes, Count


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def files(directory: Path, count: int = 100) -> None:
    directory.mkdir()
    for number in range(count):
        (directory / f"{number:03}").write_bytes(b"line %d\n" % number * 50)


@pytest.mark.parametrize(
    "make", [files, partial(trees.database, size=trees.LARGE), partial(trees.many, count=1200)], ids=["a", "b", "c"]
)
def test_trees_and_their_changes_are_the_same_each_time(tmp_path: Path, make: Callable[[Path], None]) -> None:
    for name in ("one", "two"):
        make(tmp_path / name)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")

    before = contents(tmp_path / "one")
    assert trees.change(tmp_path / "one", seed=7) == trees.change(tmp_path / "two", seed=7)
    assert contents(tmp_path / "one") == contents(tmp_path / "two") != before


def test_of_ten_files_that_a_day_touches_seven_are_edited_and_one_each_comes_goes_and_moves(tmp_path: Path) -> None:
    files(tmp_path / "tree", count=1000)
    before = contents(tmp_path / "tree")

    assert trees.change(tmp_path / "tree", seed=1, share=0.02) == Changes(
        changed=14, added=2, removed=2, renamed=2, pages=0
    )

    after = contents(tmp_path / "tree")
    assert len(before.keys() - after.keys()) == 4
    assert len(after.keys() - before.keys()) == 4
    assert sum(before[name] != after[name] for name in before.keys() & after.keys()) == 14


def test_a_large_file_changes_by_pages_in_place(tmp_path: Path) -> None:
    trees.database(tmp_path, trees.LARGE)
    path = tmp_path / "rows.db"
    before, inode = path.read_bytes(), path.stat().st_ino

    assert trees.change(tmp_path, seed=1).pages == 5

    after = path.read_bytes()
    pages = range(0, trees.LARGE, trees.PAGE)
    assert sum(before[at : at + trees.PAGE] != after[at : at + trees.PAGE] for at in pages) == 5
    assert (path.stat().st_ino, len(after)) == (inode, len(before))


def test_counting_tells_files_directories_and_links_apart(tmp_path: Path) -> None:
    files(tmp_path / "tree", count=2)
    os.symlink("tree", tmp_path / "to-directory")
    os.symlink("nowhere", tmp_path / "tree" / "dangling")
    assert trees.count(tmp_path) == Count(files=2, directories=1, links=2, bytes=700)
