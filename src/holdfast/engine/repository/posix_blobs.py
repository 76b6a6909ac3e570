"""Blobs as files below a directory: ``<root>/packs/…``.

Invariants:

- Every blob reaches its name by rename: temporary file beside it, flush, rename, flush of the directory.
- Nothing is reached through a symlink, and nothing outside of the root. Directories are 0700, files 0600.
- Other files may lie in the root (a lock, caches): what can't be a blob's name is never listed, read or removed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from holdfast.domain.errors import NotFound
from holdfast.engine.fs import TEMPORARY_PREFIX, Fs
from holdfast.engine.os_errors import translate
from holdfast.engine.repository.blobs import BlobInfo, BlobStore, Piece, exists, is_component, missing, too_large
from holdfast.engine.repository.blobs import truncated as truncated_blob
from holdfast.engine.space import keep_reserve

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY


class PosixBlobs(BlobStore):
    """Blobs below a directory, which must exist (see :meth:`made_at`).

    Args:
        root: absolute path of the directory.
        reserve_bytes: what writing leaves free on its filesystem; less is ``disk_reserve_reached``.
        pace: is told how many bytes are about to be written, and returns when they may be.

    Raises:
        NotFound: ``blob_store_missing``. An unmounted disk looks like that, so nothing is made here.
    """

    def __init__(
        self, fs: Fs, root: Path, *, reserve_bytes: int = 0, pace: Callable[[int], object] | None = None
    ) -> None:
        self._fs, self._root, self._reserve_bytes, self._pace = fs, root, reserve_bytes, pace
        try:
            self._fd: int | None = fs.open_root(str(root))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound(
                "blob_store_missing",
                f"There is no directory {root}.",
                next_step="If it is on a disk of its own, mount that disk; otherwise make it, or correct the path.",
                details={"path": str(root)},
            ) from error
        except OSError as error:
            raise translate(error, f"opening {root}") from error

    @classmethod
    def made_at(cls, fs: Fs, root: Path, *, reserve_bytes: int = 0) -> PosixBlobs:
        """Open the directory; make it, durably, if it is missing. Its parent must exist."""
        try:
            parent = fs.open_root(str(root.parent))
            try:
                _make_directory(fs, parent, os.fsencode(root.name))
            finally:
                fs.close(parent)
        except OSError as error:
            raise translate(error, f"making {root}") from error
        return cls(fs, root, reserve_bytes=reserve_bytes)

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            self._fs.close(fd)

    # --- writing -------------------------------------------------------------------------------------------------

    def _put(self, name: str, pieces: Sequence[Piece]) -> None:
        with self._doing(f"writing {name}"), self._made_folder(name) as (dirfd, base):
            self._before(dirfd, pieces)
            self._fs.write_file_durable(dirfd, base, *pieces)

    def _create(self, name: str, pieces: Sequence[Piece]) -> None:
        try:
            with self._doing(f"writing {name}"), self._made_folder(name) as (dirfd, base):
                self._before(dirfd, pieces)
                self._fs.write_file_durable(dirfd, base, *pieces, replace=False)
        except FileExistsError as error:
            raise exists(name) from error

    def _before(self, dirfd: int, pieces: Sequence[Piece]) -> None:
        size = sum(len(piece) for piece in pieces)
        if self._pace is not None:
            self._pace(size)
        keep_reserve(self._fs, dirfd, size, self._reserve_bytes, "the snapshot")

    @contextmanager
    def _made_folder(self, name: str) -> Iterator[tuple[int, bytes]]:
        folder, _, base = name.rpartition("/")
        if folder:
            _make_directory(self._fs, self._root_fd, folder.encode())
        with self._folder(folder) as dirfd:
            yield dirfd, base.encode()

    def _delete(self, names: Sequence[str]) -> None:
        folders: dict[str, list[str]] = {}
        for name in names:
            folders.setdefault(name.rpartition("/")[0], []).append(name)
        for folder, inside in folders.items():
            try:
                with self._doing(f"deleting from {folder or 'the root'}"), self._folder(folder) as dirfd:
                    for name in inside:
                        self._remove(dirfd, name.rpartition("/")[2].encode())
                    self._fs.fsync(dirfd)
            except FileNotFoundError:
                continue  # no such folder, so nothing in it

    def _remove(self, dirfd: int, name: bytes) -> None:
        try:
            self._fs.unlinkat(dirfd, name)
        except FileNotFoundError:
            return

    def _flush(self, folder: str) -> None:
        with self._doing(f"flushing {folder}"):
            self._fs.fsync(self._root_fd)
            try:
                with self._folder(folder) as dirfd:
                    self._fs.fsync(dirfd)
            except FileNotFoundError:
                return

    def _clean_temporary(self) -> Sequence[str]:
        removed: list[str] = []
        with self._doing("removing temporary files"):
            folders = ["", *(name for name, facts in self._names("") if stat.S_ISDIR(facts.st_mode))]
            for folder in folders:
                with self._folder(folder) as dirfd:
                    left = sorted(name for name in self._fs.listdir(dirfd) if name.startswith(TEMPORARY_PREFIX))
                    for name in left:
                        self._fs.unlinkat(dirfd, name)
                        removed.append(os.fsdecode(name) if not folder else f"{folder}/{os.fsdecode(name)}")
                    if left:
                        self._fs.fsync(dirfd)
        return removed

    # --- reading -------------------------------------------------------------------------------------------------

    def _get(self, name: str, limit: int) -> bytes:
        with self._opened(name) as fd:
            size = self._fs.fstat(fd).st_size
            if size > limit:
                raise too_large(name, limit)
            return self._read(fd, name, 0, size)

    def _get_range(self, name: str, offset: int, length: int) -> bytes:
        with self._opened(name) as fd:
            if offset + length > self._fs.fstat(fd).st_size:
                raise truncated_blob(name, offset, length)
            return self._read(fd, name, offset, length)

    def _read(self, fd: int, name: str, offset: int, length: int) -> bytes:
        data = self._fs.pread(fd, length, offset)
        while len(data) < length:
            more = self._fs.pread(fd, length - len(data), offset + len(data))
            if not more:
                raise truncated_blob(name, offset, length)
            data += more
        return data

    def _list(self, folder: str) -> list[BlobInfo]:
        prefix = f"{folder}/" if folder else ""
        try:
            with self._doing(f"listing {folder or 'the root'}"):
                return [
                    BlobInfo(prefix + name, facts.st_size)
                    for name, facts in self._names(folder)
                    if stat.S_ISREG(facts.st_mode)
                ]
        except FileNotFoundError:
            return []

    def _names(self, folder: str) -> Iterator[tuple[str, os.stat_result]]:
        """What lies in a folder under a name that a blob or a folder may have."""
        with self._folder(folder) as dirfd:
            for raw in self._fs.scan(dirfd):
                name = os.fsdecode(raw)
                if not is_component(name):
                    continue
                try:
                    yield name, self._fs.statat(dirfd, raw)
                except FileNotFoundError:
                    continue  # deleted since

    # --- opening -------------------------------------------------------------------------------------------------

    @property
    def _root_fd(self) -> int:
        if self._fd is None:
            raise RuntimeError("the blob store was closed")
        return self._fd

    @contextmanager
    def _folder(self, folder: str) -> Iterator[int]:
        fd = self._fs.openat(self._root_fd, folder.encode() or b".", _DIRECTORY)
        try:
            yield fd
        finally:
            self._fs.close(fd)

    @contextmanager
    def _opened(self, name: str) -> Iterator[int]:
        try:
            with self._doing(f"reading {name}"):
                fd = self._fs.open_beneath(self._root_fd, name, os.O_RDONLY)
                try:
                    yield fd
                finally:
                    self._fs.close(fd)
        except FileNotFoundError as error:
            raise missing(name) from error

    @contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        """Words for what the file system refuses; whether a name is there or not is the caller's to tell."""
        try:
            yield
        except (FileNotFoundError, FileExistsError):
            raise
        except OSError as error:
            raise translate(error, f"{what} in {self._root}") from error


def _make_directory(fs: Fs, dirfd: int, name: bytes) -> None:
    try:
        fs.mkdirat(dirfd, name, 0o700)
    except FileExistsError:
        return
    fs.fsync(dirfd)
