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
from typing import Final, NamedTuple, Self, TypeVar

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
_FRAMES_AHEAD: Final = 8

Chunk = bytes | memoryview
T = TypeVar("T")


class _Frame(NamedTuple):
    """A frame's chunks by id, ``None`` for one whose content is not what its id says; or why it can't be read."""

    chunks: dict[bytes, memoryview | None]
    error: HoldfastError | None
    bytes: int


_Wanted = tuple[bytes, Future[_Frame] | None]


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
        source = iter(requests)
        ahead: deque[tuple[T, list[_Wanted]]] = deque()
        frames: deque[Future[_Frame]] = deque()
        ids_ahead = 0
        more = True
        while True:
            while frames and frames[0].done():
                frames.popleft()
            if more and len(frames) < _FRAMES_AHEAD and ids_ahead < _IDS_AHEAD and len(ahead) < _REQUESTS_AHEAD:
                drawn, more = _draw(source)
                ids_ahead += sum(len(ids) for _, ids in drawn)
                ahead += self._fetch(drawn, frames)
            if not ahead:
                if more:
                    continue
                return
            tag, wanted = ahead.popleft()
            ids_ahead -= len(wanted)
            yield tag, (_chunk(chunk_id, frame) for chunk_id, frame in wanted)

    def _fetch(
        self, drawn: Sequence[tuple[T, Sequence[bytes]]], frames: deque[Future[_Frame]]
    ) -> Iterator[tuple[T, list[_Wanted]]]:
        found = self._index.locate([chunk_id for _, ids in drawn for chunk_id in ids])
        for tag, ids in drawn:
            wanted: list[_Wanted] = []
            for chunk_id in ids:
                location = found.get(chunk_id)
                wanted.append((chunk_id, None if location is None else self._frame(location, frames)))
            yield tag, wanted

    def _frame(self, location: Location, frames: deque[Future[_Frame]]) -> Future[_Frame]:
        key = (location.pack, location.frame_offset)
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        frame = self._kept[key] = self._pool.submit(self._load, location)
        frames.append(frame)
        self._forget_old()
        return frame

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


def _draw(source: Iterator[tuple[T, Sequence[bytes]]]) -> tuple[list[tuple[T, Sequence[bytes]]], bool]:
    """The next requests, with a few hundred ids in all; and whether there may be more."""
    drawn: list[tuple[T, Sequence[bytes]]] = []
    ids = 0
    for request in source:
        drawn.append(request)
        ids += len(request[1])
        if ids >= _IDS_AHEAD // 2 or len(drawn) >= _REQUESTS_AHEAD // 2:
            return drawn, True
    return drawn, False


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
