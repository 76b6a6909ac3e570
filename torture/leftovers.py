"""The place of a run, one run at a time; and removing what a run that was killed itself has left there."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.testing.docker_engine import DockerEngine
from torture.disks import mounts_below, unmount_below
from torture.machine import end_cut_off_starts, kill_all, lock_holders


class InUse(Exception):
    """Another run is at work at the place."""


def default_place() -> Path:
    """Short, since there are sockets below it, and the same each time, so that leftovers are found."""
    return Path(tempfile.gettempdir()) / f"holdfast-torture-{os.getuid()}"


@contextmanager
def alone_at(place: Path) -> Iterator[None]:
    """Have a place to oneself, without what an earlier run left; what failed rounds keep stays.

    Raises:
        InUse: another run has it.
    """
    place.mkdir(mode=0o700, exist_ok=True)
    facts = place.lstat()
    if place.is_symlink() or facts.st_uid != os.getuid() or facts.st_mode & 0o022:
        raise InUse(f"{place} belongs to somebody else, or others may write to it; choose another with --place")
    with (place / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse(
                f"another run is at work at {place}; wait for it, or choose another place with --place"
            ) from None
        remove_world(world_at(place))
        yield


def world_at(place: Path) -> Path:
    """Where the world of a run is."""
    return place / "w"


def kept_at(place: Path, seed: int, number: int) -> Path:
    """Where what a failed round left is kept."""
    return place / f"kept-{seed}-{number}"


def remove_world(world: Path) -> None:
    """End the processes of a world that was left behind, unmount its disks and remove it. Fine if there is none."""
    if not world.exists():
        return
    for disk in world.glob("disk*"):
        holders = lock_holders(disk / "holdfast")
        kill_all(holders)
    DockerEngine(world / "engine", network=False).discard()
    end_cut_off_starts([Path(point) for point in mounts_below(world)])
    unmount_below(world)
    shutil.rmtree(world)
