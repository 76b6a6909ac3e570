"""A file system that fails, or whose process dies, at a chosen call."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

from holdfast.engine.fs import Fs

_NEVER: Final = frozenset({"close"})
"""What an end of the process does anyway."""
_ALLOCATING: Final = frozenset({"mkdirat", "write_all", "rename", "rename_noreplace", "fsync"})
_CHANGING: Final = _ALLOCATING | {"unlinkat", "rmdirat", "ftruncate", "fchmod"}
_COMPOSED: Final = frozenset({"write_file_durable", "append_durable", "listdir", "duplicate", "reopen"})
"""Made of calls that are counted themselves, or not used here."""


class Died(BaseException):
    """The process was killed."""


class Counting(StrEnum):
    """Which calls count."""

    ALL = "all"
    CHANGING = "changing"
    """Those that change what is on disk, or make it last."""
    ALLOCATING = "allocating"
    """Those that may need room."""


_COUNTED: Final = {Counting.ALL: None, Counting.CHANGING: _CHANGING, Counting.ALLOCATING: _ALLOCATING}


class FaultyFs(Fs):
    """Counts calls, and does something at the ``at``-th.

    Args:
        error: raised there, once; with ``Died``, at every call from then on, as nothing more is done by the dead.
        counting: which calls.

    Attributes:
        calls: how many there were.
        what: the call at which it happened.
    """

    def __init__(self, at: int = 0, error: BaseException | None = None, *, counting: Counting = Counting.ALL) -> None:
        self.calls = 0
        self.what = ""
        self._at, self._error = at, error
        self._counting = _COUNTED[counting]

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or not callable(found) or name in _NEVER or name in _COMPOSED:
            return found
        return self._counted(name, found)

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            creates = name == "openat" and arguments[2] & os.O_CREAT
            if self._counting is None or name in self._counting or creates:
                self.calls += 1
            dead = isinstance(self._error, Died) and self.calls > self._at
            if self._error is not None and (self.calls == self._at or dead):
                error = self._error
                if not isinstance(error, Died):
                    self._error = None
                self.what = self.what or name
                raise error
            return call(*arguments, **options)

        return counted


def full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def broken() -> OSError:
    return OSError(errno.EIO, os.strerror(errno.EIO))
