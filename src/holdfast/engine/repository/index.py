"""The index: where each chunk lies. A cache in SQLite; the packs are the truth.

Invariants:

- Losing the index costs time, never data: :meth:`Index.sync` makes it agree with the packs that are there, whatever it
  said before (see :mod:`holdfast.engine.repository.index_file` for a file that is of no use at all).
- A chunk counts as present only in a pack that is listed, is not condemned, and is not known to hold it damaged.
- A tree counts as whole only as long as nothing that was present has ceased to be.
- Memory is bounded: nothing here holds the ids of a repository, only those of a call and of a handful of packs.

What :meth:`Index.add_pack` learns goes into a table of this process first and is merged into the file now and then, in
the order of the file: ids are random, so that adding a pack at a time would rewrite most pages of the file each time.
What is not merged when the index is closed, or the process dies, the next :meth:`Index.sync` reads from the packs.

While an index is in use, its user holds the repository's lock, shared at least: packs are only deleted, and forgotten,
by whoever holds it alone.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from holdfast.domain.errors import Problem
from holdfast.engine.fs import Fs
from holdfast.engine.repository.blobs import BlobStore
from holdfast.engine.repository.index_file import IndexFile
from holdfast.engine.repository.index_statements import COPIES, LOCATED, MERGE, PRESENT, ROWS, THERE
from holdfast.engine.repository.pack import FrameInfo
from holdfast.engine.repository.pack_listing import listed_packs, read_listings
from holdfast.engine.repository.seal import RepositoryKeys, Sealer

_MERGE_CHUNKS: Final = 64_000
_BATCHES: Final = (1, 16, 128, 500)
"""Ids in one statement: a few numbers, so that the statements are prepared once. Short batches repeat an id."""


class Location(NamedTuple):
    """Where a chunk lies.

    Attributes:
        pack: its name.
        frame_offset, frame_length: the bytes of the pack that ``decode_frame`` takes.
        start, length: the chunk's place in the frame's plaintext.
    """

    pack: str
    frame_offset: int
    frame_length: int
    start: int
    length: int


class PackFacts(NamedTuple):
    """A pack as the index knows it.

    Attributes:
        salvaged: whether what it holds was found without its trailer.
        verified_ns: when all of it was last read back, nanoseconds since 1970; ``None`` if it never was.
    """

    name: str
    size: int
    salvaged: bool
    condemned: bool
    verified_ns: int | None


class Row(NamedTuple):
    """One chunk in one pack; ``pack`` is the pack's number, which grows with time."""

    id: bytes
    pack: int
    frame_offset: int
    start: int
    length: int
    damaged: int
    """Whether the index knows it to be damaged there."""


class Index:
    """Where the chunks of one repository lie. Safe to use from several threads, and the file from several processes.

    Close it, or use it as a context manager.

    Args:
        path: of the file, absolute; its directory is made, whose parent must exist.
        repository: the id of the repository.
        patience: seconds to wait for other processes that write to the file.

    Raises (every method):
        Busy: ``repository_index_busy``.
        Failed: ``repository_index_unusable``; opened again, it is made anew if it was damaged.
        NoSpace: ``no_space``.
    """

    def __init__(self, fs: Fs, path: Path, repository: str, *, patience: float = 30.0) -> None:
        self._lock = threading.RLock()
        self._file = IndexFile(fs, path, repository, patience)
        self._unmerged = 0

    def close(self) -> None:
        """Close the file. What :meth:`flush` was not called for is left to the next :meth:`sync`. Idempotent."""
        with self._lock:
            self._file.close()

    def flush(self) -> None:
        """Merge what was learnt into the file; before the repository's lock is let go of."""
        with self._merged():
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # --- asking --------------------------------------------------------------------------------------------------

    def missing(self, ids: Collection[bytes]) -> set[bytes]:
        """Those of ``ids`` that have to be stored: in no pack, or only in condemned ones, or damaged there."""
        return set(ids).difference(chunk_id for (chunk_id,) in self._look_up(PRESENT, list(set(ids))))

    def absent(self, ids: Collection[bytes]) -> set[bytes]:
        """Those of ``ids`` that can't be read: in no pack, or damaged there. Condemned packs count: they are there."""
        return set(ids).difference(chunk_id for (chunk_id,) in self._look_up(THERE, list(set(ids))))

    def locate(self, ids: Iterable[bytes]) -> dict[bytes, Location]:
        """Where chunks can be read now. Condemned packs count; damage counts where there is nothing else."""
        return {row[0]: Location(*row[1:]) for row in self._look_up(LOCATED, list(ids))}

    def packs(self) -> dict[str, int]:
        """Size by name of the packs that are known."""
        with self._merged() as database:
            return dict(database.execute("SELECT name, size FROM packs"))

    def pack_facts(self) -> dict[int, PackFacts]:
        """All packs that are known, by number."""
        with self._merged() as database:
            rows = database.execute("SELECT no, name, size, salvaged, condemned, verified_ns FROM packs")
            return {
                no: PackFacts(name, size, bool(salvaged), bool(condemned), verified)
                for no, name, size, salvaged, condemned, verified in rows
            }

    def rows(self) -> Iterator[Row]:
        """Every chunk of every pack, in the order of the ids. What comes or goes meanwhile may be there or not."""
        after: tuple[bytes, int] = (b"", -1)
        while True:
            with self._merged() as database:
                found = database.execute(ROWS, after).fetchall()
            if not found:
                return
            yield from map(Row._make, found)
            after = found[-1][:2]

    def ids_of(self, pack: str) -> set[bytes]:
        """The ids of the chunks that lie in a pack. Looks through all of the index."""
        with self._merged() as database:
            statement = "SELECT id FROM chunks WHERE pack = (SELECT no FROM packs WHERE name = ?)"
            return {chunk_id for (chunk_id,) in database.execute(statement, (pack,))}

    def copies(self, ids: Iterable[bytes]) -> dict[bytes, dict[str, bool]]:
        """In which packs each chunk lies, condemned ones as well, and whether it is known to be damaged there."""
        found: dict[bytes, dict[str, bool]] = {}
        self.flush()
        for chunk_id, name, damaged in self._look_up(COPIES, list(ids)):
            found.setdefault(chunk_id, {})[name] = bool(damaged)
        return found

    def _look_up(self, statement: str, ids: Sequence[bytes]) -> Iterator[tuple[Any, ...]]:
        for at in range(0, len(ids), _BATCHES[-1]):
            some = list(ids[at : at + _BATCHES[-1]])
            size = next(size for size in _BATCHES if size >= len(some))
            marks = ",".join(f"?{number}" for number in range(1, size + 1))
            some += some[:1] * (size - len(some))
            with self._database() as database:
                found = database.execute(statement.format(ids=marks), some).fetchall()
            yield from found

    # --- packs that come and go ----------------------------------------------------------------------------------

    def sync(
        self, blobs: BlobStore, keys: RepositoryKeys, sealer: Sealer, *, condemned: Collection[str]
    ) -> Sequence[Problem]:
        """Make the index agree with the packs that are there: forget those that vanished, read those that are new.

        Args:
            condemned: the names of all packs that a prune has condemned.

        Returns:
            What could not be read, one problem a pack; the rest is there. Of such a pack, the chunks that could be
            found without its trailer are there too. A pack that is unreadable is tried again at each call.

        Raises:
            HoldfastError: the store, as a whole, does not answer.
        """
        problems = [] if self._file.not_kept is None else [self._file.not_kept]
        with (
            self._merged() as database
        ):  # before the listing: what another process adds in between is not taken for gone
            known = {
                name: (size, salvaged)
                for name, size, salvaged in database.execute("SELECT name, size, salvaged FROM packs")
            }
        listed = listed_packs(blobs)
        self.remove_packs([name for name, (size, _) in known.items() if listed.get(name) != size])
        salvaged = {name for name, (size, salvaged) in known.items() if salvaged and listed.get(name) == size}
        new = {name: size for name, size in listed.items() if known.get(name, (None, 0))[0] != size}
        for listing in read_listings(blobs, keys, sealer, new | {name: listed[name] for name in salvaged}, salvaged):
            if listing.problem is not None:
                problems.append(listing.problem)
            if listing.frames is not None:
                if listing.name in salvaged:
                    self.remove_packs([listing.name])
                self._add(listing.name, listing.size, listing.frames, salvaged=listing.salvaged)
        self._condemn_exactly(condemned)
        return problems

    def add_pack(self, name: str, size: int, frames: Sequence[FrameInfo]) -> None:
        """Learn of a pack that is durable now. One that is known stays as it is."""
        self._add(name, size, frames, salvaged=False)

    def remove_packs(self, names: Collection[str]) -> None:
        """Forget packs that are gone. Unknown ones are fine."""
        if not names:
            return
        with self._merged() as database, _transaction(database):
            _mark(database, names)
            gone = "(SELECT no FROM packs WHERE name IN (SELECT name FROM marked))"
            database.execute(f"DELETE FROM chunks WHERE pack IN {gone}")  # noqa: S608 - nothing of it comes from outside
            database.execute(f"DELETE FROM damaged WHERE pack IN {gone}")  # noqa: S608
            if database.execute("DELETE FROM packs WHERE name IN (SELECT name FROM marked)").rowcount:
                _note_loss(database)

    def condemn(self, names: Collection[str]) -> None:
        """From now on nothing new relies on these packs: a prune is going to delete them. Unknown ones are fine."""
        with self._merged() as database, _transaction(database):
            _mark(database, names)
            changed = database.execute(
                "UPDATE packs SET condemned = 1 WHERE NOT condemned AND name IN (SELECT name FROM marked)"
            )
            if changed.rowcount:
                _note_loss(database)

    def absolve(self, names: Collection[str]) -> None:
        """Take back :meth:`condemn`."""
        with self._merged() as database, _transaction(database):
            _mark(database, names)
            database.execute("UPDATE packs SET condemned = 0 WHERE condemned AND name IN (SELECT name FROM marked)")

    def _condemn_exactly(self, names: Collection[str]) -> None:
        with self._merged() as database:
            before = {name for (name,) in database.execute("SELECT name FROM packs WHERE condemned")}
        self.absolve(before.difference(names))
        self.condemn(set(names) - before)

    def _add(self, name: str, size: int, frames: Sequence[FrameInfo], *, salvaged: bool) -> None:
        with self._database() as database:
            if database.execute("SELECT 1 FROM packs WHERE name = ?", (name,)).fetchone():
                return
            with _transaction(database, "BEGIN"):
                added = database.execute(
                    "INSERT OR IGNORE INTO recent_packs (name, size, salvaged) VALUES (?, ?, ?)", (name, size, salvaged)
                )
                if added.rowcount:
                    rows = sorted(_rows(frames, added.lastrowid or 0))
                    database.executemany("INSERT OR IGNORE INTO recent VALUES (?, ?, ?, ?, ?, ?)", rows)
                    self._unmerged += len(rows) + 1
            if self._unmerged >= _MERGE_CHUNKS:
                self._merge(database)

    def _merge(self, database: sqlite3.Connection) -> None:
        if not self._unmerged:
            return
        with _transaction(database):
            for statement in MERGE:
                database.execute(statement)
        self._unmerged = 0

    # --- damage, and trees that are whole --------------------------------------------------------------------------

    def mark_damaged(self, chunk_id: bytes, pack: str) -> None:
        """Note that a pack does not hold a chunk that it lists. Captures that meet the chunk store it again."""
        with self._merged() as database, _transaction(database):
            marked = database.execute(
                "INSERT OR IGNORE INTO damaged SELECT id, pack FROM chunks WHERE id = ?"
                " AND pack = (SELECT no FROM packs WHERE name = ?)",
                (chunk_id, pack),
            )
            if marked.rowcount:
                _note_loss(database)

    def note_verified(self, pack: str, at_ns: int, damaged: Collection[bytes]) -> None:
        """Note that all of a pack was read back just now, and which of its chunks it does not hold as it should."""
        of_pack = "pack = (SELECT no FROM packs WHERE name = ?)"
        with self._merged() as database, _transaction(database):
            database.execute("UPDATE packs SET verified_ns = ? WHERE name = ?", (at_ns, pack))
            database.execute(f"DELETE FROM damaged WHERE {of_pack}", (pack,))  # noqa: S608 - a constant
            database.executemany(
                f"INSERT INTO damaged SELECT id, pack FROM chunks WHERE id = ? AND {of_pack}",  # noqa: S608
                [(chunk_id, pack) for chunk_id in damaged],
            )
            if damaged:
                _note_loss(database)

    def note_salvaged(self, pack: str) -> None:
        """Note that a pack's own list of what it holds can't be used, though the chunks that are known of can."""
        with self._merged() as database:
            database.execute("UPDATE packs SET salvaged = 1 WHERE name = ?", (pack,))

    def losses(self) -> int:
        """How often something that was present has ceased to be; see :meth:`set_whole`."""
        with self._database() as database:
            (losses,) = database.execute("SELECT losses FROM meta").fetchone()
            return int(losses)

    def is_whole(self, name: str) -> bool:
        """Whether all chunks of the tree that the caller calls ``name`` are known to be present."""
        with self._database() as database:
            return database.execute("SELECT 1 FROM whole WHERE name = ?", (name,)).fetchone() is not None

    def set_whole(self, name: str, *, since: int) -> None:
        """Note that all chunks of a tree are present.

        Args:
            since: what :meth:`losses` said before the caller began to look. If there was one since, nothing is noted.
        """
        with self._database() as database, _transaction(database):
            database.execute("INSERT OR IGNORE INTO whole SELECT ? FROM meta WHERE losses = ?", (name, since))

    # --- the database --------------------------------------------------------------------------------------------

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._file.connection
            except sqlite3.ProgrammingError:
                raise  # a defect, not the file's fault
            except sqlite3.Error as error:
                raise self._file.translated(error) from error

    @contextmanager
    def _merged(self) -> Iterator[sqlite3.Connection]:
        """The database, with everything in the tables of the file."""
        with self._database() as database:
            self._merge(database)
            yield database


@contextmanager
def _transaction(database: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    database.execute(begin)
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def _mark(database: sqlite3.Connection, names: Iterable[str]) -> None:
    """Make ``marked`` the table of these names."""
    database.execute("DELETE FROM marked")
    database.executemany("INSERT INTO marked VALUES (?)", ((name,) for name in set(names)))


def _note_loss(database: sqlite3.Connection) -> None:
    database.execute("DELETE FROM whole")
    database.execute("UPDATE meta SET losses = losses + 1")


def _rows(frames: Iterable[FrameInfo], pack: int) -> Iterator[tuple[bytes, int, int, int, int, int]]:
    for frame in frames:
        start = 0
        for chunk_id, length in frame.chunks:
            yield chunk_id, pack, frame.offset, frame.length, start, length
            start += length
