"""Which way the trees of a volume can change places: tried beside it, or in it where it is a mount point.

Necessary, not sufficient: the live directory's own flags, mounts and the space left are not tried. What a crash leaves
of the trial is for :mod:`holdfast.engine.probes`.
"""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import ExitStack, nullcontext
from typing import Final

from holdfast.domain.errors import Problem
from holdfast.domain.restore import RootRef, SwapWay
from holdfast.engine.fs import MAGIC_FUSE, Fs
from holdfast.engine.live import LiveRoots
from holdfast.engine.mounts import filesystem_of
from holdfast.engine.os_errors import translate
from holdfast.engine.probes import PROBE_PREFIX
from holdfast.engine.wrapper_place import STAGED, unchanged_time

_NO_EXCHANGE: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY


def choose_way(fs: Fs, roots: LiveRoots, ref: RootRef) -> SwapWay | Problem:
    """Try it on a throwaway pair, and leave nothing.

    Returns:
        The way, or why there is none: ``identity_unsupported``, ``exchange_unsupported``, or what the file system said.

    Raises:
        Refused, Failed: the directory that the pair is made in can't be opened.
    """
    inside = _is_there(fs, roots, ref) and roots.is_mount_point(ref)
    holder = roots.open(ref) if inside else roots.open_parent(ref)[0]
    try:
        with unchanged_time(fs, holder) if inside else nullcontext():
            return _tried(fs, holder, ref, inside=inside)
    except OSError as error:
        translated = translate(error, f"trying an exchange beside {ref.path}")
        return Problem(
            code=translated.code,
            message=translated.message,
            next_step=translated.next_step,
            details={**translated.details, "path": ref.path},
        )
    finally:
        fs.close(holder)


def _tried(fs: Fs, holder: int, ref: RootRef, *, inside: bool) -> SwapWay | Problem:
    """Raises ``OSError`` for what has nothing to do with exchanging."""
    with ExitStack() as undo:
        outer = _scratch(fs, holder, PROBE_PREFIX + secrets.token_hex(8).encode(), undo)
        _scratch(fs, outer, b"live", undo)
        wrapper = _scratch(fs, outer, b"wrapper", undo)
        if not _identities_last(fs, _scratch(fs, wrapper, STAGED, undo)):
            return _no_identity(fs, holder, ref)
        try:
            fs.exchange(outer, b"live", wrapper, STAGED)
        except OSError as error:
            if error.errno in _NO_EXCHANGE:
                return SwapWay.CHILDREN_BY_RENAMES if inside else SwapWay.RENAMES
            if error.errno == errno.EXDEV:
                return _no_exchange(fs, holder, ref, error)
            raise
    return SwapWay.CHILDREN if inside else SwapWay.EXCHANGE


def _identities_last(fs: Fs, fd: int) -> bool:
    """Whether a directory can be told again after a remount: its filesystem has handles, and they mean inodes.

    A FUSE filesystem has some, but most of its programs number files anew whenever the kernel has forgotten them.
    """
    if fs.filesystem_type(fd) == MAGIC_FUSE:
        return False
    try:
        fs.identity(fd)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return False
    return True


def _is_there(fs: Fs, roots: LiveRoots, ref: RootRef) -> bool:
    parent, name = roots.open_parent(ref)
    try:
        fs.statat(parent, name)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise translate(error, f"looking at {ref.path}") from error
    finally:
        fs.close(parent)
    return True


def _no_identity(fs: Fs, fd: int, ref: RootRef) -> Problem:
    filesystem = filesystem_of(fs, fd)
    return Problem(
        code="identity_unsupported",
        message=f"The filesystem of {ref.path} ({filesystem}) gives directories no identity that lasts, by which an "
        "interrupted restore could tell the old data from the restored.",
        next_step="Move the volume to a local ext4, XFS or btrfs filesystem. Nothing was changed.",
        details={"path": ref.path, "filesystem": filesystem},
    )


def _no_exchange(fs: Fs, fd: int, ref: RootRef, error: OSError) -> Problem:
    filesystem = filesystem_of(fs, fd)
    return Problem(
        code="exchange_unsupported",
        message=f"The filesystem of {ref.path} ({filesystem}) can't move directories.",
        next_step="Move the volume to a local ext4, XFS or btrfs filesystem. Nothing was changed.",
        details={"path": ref.path, "filesystem": filesystem, "reason": error.strerror or ""},
    )


def _scratch(fs: Fs, dirfd: int, name: bytes, undo: ExitStack) -> int:
    fs.mkdirat(dirfd, name, 0o700)
    undo.callback(fs.rmdirat, dirfd, name)
    fd = fs.openat(dirfd, name, _DIRECTORY)
    undo.callback(fs.close, fd)
    return fd
