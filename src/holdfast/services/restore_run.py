"""The first half of a restore: from the plan to the exchanged trees.

The order is chosen so that everything slow or likely to fail happens while the service still runs and nothing has been
touched. Until COMMIT every failure, and a cancel, leads back to exactly what was before; the COMMIT record decides;
after it the way is forward, and an exchange that fails leads backward through the journal, never by guess.

- I3: no rename before every staged tree is complete, verified and flushed, the safety snapshot durable, and COMMIT
  durable.
- I4: from the quiesce on, no container that mounts a live path runs, and none would be started by the engine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from holdfast.domain.errors import Failed, HoldfastError, Problem, Refused
from holdfast.domain.recovery import (
    AbortedRecord,
    CommitRecord,
    Direction,
    Observation,
    PreparedRecord,
    SafeRecord,
    StagedRecord,
    SwappedRecord,
)
from holdfast.domain.restore import ContainerFacts, RecordType, RestoreFacts, RestoreStep, TreeSide, VolumeFacts
from holdfast.domain.snapshot import Consistency, SnapshotManifest, SnapshotReason
from holdfast.domain.workload import Workload
from holdfast.engine.jobs import CaptureRequest, StageRequest, WarmRequest
from holdfast.engine.journal import Journal
from holdfast.engine.snapshot_store import CaptureSource
from holdfast.runtime.port import ContainerRuntime
from holdfast.services.locks import Held
from holdfast.services.operations import OperationContext
from holdfast.services.quiesce import Quiescer
from holdfast.services.reaper import Reaper
from holdfast.services.restore_files import RestoreFiles
from holdfast.services.restore_plan import RestorePlan
from holdfast.services.restore_preflight import RestorePreflight
from holdfast.services.retrying import until_engine_answers
from holdfast.services.snapshot_drafts import draft_manifest
from holdfast.services.workers import WorkerSession
from holdfast.store.snapshots import SnapshotStateStore

COMMIT_UNCERTAIN: Final = "commit_uncertain"
"""The code of a restore that starts nothing, because COMMIT may be on disk or not."""

_SETTLED: Final = frozenset({Direction.ABORTED, Direction.REVERTED, Direction.CONFIRMED, Direction.DONE})


@dataclass(slots=True, kw_only=True)
class ActiveRestore:
    """A restore under way: its journal, and what is in memory only for the telling.

    Attributes:
        seconds: how long each part of the downtime took, by name.
        stopped_at: monotonic time of the first stop; the downtime counts from it.
        committed: COMMIT is durable; there is no way but forward, or backward through the journal.
        uncertain: COMMIT may be durable or not; nothing may be started.
    """

    facts: RestoreFacts
    journal: Journal
    ctx: OperationContext
    held: Held
    workloads: Mapping[str, Workload]
    containers: tuple[ContainerFacts, ...] = ()
    safety_snapshot_id: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    stopped_at: float | None = None
    committed: bool = False
    uncertain: bool = False

    @property
    def workload(self) -> Workload:
        return self.workloads[self.facts.workload_id]

    @property
    def volumes(self) -> tuple[VolumeFacts, ...]:
        return self.journal.volumes

    @property
    def settled(self) -> bool:
        """Whether the journal says that nothing but tidying up is left."""
        return self.journal.direction in _SETTLED

    async def reopen_journal(self, files: RestoreFiles) -> None:
        """Make sure of what is on disk, also after an append that failed."""
        self.journal = await files.reopen(self.journal.path, instead_of=self.journal)

    async def enter(self, step: RestoreStep) -> None:
        """Tell that a step begins. After COMMIT what can't be told (a full disk) must not decide anything."""
        with suppress(HoldfastError):
            await self.ctx.step(step)

    async def tell(self, warning: str) -> None:
        """Add a warning to the operation's log, if that can be written."""
        with suppress(HoldfastError):
            await self.ctx.log(warning, level="warning")

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Count the time that the block takes to ``part`` of the downtime."""
        before = time.monotonic()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + time.monotonic() - before


class RestoreRun:
    """Carries an active restore to SWAPPED, or back to where it came from."""

    def __init__(
        self,
        *,
        files: RestoreFiles,
        reaper: Reaper,
        preflight: RestorePreflight,
        quiescer: Quiescer,
        runtime: ContainerRuntime,
        snapshot_states: SnapshotStateStore,
        warm_passes_max: int,
    ) -> None:
        self._files = files
        self._reaper = reaper
        self._preflight = preflight
        self._quiescer = quiescer
        self._runtime = runtime
        self._states = snapshot_states
        self._warm_passes_max = warm_passes_max

    async def to_swapped(self, restore: ActiveRestore, plan: RestorePlan, worker: WorkerSession) -> None:
        """Stage, warm, quiesce, safeguard, commit, swap.

        Raises:
            HoldfastError: the restore was aborted; data, containers and policies are as they were. The exception is
                ``Failed`` with ``commit_uncertain``: then the workload stays stopped until a restart decides.
                With ``restore.committed`` set it came after COMMIT, and the caller goes backward.
        """
        try:
            await self._stage(restore, worker)
            await self._warm(restore, worker)
            await self._quiesce(restore)
            await self._safeguard(restore, plan, worker)
            await self._check_again(restore)
        except BaseException as error:
            # The first error is the one that is told; a shutdown's cancellation must not cut the way back off.
            why = error.message if isinstance(error, HoldfastError) else type(error).__name__
            try:
                await asyncio.shield(self.abort(restore, why))
            except HoldfastError as second:
                raise Failed(
                    "restore_abort_incomplete",
                    f"The restore was called off before anything was exchanged ({why}). The data is what it was, but "
                    f"the containers are not all as they were: {second.message}",
                    next_step=f"{second.next_step} Then `holdfast workload start {restore.facts.workload_name}`.",
                    details={"cause": error.code if isinstance(error, HoldfastError) else "", "then": second.code},
                ) from error
            raise
        await self._commit(restore)
        await self._swap(restore)

    async def _stage(self, restore: ActiveRestore, worker: WorkerSession) -> None:
        await restore.ctx.step(RestoreStep.STAGING)
        staged = await worker.run(
            StageRequest(snapshot_id=restore.facts.snapshot_id, volumes=restore.facts.volumes),
        )
        for index, written in sorted(staged.written.items()):
            for name in written.not_taken:
                await restore.ctx.log(f"volume {index}: not taken: {name}", level="warning")
        await self._files.append(restore.journal, StagedRecord(staged=staged.identities))

    async def _warm(self, restore: ActiveRestore, worker: WorkerSession) -> None:
        await restore.ctx.step(RestoreStep.WARMING)
        for _ in range(self._warm_passes_max):
            result = await worker.run(
                WarmRequest(workload_id=restore.facts.workload_id, sources=_sources(restore.facts)),
            )
            if not result.useful:
                return

    async def _quiesce(self, restore: ActiveRestore) -> None:
        ctx = restore.ctx
        await ctx.step(RestoreStep.QUIESCING)
        ctx.check()
        containers = await self._quiescer.survey(restore.facts.lock_ids)
        await self._files.append(restore.journal, PreparedRecord(containers=containers))
        restore.containers = containers
        restore.stopped_at = time.monotonic()
        with restore.timed("stop"):
            graces = {workload.id: workload.spec.stop_grace for workload in restore.workloads.values()}
            clean = await self._quiescer.stop(containers, graces)
        if not clean:
            await ctx.log("a container outlasted its grace and was killed", level="warning")

    async def _safeguard(self, restore: ActiveRestore, plan: RestorePlan, worker: WorkerSession) -> None:
        """I5: pinned before it exists, so that there is no moment in which it could be pruned."""
        ctx = restore.ctx
        await ctx.step(RestoreStep.SAFEGUARDING)
        draft = draft_manifest(
            workload=restore.workload,
            volumes=enumerate(volume.mapped.configured for volume in plan.volumes),
            reason=SnapshotReason.SAFETY,
            consistency=Consistency.STOPPED,
            actor=restore.facts.actor,
            image_id=plan.image_id,
            note=f"before restoring {restore.facts.snapshot_id}",
        )
        with restore.timed("safety"):
            await self._states.pin_safety(draft.id, restore.facts.workload_id, restore.facts.operation_id)
            manifest: SnapshotManifest = await worker.run(CaptureRequest(draft=draft, sources=_sources(restore.facts)))
            restore.safety_snapshot_id = manifest.id
            await self._files.append(restore.journal, SafeRecord(snapshot_id=manifest.id))
        await ctx.log(f"safety snapshot {manifest.id}: {manifest.files} files, {manifest.bytes} bytes")

    async def _check_again(self, restore: ActiveRestore) -> None:
        ctx = restore.ctx
        await ctx.step(RestoreStep.COMMITTING)
        with restore.timed("recheck"):
            await self._preflight.recheck([v.live for v in restore.volumes], restore.facts.lock_ids)
            found = await self._files.observe(restore.volumes)
            moved = [
                _moved(volume, seen)
                for volume in restore.volumes
                if ((seen := found[volume.index]).live, seen.staged) != (TreeSide.OLD, TreeSide.NEW)
            ]
            if moved:
                raise Refused(moved)
            info = await self._runtime.info()
            if not await self._files.flush_engine_state(info.root_dir):
                await ctx.log(f"the engine's directory {info.root_dir} can't be flushed from here", level="warning")
        ctx.check()
        ctx.point_of_no_return()

    async def _commit(self, restore: ActiveRestore) -> None:
        """From a durable COMMIT on, recovery goes forward. A COMMIT that may be there or not starts nothing."""
        try:
            with restore.timed("swap"):
                await self._files.append(restore.journal, CommitRecord())
        except HoldfastError as error:
            restore.uncertain = True
            try:
                await restore.reopen_journal(self._files)
                await self._files.append(restore.journal, AbortedRecord(why=error.message))
            except HoldfastError as again:
                raise Failed(
                    COMMIT_UNCERTAIN,
                    "The decision to commit could not be written down, nor that it was called off. Nothing was "
                    "exchanged. The workload stays stopped, because only the journal may say which data is right.",
                    next_step="Mend the disk that holds Holdfast's data directory, then restart Holdfast: it decides.",
                    details={"restore_id": restore.facts.restore_id},
                ) from again
            restore.uncertain = False
            await self._release(restore)
            raise
        restore.committed = True

    async def _swap(self, restore: ActiveRestore) -> None:
        await restore.enter(RestoreStep.SWAPPING)
        with restore.timed("swap"):
            await self._files.exchange_all(restore.volumes, TreeSide.NEW)
            await self._files.append(restore.journal, SwappedRecord())

    async def abort(self, restore: ActiveRestore, why: str) -> None:
        """Leave live data as it is, containers as they were, and no trace beside them. Also what recovery does.

        Before COMMIT a journal that can't be written keeps nobody from starting again: whatever it says, recovery
        aborts.
        """
        try:
            if restore.journal.records[-1].type is not RecordType.ABORTED:
                await restore.reopen_journal(self._files)
                await self._files.append(restore.journal, AbortedRecord(why=why))
        except HoldfastError as error:
            await restore.tell(f"called off, though that could not be written down: {error.message}")
        await self._release(restore)

    async def _release(self, restore: ActiveRestore) -> None:
        """Containers first: the service is down. Waits for the engine, since half-released is what nobody expects."""
        gone = await until_engine_answers(restore.ctx, lambda: self._quiescer.let_go(restore.containers))
        for name in gone:
            await restore.tell(f"the container {name} is gone and was not started again")
        if restore.settled:
            try:
                await self._reaper.reap(restore.journal)
            except HoldfastError as error:
                await restore.tell(f"what was staged is removed at the next start: {error.message}")


def _moved(volume: VolumeFacts, seen: Observation) -> Problem:
    return Problem(
        code="volume_moved",
        message=f"The directories of {volume.target} changed under the restore: at {volume.live.path} is the "
        f"{seen.live} tree, beside it the {seen.staged} one. {seen.detail}".rstrip(),
        next_step="Find out who moves directories there. Nothing was exchanged; start the restore again.",
        details={"target": volume.target, "path": volume.live.path},
    )


def _sources(facts: RestoreFacts) -> tuple[CaptureSource, ...]:
    """The live directories, numbered anew: what is restored may be a part of a snapshot, what is captured is whole."""
    return tuple(
        CaptureSource(index=index, live=volume.live, expected=volume.live_identity)
        for index, volume in enumerate(facts.volumes)
    )
