"""What is left beside volumes if the server dies while it tries an exchange or makes a volume: empty directories.

Invariants:

- They are known by their names, probes by their owner as well, and only what they consist of is removed.
- They are removed by ``rmdir`` alone, each through its parent's descriptor, through no symlink and across no mount
  (I7): what has anything in it stays, whatever it is called.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from contextlib import suppress
from typing import Final

from holdfast.engine.fs import TEMPORARY_PREFIX, Fs

PROBE_PREFIX: Final = b".holdfast-probe-"

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY
_PROBE: Final = re.compile(re.escape(PROBE_PREFIX) + rb"[0-9a-z]{16,32}")
_UNFINISHED: Final = re.compile(re.escape(TEMPORARY_PREFIX) + rb"[0-9a-f]{16}")
_INSIDE: Final = (b"wrapper/staged", b"wrapper", b"live", b"a", b"b")
"""All that probes consist of, what is below before what it is in."""


def remove_left_directories(fs: Fs, dirfd: int) -> list[str]:
    """Remove the probes and the unfinished volumes in a directory, and nothing else.

    Only for a time at which nobody tries an exchange or makes a volume.

    Returns:
        The names of those that could not be removed, for somebody to look at.

    Raises:
        OSError: the directory can't be listed.
    """
    kept: list[str] = []
    for name in sorted(fs.listdir(dirfd)):
        if _PROBE.fullmatch(name):
            removed = _probe_removed(fs, dirfd, name)
        elif _UNFINISHED.fullmatch(name):
            removed = _removed(fs, dirfd, name)
        else:
            continue
        if not removed:
            kept.append(os.fsdecode(name))
    return kept


def is_probe(fs: Fs, dirfd: int, name: bytes) -> bool:
    """Whether what stands at a name is a probe: ours, and nothing in it but what probes consist of.

    Also of one that is gone by now: somebody else has tried an exchange, and is done.
    """
    if not _PROBE.fullmatch(name):
        return False
    try:
        probe = fs.open_beneath(dirfd, name, _DIRECTORY, no_xdev=True)
        try:
            return fs.fstat(probe).st_uid == os.geteuid() and _consists_of(fs, probe, b"", _INSIDE)
        finally:
            fs.close(probe)
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _consists_of(fs: Fs, fd: int, path: bytes, known: Collection[bytes]) -> bool:
    for name in fs.listdir(fd):
        below = path + name
        if below not in known:
            return False
        inner = fs.open_beneath(fd, name, _DIRECTORY, no_xdev=True)
        try:
            if not _consists_of(fs, inner, below + b"/", known):
                return False
        finally:
            fs.close(inner)
    return True


def _removed(fs: Fs, dirfd: int, name: bytes) -> bool:
    try:
        fs.rmdirat(dirfd, name)
    except OSError:
        return False
    return True


def _probe_removed(fs: Fs, dirfd: int, name: bytes) -> bool:
    try:
        probe = fs.open_beneath(dirfd, name, _DIRECTORY, no_xdev=True)
        try:
            if fs.fstat(probe).st_uid != os.geteuid():
                return False
            for path in _INSIDE:
                _remove_empty(fs, probe, path)
        finally:
            fs.close(probe)
    except OSError:
        return False
    return _removed(fs, dirfd, name)


def _remove_empty(fs: Fs, probe: int, path: bytes) -> None:
    outer, _, name = path.rpartition(b"/")
    with suppress(FileNotFoundError):
        holder = fs.open_beneath(probe, outer or b".", _DIRECTORY, no_xdev=True)
        try:
            fs.rmdirat(holder, name)
        finally:
            fs.close(holder)
