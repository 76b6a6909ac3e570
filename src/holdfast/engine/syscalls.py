"""System calls that Python's ``os`` module lacks, declared for ctypes.

Linux on x86_64 and aarch64, kernel 5.8 or newer. Every function raises ``OSError`` as those in ``os`` do, and is called
by :class:`holdfast.engine.fs.Fs` only.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

AT_FDCWD: Final = -100
AT_EMPTY_PATH: Final = 0x1000
RENAME_NOREPLACE: Final = 1
RENAME_EXCHANGE: Final = 2
RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08

_STATX_MNT_ID: Final = 0x1000
_STATX_SIZE: Final = 256
_STATX_MNT_ID_OFFSET: Final = 144
_STATX_ATTRIBUTES_OFFSET: Final = 8
_STATFS_SIZE: Final = 256
_HANDLE_BYTES: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class _Numbers:
    renameat2: int
    name_to_handle_at: int
    syncfs: int
    statx: int
    fstatfs: int
    openat2: int = 437


@cache
def _numbers() -> _Numbers:
    machine = os.uname().machine
    if machine == "x86_64":
        return _Numbers(renameat2=316, name_to_handle_at=303, syncfs=306, statx=332, fstatfs=138)
    if machine == "aarch64":
        return _Numbers(renameat2=276, name_to_handle_at=264, syncfs=267, statx=291, fstatfs=44)
    raise OSError(errno.ENOSYS, f"the system calls of {machine} are not known to Holdfast")


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


def _call(number: int, *arguments: object) -> int:
    syscall = _libc().syscall
    while True:
        result = int(syscall(ctypes.c_long(number), *arguments))
        if result >= 0:
            return result
        _unless_interrupted()


def _unless_interrupted() -> None:
    """Raise the ``OSError`` unless it is a signal's: Python's own calls go on after one (PEP 475), and so do these."""
    code = ctypes.get_errno()
    if code != errno.EINTR:
        raise OSError(code, os.strerror(code))


@cache
def _openat2() -> tuple[Callable[..., int], int]:
    """The one call that is made for every file, with its types known beforehand, and its number."""
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    call.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
    return call, _numbers().openat2


@cache
def _open_how(flags: int, mode: int, resolve: int) -> bytes:
    return struct.pack("=QQQ", flags, mode, resolve)


def openat2(dirfd: int, path: bytes, flags: int, mode: int, resolve: int) -> int:
    """Open ``path`` below ``dirfd`` under the given ``RESOLVE_*`` restrictions."""
    how = _open_how(flags, mode, resolve)
    call, number = _openat2()
    while True:
        fd = int(call(number, dirfd, path, how, len(how)))
        if fd >= 0:
            return fd
        _unless_interrupted()


def renameat2(old_dirfd: int, old: bytes, new_dirfd: int, new: bytes, flags: int) -> None:
    """Rename with ``RENAME_NOREPLACE`` or ``RENAME_EXCHANGE``."""
    _call(_numbers().renameat2, ctypes.c_int(old_dirfd), old, ctypes.c_int(new_dirfd), new, ctypes.c_uint(flags))


def name_to_handle_at(fd: int) -> tuple[int, bytes]:
    """The file handle of an open descriptor: its type and its opaque bytes."""
    buffer = ctypes.create_string_buffer(struct.pack("=Ii", _HANDLE_BYTES, 0), 8 + _HANDLE_BYTES)
    mount = ctypes.c_int(0)
    _call(_numbers().name_to_handle_at, ctypes.c_int(fd), b"", buffer, ctypes.byref(mount), ctypes.c_int(AT_EMPTY_PATH))
    length, kind = struct.unpack_from("=Ii", buffer.raw)
    return kind, buffer.raw[8 : 8 + length]


def syncfs(fd: int) -> None:
    """Write out the whole filesystem that ``fd`` is on."""
    _call(_numbers().syncfs, ctypes.c_int(fd))


def mount_id(fd: int) -> int:
    """The id of the mount through which ``fd`` was opened, as in ``mountinfo``."""
    buffer = _statx(fd)
    (mask,) = struct.unpack_from("=I", buffer)
    if not mask & _STATX_MNT_ID:
        raise OSError(errno.ENOSYS, "the kernel does not tell mount ids; Linux 5.8 or newer is needed")
    return int(struct.unpack_from("=Q", buffer, _STATX_MNT_ID_OFFSET)[0])


def attributes(fd: int) -> int:
    """The ``STATX_ATTR_*`` bits of an open descriptor, an ``O_PATH`` one as well, which the filesystem knows of."""
    return int(struct.unpack_from("=Q", _statx(fd), _STATX_ATTRIBUTES_OFFSET)[0])


def _statx(fd: int) -> bytes:
    buffer = ctypes.create_string_buffer(_STATX_SIZE)
    _call(
        _numbers().statx,
        ctypes.c_int(fd),
        b"",
        ctypes.c_int(AT_EMPTY_PATH),
        ctypes.c_uint(_STATX_MNT_ID),
        buffer,
    )
    return buffer.raw


def filesystem_magic(fd: int) -> int:
    """The ``f_type`` of ``fstatfs``: which kind of filesystem ``fd`` is on."""
    buffer = ctypes.create_string_buffer(_STATFS_SIZE)
    _call(_numbers().fstatfs, ctypes.c_int(fd), buffer)
    return int(struct.unpack_from("=Q", buffer.raw)[0])
