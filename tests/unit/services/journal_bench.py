"""Restores as a dead server left them: real directories, real journals, and nobody at work."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.domain.restore import OnUnhealthy, RestoreFacts, RestoreResult, TreeSide, VolumeFacts
from holdfast.domain.restore_records import (
    AbortedRecord,
    BackwardRecord,
    CommitRecord,
    ConfirmedRecord,
    DoneRecord,
    PreparedRecord,
    Record,
    RevertedRecord,
    SafeRecord,
    StagedRecord,
    SwappedRecord,
    TrialRecord,
)
from holdfast.domain.workload import DesiredState
from holdfast.engine import swap
from holdfast.engine.fs import Fs
from holdfast.engine.journal import Journal
from holdfast.engine.live import LiveRoots
from holdfast.engine.requests import WorkerSettings
from holdfast.services.restore_files import RestoreFiles
from holdfast.services.workers import Workers
from holdfast.testing.live_volumes import live_tree, live_volume, staged_tree, staged_volume
from holdfast.testing.stores import store_settings

TO_SAFE: tuple[Record, ...] = (PreparedRecord(containers=()), SafeRecord(snapshot_id="s2"))
"""What follows STAGED, until nothing can be called off any more."""
TO_COMMIT = (*TO_SAFE, CommitRecord())
TO_SWAPPED = (*TO_COMMIT, SwappedRecord())
TO_TRIAL = (*TO_SWAPPED, TrialRecord(deadline="2026-01-01T00:00:00.000000Z", deployment_id=""))
TO_BACKWARD = (*TO_TRIAL, BackwardRecord(why="it was unhealthy"))
TO_REVERTED = (*TO_BACKWARD, RevertedRecord())
TO_CONFIRMED = (*TO_TRIAL, ConfirmedRecord(result=RestoreResult.RESTORED))
TO_ABORTED = (*TO_SAFE, AbortedRecord(why="somebody cancelled"))
TO_DONE = (*TO_CONFIRMED, DoneRecord())


class InThread(RestoreFiles):
    """Removes wrappers without a worker process."""

    async def reap(self, volumes: Sequence[VolumeFacts]) -> None:
        """Remove the wrappers, in a thread."""
        for facts in volumes:
            await asyncio.to_thread(swap.remove_wrapper, self.fs, self.roots, facts)


@dataclass(kw_only=True)
class JournalBench:
    """A volumes base and a directory of journals."""

    base: Path
    files: RestoreFiles

    def left(
        self,
        restore_id: str,
        *records: Record,
        lock_ids: tuple[str, ...] = ("w1",),
        staged: bool = True,
        exchanged: Sequence[int] = (),
    ) -> RestoreFacts:
        """A restore of two volumes whose journal ends with ``records``.

        Args:
            staged: whether STAGED comes before them.
            exchanged: indices of the volumes that were.
        """
        volumes = tuple(
            live_volume(self.base, f"{restore_id}/{name}", index=index, restore_id=restore_id)
            for index, name in enumerate(("data", "media"))
        )
        facts = RestoreFacts(
            restore_id=restore_id,
            operation_id=f"o-{restore_id}",
            workload_id=lock_ids[0],
            workload_name=f"name of {lock_ids[0]}",
            lock_ids=lock_ids,
            snapshot_id="s1",
            volumes=volumes,
            desired=DesiredState.STOPPED,
            on_unhealthy=OnUnhealthy.REVERT,
            actor="ada",
        )
        journal = Journal.create(self.files.fs, str(self.files.journal_dir), facts)
        known = tuple(staged_volume(self.files.fs, self.files.roots, facts) for facts in volumes)
        if staged:
            identities = {facts.index: facts.staged_identity for facts in known if facts.staged_identity}
            journal.append(StagedRecord(staged=identities))
        for record in records:
            journal.append(record)
        journal.close()
        for index in exchanged:
            swap.exchange(self.files.fs, self.files.roots, known[index], TreeSide.OLD)
        return replace(facts, volumes=known)

    def sides(self, facts: RestoreFacts) -> list[str]:
        """What each volume's live directory holds: ``old`` or ``new``."""
        return [(live_tree(volume) / "which").read_text() for volume in facts.volumes]

    def wrappers(self, facts: RestoreFacts) -> list[bool]:
        """Whether there is still something beside each live directory."""
        return [staged_tree(volume).parent.exists() for volume in facts.volumes]

    def path_of(self, facts: RestoreFacts) -> Path:
        """Its journal."""
        return self.files.journal_dir / f"{facts.restore_id}.journal"


@contextmanager
def journal_bench(directory: Path, fs: Fs | None = None) -> Iterator[JournalBench]:
    """An empty one below ``directory``."""
    base, journals = directory / "volumes", directory / "journal"
    for each in (base, journals):
        each.mkdir()
    fs = fs or Fs()
    settings = WorkerSettings(roots=(str(base),), stores=store_settings(base.parent))
    with LiveRoots(fs, [str(base)]) as roots:
        files = InThread(fs=fs, roots=roots, journal_dir=journals, workers=Workers(settings, count=1))
        yield JournalBench(base=base, files=files)
