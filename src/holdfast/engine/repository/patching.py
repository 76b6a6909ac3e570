"""What of a file has to be written over what is there, by its chunks: a little in a large file is a small change.

Only for files without holes. A chunk that the file had at the very same place is there already; whatever is not sure of
that is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from holdfast.domain.errors import Damaged
from holdfast.engine.repository.chunk_reader import ChunkReader
from holdfast.engine.repository.index import Index, Location
from holdfast.engine.repository.tree import TreeEntry, split_list

WORTH_BYTES: Final = 1 << 20
"""Smaller files are written whole."""

Patch = Sequence[tuple[int, bytes]]
"""Offsets, and the ids of the chunks that belong there."""


def patch_of(old: TreeEntry, new: TreeEntry, index: Index, reader: ChunkReader) -> Patch | None:
    """How to make a file that holds ``old``'s content hold ``new``'s; ``None``: by writing all of it.

    Raises:
        Damaged: a list of the new content's chunks can't be read.
    """
    if new.kind or old.kind or old.extents is not None or new.extents is not None or new.size < WORTH_BYTES:
        return None
    new_ids = _ids(new, reader)
    try:
        old_ids = _ids(old, reader)
    except Damaged:
        return None
    known = index.locate({*old_ids, *new_ids})
    there, wanted = _placed(old_ids, known, old.size), _placed(new_ids, known, new.size)
    if there is None or wanted is None:
        return None
    same = set(there)
    return [placed for placed in wanted if placed not in same]


def _ids(entry: TreeEntry, reader: ChunkReader) -> list[bytes]:
    if not entry.listed:
        return entry.ids
    return [chunk_id for chunk in reader.read_many(entry.ids) for chunk_id in split_list(chunk)]


def _placed(ids: Sequence[bytes], known: Mapping[bytes, Location], size: int) -> Patch | None:
    """Each chunk with the place where it begins; ``None`` where not all of them are known."""
    if any(chunk_id not in known for chunk_id in ids) or sum(known[chunk_id].length for chunk_id in ids) != size:
        return None
    return list(_one_after_the_other(ids, known))


def _one_after_the_other(ids: Sequence[bytes], known: Mapping[bytes, Location]) -> Iterator[tuple[int, bytes]]:
    offset = 0
    for chunk_id in ids:
        yield offset, chunk_id
        offset += known[chunk_id].length
