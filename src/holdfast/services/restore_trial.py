"""The second half of a restore: the restored data on trial, confirmed or taken back, and the tidying up.

Enters with every volume exchanged and SWAPPED durable, freshly or after a crash; the journal alone says how far it got.

- Trial instances run with restart policy ``no`` until CONFIRMED, so that nothing brings them back that no one watches.
- Backward: containers stopped, BACKWARD durable, exchanged back by identity, REVERTED durable, and only then anything
  is started. If the way back fails, the workload stays stopped and a person decides, told what is where (I10).
- Reaping runs in the background; its failure never fails a restore and blocks nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final, cast

import structlog

from holdfast.domain import times
from holdfast.domain.deploy_plan import instance_count
from holdfast.domain.deployment import DeployReason
from holdfast.domain.errors import Cancelled, Damaged, Failed, HoldfastError, NotFound, Unavailable
from holdfast.domain.recovery import Direction, what_is_where
from holdfast.domain.restore import (
    ContainerFacts,
    LiveBefore,
    OnUnhealthy,
    Redeploy,
    RestoreResult,
    RestoreStep,
    TreeSide,
)
from holdfast.domain.restore_records import BackwardRecord, ConfirmedRecord, Record, RevertedRecord, TrialRecord
from holdfast.domain.told import TextOrTold, Told, told
from holdfast.domain.workload import WorkloadSpec
from holdfast.engine.journal import Journal
from holdfast.engine.wrapper_place import staged_path
from holdfast.services.active_restore import ActiveRestore, stays_stopped, take_empty_away
from holdfast.services.deployer import Deployer
from holdfast.services.health_gate import Clock
from holdfast.services.instances import Instances
from holdfast.services.quiesce import Quiescer
from holdfast.services.restore_failures import RedeployFailure
from holdfast.services.restore_files import RestoreFiles
from holdfast.services.restore_registry import DECIDABLE, RestoreRegistry, Undecided
from holdfast.services.retrying import until_database_takes
from holdfast.services.volumes import VolumeResolver

TRIAL_MARGIN = 60.0
"""Seconds that a trial may take beyond its health gate's own deadline: pulling nothing, creating and starting."""

Outcome = dict[str, object]

_STANDS: Final = {
    RestoreResult.RESTORED: told("stands_restored", "The data is restored and the workload runs on it, healthy."),
    RestoreResult.RESTORED_STOPPED: told(
        "stands_stopped", "The data is restored; the workload is stopped, as it was before."
    ),
    RestoreResult.RESTORED_UNHEALTHY: told(
        "stands_unhealthy", "The data is restored and stays; the workload is not healthy on it."
    ),
    RestoreResult.RESTORED_DEPLOY_FAILED: told(
        "stands_not_started", "The data is restored and stays; the workload could not be started."
    ),
}
"""How things are while CONFIRMED can't be written down."""

_NOT_CONFIGURED: Final = told(
    "stands_not_configured",
    "Version and data are those of then; that the configuration is, too, is told as soon as it can be written down.",
)

_NOT_NOTED: Final = told(
    "stands_not_noted",
    "The data is what it was before; which directories hold it is noted as soon as that can be written down.",
)

_RUNS: Final = frozenset({RestoreResult.RESTORED, RestoreResult.RESTORED_UNHEALTHY})
"""Results after which new instances run in place of the old ones."""


class RestoreTrial:
    """Brings a workload up on its restored data, or takes that back."""

    def __init__(
        self,
        *,
        files: RestoreFiles,
        deployer: Deployer,
        quiescer: Quiescer,
        instances: Instances,
        volumes: VolumeResolver,
        registry: RestoreRegistry,
        clock: Clock,
        reap_in_background: Callable[[Journal], object],
    ) -> None:
        self._files = files
        self._deployer = deployer
        self._quiescer = quiescer
        self._instances = instances
        self._volumes = volumes
        self._registry = registry
        self._clock = clock
        self._reap_in_background = reap_in_background
        self._log = structlog.get_logger("restore")

    async def run(self, restore: ActiveRestore) -> Outcome:
        """Redeploy, gate, confirm; or go backward.

        Raises:
            Failed: ``restore_reverted``, ``restore_unhealthy``, ``restore_deploy_failed`` or ``restore_undecided``: the
                message says what state things were left in.
        """
        if restore.journal.direction in (Direction.BACKWARD, Direction.REVERTED):
            # the engine went away in the middle of it
            return await self.backward(restore, told("back_goes_on", "the way back goes on"))
        restore.ctx.on_cancel(restore.ctx.cancelled.set)  # until CONFIRMED, a cancel means backward
        try:
            await self._begin(restore)
            return await self._judged(restore, restore.facts.on_unhealthy)
        except Cancelled:
            return await self.backward(
                restore, told("back_by_cancel", "a person cancelled the restore during its trial")
            )
        except Unavailable:
            raise
        except HoldfastError as error:
            if restore.settled or self._registry.undecided(restore.facts.workload_id) is not None:
                raise  # it says already how things are
            raise await self.leave_undecided(
                restore, told("undecided_trial", "its trial was cut off: {why}", why=Told.of(error))
            ) from error

    async def keep(self, restore: ActiveRestore) -> Outcome:
        """Keep the restored data by a person's decision, whatever its health; what does not run on it yet comes up.

        Until CONFIRMED nothing is decided: whatever cuts this off, the person is asked again.

        Raises:
            Failed: as :meth:`run`, but never backward.
        """
        try:
            await self._begin(restore, by_decision=True)
            return await self._judged(restore, OnUnhealthy.KEEP)
        except Cancelled as cancelled:
            raise await self.leave_undecided(
                restore, told("undecided_keeping", "keeping the restored data was cancelled.")
            ) from cancelled

    async def _begin(self, restore: ActiveRestore, *, by_decision: bool = False) -> None:
        """Write down that the restored data is on trial, and until when.

        Args:
            by_decision: a person decided already: the trial's time counts as over, so that only a person ends it.
        """
        await self._remember(restore, TreeSide.NEW)
        if not restore.facts.redeploys:
            return
        await restore.enter(RestoreStep.REDEPLOYING)
        now = datetime.fromtimestamp(self._clock.time(), UTC)
        if isinstance(last := restore.journal.records[-1], TrialRecord):
            if now > times.parse(last.deadline) and not by_decision:
                raise await self.leave_undecided(
                    restore, told("undecided_time_over", "its trial was interrupted, and its time is over.")
                )
            return
        longest = sum(_longest(workload.spec) for workload in restore.afterwards.values())  # one after the other
        until = now if by_decision else now + timedelta(seconds=longest + TRIAL_MARGIN)
        await self._write(
            restore,
            TrialRecord(deadline=times.rfc3339(until), deployment_id=""),
            told(
                "stands_not_begun",
                "The data is restored; the workload is stopped and starts as soon as that can be written down.",
            ),
        )
        restore.ctx.check()

    async def _judged(self, restore: ActiveRestore, on_unhealthy: OnUnhealthy) -> Outcome:
        """Have what ran before run on the restored data, judge it, and confirm what comes of that."""
        if not restore.facts.redeploys:
            return await self._confirm(restore, RestoreResult.RESTORED_STOPPED)
        failures = await self._redeploy(restore, on_unhealthy)
        if not failures:
            return await self._confirm(restore, RestoreResult.RESTORED)
        failure, *others = failures
        if failure.unhealthy:
            restore.ctx.outcome["instance_logs"] = failure.error.details.get("logs", [])
        if failure.takes_back(on_unhealthy):
            return await self.backward(restore, Told.of(failure.error))
        for also in others:
            await restore.tell(Told.of(also.error))
        await self._confirm(restore, failure.result)
        raise failure.told(restore) from failure.error

    async def _redeploy(self, restore: ActiveRestore, on_unhealthy: OnUnhealthy) -> list[RedeployFailure]:
        """Bring up what ran before, on trial. After a crash, what is on trial already is judged, not made again.

        Returns:
            What failed: only what takes the restore back, or else all, the restored workload first.
        """
        failures: list[RedeployFailure] = []
        for redeploy in restore.facts.redeploys:
            try:
                await self._bring_up(restore, redeploy)
            except (Cancelled, Unavailable):
                raise
            except HoldfastError as error:
                failure = RedeployFailure(redeploy=redeploy, error=error)
                if failure.takes_back(on_unhealthy):
                    return [failure]
                failures.append(failure)  # those that share a volume were stopped too, and come up all the same
        return sorted(failures, key=lambda failure: failure.redeploy.workload_id != restore.facts.workload_id)

    async def _write(self, restore: ActiveRestore, record: Record, meanwhile: Told) -> None:
        try:
            await restore.write(self._files, record, meanwhile)
        except Damaged as damaged:
            raise await self.leave_undecided(restore, Told.of(damaged)) from damaged

    async def _bring_up(self, restore: ActiveRestore, redeploy: Redeploy) -> None:
        """Have one of the locked workloads run on the restored data, and judge it."""
        ctx = restore.ctx
        workload = restore.afterwards[redeploy.workload_id]
        mine = [facts for facts in await self._on_trial(restore) if facts.workload_id == workload.id]
        # what a post_restore hook was at when it was cut off may still go on in them
        if mine and all(facts.running for facts in mine) and not workload.spec.hooks.post_restore:
            await self._deployer.gate_instances(workload, [facts.id for facts in mine], ctx)
            return
        with suppress(Failed, NotFound):  # who doesn't end by TERM ends by the removal, which is not optional
            await self._quiescer.stop(mine, {workload.id: workload.spec.stop_grace})
        for facts in mine:
            await self._instances.remove(facts, force=True)
        version = await self._deployer.version_of(redeploy.image.id, workload)
        await self._deployer.redeploy_locked(
            restore.held,
            workload,
            version,
            ctx,
            trial=True,
            reason=_reason(redeploy),
            snapshot_id=restore.safety_snapshot_id if workload.id == restore.facts.workload_id else None,
        )

    async def _on_trial(self, restore: ActiveRestore) -> list[ContainerFacts]:
        """The containers that this restore made: those that were not there when it began."""
        before = {facts.id for facts in restore.containers}
        return [f for f in await self._quiescer.survey(restore.facts.lock_ids) if f.id not in before]

    async def _replaced(self, restore: ActiveRestore, result: RestoreResult) -> list[str]:
        """The workloads that have new instances in place of the old ones; the others keep those that they had."""
        made = await self._on_trial(restore)
        there = {facts.workload_id for facts in made if facts.running or result in _RUNS}
        return sorted(there & {redeploy.workload_id for redeploy in restore.facts.redeploys})

    async def _confirm(self, restore: ActiveRestore, result: RestoreResult) -> Outcome:
        """Policies as configured, CONFIRMED durable, and from then on the displaced trees are only to be removed.

        Raises:
            Cancelled: a person was faster.
        """
        restore.ctx.point_of_no_return()
        await restore.enter(RestoreStep.CONFIRMING)
        if restore.facts.redeploys:
            for workload_id in await self._replaced(restore, result):
                await self._deployer.confirm_trial(restore.held, restore.afterwards[workload_id])
        redeployed = {redeploy.workload_id for redeploy in restore.facts.redeploys}
        await self._quiescer.let_go(f for f in restore.containers if f.workload_id not in redeployed)
        await self._write(restore, ConfirmedRecord(result=result), _STANDS[result])
        self._registry.decided(restore.facts.lock_ids)
        self._tell(restore, result)
        return await self.settle_confirmed(restore)

    async def backward(self, restore: ActiveRestore, why: TextOrTold) -> Outcome:
        """Take the restored data back: exactly the trees from before are live again, and what ran on them runs.

        Raises:
            Failed: always; ``restore_reverted`` when all is as it was before, ``restore_reverted_unhealthy`` when the
                old version isn't healthy any more, ``restore_undecided`` when the way back failed.
        """
        ctx = restore.ctx
        ctx.on_cancel(None)
        if restore.journal.direction is Direction.REVERTED:
            return await self.settle_reverted(restore, _why_back(restore, str(why)))
        await restore.tell(told("going_back", "going back to the data from before: {why}", why=why))
        try:
            await self.stop_everything(restore)
            await restore.reopen_journal(self._files)
            if restore.journal.direction is not Direction.BACKWARD:
                ran = restore.journal.direction is Direction.TRIAL_PENDING
                children = await self._files.list_to_go_back(restore.volumes, restore.safety_snapshot_id) if ran else {}
                await self._files.append(restore.journal, BackwardRecord(why=str(why), children=children))
            await self._files.exchange_all(restore.volumes, TreeSide.OLD)
            await self._files.append(restore.journal, RevertedRecord())
        except Unavailable:
            raise
        except HoldfastError as error:
            raise await self.leave_undecided(
                restore, told("undecided_going_back", "going back failed: {why}", why=Told.of(error))
            ) from error
        return await self.settle_reverted(restore, _why_back(restore, str(why)))

    async def settle_reverted(self, restore: ActiveRestore, why: str) -> Outcome:
        """REVERTED is durable: start what ran before on the data from before, and say how that went.

        Raises:
            Failed: always; see :meth:`backward`.
        """
        self._registry.decided(restore.facts.lock_ids)
        down = ""
        try:
            healthy, left = await self.resume_old(restore)
        except Unavailable:
            raise
        except HoldfastError as error:
            healthy, left, down = False, (), f"What ran on it could not be brought back: {error.message}"
            await restore.tell(told("not_tidied_up", "not tidied up yet: {why}", why=Told.of(error)))
        # Only then: a full database must not keep down what ran. Without it nothing would be restored here again.
        await until_database_takes(restore.ctx, lambda: self._remember(restore, TreeSide.OLD), meanwhile=_NOT_NOTED)
        kept = [staged_path(volume) for volume in restore.volumes]
        result = RestoreResult.REVERTED if healthy else RestoreResult.REVERTED_UNHEALTHY
        self._tell(restore, result)
        restore.ctx.outcome["kept_trees"] = kept
        now = "The data is what it was before, and the workload runs on it."
        if not any(facts.running for facts in restore.containers):
            now = "The data is what it was before, and nothing runs on it, as before."
        elif not healthy:
            now = "The data is what it was before, but the workload is not healthy on it either."
        if left:
            now = str(stays_stopped(restore, left))
        if down:
            now = f"The data is what it was before. {down} Then `holdfast workload start {restore.workload.name}`."
        raise Failed(
            "restore_reverted" if healthy else "restore_reverted_unhealthy",
            f"The restore was taken back ({why}). {now}",
            next_step="Look at the failed instance's log in this operation. The tree that failed is kept until it is "
            f"released: `holdfast restore-decision {restore.facts.workload_name} release`.",
            details={"result": result, "kept_trees": kept},
        )

    async def settle_confirmed(self, restore: ActiveRestore) -> Outcome:
        """CONFIRMED is durable: what is left is the telling, and the removal of what was displaced."""
        confirmed = next(r for r in restore.journal.records if isinstance(r, ConfirmedRecord))
        await self._adopt(restore)
        restore.ctx.outcome["result"] = confirmed.result
        restore.ctx.outcome["safety_snapshot_id"] = restore.safety_snapshot_id
        with suppress(HoldfastError):  # status says it as well
            returned = await self._deployer.returned_image(restore.workload)
            restore.ctx.outcome["image_note"] = returned.words if returned else None
        try:
            await self._forget_old(restore, confirmed.result)
        except HoldfastError as error:  # what is left over is reaped by the next deployment
            await restore.tell(told("not_tidied_up", "not tidied up yet: {why}", why=Told.of(error)))
        # The journal is what the next start goes by, as long as the operation's end isn't on disk.
        restore.ctx.afterwards.append(lambda: self._reap_in_background(restore.journal))
        return restore.ctx.outcome

    async def _adopt(self, restore: ActiveRestore) -> None:
        """The configuration goes with the data: only now that it is decided which data stays, and before it is told."""
        redeploy = restore.facts.redeploy
        if redeploy is not None and redeploy.adopt:
            after = restore.afterwards[redeploy.workload_id]
            await until_database_takes(
                restore.ctx,
                lambda: self._deployer.adopt(restore.held, after, restore.facts.actor),
                meanwhile=_NOT_CONFIGURED,
            )

    async def _forget_old(self, restore: ActiveRestore, result: RestoreResult) -> None:
        """Remove the containers that ran on the displaced data, and note what the volumes hold from now on."""
        if restore.facts.redeploys:
            replaced = await self._replaced(restore, result)
            for facts in restore.containers:
                if facts.workload_id in replaced:
                    await self._instances.remove(facts)
            for workload_id in replaced:
                await self._volumes.remember(restore.afterwards[workload_id])

    async def resume_old(self, restore: ActiveRestore) -> tuple[bool, tuple[str, ...]]:
        """Start what ran before on the data from before, and see whether it is healthy. Idempotent.

        Returns:
            Whether all that ran is healthy, and the containers that were left stopped for want of data to run on.
        """
        for facts in await self._on_trial(restore):
            try:
                await self._instances.remove(facts, force=True)
            except HoldfastError as error:
                if facts.running or isinstance(error, Unavailable):
                    raise
                # It stands still, and keeps nobody down; the next deployment removes it.
                await restore.tell(told("not_tidied_up", "not tidied up yet: {why}", why=Told.of(error)))
        await take_empty_away(self._files, restore)
        result = await self._quiescer.let_go(restore.containers, not_on=restore.barred)
        for name in result.gone:
            await restore.tell(
                told("container_gone", "the container {container} is gone and was not started again", container=name)
            )
        ran = {facts.workload_id for facts in restore.containers if facts.running and facts.name not in result.left}
        healthy = not result.gone and not result.left
        for workload_id in sorted(ran):
            healthy = await self._deployer.wait_healthy(restore.workloads[workload_id], restore.ctx) and healthy
        return healthy, result.left

    async def leave_undecided(self, restore: ActiveRestore, why: Told) -> Failed:
        """Stop where only a person can say how to go on: both trees kept, the workload stopped."""
        restore.ctx.outcome["result"] = RestoreResult.NEEDS_DECISION
        found = what_is_where(await self._files.observe(restore.volumes))
        possible = DECIDABLE.get(restore.journal.direction, ())
        if possible:
            waits = told(
                "undecided",
                "{why} Both trees are kept. {found}",
                "Decide with `holdfast restore-decision {workload} {choices}`.",
                why=why,
                found=found,
                workload=restore.workload.name,
                choices="|".join(possible),
            )
        else:
            waits = told(
                "undecided_until_mended",
                "{why} Both trees are kept. {found}",
                "Mend what is named, then restart Holdfast: it finishes the restore by its journal.",
                why=why,
                found=found,
            )
        self._registry.set_undecided(
            Undecided(
                restore_id=restore.facts.restore_id,
                workload_ids=restore.facts.lock_ids,
                told=waits,
                choices=possible,
            )
        )
        await restore.tell(waits)
        return Failed(
            "restore_undecided",
            f"The restore could not be finished: {waits}",
            next_step=waits.next_step,
            details={"restore_id": restore.facts.restore_id},
        )

    async def stop_everything(self, restore: ActiveRestore) -> None:
        """Stop every container of the locked workloads, disarmed, so that nothing has the trees mounted."""
        running = await self._quiescer.survey(restore.facts.lock_ids)
        graces = {workload.id: workload.spec.stop_grace for workload in restore.workloads.values()}
        await restore.tell_unclean(await self._quiescer.stop(running, graces))

    async def _remember(self, restore: ActiveRestore, side: TreeSide) -> None:
        """What deploy and start expect to find at the live paths from now on.

        On the way back what they expected before: nobody has accepted that a directory is missing, or another one.
        """
        for volume in restore.volumes:
            if side is TreeSide.OLD and volume.before is not LiveBefore.AS_SEEN:
                continue
            identity = volume.identity_of(side)
            if identity is not None:
                for workload_id in restore.facts.lock_ids:
                    await self._volumes.remember_identity(workload_id, volume.live.path, identity)

    def _tell(self, restore: ActiveRestore, result: RestoreResult) -> Outcome:
        outcome = restore.ctx.outcome
        outcome["result"] = result
        outcome["safety_snapshot_id"] = restore.safety_snapshot_id
        if restore.stopped_at is not None:
            whole = time.monotonic() - restore.stopped_at
            trial = cast("dict[str, float]", outcome.get("seconds", {}))
            parts = {part: round(seconds, 3) for part, seconds in restore.seconds.items()} | trial
            # What is in no part: the operation's own record, identities remembered, waiting for the engine.
            parts["other"] = round(max(0.0, whole - sum(s for part, s in parts.items() if part != "other")), 3)
            outcome["downtime_seconds"] = round(whole, 3)
            outcome["seconds"] = parts
        return outcome


def _reason(redeploy: Redeploy) -> DeployReason:
    """Whether somebody asked for the version that runs on the restored data, or it only runs again."""
    if redeploy.first:
        return DeployReason.DEPLOY
    return DeployReason.ROLLBACK if redeploy.adopt else DeployReason.RESTORE


def _longest(spec: WorkloadSpec) -> float:
    """Seconds that a workload may take until it is judged."""
    hooks = spec.hooks
    return spec.health.deadline + (hooks.timeout * instance_count(spec) if hooks.post_restore else 0.0)


def _why_back(restore: ActiveRestore, why: str) -> str:
    """Why the restore goes back: as its journal says, so that it is told the same however often it had to go on."""
    return next((record.why for record in restore.journal.records if isinstance(record, BackwardRecord)), why)
