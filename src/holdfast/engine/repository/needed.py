"""Which chunks the snapshots of a repository need.

Invariants:

- Memory is bounded whatever the number of snapshots and files.
- A stretch of a tree that several snapshots share is read once.
- That a chunk is known as data says nothing about what it is as a part of a tree: a file may well hold the very bytes
  of a tree chunk. So what was visited is noted apart from what is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Final, Self

from holdfast.engine.repository.chunk_reader import ChunkReader
from holdfast.engine.repository.manifests import VolumeTree
from holdfast.engine.repository.scratch import Scratch
from holdfast.engine.repository.tree import Tree, TreePart, split_list

_SCHEMA: Final = """
CREATE TABLE needed (id BLOB PRIMARY KEY, late INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE visited (id BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE twice (id BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE moves (
    pack INTEGER, frame_offset INTEGER, start INTEGER, id BLOB, PRIMARY KEY (pack, frame_offset, start)
) WITHOUT ROWID;
"""
_GATHERED: Final = 100_000
"""Ids that are kept in memory, to be written in order: in any other, most pages would be written each time."""


class Needed:
    """The ids that are needed, and what a prune has to remember of them. A context manager."""

    def __init__(self) -> None:
        self._scratch = Scratch(_SCHEMA)
        self._gathered: set[bytes] = set()
        self._late = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._scratch.__exit__(kind, error, traceback)

    def add(self, trees: Iterable[VolumeTree], reader: ChunkReader, beat: Callable[[], object]) -> None:
        """Note everything that some trees need.

        Args:
            beat: called for each entry; what it raises ends it.

        Raises:
            Damaged: a tree can't be read, so that it can't be told what it needs.
        """
        for stored in trees:
            self.note(stored.chunks)
            if all(self._visited(chunk_id) for chunk_id in stored.chunks):
                continue  # the very same tree as another one
            tree = Tree(stored.chunks, reader.read_many)
            parts = [part for part in tree.parts if not self._visited(part.id)]
            self._add_parts(tree, parts, reader, beat)
            visited = {*stored.chunks, *(part.id for part in parts)}
            self._scratch.insert("INSERT OR IGNORE INTO visited VALUES (?)", ((i,) for i in sorted(visited)))

    def _add_parts(
        self, tree: Tree, parts: Sequence[TreePart], reader: ChunkReader, beat: Callable[[], object]
    ) -> None:
        self.note(part.id for part in parts)
        for entry in tree.of_parts(parts):
            beat()
            self.note(entry.ids)
            if entry.listed:
                for chunk in reader.read_many(entry.ids):
                    self.note(split_list(chunk))

    def _visited(self, chunk_id: bytes) -> bool:
        return bool(self._scratch.rows("SELECT 1 FROM visited WHERE id = ?", (chunk_id,)))

    def note(self, ids: Iterable[bytes]) -> None:
        """Note ids that are needed."""
        self._gathered.update(ids)
        if len(self._gathered) >= _GATHERED:
            self._write_gathered()

    def _write_gathered(self) -> None:
        gathered, self._gathered = sorted(self._gathered), set()
        self._scratch.insert("INSERT OR IGNORE INTO needed VALUES (?, ?)", ((i, self._late) for i in gathered))

    def close_plan(self) -> None:
        """What is added from here on, and was not needed before, is late: see :meth:`late`."""
        self._write_gathered()
        self._late = 1

    def ids(self) -> Iterator[bytes]:
        """All ids that are needed, ascending."""
        self._write_gathered()
        return self._scratch.ids("needed")

    def late(self) -> Iterator[bytes]:
        """The ids that came to be needed after :meth:`close_plan`."""
        self._write_gathered()
        return self._scratch.ids("needed", "late")

    # --- what a prune remembers --------------------------------------------------------------------------------------

    def remember_twice(self, ids: Iterable[bytes]) -> None:
        """Remember ids of chunks that lie in several packs."""
        self._scratch.insert("INSERT INTO twice VALUES (?)", ((chunk_id,) for chunk_id in ids))

    def twice(self) -> Iterator[bytes]:
        """What :meth:`remember_twice` was told."""
        return self._scratch.ids("twice")

    def remember_moves(self, moves: Iterable[tuple[int, int, int, bytes]]) -> None:
        """Remember chunks that have to move: number of their pack, offset of their frame, place in it, id."""
        self._scratch.insert("INSERT INTO moves VALUES (?, ?, ?, ?)", moves)

    def moves(self, pack: int) -> list[bytes]:
        """The ids of the chunks that have to move out of a pack, in the order in which they lie there."""
        rows = self._scratch.rows("SELECT id FROM moves WHERE pack = ? ORDER BY frame_offset, start", (pack,))
        return [chunk_id for (chunk_id,) in rows]
