"""Secret keys in files: made once, readable by their owner only, refused when anybody else could have read them."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


def load_secret(fs: Fs, path: Path, limit: int) -> bytes | None:
    """Something else that is secret, in a file of its own; ``None`` if there is none.

    Args:
        limit: bytes that it may have.

    Raises:
        Failed: ``key_malformed``, ``key_readable_by_others``, or the file system refused.
    """
    with _doing(path):
        try:
            dirfd = fs.open_root(str(path.parent))
        except FileNotFoundError:
            return None
        try:
            secret = _read(fs, dirfd, path, limit)
        finally:
            fs.close(dirfd)
    if secret is not None and not 0 < len(secret) <= limit:
        raise Failed(
            "key_malformed",
            f"The file {path} is empty or too large to be a secret.",
            next_step="Remove what it belongs to, and add it again.",
        )
    return secret


def write_secret(fs: Fs, path: Path, secret: bytes) -> None:
    """Keep a secret in a file for its owner only, durably. Its directory must exist. Raises as :func:`load_secret`."""
    with _directory(fs, path) as dirfd:
        fs.write_file_durable(dirfd, os.fsencode(path.name), secret)


def remove_secret(fs: Fs, path: Path) -> None:
    """Remove a secret's file, durably. Fine if there is none."""
    with _directory(fs, path) as dirfd, suppress(FileNotFoundError):
        fs.unlinkat(dirfd, os.fsencode(path.name))
        fs.fsync(dirfd)


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
    key = _read(fs, dirfd, path, KEY_BYTES)
    if key is not None and len(key) != KEY_BYTES:
        raise Failed(
            "key_malformed",
            f"The key {path} is not a file of {KEY_BYTES} bytes.",
            next_step="Put the key back from a backup. Without it, Holdfast can't tell its own snapshots from others.",
        )
    return key


def _read(fs: Fs, dirfd: int, path: Path, limit: int) -> bytes | None:
    """A file that nobody else can read: up to one byte more than it may have; nothing of what is no file."""
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
        return fs.read(fd, limit + 1) if stat.S_ISREG(facts.st_mode) else b""
    finally:
        fs.close(fd)
