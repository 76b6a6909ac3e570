"""Where a volume's wrapper is: beside the live directory, below a parent that has to be the journaled one.

What stands there is reached through descriptors only; no symlink and no mount on the way (I7).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from holdfast.domain.errors import Failed
from holdfast.domain.restore import VolumeFacts
from holdfast.engine.fs import Fs
from holdfast.engine.live import LiveRoots
from holdfast.engine.mounts import mounts_at_or_below, read_own
from holdfast.engine.os_errors import translate

STAGED: Final = b"staged"
"""The tree in a wrapper: the staged one before the exchange, the displaced one after it."""
MADE: Final = b"made"
"""The empty directory in a wrapper that is about to get the place of a missing live one."""

_WRAPPER: Final = re.compile(r"\.holdfast-[0-9a-z]+-[0-9]+")


def staged_path(facts: VolumeFacts) -> str:
    """Where the tree inside the volume's wrapper is; for people."""
    return f"{wrapper_path(facts)}/{STAGED.decode()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The open parent of a live directory."""

    fd: int
    name: bytes


@contextmanager
def opened_parent(fs: Fs, roots: LiveRoots, facts: VolumeFacts) -> Iterator[Place]:
    """The directory that holds live and wrapper. Raises ``Failed`` if it is another one than the journal names.

    While the journal names none yet, since it was missing, the wrapper's random name alone tells what is in it.
    """
    fd, name = roots.open_parent(facts.live)
    try:
        try:
            identity = fs.identity(fd)
        except OSError as error:
            raise translate(error, f"looking at the directory that holds {facts.live.path}") from error
        if facts.parent_identity not in (None, identity):
            raise Failed(
                "parent_replaced",
                f"The directory that holds {facts.live.path} is another one than before; is a disk not mounted?",
                next_step="Mount what is missing or put the directory back, then try again. Nothing was changed.",
                details={"path": facts.live.path},
            )
        yield Place(fd=fd, name=name)
    finally:
        fs.close(fd)


@contextmanager
def parent_if_there(fs: Fs, roots: LiveRoots, facts: VolumeFacts) -> Iterator[Place | None]:
    """As :func:`opened_parent`; ``None`` where that was missing and is missing again."""
    if facts.missing_parents and roots.first_missing(facts.live) not in (None, facts.live):
        yield None
        return
    with opened_parent(fs, roots, facts) as place:
        yield place


@contextmanager
def opened_wrapper(fs: Fs, parent: int, facts: VolumeFacts) -> Iterator[int]:
    """The volume's wrapper; ``OSError`` where it is missing, a symlink, a mount or no directory."""
    if not _WRAPPER.fullmatch(facts.wrapper):
        raise Failed(
            "wrapper_name_refused",
            f"{facts.wrapper!r} is no name that Holdfast gives a wrapper. Nothing was touched.",
            next_step="Look at the restore's journal: it was changed by something else.",
        )
    fd = fs.open_beneath(parent, facts.wrapper, os.O_RDONLY | os.O_DIRECTORY, no_xdev=True)
    try:
        yield fd
    finally:
        fs.close(fd)


def wrapper_path(facts: VolumeFacts) -> str:
    """Where the volume's wrapper is; for people, and to compare with mount points."""
    return f"{facts.live.path.rpartition('/')[0]}/{facts.wrapper}"


def mounted_at(fs: Fs, *paths: str) -> str | None:
    """The first mount point at or below one of ``paths``. Raises ``Failed`` if the mounts can't be read."""
    mountinfo = read_own(fs)
    return next((mount.mount_point for path in paths for mount in mounts_at_or_below(path, mountinfo)), None)
