"""Keys are made once and kept to their owner."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from holdfast.domain.errors import Failed, HoldfastError, NoSpace
from holdfast.engine.fs import Fs
from holdfast.engine.keys import load_key, load_or_create_key, replace_key


def test_a_key_is_made_once_and_read_ever_after(fs: Fs, tmp_path: Path) -> None:
    path = tmp_path / "keys" / "archive.key"
    key = load_or_create_key(fs, path)
    assert len(key) == 32
    assert load_or_create_key(fs, path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_two_installations_have_different_keys(fs: Fs, tmp_path: Path) -> None:
    assert load_or_create_key(fs, tmp_path / "a" / "key") != load_or_create_key(fs, tmp_path / "b" / "key")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_can_get_at_is_refused(fs: Fs, tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys" / "archive.key"
    load_or_create_key(fs, path)
    path.chmod(mode)
    with pytest.raises(Failed) as caught:
        load_or_create_key(fs, path)
    assert caught.value.code == "key_readable_by_others"


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_key_of_another_length_is_refused_and_never_replaced(fs: Fs, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keys" / "archive.key"
    path.parent.mkdir()
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(Failed) as caught:
        load_or_create_key(fs, path)
    assert caught.value.code == "key_malformed"
    assert path.read_bytes() == content


def test_a_key_behind_a_symlink_is_refused(fs: Fs, tmp_path: Path) -> None:
    load_or_create_key(fs, tmp_path / "elsewhere" / "key")
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "archive.key").symlink_to(tmp_path / "elsewhere" / "key")
    with pytest.raises(HoldfastError):
        load_or_create_key(fs, tmp_path / "keys" / "archive.key")


def test_a_full_disk_leaves_no_half_a_key(tmp_path: Path) -> None:
    class Full(Fs):
        def fsync(self, fd: int) -> None:
            if not stat.S_ISDIR(os.fstat(fd).st_mode):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(NoSpace):
        load_or_create_key(Full(), tmp_path / "keys" / "archive.key")
    assert list((tmp_path / "keys").iterdir()) == []


def test_looking_for_a_key_makes_nothing(fs: Fs, tmp_path: Path) -> None:
    path = tmp_path / "keys" / "repository.key"
    assert load_key(fs, path) is None
    assert not path.parent.exists()
    key = load_or_create_key(fs, path)
    assert load_key(fs, path) == key


def test_a_key_that_gives_way_can_be_kept(fs: Fs, tmp_path: Path) -> None:
    path = tmp_path / "keys" / "repository.key"
    former = load_or_create_key(fs, path)
    replace_key(fs, path, bytes(32), keep_as="former.key")
    assert load_key(fs, path) == bytes(32)
    assert load_key(fs, path.with_name("former.key")) == former


def test_a_full_disk_leaves_the_former_key_in_its_place(fs: Fs, tmp_path: Path) -> None:
    path = tmp_path / "keys" / "repository.key"
    former = load_or_create_key(fs, path)

    class Full(Fs):
        def write_all(self, fd: int, data: bytes | memoryview) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(NoSpace):
        replace_key(Full(), path, bytes(32), keep_as="former.key")
    assert load_key(fs, path) == former
