"""FIFOs, sockets and devices of a live tree: what no snapshot holds, and a restore of chosen paths must not lose.

Only directories are opened, each through its parent's descriptor, across no mount (I7); of all else the kind is asked.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from holdfast.engine.descent import Descent
from holdfast.engine.file_content import read_xattrs
from holdfast.engine.fs import Fs
from holdfast.engine.os_errors import translate

OPEN_LEVELS: Final = 256
_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV})
_DEVICES: Final = frozenset({stat.S_IFBLK, stat.S_IFCHR})
_SPECIAL: Final = _DEVICES | {stat.S_IFIFO, stat.S_IFSOCK}

Xattrs = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialFile:
    """One of them. ``kind`` is a file type (``S_IFIFO`` …), ``mode`` the permission bits."""

    path: bytes
    kind: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    xattrs: Xattrs = ()

    @property
    def is_device(self) -> bool:
        return self.kind in _DEVICES


def special_files(
    fs: Fs, root_fd: int, leave_out: Callable[[bytes], bool], beat: Callable[[], object]
) -> list[SpecialFile]:
    """All of a tree, but for the paths that ``leave_out`` names.

    Args:
        beat: called for each directory; what it raises ends the search.

    Raises:
        Failed: a directory can't be read.
    """
    found: list[SpecialFile] = []
    descent = Descent(fs, root_fd, keep=OPEN_LEVELS, flags=os.O_RDONLY)
    try:
        # One prefix, and how long it was on each level: a prefix a level would take the square of the depth.
        prefix, lengths, levels = b"", [0], [_look(fs, root_fd, b"", leave_out, found)]
        while True:
            beat()
            if levels[-1]:
                name = levels[-1].pop()
                fd = _open_directory(fs, descent.fd, name)
                if fd is not None:
                    descent.enter(fd)
                    lengths.append(len(prefix))
                    prefix += name + b"/"
                    levels.append(_look(fs, fd, prefix, leave_out, found))
            elif len(levels) > 1:
                levels.pop()
                prefix = prefix[: lengths.pop()]
                descent.leave()
            else:
                return found
    except OSError as error:
        raise translate(error, "looking for FIFOs, sockets and devices in a live tree") from error
    finally:
        descent.close()


def _open_directory(fs: Fs, dirfd: int, name: bytes) -> int | None:
    try:
        return fs.open_beneath(dirfd, name, os.O_RDONLY | os.O_DIRECTORY, no_xdev=True)
    except OSError as error:
        if error.errno in _NOT_THERE:
            return None
        raise


def _look(fs: Fs, fd: int, prefix: bytes, leave_out: Callable[[bytes], bool], found: list[SpecialFile]) -> list[bytes]:
    """Note what is special in one directory. Returns the names of the directories in it."""
    below = []
    for name, directory, plain in fs.scan_kinds(fd):
        if plain or leave_out(prefix + name):
            continue
        if directory:
            below.append(name)
            continue
        try:
            special = fs.open_path(fd, name)
        except FileNotFoundError:
            continue
        try:
            facts = fs.fstat(special)
            if stat.S_IFMT(facts.st_mode) in _SPECIAL:
                found.append(_described(prefix + name, facts, read_xattrs(fs, special, opened=False)))
        finally:
            fs.close(special)
    return below


def _described(path: bytes, facts: os.stat_result, xattrs: Xattrs) -> SpecialFile:
    return SpecialFile(
        path=path,
        kind=stat.S_IFMT(facts.st_mode),
        mode=stat.S_IMODE(facts.st_mode),
        uid=facts.st_uid,
        gid=facts.st_gid,
        mtime_ns=facts.st_mtime_ns,
        xattrs=xattrs,
    )
