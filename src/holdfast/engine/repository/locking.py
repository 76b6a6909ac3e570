"""Who may work on a repository at the same time, on this machine.

What reads or adds (captures, restores, copies, verification) shares the lock; what deletes packs has it alone, and only
for a short while. The lock is an flock of the file ``lock``: it is gone with the process that holds it.

Only processes of one machine see it. Against a second machine the repository's owner stands (see
:mod:`holdfast.engine.repository.repository_file`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from holdfast.domain.errors import Busy
from holdfast.engine.fs import Fs
from holdfast.engine.job import Job
from holdfast.engine.os_errors import translate

FILE_NAME: Final = b"lock"
_POLL_SECONDS: Final = 0.02


class RepositoryLock:
    """The lock of one repository. Safe to use from several threads; each use of it is a holder of its own.

    Args:
        directory: where the lock file lies (it is made when it is first needed): a local repository's own directory,
            or the directory of a remote one's caches.
    """

    def __init__(self, fs: Fs, directory: Path) -> None:
        self._fs, self._directory = fs, directory

    @contextmanager
    def shared(self, job: Job, *, wait: float | None = None) -> Iterator[None]:
        """Hold the lock together with others who share it.

        Args:
            wait: seconds to wait for whoever has it alone; ``None`` waits until ``job`` is cancelled.

        Raises:
            Busy: ``repository_busy``.
            Cancelled: the job was cancelled while it waited.
        """
        with self._held(job, exclusive=False, wait=wait):
            yield

    @contextmanager
    def exclusive(self, job: Job, *, wait: float | None = None) -> Iterator[None]:
        """Hold the lock alone. Arguments and errors as of :meth:`shared`.

        New sharers don't queue behind it, so that no restore waits for a deletion that waits for another capture.
        """
        with self._held(job, exclusive=True, wait=wait):
            yield

    @contextmanager
    def _held(self, job: Job, *, exclusive: bool, wait: float | None) -> Iterator[None]:
        fd = self._open()
        try:
            deadline = None if wait is None else time.monotonic() + wait
            while not self._try(fd, exclusive=exclusive):
                job.check()
                if deadline is not None and time.monotonic() >= deadline:
                    raise _busy(exclusive=exclusive)
                time.sleep(_POLL_SECONDS)
            yield
        finally:
            self._fs.close(fd)

    def _try(self, fd: int, *, exclusive: bool) -> bool:
        try:
            return self._fs.try_lock(fd, exclusive=exclusive)
        except OSError as error:
            raise translate(error, f"locking {self._directory}") from error

    def _open(self) -> int:
        try:
            directory = self._fs.open_root(str(self._directory))
            try:
                try:
                    return self._fs.openat(directory, FILE_NAME, os.O_RDONLY)
                except FileNotFoundError:
                    return self._fs.openat(directory, FILE_NAME, os.O_RDONLY | os.O_CREAT)
            finally:
                self._fs.close(directory)
        except OSError as error:
            raise translate(error, f"locking {self._directory}") from error


def _busy(*, exclusive: bool) -> Busy:
    holder = "a snapshot, a restore or another reader" if exclusive else "a cleaning-up that deletes packs"
    return Busy(
        "repository_busy",
        f"The repository is in use by {holder}.",
        next_step="Nothing was changed. Try again when that has ended.",
    )
