"""Where a volume's wrapper is, below a directory that has to be the journaled one.

Beside the live directory; in it where that is a mount point, since nothing is renamed from one mount to another.

What stands there is reached through descriptors only; no symlink and no mount on the way (I7).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from holdfast.domain.errors import Failed
from holdfast.domain.restore import VolumeFacts
from holdfast.engine.fs import Fs
from holdfast.engine.live import LiveRoots
from holdfast.engine.mounts import mounts_at_or_below, read_own
from holdfast.engine.os_errors import translate
from holdfast.engine.root_names import WRAPPER_NAME
from holdfast.engine.volume_identity import volume_identity

STAGED: Final = b"staged"
"""The tree in a wrapper: the staged one before the exchange, the displaced one after it."""
MADE: Final = b"made"
"""The empty directory in a wrapper that is about to get the place of a missing live one."""


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
def opened_home(fs: Fs, roots: LiveRoots, facts: VolumeFacts) -> Iterator[int]:
    """The directory that holds the wrapper. Raises ``Failed`` if it is another one than the journal names."""
    if not facts.way.inside:
        with opened_parent(fs, roots, facts) as place:
            yield place.fd
        return
    fd = roots.open(facts.live)
    try:
        try:
            identity = volume_identity(fs, fd)
        except OSError as error:
            raise translate(error, f"looking at {facts.live.path}") from error
        if identity != facts.live_identity:
            raise Failed(
                "parent_replaced",
                f"{facts.live.path} is another directory than before; is its disk not mounted?",
                next_step="Mount what is missing, then try again. Nothing was changed.",
                details={"path": facts.live.path},
            )
        yield fd
    finally:
        fs.close(fd)


@contextmanager
def home_if_there(fs: Fs, roots: LiveRoots, facts: VolumeFacts) -> Iterator[int | None]:
    """As :func:`opened_home`; ``None`` where that was missing and is missing again."""
    if facts.way.inside:
        with opened_home(fs, roots, facts) as home:
            yield home
        return
    with parent_if_there(fs, roots, facts) as place:
        yield None if place is None else place.fd


@contextmanager
def unchanged_time(fs: Fs, fd: int) -> Iterator[None]:
    """Leave a directory's modification time as it was, although names are made or removed in it meanwhile."""
    before = fs.fstat(fd).st_mtime_ns
    yield
    fs.utime_fd(fd, before)


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
    """The volume's wrapper; ``OSError`` where it is missing, a symlink, a mount or no directory.

    Args:
        parent: the directory that holds it.

    Raises:
        Failed: ``wrapper_replaced``: it lies in the volume, and is another directory than the journal names.
    """
    if not WRAPPER_NAME.fullmatch(facts.wrapper):
        raise Failed(
            "wrapper_name_refused",
            f"{facts.wrapper!r} is no name that Holdfast gives a wrapper. Nothing was touched.",
            next_step="Look at the restore's journal: it was changed by something else.",
        )
    fd = fs.open_beneath(parent, facts.wrapper, os.O_RDONLY | os.O_DIRECTORY, no_xdev=True)
    try:
        if facts.wrapper_identity not in (None, fs.identity(fd)):
            raise Failed(
                "wrapper_replaced",
                f"{wrapper_path(facts)} is not the directory that Holdfast made. Nothing was touched.",
                next_step="Find out which container moves directories there, and put it back. If nothing needs it, "
                "remove it by hand.",
                details={"path": wrapper_path(facts)},
            )
        yield fd
    finally:
        fs.close(fd)


def wrapper_path(facts: VolumeFacts) -> str:
    """Where the volume's wrapper is; for people, and to compare with mount points."""
    return f"{facts.wrapper_parent}/{facts.wrapper}"


def mounted_inside(fs: Fs, path: str) -> str | None:
    """The first mount point below ``path``. Raises ``Failed`` if the mounts can't be read."""
    found = mounts_at_or_below(path, read_own(fs))
    return next((mount.shown for mount in found if mount.mount_point != path), None)


def mounted_at(fs: Fs, *paths: str) -> str | None:
    """The first mount point at or below one of ``paths``. Raises ``Failed`` if the mounts can't be read."""
    mountinfo = read_own(fs)
    return next((mount.shown for path in paths for mount in mounts_at_or_below(path, mountinfo)), None)


def exchange_failed(facts: VolumeFacts, reason: str, done: Sequence[int]) -> Failed:
    """That a volume could not be brought to the other side.

    Args:
        done: indices of the volumes that are there, durably.
    """
    return Failed(
        "exchange_failed",
        f"The data of {facts.target} at {facts.live.path} could not be exchanged: {reason}.",
        next_step="Both trees are kept. Mend what is named, then try again; don't remove any .holdfast- directory.",
        details={
            "index": facts.index,
            "target": facts.target,
            "path": facts.live.path,
            "staged_path": staged_path(facts),
            "reason": reason,
            "exchanged": list(done),
        },
    )
