"""What the root of a tree has of its own (owner, mode, time, attributes, ACLs), where the directory itself stays."""

from __future__ import annotations

import stat

from holdfast.domain.restore import RootLook
from holdfast.engine.entries import Entry, EntryKind
from holdfast.engine.file_content import read_xattrs
from holdfast.engine.fs import Fs
from holdfast.engine.metadata import MetadataKeeper


def look_at_root(fs: Fs, fd: int) -> RootLook:
    """What an open root has. Raises ``OSError``."""
    facts = fs.fstat(fd)
    return RootLook(
        mode=stat.S_IMODE(facts.st_mode),
        uid=facts.st_uid,
        gid=facts.st_gid,
        mtime_ns=facts.st_mtime_ns,
        xattrs=read_xattrs(fs, fd),
    )


def dress_root(fs: Fs, fd: int, look: RootLook) -> None:
    """Give an open root what it is to have of its own, and take away what it has besides. Idempotent.

    Raises:
        OSError: it can't be set.
        Failed: ``metadata_not_kept``.
    """
    wanted = {name for name, _ in look.xattrs}
    for name, _ in read_xattrs(fs, fd):
        if name not in wanted and not name.startswith(b"security."):
            fs.removexattr(fd, name)
    entry = Entry(
        path=b"",
        kind=EntryKind.DIRECTORY,
        mode=look.mode,
        uid=look.uid,
        gid=look.gid,
        mtime_ns=look.mtime_ns,
        xattrs=look.xattrs,
    )
    MetadataKeeper(fs, privileged=True, leave_out=lambda _path, _what: None).dress(fd, entry)
