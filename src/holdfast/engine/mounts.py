"""Mounts, as ``/proc/<pid>/mountinfo`` tells them: by mount, never by ``st_dev``.

``st_dev`` can't tell a bind mount from the directory beside it, and takes a btrfs subvolume for a filesystem
of its own.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from holdfast.engine.entries import display_path
from holdfast.engine.fs import Fs
from holdfast.engine.os_errors import translate

_OCTAL: Final = re.compile(r"\\([0-7]{3})")
_GONE: Final = frozenset({errno.ENOENT, errno.ESRCH, errno.EINVAL})
_HIDDEN: Final = frozenset({errno.EACCES, errno.EPERM})
_DELETED: Final = "//deleted"
"""What the kernel puts behind the path of a mounted directory that was removed."""
_INIT: Final = 1
_PIECE: Final = 1 << 16
_PATIENCE: Final = 2.0
"""Seconds that a process may stay hidden: one that enters a container is, until it has dropped what it came with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One line of ``mountinfo``.

    Attributes:
        device: ``major:minor`` of the filesystem; the same for all mounts of one filesystem.
        root: the directory of that filesystem that is mounted, as a path inside the filesystem.
        mount_point: where it is mounted, as the process sees it.
        type: the filesystem's type, ``ext4``.
    """

    id: int
    parent_id: int
    device: str
    root: str
    mount_point: str
    type: str

    @property
    def shown(self) -> str:
        """The mount point as people and programs may be told it: a path is bytes, and need be no text."""
        return display_path(os.fsencode(self.mount_point))


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A process in a mount namespace of its own that has ``path``, or what is above or below it, mounted.

    Attributes:
        namespace: its mount namespace, read along with its mounts: the process may be gone by now, and be nobody's.
        command: the process's short name, which it chose itself, for people.
        path: the host path that was asked about.
        mount_point: where the process sees it, for people.
    """

    pid: int
    namespace: str
    command: str
    path: str
    mount_point: str


@lru_cache(maxsize=8)
def parse(mountinfo: str) -> Sequence[Mount]:
    """The mounts of one ``mountinfo`` text, in its order: a later one covers an earlier one at the same place.

    The text is the same for as long as nothing is mounted; a host of many containers has hundreds of lines.
    """
    mounts = []
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        if "-" not in fields[6:]:
            continue
        dash = fields.index("-", 6)
        mounts.append(
            Mount(
                id=int(fields[0]),
                parent_id=int(fields[1]),
                device=fields[2],
                root=_unescape(fields[3]),
                mount_point=_unescape(fields[4]),
                type=fields[dash + 1],
            )
        )
    return tuple(mounts)


def read_own(fs: Fs) -> str:
    """The ``mountinfo`` of this process. Raises ``Failed``."""
    try:
        fd = fs.open_read("/proc/self/mountinfo")
        try:
            return _read_text(fs, fd)
        finally:
            fs.close(fd)
    except OSError as error:
        raise translate(error, "reading /proc/self/mountinfo") from error


def is_at_or_below(path: str, ancestor: str) -> bool:
    """Whether ``path`` is ``ancestor`` or below it; both absolute and normal."""
    return path == ancestor or path.startswith(ancestor.rstrip("/") + "/")


def mounts_at_or_below(path: str, mountinfo: str) -> list[Mount]:
    """The mounts whose mount point is ``path`` or below it."""
    return [mount for mount in parse(mountinfo) if is_at_or_below(mount.mount_point, path)]


def mount_of(path: str, mountinfo: str) -> Mount:
    """The mount that ``path`` (absolute, free of symlinks) is on.

    Raises:
        ValueError: there is no root mount in ``mountinfo``.
    """
    return _deepest(path, parse(mountinfo))


def mount_by_id(mount_id: int, mountinfo: str) -> Mount | None:
    """The mount with an id from :meth:`Fs.mount_id`; exact also where mounts cover each other."""
    return next((mount for mount in parse(mountinfo) if mount.id == mount_id), None)


def filesystem_of(fs: Fs, fd: int) -> str:
    """The filesystem that ``fd`` is on, in words for a person: ``ext4 at /srv``. Raises ``Failed``."""
    try:
        mount = mount_by_id(fs.mount_id(fd), read_own(fs))
    except OSError as error:
        raise translate(error, "finding out the filesystem of a file") from error
    return f"{mount.type} at {mount.shown}" if mount else f"type {fs.filesystem_type(fd):#x}"


def inside_filesystem(path: str, mounts: Sequence[Mount]) -> tuple[str, str]:
    """Where ``path`` really is: the filesystem's device and the path inside that filesystem."""
    mount = _deepest(path, mounts)
    below = path[len(mount.mount_point.rstrip("/")) :]
    return mount.device, (mount.root.rstrip("/") + below) or "/"


def mounted_elsewhere(path: str, mountinfo: str) -> Mount | None:
    """A mount, outside of ``path``, of a directory that lies in it."""
    mounts = parse(mountinfo)
    device, inside = inside_filesystem(path, mounts)
    return next(
        (
            mount
            for mount in mounts
            if mount.device == device
            and mount.root != inside
            and is_at_or_below(mount.root, inside)
            and not mount.root.endswith(_DELETED)
            and not is_at_or_below(mount.mount_point, path)
        ),
        None,
    )


def holders(fs: Fs, paths: Sequence[str], *, patience: float = _PATIENCE) -> list[Holder]:
    """Which processes in other mount namespaces (containers, whoever started them) have one of ``paths`` mounted.

    Mounted means: the directory itself, one below it, or one above it. One above it that this process has mounted too
    is how every namespace looks (the root disk) and doesn't count; nor does the path itself being a mount point in a
    namespace with the host's own root, as a system service has one. Where Holdfast runs in a container itself, the same
    goes for how the host's init has the path mounted. One process is named for each namespace and path.

    Args:
        paths: absolute, free of symlinks, as this process sees them.
        patience: seconds for which a process that is hidden from us is looked at again.

    Raises:
        Failed: ``/proc`` can't be read, or a process stays hidden from us: what it holds can't be ruled out.
    """
    own = parse(read_own(fs))
    common = {(mount.device, mount.root) for mount in own}
    own_places = {(mount.device, mount.root, mount.mount_point) for mount in own}
    roots = {inside_filesystem("/", own)}
    if host := _of_init(fs):
        leading = [mount for mount in host if any(is_at_or_below(path, mount.mount_point) for path in paths)]
        common |= {(mount.device, mount.root) for mount in leading}
        own_places |= {(mount.device, mount.root, mount.mount_point) for mount in leading}
        roots.add(inside_filesystem("/", host))
    wanted = [(path, *inside_filesystem(path, own)) for path in paths]
    found = []
    for pid, namespace, command, mounts in _foreign_namespaces(fs, patience):
        like_own = any(mount.mount_point == "/" for mount in mounts) and inside_filesystem("/", mounts) in roots
        for path, device, inside in wanted:
            for mount in mounts:
                if mount.device != device:
                    continue
                if like_own and (mount.device, mount.root, mount.mount_point) in own_places:
                    continue
                below = is_at_or_below(mount.root, inside)
                above = is_at_or_below(inside, mount.root) and (mount.device, mount.root) not in common
                if below or above:
                    found.append(
                        Holder(pid=pid, namespace=namespace, command=command, path=path, mount_point=mount.shown)
                    )
                    break
    return found


def _of_init(fs: Fs) -> Sequence[Mount]:
    """The mounts of the first process, the host's; none where it is hidden, as an unprivileged container has it."""
    try:
        fd = fs.open_read(f"/proc/{_INIT}/mountinfo")
        try:
            mounts = parse(_read_text(fs, fd))
        finally:
            fs.close(fd)
    except OSError as error:
        if error.errno in _GONE or error.errno in _HIDDEN:
            return ()
        raise translate(error, "reading the mounts of the first process in /proc") from error
    return mounts if any(mount.mount_point == "/" for mount in mounts) else ()


def namespace_of(pid: int) -> str | None:
    """A process's mount namespace, as ``Holder.namespace`` names it; ``None`` if there is no such process."""
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return None


def _foreign_namespaces(fs: Fs, patience: float) -> Iterator[tuple[int, str, str, Sequence[Mount]]]:
    """A process id, the name, that process's name and the mounts of every mount namespace but our own."""
    try:
        proc = fs.open_root("/proc")
    except OSError as error:
        raise translate(error, "reading /proc") from error
    deadline = time.monotonic() + patience
    try:
        seen = {fs.readlinkat(proc, b"self/ns/mnt")}
        waiting = deque(sorted(int(name) for name in fs.listdir(proc) if name.isdigit()))
        while waiting:
            pid = waiting.popleft()
            try:
                namespace = fs.readlinkat(proc, b"%d/ns/mnt" % pid)
                if namespace in seen:
                    continue
                mounts = parse(_read_below(fs, proc, b"%d/mountinfo" % pid))
                command = display_path(os.fsencode(_read_below(fs, proc, b"%d/comm" % pid).strip()))
            except OSError as error:
                # It ended meanwhile. Its namespace isn't marked as seen: another process may live on in it.
                # The system's own init may be hidden even from root; it is nobody's container.
                if error.errno in _GONE or (pid == _INIT and error.errno in _HIDDEN):
                    continue
                if error.errno not in _HIDDEN or time.monotonic() > deadline:
                    raise
                waiting.append(pid)
                time.sleep(0.01)
                continue
            seen.add(namespace)
            yield pid, os.fsdecode(namespace), command, mounts
    except OSError as error:
        raise translate(error, "reading the mounts of processes in /proc") from error
    finally:
        fs.close(proc)


def _deepest(path: str, mounts: Sequence[Mount]) -> Mount:
    covering = [mount for mount in mounts if is_at_or_below(path, mount.mount_point)]
    if not covering:
        raise ValueError(f"no mount covers {path}")
    # max() keeps the first of equals; the last mounted is the one on top.
    return max(reversed(covering), key=lambda mount: len(mount.mount_point))


def _read_below(fs: Fs, dirfd: int, path: bytes) -> str:
    fd = fs.openat(dirfd, path, os.O_RDONLY)
    try:
        return _read_text(fs, fd)
    finally:
        fs.close(fd)


def _read_text(fs: Fs, fd: int) -> str:
    pieces = []
    while piece := fs.read(fd, _PIECE):
        pieces.append(piece)
    return os.fsdecode(b"".join(pieces))


def _unescape(field: str) -> str:
    # The kernel escapes blanks, tabs, newlines and backslashes, as octal bytes below 128.
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field)
