"""Whether there is room, in bytes and in inodes, before anything is written.

Needs are added up for each filesystem, since two paths may share one; what a swap will free later is not counted. What
has no known length is looked at again before each piece.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from holdfast.domain.errors import NoSpace, Problem
from holdfast.domain.units import format_size
from holdfast.engine.fs import Fs
from holdfast.engine.mounts import Mount, mount_by_id, read_own
from holdfast.engine.os_errors import translate

_NOT_THERE_YET: Final = frozenset({errno.ENOENT, errno.ENOTDIR})
_UNLIMITED: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Something that is going to be written.

    Attributes:
        path: absolute, free of symlinks; needn't exist yet.
        why: completes "needed for …": ``the staged tree of /data``.
    """

    path: str
    bytes: int
    inodes: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesystemSpace:
    """What is free on one filesystem, root's own reserve not counted.

    Attributes:
        device: tells filesystems apart (``major:minor``); one mounted twice has one.
        free_inodes: a very large number where the filesystem makes inodes as it needs them.
    """

    mount_point: str
    device: str
    type: str
    free_bytes: int
    free_inodes: int
    total_bytes: int


def space_of(fs: Fs, path: str) -> FilesystemSpace:
    """What is free on the filesystem that ``path``, or its nearest existing ancestor, is on.

    Args:
        path: absolute; a symlink in it is an error, since it may lead to another filesystem than where data would go.

    Raises:
        Failed: the path can't be looked at.
    """
    try:
        fd = _open_nearest(fs, path)
        try:
            facts = fs.statvfs(fd)
            mount_id = fs.mount_id(fd)
        finally:
            fs.close(fd)
    except OSError as error:
        raise translate(error, f"looking at the free space of {path}") from error
    mount = mount_by_id(mount_id, read_own(fs)) or _unlisted(mount_id, path)
    return FilesystemSpace(
        mount_point=mount.shown,
        device=mount.device,
        type=mount.type,
        free_bytes=facts.f_bavail * facts.f_frsize,
        free_inodes=facts.f_favail if facts.f_files else _UNLIMITED,
        total_bytes=facts.f_blocks * facts.f_frsize,
    )


def check(fs: Fs, needs: Sequence[Need], reserve_bytes: int, reserve_inodes: int) -> list[Problem]:
    """What is missing, on each filesystem: ``no_space_bytes`` and ``no_space_inodes``, or nothing.

    Args:
        reserve_bytes: to be left free on every filesystem that is written to; ``reserve_inodes`` likewise.

    Raises:
        Failed: a path can't be looked at.
    """
    spaces: dict[str, FilesystemSpace] = {}
    by_device: dict[str, list[Need]] = {}
    for need in needs:
        space = space_of(fs, need.path)
        spaces.setdefault(space.device, space)
        by_device.setdefault(space.device, []).append(need)
    problems = []
    for device, wanted in by_device.items():
        space = spaces[device]
        bytes_needed = sum(need.bytes for need in wanted) + reserve_bytes
        inodes_needed = sum(need.inodes for need in wanted) + reserve_inodes
        why = _reasons(wanted)
        if bytes_needed > space.free_bytes:
            problems.append(_problem("no_space_bytes", space, "bytes", bytes_needed, space.free_bytes, why))
        if inodes_needed > space.free_inodes:
            problems.append(_problem("no_space_inodes", space, "inodes", inodes_needed, space.free_inodes, why))
    return problems


def keep_reserve(fs: Fs, fd: int, count: int, reserve_bytes: int, doing: str) -> None:
    """Look at the space before ``count`` more bytes are written to ``fd``, whose whole length nobody knows yet.

    Snapshots and uploads usually share their filesystem with the journals and the database, which need what is left.

    Args:
        doing: what is being written, for the middle of a sentence.

    Raises:
        NoSpace: ``disk_reserve_reached``; less than ``reserve_bytes`` would stay free.
        OSError: the filesystem can't be asked.
    """
    facts = fs.statvfs(fd)
    free = facts.f_bavail * facts.f_frsize
    if free - count >= reserve_bytes:
        return
    raise NoSpace(
        "disk_reserve_reached",
        f"There is not enough room for {doing}: {format_size(free)} are free on its filesystem, of which "
        f"{format_size(reserve_bytes)} stay reserved for journals and database.",
        next_step="Free space there (snapshots that are no longer needed, for example), then try again. "
        "disk_reserve_bytes in the settings is the reserve.",
        details={"free": free, "reserve": reserve_bytes, "needed": count},
    )


def _problem(code: str, space: FilesystemSpace, what: str, needed: int, free: int, why: str) -> Problem:
    def amount(count: int) -> str:
        return format_size(count) if what == "bytes" else f"{count} {what}"

    return Problem(
        code=code,
        message=f"The filesystem {space.mount_point} ({space.type}) has {amount(free)} free; {amount(needed)} are "
        f"needed for {why} and the reserve.",
        next_step=f"Free at least {amount(needed - free)} on {space.mount_point}, then try again.",
        details={"filesystem": space.mount_point, "needed": needed, "free": free},
    )


def _reasons(needs: Iterable[Need]) -> str:
    return ", ".join(dict.fromkeys(need.why for need in needs))


def _open_nearest(fs: Fs, path: str) -> int:
    top = fs.open_root("/")
    try:
        relative = path.strip("/")
        while relative:
            try:
                return fs.open_beneath(top, relative, os.O_PATH)
            except OSError as error:
                if error.errno not in _NOT_THERE_YET:
                    raise
            relative = relative.rpartition("/")[0]
        return fs.duplicate(top)
    finally:
        fs.close(top)


def _unlisted(mount_id: int, path: str) -> Mount:
    # Mounted outside of what this process may see (a chroot): still one filesystem of its own.
    return Mount(id=mount_id, parent_id=0, device=f"mount-{mount_id}", root="/", mount_point=path, type="unknown")
