"""The empty directory that takes the place of a missing live one, so that there is something to exchange.

It is made in the wrapper, with the owner and mode of the staged tree's root, and gets its name in one rename once the
journal knows its identity. So whatever dies, it is never confused with a directory that somebody else made there:

- It is removed by its identity alone, and only while it is empty.
- Nothing that stands at the live path is ever replaced by it.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import Final

from holdfast.domain.errors import Failed, Refused
from holdfast.domain.restore import Identity, LiveBefore, RootRef, VolumeFacts
from holdfast.engine.fs import Fs
from holdfast.engine.live import LiveRoots
from holdfast.engine.os_errors import translate
from holdfast.engine.wrapper_place import MADE, STAGED, opened_parent, opened_wrapper, parent_if_there

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY


def make_empty(fs: Fs, roots: LiveRoots, facts: VolumeFacts) -> Identity:
    """Make the empty directory in the wrapper, beside the staged tree. Nothing is at the live path yet.

    Raises:
        Failed, NoSpace: it could not be made; what is left of it goes with the wrapper.
    """
    try:
        with opened_parent(fs, roots, facts) as place, opened_wrapper(fs, place.fd, facts) as wrapper:
            like = fs.statat(wrapper, STAGED)
            fs.mkdirat(wrapper, MADE)
            fd = fs.openat(wrapper, MADE, _DIRECTORY)
            try:
                fs.fchown(fd, like.st_uid, like.st_gid)
                fs.fchmod(fd, stat.S_IMODE(like.st_mode))
                fs.fsync(fd)
                fs.fsync(wrapper)
                return fs.identity(fd)
            finally:
                fs.close(fd)
    except OSError as error:
        raise translate(error, f"making {facts.live.path}") from error


def place_empty(fs: Fs, roots: LiveRoots, facts: VolumeFacts) -> None:
    """Give the empty directory the live path, durably. Only once the journal names it, and with everything stopped.

    Raises:
        Failed: ``volume_appeared`` if something is there by now, which stays as it is; or what the file system said.
    """
    try:
        with opened_parent(fs, roots, facts) as place, opened_wrapper(fs, place.fd, facts) as wrapper:
            fs.rename_noreplace(wrapper, MADE, place.fd, place.name)
            fs.fsync(place.fd)
            fs.fsync(wrapper)
    except FileExistsError as error:
        raise Failed(
            "volume_appeared",
            f"{facts.live.path} was missing when the restore began, and is there now. It was left as it is.",
            next_step="Find out who made it. If a disk was mounted meanwhile, start the restore again as it is now.",
            details={"path": facts.live.path, "target": facts.target},
        ) from error
    except OSError as error:
        raise translate(error, f"making {facts.live.path}") from error


def remove_empty(fs: Fs, roots: LiveRoots, facts: VolumeFacts) -> bool:
    """Take the empty directory away from the live path again, durably. Idempotent.

    Returns:
        ``False`` if it is there and no longer empty: then it stays.

    Raises:
        Failed: it can't be looked at or removed.
    """
    if facts.before is not LiveBefore.MISSING or facts.live_identity is None:
        return True
    try:
        with parent_if_there(fs, roots, facts) as place:
            if place is not None and _identity(fs, place.fd, place.name) == facts.live_identity:
                fs.rmdirat(place.fd, place.name)
                fs.fsync(place.fd)
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            return False
        raise translate(error, f"removing the empty directory {facts.live.path}") from error
    return True


def remove_parents(fs: Fs, roots: LiveRoots, facts: VolumeFacts) -> None:
    """Remove the directories that were made above a missing one, as far as they are empty. Idempotent.

    Raises:
        Failed: one can't be removed for another reason than what is in it.
    """
    ref = facts.live
    for _ in range(facts.missing_parents):
        ref = RootRef(root=ref.root, relative=ref.parent_relative)
        try:
            above, name = roots.open_parent(ref)
        except Refused:  # it is gone, or somebody put something else there
            continue
        try:
            with suppress(FileNotFoundError, NotADirectoryError):
                fs.rmdirat(above, name)
                fs.fsync(above)
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:
                return
            raise translate(error, f"removing the empty directory {ref.path}") from error
        finally:
            fs.close(above)


def _identity(fs: Fs, dirfd: int, name: bytes) -> Identity | None:
    """What stands at a name; ``None`` for nothing."""
    try:
        fd = fs.open_path(dirfd, name)
    except FileNotFoundError:
        return None
    try:
        return fs.identity(fd)
    finally:
        fs.close(fd)
