"""A file system that ends in the middle of a swap: at each call that changes something, before it or after it."""

from __future__ import annotations

import errno
import os
from typing import Any, Final

from holdfast.engine.fs import Fs

CHANGING: Final = (
    "rename",
    "rename_noreplace",
    "exchange",
    "utimeat_nofollow",
    "fchown",
    "fchmod",
    "setxattr",
    "removexattr",
    "utime_fd",
    "fsync",
)


class CutOff(Exception):
    """The program ended here."""


class CutFs(Fs):
    """Ends before or after the ``cut``-th call that changes something.

    Args:
        cut: from 0; ``None``: never.
        after: whether the call is still made.
        exchanges: whether two names can be exchanged, and a name moved without replacing; ``False`` as on old ZFS, NFS.
    """

    def __init__(self, cut: int | None = None, *, after: bool = False, exchanges: bool = True) -> None:
        self.calls: list[str] = []
        self._cut, self._after, self._exchanges = cut, after, exchanges

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return self._counted(name, found) if name in CHANGING else found

    def _counted(self, name: str, call: Any) -> Any:
        def counted(*arguments: Any) -> Any:
            if not self._exchanges and name in ("exchange", "rename_noreplace"):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            mine = len(self.calls) == self._cut
            self.calls.append(name)
            if mine and not self._after:
                raise CutOff
            result = call(*arguments)
            if mine:
                raise CutOff
            return result

        return counted
