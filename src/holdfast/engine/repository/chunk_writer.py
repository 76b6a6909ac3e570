"""Stores chunks: hashes, leaves out what is there already, compresses the rest in frames, and writes packs.

One thread (the caller's) reads; a few others hash and compress, since both let go of the interpreter; one writes packs.

Invariants:

- A chunk's id is handed out only when the chunk is in a pack that is, or is going to be, durable; :meth:`ChunkWriter.
  finish` returns after all of them are, and only then may a manifest name them.
- The index learns of a pack only after the pack is durable.
- Memory is bounded: a handful of batches, and the packs that are being filled and written.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

import zstandard
from blake3 import blake3

from holdfast.engine.repository.blobs import BlobStore
from holdfast.engine.repository.index import Index
from holdfast.engine.repository.pack import PackBuilder, encode_frame
from holdfast.engine.repository.seal import RepositoryKeys, Sealer

PACK_BYTES: Final = 24 << 20
FRAME_BYTES: Final = 1 << 20
LEVEL: Final = 2
"""Of zstd; why this one is told in ``docs/adr/0006-repository.md``."""

_FRAME_CHUNKS: Final = 1024
_PACKS_AHEAD: Final = 1


class Batch:
    """Chunks that travel together. ``ids`` are there once it was processed."""

    __slots__ = ("bytes", "chunks", "done", "ids")

    def __init__(self) -> None:
        self.chunks: list[bytes | memoryview] = []
        self.bytes = 0
        self.ids: list[bytes] = []
        self.done: Future[None] | None = None


class Ticket:
    """What stands for a chunk until its id is known."""

    __slots__ = ("_at", "_batch")

    def __init__(self, batch: Batch, at: int) -> None:
        self._batch, self._at = batch, at

    @property
    def ready(self) -> bool:
        """Whether :attr:`id` is known."""
        return bool(self._batch.ids)

    @property
    def id(self) -> bytes:
        return self._batch.ids[self._at]


class ChunkWriter:
    """Stores chunks for one capture, copy or rewrite. A context manager: leaving it early leaves no thread behind.

    Args:
        pack_bytes: what a pack is filled to.

    Attributes:
        stored_bytes: bytes of the packs written so far.
        new_bytes: plaintext bytes that were not there already.
    """

    def __init__(
        self,
        blobs: BlobStore,
        index: Index,
        keys: RepositoryKeys,
        sealer: Sealer,
        *,
        threads: int | None = None,
        pack_bytes: int = PACK_BYTES,
    ) -> None:
        workers = threads or max(2, os.cpu_count() or 1)
        self._pack_bytes = pack_bytes
        self.stored_bytes = self.new_bytes = 0
        self._blobs, self._index, self._keys, self._sealer = blobs, index, keys, sealer
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="chunks")
        self._packer = ThreadPoolExecutor(1, thread_name_prefix="packs")
        self._local = threading.local()
        self._room = threading.Semaphore(workers + 2)
        self._pack_room = threading.Semaphore(1 + _PACKS_AHEAD)
        self._claims = threading.Lock()
        self._in_flight: set[bytes] = set()
        self._packing = threading.Lock()
        self._pack = PackBuilder(keys.pack_name, sealer)
        self._data, self._trees = Batch(), Batch()
        self._batches: list[Future[None]] = []
        self._packs: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._packer.shutdown(wait=True, cancel_futures=True)

    def put(self, data: bytes | memoryview) -> Ticket:
        """Store a chunk. ``data`` must not change afterwards.

        Raises:
            HoldfastError: an earlier chunk could not be stored.
        """
        return self._add(self._data, data)

    def put_tree(self, data: bytes) -> Ticket:
        """Store a part of a tree, in frames of their own: who goes through a tree need not read the files' data."""
        return self._add(self._trees, data)

    def _add(self, batch: Batch, data: bytes | memoryview) -> Ticket:
        ticket = Ticket(batch, len(batch.chunks))
        batch.chunks.append(data)
        batch.bytes += len(data)
        if batch.bytes >= FRAME_BYTES or len(batch.chunks) >= _FRAME_CHUNKS:
            self._submit(batch)
        return ticket

    def known(self, chunk_id: bytes) -> Ticket:
        """What stands for a chunk that is usable already, as :meth:`put` gives it for one that may not be."""
        batch = Batch()
        batch.ids = [chunk_id]
        return Ticket(batch, 0)

    def _submit(self, batch: Batch) -> None:
        """Send the chunks of a batch on, however few they are, and begin another."""
        if not batch.chunks:
            return
        if batch is self._data:
            self._data = Batch()
        else:
            self._trees = Batch()
        self._room.acquire()
        batch.done = self._pool.submit(self._process, batch)
        self._batches.append(batch.done)
        self._reap(self._batches)
        self._reap(self._packs)

    def wait(self, ticket: Ticket) -> bytes:
        """The id of a chunk, as soon as it is known."""
        if not ticket.ready:
            if ticket._batch.done is None:
                self._submit(ticket._batch)
            done = ticket._batch.done
            if done is not None:
                done.result()
        return ticket.id

    def finish(self) -> None:
        """Store everything durably. Raises what storing raised."""
        self._submit(self._data)
        self._submit(self._trees)
        for batch in self._batches:
            batch.result()
        with self._packing:
            if self._pack:
                self._send_pack()
        for pack in self._packs:
            pack.result()
        self._batches, self._packs = [], []
        self._index.flush()

    def _reap(self, futures: list[Future[None]]) -> None:
        while futures and futures[0].done():
            futures.pop(0).result()

    def _process(self, batch: Batch) -> None:
        try:
            key = self._keys.chunk_id
            ids = [blake3(chunk, key=key).digest() for chunk in batch.chunks]
            new = self._claim(ids, batch.chunks)
            if new:
                self._add_frame(new)
            batch.ids = ids
        finally:
            batch.chunks = []
            self._room.release()

    def _claim(
        self, ids: Sequence[bytes], chunks: Sequence[bytes | memoryview]
    ) -> list[tuple[bytes, bytes | memoryview]]:
        """The chunks that nobody stored or is storing, each once; from now on they are being stored."""
        with self._claims:
            wanted = self._index.missing(list(set(ids))) - self._in_flight
            new = []
            for chunk_id, chunk in zip(ids, chunks, strict=True):
                if chunk_id in wanted:
                    wanted.remove(chunk_id)
                    new.append((chunk_id, chunk))
                    self.new_bytes += len(chunk)
            self._in_flight.update(chunk_id for chunk_id, _ in new)
        return new

    def _add_frame(self, chunks: Sequence[tuple[bytes, bytes | memoryview]]) -> None:
        frame = encode_frame(chunks, self._compressor())
        with self._packing:
            self._pack.add_frame(frame)
            if self._pack.size >= self._pack_bytes:
                self._send_pack()

    def _send_pack(self) -> None:
        """Have the present pack written, and begin another. Waits while as many as may be are being written."""
        pack, self._pack = self._pack, PackBuilder(self._keys.pack_name, self._sealer)
        self._pack_room.acquire()
        self._packs.append(self._packer.submit(self._write_pack, pack))

    def _write_pack(self, pack: PackBuilder) -> None:
        try:
            written = pack.finish()
            self._blobs.put(f"packs/{written.name}", written.buffers)
            self._index.add_pack(written.name, written.size, written.frames)
            with self._claims:
                self.stored_bytes += written.size
                self._in_flight.difference_update(chunk_id for frame in written.frames for chunk_id, _ in frame.chunks)
        finally:
            self._pack_room.release()

    def _compressor(self) -> zstandard.ZstdCompressor:
        found = getattr(self._local, "compressor", None)
        if found is None:
            found = self._local.compressor = zstandard.ZstdCompressor(level=LEVEL)
        return found
