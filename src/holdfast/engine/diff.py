"""What restoring a volume would change: a snapshot's tree compared with the live one, by metadata.

A file counts as changed if its size, mtime, mode or owner differ; its content is not read. Directories count as changed
by mode and owner only, since their mtime follows from what is added and removed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from holdfast.domain.chosen_paths import ChosenPaths
from holdfast.domain.operation import Progress
from holdfast.domain.restore import RootRef
from holdfast.engine.entries import Entry, EntryKind, display_path
from holdfast.engine.fs import Fs
from holdfast.engine.job import Job
from holdfast.engine.live import LiveRoots
from holdfast.engine.snapshot_store import SnapshotStore
from holdfast.engine.walk import WalkReport, walk

SAMPLE: Final = 20
"""How many paths of each kind are named."""

_CHECK_EVERY: Final = 256
_LONG: Final = 1024
_FACTS: Final = struct.Struct("<cHIIqQ")
_KINDS: Final = {kind: bytes([number]) for number, kind in enumerate(EntryKind)}


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeDiff:
    """What a restore would do to one volume. Bytes are logical sizes of files.

    Attributes:
        added: names that only the snapshot has; removed: that only the live tree has.
        bytes_changed: what the changed files will have, not what they have.
        added_paths, changed_paths, removed_paths: the first of each in path order, fit to be shown.
    """

    added: int = 0
    changed: int = 0
    removed: int = 0
    bytes_added: int = 0
    bytes_changed: int = 0
    bytes_removed: int = 0
    added_paths: tuple[str, ...] = ()
    changed_paths: tuple[str, ...] = ()
    removed_paths: tuple[str, ...] = ()


@dataclass(slots=True)
class _Found:
    """Names of one kind: how many, their bytes, and which."""

    count: int = 0
    size: int = 0
    first: list[bytes] = field(default_factory=list)

    def add(self, path: bytes, size: int) -> None:
        self.count += 1
        self.size += size
        self.first.append(path)
        if len(self.first) >= 2 * SAMPLE:
            self.first = sorted(self.first)[:SAMPLE]

    def paths(self) -> tuple[str, ...]:
        return tuple(display_path(path) for path in sorted(self.first)[:SAMPLE])


def diff(
    fs: Fs,
    roots: LiveRoots,
    store: SnapshotStore,
    snapshot_id: str,
    index: int,
    live: RootRef | None,
    job: Job,
    chosen: ChosenPaths | None = None,
) -> VolumeDiff:
    """Compare volume ``index`` of a snapshot with the live directory that it would replace; ``None``: it is missing.

    With ``chosen``, only these paths and what is below them.

    Memory grows with the number of the snapshot's names (about 250 bytes each), not with the live tree's, nor with how
    deep they lie.

    Raises:
        NotFound, Damaged: from the store.
        Refused, Failed: the live directory can't be read.
        Cancelled: as asked.
    """
    wanted: dict[bytes, bytes] = {}
    for number, entry in enumerate(store.entries(snapshot_id, index, job)):
        if chosen is None or chosen.covers(entry.path):
            wanted[_key(entry.path)] = _facts(entry)
        _tell(job, number, "reading the snapshot")
    added, changed, removed = _Found(), _Found(), _Found()
    for number, entry in enumerate(_live_entries(fs, roots, live)):
        if chosen is not None and not chosen.covers(entry.path):
            continue
        facts = wanted.pop(_key(entry.path), None)
        if facts is None:
            if entry.path:  # a root that the snapshot has no entry of stays as it is
                removed.add(_key(entry.path), entry.size)
        elif facts != _facts(entry):
            changed.add(_key(entry.path), _size(facts))
        _tell(job, number, "looking at the live data")
    for path, facts in wanted.items():
        added.add(path, _size(facts))
    return VolumeDiff(
        added=added.count,
        changed=changed.count,
        removed=removed.count,
        bytes_added=added.size,
        bytes_changed=changed.size,
        bytes_removed=removed.size,
        added_paths=added.paths(),
        changed_paths=changed.paths(),
        removed_paths=removed.paths(),
    )


def _live_entries(fs: Fs, roots: LiveRoots, live: RootRef | None) -> Iterator[Entry]:
    if live is None:
        return
    fd = roots.open(live)
    try:
        for walked in walk(fs, fd, WalkReport(), leave_out=roots.not_of_volume(live)):
            yield walked.entry
    finally:
        fs.close(fd)


def measure(fs: Fs, roots: LiveRoots, live: RootRef, job: Job) -> int:
    """Bytes of data in a live tree, holes not counted, plus a kibibyte for each name: what capturing it may store."""
    total = 0
    fd = roots.open(live)
    try:
        for number, walked in enumerate(walk(fs, fd, WalkReport(), leave_out=roots.not_of_volume(live))):
            total += walked.entry.data_bytes + len(walked.entry.path) + 1024
            _tell(job, number, "looking at the live data")
    finally:
        fs.close(fd)
    return total


def _key(path: bytes) -> bytes:
    """What a path is told by and shown as: itself, or as much of it as names other paths, and a digest."""
    if len(path) <= _LONG:
        return path
    return path[:_LONG] + "… ".encode() + blake2b(path, digest_size=16).hexdigest().encode()


def _facts(entry: Entry) -> bytes:
    """What is compared, packed: a tuple of the same would take four times the memory."""
    mtime = entry.mtime_ns if entry.kind is EntryKind.FILE else 0
    return _FACTS.pack(_KINDS[entry.kind], entry.mode, entry.uid, entry.gid, mtime, entry.size) + entry.link_target


def _size(facts: bytes) -> int:
    size: int = _FACTS.unpack_from(facts)[-1]
    return size


def _tell(job: Job, number: int, note: str) -> None:
    if number % _CHECK_EVERY == 0:
        job.check()
        job.progress(Progress(done_files=number, note=note))
