"""Space is counted for each filesystem, in bytes and in inodes."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.api.exposition import exposed
from holdfast.domain.errors import Failed
from holdfast.engine.fs import Fs
from holdfast.engine.space import Need, check, space_of
from holdfast.services.monitoring import Family


@pytest.fixture
def small(tmpfs: Callable[..., Path]) -> Path:
    return tmpfs("size=1m,nr_inodes=100")


def need(path: Path, size: int = 0, inodes: int = 0, why: str = "a test") -> Need:
    return Need(path=str(path), bytes=size, inodes=inodes, why=why)


def test_what_does_not_exist_yet_is_on_the_filesystem_of_its_nearest_ancestor(fs: Fs, small: Path) -> None:
    space = space_of(fs, str(small / "not" / "there"))
    assert (space.mount_point, space.type, space.free_bytes) == (str(small), "tmpfs", 1 << 20)
    assert 90 <= space.free_inodes < 100


def test_a_filesystem_mounted_where_no_text_is_can_be_told(fs: Fs, tmpfs: Callable[..., Path], tmp_path: Path) -> None:
    at = tmpfs("size=1m", at=tmp_path / os.fsdecode(b"\xff"))
    mount_point = space_of(fs, str(at)).mount_point
    assert mount_point == f"{tmp_path}/\\xff"
    figures = Family(name="free", help="Free.", labels=("mount_point",), values={(mount_point,): 1})
    assert f'{{mount_point="{tmp_path}/\\\\xff"}} 1.0'.encode() in exposed([figures])[0]


def test_enough_is_no_problem(fs: Fs, small: Path) -> None:
    assert check(fs, [need(small, 1 << 20, 50)], 0, 0) == []


def test_needs_and_reserve_of_one_filesystem_add_up_also_where_it_is_mounted_twice(
    fs: Fs, small: Path, mount: Callable[..., Path], tmp_path: Path
) -> None:
    again = mount("--bind", str(small), at=tmp_path / "again")
    needs = [need(small / "x", 400_000, why="the tree of /a"), need(again, 400_000, why="the tree of /b")]
    assert check(fs, needs, 200_000, 0) == []
    (problem,) = check(fs, needs, 300_000, 0)
    assert problem.code == "no_space_bytes"
    assert str(small) in problem.message
    assert "are needed for the tree of /a, the tree of /b and the reserve" in problem.message
    assert problem.details == {"filesystem": str(small), "needed": 1_100_000, "free": 1 << 20}
    assert problem.next_step


def test_filesystems_are_counted_apart(fs: Fs, small: Path, tmpfs: Callable[..., Path], tmp_path: Path) -> None:
    other = tmpfs("size=1m", at=tmp_path / "other")
    assert check(fs, [need(small, 700_000), need(other, 700_000)], 0, 0) == []


def test_missing_inodes_are_a_problem_of_their_own(fs: Fs, small: Path) -> None:
    problems = check(fs, [need(small, 2 << 20, 50)], 0, 60)
    assert [problem.code for problem in problems] == ["no_space_bytes", "no_space_inodes"]


def test_a_filesystem_that_makes_inodes_as_it_needs_them_has_enough(fs: Fs, tmpfs: Callable[..., Path]) -> None:
    at = tmpfs("size=1m,nr_inodes=0")
    assert check(fs, [need(at, 0, 10**12)], 0, 0) == []


def test_a_path_through_a_symlink_is_not_looked_at(fs: Fs, tmp_path: Path, small: Path) -> None:
    (tmp_path / "link").symlink_to(small)
    with pytest.raises(Failed, match="free space"):
        space_of(fs, str(tmp_path / "link" / "x"))
