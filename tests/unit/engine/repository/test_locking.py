"""Those who read share a repository; who deletes has it alone; nobody waits who was cancelled."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from holdfast.domain.errors import Busy, Cancelled, Failed
from holdfast.domain.operation import Progress
from holdfast.engine.fs import Fs
from holdfast.engine.job import QuietJob
from holdfast.engine.repository.locking import RepositoryLock


@pytest.fixture
def lock(tmp_path: Path) -> RepositoryLock:
    return RepositoryLock(Fs(), tmp_path)


class WaitingJob(QuietJob):
    """Tells when it is asked for the first time, and is cancelled when somebody says so."""

    def __init__(self) -> None:
        self.asked, self.cancelled = threading.Event(), threading.Event()

    def progress(self, progress: Progress) -> None:
        raise AssertionError("waiting is no progress")

    def check(self) -> None:
        self.asked.set()
        if self.cancelled.is_set():
            raise Cancelled


def test_readers_share(lock: RepositoryLock) -> None:
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(lock.shared(QuietJob(), wait=0))


@pytest.mark.parametrize(("first", "second"), [("shared", "exclusive"), ("exclusive", "shared"), ("exclusive",) * 2])
def test_who_deletes_is_alone(lock: RepositoryLock, first: str, second: str) -> None:
    with getattr(lock, first)(QuietJob()):
        with pytest.raises(Busy) as caught, getattr(lock, second)(QuietJob(), wait=0):
            pass
        assert caught.value.code == "repository_busy"
    with getattr(lock, second)(QuietJob(), wait=0):
        pass


def test_a_lock_that_becomes_free_is_taken(lock: RepositoryLock) -> None:
    job, taken = WaitingJob(), threading.Event()

    def capture() -> None:
        with lock.shared(job):
            taken.set()

    waiting = threading.Thread(target=capture)
    with lock.exclusive(QuietJob()):
        waiting.start()
        assert job.asked.wait(30)
        assert not taken.is_set()
    waiting.join(30)
    assert taken.is_set()


def test_who_is_cancelled_stops_waiting_and_holds_nothing(lock: RepositoryLock) -> None:
    job = WaitingJob()
    job.cancelled.set()
    with lock.shared(QuietJob()):
        with pytest.raises(Cancelled), lock.exclusive(job):
            pass
        with lock.shared(QuietJob(), wait=0):
            pass
    with lock.exclusive(QuietJob(), wait=0):
        pass


def test_a_lock_that_is_free_needs_no_waiting(lock: RepositoryLock) -> None:
    job = WaitingJob()
    with lock.exclusive(job):
        assert not job.asked.is_set()


def test_readers_do_not_queue_behind_who_waits_to_delete(lock: RepositoryLock) -> None:
    job = WaitingJob()

    def delete() -> None:
        with pytest.raises(Cancelled), lock.exclusive(job):
            pass

    waiting = threading.Thread(target=delete)
    with lock.shared(QuietJob()):
        waiting.start()
        assert job.asked.wait(30)
        with lock.shared(QuietJob(), wait=0):
            job.cancelled.set()
        waiting.join(30)


def test_a_killed_process_holds_nothing(lock: RepositoryLock, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from holdfast.engine.fs import Fs\n"
        "from holdfast.engine.job import QuietJob; from holdfast.engine.repository.locking import RepositoryLock\n"
        "with RepositoryLock(Fs(), Path(sys.argv[1])).exclusive(QuietJob()): print('held', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Busy), lock.shared(QuietJob(), wait=0):
            pass
        holder.kill()
    with lock.exclusive(QuietJob(), wait=30):
        pass


def test_a_lock_file_that_is_there_is_enough_on_a_read_only_disk(tmp_path: Path) -> None:
    class ReadOnly(Fs):
        def openat(self, dirfd: int, name: bytes, flags: int, mode: int = 0o600) -> int:
            if flags & 0o100:
                raise OSError(errno.EROFS, "Read-only file system")
            return super().openat(dirfd, name, flags, mode)

    lock = RepositoryLock(ReadOnly(), tmp_path)
    with pytest.raises(Failed) as caught, lock.shared(QuietJob()):
        pass
    assert caught.value.code == "filesystem_read_only"
    with RepositoryLock(Fs(), tmp_path).shared(QuietJob()):
        pass
    with lock.shared(QuietJob(), wait=0):
        pass
