"""Frees what no snapshot needs: packs that nothing refers to are deleted, mostly unused ones are written anew.

In two phases. The first runs beside captures and restores: it reads what all snapshots need, decides what becomes of
each pack, and condemns those that are to go, so that captures which begin from now on rely on none of them. The second
has the repository's lock alone, and only for a moment: it reads the snapshots that came to be since, spares what they
need, and deletes the rest. Where others hold the lock, it gives up, and the next prune does it.

Invariants:

- A pack is deleted only while nobody else reads or adds anything, and only if every chunk in it that any snapshot needs
  lies, undamaged as far as anybody knows, in a pack that stays. Nothing that was noted before is trusted for that.
- A snapshot of which it can't be told what it needs keeps everything from being deleted.
- Where another machine may take the repository over, packs go only if it had not by then, and what it stores after that
  does not rely on them.
- It can end at any moment. What it leaves then is packs that hold what others hold as well, for the next prune.
- On a full disk it frees what is not needed at all before it writes anything.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Final

from holdfast.domain.errors import Busy, Cancelled, Damaged, HoldfastError, NoSpace, Problem, Refused
from holdfast.domain.operation import Progress
from holdfast.domain.told import Told, told
from holdfast.engine.job import Job
from holdfast.engine.repository.chunk_reader import ChunkReader
from holdfast.engine.repository.condemned import write_condemned
from holdfast.engine.repository.manifests import StoredSnapshot
from holdfast.engine.repository.needed import Needed
from holdfast.engine.repository.pack_listing import FOLDER
from holdfast.engine.repository.pack_use import remember_moves, survey
from holdfast.engine.repository.prune_plan import SMALL_PACKS, PackUse, PrunePlan, SmallPacks, plan_prune, rounds
from holdfast.engine.repository.repository import Repository
from holdfast.engine.repository.verify import note_damage

UNUSED_PERCENT: Final = 50
PATIENCE_SECONDS: Final = 10.0
"""How long the second phase waits for others to let go of the lock."""

_ROUND_BYTES: Final = 256 << 20
"""What is written before the packs that it comes from are deleted: so much more space is needed meanwhile."""
_ROUND_PACKS: Final = 256
"""What is deleted at once: everybody else waits meanwhile, and it is to take no longer than a moment."""
_WARM_SECONDS: Final = 3600
"""How long what a warm pass read ahead is kept for the capture that is to follow."""
_AT_ONCE: Final = 500
_BEAT_ENTRIES: Final = 256
_TREE_STEP: Final = (
    "Take a new snapshot of that workload, which heals what is still live, or delete the damaged one; then prune again."
)
_MANIFEST_STEP: Final = (
    "Bring the file of that name in the repository's folder manifests back from a copy, or, if nobody has one, delete "
    "the snapshot with `holdfast repository delete-damaged`; then prune again."
)
_OF_NO_USE: Final = frozenset({"pack_header_damaged", "pack_incomplete", "pack_trailer_damaged"})
"""Why a pack can't be read in which nothing could be found, and never will be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneResult:
    """What a prune did, or what it would do if it was a dry run. Sizes in bytes.

    Attributes:
        packs, bytes: what there was before.
        deleted_packs: those that nothing needed.
        rewritten_packs: those of which what is needed was moved to new packs: mostly unused ones, and many small ones.
        freed_bytes: in all, less what was written anew.
        postponed_packs, postponed_bytes: what the next prune will free, because others were at work or room was
            missing; ``postponed_why`` says which.
        missing_chunks, damaged_chunks: chunks that snapshots need and that can't be had.
        temporary: files that interrupted writes had left, by name; removed.
        problems: packs that can't be read as they should, and why.
    """

    packs: int
    bytes: int
    deleted_packs: int = 0
    rewritten_packs: int = 0
    freed_bytes: int = 0
    postponed_packs: int = 0
    postponed_bytes: int = 0
    postponed_why: Told | None = None
    missing_chunks: int = 0
    damaged_chunks: int = 0
    temporary: tuple[str, ...] = ()
    problems: tuple[Told, ...] = ()

    @property
    def postponed(self) -> Told | None:
        """What is left to the next prune, and why; ``None`` where nothing is."""
        if self.postponed_why is None:
            return None
        return told(
            "packs_postponed",
            "{count} packs are left to the next prune: {why}",
            count=self.postponed_packs,
            why=self.postponed_why,
        )


class Prune:
    """One prune of a repository.

    Args:
        unused_percent: a pack of which at least so much is needed by no snapshot is written anew.
        small: when small packs are put together.
        patience: seconds to wait for others who hold the lock.
        owner: id of this installation, where another machine may take the repository over meanwhile.
        now: wall clock, seconds since 1970.
    """

    def __init__(
        self,
        repository: Repository,
        job: Job,
        *,
        unused_percent: int = UNUSED_PERCENT,
        small: SmallPacks = SMALL_PACKS,
        patience: float = PATIENCE_SECONDS,
        owner: str = "",
        now: Callable[[], float] = time.time,
    ) -> None:
        self._repository, self._job = repository, job
        self._unused_percent, self._small, self._patience, self._now = unused_percent, small, patience, now
        self._owner = owner
        self._seen: set[str] = set()
        self._entries = 0
        self._intact = False
        self._result = PruneResult(packs=0, bytes=0)

    def run(self, *, without: Collection[str] = (), dry_run: bool = False) -> PruneResult:
        """Prune.

        Args:
            without: snapshots that a dry run takes for deleted.
            dry_run: tell what would be done, and do nothing.

        Raises:
            Refused: ``prune_snapshot_unreadable``, every snapshot of which it can't be told what it needs; nothing was
                deleted.
            Cancelled: what was deleted before was needed by no snapshot.
            HoldfastError: what reading, storing and deleting raise; no snapshot has lost anything.
        """
        if without and not dry_run:
            raise ValueError("snapshots are deleted before a prune, not by it")
        try:
            with Needed() as needed:
                plan = self._plan(needed, without, condemn=not dry_run)
                if dry_run:
                    return self._told(plan)
                return self._carry_out(plan, needed)
        except BaseException as error:
            if not dry_run:
                self._absolve()
            if isinstance(error, Cancelled) and (self._result.deleted_packs or self._result.rewritten_packs):
                raise Cancelled(
                    "The prune was cancelled. What it had deleted until then was needed by no snapshot."
                ) from error
            raise

    # --- phase one ---------------------------------------------------------------------------------------------------

    def _plan(self, needed: Needed, without: Collection[str], *, condemn: bool) -> PrunePlan:
        repository = self._repository
        with repository.lock.shared(self._job):
            repository.sync_index()
            with repository.reader() as reader:
                self._mark(needed, reader, without)
            found = survey(repository.index, needed)
            needed.close_plan()
            self._intact = not found.missing and not found.damaged
            self._result = PruneResult(
                packs=len(found.uses),
                bytes=sum(use.size for use in found.uses),
                missing_chunks=found.missing,
                damaged_chunks=found.damaged,
                problems=tuple(Told.of(problem) for problem in repository.unreadable),
            )
            plan = plan_prune(found.uses, unused_percent=self._unused_percent, small=self._small)
            if condemn:
                remember_moves(repository.index, needed, plan.rewritten)
                # Where there is no room even for that, it has to do without: it is a courtesy to others only.
                with suppress(NoSpace):
                    self._condemn(plan.dead)
        return plan

    def _mark(self, needed: Needed, reader: ChunkReader, without: Collection[str] = ()) -> None:
        """Note what all snapshots need that were not seen yet, and what was read ahead for those that are to follow."""
        listing = self._repository.manifests.load()
        problems = [
            _unreadable(problem, _MANIFEST_STEP)
            for problem in listing.damaged
            if problem.details["snapshot"] not in without
        ]
        new = [stored for stored in listing.snapshots if stored.id not in self._seen and stored.id not in without]
        for number, stored in enumerate(new):
            note = f"looking at what snapshot {number + 1} of {len(new)} needs"
            self._job.progress(Progress(note=note))
            try:
                needed.add(stored.trees, reader, self._beat)
            except Damaged as error:
                problems.append(_unreadable(_of_tree(stored, error), _TREE_STEP))
            self._seen.add(stored.id)
        if problems:
            raise Refused(problems)
        # Without it, nothing would be lost but time, and that in a downtime.
        for warm in self._repository.warm_files.younger_than(_WARM_SECONDS, self._now()):
            with suppress(Damaged):
                needed.add(warm.trees, reader, self._beat)

    def _condemn(self, uses: Sequence[PackUse]) -> None:
        names = [use.name for use in uses]
        write_condemned(self._repository.blobs, names)
        self._repository.index.condemn(names)

    def _absolve(self) -> None:
        with suppress(HoldfastError):
            write_condemned(self._repository.blobs, ())

    def _told(self, plan: PrunePlan) -> PruneResult:
        return replace(
            self._result,
            deleted_packs=len(plan.dead),
            rewritten_packs=len(plan.rewritten),
            freed_bytes=sum(use.unused_size for use in (*plan.dead, *plan.rewritten)),
        )

    # --- phase two ---------------------------------------------------------------------------------------------------

    def _carry_out(self, plan: PrunePlan, needed: Needed) -> PruneResult:
        groups = [*rounds(plan.dead, _ROUND_BYTES, _ROUND_PACKS), *rounds(plan.rewritten, _ROUND_BYTES, _ROUND_PACKS)]
        left = deque(groups or [[]])  # one at least, for what is no pack
        why: Told | None = None
        while left and why is None:
            try:
                written = self._move(left[0], needed)
                gone = self._sweep(left[0], needed)
            except NoSpace as error:
                self._absolve()
                why = Told.of(error)
                continue
            if gone is None:
                why = told("prune_held_up", "Something else was at work on the repository all the time.")
                continue
            self._count(gone, written)
            left.popleft()
        postponed = [use for group in left for use in group]
        return replace(
            self._result,
            postponed_packs=len(postponed),
            postponed_bytes=sum(use.unused_size for use in postponed),
            postponed_why=why if postponed else None,
        )

    def _move(self, group: Sequence[PackUse], needed: Needed) -> int:
        """Store anew what is needed of some packs, durably. Returns the bytes that were written."""
        if not any(use.needed for use in group):
            return 0
        repository = self._repository
        total = sum(use.needed for use in group)
        done = 0
        with repository.lock.shared(self._job):
            self._condemn(group)
            ids = chain.from_iterable(needed.moves(use.number) for use in group)
            with repository.reader() as reader, repository.writer() as writer:
                for _, chunks in reader.read_ahead((chunk_id, (chunk_id,)) for chunk_id in ids):
                    self._job.check()
                    try:
                        chunk = next(chunks)
                    except Damaged as error:
                        note_damage(error, repository.index)  # its pack will be spared
                        continue
                    writer.put(chunk)
                    done += len(chunk)
                    self._job.progress(Progress(done_bytes=done, total_bytes=total, note="writing packs anew"))
                writer.finish()
            repository.index.flush()
        return writer.stored_bytes

    def _sweep(self, uses: Sequence[PackUse], needed: Needed) -> list[PackUse] | None:
        """Delete packs, but for those that turn out to be needed. Returns the deleted ones; ``None`` if others work."""
        repository = self._repository
        with repository.lock.shared(self._job), repository.reader() as reader:
            self._mark(needed, reader)  # so that less is left to do while everybody else waits
        try:
            with repository.lock.exclusive(self._job, wait=self._patience):
                repository.sync_index()
                with repository.reader() as reader:
                    self._mark(needed, reader)
                doomed = {use.name for use in uses}
                moved = chain.from_iterable(needed.moves(use.number) for use in uses)
                doomed -= self._spared(doomed, chain(needed.twice(), needed.late(), moved))
                doomed |= self._of_no_use()
                self._check_owner(doomed)
                repository.blobs.delete([f"{FOLDER}/{name}" for name in sorted(doomed)])
                repository.index.remove_packs(doomed)
                write_condemned(repository.blobs, ())
                left = repository.blobs.clean_temporary()
        except Busy as error:
            if error.code != "repository_busy":
                raise
            return None
        self._result = replace(self._result, temporary=(*self._result.temporary, *left))
        return [use for use in uses if use.name in doomed]

    def _check_owner(self, doomed: Collection[str]) -> None:
        """Make sure that nobody on another machine relies on what is about to go.

        Who takes a repository over writes that down first, and reads what is condemned after that. Here it is the other
        way round. So one of both sees the other: either nothing is deleted, or nothing that is stored there from now
        on relies on these packs.
        """
        if self._owner and doomed:
            write_condemned(self._repository.blobs, doomed)
            self._repository.check_owner(self._owner)

    def _spared(self, doomed: Collection[str], ids: Iterable[bytes]) -> set[str]:
        """Those of ``doomed`` that hold a chunk of which no good copy lies elsewhere. Has the lock alone."""
        spared: set[str] = set()
        ids = iter(ids)
        while some := list(islice(ids, _AT_ONCE)):
            copies = self._repository.index.copies(some)
            for chunk_id in some:
                there = copies.get(chunk_id, {})
                if not any(name not in doomed and not damaged for name, damaged in there.items()):
                    spared.update(name for name in there if name in doomed)
                    self._intact = False
        return spared

    def _of_no_use(self) -> set[str]:
        """Packs of which nothing can be read, if nothing is missing that they might have held."""
        if not self._intact:
            return set()
        found = {str(p.details["pack"]) for p in self._repository.unreadable if p.code in _OF_NO_USE}
        return found - set(self._repository.index.packs())

    def _count(self, gone: Sequence[PackUse], written: int) -> None:
        rewritten = sum(1 for use in gone if use.needed)
        self._result = replace(
            self._result,
            deleted_packs=self._result.deleted_packs + len(gone) - rewritten,
            rewritten_packs=self._result.rewritten_packs + rewritten,
            freed_bytes=self._result.freed_bytes + sum(use.size for use in gone) - written,
        )

    def _beat(self) -> None:
        self._entries += 1
        if not self._entries % _BEAT_ENTRIES:
            self._job.check()


def _of_tree(stored: StoredSnapshot, error: Damaged) -> Problem:
    return Problem(code=error.code, message=error.message, details={"snapshot": stored.id})


def _unreadable(problem: Problem, next_step: str) -> Problem:
    snapshot = problem.details["snapshot"]
    return Problem(
        code="prune_snapshot_unreadable",
        message=f"It can't be told what the snapshot {snapshot} needs: {problem.message} So nothing is deleted.",
        next_step=next_step,
        details={"snapshot": snapshot},
    )
