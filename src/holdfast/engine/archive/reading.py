"""Reads a stored archive against its manifest: every byte hashed, and the hash compared at the end.

Whatever reads all members and sees no error has read exactly what was captured or imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from holdfast.domain.errors import Damaged
from holdfast.domain.operation import Progress
from holdfast.domain.snapshot import Content, SnapshotManifest
from holdfast.engine.archive.layout import Layout
from holdfast.engine.archive.problems import printable
from holdfast.engine.archive.reader import ArchiveReader, Member
from holdfast.engine.archive.source import PIECE_BYTES, TarStream, open_source
from holdfast.engine.fs import Fs
from holdfast.engine.job import Job
from holdfast.engine.limits import Limits, Tally

NEXT_STEP: Final = (
    "Nothing live was changed. Restore another snapshot, and check the disk (dmesg, smartctl) before you trust it."
)


def damaged(manifest: SnapshotManifest, why: str, last: bytes = b"") -> Damaged:
    """A stored snapshot is not what was stored."""
    where = f" (last entry: {printable(last)})" if last else ""
    return Damaged(
        "snapshot_damaged",
        f"The snapshot {manifest.id} is damaged: {why}{where}",
        next_step=NEXT_STEP,
        details={"snapshot": manifest.id, "last_entry": printable(last)},
    )


class StoredArchive:
    """One stored archive, open, to be read once."""

    def __init__(self, manifest: SnapshotManifest, stream: TarStream, tally: Tally) -> None:
        self._manifest, self._stream = manifest, stream
        self._reader = ArchiveReader(stream, tally)

    @property
    def last(self) -> bytes:
        """The entry met last."""
        return self._reader.last

    def members(self) -> Iterator[Member]:
        """All members; ends without an error only if the archive is the one that the manifest describes.

        Raises:
            Damaged: ``snapshot_damaged``, or as :meth:`ArchiveReader.members`.
        """
        yield from self._reader.members()
        reader, expected = self._reader, self._manifest.content
        found = reader.end
        if expected and reader.manifest_is_last and reader.manifest_at and reader.manifest_at.bytes == expected.bytes:
            found = reader.manifest_at
        if expected is None or found != expected:
            raise damaged(self._manifest, "its content is not what was stored.", reader.last)

    def is_whole(self) -> bool:
        """Whether the stream begins with the content that the manifest describes; reads it without understanding it."""
        expected = self._manifest.content or Content(bytes=0, blake3="")
        while self._stream.offset < expected.bytes:
            if not self._stream.some(min(PIECE_BYTES, expected.bytes - self._stream.offset)):
                return False
        self._stream.mark()
        return self._stream.content_at_mark() == expected


@contextmanager
def open_stored(
    fs: Fs, layout: Layout, manifest: SnapshotManifest, limits: Limits, job: Job
) -> Iterator[StoredArchive]:
    """Open a snapshot's archive; reading it reports progress and can be cancelled.

    Args:
        limits: for what was imported; what we captured ourselves is bounded by nothing but its own headers.

    Raises:
        Damaged: ``snapshot_damaged``, the archive is missing.
        Refused: ``archive_not_recognised``.
    """
    found = layout.archive(manifest.workload_id, manifest.id)
    if found is None:
        raise damaged(manifest, "its archive is missing.")
    tally = Tally(Limits.for_own_snapshots() if manifest.own else limits)
    total = manifest.content.bytes if manifest.content else None

    def pulse(consumed: int, produced: int) -> None:
        tally.expansion(consumed, produced)
        job.check()
        job.progress(Progress(done_bytes=min(produced, total) if total else produced, total_bytes=total))

    with layout.open_archive(manifest.workload_id, manifest.id, found[0]) as fd:
        _, source = open_source(fs, fd)
        yield StoredArchive(manifest, TarStream(source, pulse), tally)
