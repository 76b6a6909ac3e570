"""What stands in the root of a volume and is no part of it: Holdfast's own wrappers, and the filesystem's lost+found.

A container can give its own directories any name. So a name alone hides nothing: a wrapper is one that a journal names,
for this very directory, and by identity once that is known; a probe has nothing in it; ``lost+found`` is the inode that
ext filesystems are made with. All else is data, whatever it is called.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from typing import Final

from holdfast.domain.errors import HoldfastError
from holdfast.domain.restore import RootRef, VolumeFacts
from holdfast.engine.fs import MAGIC_EXT4, Fs
from holdfast.engine.journal import journals, read_journal
from holdfast.engine.name_swap import NotUnderstood, identity_at
from holdfast.engine.probes import is_probe

WRAPPER_PREFIX: Final = b".holdfast-"
WRAPPER_NAME: Final = re.compile(r"\.holdfast-[0-9a-z]+-[0-9]+")
"""What every wrapper is called like. Not all that is called like that is one: a container may use the name as well."""
LOST_AND_FOUND: Final = b"lost+found"
_EXT_ROOT_INODE: Final = 2
_EXT_LOST_AND_FOUND_INODE: Final = 11

NotOfVolume = Callable[[int, Collection[bytes]], frozenset[bytes]]
"""Asked with the open root of a volume and the names in it: which of them are no part of it. Raises ``OSError``."""


def not_of_volume(fs: Fs, journal_dir: str, ref: RootRef) -> NotOfVolume:
    """What tells the names in a live directory's root that are no part of the volume.

    Args:
        journal_dir: where the restores' journals are; empty if there are none to ask.
    """

    def look(root_fd: int, names: Collection[bytes]) -> frozenset[bytes]:
        found = set()
        if journal_dir and any(name.startswith(WRAPPER_PREFIX) for name in names):
            found = {
                name
                for facts in _inside(fs, journal_dir, ref)
                if (name := facts.wrapper.encode()) in names and _is_wrapper(fs, root_fd, name, facts)
            }
        found |= {name for name in names if is_probe(fs, root_fd, name)}
        if LOST_AND_FOUND in names and has_lost_and_found(fs, root_fd):
            found.add(LOST_AND_FOUND)
        return frozenset(found)

    return look


def has_lost_and_found(fs: Fs, root_fd: int) -> bool:
    """Whether a directory is the root of an ext filesystem that still has the lost+found that it was made with."""
    if fs.filesystem_type(root_fd) != MAGIC_EXT4 or fs.fstat(root_fd).st_ino != _EXT_ROOT_INODE:
        return False
    try:
        found = fs.statat(root_fd, LOST_AND_FOUND)
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_ino == _EXT_LOST_AND_FOUND_INODE and found.st_uid == 0


def something_was_found(fs: Fs, root_fd: int) -> bool:
    """Whether there is anything in a filesystem's lost+found: a person has to look at it. Raises ``OSError``."""
    fd = fs.openat(root_fd, LOST_AND_FOUND, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return next(fs.scan(fd), None) is not None
    finally:
        fs.close(fd)


def _inside(fs: Fs, journal_dir: str, ref: RootRef) -> Iterator[VolumeFacts]:
    """The volumes of all restores whose wrappers lie in this directory."""
    for path in journals(fs, journal_dir):
        # A journal that can't be read names nothing: what it may be about is captured rather than passed over.
        with suppress(HoldfastError):
            for facts in read_journal(fs, path).volumes:
                if facts.way.inside and facts.live == ref:
                    yield facts


def _is_wrapper(fs: Fs, root_fd: int, name: bytes, facts: VolumeFacts) -> bool:
    """Whether it is the journal's wrapper: by identity, and as long as that is not known yet by owner and mode."""
    try:
        if facts.wrapper_identity is not None:
            return identity_at(fs, root_fd, name) == facts.wrapper_identity
        seen = fs.statat(root_fd, name)
    except (FileNotFoundError, NotUnderstood):
        return False
    return stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.geteuid() and stat.S_IMODE(seen.st_mode) == 0o700
