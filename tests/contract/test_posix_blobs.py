"""Blobs in a directory pass the suite of their port, and survive what a file system does."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.domain.errors import Damaged, Failed, HoldfastError, NoSpace, NotFound
from holdfast.engine.fs import TEMPORARY_PREFIX, Fs
from holdfast.engine.repository.blobs import BlobInfo, BlobStore
from holdfast.engine.repository.posix_blobs import PosixBlobs
from tests.contract.blob_store import BlobStoreContract, Plant
from tests.contract.snapshot_store import FailingFs


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "repository"


@pytest.fixture
def blobs(root: Path) -> Iterator[BlobStore]:
    with PosixBlobs.made_at(Fs(), root) as opened:
        yield opened


@pytest.fixture
def plant(root: Path) -> Plant:
    def plant(name: str, content: bytes) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return plant


class TestPosixBlobs(BlobStoreContract):
    pass


class RecordingFs(Fs):
    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def _note(self, what: str, fd: int) -> None:
        self.calls.append((what, Path(self.path_of(fd)).name))

    def fsync(self, fd: int) -> None:
        self._note("flush", fd)
        super().fsync(fd)

    def rename(self, from_dirfd: int, from_name: bytes, to_dirfd: int, to_name: bytes) -> None:
        self._note("rename", to_dirfd)
        super().rename(from_dirfd, from_name, to_dirfd, to_name)

    def rename_noreplace(self, from_dirfd: int, from_name: bytes, to_dirfd: int, to_name: bytes) -> None:
        self._note("rename", to_dirfd)
        super().rename_noreplace(from_dirfd, from_name, to_dirfd, to_name)

    def unlinkat(self, dirfd: int, name: bytes) -> None:
        self._note("unlink", dirfd)
        super().unlinkat(dirfd, name)


@pytest.mark.parametrize("way", ["put", "create"])
def test_a_blob_is_flushed_before_it_gets_its_name_and_its_name_is_flushed_after(root: Path, way: str) -> None:
    fs = RecordingFs()
    with PosixBlobs.made_at(fs, root) as blobs:
        blobs.put("packs/other", [b"x"])
        fs.calls.clear()
        (blobs.put if way == "put" else blobs.create)("packs/a", [b"x"])
    assert [(what, name.startswith(TEMPORARY_PREFIX.decode())) for what, name in fs.calls] == [
        ("flush", True),
        ("rename", False),
        ("flush", False),
    ]
    assert {name for _, name in fs.calls[1:]} == {"packs"}


def test_a_new_folder_is_flushed_into_the_root_before_its_first_blob(root: Path) -> None:
    fs = RecordingFs()
    with PosixBlobs.made_at(fs, root) as blobs:
        fs.calls.clear()
        blobs.put("packs/a", [b"x"])
    assert fs.calls[0] == ("flush", root.name)


def test_deleting_is_durable_when_it_returns_with_one_flush_for_many(root: Path) -> None:
    fs = RecordingFs()
    with PosixBlobs.made_at(fs, root) as blobs:
        for name in ("packs/a", "packs/b"):
            blobs.put(name, [b"x"])
        fs.calls.clear()
        blobs.delete(["packs/a", "packs/b"])
    assert fs.calls == [("unlink", "packs"), ("unlink", "packs"), ("flush", "packs")]


@pytest.mark.parametrize("way", ["put", "create"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_wherever_writing_fails_the_blob_is_whole_or_absent_and_nothing_else_is_left(
    tmp_path: Path, way: str, number: int
) -> None:
    expected = NoSpace if number == errno.ENOSPC else Failed
    for fail_at in range(1, 20):
        root = tmp_path / str(fail_at)
        fs = FailingFs(fail_at=fail_at, error=OSError(number, os.strerror(number)))
        try:
            with PosixBlobs.made_at(fs, root) as blobs:
                (blobs.put if way == "put" else blobs.create)("packs/a", [b"one", b"two"])
        except expected:
            pass
        else:
            break
        left = [path for path in root.rglob("*") if path.is_file()] if root.exists() else []
        assert [(path.name, path.read_bytes()) for path in left] in ([], [("a", b"onetwo")])
    else:
        pytest.fail("it never succeeded")


def test_a_blob_that_can_not_be_replaced_stays_the_old_one(root: Path) -> None:
    with PosixBlobs.made_at(Fs(), root) as blobs:
        blobs.put("packs/a", [b"old"])
    with PosixBlobs(FailingFs(fail_at=2, error=OSError(errno.ENOSPC, "full")), root) as blobs:
        with pytest.raises(NoSpace):
            blobs.put("packs/a", [b"new"])
        assert blobs.get("packs/a", limit=10) == b"old"
    assert os.listdir(root / "packs") == ["a"]


def test_what_a_crash_left_is_cleaned_up_and_only_that(blobs: BlobStore, root: Path, plant: Plant) -> None:
    left = TEMPORARY_PREFIX.decode() + "0123456789abcdef"
    blobs.put("packs/a", [b"x"])
    for name in (left, f"packs/{left}", f"manifests/{left}", "lock", "cache/index.sqlite", "packs/.mine"):
        plant(name, b"x")
    assert sorted(blobs.clean_temporary()) == [left, f"manifests/{left}", f"packs/{left}"]
    kept = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert kept == {"packs/a", "packs/.mine", "lock", "cache/index.sqlite"}


def test_no_blob_is_reached_through_a_symlink(blobs: BlobStore, root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    blobs.put("packs/a", [b"x"])
    (root / "packs" / "link").symlink_to(tmp_path / "secret")
    (root / "linked").symlink_to(tmp_path)
    for name in ("packs/link", "linked/secret"):
        with pytest.raises(HoldfastError):
            blobs.get(name, limit=100)
    with pytest.raises(HoldfastError):
        blobs.put("linked/new", [b"x"])
    assert blobs.list_blobs("packs") == [BlobInfo("packs/a", 1)]
    blobs.delete(["packs/link"])
    assert (tmp_path / "secret").read_text() == "secret"
    assert not (tmp_path / "new").exists()


def test_a_directory_that_is_not_there_is_not_made_by_opening_it(root: Path) -> None:
    with pytest.raises(NotFound) as caught:
        PosixBlobs(Fs(), root)
    assert caught.value.code == "blob_store_missing"
    assert not root.exists()


def test_nobody_else_can_read_what_is_stored(blobs: BlobStore, root: Path) -> None:
    blobs.put("packs/a", [b"x"])
    assert [(path.stat().st_mode & 0o777) for path in (root, root / "packs", root / "packs/a")] == [0o700, 0o700, 0o600]


def test_a_read_that_the_disk_refuses_is_told_as_that(root: Path) -> None:
    class BadDisk(Fs):
        def pread(self, fd: int, size: int, offset: int) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    with PosixBlobs.made_at(BadDisk(), root) as blobs:
        blobs.put("packs/a", [b"x"])
        with pytest.raises(Failed) as caught:
            blobs.get_range("packs/a", 0, 1)
    assert caught.value.code == "disk_error"


def test_a_blob_that_shrinks_while_it_is_read_is_truncated(root: Path) -> None:
    class Shrinking(Fs):
        def pread(self, fd: int, size: int, offset: int) -> bytes:
            return super().pread(fd, 2, offset) if offset == 0 else b""

    with PosixBlobs.made_at(Shrinking(), root) as blobs:
        blobs.put("packs/a", [b"0123"])
        with pytest.raises(Damaged) as caught:
            blobs.get_range("packs/a", 0, 4)
    assert caught.value.code == "blob_truncated"
