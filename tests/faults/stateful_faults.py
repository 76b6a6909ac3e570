"""Faults of the stateful model that hit by number: a disk that is full at one call, a server killed at one point."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from holdfast.engine.fs import Fs
from holdfast.testing.kill_points import UNCOUNTED, KillPoints

WRITING: Final = (
    *("mkdirat", "symlinkat", "mknodat", "linkat", "rename", "rename_noreplace", "exchange", "open_unnamed"),
    *("write_all", "pwrite_all", "ftruncate", "fallocate", "setxattr", "fsync", "syncfs", "append_durable"),
)
"""The calls that a full disk may refuse."""


class FullDisk(Fs):
    """Refuses one call for want of space: the one that is due."""

    def __init__(self) -> None:
        self.left = 0
        self.refused = 0
        self._counting = threading.Lock()

    def spend(self) -> None:
        """One more call."""
        with self._counting:
            self.left -= 1
            if self.left != 0:
                return
            self.refused += 1
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _refusing(name: str) -> Callable[..., Any]:
    real = getattr(Fs, name)

    def call(self: FullDisk, *args: object, **options: object) -> object:
        self.spend()
        return real(self, *args, **options)

    return call


for _name in WRITING:
    setattr(FullDisk, _name, _refusing(_name))


class NthPoint(KillPoints):
    """Kills the process at the point of this number; none has a name."""

    def __init__(self, trace: Path, number: int) -> None:
        super().__init__(trace)
        self._left = number

    def reach(self, what: str) -> None:
        """The process is at a point."""
        del what
        if not self.armed or UNCOUNTED.get():
            return
        with self._counting:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
                signal.pause()
