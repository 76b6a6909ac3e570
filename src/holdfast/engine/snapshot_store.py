"""The snapshot-store port: where captures go and where staged trees come from.

An adapter keeps immutable snapshots. Its manifest is a snapshot's only commit point, written last and durably: before
that the snapshot does not exist, and what was written is an orphan. Adapters are synchronous, run inside the worker
process, read live trees only through descriptors, and never follow a symlink or cross a mount in one (I7).

``tests/contract/snapshot_store.py`` is the suite that every adapter passes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from holdfast.domain.errors import Problem
from holdfast.domain.restore import Identity, RootRef
from holdfast.domain.snapshot import SnapshotManifest
from holdfast.engine.entries import Entry
from holdfast.engine.job import Job
from holdfast.engine.tree_writer import EntrySink


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureSource:
    """One live directory to capture.

    Attributes:
        expected: the identity that the directory must have when it is opened; ``None`` accepts any.
    """

    index: int
    live: RootRef
    expected: Identity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmResult:
    """What a warm pass found: how much a capture right now would still have to read and store."""

    changed_files: int
    changed_bytes: int
    useful: bool
    """Whether another warm pass could make the capture after the stop any smaller."""


class SnapshotStore(Protocol):
    """Keeps snapshots. All methods raise ``HoldfastError`` subclasses only."""

    def capture(self, draft: SnapshotManifest, sources: Sequence[CaptureSource], job: Job) -> SnapshotManifest:
        """Capture all ``sources`` as one snapshot and make it durable.

        Args:
            draft: the manifest but for what capturing finds out (counts, content, sizes, duration, warnings).

        Raises:
            Cancelled: nothing is left behind.
            NoSpace: the store's filesystem is full; nothing is left behind.
            Refused: a live directory is missing or another one than expected.
        """

    def warm(self, workload_id: str, sources: Sequence[CaptureSource], job: Job) -> WarmResult:
        """Read ahead while the workload runs, so that the capture after the stop is a small delta."""

    def manifest(self, snapshot_id: str) -> SnapshotManifest:
        """The authenticated manifest. Raises ``NotFound`` or ``Damaged``."""

    def manifests(self) -> Iterator[SnapshotManifest]:
        """All readable manifests, in no particular order; unreadable ones are left out (see ``damaged_manifests``)."""

    def damaged_manifests(self) -> Sequence[Problem]:
        """Why each manifest that :meth:`manifests` leaves out can't be read; ``details["snapshot"]`` is its id."""

    def check(self, manifest: SnapshotManifest, volumes: Collection[int] | None = None, /) -> Sequence[Problem]:
        """A quick look that everything the snapshot needs is present. Reads no data.

        Args:
            volumes: the indices of those that it is about; ``None`` for all.
        """

    def entries(self, snapshot_id: str, index: int, job: Job) -> Iterator[Entry]:
        """What volume ``index`` of the snapshot holds, parents before children."""

    def stage(self, snapshot_id: str, writers: Mapping[int, EntrySink], job: Job) -> None:
        """Write volume trees, every byte verified. Does not finish the writers.

        Args:
            writers: volume index → the writer of its staged tree; volumes not in it are passed over.

        Raises:
            Damaged: content does not match what was captured; what was written must be thrown away.
        """

    def verify(self, snapshot_id: str, job: Job) -> Sequence[str]:
        """Read all of it back. Returns what is damaged, in words; empty means whole."""

    def delete(self, snapshot_id: str) -> int:
        """Remove a snapshot, manifest first. Returns the bytes that were freed. Unknown ids are ``NotFound``."""

    def export(self, snapshot_id: str, write: Callable[[bytes], object], job: Job) -> None:
        """Stream the snapshot as a portable archive (``repository.md``, "Archive")."""

    def archive_suffix(self, snapshot_id: str) -> str:
        """What the name of an export ends in: ``.tar.zst`` or ``.tar.gz``."""

    def clean_orphans(self) -> Sequence[str]:
        """Remove what interrupted captures left; returns the names. Touches nothing that it did not make itself."""
