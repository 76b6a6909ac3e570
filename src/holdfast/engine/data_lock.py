"""One server at a time on a data directory.

The lock belongs to the open file, not to the process: workers inherit its descriptor, so that it is held until the last
of them is gone. Nothing recovers, and nobody else serves, while an orphaned worker could still write.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from holdfast.domain.errors import Busy
from holdfast.engine.os_errors import translate

FILE_NAME: Final = "lock"
_POLL_SECONDS: Final = 0.05


class DataLock:
    """A held lock; :meth:`acquire` takes it."""

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd

    @classmethod
    def acquire(cls, data_dir: Path, wait: float = 0.0) -> Self:
        """Take the lock of a data directory. Blocks the calling thread.

        Args:
            wait: seconds to wait for another holder; workers that a dead server left behind are gone within one.

        Raises:
            Busy: ``data_dir_in_use``, naming the process that holds it.
            Failed, NoSpace: the lock file can't be made.
        """
        path = data_dir / FILE_NAME
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                _lock(fd, wait, data_dir)
                os.ftruncate(fd, 0)
                os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
            except BaseException:
                os.close(fd)
                raise
        except OSError as error:
            raise translate(error, f"locking {path}") from error
        return cls(fd)

    def fileno(self) -> int:
        """The descriptor, for workers to inherit."""
        if self._fd is None:
            raise RuntimeError("the lock was released")
        return self._fd

    def release(self) -> None:
        """Let go, as far as this process is concerned. Idempotent. The file stays."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def _lock(fd: int, wait: float, data_dir: Path) -> None:
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise _in_use(data_dir, os.pread(fd, 20, 0).decode("ascii", "replace").strip()) from error
            time.sleep(_POLL_SECONDS)
        else:
            return


def _in_use(data_dir: Path, pid: str) -> Busy:
    holder = f"process {pid}, or a worker that it left behind" if pid.isdecimal() else "another process"
    return Busy(
        "data_dir_in_use",
        f"The data directory {data_dir} is in use by {holder}.",
        next_step="Stop that server first, or use another data directory.",
        details={"data_dir": str(data_dir), "pid": pid},
    )
