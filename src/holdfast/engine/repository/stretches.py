"""Tells the stretches of a large file that are as they were from those that have to be cut into chunks again.

Of a database a few pages change. Cutting goes through all of it byte by byte, in one thread, while a service waits; but
where its chunks lay is known, and whether one still lies there its hash says, on all cores at once.

Invariants: the stretches cover the file from its beginning to its end, whatever became of it; one is only said to be a
chunk if its hash is that chunk's id, and the chunk is usable; memory is a few chunks a thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Final, NamedTuple, Self

from blake3 import blake3

from holdfast.engine.file_content import FileContent
from holdfast.engine.repository.chunking import MIN_BYTES
from holdfast.engine.repository.earlier_files import EarlierChunk, EarlierContent

_TOGETHER: Final = 8
"""Chunks that one thread looks at in one go."""


class Stretch(NamedTuple):
    """A part of a file; ``id`` is that of the chunk which it still is, ``None`` if it has to be cut."""

    start: int
    end: int
    id: bytes | None


class Stretches:
    """Compares files with what they consisted of. A context manager: leaving it leaves no thread behind.

    Args:
        key: that of chunk ids.
    """

    def __init__(self, key: bytes, *, threads: int | None = None) -> None:
        self._key = key
        self._pool = ThreadPoolExecutor(threads or max(2, os.cpu_count() or 1), thread_name_prefix="stretches")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def of(self, content: FileContent, earlier: EarlierContent) -> Iterator[Stretch]:
        """The stretches of a file without holes, in order.

        Raises:
            Failed: the file can't be read.
        """
        size = content.entry.size
        cut_from = position = 0
        for chunk, same in self._compared(content, earlier):
            end = position + chunk.length
            # A short chunk ends where a stretch was cut off, not where the data says: it goes with its neighbour.
            if same and (cut_from == position or chunk.length >= MIN_BYTES):
                if cut_from < position:
                    yield Stretch(cut_from, position, None)
                yield Stretch(position, end, chunk.id)
                cut_from = end
            position = end
        if cut_from < size:
            yield Stretch(cut_from, size, None)

    def _compared(self, content: FileContent, earlier: EarlierContent) -> Iterator[tuple[EarlierChunk, bool]]:
        """The earlier chunks that lie within the file, and whether each is still there."""
        size, position = content.entry.size, 0
        for chunks in earlier.chunks:
            placed: list[tuple[int, EarlierChunk]] = []
            for chunk in chunks:
                end = position + chunk.length
                # The last chunk ended with the file, not where the data says.
                if end > size or (end == earlier.size != size):
                    break
                placed.append((position, chunk))
                position = end
            groups = [placed[at : at + _TOGETHER] for at in range(0, len(placed), _TOGETHER)]
            for group, same in zip(groups, self._pool.map(partial(self._same, content), groups), strict=True):
                yield from zip((chunk for _, chunk in group), same, strict=True)
            if len(placed) < len(chunks):
                return

    def _same(self, content: FileContent, group: Sequence[tuple[int, EarlierChunk]]) -> list[bool]:
        return [
            chunk.usable
            and blake3(b"".join(content.part(start, start + chunk.length)), key=self._key).digest() == chunk.id
            for start, chunk in group
        ]
