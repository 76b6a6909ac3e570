from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from holdfast.domain.errors import Busy, Failed
from holdfast.engine.data_lock import DataLock


def test_a_second_server_is_refused_and_told_who_holds_the_directory(tmp_path: Path) -> None:
    with DataLock.acquire(tmp_path):
        with pytest.raises(Busy) as caught:
            DataLock.acquire(tmp_path)
        assert caught.value.code == "data_dir_in_use"
        assert str(os.getpid()) in caught.value.message
    with DataLock.acquire(tmp_path):
        pass


def test_the_lock_file_is_private_and_stays(tmp_path: Path) -> None:
    DataLock.acquire(tmp_path).release()
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600


def test_a_refused_server_leaves_the_holders_name_alone(tmp_path: Path) -> None:
    with DataLock.acquire(tmp_path):
        for _ in range(2):
            with pytest.raises(Busy, match=str(os.getpid())):
                DataLock.acquire(tmp_path)


def test_a_lock_that_becomes_free_in_time_is_taken(tmp_path: Path) -> None:
    first = DataLock.acquire(tmp_path)
    threading.Timer(0.1, first.release).start()
    DataLock.acquire(tmp_path, wait=30).release()


def test_the_lock_is_held_until_the_last_process_that_inherited_it_is_gone(tmp_path: Path) -> None:
    lock = DataLock.acquire(tmp_path)
    worker = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock.fileno(),), stderr=subprocess.DEVNULL
    )
    with worker:
        lock.release()
        with pytest.raises(Busy):
            DataLock.acquire(tmp_path)
        assert worker.stdin is not None
        worker.stdin.close()
        worker.wait()
    DataLock.acquire(tmp_path, wait=30).release()


def test_a_child_that_is_not_meant_to_does_not_inherit_the_lock(tmp_path: Path) -> None:
    lock = DataLock.acquire(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        lock.release()
        DataLock.acquire(tmp_path).release()
        assert child.stdin is not None
        child.stdin.close()


def test_a_released_lock_gives_no_descriptor_away(tmp_path: Path) -> None:
    lock = DataLock.acquire(tmp_path)
    lock.release()
    lock.release()
    with pytest.raises(RuntimeError):
        lock.fileno()


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Failed):
        DataLock.acquire(tmp_path / "none")


def test_the_lock_file_is_never_reached_through_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Failed):
        DataLock.acquire(tmp_path)
    assert not (tmp_path / "elsewhere").exists()
