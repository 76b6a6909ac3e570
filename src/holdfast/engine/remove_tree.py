"""Removes a tree that somebody else filled, and nothing but that tree (I7).

Every directory is opened through its parent's descriptor, so that no symlink is followed and no mount is crossed,
whatever is planted or moved meanwhile. A number of descriptors that doesn't grow with the tree: what lies too deep is
moved up, to the top of the tree, and removed from there.
"""

from __future__ import annotations

import errno
import os
import secrets
from typing import Final, NoReturn

from holdfast.domain.errors import Failed
from holdfast.domain.operation import Progress
from holdfast.engine.entries import display_path
from holdfast.engine.fs import Fs
from holdfast.engine.job import Job
from holdfast.engine.os_errors import translate

LEVELS: Final = 64
"""Directories that are open at a time."""

_MOUNTED: Final = frozenset({errno.EXDEV, errno.EBUSY})


def remove_tree(fs: Fs, dirfd: int, name: bytes, job: Job, *, where: str = "") -> None:
    """Remove ``name`` below ``dirfd`` with all that is in it; fine if it isn't there. Flushes nothing.

    Args:
        where: the path of ``dirfd``, for errors.

    Raises:
        Failed: ``mount_in_tree`` for a mount in the tree, or what the file system said, with the path. Part of the
            tree is left; calling again goes on.
        Cancelled: likewise.
    """
    _Removal(fs, job, where).remove(dirfd, name, ())


class _Removal:
    def __init__(self, fs: Fs, job: Job, where: str) -> None:
        self._where = where
        self._fs = fs
        self._job = job
        self._top: int | None = None
        self._done = 0

    def remove(self, dirfd: int, name: bytes, above: tuple[bytes, ...]) -> None:
        """Remove one name; ``above`` are the names that lead to ``dirfd``, from the top of the tree on."""
        self._job.check()
        path = (*above, name)
        try:
            self._fs.unlinkat(dirfd, name)
        except FileNotFoundError:
            return
        except IsADirectoryError:
            self._remove_directory(dirfd, name, path)
        except OSError as error:
            self._fail(error, path)
        self._done += 1
        self._job.progress(Progress(done_files=self._done))

    def _remove_directory(self, dirfd: int, name: bytes, path: tuple[bytes, ...]) -> None:
        try:
            if len(path) > LEVELS and self._top is not None:
                self._fs.rename_noreplace(dirfd, name, self._top, b"deep-" + secrets.token_hex(8).encode())
                return
            fd = self._fs.open_beneath(dirfd, name, os.O_RDONLY | os.O_DIRECTORY, no_xdev=True)
        except FileNotFoundError:
            return
        except OSError as error:
            self._fail(error, path)
        if self._top is None:
            self._top = fd
        try:
            self._empty(fd, path)
            while not self._rmdir(dirfd, name, path):
                self._empty_again(fd, path)
        finally:
            self._fs.close(fd)

    def _empty(self, fd: int, path: tuple[bytes, ...]) -> None:
        try:
            for child in self._fs.scan(fd):
                self.remove(fd, child, path)
        except OSError as error:
            self._fail(error, path)

    def _empty_again(self, fd: int, path: tuple[bytes, ...]) -> None:
        try:
            # A new description: on btrfs an open directory does not show what was moved into it since it was opened.
            fresh = self._fs.openat(fd, b".", os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            self._fail(error, path)
        try:
            self._empty(fresh, path)
        finally:
            self._fs.close(fresh)

    def _rmdir(self, dirfd: int, name: bytes, path: tuple[bytes, ...]) -> bool:
        """Whether the directory is gone. It isn't if names were passed over, which file systems may do to a reader
        under whom names vanish, or if something was moved up into it.
        """
        try:
            self._fs.rmdirat(dirfd, name)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:
                return False
            self._fail(error, path)
        return True

    def _fail(self, error: OSError, path: tuple[bytes, ...]) -> NoReturn:
        inside = display_path(b"/".join(path))
        shown = f"{self._where}/{inside}" if self._where else inside
        if error.errno in _MOUNTED:
            raise Failed(
                "mount_in_tree",
                f"Something is mounted at {shown}; what is below a mount is never removed.",
                next_step="Unmount it; the rest is removed the next time.",
                details={"path": shown},
            ) from error
        raise translate(error, f"removing {shown}") from error
