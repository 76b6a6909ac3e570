"""What an earlier capture knows of a directory's files: which are still the same, and what the others consisted of.

Invariant: what is said to be the same, or to be usable, a snapshot may name without storing it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from holdfast.domain.errors import Damaged
from holdfast.engine.repository.chunk_reader import ChunkReader
from holdfast.engine.repository.index import Index
from holdfast.engine.repository.recognition import Recogniser
from holdfast.engine.repository.tree import Tree, TreeEntry, split_list

_AT_ONCE: Final = 512
"""Chunks that are looked up together."""


class EarlierChunk(NamedTuple):
    """A chunk of a file as it was. ``length`` is that of its plaintext."""

    id: bytes
    length: int
    usable: bool


@dataclass(frozen=True, slots=True)
class EarlierContent:
    """What the data of a file consisted of.

    Attributes:
        size: bytes of it.
        chunks: all of them in order, some hundred at a time, as far as they are known.
    """

    size: int
    chunks: Iterator[Sequence[EarlierChunk]]


class EarlierFiles:
    """The files of an earlier tree of the very same directory. They are asked about in walk order.

    Args:
        started_ns: when the capture of that tree began.
        whole: whether all its chunks are known to be usable.
    """

    def __init__(self, tree: Tree, started_ns: int, index: Index, reader: ChunkReader, *, whole: bool) -> None:
        self._recogniser = Recogniser(_as_far_as_it_can_be_read(tree), started_ns)
        self._index, self._reader, self._whole = index, reader, whole

    def find(self, path: bytes, facts: os.stat_result) -> TreeEntry | None:
        """The earlier entry of a regular file that is still the same, all of whose chunks are usable."""
        entry = self._recogniser.find(path, facts)
        return entry if entry is not None and (self._whole or self._is_there(entry)) else None

    def content_of(self, path: bytes) -> EarlierContent | None:
        """What the file consisted of that :meth:`find` was asked about last; ``None`` if there was none, or nothing."""
        entry = self._recogniser.changed(path)
        return EarlierContent(entry.data_bytes, self._chunks(entry)) if entry is not None and entry.content else None

    def _chunks(self, entry: TreeEntry) -> Iterator[Sequence[EarlierChunk]]:
        try:
            for listed in self._reader.read_many(entry.ids) if entry.listed else (entry.content,):
                ids = split_list(listed)
                for at in range(0, len(ids), _AT_ONCE):
                    some = ids[at : at + _AT_ONCE]
                    found, missing = self._index.locate(some), self._index.missing(some)
                    yield [EarlierChunk(each, found[each].length, each not in missing) for each in some]
        except (Damaged, KeyError):
            return  # where the chunks after a lost one lay, nobody knows any more

    def _is_there(self, entry: TreeEntry) -> bool:
        ids = entry.ids
        if self._index.missing(ids):
            return False
        if not entry.listed:
            return True
        try:
            return not any(self._index.missing(split_list(chunk)) for chunk in self._reader.read_many(ids))
        except Damaged:
            return False


def _as_far_as_it_can_be_read(tree: Tree) -> Iterator[tuple[bytes, TreeEntry]]:
    """What can't be read of an earlier tree is read from the live files instead, which heals it."""
    try:
        yield from tree.keyed(tree.parts)
    except Damaged:
        return
