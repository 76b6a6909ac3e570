"""Secret keys in files: made once, readable by their owner only, refused when anybody else could have read them."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from holdfast.domain.errors import Failed
from holdfast.engine.fs import Fs
from holdfast.engine.os_errors import translate

KEY_BYTES: Final = 32


def load_or_create_key(fs: Fs, path: Path) -> bytes:
    """The key in a file; made, durably, if the file is missing. Its directory is made if that is missing too.

    Args:
        path: absolute; the directory's parent must exist.

    Returns:
        32 random bytes, the same at every call.

    Raises:
        Failed: ``key_malformed``, ``key_readable_by_others``, or the file system refused.
        NoSpace: there is no room for the file.
    """
    with _directory(fs, path) as dirfd:
        key = _load(fs, dirfd, path)
        if key is None:
            key = secrets.token_bytes(KEY_BYTES)
            fs.write_file_durable(dirfd, os.fsencode(path.name), key)
        return key


def load_key(fs: Fs, path: Path) -> bytes | None:
    """The key in a file; ``None`` if there is none. Makes nothing. Raises as :func:`load_or_create_key`."""
    with _doing(path):
        try:
            dirfd = fs.open_root(str(path.parent))
        except FileNotFoundError:
            return None
        try:
            return _load(fs, dirfd, path)
        finally:
            fs.close(dirfd)


def replace_key(fs: Fs, path: Path, key: bytes, *, keep_as: str | None = None) -> None:
    """Put a key into a file, durably; at every instant there is the former one or this one.

    Args:
        keep_as: name, in the same directory, under which the former key stays.

    Raises:
        Failed, NoSpace: as :func:`load_or_create_key`; the former key is in its place.
    """
    with _directory(fs, path) as dirfd:
        former = _load(fs, dirfd, path)
        if former is not None and keep_as is not None:
            fs.write_file_durable(dirfd, os.fsencode(keep_as), former)
        fs.write_file_durable(dirfd, os.fsencode(path.name), key)


@contextmanager
def _doing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise translate(error, f"reading or writing the key {path}") from error


@contextmanager
def _directory(fs: Fs, path: Path) -> Iterator[int]:
    """The directory of a key; made, durably, if it is missing."""
    with _doing(path):
        dirfd = _open_directory(fs, path.parent)
        try:
            yield dirfd
        finally:
            fs.close(dirfd)


def _open_directory(fs: Fs, path: Path) -> int:
    parent = fs.open_root(str(path.parent))
    try:
        try:
            fs.mkdirat(parent, os.fsencode(path.name), 0o700)
            fs.fsync(parent)
        except FileExistsError:
            pass
        return fs.openat(parent, os.fsencode(path.name), os.O_RDONLY | os.O_DIRECTORY)
    finally:
        fs.close(parent)


def _load(fs: Fs, dirfd: int, path: Path) -> bytes | None:
    try:
        fd = fs.openat(dirfd, os.fsencode(path.name), os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        facts = fs.fstat(fd)
        if stat.S_IMODE(facts.st_mode) & 0o077:
            raise Failed(
                "key_readable_by_others",
                f"Others than its owner can read or change the key {path}.",
                next_step=f"Find out who had access, then run: chmod 600 {path}",
            )
        key = fs.read(fd, KEY_BYTES + 1)
    finally:
        fs.close(fd)
    if len(key) != KEY_BYTES or not stat.S_ISREG(facts.st_mode):
        raise Failed(
            "key_malformed",
            f"The key {path} is not a file of {KEY_BYTES} bytes.",
            next_step="Put the key back from a backup. Without it, Holdfast can't tell its own snapshots from others.",
        )
    return key
