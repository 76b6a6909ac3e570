"""One open repository: its parts, put together once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from holdfast.domain.errors import Conflict, HoldfastError, NotFound, Problem, Refused
from holdfast.engine.fs import Fs
from holdfast.engine.repository.blobs import BlobStore
from holdfast.engine.repository.chunk_reader import ChunkReader
from holdfast.engine.repository.chunk_writer import PACK_BYTES, ChunkWriter
from holdfast.engine.repository.condemned import read_condemned
from holdfast.engine.repository.index import Index
from holdfast.engine.repository.locking import RepositoryLock
from holdfast.engine.repository.manifests import Manifests, StoredSnapshot
from holdfast.engine.repository.pack_listing import FOLDER
from holdfast.engine.repository.posix_blobs import PosixBlobs
from holdfast.engine.repository.repository_file import (
    RepositoryFile,
    create_repository,
    read_repository,
    require_owner,
)
from holdfast.engine.repository.seal import RepositoryKeys, sealer_of
from holdfast.engine.repository.warm_files import WarmFiles

_CACHE = "cache"


class Repository:
    """A repository that was recognised as this installation's own. A context manager: leaving it closes its parts.

    Args:
        description: what ``repository.json`` says.
        local: directory of this machine for the lock, and for the caches in its folder ``cache``.

    Attributes:
        unreadable: why packs that are there can't be used, as the last :meth:`sync_index` found.
    """

    def __init__(
        self, fs: Fs, blobs: BlobStore, keys: RepositoryKeys, description: RepositoryFile, local: Path
    ) -> None:
        cache = local / _CACHE
        cache.mkdir(mode=0o700, exist_ok=True)
        self.description, self.blobs, self.keys = description, blobs, keys
        self.sealer = sealer_of(keys, encrypted=description.encrypted)
        self.index = Index(fs, cache / "index.sqlite", description.id)
        self.manifests = Manifests(blobs, keys, self.sealer)
        self.lock = RepositoryLock(fs, local)
        self.warm_files = WarmFiles(fs, cache)
        self.unreadable: Sequence[Problem] = ()

    @classmethod
    def open_local(cls, fs: Fs, root: Path, key: bytes, *, owner: str, encrypt: bool, reserve_bytes: int = 0) -> Self:
        """Open the repository in a directory of this machine, or make it there if there is nothing.

        Args:
            key: the repository's, 32 bytes.
            owner: id of this installation.
            encrypt: whether a new one is sealed; one that is there stays as it is.
            reserve_bytes: what storing leaves free on the directory's filesystem.

        Raises:
            Conflict: ``repository_of_another``.
            Refused, Damaged: as :func:`read_repository` and :func:`create_repository`. Nothing was changed.
        """
        keys = RepositoryKeys.derive(key)
        blobs = PosixBlobs.made_at(fs, root, reserve_bytes=reserve_bytes)
        try:
            try:
                description = read_repository(blobs, keys)
            except NotFound:
                description = create_repository(blobs, keys, owner=owner, encrypted=encrypt)
            require_owner(description, owner)
            return cls(fs, blobs, keys, description, root)
        except BaseException:
            blobs.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of descriptors and connections."""
        self.index.close()
        self.blobs.close()

    def reader(self) -> ChunkReader:
        """A reader, to be used as a context manager."""
        return ChunkReader(self.blobs, self.index, self.keys, self.sealer)

    def writer(self, *, pack_bytes: int = PACK_BYTES) -> ChunkWriter:
        """A writer, to be used as a context manager."""
        return ChunkWriter(self.blobs, self.index, self.keys, self.sealer, pack_bytes=pack_bytes)

    def check_owner(self, owner: str) -> None:
        """Make sure, by reading it anew, that the repository is still this installation's.

        Raises:
            Conflict: ``repository_of_another``.
        """
        require_owner(read_repository(self.blobs, self.keys), owner)

    def commit(self, snapshot: StoredSnapshot, *, since: int) -> None:
        """Make a snapshot exist, all of whose chunks are stored. After an error it does not, as far as one can tell.

        A pack that it relies on may be from a writer that was killed before the pack's name was flushed.

        Args:
            since: what :meth:`sync_index` returned before its chunks were stored.

        Raises:
            Conflict: ``snapshot_exists``.
        """
        self.blobs.flush(FOLDER)
        try:
            self.manifests.write(snapshot)
        except (Conflict, Refused):
            raise
        except HoldfastError:
            # It may have got its name, and only the confirmation failed.
            with suppress(HoldfastError):
                self.manifests.delete([snapshot.id])
            raise
        self.index.set_whole(snapshot.id, since=since)

    def sync_index(self) -> int:
        """Bring the index up to what the store really holds, before anything relies on it.

        Returns:
            The index' count of losses, for :meth:`Index.set_whole`.
        """
        condemned = read_condemned(self.blobs)
        self.unreadable = self.index.sync(self.blobs, self.keys, self.sealer, condemned=condemned)
        return self.index.losses()
