"""Every file-system call of the engine.

One place to read, and the seam for fault injection: tests subclass :class:`Fs` and override. It holds no state.

Invariants:

- Everything but :meth:`Fs.open_root` and :meth:`Fs.open_read` works from a descriptor; names are single components, raw
  bytes.
- No call follows a symlink in a component that a container could have planted (I7): single names are opened
  ``O_NOFOLLOW``, longer paths by ``openat2`` with ``RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS``.
- ``OSError`` passes through unchanged; callers translate it (:mod:`holdfast.engine.os_errors`).
- An error of an fsync or syncfs is never retried here.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import struct
from collections.abc import Iterator
from typing import Final

from holdfast.domain.restore import Identity
from holdfast.engine import syscalls

FLAG_IMMUTABLE: Final = 0x10
"""``chattr +i``, as in :meth:`Fs.flags`."""
FLAG_APPEND: Final = 0x20
"""``chattr +a``."""
FLAG_NO_COW: Final = 0x0080_0000
"""``chattr +C``: no copy-on-write (btrfs)."""

MAGIC_EXT4: Final = 0xEF53
MAGIC_FUSE: Final = 0x6573_5546
MAGIC_XFS: Final = 0x5846_5342
MAGIC_BTRFS: Final = 0x9123_683E
MAGIC_TMPFS: Final = 0x0102_1994

TEMPORARY_PREFIX: Final = b".holdfast-tmp-"
"""Names of files on their way to a durable name; what is left of them after a crash may be removed."""

_GETFLAGS: Final = 0x8008_6601
_SETFLAGS: Final = 0x4008_6602
_FICLONE: Final = 0x4004_9409
_XFS_GEOMETRY: Final = 0x8070_5864
_BENEATH: Final = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
_NO_FLAGS: Final = frozenset({errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EBADF})


class Fs:
    """The file system. Every method raises ``OSError`` and nothing else.

    Argument names: ``dirfd`` is an open directory, ``name`` one component below it, ``fd`` any open descriptor. Times
    are nanoseconds since 1970, sizes and offsets bytes.
    """

    # --- opening -------------------------------------------------------------------------------------------------

    def open_root(self, path: str) -> int:
        """Open a trusted directory by its absolute path. Only for paths from the operator's settings."""
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def open_read(self, path: str) -> int:
        """Open a trusted file (of ``/proc``, or of the settings) for reading by its absolute path."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def open_beneath(
        self, dirfd: int, relative: str | bytes, flags: int, *, mode: int = 0, no_xdev: bool = False
    ) -> int:
        """Open a path of several components below ``dirfd``, through no symlink.

        With ``O_PATH | O_NOFOLLOW`` the last component may be a symlink: it is opened itself, not followed.

        Args:
            no_xdev: fail with ``EXDEV`` where any component, the last included, is a mount point.
        """
        resolve = _BENEATH | (syscalls.RESOLVE_NO_XDEV if no_xdev else 0)
        path = relative if isinstance(relative, bytes) else os.fsencode(relative)
        return syscalls.openat2(dirfd, path, flags | os.O_CLOEXEC, mode, resolve)

    def openat(self, dirfd: int, name: bytes, flags: int, mode: int = 0o600) -> int:
        """Open one name; a symlink there is ``ELOOP``. ``mode`` counts with ``O_CREAT`` only."""
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=dirfd)

    def open_path(self, dirfd: int, name: bytes) -> int:
        """Open whatever stands at ``name``, without side effects, as an ``O_PATH`` descriptor."""
        return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dirfd)

    def reopen(self, fd: int, flags: int) -> int:
        """Open the very file that ``fd`` (also an ``O_PATH`` one) stands for, with other flags."""
        return os.open(f"/proc/self/fd/{fd}", flags | os.O_CLOEXEC)

    def duplicate(self, fd: int) -> int:
        """A second descriptor of the same open file, not inherited."""
        return os.dup(fd)

    def open_unnamed(self, dirfd: int) -> int:
        """A new file of the directory's filesystem, without a name: gone when it is closed."""
        return os.open(".", os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600, dir_fd=dirfd)

    def close(self, fd: int) -> None:
        """Close a descriptor. It is gone whatever is said to that: what has to be durable was flushed before.

        Only ``EBADF`` is raised: somebody closed what was not theirs to close.
        """
        try:
            os.close(fd)
        except OSError as error:
            if error.errno == errno.EBADF:
                raise

    def try_lock(self, fd: int, *, exclusive: bool) -> bool:
        """Lock the open file against others who do so, without waiting; whether that succeeded.

        The lock belongs to the open file: it ends when the last descriptor of it is closed.
        """
        try:
            fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    # --- names ---------------------------------------------------------------------------------------------------

    def mkdirat(self, dirfd: int, name: bytes, mode: int = 0o700) -> None:
        """Make a directory; ``mode`` is subject to the umask."""
        os.mkdir(name, mode, dir_fd=dirfd)

    def unlinkat(self, dirfd: int, name: bytes) -> None:
        """Remove a name that is no directory."""
        os.unlink(name, dir_fd=dirfd)

    def rmdirat(self, dirfd: int, name: bytes) -> None:
        """Remove an empty directory."""
        os.rmdir(name, dir_fd=dirfd)

    def symlinkat(self, target: bytes, dirfd: int, name: bytes) -> None:
        """Make a symlink with ``target`` as its text."""
        os.symlink(target, name, dir_fd=dirfd)

    def mknodat(self, dirfd: int, name: bytes, mode: int) -> None:
        """Make a FIFO or a socket, whichever the file type in ``mode`` says; the mode is subject to the umask."""
        os.mknod(name, mode, dir_fd=dirfd)

    def linkat(self, fd: int, dirfd: int, name: bytes) -> None:
        """Give the open file ``fd`` another name. By descriptor, so that no path decides what gets linked."""
        os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=dirfd, follow_symlinks=True)

    def rename(self, from_dirfd: int, from_name: bytes, to_dirfd: int, to_name: bytes) -> None:
        """Rename, replacing what is there."""
        os.rename(from_name, to_name, src_dir_fd=from_dirfd, dst_dir_fd=to_dirfd)

    def rename_noreplace(self, from_dirfd: int, from_name: bytes, to_dirfd: int, to_name: bytes) -> None:
        """Rename; ``EEXIST`` if something is there."""
        syscalls.renameat2(from_dirfd, from_name, to_dirfd, to_name, syscalls.RENAME_NOREPLACE)

    def exchange(self, dirfd_a: int, name_a: bytes, dirfd_b: int, name_b: bytes) -> None:
        """Exchange two names in one step; both must exist."""
        syscalls.renameat2(dirfd_a, name_a, dirfd_b, name_b, syscalls.RENAME_EXCHANGE)

    def scan(self, fd: int) -> Iterator[bytes]:
        """The names in a directory, in no order, without holding all of them."""
        with os.scandir(fd) as names:
            for item in names:
                yield os.fsencode(item.name)

    def scan_kinds(self, fd: int) -> Iterator[tuple[bytes, bool, bool]]:
        """As :meth:`scan`, each with whether it is a directory, and whether a regular file or a symlink."""
        with os.scandir(fd) as names:
            for item in names:
                plain = item.is_file(follow_symlinks=False) or item.is_symlink()
                yield os.fsencode(item.name), item.is_dir(follow_symlinks=False), plain

    def listdir(self, fd: int) -> list[bytes]:
        """The names in a directory, in no order."""
        return [os.fsencode(name) for name in os.listdir(fd)]

    # --- looking -------------------------------------------------------------------------------------------------

    def statat(self, dirfd: int, name: bytes) -> os.stat_result:
        """What stands at ``name``, a symlink itself included."""
        return os.stat(name, dir_fd=dirfd, follow_symlinks=False)

    def fstat(self, fd: int) -> os.stat_result:
        """What ``fd`` is."""
        return os.fstat(fd)

    def readlinkat(self, dirfd: int, name: bytes) -> bytes:
        """The text of a symlink. With an empty ``name``, of the symlink that ``dirfd`` (``O_PATH``) itself is."""
        return os.readlink(name, dir_fd=dirfd)

    def path_of(self, fd: int) -> str:
        """Where ``fd`` is right now, as the kernel tells it; for comparing, never for opening."""
        return os.readlink(f"/proc/self/fd/{fd}")

    def statvfs(self, fd: int) -> os.statvfs_result:
        """Free and total blocks and inodes of the filesystem that ``fd`` is on."""
        return os.statvfs(fd)

    def identity(self, fd: int) -> Identity:
        """The identity that outlives renames and remounts; ``EOPNOTSUPP`` where the filesystem has none."""
        kind, handle = syscalls.name_to_handle_at(fd)
        return Identity(handle_type=kind, handle=handle.hex())

    def mount_id(self, fd: int) -> int:
        """The mount through which ``fd`` was opened, as numbered in ``mountinfo``."""
        return syscalls.mount_id(fd)

    def filesystem_type(self, fd: int) -> int:
        """The kind of filesystem that ``fd`` is on: one of the ``MAGIC_*`` constants, or another."""
        return syscalls.filesystem_magic(fd)

    def filesystem_id(self, fd: int) -> str:
        """What tells the filesystem that ``fd`` is on from others of its kind, also after a remount; hexadecimal."""
        if self.filesystem_type(fd) == MAGIC_XFS:  # there, the fsid is the number of the device
            return fcntl.ioctl(fd, _XFS_GEOMETRY, bytes(112))[64:80].hex()
        return f"{os.fstatvfs(fd).f_fsid:016x}"

    def flags(self, fd: int) -> int:
        """The inode's ``FLAG_*`` bits; 0 where the filesystem has none."""
        try:
            answer = fcntl.ioctl(fd, _GETFLAGS, bytes(8))
        except OSError as error:
            if error.errno in _NO_FLAGS:
                return 0
            raise
        return int(struct.unpack_from("=I", answer)[0])

    def attributes(self, fd: int) -> int:
        """``FLAG_IMMUTABLE`` and ``FLAG_APPEND`` of whatever ``fd`` is, an ``O_PATH`` descriptor of a FIFO included."""
        return syscalls.attributes(fd) & (FLAG_IMMUTABLE | FLAG_APPEND)

    def set_flags(self, fd: int, flags: int) -> None:
        """Set the inode's flags, all of them at once."""
        fcntl.ioctl(fd, _SETFLAGS, struct.pack("=Q", flags))

    # --- content -------------------------------------------------------------------------------------------------

    def read(self, fd: int, size: int) -> bytes:
        """Up to ``size`` bytes from the descriptor's position; empty at the end."""
        return os.read(fd, size)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; empty at the end."""
        return os.pread(fd, size, offset)

    def write_all(self, fd: int, data: bytes | memoryview) -> None:
        """Write all of ``data`` at the descriptor's position."""
        written = os.write(fd, data)
        if written < len(data):
            rest = memoryview(data)[written:]
            while rest:
                rest = rest[os.write(fd, rest) :]

    def pwrite_all(self, fd: int, data: bytes | memoryview, offset: int) -> None:
        """Write all of ``data`` at ``offset``."""
        rest = memoryview(data)
        while rest:
            written = os.pwrite(fd, rest, offset)
            rest, offset = rest[written:], offset + written

    def is_dense(self, fd: int, size: int) -> bool:
        """Whether the first ``size`` bytes of a file are data throughout: whether its first hole is at its end."""
        try:
            return size == 0 or os.lseek(fd, 0, os.SEEK_HOLE) >= size
        except OSError as error:
            if error.errno == errno.ENXIO:  # it is empty by now
                return False
            raise

    def extents(self, fd: int, size: int) -> Iterator[tuple[int, int]]:
        """The data regions of a file as (offset, length), ascending, cut off at ``size``."""
        position = 0
        while position < size:
            try:
                start = os.lseek(fd, position, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return
                raise
            if start >= size:
                return
            end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
            yield start, end - start
            position = end

    def ftruncate(self, fd: int, size: int) -> None:
        """Set a file's size; what is added is a hole."""
        os.ftruncate(fd, size)

    def clone(self, fd: int, source: int) -> None:
        """Let ``fd`` share all of ``source``'s content, holes included, until one of both is written to."""
        fcntl.ioctl(fd, _FICLONE, source)

    def fallocate(self, fd: int, size: int) -> None:
        """Reserve the space of the first ``size`` bytes."""
        os.posix_fallocate(fd, 0, size)

    # --- metadata ------------------------------------------------------------------------------------------------

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        """Set the owner."""
        os.fchown(fd, uid, gid)

    def chownat_nofollow(self, dirfd: int, name: bytes, uid: int, gid: int) -> None:
        """Set the owner of what stands at ``name``, a symlink itself included."""
        os.chown(name, uid, gid, dir_fd=dirfd, follow_symlinks=False)

    def fchmod(self, fd: int, mode: int) -> None:
        """Set the permission bits."""
        os.fchmod(fd, mode)

    def chmod_path(self, fd: int, mode: int) -> None:
        """As :meth:`fchmod`, for an ``O_PATH`` descriptor of what is no symlink."""
        os.chmod(f"/proc/self/fd/{fd}", mode)

    def utime_fd(self, fd: int, mtime_ns: int) -> None:
        """Set modification and access time, both to ``mtime_ns``."""
        os.utime(fd, ns=(mtime_ns, mtime_ns))

    def utimeat_nofollow(self, dirfd: int, name: bytes, mtime_ns: int) -> None:
        """Set the times of what stands at ``name``, a symlink itself included."""
        os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=dirfd, follow_symlinks=False)

    def listxattr(self, fd: int) -> list[bytes]:
        """The names of all extended attributes."""
        return [os.fsencode(name) for name in os.listxattr(fd)]

    def getxattr(self, fd: int, name: bytes) -> bytes:
        """One extended attribute."""
        return os.getxattr(fd, name)

    def setxattr(self, fd: int, name: bytes, value: bytes) -> None:
        """Set one extended attribute."""
        os.setxattr(fd, name, value)

    def removexattr(self, fd: int, name: bytes) -> None:
        """Remove one extended attribute; ``ENODATA`` if it is not there."""
        os.removexattr(fd, name)

    # The kernel takes no O_PATH descriptor for extended attributes; /proc/self/fd leads to the same inode and, being
    # resolved already, follows no link that the inode itself is.

    def listxattr_path(self, fd: int) -> list[bytes]:
        """As :meth:`listxattr`, for an ``O_PATH`` descriptor."""
        return [os.fsencode(name) for name in os.listxattr(f"/proc/self/fd/{fd}")]

    def getxattr_path(self, fd: int, name: bytes) -> bytes:
        """As :meth:`getxattr`, for an ``O_PATH`` descriptor."""
        return os.getxattr(f"/proc/self/fd/{fd}", name)

    def setxattr_path(self, fd: int, name: bytes, value: bytes) -> None:
        """As :meth:`setxattr`, for an ``O_PATH`` descriptor."""
        os.setxattr(f"/proc/self/fd/{fd}", name, value)

    def removexattr_path(self, fd: int, name: bytes) -> None:
        """As :meth:`removexattr`, for an ``O_PATH`` descriptor."""
        os.removexattr(f"/proc/self/fd/{fd}", name)

    # --- durability ----------------------------------------------------------------------------------------------

    def fsync(self, fd: int) -> None:
        """Make a file's content, or a directory's names, durable."""
        os.fsync(fd)

    def syncfs(self, fd: int) -> None:
        """Make a whole filesystem durable.

        Reports a writeback error once per open descriptor: open ``fd`` before the first write, call this once.
        """
        syscalls.syncfs(fd)

    def append_durable(self, fd: int, data: bytes) -> None:
        """Write at the descriptor's position and flush."""
        self.write_all(fd, data)
        self.fsync(fd)

    def write_file_durable(
        self,
        dirfd: int,
        name: bytes,
        *pieces: bytes | memoryview,
        mode: int = 0o600,
        replace: bool = True,
    ) -> None:
        """Put a whole file in place: temporary file beside it, flush, rename, flush the directory.

        A reader sees the old file or the new one, also after a crash. After an error the old one is still there (if it
        came from the directory's flush, either may be).

        Args:
            pieces: the content, in parts.
            replace: whether a file of that name gives way; ``EEXIST`` if it may not.
        """
        temporary = TEMPORARY_PREFIX + secrets.token_hex(8).encode()
        fd = self.openat(dirfd, temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            try:
                self.fchmod(fd, mode)
                for piece in pieces:
                    self.write_all(fd, piece)
                self.fsync(fd)
            finally:
                self.close(fd)
            (self.rename if replace else self.rename_noreplace)(dirfd, temporary, dirfd, name)
        except BaseException:
            self.unlinkat(dirfd, temporary)
            raise
        self.fsync(dirfd)
