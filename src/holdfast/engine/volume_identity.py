"""The identity of a volume's root, by which another directory, or another disk, is found out.

The root of a filesystem has the same handle on every disk of its kind: ext4 makes all of them inode 2 of generation 0.
So a root that is mounted is told by its filesystem as well.
"""

from __future__ import annotations

from holdfast.domain.restore import Identity
from holdfast.engine.fs import Fs


def volume_identity(fs: Fs, fd: int) -> Identity:
    """The identity of an open directory that is, or may be, a volume's root.

    Raises:
        OSError: it has none (``EOPNOTSUPP``), or can't be looked at.
    """
    identity = fs.identity(fd)
    above = fs.open_path(fd, b"..")
    try:
        if fs.mount_id(above) == fs.mount_id(fd):
            return identity
    finally:
        fs.close(above)
    return Identity(handle_type=identity.handle_type, handle=identity.handle + fs.filesystem_id(fd))
