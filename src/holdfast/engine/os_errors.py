"""What an ``OSError`` means to a person: the one place where the engine turns it into Holdfast's own errors."""

from __future__ import annotations

import errno
from typing import Final

from holdfast.domain.errors import Failed, HoldfastError, NoSpace

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

_KNOWN: Final[dict[int, tuple[str, str]]] = {
    errno.EIO: (
        "disk_error",
        "The disk reported an error. Check it (dmesg, smartctl) before you trust what is on it.",
    ),
    errno.EROFS: ("filesystem_read_only", "The filesystem is read-only. Find out why, and mount it writable."),
    errno.EACCES: ("permission_denied", "Run Holdfast as root, and check that the filesystem allows root to do this."),
    errno.EPERM: (
        "permission_denied",
        "Run Holdfast as root, and check for immutable flags (lsattr) and mount options.",
    ),
    errno.EMFILE: ("too_many_open_files", "Raise the limit of open files (LimitNOFILE in the unit), then try again."),
    errno.ENFILE: ("too_many_open_files", "Raise the system's limit of open files (fs.file-max), then try again."),
}


def is_full(error: OSError) -> bool:
    """Whether the filesystem, or a quota on it, is full."""
    return error.errno in _FULL


def translate(error: OSError, doing: str) -> HoldfastError:
    """The Holdfast error for ``error``. Raise it ``from`` the original.

    Args:
        doing: what was being done to what, for the middle of a sentence: ``writing notes/a.txt``.

    Returns:
        ``NoSpace("no_space")`` where a filesystem or quota is full; ``Failed`` with ``disk_error``,
        ``filesystem_read_only``, ``permission_denied``, ``too_many_open_files`` or ``file_system_error`` else.
    """
    words = error.strerror or str(error)
    details = {"doing": doing, "errno": errno.errorcode.get(error.errno or 0, str(error.errno)), "reason": words}
    if is_full(error):
        return NoSpace(
            "no_space",
            f"The filesystem is full or out of quota (while {doing}): {words}.",
            next_step="Free space or inodes on that filesystem, then try again.",
            details=details,
        )
    code, next_step = _KNOWN.get(
        error.errno or 0, ("file_system_error", "Check the named file and its filesystem, then try again.")
    )
    return Failed(code, f"The file system refused ({doing}): {words}.", next_step=next_step, details=details)
