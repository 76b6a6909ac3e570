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
from collections.abc import Sequence
from typing import Final

from holdfast.domain.errors import Failed, HoldfastError, Problem, Refused
from holdfast.domain.recovery import Observation
from holdfast.domain.restore import (
    RecordType,
    RestoreFacts,
    RestoreStep,
    TreeSide,
    VolumeFacts,
)
from holdfast.domain.restore_records import (
    AbortedRecord,
    CommitRecord,
    MadeRecord,
    PreparedRecord,
    SafeRecord,
    StagedRecord,
    SwappedRecord,
)
from holdfast.domain.snapshot import Consistency, SnapshotManifest, SnapshotReason
from holdfast.domain.told import Told, told
from holdfast.engine.requests import CaptureRequest, CheckWrappedRequest, StageRequest, WarmRequest
from holdfast.engine.snapshot_store import CaptureSource
from holdfast.runtime.port import ContainerRuntime
from holdfast.services.active_restore import (
    ActiveRestore,
    abort_incomplete,
    left_stopped,
    stays_stopped,
    take_empty_away,
)
from holdfast.services.quiesce import Quiescer
from holdfast.services.reaper import Reaper
from holdfast.services.restore_files import RestoreFiles
from holdfast.services.restore_parts import PartsRun
from holdfast.services.restore_plan import RestorePlan
from holdfast.services.restore_preflight import RestorePreflight
from holdfast.services.retrying import until_engine_answers
from holdfast.services.snapshot_drafts import draft_manifest
from holdfast.services.traffic import Traffic
from holdfast.services.workers import WorkerSession
from holdfast.store.snapshots import SnapshotStateStore

COMMIT_UNCERTAIN: Final = "commit_uncertain"
"""The code of a restore that starts nothing, because COMMIT may be on disk or not."""
ABORT_UNCERTAIN: Final = "abort_uncertain"
"""That of one that was called off, though its journal can't say so."""
_CALLED_OFF: Final = told(
    "stands_called_off", "The restore was called off before anything was exchanged, and what ran before runs."
)
_NEITHER: Final = told(
    "stands_undecided",
    "Nothing was exchanged. The workload stays stopped until it can be written down that the restore is called off.",
)


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
        traffic: Traffic,
        warm_passes_max: int,
    ) -> None:
        self._files = files
        self._reaper = reaper
        self._preflight = preflight
        self._quiescer = quiescer
        self._runtime = runtime
        self._states = snapshot_states
        self._traffic = traffic
        self._warm_passes_max = warm_passes_max

    async def to_swapped(self, restore: ActiveRestore, plan: RestorePlan, worker: WorkerSession) -> None:
        """Stage, warm, quiesce, safeguard, catch up where only chosen paths are restored, commit, swap.

        Raises:
            HoldfastError: the restore was aborted; data, containers and policies are as they were. The exception is
                ``Failed`` with ``commit_uncertain``, where the journal is damaged: then the workload stays stopped
                until a restart decides.
                With ``restore.committed`` set it came after COMMIT, and the caller goes backward.
        """
        parts = PartsRun(plan, worker) if plan.in_parts else None
        try:
            await self._stage(restore, plan, worker, parts)
            await self._warm(restore, worker, parts)
            await self._quiesce(restore)
            await self._make_missing(restore)
            await self._safeguard(restore, plan, worker)
            if parts is not None:
                await parts.catch_up_with_the_stop(restore)
            await self._check_staged(restore, plan, worker)
            await self._check_again(restore)
        except BaseException as error:
            # The first error is the one that is told; a shutdown's cancellation must not cut the way back off.
            why = error.message if isinstance(error, HoldfastError) else type(error).__name__
            cause = error.code if isinstance(error, HoldfastError) else ""
            try:
                left = await asyncio.shield(self.abort(restore, why))
            except HoldfastError as second:
                raise abort_incomplete(restore, second, why, cause) from error
            if isinstance(error, HoldfastError):  # a shutdown waits for no disk; the next start does this, too
                await self._settle(restore, why, left)
            if left and cause:
                raise left_stopped(restore, left, why, cause) from error
            raise
        await self._commit(restore)
        await self._swap(restore)

    async def _stage(
        self, restore: ActiveRestore, plan: RestorePlan, worker: WorkerSession, parts: PartsRun | None
    ) -> None:
        restore.ctx.step(RestoreStep.STAGING)
        if parts is None:
            staged = await worker.run(
                StageRequest(snapshot_id=restore.facts.snapshot_id, volumes=restore.facts.volumes, second=plan.second),
            )
        else:
            staged = await parts.stage(restore)
        for index, written in sorted(staged.written.items()):
            for name in written.not_taken:
                restore.ctx.log(
                    told("name_not_taken", "volume {volume}: not taken: {name}", volume=index, name=name),
                    level="warning",
                )
        await self._files.append(
            restore.journal, StagedRecord(staged=staged.identities, parents=staged.parents, wrappers=staged.wrappers)
        )

    async def _warm(self, restore: ActiveRestore, worker: WorkerSession, parts: PartsRun | None) -> None:
        restore.ctx.step(RestoreStep.WARMING)
        for _ in range(self._warm_passes_max):
            if parts is not None:
                useful = await parts.catch_up(restore)
            else:
                request = WarmRequest(workload_id=restore.facts.workload_id, sources=_sources(restore.volumes))
                useful = (await worker.run(request)).useful
            if not useful:
                break
        try:
            info = await self._runtime.info()
        except HoldfastError:
            return  # nothing depends on it yet
        # What is written back now, while the service runs, need not be when it is down.
        await self._files.flush_engine_state(info.root_dir)

    async def _quiesce(self, restore: ActiveRestore) -> None:
        ctx = restore.ctx
        ctx.step(RestoreStep.QUIESCING)
        ctx.check()
        containers = await self._quiescer.survey(restore.facts.lock_ids)
        await self._files.append(restore.journal, PreparedRecord(containers=containers))
        restore.containers = containers
        await self._traffic.close(restore.facts.lock_ids)
        restore.stopped_at = time.monotonic()
        with restore.timed("stop"):
            graces = {workload.id: workload.spec.stop_grace for workload in restore.workloads.values()}
            restore.unclean_stops = await self._quiescer.stop(containers, graces)
        await restore.tell_unclean(restore.unclean_stops)

    async def _make_missing(self, restore: ActiveRestore) -> None:
        """Have an empty directory where one is missing, as late as can be: no container could be started on it (I4)."""
        if restore.missing:
            made = await self._files.make_empty(restore.missing)
            await self._files.append(restore.journal, MadeRecord(made=made))
            await self._files.place_empty(restore.missing)

    async def _safeguard(self, restore: ActiveRestore, plan: RestorePlan, worker: WorkerSession) -> None:
        """I5: pinned before it exists, so that there is no moment in which it could be pruned."""
        ctx = restore.ctx
        ctx.step(RestoreStep.SAFEGUARDING)
        draft = draft_manifest(
            workload=restore.workload,
            volumes=enumerate(volume.mapped.configured for volume in plan.volumes),
            reason=SnapshotReason.SAFETY,
            consistency=Consistency.STOPPED,
            actor=restore.facts.actor,
            ran=plan.images.before,
            note=_before(restore.facts),
            stops=restore.unclean_stops if any(c.running for c in restore.containers) else None,
        )
        with restore.timed("safety"):
            await self._states.pin_safety(draft.id, restore.facts.workload_id, restore.facts.operation_id)
            manifest: SnapshotManifest = await worker.run(
                CaptureRequest(draft=draft, sources=_sources(restore.volumes))
            )
            restore.safety_snapshot_id = manifest.id
            await self._files.append(
                restore.journal, SafeRecord(snapshot_id=manifest.id, unclean_stops=restore.unclean_stops)
            )
        ctx.log(
            told(
                "safety_snapshot_taken",
                "safety snapshot {snapshot}: {count} files, {bytes}",
                snapshot=manifest.id,
                count=manifest.files,
                bytes=manifest.bytes,
            )
        )

    async def _check_staged(self, restore: ActiveRestore, plan: RestorePlan, worker: WorkerSession) -> None:
        """See that nobody has changed what lay where containers could write, now that none runs (I3)."""
        inside = {volume.index: volume for volume in restore.volumes if volume.way.inside}
        if not inside:
            return
        restore.ctx.step(RestoreStep.COMPARING)
        with restore.timed("compare"):
            await worker.run(
                CheckWrappedRequest(
                    snapshot_id=restore.facts.snapshot_id, volumes=inside, side=TreeSide.NEW, second=plan.second
                )
            )

    async def _check_again(self, restore: ActiveRestore) -> None:
        ctx = restore.ctx
        ctx.step(RestoreStep.COMMITTING)
        with restore.timed("recheck"):
            await self._preflight.recheck(restore.volumes, restore.facts.lock_ids)
            found = await self._files.observe(restore.volumes)
            moved = [
                _moved(volume, seen)
                for volume in restore.volumes
                if ((seen := found[volume.index]).live, seen.staged) != (TreeSide.OLD, TreeSide.NEW)
            ]
            if moved:
                raise Refused(moved)
            restore.children = await self._files.list_children(restore.volumes)
            info = await self._runtime.info()
            if not await self._files.flush_engine_state(info.root_dir):
                ctx.log(
                    told(
                        "engine_not_flushed",
                        "the engine's directory {path} can't be flushed from here",
                        path=info.root_dir,
                    ),
                    level="warning",
                )
        ctx.check()
        ctx.point_of_no_return()

    async def _commit(self, restore: ActiveRestore) -> None:
        """From a durable COMMIT on, recovery goes forward. A COMMIT that may be there or not starts nothing.

        It is called off as soon as the disk takes that, which is waited for: until then only a restart could decide.
        """
        try:
            with restore.timed("swap"):
                await self._files.append(restore.journal, CommitRecord(children=restore.children))
        except HoldfastError as error:
            try:
                await restore.write_anew(self._files, AbortedRecord(why=error.message), _NEITHER)
            except HoldfastError as again:
                raise Failed(
                    COMMIT_UNCERTAIN,
                    "The decision to commit could not be written down, nor that it was called off. Nothing was "
                    "exchanged. The workload stays stopped, because only the journal may say which data is right.",
                    next_step="Mend the disk that holds Holdfast's data directory, then restart Holdfast: it decides.",
                    details={"restore_id": restore.facts.restore_id},
                ) from again
            left = await self._release(restore)
            if left:
                raise left_stopped(restore, left, error.message, error.code) from error
            raise
        restore.committed = True

    async def _swap(self, restore: ActiveRestore) -> None:
        await restore.enter(RestoreStep.SWAPPING)
        with restore.timed("swap"):
            await self._files.exchange_all(restore.volumes, TreeSide.NEW)
            await self._files.append(restore.journal, SwappedRecord())

    async def abort(self, restore: ActiveRestore, why: str) -> tuple[str, ...]:
        """Leave live data as it is, containers as they were, and no trace beside them. Also what recovery does.

        Before COMMIT a journal that can't be written keeps nobody from starting again: whatever it says, recovery
        aborts. The caller sees to it that it is written after all.

        Returns:
            The containers that ran and were left stopped, since what they ran on is not there.
        """
        try:
            if restore.journal.records[-1].type is not RecordType.ABORTED:
                await restore.reopen_journal(self._files)
                await self._files.append(restore.journal, AbortedRecord(why=why))
        except HoldfastError as error:
            await restore.tell(
                told(
                    "called_off_unwritten",
                    "called off, though that could not be written down: {why}",
                    why=Told.of(error),
                )
            )
        return await self._release(restore)

    async def _release(self, restore: ActiveRestore) -> tuple[str, ...]:
        """Containers first: the service is down. Waits for the engine, since half-released is what nobody expects."""
        await take_empty_away(self._files, restore)
        result = await until_engine_answers(
            restore.ctx, lambda: self._quiescer.let_go(restore.containers, not_on=restore.barred)
        )
        for name in result.gone:
            await restore.tell(
                told("container_gone", "the container {container} is gone and was not started again", container=name)
            )
        if restore.settled:
            await self._reap(restore)
        return result.left

    async def _settle(self, restore: ActiveRestore, why: str, left: Sequence[str]) -> None:
        """Write down that it is called off, where :meth:`abort` could not, as soon as the disk takes it.

        Args:
            left: the containers that stay stopped.

        Raises:
            Failed: ``abort_uncertain``; the journal is damaged, and nothing else touches the workload.
        """
        if restore.settled:
            return
        now = stays_stopped(restore, left) if left else _CALLED_OFF
        try:
            await restore.write_anew(self._files, AbortedRecord(why=why), now)
        except HoldfastError as error:
            raise Failed(
                ABORT_UNCERTAIN,
                f"The restore was called off ({why}), but that can't be written down: {error.message} {now}",
                next_step="Mend the journal, then restart Holdfast; until then nothing else changes the workload.",
                details={"restore_id": restore.facts.restore_id},
            ) from error
        await self._reap(restore)

    async def _reap(self, restore: ActiveRestore) -> None:
        if (left := await self._reaper.reap_or_leave(restore.journal)) is not None:
            await restore.tell(
                told("staged_stays", "what was staged can't be removed yet: {why} It is tried again.", why=left.why)
            )


def _before(facts: RestoreFacts) -> str:
    if facts.cloned_from is None:
        return f"before restoring {facts.snapshot_id}"
    return f"before cloning {facts.snapshot_id} of {facts.cloned_from.workload_name}"


def _moved(volume: VolumeFacts, seen: Observation) -> Problem:
    return Problem(
        code="volume_moved",
        message=f"The directories of {volume.target} changed under the restore: at {volume.live.path} is the "
        f"{seen.live} tree, beside it the {seen.staged} one. {seen.detail}".rstrip(),
        next_step="Find out who moves directories there. Nothing was exchanged; start the restore again.",
        details={"target": volume.target, "path": volume.live.path},
    )


def _sources(volumes: Sequence[VolumeFacts]) -> tuple[CaptureSource, ...]:
    """The live directories, numbered anew: what is restored may be a part of a snapshot, what is captured is whole.

    Without those that are missing: there is nothing to read ahead, and by the time of the capture they are made.
    """
    there = [volume for volume in volumes if volume.live_identity is not None]
    return tuple(
        CaptureSource(index=index, live=volume.live, expected=volume.live_identity)
        for index, volume in enumerate(there)
    )
