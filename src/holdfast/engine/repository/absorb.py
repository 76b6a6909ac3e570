"""Takes the content of an archive into the repository, under the snapshot's own id.

The entries of an archive may come in any order; a tree needs walk order. They are sorted on disk, so that memory is
bounded whatever the archive holds. A hardlink whose file sorts behind it changes places with it: one inode, either name
may come first.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Final

import msgspec

from holdfast.domain.errors import Damaged
from holdfast.domain.snapshot import SnapshotManifest
from holdfast.engine.archive.reader import Member
from holdfast.engine.entries import EntryKind, display_path
from holdfast.engine.job import Job
from holdfast.engine.repository.chunking import Chunker
from holdfast.engine.repository.file_ids import store_file
from holdfast.engine.repository.manifests import StoredSnapshot, VolumeTree
from holdfast.engine.repository.pending_entries import PendingEntries
from holdfast.engine.repository.repository import Repository
from holdfast.engine.repository.tree import TreeBuilder, TreeEntry, sort_key


def absorb(manifest: SnapshotManifest, members: Iterable[Member], repository: Repository, job: Job) -> SnapshotManifest:
    """Store what an archive holds, and write the snapshot's manifest last.

    Args:
        members: the archive's, checked while they are drawn; ends without an error only if the archive is whole.

    Raises:
        Conflict: ``snapshot_exists``.
        Damaged: the archive is not what its manifest says.
    """
    started = time.monotonic()
    with repository.lock.shared(job), repository.writer() as writer, closing(_Spool()) as spool:
        losses = repository.sync_index()
        chunker = Chunker()
        pending = PendingEntries(spool.add)
        for member in members:
            job.check()
            entry = member.entry
            ids = None
            if entry.kind is EntryKind.FILE:
                ids = store_file(member.data, entry.data_bytes, writer, chunker, lambda _: job.check())
            pending.add(member.index, TreeEntry.of(entry), ids)
        pending.settle_all()
        trees = []
        for volume in manifest.volumes:
            builder = TreeBuilder(writer.put_tree, writer.wait)
            for stored in spool.entries(volume.index):
                builder.add(stored)
            trees.append(VolumeTree(index=volume.index, chunks=builder.finish(), root=None, scan_started_ns=0))
        writer.finish()
        taken = replace(
            manifest,
            content=None,
            stored_bytes=writer.stored_bytes,
            duration_seconds=manifest.duration_seconds or round(time.monotonic() - started, 3),
        )
        repository.commit(StoredSnapshot(manifest=taken, trees=tuple(trees)), since=losses)
    return taken


class _Spool:
    """Entries on their way from the archive's order to walk order, in a file without a name that SQLite keeps."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")
        self._database.execute(
            "CREATE TABLE entries (vol INT, key BLOB, entry BLOB, PRIMARY KEY (vol, key)) WITHOUT ROWID"
        )
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(TreeEntry)

    def close(self) -> None:
        self._database.close()

    def add(self, index: int, entry: TreeEntry) -> None:
        try:
            self._database.execute(
                "INSERT INTO entries VALUES (?, ?, ?)", (index, sort_key(entry.path), self._encoder.encode(entry))
            )
        except sqlite3.IntegrityError as error:
            raise _malformed(f"{display_path(entry.path)} is in it twice") from error

    def entries(self, index: int) -> Iterator[TreeEntry]:
        """A volume's entries in walk order, every hardlink behind its file."""
        moved: dict[bytes, bytes] = {}
        rows = self._database.execute("SELECT entry FROM entries WHERE vol = ? ORDER BY key", (index,))
        for (encoded,) in rows:
            entry = self._decoder.decode(encoded)
            if entry.kind == _HARDLINK:
                yield self._linked(index, entry, moved)
            elif entry.path in moved:
                yield _as_link(entry.path, entry, moved[entry.path])
            else:
                yield entry

    def _linked(self, index: int, link: TreeEntry, moved: dict[bytes, bytes]) -> TreeEntry:
        target = self._target(index, link)
        first = moved.get(target.path)
        if first is None and sort_key(target.path) < sort_key(link.path):
            first = target.path
        if first is not None:
            return _as_link(link.path, target, first)
        moved[target.path] = link.path
        return msgspec.structs.replace(target, path=link.path)

    def _target(self, index: int, link: TreeEntry) -> TreeEntry:
        """The file that a hardlink leads to: readers of archives take links to files only."""
        found = self._database.execute(
            "SELECT entry FROM entries WHERE vol = ? AND key = ?", (index, sort_key(link.link))
        ).fetchone()
        if found is not None:
            entry = self._decoder.decode(found[0])
            if entry.kind == _FILE:
                return entry
        raise _malformed(f"the hardlink {display_path(link.path)} leads to no file")


_FILE: Final = 0
_HARDLINK: Final = 3


def _as_link(path: bytes, file: TreeEntry, to: bytes) -> TreeEntry:
    return TreeEntry(path, _HARDLINK, file.mode, file.uid, file.gid, file.mtime_ns, link=to)


def _malformed(why: str) -> Damaged:
    return Damaged(
        "archive_corrupt",
        f"The archive can't be taken into the repository: {why}.",
        next_step="Restore another snapshot, or make the archive anew.",
    )
