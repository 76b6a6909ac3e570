"""Where archives and manifests lie: ``<root>/<workload id>/<snapshot id>.tar.zst`` (or ``.tar.gz``) and ``.json``.

Invariants:

- The manifest is the only commit point: written last, durably, and removed first. An archive without one is an orphan.
- Names are ids and fixed suffixes; nothing that an archive or a manifest says becomes part of a path (I6).
- Every file reaches its name by rename, flushed before and after. Files are 0600, directories 0700.
- What fails or is cancelled takes away what it made.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from holdfast.domain.errors import Conflict, Damaged, NotFound
from holdfast.domain.ids import is_id
from holdfast.domain.snapshot import SnapshotManifest
from holdfast.engine.archive.format import MAX_MANIFEST_BYTES, Use, decode_stored, encode
from holdfast.engine.archive.problems import refused
from holdfast.engine.archive.source import PIECE_BYTES, Compression
from holdfast.engine.fs import TEMPORARY_PREFIX, Fs
from holdfast.engine.os_errors import translate
from holdfast.engine.space import keep_reserve

_MANIFEST: Final = ".json"
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY


class Pending:
    """A snapshot on its way into the store."""

    def __init__(self, fs: Fs, dirfd: int, snapshot_id: str, key: bytes, reserve_bytes: int) -> None:
        self._fs, self._dirfd, self._id, self._key = fs, dirfd, snapshot_id, key
        self._reserve_bytes = reserve_bytes
        self._made: list[bytes] = []

    @contextmanager
    def create(self) -> Iterator[Callable[[bytes], None]]:
        """A temporary file for the archive: what is given out appends to it. Flushed at an end without an error.

        Raises:
            NoSpace: ``disk_reserve_reached``, at any piece.
        """
        name = self._temporary
        fd = self._fs.openat(self._dirfd, name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._made.append(name)

        def write(data: bytes) -> None:
            keep_reserve(self._fs, fd, len(data), self._reserve_bytes, "the snapshot")
            self._fs.write_all(fd, data)

        try:
            yield write
            self._fs.fsync(fd)
        finally:
            self._fs.close(fd)

    @property
    def _temporary(self) -> bytes:
        return TEMPORARY_PREFIX + self._id.encode()

    def place(self, compression: Compression) -> None:
        """Give the written archive its name."""
        self.adopt(self._dirfd, self._temporary, compression)

    def adopt(self, dirfd: int, name: bytes, compression: Compression) -> None:
        """Move a flushed file from a directory of the same filesystem here, durably. ``EXDEV`` if it is another."""
        final = f"{self._id}{compression}".encode()
        self._fs.rename_noreplace(dirfd, name, self._dirfd, final)
        self._made.append(final)
        self._fs.fsync(self._dirfd)

    def commit(self, manifest: SnapshotManifest) -> None:
        """Write the manifest: from here on the snapshot exists.

        Raises:
            Refused: ``manifest_out_of_bounds``, it is too large to be read again.
        """
        data = encode(manifest, self._key, Use.STORE)
        if len(data) > MAX_MANIFEST_BYTES:
            raise refused(
                "manifest_out_of_bounds",
                f"The description of the snapshot is larger than {MAX_MANIFEST_BYTES} bytes.",
                next_step="Nothing was changed. Shorten the note, then try again.",
            )
        name = f"{self._id}{_MANIFEST}".encode()
        # First in the list: it is the first to go if the flush fails.
        self._made.insert(0, name)
        self._fs.write_file_durable(self._dirfd, name, data)

    def discard(self) -> None:
        """Remove what was made, the manifest first."""
        for name in self._made:
            _remove(self._fs, self._dirfd, name)


def _remove(fs: Fs, dirfd: int, name: bytes) -> None:
    try:
        fs.unlinkat(dirfd, name)
    except FileNotFoundError:
        return


class Layout:
    """The store's directory.

    Args:
        root: absolute; made if it is missing, its parent must exist.
        reserve_bytes: what a new snapshot leaves free on the root's filesystem.
    """

    def __init__(self, fs: Fs, root: Path, key: bytes, reserve_bytes: int) -> None:
        self._fs, self._root, self._key, self._reserve_bytes = fs, root, key, reserve_bytes

    @contextmanager
    def _root_fd(self) -> Iterator[int | None]:
        """The root; ``None`` where nothing was ever stored."""
        try:
            fd = self._fs.open_root(str(self._root))
        except FileNotFoundError:
            yield None
            return
        try:
            yield fd
        finally:
            self._fs.close(fd)

    def _ensure_root(self) -> None:
        parent = self._fs.open_root(str(self._root.parent))
        try:
            self._make_directory(parent, os.fsencode(self._root.name))
        finally:
            self._fs.close(parent)

    def _make_directory(self, dirfd: int, name: bytes) -> bool:
        try:
            self._fs.mkdirat(dirfd, name, 0o700)
        except FileExistsError:
            return False
        self._fs.fsync(dirfd)
        return True

    @contextmanager
    def directory(self, workload_id: str) -> Iterator[int | None]:
        """A workload's directory; ``None`` where it has none."""
        with self._root_fd() as root:
            if root is None or not is_id(workload_id):
                yield None
                return
            try:
                fd = self._fs.openat(root, workload_id.encode(), _DIRECTORY)
            except (FileNotFoundError, NotADirectoryError):
                yield None
                return
            try:
                yield fd
            finally:
                self._fs.close(fd)

    def workloads(self) -> Sequence[str]:
        """The ids of all workloads that have a directory."""
        with self._root_fd() as root:
            names = [os.fsdecode(name) for name in self._fs.listdir(root)] if root is not None else []
        return sorted(name for name in names if is_id(name))

    def snapshots(self, workload_id: str) -> Sequence[str]:
        """The ids of a workload's snapshots, readable or not."""
        with self.directory(workload_id) as fd:
            names = [os.fsdecode(name) for name in self._fs.listdir(fd)] if fd is not None else []
        return sorted(
            name.removesuffix(_MANIFEST)
            for name in names
            if name.endswith(_MANIFEST) and is_id(name.removesuffix(_MANIFEST))
        )

    def workload_of(self, snapshot_id: str) -> str:
        """The workload under which a snapshot lies.

        Raises:
            NotFound: ``snapshot_unknown``.
        """
        if is_id(snapshot_id):
            name = f"{snapshot_id}{_MANIFEST}".encode()
            for workload_id in self.workloads():
                with self.directory(workload_id) as fd:
                    if fd is not None and self._size(fd, name) is not None:
                        return workload_id
        raise NotFound(
            "snapshot_unknown",
            f"There is no snapshot {snapshot_id[:64]!r}.",
            next_step="List the workload's snapshots, then use one of their ids.",
        )

    def _size(self, dirfd: int, name: bytes) -> int | None:
        try:
            return self._fs.statat(dirfd, name).st_size
        except FileNotFoundError:
            return None

    def manifest(self, snapshot_id: str) -> SnapshotManifest:
        """A snapshot's manifest, authenticated, and found where it says that it belongs.

        Raises:
            NotFound: ``snapshot_unknown``.
            Damaged: ``manifest_malformed``, ``manifest_not_authentic``.
            Refused: ``archive_format_newer``.
        """
        workload_id = self.workload_of(snapshot_id)
        name = f"{snapshot_id}{_MANIFEST}"
        with self.directory(workload_id) as dirfd:
            data = self._read(dirfd, name.encode()) if dirfd is not None else b""
        shown = f"{workload_id}/{name}"
        manifest = decode_stored(data, self._key, shown)
        if (manifest.id, manifest.workload_id) != (snapshot_id, workload_id):
            raise Damaged(
                "manifest_not_authentic",
                f"The manifest {shown} is that of another snapshot; somebody moved or renamed it.",
                next_step="Move it back, with its archive, or restore another snapshot.",
                details={"file": shown, "id": manifest.id, "workload_id": manifest.workload_id},
            )
        return manifest

    def _read(self, dirfd: int, name: bytes) -> bytes:
        fd = self._fs.openat(dirfd, name, os.O_RDONLY)
        try:
            data = b""
            while len(data) <= MAX_MANIFEST_BYTES and (piece := self._fs.read(fd, PIECE_BYTES)):
                data += piece
            return data
        finally:
            self._fs.close(fd)

    def archive(self, workload_id: str, snapshot_id: str) -> tuple[Compression, int] | None:
        """How a snapshot's archive is compressed, and its size in bytes; ``None`` if it is missing."""
        with self.directory(workload_id) as fd:
            if fd is None:
                return None
            for compression in Compression:
                size = self._size(fd, f"{snapshot_id}{compression}".encode())
                if size is not None:
                    return compression, size
        return None

    @contextmanager
    def open_archive(self, workload_id: str, snapshot_id: str, compression: Compression) -> Iterator[int]:
        """A descriptor of a snapshot's archive, at its start."""
        with self.directory(workload_id) as dirfd:
            if dirfd is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            fd = self._fs.openat(dirfd, f"{snapshot_id}{compression}".encode(), os.O_RDONLY)
        try:
            yield fd
        finally:
            self._fs.close(fd)

    @contextmanager
    def new(self, workload_id: str, snapshot_id: str) -> Iterator[Pending]:
        """Room for a new snapshot. What was put there is gone again unless it was committed.

        Raises:
            Conflict: ``snapshot_exists``.
        """
        self._ensure_root()
        with self._root_fd() as root:
            if root is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._root))
            name = workload_id.encode()
            fresh = self._make_directory(root, name)
            dirfd = self._fs.openat(root, name, _DIRECTORY)
            pending = Pending(self._fs, dirfd, snapshot_id, self._key, self._reserve_bytes)
            try:
                self._expect_absent(dirfd, snapshot_id)
                yield pending
            except BaseException as error:
                try:
                    pending.discard()
                    if fresh:
                        self._fs.rmdirat(root, name)
                except OSError as second:
                    raise translate(second, f"removing what a failed snapshot left ({error})") from error
                raise
            finally:
                self._fs.close(dirfd)

    def _expect_absent(self, dirfd: int, snapshot_id: str) -> None:
        for suffix in (_MANIFEST, *Compression):
            if self._size(dirfd, f"{snapshot_id}{suffix}".encode()) is not None:
                raise Conflict(
                    "snapshot_exists",
                    f"There is a snapshot {snapshot_id} already.",
                    next_step="Take the snapshot again; it gets another id.",
                )

    def delete(self, snapshot_id: str) -> int:
        """Remove a snapshot, its manifest first and durably. Returns the bytes that were freed.

        Raises:
            NotFound: ``snapshot_unknown``.
        """
        workload_id = self.workload_of(snapshot_id)
        freed = 0
        with self.directory(workload_id) as dirfd:
            if dirfd is None:
                return 0
            for suffix in (_MANIFEST, *Compression):
                name = f"{snapshot_id}{suffix}".encode()
                size = self._size(dirfd, name)
                if size is not None:
                    self._fs.unlinkat(dirfd, name)
                    self._fs.fsync(dirfd)
                    freed += size
        return freed

    def clean_orphans(self) -> Sequence[str]:
        """Remove temporary files and archives without a manifest; nothing else. Returns their names."""
        removed: list[str] = []
        for workload_id in self.workloads():
            with self.directory(workload_id) as dirfd:
                if dirfd is None:
                    continue
                names = set(self._fs.listdir(dirfd))
                for name in sorted(names):
                    if _is_orphan(name, names):
                        self._fs.unlinkat(dirfd, name)
                        removed.append(f"{workload_id}/{os.fsdecode(name)}")
                if removed:
                    self._fs.fsync(dirfd)
        return removed


def _is_orphan(name: bytes, names: set[bytes]) -> bool:
    if name.startswith(TEMPORARY_PREFIX):
        return True
    text = os.fsdecode(name)
    return any(
        text.endswith(compression)
        and is_id(text.removesuffix(compression))
        and f"{text.removesuffix(compression)}{_MANIFEST}".encode() not in names
        for compression in Compression
    )
