"""What a snapshot lacks, and what of it is damaged, told by volume and file.

Damage never stops the rest from being used: each part that can't be read is passed over and named, and its chunk is
noted in the index as damaged, so that the next capture that meets the same data alive stores it again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol

from holdfast.domain.errors import Damaged, Problem, Refused
from holdfast.engine.entries import display_path
from holdfast.engine.repository.chunk_reader import Chunk, ChunkReader
from holdfast.engine.repository.contents import with_data
from holdfast.engine.repository.index import Index
from holdfast.engine.repository.manifests import StoredSnapshot, VolumeTree
from holdfast.engine.repository.tree import Tree, TreeEntry, TreePart, split_list

_AT_ONCE = 256


class Complete(Protocol):
    """A set of ids, in memory or elsewhere."""

    def __contains__(self, chunk_id: object, /) -> bool: ...

    def add(self, chunk_id: bytes, /) -> None: ...


def tree_of(stored: StoredSnapshot, index: int) -> VolumeTree:
    """The tree of volume ``index``.

    Raises:
        Refused: ``snapshot_volume_unknown``.
    """
    found = next((tree for tree in stored.trees if tree.index == index), None)
    if found is None:
        raise Refused(
            [
                Problem(
                    code="snapshot_volume_unknown",
                    message=f"The snapshot {stored.manifest.id} has no volume {index}.",
                    next_step="Choose among the volumes that the snapshot lists.",
                )
            ]
        )
    return found


def in_words(lacking: Sequence[str]) -> str:
    """Names for the middle of a sentence."""
    return ", ".join(lacking)


def incomplete(
    stored: StoredSnapshot,
    index: Index,
    reader: ChunkReader,
    complete: Complete,
    volumes: Collection[int] | None = None,
) -> Iterator[str]:
    """What of a snapshot is not there, by target and path. Reads trees and no data.

    Args:
        complete: parts of trees, by the ids of their chunks, that are known to lack nothing; those that are found to be
            so are added.
        volumes: the indices of those that are looked at; ``None`` for all.
    """
    for volume in stored.manifest.volumes:
        if volumes is not None and volume.index not in volumes:
            continue
        tree = _opened(tree_of(stored, volume.index), reader)
        if isinstance(tree, Damaged):
            yield volume.target
            continue
        for part in tree.parts:
            if part.id in complete:
                continue
            entries = _read(tree, part)
            if isinstance(entries, Damaged):
                yield f"{volume.target}: {_stretch(part)}"
                continue
            lacking = list(_lacking(entries, index, reader))
            yield from (f"{volume.target}/{display_path(path)}" for path in lacking)
            if not lacking:
                complete.add(part.id)


def _lacking(entries: Sequence[TreeEntry], index: Index, reader: ChunkReader) -> Iterator[bytes]:
    for at in range(0, len(entries), _AT_ONCE):
        some = entries[at : at + _AT_ONCE]
        absent = index.absent([chunk_id for entry in some for chunk_id in entry.ids])
        for entry in some:
            if (absent and not absent.isdisjoint(entry.ids)) or (entry.listed and _list_lacks(entry, index, reader)):
                yield entry.path


def _list_lacks(entry: TreeEntry, index: Index, reader: ChunkReader) -> bool:
    try:
        return any(index.absent(split_list(chunk)) for chunk in reader.read_many(entry.ids))
    except Damaged:
        return True


def damage(
    stored: StoredSnapshot,
    index: Index,
    reader: ChunkReader,
    passed: Callable[[TreeEntry], None],
    watch: Callable[[Iterator[Chunk]], Iterator[Chunk]],
) -> Iterator[str]:
    """Read all of a snapshot back. Yields what is damaged, in words.

    Args:
        passed: called for every entry that was looked at.
        watch: lets the data of a file pass.
    """
    for volume in stored.manifest.volumes:
        tree = _opened(tree_of(stored, volume.index), reader)
        if isinstance(tree, Damaged):
            note_damage(tree, index)
            yield f"{volume.target}: the list of its files: {tree.message}"
            continue
        for part in tree.parts:
            entries = _read(tree, part)
            if isinstance(entries, Damaged):
                note_damage(entries, index)
                yield f"{volume.target}: {_stretch(part)}: {entries.message}"
                continue
            for entry, chunks in with_data(entries, reader):
                try:
                    size = sum(len(chunk) for chunk in watch(chunks))
                except Damaged as error:
                    note_damage(error, index)
                    yield f"{volume.target}: {error.message}"
                else:
                    if not entry.kind and size != entry.entry().data_bytes:
                        yield f"{volume.target}: {display_path(entry.path)}: it has {size} bytes of data"
                passed(entry)


def _opened(tree: VolumeTree, reader: ChunkReader) -> Tree | Damaged:
    try:
        return Tree(tree.chunks, reader.read_many)
    except Damaged as error:
        return error


def _read(tree: Tree, part: TreePart) -> list[TreeEntry] | Damaged:
    try:
        return list(tree.of_parts((part,)))
    except Damaged as error:
        return error


def _stretch(part: TreePart) -> str:
    return f"{part.entries} names from {display_path(part.first)} on"


def note_damage(error: Damaged, index: Index) -> None:
    """Note in the index which chunk an error of the reader was about, so that it is stored again when it is met."""
    chunk = error.details.get("chunk")
    if isinstance(chunk, str):
        chunk_id = bytes.fromhex(chunk)
        location = index.locate([chunk_id]).get(chunk_id)
        if location is not None:
            index.mark_damaged(chunk_id, location.pack)
