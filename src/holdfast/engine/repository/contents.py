"""Reads stored trees with the data of their files, fetched ahead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from holdfast.domain.errors import Damaged
from holdfast.engine.entries import display_path
from holdfast.engine.repository.chunk_reader import Chunk, ChunkReader
from holdfast.engine.repository.tree import TreeEntry, split_list


def with_data(entries: Iterable[TreeEntry], reader: ChunkReader) -> Iterator[tuple[TreeEntry, Iterator[Chunk]]]:
    """Each entry, and the data of its regions, concatenated; empty for what is no file.

    Take the data of one entry before the next entry.

    Raises:
        Damaged: ``chunk_missing``, ``chunk_damaged``, with the file's name in ``details["path"]``.
    """
    requests = ((entry, () if entry.listed else entry.ids) for entry in entries)
    for entry, chunks in reader.read_ahead(requests):
        yield entry, _named(entry, reader.read_many(_listed_ids(entry, reader)) if entry.listed else chunks)


def _listed_ids(entry: TreeEntry, reader: ChunkReader) -> Iterator[bytes]:
    for chunk in reader.read_many(entry.ids):
        yield from split_list(chunk)


def _named(entry: TreeEntry, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    try:
        yield from chunks
    except Damaged as error:
        path = display_path(entry.path)
        raise Damaged(
            error.code,
            f"{path}: {error.message}",
            next_step=error.next_step,
            details={**error.details, "path": path},
        ) from error
