"""Copies of a whole installation, as exact as a crash leaves them: each goes on as if it were the original.

What a process that is killed leaves is what is in its files at that moment; so a copy that is made between two of its
calls is what a kill at this moment leaves, without anybody being killed. Only the identity of directories
(``name_to_handle_at``) can't be copied: which directory stands for which is kept beside.
"""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.domain.restore import Identity
from holdfast.engine import syscalls


@dataclass(slots=True)
class DiskCopies:
    """Makes copies.

    Attributes:
        identities: of directories of copies: that of the directory of which each is a copy, at the first hand.
    """

    identities: dict[Identity, Identity] = field(default_factory=dict)

    def copy(self, source: Path, to: Path) -> None:
        """Copy a directory with all that is in it; ``to`` must not exist. Nobody may change anything meanwhile."""
        self._directory(os.fsencode(source), os.fsencode(to), {})

    def move(self, source: Path, to: Path) -> None:
        """Put a copy in the place of what is at ``to``."""
        shutil.rmtree(to)
        source.rename(to)

    def _directory(self, source: bytes, to: bytes, linked: dict[int, bytes]) -> None:
        os.mkdir(to, 0o700)
        original = _identity(source)
        self.identities[_identity(to)] = self.identities.get(original, original)
        for name in os.listdir(source):
            at, goes_to = os.path.join(source, name), os.path.join(to, name)
            facts = os.lstat(at)
            if stat.S_ISDIR(facts.st_mode):
                self._directory(at, goes_to, linked)
                continue
            if facts.st_nlink > 1:
                first = linked.setdefault(facts.st_ino, goes_to)
                if first != goes_to:
                    os.link(first, goes_to)
                    continue
            if stat.S_ISLNK(facts.st_mode):
                os.symlink(os.readlink(at), goes_to)
            else:
                _content(at, goes_to, facts.st_size)
            _dress(at, goes_to, facts)
        _dress(source, to, os.lstat(source))


def _identity(path: bytes) -> Identity:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        kind, handle = syscalls.name_to_handle_at(fd)
    finally:
        os.close(fd)
    return Identity(handle_type=kind, handle=handle.hex())


def _content(source: bytes, to: bytes, size: int) -> None:
    reading, writing = os.open(source, os.O_RDONLY), os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        while size > 0 and (done := os.sendfile(writing, reading, None, size)):
            size -= done
    finally:
        os.close(reading)
        os.close(writing)


def _dress(source: bytes, to: bytes, facts: os.stat_result) -> None:
    if os.geteuid() != facts.st_uid or os.getegid() != facts.st_gid:
        os.chown(to, facts.st_uid, facts.st_gid, follow_symlinks=False)
    for name in os.listxattr(source, follow_symlinks=False):
        os.setxattr(to, name, os.getxattr(source, name, follow_symlinks=False), follow_symlinks=False)
    if not stat.S_ISLNK(facts.st_mode):
        os.chmod(to, stat.S_IMODE(facts.st_mode))
    os.utime(to, ns=(facts.st_atime_ns, facts.st_mtime_ns), follow_symlinks=False)
