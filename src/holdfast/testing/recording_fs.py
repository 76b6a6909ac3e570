"""A file system that does what it is asked to, and writes down what that is: for :mod:`holdfast.testing.lossy_disk`.

It flushes nothing for real. What lies in directories that it was not told to look at, and what others do to the disk
without it (SQLite, containers), is not written down.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from holdfast.domain.restore import Identity
from holdfast.engine.fs import Fs
from holdfast.testing.lossy_disk import (
    Dress,
    Dressed,
    Flushed,
    FlushedAll,
    Found,
    Kind,
    LossyDisk,
    Made,
    Named,
    Passed,
    Sized,
    State,
    Step,
    Token,
    Written,
)

Careless: TypeAlias = Callable[[str, str], bool]
"""Whether a call (``fsync`` or ``syncfs``) for a path is left out."""
_Key: TypeAlias = tuple[int, int]


class RecordingFs(Fs):
    """Records what is done below some directories, each of which stands for a filesystem of its own.

    Args:
        roots: the directories; they have to be there, and stay.
        but: what in them is not looked at, with all that is in it.
        careless: which flushes are left out, so that it can be seen that they are missed.
        exchanges: whether two names can be exchanged, which some filesystems can't.

    Attributes:
        steps: what was done since the last :meth:`begin`.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        *,
        but: Sequence[Path] = (),
        careless: Careless | None = None,
        exchanges: bool = True,
    ) -> None:
        self._exchanges = exchanges
        self._paths, self._but, self._careless = tuple(roots), frozenset(map(str, but)), careless
        self._lock = threading.RLock()
        self._recording = False
        self._next: Token = 0
        self._tokens: dict[_Key, Token] = {}
        self._identities: dict[Token, Identity] = {}
        self._filesystems: dict[Token, str] = {}
        self._given: list[Step] = []
        self.steps: list[Step] = []

    # --- from one disk to the next -----------------------------------------------------------------------------------

    def begin(self) -> None:
        """Take all that is there for durable, and record from now on."""
        with self._lock:
            self._tokens.clear()
            self._given, self.steps = [], []
            self._recording = True
            for root in self._paths:
                self._take_in(str(root), None, os.fsencode(root))
            self._given, self.steps = self.steps, []

    def end(self) -> None:
        """Record no more. Identities stay what they were."""
        self._recording = False

    def passed(self, what: str) -> None:
        """Note that the program got to a point."""
        self._note(Passed(what))

    def disk(self) -> LossyDisk:
        """The disk as it was when recording began."""
        return LossyDisk([self._tokens[_key(os.stat(root))] for root in self._paths], self._given)

    def with_roots(self, first: int, last: int) -> RecordingFs:
        """Another one for some of the roots, to which what was recorded here can be put."""
        but = tuple(map(Path, self._but))
        other = RecordingFs(self._paths[first:last], but=but, careless=self._careless, exchanges=self._exchanges)
        other._identities, other._next = self._identities, 1_000_000 + self._next
        return other

    def put(self, state: State) -> None:
        """Have the disk be in ``state``, and record from there on. Whatever else was below the roots is gone."""
        self._recording = False
        self._tokens.clear()
        self._filesystems.clear()
        self._given, self.steps = [], []
        for root, found in zip(self._paths, state, strict=True):
            _empty(root)
            self._put(str(root), os.fsencode(root), found, {})
            self._given += _steps_to(found, str(root), set())
        self._recording = True

    def _put(self, filesystem: str, at: bytes, found: Found, links: dict[Token, bytes]) -> None:
        if found.token in links:
            os.link(links[found.token], at, follow_symlinks=False)
            return
        if found.kind is Kind.DIRECTORY:
            if not os.path.isdir(at):
                os.mkdir(at)
            for name, below in found.names:
                self._put(filesystem, os.path.join(at, name), below, links)
        elif found.kind is Kind.SYMLINK:
            os.symlink(found.content, at)
        elif found.kind is Kind.FILE:
            with open(at, "xb") as file:
                file.write(found.content)
        else:
            os.mkfifo(at)
        links[found.token] = at
        dress = found.dress
        os.chown(at, dress.uid, dress.gid, follow_symlinks=False)
        for attribute, value in dress.xattrs:
            os.setxattr(at, attribute, value, follow_symlinks=False)
        if found.kind is not Kind.SYMLINK:
            os.chmod(at, dress.mode)
        os.utime(at, ns=(dress.mtime_ns, dress.mtime_ns), follow_symlinks=False)
        self._tokens[_key(os.lstat(at))] = found.token
        self._filesystems[found.token] = filesystem

    def _take_in(self, filesystem: str, parent: Token | None, at: bytes) -> None:
        """Record what is there already."""
        facts = os.lstat(at)
        token = self._tokens.get(_key(facts))
        if token is None:
            token = self._made(at, facts, filesystem)
        if parent is not None:
            self._note(Named(((parent, os.path.basename(at), token),)))
        if stat.S_ISREG(facts.st_mode):
            self._note(Written(token, 0, Path(os.fsdecode(at)).read_bytes()))
        elif stat.S_ISDIR(facts.st_mode):
            for name in sorted(os.listdir(at)):
                child = os.path.join(at, name)
                if os.fsdecode(child) not in self._but:
                    self._take_in(filesystem, token, child)

    def _made(self, at: bytes, facts: os.stat_result, filesystem: str) -> Token:
        self._next += 1
        token = self._tokens[_key(facts)] = self._next
        self._filesystems[token] = filesystem
        kind = _kind(facts.st_mode)
        text = os.readlink(at) if kind is Kind.SYMLINK else b""
        self._note(Made(token, kind, filesystem, _dress(at), text))
        if kind is Kind.DIRECTORY:
            fd = os.open(at, os.O_PATH | os.O_NOFOLLOW)
            try:
                self._identities.setdefault(token, super().identity(fd))
            finally:
                os.close(fd)
        return token

    # --- what is recorded --------------------------------------------------------------------------------------------

    def _note(self, step: Step) -> None:
        if self._recording:
            self.steps.append(step)

    def _of(self, fd: int) -> Token | None:
        return self._tokens.get(_key(os.fstat(fd))) if self._recording else None

    def _at(self, dirfd: int, name: bytes) -> Token | None:
        return self._tokens.get(_key(os.stat(name, dir_fd=dirfd, follow_symlinks=False)))

    def _new(self, dirfd: int, name: bytes) -> None:
        """Something was made at a name."""
        facts = os.stat(name, dir_fd=dirfd, follow_symlinks=False)
        parent = self._of(dirfd)
        at = os.path.join(b"/proc/self/fd/%d" % dirfd, name)
        if parent is None or self.path_of(dirfd) + "/" + os.fsdecode(name) in self._but:
            self._tokens.pop(_key(facts), None)
            return
        token = self._made(at, facts, self._filesystems[parent])
        self._note(Named(((parent, name, token),)))

    def _renamed(self, *changes: tuple[int, bytes, Token | None]) -> None:
        known = [(self._of(dirfd), name, token) for dirfd, name, token in changes]
        inside = tuple((directory, name, token) for directory, name, token in known if directory is not None)
        if inside:
            assert len(inside) == len(changes), "something came from where nobody looks"
            self._note(Named(inside))

    def _dressed(self, fd: int | None, at: bytes | None = None) -> None:
        path = at if at is not None else b"/proc/self/fd/%d" % (fd or 0)
        facts = os.lstat(path) if at is not None else os.fstat(fd or 0)
        token = self._tokens.get(_key(facts)) if self._recording else None
        if token is not None:
            self._note(Dressed(token, _dress(path, follow=at is None)))

    def openat(self, dirfd: int, name: bytes, flags: int, mode: int = 0o600) -> int:
        if not flags & os.O_CREAT:
            return super().openat(dirfd, name, flags, mode)
        with self._lock:
            there = os.path.lexists(os.path.join(b"/proc/self/fd/%d" % dirfd, name))
            fd = super().openat(dirfd, name, flags, mode)
            if not there:
                self._new(dirfd, name)
            return fd

    def mkdirat(self, dirfd: int, name: bytes, mode: int = 0o700) -> None:
        with self._lock:
            super().mkdirat(dirfd, name, mode)
            self._new(dirfd, name)

    def symlinkat(self, target: bytes, dirfd: int, name: bytes) -> None:
        with self._lock:
            super().symlinkat(target, dirfd, name)
            self._new(dirfd, name)

    def mknodat(self, dirfd: int, name: bytes, mode: int) -> None:
        with self._lock:
            super().mknodat(dirfd, name, mode)
            self._new(dirfd, name)

    def linkat(self, fd: int, dirfd: int, name: bytes) -> None:
        with self._lock:
            super().linkat(fd, dirfd, name)
            self._renamed((dirfd, name, self._of(fd)))

    def unlinkat(self, dirfd: int, name: bytes) -> None:
        with self._lock:
            super().unlinkat(dirfd, name)
            self._renamed((dirfd, name, None))

    def rmdirat(self, dirfd: int, name: bytes) -> None:
        with self._lock:
            super().rmdirat(dirfd, name)
            self._renamed((dirfd, name, None))

    def rename(self, from_dirfd: int, from_name: bytes, to_dirfd: int, to_name: bytes) -> None:
        with self._lock:
            token = self._at(from_dirfd, from_name)
            super().rename(from_dirfd, from_name, to_dirfd, to_name)
            self._renamed((from_dirfd, from_name, None), (to_dirfd, to_name, token))

    def rename_noreplace(self, from_dirfd: int, from_name: bytes, to_dirfd: int, to_name: bytes) -> None:
        with self._lock:
            token = self._at(from_dirfd, from_name)
            super().rename_noreplace(from_dirfd, from_name, to_dirfd, to_name)
            self._renamed((from_dirfd, from_name, None), (to_dirfd, to_name, token))

    def exchange(self, dirfd_a: int, name_a: bytes, dirfd_b: int, name_b: bytes) -> None:
        if not self._exchanges:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        with self._lock:
            one, other = self._at(dirfd_a, name_a), self._at(dirfd_b, name_b)
            super().exchange(dirfd_a, name_a, dirfd_b, name_b)
            self._renamed((dirfd_a, name_a, other), (dirfd_b, name_b, one))

    def write_all(self, fd: int, data: bytes | memoryview) -> None:
        with self._lock:
            offset = os.lseek(fd, 0, os.SEEK_CUR)
            super().write_all(fd, data)
            if (token := self._of(fd)) is not None:
                self._note(Written(token, offset, bytes(data)))

    def pwrite_all(self, fd: int, data: bytes | memoryview, offset: int) -> None:
        with self._lock:
            super().pwrite_all(fd, data, offset)
            if (token := self._of(fd)) is not None:
                self._note(Written(token, offset, bytes(data)))

    def ftruncate(self, fd: int, size: int) -> None:
        with self._lock:
            super().ftruncate(fd, size)
            if (token := self._of(fd)) is not None:
                self._note(Sized(token, size))

    def fallocate(self, fd: int, size: int) -> None:
        with self._lock:
            before = os.fstat(fd).st_size
            super().fallocate(fd, size)
            if size > before and (token := self._of(fd)) is not None:
                self._note(Sized(token, size))

    def clone(self, fd: int, source: int) -> None:
        with self._lock:
            super().clone(fd, source)
            if (token := self._of(fd)) is not None:
                self._note(Sized(token, 0))
                self._note(Written(token, 0, os.pread(fd, os.fstat(fd).st_size, 0)))

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        with self._lock:
            super().fchown(fd, uid, gid)
            self._dressed(fd)

    def fchmod(self, fd: int, mode: int) -> None:
        with self._lock:
            super().fchmod(fd, mode)
            self._dressed(fd)

    def utime_fd(self, fd: int, mtime_ns: int) -> None:
        with self._lock:
            super().utime_fd(fd, mtime_ns)
            self._dressed(fd)

    def setxattr(self, fd: int, name: bytes, value: bytes) -> None:
        with self._lock:
            super().setxattr(fd, name, value)
            self._dressed(fd)

    def removexattr(self, fd: int, name: bytes) -> None:
        with self._lock:
            super().removexattr(fd, name)
            self._dressed(fd)

    def chmod_path(self, fd: int, mode: int) -> None:
        with self._lock:
            super().chmod_path(fd, mode)
            self._dressed(fd)

    def setxattr_path(self, fd: int, name: bytes, value: bytes) -> None:
        with self._lock:
            super().setxattr_path(fd, name, value)
            self._dressed(fd)

    def removexattr_path(self, fd: int, name: bytes) -> None:
        with self._lock:
            super().removexattr_path(fd, name)
            self._dressed(fd)

    def chownat_nofollow(self, dirfd: int, name: bytes, uid: int, gid: int) -> None:
        with self._lock:
            super().chownat_nofollow(dirfd, name, uid, gid)
            self._dressed(None, os.path.join(b"/proc/self/fd/%d" % dirfd, name))

    def utimeat_nofollow(self, dirfd: int, name: bytes, mtime_ns: int) -> None:
        with self._lock:
            super().utimeat_nofollow(dirfd, name, mtime_ns)
            self._dressed(None, os.path.join(b"/proc/self/fd/%d" % dirfd, name))

    def fsync(self, fd: int) -> None:
        """Flush, as far as the record goes."""
        with self._lock:
            token = self._of(fd)
            if token is not None and not (self._careless and self._careless("fsync", self.path_of(fd))):
                self._note(Flushed(token))

    def syncfs(self, fd: int) -> None:
        """Flush the root that ``fd`` is below, as far as the record goes."""
        with self._lock:
            token = self._of(fd)
            if token is not None and not (self._careless and self._careless("syncfs", self.path_of(fd))):
                self._note(FlushedAll(self._filesystems[token]))

    def identity(self, fd: int) -> Identity:
        """The identity: also of a directory that was put there, the one that it had on the disk it comes from."""
        with self._lock:
            token = self._tokens.get(_key(os.fstat(fd)))
            known = None if token is None else self._identities.get(token)
        return known or super().identity(fd)


def _key(facts: os.stat_result) -> _Key:
    return facts.st_dev, facts.st_ino


def _kind(mode: int) -> Kind:
    if stat.S_ISDIR(mode):
        return Kind.DIRECTORY
    if stat.S_ISREG(mode):
        return Kind.FILE
    return Kind.SYMLINK if stat.S_ISLNK(mode) else Kind.OTHER


def _dress(at: bytes, *, follow: bool = False) -> Dress:
    facts = os.stat(at, follow_symlinks=follow)
    names = sorted(os.listxattr(at, follow_symlinks=follow))
    xattrs = tuple((name, os.getxattr(at, name, follow_symlinks=follow)) for name in names)
    return Dress(stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid, facts.st_mtime_ns, xattrs)


def _empty(directory: Path) -> None:
    for at, folders, files in os.walk(directory, topdown=False):
        for name in files:
            os.unlink(os.path.join(at, name))
        for name in folders:
            path = os.path.join(at, name)
            (os.unlink if os.path.islink(path) else os.rmdir)(path)


def _steps_to(found: Found, filesystem: str, seen: set[Token]) -> Iterator[Step]:
    """What makes an empty disk into what was found."""
    if found.token in seen:
        return
    seen.add(found.token)
    text = found.content if found.kind is Kind.SYMLINK else b""
    yield Made(found.token, found.kind, filesystem, found.dress, text)
    if found.kind is Kind.FILE:
        yield Written(found.token, 0, found.content)
    for name, below in found.names:
        yield from _steps_to(below, filesystem, seen)
        yield Named(((found.token, name, below.token),))
