"""Stores the data of one file, and gathers what its chunks are called."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from holdfast.engine.repository.chunk_writer import ChunkWriter, Ticket
from holdfast.engine.repository.chunking import WHOLE_BYTES, Chunker
from holdfast.engine.repository.pack import ID_BYTES
from holdfast.engine.repository.tree import IDS_PER_LIST, MAX_INLINE_IDS, TreeEntry

_WAITING: Final = 4096
"""Chunks of one file whose ids may be waited for."""


class OneId:
    """As :class:`FileIds`, of a file that is one chunk: of nearly every file."""

    __slots__ = ("_ticket", "_writer")

    def __init__(self, writer: ChunkWriter, ticket: Ticket) -> None:
        self._writer, self._ticket = writer, ticket

    @property
    def ready(self) -> bool:
        """Whether :meth:`named_in` would most likely not wait."""
        return self._ticket.ready

    def named_in(self, entry: TreeEntry) -> TreeEntry:
        """The entry with its content."""
        return entry.with_content(self._writer.wait(self._ticket), listed=False)


class FileIds:
    """The ids of one file's chunks as they become known; of a large file in list chunks, so that memory is bounded."""

    __slots__ = ("_known", "_lists", "_waiting", "_writer")

    def __init__(self, writer: ChunkWriter) -> None:
        self._writer = writer
        self._waiting: deque[Ticket] = deque()
        self._known = bytearray()
        self._lists: list[Ticket] = []

    def add(self, ticket: Ticket) -> None:
        """One more chunk, in order."""
        self._waiting.append(ticket)
        if len(self._waiting) > _WAITING:
            self._know(self._writer.wait(self._waiting.popleft()))

    @property
    def ready(self) -> bool:
        """Whether :meth:`named_in` would most likely not wait."""
        return not self._waiting or self._waiting[-1].ready

    def named_in(self, entry: TreeEntry) -> TreeEntry:
        """The entry with its content."""
        while self._waiting:
            self._know(self._writer.wait(self._waiting.popleft()))
        listed = bool(self._lists) or len(self._known) > MAX_INLINE_IDS * ID_BYTES
        if listed:
            if self._known:
                self._lists.append(self._writer.put(bytes(self._known)))
            content = b"".join(self._writer.wait(ticket) for ticket in self._lists)
        else:
            content = bytes(self._known)
        return entry.with_content(content, listed=listed)

    def _know(self, chunk_id: bytes) -> None:
        self._known += chunk_id
        if len(self._known) >= IDS_PER_LIST * ID_BYTES:
            self._lists.append(self._writer.put(bytes(self._known)))
            self._known.clear()


def store_file(
    pieces: Iterable[bytes], size: int, writer: ChunkWriter, chunker: Chunker, count: Callable[[int], None]
) -> FileIds | OneId | None:
    """Store a file's data regions, concatenated.

    Args:
        size: bytes of data in all.
        count: told the size of each chunk.

    Returns:
        What its chunks are called; ``None`` for a file without data.
    """
    if not size:
        return None
    if size <= WHOLE_BYTES:
        count(size)
        return OneId(writer, writer.put(b"".join(pieces)))
    ids = FileIds(writer)
    for chunk in chunker.cut(pieces):
        count(len(chunk))
        ids.add(writer.put(chunk))
    return ids
