"""Live directories are reached below their roots only, and checked before they are touched."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.domain.errors import Failed, Refused
from holdfast.domain.restore import RootRef
from holdfast.engine.fs import FLAG_APPEND, FLAG_IMMUTABLE, Fs
from holdfast.engine.live import LiveRoots


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "volumes" / "notes" / "data").mkdir(parents=True)
    return tmp_path / "volumes"


@pytest.fixture
def roots(fs: Fs, base: Path) -> Iterator[LiveRoots]:
    with LiveRoots(fs, [str(base)]) as roots:
        yield roots


@pytest.fixture
def ref(base: Path) -> Callable[[str], RootRef]:
    return lambda relative: RootRef(root=str(base), relative=relative)


Ref = Callable[[str], RootRef]


def codes(roots: LiveRoots, ref: RootRef) -> list[str]:
    problems = roots.check(ref)
    assert all(problem.next_step and problem.message for problem in problems)
    return [problem.code for problem in problems]


def test_a_plain_directory_has_no_problems_and_opens(fs: Fs, roots: LiveRoots, ref: Ref, base: Path) -> None:
    assert codes(roots, ref("notes/data")) == []
    fd = roots.open(ref("notes/data"))
    assert fs.path_of(fd) == str(base / "notes" / "data")
    assert fs.identity(fd) == roots.identity(ref("notes/data"))
    fs.close(fd)


def test_the_parent_opens_also_where_the_directory_is_missing(fs: Fs, roots: LiveRoots, ref: Ref, base: Path) -> None:
    for relative, parent, name in (("notes/new", base / "notes", b"new"), ("top", base, b"top")):
        fd, found = roots.open_parent(ref(relative))
        assert (fs.path_of(fd), found) == (str(parent), name)
        fs.close(fd)


def test_what_is_missing_a_symlink_or_a_file_is_said_and_refused(roots: LiveRoots, ref: Ref, base: Path) -> None:
    (base / "notes" / "file").touch()
    (base / "notes" / "link").symlink_to("data")
    (base / "elsewhere").symlink_to("notes")
    for relative, code in {
        "notes/new": "volume_missing",
        "nowhere/at/all": "volume_missing",
        "notes/link": "volume_is_symlink",
        "elsewhere/data": "volume_is_symlink",
        "notes/file": "volume_not_directory",
        "notes/file/x": "volume_not_directory",
        "notes/../notes/data": "volume_path_invalid",
        "..": "volume_path_invalid",
        "": "volume_path_invalid",
        "notes//data": "volume_path_invalid",
        "notes/./data": "volume_path_invalid",
    }.items():
        assert codes(roots, ref(relative)) == [code], relative
        with pytest.raises(Refused) as caught:
            roots.open(ref(relative))
        assert caught.value.code == code


def test_a_mount_below_is_said_and_one_at_it_is_a_volume(
    roots: LiveRoots, ref: Ref, base: Path, tmpfs: Callable[..., Path], mount: Callable[..., Path]
) -> None:
    tmpfs(at=base / "mounted")
    assert codes(roots, ref("mounted")) == []
    assert roots.is_mount_point(ref("mounted"))
    assert not roots.is_mount_point(ref("notes/data"))
    mount("--bind", "/etc", at=base / "notes" / "data" / "deep" / "bound")
    assert codes(roots, ref("notes/data")) == ["mount_in_volume"]
    (base / "mounted" / "volume").mkdir()
    assert codes(roots, ref("mounted/volume")) == []


@pytest.mark.parametrize("flag", [FLAG_IMMUTABLE, FLAG_APPEND])
@pytest.mark.parametrize("where", ["notes", "notes/data"])
def test_immutable_and_append_only_directories_are_said(
    fs: Fs, roots: LiveRoots, ref: Ref, base: Path, flag: int, where: str
) -> None:
    fd = fs.open_root(str(base / where))
    before = fs.flags(fd)
    fs.set_flags(fd, before | flag)
    try:
        assert codes(roots, ref("notes/data")) == ["volume_immutable"]
    finally:
        fs.set_flags(fd, before)
        fs.close(fd)


def test_a_root_that_nobody_configured_is_unknown(roots: LiveRoots) -> None:
    assert codes(roots, RootRef(root="/etc", relative="x")) == ["root_unknown"]


def test_a_root_that_can_not_be_used_stands_in_nobody_elses_way(fs: Fs, base: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(base)
    with LiveRoots(fs, [str(tmp_path / "missing"), str(tmp_path / "link"), str(base)]) as roots:
        for unusable in ("missing", "link"):
            assert codes(roots, RootRef(root=str(tmp_path / unusable), relative="notes")) == ["root_unusable"]
        assert codes(roots, RootRef(root=str(base), relative="notes")) == []


def test_roots_stay_what_they_were_when_they_were_opened(
    roots: LiveRoots, ref: Ref, base: Path, tmp_path: Path
) -> None:
    base.rename(tmp_path / "moved")
    base.symlink_to("/etc")
    assert codes(roots, ref("notes/data")) == []
    assert codes(roots, ref("passwd")) == ["volume_missing"]


def test_a_directory_is_made_with_its_owner_and_what_is_above_belongs_to_root(
    roots: LiveRoots, ref: Ref, base: Path
) -> None:
    assert roots.create(ref("shop/db/data"), uid=70, gid=71, mode=0o750)
    for path, facts in (("shop", (0, 0, 0o755)), ("shop/db", (0, 0, 0o755)), ("shop/db/data", (70, 71, 0o750))):
        found = (base / path).stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == facts
    assert os.listdir(base / "shop" / "db") == ["data"]


def test_the_owner_of_a_directory_that_is_there_is_never_rewritten(roots: LiveRoots, ref: Ref, base: Path) -> None:
    os.chown(base / "notes" / "data", 5, 6)
    before = (base / "notes" / "data").stat()
    assert not roots.create(ref("notes/data"), uid=70, gid=71, mode=0o700)
    assert (base / "notes" / "data").stat() == before


def test_nothing_is_made_through_a_symlink(roots: LiveRoots, ref: Ref, base: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (base / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(Refused):
        roots.create(ref("link/data"), uid=0, gid=0, mode=0o700)
    assert not list((tmp_path / "outside").iterdir())


def test_a_directory_whose_owner_could_not_be_set_is_not_there(base: Path) -> None:
    class Broken(Fs):
        def fchown(self, fd: int, uid: int, gid: int) -> None:
            raise OSError(5, "Input/output error")

    with LiveRoots(Broken(), [str(base)]) as roots, pytest.raises(Failed):
        roots.create(RootRef(root=str(base), relative="new"), uid=5, gid=6, mode=0o700)
    assert os.listdir(base) == ["notes"]


def test_an_empty_directory_is_told_from_one_with_content(roots: LiveRoots, ref: Ref) -> None:
    assert roots.is_empty(ref("notes/data"))
    assert not roots.is_empty(ref("notes"))


def test_no_descriptor_stays_open(fs: Fs, base: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with LiveRoots(fs, [str(base), str(base / "notes")]) as roots:
        roots.check(RootRef(root=str(base), relative="notes/data"))
        roots.check(RootRef(root=str(base), relative="nowhere/data"))
        roots.create(RootRef(root=str(base), relative="a/b"), uid=0, gid=0, mode=0o700)
        roots.identity(RootRef(root=str(base), relative="a/b"))
    assert len(os.listdir("/proc/self/fd")) == before


def test_directories_above_one_that_is_gone_go_as_far_as_they_are_empty(roots: LiveRoots, ref: Ref, base: Path) -> None:
    (base / "notes" / "deep" / "down").mkdir(parents=True)
    roots.remove_empty_parents(ref("notes/deep/down/gone"))
    assert [path.name for path in (base / "notes").iterdir()] == ["data"]
    roots.remove_empty_parents(ref("notes/gone"))
    assert (base / "notes" / "data").is_dir(), "something else is in the directory above"
    (base / "notes" / "data").rmdir()
    roots.remove_empty_parents(ref("notes/data"))
    assert base.is_dir(), "the root is nobody's to remove"
    assert list(base.iterdir()) == []
    roots.remove_empty_parents(ref("notes/data"))


def test_what_is_no_directory_above_one_that_is_gone_stays(roots: LiveRoots, ref: Ref, base: Path) -> None:
    (base / "elsewhere").mkdir()
    (base / "link").symlink_to("elsewhere")
    roots.remove_empty_parents(ref("link/gone"))
    assert (base / "link").is_symlink()
    assert (base / "elsewhere").is_dir()


def test_a_root_that_others_make_later_is_looked_for_until_it_is_there(fs: Fs, base: Path, tmp_path: Path) -> None:
    late, ref = tmp_path / "engine", RootRef(root=str(tmp_path / "engine"), relative="v1/_data")
    with LiveRoots(fs, [str(base)], late=[str(late)]) as roots:
        assert codes(roots, ref) == ["root_unusable"]
        (late / "v1/_data").mkdir(parents=True)
        assert codes(roots, ref) == []
        late.rename(tmp_path / "moved")
        (late / "v1").mkdir(parents=True)
        assert codes(roots, ref) == []  # from now on it is that one
        shutil.rmtree(tmp_path / "moved")  # until that is no more
        assert codes(roots, ref) == ["volume_missing"]
        (late / "v1/_data").mkdir()
        assert codes(roots, ref) == []


def test_a_late_root_that_is_reached_through_a_symlink_is_not_used(fs: Fs, base: Path, tmp_path: Path) -> None:
    (tmp_path / "real/v1/_data").mkdir(parents=True)
    (tmp_path / "engine").symlink_to("real")
    with LiveRoots(fs, [str(base)], late=[str(tmp_path / "engine")]) as roots:
        assert codes(roots, RootRef(root=str(tmp_path / "engine"), relative="v1/_data")) == ["root_unusable"]


def test_only_an_empty_directory_of_roots_is_given_an_owner(roots: LiveRoots, ref: Ref, base: Path) -> None:
    data = base / "notes/data"
    (data / "kept").touch()
    assert not roots.give(ref("notes/data"), uid=1000, gid=1000, mode=0o755)
    (data / "kept").unlink()
    assert roots.give(ref("notes/data"), uid=1000, gid=1001, mode=0o750)
    facts = data.stat()
    assert (facts.st_uid, facts.st_gid, facts.st_mode & 0o777) == (1000, 1001, 0o750)
    assert not roots.give(ref("notes/data"), uid=5, gid=5, mode=0o755)
