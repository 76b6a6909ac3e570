"""A restore under way: its journal, and what is in memory only for the telling."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from holdfast.domain.errors import Failed, HoldfastError
from holdfast.domain.recovery import Direction
from holdfast.domain.restore import Children, ContainerFacts, LiveBefore, RestoreFacts, RestoreStep, VolumeFacts
from holdfast.domain.restore_records import Record
from holdfast.domain.stopping import UncleanStop
from holdfast.domain.told import TextOrTold, Told, told
from holdfast.domain.workload import Workload
from holdfast.engine.journal import Journal
from holdfast.services.locks import Held
from holdfast.services.operations import OperationContext
from holdfast.services.restore_files import RestoreFiles
from holdfast.services.restore_plan import told_of_clone
from holdfast.services.retrying import until_journal_takes
from holdfast.services.unclean_stops import outcome_of, tell_unclean_stops

_MEND_DISK: Final = told(
    "restore_goes_on", "Mend the disk that holds Holdfast's data directory; the restore then goes on by itself."
)

_SETTLED: Final = frozenset({Direction.ABORTED, Direction.REVERTED, Direction.CONFIRMED, Direction.DONE})


@dataclass(slots=True, kw_only=True)
class ActiveRestore:
    """A restore under way: its journal, and what is in memory only for the telling.

    Attributes:
        workloads: those that are locked, as they are configured now.
        afterwards: those that run again once the data is in place, as they are configured then.
        seconds: how long each part of the downtime took, by name.
        stopped_at: monotonic time of the first stop; the downtime counts from it.
        unclean_stops: what did not end well when it was stopped for the safety snapshot.
        children: what there is to swap, of volumes where that is done name by name; as COMMIT says it.
        committed: COMMIT is durable; there is no way but forward, or backward through the journal.
    """

    facts: RestoreFacts
    journal: Journal
    ctx: OperationContext
    held: Held
    workloads: Mapping[str, Workload]
    afterwards: Mapping[str, Workload]
    containers: tuple[ContainerFacts, ...] = ()
    children: dict[int, Children] = field(default_factory=dict)
    safety_snapshot_id: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    stopped_at: float | None = None
    unclean_stops: tuple[UncleanStop, ...] = ()
    committed: bool = False

    @property
    def workload(self) -> Workload:
        return self.workloads[self.facts.workload_id]

    @property
    def volumes(self) -> tuple[VolumeFacts, ...]:
        return self.journal.volumes

    @property
    def told(self) -> dict[str, object]:
        """What the operation's outcome says of the restore from its beginning on, and after an interruption again."""
        facts, before, after = self.facts, self.facts.image_before, self.facts.image
        return told_of_clone(facts.cloned_from, facts.workload_name) | {
            "restore_id": facts.restore_id,
            "snapshot_id": facts.snapshot_id,
            "volumes": [volume.target for volume in facts.volumes],
            "swaps": {volume.target: volume.way for volume in facts.volumes},
            **({"paths": list(facts.paths)} if facts.paths else {}),
            "with_image": facts.with_image,
            **_rolled_back(facts),
            "image_before": before.reference if before else None,
            "image_before_id": before.id if before else None,
            "image": after.reference if after else None,
            "image_id": after.id if after else None,
            **outcome_of(self.unclean_stops),
        }

    @property
    def missing(self) -> tuple[VolumeFacts, ...]:
        """The volumes of which nothing was there when the restore began."""
        return tuple(volume for volume in self.volumes if volume.before is LiveBefore.MISSING)

    @property
    def barred(self) -> tuple[str, ...]:
        """Live paths on which nothing is started unless the restore puts its data there.

        Nothing is at them, or another directory than the workload ran on: it must not begin anew there by itself.
        """
        return tuple(volume.live.path for volume in self.volumes if volume.before is not LiveBefore.AS_SEEN)

    @property
    def settled(self) -> bool:
        """Whether the journal says that nothing but tidying up is left."""
        return self.journal.direction in _SETTLED

    async def reopen_journal(self, files: RestoreFiles) -> None:
        """Make sure of what is on disk, also after an append that failed."""
        self.journal = await files.reopen(self.journal.path, instead_of=self.journal)

    async def write(self, files: RestoreFiles, record: Record, meanwhile: Told) -> None:
        """Append a record, durably. A disk that does not take it is waited for: a restart could do no more.

        Only where nothing else has to be decided. Each attempt opens the journal again, which writes anew and flushes
        all that it says: nothing that failed is merely flushed a second time.

        Args:
            meanwhile: how things are until it is written, in sentences.

        Raises:
            Damaged: the journal can't be read any more.
        """

        try:
            await files.append(self.journal, record)
        except Failed as error:
            await self.tell(told("and_meanwhile", "{why} {meanwhile}", why=Told.of(error), meanwhile=meanwhile))
            await self.write_anew(files, record, meanwhile)

    async def write_anew(self, files: RestoreFiles, record: Record, meanwhile: Told) -> None:
        """The same after an append that failed, of this record or of another."""

        async def again() -> None:
            await self.reopen_journal(files)
            if self.journal.records[-1].type is not record.type:
                await files.append(self.journal, record)

        await until_journal_takes(self.ctx, again, meanwhile=[meanwhile, _MEND_DISK])

    async def enter(self, step: RestoreStep) -> None:
        """Tell that a step begins. After COMMIT what can't be told (a full disk) must not decide anything."""
        with suppress(HoldfastError):
            self.ctx.step(step)

    async def tell(self, warning: TextOrTold) -> None:
        """Add a warning to the operation's log, if that can be written."""
        with suppress(HoldfastError):
            self.ctx.log(warning, level="warning")

    async def tell_unclean(self, stops: Sequence[UncleanStop]) -> None:
        """Say what did not end well when it was stopped, in the outcome and, if it can be written, in the log."""
        with suppress(HoldfastError):
            await tell_unclean_stops(self.ctx, stops)

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Count the time that the block takes to ``part`` of the downtime."""
        before = time.monotonic()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + time.monotonic() - before


def _rolled_back(facts: RestoreFacts) -> dict[str, object]:
    """Between which deployments a restore moves that brings a version back as well."""
    redeploy = facts.redeploy
    if redeploy is None or not redeploy.adopt:
        return {}
    return {"rolled_back_to": redeploy.as_deployed, "rolled_back_from": facts.deployment_before}


async def take_empty_away(files: RestoreFiles, restore: ActiveRestore) -> None:
    """Leave nothing at the live paths where nothing was, before anything is started again. Failures are told."""
    try:
        kept = await files.remove_empty(restore.missing)
    except HoldfastError as error:
        await restore.tell(
            told(
                "stand_in_left",
                "what stood in for a missing directory is still there: {why}",
                why=Told.of(error),
            )
        )
        return
    for path in kept:
        await restore.tell(
            told(
                "made_directory_stays",
                "{path} was made by the restore and stays, since somebody has put something in it",
                path=path,
            )
        )


def abort_incomplete(restore: ActiveRestore, error: HoldfastError, why: str, cause: str) -> Failed:
    """What a restore ends with that was called off, and then ``error`` kept the containers from being as before."""
    return Failed(
        "restore_abort_incomplete",
        f"The restore was called off before anything was exchanged ({why}). The data is what it was, but the "
        f"containers are not all as they were: {error.message}",
        next_step=f"{error.next_step} Then `holdfast workload start {restore.facts.workload_name}`.",
        details={"cause": cause, "then": error.code},
    )


def left_stopped(restore: ActiveRestore, names: Sequence[str], why: str, cause: str) -> Failed:
    """What a restore ends with that was called off and could not start again what ran before."""
    return Failed(
        "restore_left_stopped",
        f"The restore was called off before anything was exchanged ({why}). {stays_stopped(restore, names)}",
        next_step="Mend the cause, then restore again.",
        details={"cause": cause, "left_stopped": list(names), "paths": list(restore.barred)},
    )


def stays_stopped(restore: ActiveRestore, names: Sequence[str]) -> Told:
    """Why containers that ran were not started again, for people."""
    return told(
        "stands_stopped_on_nothing",
        "The data is what it was, and {containers} stays stopped: {found}. Nothing is started on that.",
        containers=names,
        found=[_not_as_seen(volume) for volume in restore.volumes if volume.before is not LiveBefore.AS_SEEN],
    )


def _not_as_seen(volume: VolumeFacts) -> Told:
    path = volume.live.path
    if volume.before is LiveBefore.MISSING:
        return told("path_was_missing", "{path} is missing, as it was before", path=path)
    return told("path_was_other", "{path} is another directory than the one last seen, as it was before", path=path)
