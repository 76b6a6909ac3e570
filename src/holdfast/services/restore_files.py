"""The files of a restore, from the event loop: its journal, its directories, its exchanges.

Every call runs in a thread and is short: a record and its flush, one rename per volume. What can be long (staging,
capturing, removing trees) runs in a worker process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from holdfast.domain.errors import Failed, HoldfastError
from holdfast.domain.recovery import Direction, Observation
from holdfast.domain.restore import Children, Identity, LiveBefore, RestoreFacts, RootRef, TreeSide, VolumeFacts
from holdfast.domain.restore_records import Record
from holdfast.engine import journal, missing, step_swap, swap
from holdfast.engine.fs import Fs
from holdfast.engine.journal import Journal
from holdfast.engine.live import LiveRoots
from holdfast.engine.os_errors import translate
from holdfast.engine.requests import CheckWrappedRequest, ReapRequest
from holdfast.services.workers import Workers


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreFiles:
    """What restores and recovery do to files, one awaitable each."""

    fs: Fs
    roots: LiveRoots
    journal_dir: Path
    workers: Workers

    async def begin(self, facts: RestoreFacts) -> Journal:
        """Create the journal with its STAGING record, durably."""
        return await asyncio.to_thread(Journal.create, self.fs, str(self.journal_dir), facts)

    async def append(self, to: Journal, record: Record) -> None:
        """Append one record, durably. Raises ``Failed`` (``journal_write_failed``), ``NoSpace``."""
        await asyncio.to_thread(to.append, record)

    async def reopen(self, path: str, *, instead_of: Journal | None = None) -> Journal:
        """Open an existing journal to go on with it; all that it then says is on disk."""
        if instead_of is not None:
            await asyncio.to_thread(instead_of.close)
        return await asyncio.to_thread(Journal.reopen, self.fs, path)

    async def remove(self, file: Journal) -> None:
        """Close a journal whose story is over, and remove it."""
        await asyncio.to_thread(file.remove)

    def journals(self) -> list[str]:
        """The paths of all journals, oldest first."""
        return journal.journals(self.fs, str(self.journal_dir))

    async def kept(self, workload_id: str) -> list[RestoreFacts]:
        """The reverted restores of a workload whose trees are still kept. No journal is touched."""

        def look() -> list[RestoreFacts]:
            found = []
            for path in self.journals():
                # Of somebody else and damaged, or removed since it was listed.
                with suppress(HoldfastError):
                    parsed = journal.read_journal(self.fs, path)
                    if parsed.direction is Direction.REVERTED and parsed.facts is not None:
                        found.append(parsed.facts)
            return [facts for facts in found if facts.workload_id == workload_id]

        return await asyncio.to_thread(look)

    async def identities(
        self, ref: RootRef, before: LiveBefore, missing_parents: int
    ) -> tuple[Identity | None, Identity | None]:
        """The identities of a live directory and of its parent; ``None`` for what is missing."""

        def look() -> tuple[Identity | None, Identity | None]:
            if missing_parents:
                return None, None
            parent, _ = self.roots.open_parent(ref)
            try:
                live = None if before is LiveBefore.MISSING else self.roots.identity(ref)
                return live, self.fs.identity(parent)
            except OSError as error:
                raise translate(error, f"asking for the identity of the directory that holds {ref.path}") from error
            finally:
                self.fs.close(parent)

        return await asyncio.to_thread(look)

    async def make_empty(self, volumes: Sequence[VolumeFacts]) -> dict[int, Identity]:
        """Make what is going to stand in for missing directories, in the wrappers. Returns the identities by index."""
        return await asyncio.to_thread(lambda: {v.index: missing.make_empty(self.fs, self.roots, v) for v in volumes})

    async def place_empty(self, volumes: Sequence[VolumeFacts]) -> None:
        """Give it the live paths. Raises ``Failed`` (``volume_appeared``)."""

        def place() -> None:
            for volume in volumes:
                missing.place_empty(self.fs, self.roots, volume)

        await asyncio.to_thread(place)

    async def remove_empty(self, volumes: Sequence[VolumeFacts]) -> list[str]:
        """Take it away from the live paths. Returns those where it is no longer empty, and so stays."""
        return await asyncio.to_thread(
            lambda: [v.live.path for v in volumes if not missing.remove_empty(self.fs, self.roots, v)]
        )

    async def list_children(self, volumes: Sequence[VolumeFacts]) -> dict[int, Children]:
        """What there is to swap, by volume index, where that is done name by name. Raises ``Refused``, ``Failed``."""
        return await asyncio.to_thread(
            lambda: {v.index: step_swap.list_children(self.fs, self.roots, v) for v in volumes if v.way.inside}
        )

    async def list_to_go_back(
        self, volumes: Sequence[VolumeFacts], safety_snapshot_id: str | None
    ) -> dict[int, Children]:
        """As :meth:`list_children`, after containers ran on what is live.

        They could get at what waits for its return: that has to be what the safety snapshot holds.

        Args:
            volumes: all of the restore, in their order: so the safety snapshot numbers them.

        Raises:
            Failed: ``displaced_tree_changed``, and what reading raises.
        """
        inside = {number: volume for number, volume in enumerate(volumes) if volume.way.inside}
        if inside and safety_snapshot_id is not None:
            request = CheckWrappedRequest(snapshot_id=safety_snapshot_id, volumes=inside, side=TreeSide.OLD)
            async with self.workers.session(None) as worker:
                await worker.run(request)
        return await self.list_children(volumes)

    async def exchange_all(self, volumes: Sequence[VolumeFacts], to: TreeSide) -> None:
        """Bring ``to`` live for every volume that is on the other side. Raises ``Failed`` (``exchange_failed``)."""
        await asyncio.to_thread(swap.exchange_all, self.fs, self.roots, volumes, to)

    async def observe(self, volumes: Iterable[VolumeFacts]) -> dict[int, Observation]:
        """What stands where, by volume index."""
        return await asyncio.to_thread(
            lambda: {volume.index: swap.observe(self.fs, self.roots, volume) for volume in volumes}
        )

    async def reap(self, volumes: Sequence[VolumeFacts]) -> None:
        """Remove the wrappers, and what is in them, in a worker of its own."""
        async with self.workers.session(None) as worker:
            await worker.run(ReapRequest(volumes=tuple(volumes)))

    async def flush_engine_state(self, directory: str) -> bool:
        """Flush the filesystem that the container engine keeps its state on.

        So that restart policies survive a power cut. ``False`` if the directory can't be reached from here.

        Raises:
            Failed: ``engine_state_not_flushed``; what the engine has written may be lost.
        """

        def flush() -> bool:
            try:
                fd = self.fs.open_root(directory)
            except OSError:
                return False
            try:
                self.fs.syncfs(fd)
            except OSError as error:
                raise Failed(
                    "engine_state_not_flushed",
                    f"The filesystem of {directory} could not be made durable: {error.strerror}.",
                    next_step="Look at the disk (kernel log, free space) before you trust it, then restore again.",
                    details={"path": directory},
                ) from error
            finally:
                self.fs.close(fd)
            return True

        return await asyncio.to_thread(flush)
