"""The walker: complete, safe against what a container does meanwhile, honest about what it could not read."""

import os
import socket
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.domain.errors import Failed
from holdfast.engine.entries import Entry, EntryKind
from holdfast.engine.file_content import CHUNK_BYTES, data_regions
from holdfast.engine.fs import Fs
from holdfast.engine.walk import WalkReport, walk

OpenDir = Callable[[Path], int]


def read_all(fs: Fs, root_fd: int) -> tuple[dict[bytes, Entry], dict[bytes, bytes], WalkReport]:
    entries, data, report = {}, {}, WalkReport()
    for walked in walk(fs, root_fd, report):
        if walked.entry.kind is EntryKind.FILE:
            with walked.open() as content:
                data[walked.entry.path] = b"".join(content)
        entries[walked.entry.path] = walked.entry
    return entries, data, report


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    (root / "a").write_bytes(b"aaa")
    (root / "sub" / "b").write_bytes(b"bb")
    (root / "z").symlink_to("/etc/passwd")
    return root


def test_parents_come_before_children_and_names_in_byte_order(fs: Fs, tmp_path: Path, open_dir: OpenDir) -> None:
    for name in (b"b", b"a.x", b"\xff", b"B"):
        os.close(os.open(os.path.join(os.fsencode(tmp_path), name), os.O_CREAT | os.O_WRONLY))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "z").touch()
    entries, _, _ = read_all(fs, open_dir(tmp_path))
    assert list(entries) == [b"", b"B", b"a", b"a/z", b"a.x", b"b", b"\xff"]


def test_metadata_is_exact(fs: Fs, tree: Path, open_dir: OpenDir) -> None:
    os.chown(tree / "a", 7, 8)
    os.chmod(tree / "a", 0o4751)
    os.utime(tree / "a", ns=(1, 1_234_567_890_123_456_789))
    os.setxattr(tree / "a", "user.x", b"y")
    entries, data, report = read_all(fs, open_dir(tree))
    assert entries[b"a"] == Entry(
        path=b"a",
        kind=EntryKind.FILE,
        mode=0o4751,
        uid=7,
        gid=8,
        mtime_ns=1_234_567_890_123_456_789,
        size=3,
        xattrs=((b"user.x", b"y"),),
    )
    assert entries[b"z"].link_target == b"/etc/passwd"
    assert data == {b"a": b"aaa", b"sub/b": b"bb"}
    assert report == WalkReport()


def test_further_names_of_a_file_are_hardlinks_to_the_first(fs: Fs, tree: Path, open_dir: OpenDir) -> None:
    os.link(tree / "sub" / "b", tree / "c")
    entries, data, _ = read_all(fs, open_dir(tree))
    assert (entries[b"c"].kind, data[b"c"]) == (EntryKind.FILE, b"bb")
    assert (entries[b"sub/b"].kind, entries[b"sub/b"].link_target) == (EntryKind.HARDLINK, b"c")


def test_a_hardlink_whose_first_name_vanished_is_captured_as_a_file(tree: Path, open_dir: OpenDir) -> None:
    os.link(tree / "a", tree / "second")

    class Vanishing(Fs):
        def reopen(self, fd: int, flags: int) -> int:
            if (tree / "a").exists():
                (tree / "a").unlink()
                raise FileNotFoundError(2, "gone")
            return super().reopen(fd, flags)

    entries, data, report = read_all(Vanishing(), open_dir(tree))
    assert (entries[b"second"].kind, data[b"second"]) == (EntryKind.FILE, b"aaa")
    assert report.vanished.first == ["a"]


def test_holes_are_not_read(fs: Fs, tmp_path: Path, open_dir: OpenDir) -> None:
    with open(tmp_path / "sparse", "wb") as file:
        file.seek(1 << 30)
        file.write(b"x" * 4096)
        file.truncate(1 << 40)
    entries, data, _ = read_all(fs, open_dir(tmp_path))
    assert entries[b"sparse"].extents == ((1 << 30, 4096),)
    assert entries[b"sparse"].size == 1 << 40
    assert data[b"sparse"] == b"x" * 4096


def test_the_smallest_holes_are_filled_where_there_are_too_many_regions(fs: Fs, tmp_path: Path) -> None:
    with open(tmp_path / "sparse", "wb+") as file:
        for block in (0, 2, 4, 100, 102, 1000):
            os.pwrite(file.fileno(), b"x" * 4096, block * 4096)
        size = 1001 * 4096
        assert data_regions(fs, file.fileno(), size) == tuple((b * 4096, 4096) for b in (0, 2, 4, 100, 102, 1000))
        assert data_regions(fs, file.fileno(), size, max_regions=3) == (
            (0, 5 * 4096),
            (100 * 4096, 3 * 4096),
            (1000 * 4096, 4096),
        )


def test_sockets_fifos_and_devices_are_reported_and_never_opened(fs: Fs, tree: Path, open_dir: OpenDir) -> None:
    os.mkfifo(tree / "fifo")
    os.mknod(tree / "device", 0o600 | 0o020000, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tree / "socket"))
        entries, _, report = read_all(fs, open_dir(tree))
    assert list(map(str, report.skipped.first)) == ["device (character device)", "fifo (FIFO)", "socket (socket)"]
    assert not {b"fifo", b"device", b"socket"} & set(entries)
    assert len(report.warnings("/data")) == 1


def test_no_mount_is_crossed(
    fs: Fs, tree: Path, open_dir: OpenDir, tmpfs: Callable[..., Path], mount: Callable[..., Path]
) -> None:
    (tmpfs(at=tree / "mounted") / "inside").touch()
    mount("--bind", "/etc", at=tree / "bound")
    (tree / "file").touch()
    mount("--bind", "/etc/hostname", at=tree / "file")
    entries, _, report = read_all(fs, open_dir(tree))
    assert list(map(str, report.skipped.first)) == ["bound (mount)", "file (mount)", "mounted (mount)"]
    assert set(entries) == {b"", b"a", b"sub", b"sub/b", b"z"}


def test_a_directory_exchanged_with_a_symlink_is_never_followed(tree: Path, open_dir: OpenDir, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")

    class Exchanging(Fs):
        """After the root was listed, a container puts a symlink in the place of a directory."""

        def listdir(self, fd: int) -> list[bytes]:
            names = super().listdir(fd)
            if b"sub" in names:
                (tree / "sub").rename(tree / "elsewhere")
                (tree / "sub").symlink_to(tmp_path / "outside")
            return names

    entries, data, _ = read_all(Exchanging(), open_dir(tree))
    assert entries[b"sub"].kind is EntryKind.SYMLINK
    assert set(data) == {b"a"}


def test_a_directory_that_was_opened_stays_the_same_whatever_stands_at_its_name(
    tree: Path, open_dir: OpenDir, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "b").write_text("secret")

    class Exchanging(Fs):
        """A container exchanges the directory after it was opened and listed."""

        def listdir(self, fd: int) -> list[bytes]:
            names = super().listdir(fd)
            if names == [b"b"]:
                (tree / "sub").rename(tree / "elsewhere")
                (tree / "sub").symlink_to(tmp_path / "outside")
            return names

    _, data, _ = read_all(Exchanging(), open_dir(tree))
    assert data[b"sub/b"] == b"bb"


def test_a_file_that_vanished_after_it_was_listed_is_reported(tree: Path, open_dir: OpenDir) -> None:
    class Removing(Fs):
        def listdir(self, fd: int) -> list[bytes]:
            names = super().listdir(fd)
            (tree / "a").unlink(missing_ok=True)
            return names

    entries, _, report = read_all(Removing(), open_dir(tree))
    assert b"a" not in entries
    assert (report.vanished.first, report.vanished.count) == (["a"], 1)


class Writing(Fs):
    """A container that rewrites a file each time it is read, some times over."""

    def __init__(self, path: Path, contents: list[bytes]) -> None:
        self._path = path
        self._contents = contents

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        data = super().pread(fd, size, offset)
        if self._contents:
            self._path.write_bytes(self._contents.pop(0))
        return data


def test_a_file_that_changed_while_it_was_read_is_read_again(tree: Path, open_dir: OpenDir) -> None:
    entries, data, report = read_all(Writing(tree / "a", [b"longer content"]), open_dir(tree))
    assert data[b"a"] == b"longer content"
    assert entries[b"a"].size == len(data[b"a"])
    assert report == WalkReport()


def test_a_file_that_changed_between_its_description_and_its_opening_is_described_anew(
    tree: Path, open_dir: OpenDir
) -> None:
    class Late(Fs):
        """A container rewrites the file when its facts are known and its data isn't."""

        def reopen(self, fd: int, flags: int) -> int:
            if (tree / "a").read_bytes() == b"aaa":
                (tree / "a").write_bytes(b"other")
                os.chmod(tree / "a", 0o604)
            return super().reopen(fd, flags)

    entries, data, report = read_all(Late(), open_dir(tree))
    assert (data[b"a"], entries[b"a"].size, entries[b"a"].mode) == (b"other", 5, 0o604)
    assert report == WalkReport()


def test_a_file_that_keeps_changing_is_reported_and_its_size_still_fits_its_entry(
    tree: Path, open_dir: OpenDir
) -> None:
    contents = [b"x" * (50 - length) for length in range(20)]
    entries, data, report = read_all(Writing(tree / "a", contents), open_dir(tree))
    assert report.changed.first == ["a"]
    assert len(data[b"a"]) == entries[b"a"].data_bytes


def test_a_large_file_that_shrinks_while_it_is_read_is_filled_up_and_reported(tree: Path, open_dir: OpenDir) -> None:
    (tree / "a").write_bytes(b"y" * (3 * CHUNK_BYTES))
    entries, data, report = read_all(Writing(tree / "a", [b""]), open_dir(tree))
    assert data[b"a"] == b"y" * CHUNK_BYTES + bytes(2 * CHUNK_BYTES)
    assert entries[b"a"].size == 3 * CHUNK_BYTES
    assert report.changed.first == ["a"]


def test_an_unreadable_file_is_an_error_that_names_it(tree: Path, open_dir: OpenDir) -> None:
    class Broken(Fs):
        def pread(self, fd: int, size: int, offset: int) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(Failed, match="reading a") as caught:
        read_all(Broken(), open_dir(tree))
    assert caught.value.code == "disk_error"


def test_an_error_of_the_reader_is_not_taken_for_one_of_the_file(fs: Fs, tree: Path, open_dir: OpenDir) -> None:
    def consume() -> None:
        for walked in walk(fs, open_dir(tree), WalkReport()):
            if walked.entry.kind is EntryKind.FILE:
                with walked.open():
                    raise OSError(28, "of the consumer")

    with pytest.raises(OSError, match="of the consumer"):
        consume()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_no_descriptor_stays_open(fs: Fs, tree: Path, open_dir: OpenDir) -> None:
    root = open_dir(tree)
    before = open_descriptors()
    read_all(fs, root)
    broken_off = walk(fs, root, WalkReport())
    for _ in range(4):
        next(broken_off)
    broken_off.close()
    assert open_descriptors() == before


def test_memory_does_not_grow_with_the_number_of_files_or_their_size(fs: Fs, tmp_path: Path, open_dir: OpenDir) -> None:
    for number in range(40):
        (tmp_path / str(number)).mkdir()
        for name in range(50):
            os.close(os.open(tmp_path / str(number) / f"{name:0200}", os.O_CREAT))
        os.link(tmp_path / str(number) / f"{0:0200}", tmp_path / str(number) / "another")
    with open(tmp_path / "large", "wb") as file:
        for _ in range(24):
            file.write(b"x" * CHUNK_BYTES)
    root = open_dir(tmp_path)
    tracemalloc.start()
    try:
        for walked in walk(fs, root, WalkReport()):
            if walked.entry.kind is EntryKind.FILE:
                with walked.open() as content:
                    for _ in content:
                        pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * CHUNK_BYTES


def test_reported_names_are_bounded_and_harmless_in_a_log() -> None:
    report = WalkReport()
    for number in range(1000):
        report.changed.add(b"line\nbreak \xff %d" % number)
    assert report.changed.count == 1000
    assert len(report.changed.first) == 100
    (warning,) = report.warnings("/data")
    assert "\n" not in str(warning)
    assert str(warning).startswith("/data: 1000 × changed")
    assert "and 990 more" in str(warning)
