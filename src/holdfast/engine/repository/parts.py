"""Staged trees of which only chosen paths come from the snapshot, and the rest from the live data.

The rest comes from the repository, too: the live data is captured first, as for any restore, and what is staged of it
are the verified chunks of that capture. So what a staged tree lacks of a later moment is the difference between two
stored trees, and bringing it up to the state at the stop means up to the safety snapshot, exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from holdfast.domain.chosen_paths import ChosenPaths
from holdfast.domain.errors import Damaged, Failed, NotFound, TooLarge
from holdfast.domain.snapshot import SnapshotManifest
from holdfast.engine.entries import Entry, EntryKind, display_path
from holdfast.engine.job import Job, QuietJob
from holdfast.engine.live_clone import Share
from holdfast.engine.repository.browse import is_there, list_folder
from holdfast.engine.repository.capture import Capture
from holdfast.engine.repository.chunk_reader import Chunk, ChunkReader
from holdfast.engine.repository.contents import with_data
from holdfast.engine.repository.manifests import VolumeTree
from holdfast.engine.repository.part_trees import (
    DIRECTORY,
    HARDLINK,
    Change,
    Keyed,
    PartTrees,
    changes,
    without_privileges,
)
from holdfast.engine.repository.passing_meter import PassingMeter
from holdfast.engine.repository.patching import Patch, patch_of
from holdfast.engine.repository.repository import Repository
from holdfast.engine.repository.tree import Tree, TreeEntry
from holdfast.engine.repository.verify import tree_of
from holdfast.engine.snapshot_store import CaptureSource, WarmResult
from holdfast.engine.special_files import SpecialFile
from holdfast.engine.tree_editor import TreeEditor
from holdfast.engine.tree_writer import TreeWriter
from holdfast.engine.walk import Names

_LOOKED_AT: Final = 2000
_NEAR: Final = 5
_TOGETHER: Final = 4096
_TOGETHER_BYTES: Final = 8 << 20
"""What entries that are written together may hold in memory: a path alone may be a mebibyte long."""
_MOST_CHANGED_BYTES: Final = 512 << 20
"""What all that changed may hold in memory: some hundred thousand paths, or fewer long ones."""
_CHANGE_BYTES: Final = 512
"""What a change takes besides what can be long in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is chosen of one volume.

    Attributes:
        index: of the volume in the snapshot.
        paths: see :class:`ChosenPaths`.
    """

    index: int
    paths: tuple[bytes, ...]

    @property
    def chosen(self) -> ChosenPaths:
        return ChosenPaths(self.paths)


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """A chosen path that the snapshot does not have, and what is called like it there."""

    path: bytes
    near: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Of the chosen paths in a snapshot: inodes and bytes of data."""

    inodes: int
    bytes: int
    split: Names


class Parts:
    """Reads and compares trees of one repository in parts."""

    def __init__(self, repository: Repository, capture: Capture) -> None:
        self._repository, self._capture = repository, capture

    def absent(self, snapshot_id: str, part: Part) -> list[Absent]:
        """The chosen paths that are not in the snapshot. Raises ``NotFound``, ``Damaged``."""
        with self._reading(QuietJob()) as reader:
            tree = self._tree_of(snapshot_id, part.index, reader)
            return [
                Absent(path=path, near=_near(tree, path)) for path in part.paths if path and not is_there(tree, path)
            ]

    def size(self, snapshot_id: str, part: Part, job: Job) -> Size:
        """How much is chosen, and which names it shares hardlinks with that are not."""
        split, chosen = Names(), part.chosen
        inodes = size = 0
        with self._reading(job) as reader:
            for entry in self._tree_of(snapshot_id, part.index, reader).entries():
                job.check()
                inside = chosen.covers(entry.path)
                if entry.kind == HARDLINK and inside is not chosen.covers(entry.link):
                    split.add(entry.path)
                if inside:
                    inodes += 1
                    size += entry.data_bytes
        return Size(inodes=inodes, bytes=size, split=split)

    def read_ahead(
        self, workload_id: str, sources: Sequence[CaptureSource], job: Job
    ) -> tuple[WarmResult, tuple[VolumeTree, ...]]:
        """See :meth:`Capture.read_ahead`."""
        return self._capture.read_ahead(workload_id, sources, job)

    def trees(self, snapshot_id: str) -> tuple[VolumeTree, ...]:
        """The trees of a snapshot."""
        return self._repository.manifests.read(snapshot_id).trees

    def write(
        self,
        snapshot_id: str,
        parts: Sequence[Part],
        live: Sequence[VolumeTree],
        writers: Mapping[int, TreeWriter],
        shares: Mapping[int, Callable[[TreeEntry], Share | None]],
        touched_ns: int,
        job: Job,
    ) -> None:
        """Write staged trees, every byte verified. Does not finish the writers.

        Args:
            live: for each part, what the live data was found to be.
            writers: by the volumes' indices in the snapshot.
            shares: likewise, how a file of the rest may get its content without being written.

        Raises:
            Damaged: what was written must be thrown away.
            Refused: ``path_parent_not_directory``.
        """
        manifest = self._repository.manifests.read(snapshot_id).manifest
        meter = PassingMeter(job, total_files=None, total_bytes=None)
        with self._reading(job) as reader:
            for part, volume in zip(parts, live, strict=True):
                writer = writers[part.index]
                trees = self._trees(snapshot_id, part, volume, touched_ns, reader)
                for entry, chunks in with_data(trees.inside(Names()), reader):
                    taken = _taken(entry.entry(), manifest, writer)
                    if taken is not None:
                        writer.add(taken, meter.watch(chunks))
                    meter.entry(entry)
                rest = (entry for _, entry in trees.rest(Names()))
                write_rest(rest, shares[part.index], writer, reader, meter)
            meter.beat()

    def catch_up(
        self,
        snapshot_id: str,
        part: Part,
        staged: VolumeTree,
        live: VolumeTree,
        editor: TreeEditor,
        touched_ns: int,
        job: Job,
        *,
        special: Sequence[SpecialFile] = (),
    ) -> int:
        """Bring the rest of a staged tree from one state of the live data to a later one.

        Args:
            staged: what the live data was when the rest was staged; ``live``: what it is now.
            editor: of the staged tree; finished here.
            special: FIFOs and sockets of the rest, which no stored tree holds.

        Returns:
            How many paths were other.

        Raises:
            Damaged: what was written must be thrown away.
            Failed: ``staged_rest_unknown``; a prune has taken away what tells how the rest was staged.
            TooLarge: ``rest_changed_too_much``.
            Refused: ``path_parent_not_directory``.
        """
        meter = PassingMeter(job, total_files=None, total_bytes=None)
        with self._reading(job) as reader:
            before = self._known(lambda: self._trees(snapshot_id, part, staged, touched_ns, reader))
            now = self._trees(snapshot_id, part, live, touched_ns, reader)
            found = bounded(changes(_known_entries(before.rest(Names())), now.rest(Names())))
            for change in reversed(found):
                job.check()
                if change.old is not None and not change.stays:
                    editor.remove(change.old.path, directory=change.old.kind == DIRECTORY)
            added = [(change, self._patch(change, reader)) for change in found if change.new is not None]
            to_be_read = (_to_be_read(change, patch) for change, patch in added)
            for (change, patch), (entry, chunks) in zip(added, with_data(to_be_read, reader), strict=True):
                meter.entry(entry)
                if not change.stays:
                    editor.add(entry.entry(), meter.watch(chunks))
                    continue
                assert change.old is not None
                old, new = change.old.entry(), entry.entry()
                if patch is not None:
                    pieces = meter.watch(reader.read_many(chunk_id for _, chunk_id in patch))
                    editor.patch(old, new, zip((offset for offset, _ in patch), pieces, strict=True))
                else:
                    editor.change(old, new, meter.watch(chunks) if change.content_differs else None)
            for each in special:
                editor.add_special(each)
            editor.finish(lambda path: now.directory(path).entry())
        return len(found)

    @contextmanager
    def _reading(self, job: Job) -> Iterator[ChunkReader]:
        with self._repository.lock.shared(job), self._repository.reader() as reader:
            self._repository.sync_index()
            yield reader

    def _tree_of(self, snapshot_id: str, index: int, reader: ChunkReader) -> Tree:
        return Tree(tree_of(self._repository.manifests.read(snapshot_id), index).chunks, reader.read_many)

    def _trees(self, snapshot_id: str, part: Part, live: VolumeTree, touched_ns: int, reader: ChunkReader) -> PartTrees:
        stored = self._repository.manifests.read(snapshot_id)
        return PartTrees(
            snapshot=Tree(tree_of(stored, part.index).chunks, reader.read_many),
            own=stored.manifest.own,
            live=Tree(live.chunks, reader.read_many),
            chosen=part.chosen,
            touched_ns=touched_ns,
        )

    def _patch(self, change: Change, reader: ChunkReader) -> Patch | None:
        """What of a file that stays has to be written; ``None`` for all of it, or for nothing."""
        if change.old is None or change.new is None or not change.stays or not change.content_differs:
            return None
        return patch_of(change.old, change.new, self._repository.index, reader)

    @staticmethod
    def _known(read: Callable[[], PartTrees]) -> PartTrees:
        try:
            return read()
        except Damaged as error:
            raise _unknown() from error


def write_rest(
    entries: Iterable[TreeEntry],
    share: Callable[[TreeEntry], Share | None],
    writer: TreeWriter,
    reader: ChunkReader,
    meter: PassingMeter,
) -> None:
    """Share what can be shared; write the others from their chunks, many together, so that these are read ahead."""

    def write(together: Sequence[TreeEntry]) -> None:
        for entry, chunks in with_data(together, reader):
            writer.add(entry.entry(), meter.watch(chunks))
            meter.entry(entry)

    waiting: list[TreeEntry] = []
    held = 0
    for entry in entries:
        way = share(entry)
        if way is None:
            waiting.append(entry)  # a hardlink's file is before it, here or among the shared ones
            held += entry.weight
        else:
            writer.add(entry.entry(), meter.watch(_read(entry, reader)), way)
            meter.entry(entry)
        if len(waiting) == _TOGETHER or held > _TOGETHER_BYTES:
            write(waiting)
            waiting, held = [], 0
    write(waiting)


def _read(entry: TreeEntry, reader: ChunkReader) -> Iterator[Chunk]:
    for _, chunks in with_data((entry,), reader):
        yield from chunks


def bounded(changed: Iterable[Change]) -> list[Change]:
    """All changes, if they are no more than memory should hold: what a container writes is up to it."""
    found: list[Change] = []
    held = 0
    for change in changed:
        held += change.weight + _CHANGE_BYTES
        if held > _MOST_CHANGED_BYTES:
            raise TooLarge(
                "rest_changed_too_much",
                f"More than {len(found)} paths beside the chosen ones changed while the restore was prepared: too many "
                "to bring them up to date.",
                next_step="Nothing was replaced. Restore at a quieter time, or stop the workload first (holdfast "
                "workload stop).",
                details={"paths": len(found)},
            )
        found.append(change)
    return found


def _known_entries(entries: Iterable[Keyed]) -> Iterator[Keyed]:
    try:
        yield from entries
    except Damaged as error:
        raise _unknown() from error


def _unknown() -> Failed:
    return Failed(
        "staged_rest_unknown",
        "What was staged of the live data can't be told any more, since the repository was pruned meanwhile.",
        next_step="Nothing was replaced. Restore again.",
    )


def _to_be_read(change: Change, patch: Patch | None) -> TreeEntry:
    """The new entry; without its content where that is there already, or only a part of it is to be read."""
    assert change.new is not None
    if patch is not None or (change.stays and not change.content_differs):
        return change.new.with_content(b"", listed=False)
    return change.new


def _taken(entry: Entry, manifest: SnapshotManifest, writer: TreeWriter) -> Entry | None:
    """What is taken of an entry; of a snapshot that is not Holdfast's own no more than a whole restore takes."""
    if manifest.own:
        return entry
    if entry.kind in (EntryKind.SYMLINK, EntryKind.HARDLINK) and not manifest.allow_links:
        writer.leave_out(entry.path, entry.kind.value)
        return None
    taken = without_privileges(entry)
    if taken != entry:
        writer.leave_out(entry.path, "setuid or setgid bit, or an attribute of the system")
    return taken


def _near(tree: Tree, path: bytes) -> tuple[bytes, ...]:
    """Paths that may have been meant: names like the first one that is not there, in the folder where it should be."""
    folder = b""
    for name in path.split(b"/"):
        below = folder + b"/" + name if folder else name
        if not is_there(tree, below):
            try:
                names = [entry.path for entry in list_folder(tree, folder, limit=_LOOKED_AT).entries]
            except NotFound:
                return ()
            known = {display_path(found.rpartition(b"/")[2]): found for found in names}
            return tuple(known[near] for near in get_close_matches(display_path(name), known, n=_NEAR))
        folder = below
    return ()
