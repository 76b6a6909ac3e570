"""Sets owner, mode, times and extended attributes of what the tree writer made, and reads them back.

A filesystem may ignore what it is told (an owner on a squashed NFS export, nanoseconds on an old ext4) and report
success; so nothing counts as kept until it was read back. Order matters: a new owner clears capabilities and setuid,
an ACL changes the mode, everything changes the times. What is as it should be already is not set again: each change of
an inode goes through the filesystem's journal.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Final

from holdfast.domain.errors import Failed, InvalidInput
from holdfast.engine.entries import Entry, EntryKind, display_path
from holdfast.engine.file_content import read_xattrs
from holdfast.engine.fs import Fs
from holdfast.engine.mounts import filesystem_of

_ACL_ACCESS: Final = b"system.posix_acl_access"
_ACL_DEFAULT: Final = b"system.posix_acl_default"
ACL_ATTRIBUTES: Final = (_ACL_ACCESS, _ACL_DEFAULT)

_ACL_OF_MODE_ALONE: Final = 28
"""Bytes of an access ACL that says no more than the mode (user, group, other): the kernel keeps it as the mode."""
_ACL_VERSION: Final = b"\2\0\0\0"
_ACL_EMPTY: Final = 4
_ACL_ENTRY: Final = 8
_SPECIAL_BITS: Final = stat.S_ISUID | stat.S_ISGID

Xattrs = tuple[tuple[bytes, bytes], ...]


class MetadataKeeper:
    """Sets metadata and proves that it was kept.

    Args:
        privileged: take setuid, setgid, ``security.*`` and ``trusted.*``.
        leave_out: called with (path, what) for everything that is not taken.
    """

    def __init__(self, fs: Fs, *, privileged: bool, leave_out: Callable[[bytes, str], None]) -> None:
        self._fs = fs
        self._privileged = privileged
        self._leave_out = leave_out

    def dress(self, fd: int, entry: Entry) -> os.stat_result:
        """Give an open file or directory its entry's metadata. Returns its facts as read back.

        Raises:
            Failed: ``metadata_not_kept``.
            InvalidInput: ``archive_xattr_invalid``.
        """
        mode = self._mode(entry)
        xattrs = self._xattrs(entry) if entry.xattrs else ()
        facts = self._fs.fstat(fd)
        if (facts.st_uid, facts.st_gid) != (entry.uid, entry.gid):
            self._fs.fchown(fd, entry.uid, entry.gid)
        for name, value in xattrs:
            self._set_xattr(fd, entry, name, value)
        if stat.S_IMODE(facts.st_mode) != mode:
            self._fs.fchmod(fd, mode)
        self._fs.utime_fd(fd, entry.mtime_ns)
        facts = self._fs.fstat(fd)
        wrong = _differences(facts, entry, mode)
        if not _same_xattrs(read_xattrs(self._fs, fd), xattrs):
            wrong.append("extended attributes")
        if wrong:
            raise self._not_kept(fd, entry, wrong)
        return facts

    def differences(self, fd: int, facts: os.stat_result, entry: Entry) -> list[str]:
        """What of its entry's metadata an ``O_PATH`` descriptor does not have, in words. Changes nothing."""
        # Linux gives symlinks no mode of their own.
        mode = stat.S_IMODE(facts.st_mode) if entry.kind is EntryKind.SYMLINK else self._mode(entry)
        wrong = _differences(facts, entry, mode)
        if not _same_xattrs(read_xattrs(self._fs, fd, opened=False), self._xattrs(entry)):
            wrong.append("extended attributes")
        return wrong

    def dress_symlink(self, dirfd: int, name: bytes, entry: Entry) -> None:
        """Give a symlink its owner, time and attributes, never what it points to.

        Raises:
            Failed: ``metadata_not_kept``.
        """
        xattrs = self._xattrs(entry)
        self._fs.chownat_nofollow(dirfd, name, entry.uid, entry.gid)
        fd = self._fs.open_path(dirfd, name)
        try:
            for attribute, value in xattrs:
                self._fs.setxattr_path(fd, attribute, value)
            self._fs.utimeat_nofollow(dirfd, name, entry.mtime_ns)
            facts = self._fs.fstat(fd)
            # Linux gives symlinks no mode of their own.
            wrong = _differences(facts, entry, stat.S_IMODE(facts.st_mode))
            if not stat.S_ISLNK(facts.st_mode) or self._fs.readlinkat(fd, b"") != entry.link_target:
                wrong.append("target")
            if not _same_xattrs(read_xattrs(self._fs, fd, opened=False), xattrs):
                wrong.append("extended attributes")
            if wrong:
                raise self._not_kept(dirfd, entry, wrong)
        finally:
            self._fs.close(fd)

    def _mode(self, entry: Entry) -> int:
        if self._privileged or not entry.mode & _SPECIAL_BITS:
            return entry.mode
        self._leave_out(entry.path, "setuid or setgid bit")
        return entry.mode & ~_SPECIAL_BITS

    def _xattrs(self, entry: Entry) -> Xattrs:
        kept = []
        for name, value in entry.xattrs:
            if name.startswith((b"trusted.", b"security.")):
                taken = self._privileged
            else:
                taken = name.startswith(b"user.") or name in ACL_ATTRIBUTES
            if not taken or b"\0" in name:
                self._leave_out(entry.path, f"attribute {display_path(name)}")
            elif name in ACL_ATTRIBUTES and _malformed_acl(name, value, entry.kind):
                raise _invalid(entry, name)
            elif not _says_nothing(name, value):
                kept.append((name, value))
        return tuple(sorted(kept))

    def _set_xattr(self, fd: int, entry: Entry, name: bytes, value: bytes) -> None:
        try:
            self._fs.setxattr(fd, name, value)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ERANGE):
                raise _invalid(entry, name) from error
            too_big = error.errno == errno.E2BIG or (error.errno == errno.ENOSPC and self._has_space(fd))
            if too_big or error.errno == errno.EOPNOTSUPP:
                raise self._not_kept(fd, entry, [f"attribute {display_path(name)}"]) from error
            raise

    def _has_space(self, fd: int) -> bool:
        # ext4 says ENOSPC also where attributes outgrow their one block.
        return self._fs.statvfs(fd).f_bavail > 0

    def _not_kept(self, fd: int, entry: Entry, wrong: list[str]) -> Failed:
        filesystem = filesystem_of(self._fs, fd)
        return Failed(
            "metadata_not_kept",
            f"The filesystem ({filesystem}) did not keep the {', '.join(wrong)} of {display_path(entry.path)}.",
            next_step="Restore to a filesystem that keeps owners, modes, nanosecond times and extended attributes.",
            details={"path": display_path(entry.path), "filesystem": filesystem, "not_kept": wrong},
        )


def _invalid(entry: Entry, name: bytes) -> InvalidInput:
    return InvalidInput(
        "archive_xattr_invalid",
        f"{display_path(entry.path)}: the attribute {display_path(name)} is malformed.",
        next_step="The archive is malformed or hostile; make a new one.",
        details={"path": display_path(entry.path), "attribute": display_path(name)},
    )


def _malformed_acl(name: bytes, value: bytes, kind: EntryKind) -> bool:
    # The kernel's own answers to these can't be told from those of a filesystem without ACLs.
    whole = value[:4] == _ACL_VERSION and (len(value) - _ACL_EMPTY) % _ACL_ENTRY == 0
    return not whole or (name == _ACL_DEFAULT and kind is not EntryKind.DIRECTORY)


def _says_nothing(name: bytes, value: bytes) -> bool:
    if name == _ACL_ACCESS:
        return len(value) in (_ACL_OF_MODE_ALONE, _ACL_EMPTY)
    return name == _ACL_DEFAULT and len(value) == _ACL_EMPTY


def _differences(facts: os.stat_result, entry: Entry, mode: int) -> list[str]:
    wrong = []
    if (facts.st_uid, facts.st_gid) != (entry.uid, entry.gid):
        wrong.append("owner")
    if stat.S_IMODE(facts.st_mode) != mode:
        wrong.append("mode")
    if facts.st_mtime_ns != entry.mtime_ns:
        wrong.append("modification time")
    if entry.kind is EntryKind.FILE and facts.st_size != entry.size:
        wrong.append("size")
    return wrong


def _same_xattrs(found: Xattrs, wanted: Xattrs) -> bool:
    if found == wanted:
        return True
    # The kernel's security modules label files on their own; everything else must be what was asked for.
    names = {name for name, _ in wanted}
    return tuple(item for item in found if item[0] in names or not item[0].startswith(b"security.")) == wanted
