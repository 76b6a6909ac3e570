"""Sample trees with everything that a tree can hold, and an exact description by which two trees are compared.

Written against plain ``os`` calls on paths, on purpose: what it says of a tree doesn't depend on the engine's own
walker and writer, which are tested with it. Needs root, and a filesystem that keeps extended attributes.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import struct
from pathlib import Path
from typing import Final

TreeDescription = dict[bytes, tuple[object, ...]]
"""Relative path (``b""`` for the root) → kind, mode, uid, gid, mtime_ns, then what belongs to the kind."""

_TIME_NS: Final = 1_600_000_000_123_456_789
_BLOCK: Final = 4096
_NAMESPACES: Final = ("user.", "trusted.", "security.", "system.posix_acl_")
_UNDEFINED: Final = 0xFFFF_FFFF


def wrappers_below(*roots: Path) -> list[Path]:
    """What restores left beside volumes, however deep. Others may be removing it meanwhile."""
    return [
        Path(directory, name)
        for root in roots
        for directory, folders, files in os.walk(root)  # passes over what is gone when its turn comes
        for name in (*folders, *files)
        if name.startswith(".holdfast-")
    ]


def posix_acl(*, user: int, permissions: int = 7, mode: int = 0o750) -> bytes:
    """A POSIX ACL, as its extended attribute holds it, that grants ``permissions`` to ``user`` besides ``mode``.

    The mask lets through what the group bits of ``mode`` allow, so that the ACL and the mode agree.
    """
    entries = (
        (0x01, mode >> 6 & 7, _UNDEFINED),
        (0x02, permissions, user),
        (0x04, 5, _UNDEFINED),
        (0x10, mode >> 3 & 7, _UNDEFINED),
        (0x20, mode & 7, _UNDEFINED),
    )
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def build_sample_tree(path: str | bytes | os.PathLike[str], *, privileged: bool = True) -> None:
    """Fill a directory, made if it is missing, with one of everything that a snapshot keeps.

    Args:
        privileged: with setuid and setgid bits and ``trusted.*`` and ``security.*`` attributes, which only Holdfast's
            own snapshots bring back.
    """
    root = os.fsencode(path)
    os.makedirs(root, exist_ok=True)
    _Sample(root).build(privileged=privileged)


class _Sample:
    def __init__(self, root: bytes) -> None:
        self._root = root
        self._entries: list[bytes] = []

    def build(self, *, privileged: bool) -> None:
        self._plain()
        self._odd_names()
        self._links()
        self._sparse()
        self._attributes()
        if privileged:
            self._privileged()
        for number, at in enumerate(reversed([self._root, *self._entries])):
            time_ns = _TIME_NS + number * 1_000_000_007
            os.utime(at, ns=(time_ns, time_ns), follow_symlinks=False)

    def _plain(self) -> None:
        self._file(b"notes.txt", b"plain text\n", mode=0o644)
        self._file(b"empty", b"", mode=0o600)
        self._file(b"unreadable", b"mode 000\n", mode=0)
        self._directory(b"library", mode=0o755)
        self._directory(b"library/deep", mode=0o700, owner=(1000, 1001))
        self._file(b"library/deep/owned", os.urandom(70_000), mode=0o640, owner=(1000, 1001))
        self._file(b"library/large", bytes(range(256)) * 6000, mode=0o644, owner=(65534, 65534))
        self._directory(b"empty directory", mode=0o711)
        self._directory(b"shared", mode=0o1777)

    def _odd_names(self) -> None:
        for name in (b"caf\xe9 latin-1", b"line\nbreak", b"n" * 255, b"-rf", b" ", b"...", b"tab\tquote'\"\\", b"\x01"):
            self._file(name, name, mode=0o644)
        self._directory("ünïcode".encode(), mode=0o755)

    def _links(self) -> None:
        self._symlink(b"to-notes", b"notes.txt")
        self._symlink(b"dangling", b"nowhere/at/all")
        self._symlink(b"absolute", b"/etc/passwd")
        self._symlink(b"library/up", b"../..", owner=(1000, 1001))
        self._file(b"first name", b"one content, three names\n", mode=0o644)
        for name in (b"library/second name", b"a third name"):
            os.link(self._at(b"first name"), self._add(name))

    def _sparse(self) -> None:
        fd = os.open(self._add(b"sparse"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.pwrite(fd, b"\1" * _BLOCK, 4 * _BLOCK)
            os.pwrite(fd, b"\2" * 100, 64 * _BLOCK)
            os.ftruncate(fd, 1000 * _BLOCK + 17)
        finally:
            os.close(fd)
        fd = os.open(self._add(b"all hole"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.ftruncate(fd, 100_000)
        finally:
            os.close(fd)

    def _attributes(self) -> None:
        self._file(b"tagged", b"with attributes\n", mode=0o644)
        os.setxattr(self._at(b"tagged"), "user.colour", b"blue")
        os.setxattr(self._at(b"tagged"), "user.binary", bytes(range(200)))
        os.setxattr(self._at(b"library"), "user.empty", b"")
        self._file(b"acl", b"for one more user\n", mode=0o750)
        os.setxattr(self._at(b"acl"), "system.posix_acl_access", posix_acl(user=1234))
        self._directory(b"acl directory", mode=0o750)
        for name in ("system.posix_acl_access", "system.posix_acl_default"):
            os.setxattr(self._at(b"acl directory"), name, posix_acl(user=1234))
        # Made before the default ACL, it has no ACL of its own; it must not inherit one when it is restored.
        self._directory(b"acl inherits", mode=0o755)
        self._file(b"acl inherits/older than the acl", b"x", mode=0o600)
        os.setxattr(self._at(b"acl inherits"), "system.posix_acl_default", posix_acl(user=4321))

    def _privileged(self) -> None:
        self._file(b"setuid", b"#!/bin/false\n", mode=0o4755)
        self._directory(b"setgid", mode=0o2775, owner=(0, 1001))
        self._file(b"setgid/below", b"x", mode=0o664, owner=(1000, 1001))
        os.setxattr(self._at(b"tagged"), "trusted.origin", b"somewhere")
        self._file(b"capable", b"may bind low ports\n", mode=0o755)
        os.setxattr(self._at(b"capable"), "security.capability", struct.pack("<5I", 0x0200_0001, 1 << 10, 0, 0, 0))
        os.setxattr(self._at(b"dangling"), "trusted.origin", b"a link's own", follow_symlinks=False)

    def _at(self, name: bytes) -> bytes:
        return os.path.join(self._root, name)

    def _add(self, name: bytes) -> bytes:
        self._entries.append(self._at(name))
        return self._at(name)

    def _file(self, name: bytes, data: bytes, *, mode: int, owner: tuple[int, int] = (0, 0)) -> None:
        with open(self._add(name), "xb") as file:
            file.write(data)
        self._own(name, owner, mode)

    def _directory(self, name: bytes, *, mode: int, owner: tuple[int, int] = (0, 0)) -> None:
        os.mkdir(self._add(name))
        self._own(name, owner, mode)

    def _own(self, name: bytes, owner: tuple[int, int], mode: int) -> None:
        os.chown(self._at(name), *owner)
        os.chmod(self._at(name), mode)

    def _symlink(self, name: bytes, target: bytes, owner: tuple[int, int] = (0, 0)) -> None:
        os.symlink(target, self._add(name))
        os.chown(self._at(name), *owner, follow_symlinks=False)


def describe_tree(path: str | bytes | os.PathLike[str]) -> TreeDescription:
    """All that a snapshot keeps of the tree at ``path``, so that two trees are the same if this is equal.

    Every value begins with kind, mode, uid, gid, mtime_ns and extended attributes; a file goes on with its size, the
    SHA-256 of its content, its data regions (``None`` without holes) and its hardlink group (the group's first name in
    byte order, ``None`` for a single name), a symlink with its text.
    """
    root = os.fsencode(path)
    names = sorted(_paths(root))
    groups: dict[tuple[int, int], bytes] = {}
    description: TreeDescription = {}
    for name in names:
        at = os.path.join(root, name) if name else root
        facts = os.lstat(at)
        common = (stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid, facts.st_mtime_ns, _xattrs(at))
        if stat.S_ISREG(facts.st_mode):
            group = groups.setdefault((facts.st_dev, facts.st_ino), name) if facts.st_nlink > 1 else None
            description[name] = ("file", *common, facts.st_size, _hash(at), _regions(at, facts.st_size), group)
        elif stat.S_ISLNK(facts.st_mode):
            description[name] = ("symlink", *common, os.readlink(at))
        elif stat.S_ISDIR(facts.st_mode):
            description[name] = ("directory", *common)
        else:
            description[name] = ("special", stat.S_IFMT(facts.st_mode), *common)
    return description


def _paths(root: bytes, prefix: bytes = b"") -> list[bytes]:
    found = [prefix]
    with os.scandir(os.path.join(root, prefix)) as names:
        for item in names:
            path = os.path.join(prefix, item.name)
            found += _paths(root, path) if item.is_dir(follow_symlinks=False) else [path]
    return found


def _xattrs(at: bytes) -> tuple[tuple[str, bytes], ...]:
    try:
        names = os.listxattr(at, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return ()
        raise
    return tuple(
        (name, os.getxattr(at, name, follow_symlinks=False)) for name in sorted(names) if name.startswith(_NAMESPACES)
    )


def _hash(at: bytes) -> str:
    with open(at, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _regions(at: bytes, size: int) -> tuple[tuple[int, int], ...] | None:
    regions, position = [], 0
    fd = os.open(at, os.O_RDONLY)
    try:
        while position < size:
            try:
                start = os.lseek(fd, position, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    break
                raise
            position = os.lseek(fd, start, os.SEEK_HOLE)
            regions.append((start, position - start))
    finally:
        os.close(fd)
    return None if regions == ([(0, size)] if size else []) else tuple(regions)
