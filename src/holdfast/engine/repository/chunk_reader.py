"""Reads chunks back: frames are fetched, decompressed and verified ahead of the reader, on all cores.

Invariants:

- Nothing is handed out whose hash is not the id that was asked for; what is missing or damaged is ``Damaged`` by its
  id, and nothing is ever filled with zeros.
- Memory is bounded by the frames that are kept and those under way, whatever is read.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Generic, NamedTuple, Self, TypeVar

from blake3 import blake3

from holdfast.domain.errors import Damaged, HoldfastError, NotFound
from holdfast.engine.repository.blobs import BlobStore
from holdfast.engine.repository.index import Index, Location
from holdfast.engine.repository.pack import HEADER_BYTES, decode_frame, read_salt
from holdfast.engine.repository.pack_listing import range_of_pack
from holdfast.engine.repository.seal import RepositoryKeys, Sealer

_KEPT_BYTES: Final = 32 << 20
"""Plaintext of the frames that are kept for chunks that may be asked for next."""
_IDS_AHEAD: Final = 512
_REQUESTS_AHEAD: Final = 2048
_FRAMES_AHEAD: Final = 16
"""Frames that are fetched for chunks whose turn is still to come, a mebibyte each as a rule."""

Chunk = bytes | memoryview
T = TypeVar("T")


class _Frame(NamedTuple):
    """A frame's chunks by id, ``None`` for one whose content is not what its id says; or why it can't be read."""

    chunks: dict[bytes, memoryview | None]
    error: HoldfastError | None
    bytes: int


class ChunkReader:
    """Reads chunks of one repository. A context manager: leaving it leaves no thread behind."""

    def __init__(
        self, blobs: BlobStore, index: Index, keys: RepositoryKeys, sealer: Sealer, *, threads: int | None = None
    ) -> None:
        self._blobs, self._index, self._keys, self._sealer = blobs, index, keys, sealer
        self._pool = ThreadPoolExecutor(threads or max(2, os.cpu_count() or 1), thread_name_prefix="frames")
        self._kept: OrderedDict[tuple[str, int], Future[_Frame]] = OrderedDict()
        self._salts: dict[str, bytes] = {}
        self._salts_lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._kept.clear()

    def read(self, chunk_id: bytes) -> Chunk:
        """One chunk.

        Raises:
            Damaged: ``chunk_missing``, ``chunk_damaged``.
        """
        return next(self.read_many((chunk_id,)))

    def read_many(self, ids: Iterable[bytes]) -> Iterator[Chunk]:
        """Chunks in the order of ``ids``, which is drawn from some way ahead of what is handed out.

        Raises:
            Damaged: as :meth:`read`, when it is the chunk's turn; ``details["chunk"]`` is its id.
        """
        for _, chunks in self.read_ahead((chunk_id, (chunk_id,)) for chunk_id in ids):
            yield from chunks

    def read_ahead(self, requests: Iterable[tuple[T, Sequence[bytes]]]) -> Iterator[tuple[T, Iterator[Chunk]]]:
        """The chunks of each request in turn, while those of the next ones are being fetched.

        Args:
            requests: anything, and the ids of the chunks that are wanted for it.

        Raises:
            Damaged: as :meth:`read_many`.
        """
        queue = _Queue(self, requests)
        while (request := queue.next()) is not None:
            tag, count = request
            chunks = _Taken(queue, count)
            yield tag, chunks
            chunks.drop()

    def locate(self, ids: Sequence[bytes]) -> Iterator[tuple[bytes, Location | None]]:
        """Each id with where its chunk lies."""
        found = self._index.locate(ids)
        return ((chunk_id, found.get(chunk_id)) for chunk_id in ids)

    def frame(self, location: Location) -> tuple[Future[_Frame], bool]:
        """The frame that holds a chunk, and whether it is only now being fetched."""
        key = (location.pack, location.frame_offset)
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept, False
        frame = self._kept[key] = self._pool.submit(self._load, location)
        self._forget_old()
        return frame, True

    def _forget_old(self) -> None:
        kept = sum(frame.result().bytes for frame in self._kept.values() if frame.done())
        while kept > _KEPT_BYTES:
            _, oldest = self._kept.popitem(last=False)
            kept -= oldest.result().bytes if oldest.done() else 0

    def _load(self, location: Location) -> _Frame:
        try:
            stored = range_of_pack(self._blobs, location.pack, location.frame_offset, location.frame_length)
            found = decode_frame(stored, location.frame_offset, self._salt(location.pack), self._sealer)
        except (Damaged, NotFound) as error:
            return _Frame({}, error, 0)
        key = self._keys.chunk_id
        chunks = {chunk_id: chunk if blake3(chunk, key=key).digest() == chunk_id else None for chunk_id, chunk in found}
        return _Frame(chunks, None, sum(len(chunk) for _, chunk in found))

    def _salt(self, pack: str) -> bytes:
        """A pack's salt, by which its frames are unsealed; nothing where they are not sealed."""
        if not self._sealer.sealed:
            return b""
        with self._salts_lock:
            found = self._salts.get(pack)
        if found is None:
            found = read_salt(range_of_pack(self._blobs, pack, 0, HEADER_BYTES), self._sealer)
            with self._salts_lock:
                self._salts[pack] = found
        return found


class _Queue(Generic[T]):
    """What is asked for next: requests, where their chunks lie, and the frames of as many of them as memory allows."""

    def __init__(self, reader: ChunkReader, requests: Iterable[tuple[T, Sequence[bytes]]]) -> None:
        self._reader = reader
        self._source: Iterator[tuple[T, Sequence[bytes]]] | None = iter(requests)
        self._requests: deque[tuple[T, int]] = deque()
        self._located: deque[tuple[bytes, Location | None]] = deque()
        self._coming: deque[tuple[bytes, Future[_Frame] | None, bool]] = deque()
        self._frames = 0

    def next(self) -> tuple[T, int] | None:
        """The next request, and how many chunks of it are to be taken."""
        while self._source is not None and self._is_short():
            self._draw(self._source)
        self._fetch()
        return self._requests.popleft() if self._requests else None

    def take(self) -> tuple[bytes, Future[_Frame] | None]:
        """The next id with its frame."""
        self._fetch()
        chunk_id, frame, new = self._coming.popleft()
        self._frames -= new
        return chunk_id, frame

    def _is_short(self) -> bool:
        ids = len(self._located) + len(self._coming)
        return not self._requests or (ids < _IDS_AHEAD // 2 and len(self._requests) < _REQUESTS_AHEAD // 2)

    def _draw(self, source: Iterator[tuple[T, Sequence[bytes]]]) -> None:
        """Look up where the chunks of the next requests lie, some hundred at once."""
        ids: list[bytes] = []
        for drawn, (tag, wanted) in enumerate(source, 1):
            self._requests.append((tag, len(wanted)))
            ids += wanted
            if len(ids) >= _IDS_AHEAD // 2 or drawn >= _REQUESTS_AHEAD // 2:
                break
        else:
            self._source = None
        self._located += self._reader.locate(ids)

    def _fetch(self) -> None:
        """Have frames fetched. One counts until the chunk is taken that it was fetched for."""
        while self._located and (self._frames < _FRAMES_AHEAD or not self._coming):
            chunk_id, location = self._located.popleft()
            frame, new = (None, False) if location is None else self._reader.frame(location)
            self._coming.append((chunk_id, frame, new))
            self._frames += new


class _Taken(Generic[T]):
    """The chunks of one request, to be iterated over."""

    def __init__(self, queue: _Queue[T], count: int) -> None:
        self._queue, self._left = queue, count

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        if not self._left:
            raise StopIteration
        self._left -= 1
        return _chunk(*self._queue.take())

    def drop(self) -> None:
        """Pass over what nobody asked for."""
        while self._left:
            self._left -= 1
            self._queue.take()


def chunk_missing(chunk_id: bytes) -> Damaged:
    """No pack holds a chunk."""
    return Damaged(
        "chunk_missing",
        "A part of the data is missing from the repository.",
        next_step="Verify the repository: that names the snapshots and files that are affected.",
        details={"chunk": chunk_id.hex()},
    )


def _chunk(chunk_id: bytes, frame: Future[_Frame] | None) -> Chunk:
    if frame is None:
        raise chunk_missing(chunk_id)
    found = frame.result()
    chunk = found.chunks.get(chunk_id)
    if chunk is None:
        why = "" if found.error is None else f" {found.error.message}"
        raise Damaged(
            "chunk_damaged",
            f"A part of the data in the repository is damaged.{why}",
            next_step="Verify the repository: that names the snapshots and files that are affected.",
            details={"chunk": chunk_id.hex()},
        ) from found.error
    return chunk
