"""The file-system seam: what it refuses to follow, and what it does that ``os`` can't."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.engine.fs import FLAG_IMMUTABLE, MAGIC_TMPFS, TEMPORARY_PREFIX, Fs

OpenDir = Callable[[Path], int]


def errno_of(run: Callable[[], object]) -> int | None:
    with pytest.raises(OSError, match=r"\w") as caught:
        run()
    return caught.value.errno


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "link", "link/passwd", "a/up"])
def test_no_path_leads_out_of_a_directory(fs: Fs, tmp_path: Path, open_dir: OpenDir, path: str) -> None:
    (tmp_path / "inside" / "a").mkdir(parents=True)
    (tmp_path / "x").touch()
    (tmp_path / "inside" / "link").symlink_to("/etc")
    (tmp_path / "inside" / "a" / "up").symlink_to("..")
    root = open_dir(tmp_path / "inside")
    assert errno_of(lambda: fs.open_beneath(root, path, os.O_RDONLY)) in (errno.EXDEV, errno.ELOOP)


def test_a_symlink_is_opened_itself_and_never_followed(fs: Fs, tmp_path: Path, open_dir: OpenDir) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    root = open_dir(tmp_path)
    assert errno_of(lambda: fs.openat(root, b"link", os.O_RDONLY)) == errno.ELOOP
    fd = fs.open_beneath(root, b"link", os.O_PATH | os.O_NOFOLLOW, no_xdev=True)
    try:
        assert fs.readlinkat(fd, b"") == b"/etc/passwd"
        fs.setxattr_path(fd, b"trusted.x", b"own")
        assert [fs.getxattr_path(fd, name) for name in fs.listxattr_path(fd)] == [b"own"]
    finally:
        fs.close(fd)
    assert fs.readlinkat(root, b"link") == b"/etc/passwd"


def test_a_mount_point_can_be_refused(fs: Fs, tmp_path: Path, open_dir: OpenDir, tmpfs: Callable[..., Path]) -> None:
    tmpfs(at=tmp_path / "mounted")
    root = open_dir(tmp_path)
    assert errno_of(lambda: fs.open_beneath(root, b"mounted", os.O_PATH, no_xdev=True)) == errno.EXDEV
    mounted = fs.open_beneath(root, b"mounted", os.O_RDONLY)
    try:
        assert fs.mount_id(mounted) != fs.mount_id(root)
        assert fs.filesystem_type(mounted) == MAGIC_TMPFS
    finally:
        fs.close(mounted)


def test_two_directories_are_exchanged_with_their_identities(fs: Fs, tmp_path: Path, open_dir: OpenDir) -> None:
    a, b = open_dir(tmp_path / "a"), open_dir(tmp_path / "b")
    root = open_dir(tmp_path)
    before = fs.identity(a), fs.identity(b)
    assert before[0] != before[1]
    fs.exchange(root, b"a", root, b"b")
    with_names = [fs.open_path(root, name) for name in (b"a", b"b")]
    try:
        assert tuple(map(fs.identity, with_names)) == before[::-1]
    finally:
        for fd in with_names:
            fs.close(fd)
    assert errno_of(lambda: fs.exchange(root, b"a", root, b"missing")) == errno.ENOENT


def test_an_identity_is_not_inherited_by_a_reused_inode(fs: Fs, tmp_path: Path) -> None:
    seen = set()
    for _ in range(5):
        (tmp_path / "d").mkdir()
        fd = fs.open_root(str(tmp_path / "d"))
        seen.add(fs.identity(fd))
        fs.close(fd)
        (tmp_path / "d").rmdir()
    assert len(seen) == 5


def test_a_rename_can_refuse_to_replace(fs: Fs, tmp_path: Path, open_dir: OpenDir) -> None:
    root = open_dir(tmp_path)
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    assert errno_of(lambda: fs.rename_noreplace(root, b"a", root, b"b")) == errno.EEXIST
    fs.rename_noreplace(root, b"a", root, b"c")
    assert (tmp_path / "c").read_text() == "a"


def test_a_link_is_made_to_the_open_file_whatever_its_name_is_now(fs: Fs, tmp_path: Path, open_dir: OpenDir) -> None:
    root = open_dir(tmp_path)
    (tmp_path / "a").write_text("meant")
    fd = fs.open_path(root, b"a")
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "a").write_text("planted")
    fs.linkat(fd, root, b"c")
    fs.close(fd)
    assert (tmp_path / "c").read_text() == "meant"


def test_a_file_is_dense_where_its_first_hole_is_its_end(fs: Fs, tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb+") as file:
        fd = file.fileno()
        assert fs.is_dense(fd, 0)
        assert not fs.is_dense(fd, 1), "it was longer when it was described"
        os.pwrite(fd, b"x" * 4096, 0)
        assert fs.is_dense(fd, 4096)
        assert not fs.is_dense(fd, 8192)
        os.ftruncate(fd, 1 << 20)
        assert not fs.is_dense(fd, 1 << 20)


def test_flags_are_read_and_set(fs: Fs, tmp_path: Path, open_dir: OpenDir) -> None:
    fd = open_dir(tmp_path / "d")
    before = fs.flags(fd)
    fs.set_flags(fd, before | FLAG_IMMUTABLE)
    try:
        assert fs.flags(fd) & FLAG_IMMUTABLE
        assert errno_of(lambda: fs.mkdirat(fd, b"x")) == errno.EPERM
    finally:
        fs.set_flags(fd, before)
    assert fs.flags(fd) == before


def test_flags_are_none_where_there_can_be_none(fs: Fs) -> None:
    fd = fs.open_root("/proc")
    assert fs.flags(fd) == 0
    fs.close(fd)


class Failing(Fs):
    def __init__(self, method: str) -> None:
        self._method = method

    def fsync(self, fd: int) -> None:
        if self._method == "fsync":
            raise OSError(errno.EIO, "Input/output error")
        super().fsync(fd)

    def rename(self, from_dirfd: int, from_name: bytes, to_dirfd: int, to_name: bytes) -> None:
        if self._method == "rename":
            raise OSError(errno.EIO, "Input/output error")
        super().rename(from_dirfd, from_name, to_dirfd, to_name)


def test_a_file_is_replaced_as_a_whole_and_flushed(tmp_path: Path, open_dir: OpenDir) -> None:
    flushed = []

    class Watching(Fs):
        def fsync(self, fd: int) -> None:
            flushed.append(Path(self.path_of(fd)).name)
            super().fsync(fd)

    root = open_dir(tmp_path)
    fs = Watching()
    fs.write_file_durable(root, b"f", b"one")
    fs.write_file_durable(root, b"f", b"two", mode=0o640)
    assert (tmp_path / "f").read_bytes() == b"two"
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o640
    assert [name.startswith(TEMPORARY_PREFIX.decode()) for name in flushed] == [True, False, True, False]
    assert flushed[1] == tmp_path.name


@pytest.mark.parametrize("method", ["fsync", "rename"])
def test_a_file_that_could_not_be_replaced_is_the_old_one(tmp_path: Path, open_dir: OpenDir, method: str) -> None:
    root = open_dir(tmp_path)
    Fs().write_file_durable(root, b"f", b"old")
    assert errno_of(lambda: Failing(method).write_file_durable(root, b"f", b"new")) == errno.EIO
    assert (tmp_path / "f").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_data_regions_are_told_and_space_is_reserved(fs: Fs, tmp_path: Path, open_dir: OpenDir) -> None:
    fd = fs.openat(open_dir(tmp_path), b"f", os.O_RDWR | os.O_CREAT)
    fs.pwrite_all(fd, b"x" * 10, 8192)
    assert list(fs.extents(fd, 8202)) == [(8192, 10)]
    fs.ftruncate(fd, 1 << 20)
    assert list(fs.extents(fd, 1 << 20)) == [(8192, 4096)]
    fs.fallocate(fd, 1 << 21)
    assert fs.fstat(fd).st_size == 1 << 21
    fs.syncfs(fd)
    fs.close(fd)


def test_names_come_as_raw_bytes(fs: Fs, tmp_path: Path, open_dir: OpenDir) -> None:
    root = open_dir(tmp_path)
    wanted = [b"\xff\xfe", b"line\nbreak", b"n" * 255]
    for name in wanted:
        fs.mkdirat(root, name)
    assert sorted(fs.listdir(root)) == sorted(fs.scan(root)) == sorted(wanted)


def test_what_closing_says_of_a_descriptor_that_is_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.close

    def complain(fd: int) -> None:
        real(fd)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    fd = os.open("/", os.O_RDONLY)
    monkeypatch.setattr(os, "close", complain)
    Fs().close(fd)
    monkeypatch.undo()
    with pytest.raises(OSError, match="Bad file descriptor"):
        Fs().close(fd)
