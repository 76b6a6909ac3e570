"""Recovery decides: what a restore's journal and the directories found on disk mean together.

Pure rules; :mod:`holdfast.engine.journal` reads and writes the records, :mod:`holdfast.engine.swap` looks and acts.

- The last durable direction record rules, never a guess (:func:`direction`). Records come in the order of
  ``TRANSITIONS``; any other sequence is damage.
- I2: every volume ends on the side that the direction names. Only (live = old, staged = new) and (live = new,
  staged = old) are acted upon; anything else is left as it is, with the workload stopped and an explanation.
- Deciding, acting and deciding again ends where the first decision pointed, wherever acting was cut off.
- I4: once SWAPPED is written containers may have written to the restored tree, so nothing is exchanged any more
  until BACKWARD is written, which requires them stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar, Final, TypeAlias

from holdfast.domain.errors import Damaged, Problem
from holdfast.domain.restore import (
    ContainerFacts,
    Identity,
    RecordType,
    RestoreFacts,
    RestoreResult,
    TreeSide,
    VolumeFacts,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagingRecord:
    """Written before the first directory is made."""

    type: ClassVar[RecordType] = RecordType.STAGING
    facts: RestoreFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedRecord:
    """Every staged tree is complete, verified and flushed. ``staged``: volume index → identity of its staged tree."""

    type: ClassVar[RecordType] = RecordType.STAGED
    staged: dict[int, Identity]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRecord:
    """Written before the first container is touched: all of them, as they were."""

    type: ClassVar[RecordType] = RecordType.PREPARED
    containers: tuple[ContainerFacts, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SafeRecord:
    """The safety snapshot is durable."""

    type: ClassVar[RecordType] = RecordType.SAFE
    snapshot_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitRecord:
    """From here recovery goes forward."""

    type: ClassVar[RecordType] = RecordType.COMMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class SwappedRecord:
    """Every volume is exchanged, durably."""

    type: ClassVar[RecordType] = RecordType.SWAPPED


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """The restored data is on trial. ``deadline``: RFC 3339 UTC, until when the health gate may be repeated."""

    type: ClassVar[RecordType] = RecordType.TRIAL
    deadline: str
    deployment_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmedRecord:
    """The restored data stays."""

    type: ClassVar[RecordType] = RecordType.CONFIRMED
    result: RestoreResult


@dataclass(frozen=True, slots=True, kw_only=True)
class BackwardRecord:
    """The old data comes back. Written only with the containers stopped."""

    type: ClassVar[RecordType] = RecordType.BACKWARD
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RevertedRecord:
    """Every volume is the old tree again, durably."""

    type: ClassVar[RecordType] = RecordType.REVERTED


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortedRecord:
    """The restore ended with every volume being the old tree, and none left exchanged."""

    type: ClassVar[RecordType] = RecordType.ABORTED
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneRecord:
    """Nothing is left to tidy up; the journal may be removed."""

    type: ClassVar[RecordType] = RecordType.DONE


Record: TypeAlias = (
    StagingRecord
    | StagedRecord
    | PreparedRecord
    | SafeRecord
    | CommitRecord
    | SwappedRecord
    | TrialRecord
    | ConfirmedRecord
    | BackwardRecord
    | RevertedRecord
    | AbortedRecord
    | DoneRecord
)

_R: Final = RecordType
TRANSITIONS: Final[Mapping[RecordType | None, frozenset[RecordType]]] = {
    None: frozenset({_R.STAGING}),
    _R.STAGING: frozenset({_R.STAGED, _R.ABORTED}),
    _R.STAGED: frozenset({_R.PREPARED, _R.ABORTED}),
    _R.PREPARED: frozenset({_R.SAFE, _R.ABORTED}),
    _R.SAFE: frozenset({_R.COMMIT, _R.ABORTED}),
    # ABORTED: the append of COMMIT failed, yet it may be on disk; nothing was exchanged.
    _R.COMMIT: frozenset({_R.SWAPPED, _R.BACKWARD, _R.ABORTED}),
    # CONFIRMED without a trial: the workload was stopped before and stays so, or it could not be deployed.
    _R.SWAPPED: frozenset({_R.TRIAL, _R.CONFIRMED, _R.BACKWARD}),
    # TRIAL again: a redeploy that died was repeated, as another deployment.
    _R.TRIAL: frozenset({_R.TRIAL, _R.CONFIRMED, _R.BACKWARD}),
    _R.CONFIRMED: frozenset({_R.DONE}),
    _R.BACKWARD: frozenset({_R.REVERTED}),
    _R.REVERTED: frozenset({_R.DONE}),
    _R.ABORTED: frozenset({_R.DONE}),
    _R.DONE: frozenset(),
}
"""What may follow what; ``None`` stands for the empty journal."""


class Direction(StrEnum):
    """Where a restore has to go from where its journal ends."""

    ABORT = "abort"
    """Not committed: end on the old trees, remove what was staged."""
    FORWARD = "forward"
    """Committed: finish the exchanges."""
    TRIAL_PENDING = "trial_pending"
    """Exchanged: redeploy or the health gate has to be resumed, or a person decides."""
    BACKWARD = "backward"
    """Exchange back."""
    ABORTED = "aborted"
    REVERTED = "reverted"
    CONFIRMED = "confirmed"
    """Like the two above: only tidying up is left."""
    DONE = "done"


_DIRECTIONS: Final[Mapping[RecordType | None, Direction]] = {
    None: Direction.ABORT,
    _R.STAGING: Direction.ABORT,
    _R.STAGED: Direction.ABORT,
    _R.PREPARED: Direction.ABORT,
    _R.SAFE: Direction.ABORT,
    _R.COMMIT: Direction.FORWARD,
    _R.SWAPPED: Direction.TRIAL_PENDING,
    _R.TRIAL: Direction.TRIAL_PENDING,
    _R.CONFIRMED: Direction.CONFIRMED,
    _R.BACKWARD: Direction.BACKWARD,
    _R.REVERTED: Direction.REVERTED,
    _R.ABORTED: Direction.ABORTED,
    _R.DONE: Direction.DONE,
}


def allowed_next(records: Sequence[Record]) -> frozenset[RecordType]:
    """Which records may be appended to ``records``."""
    return TRANSITIONS[records[-1].type if records else None]


def out_of_order(records: Sequence[Record]) -> str | None:
    """The first place where ``records`` leave the legal order, in words; ``None`` if they keep it."""
    for number, record in enumerate(records):
        if record.type not in allowed_next(records[:number]):
            before = records[number - 1].type if number else "the beginning"
            return f"record {number + 1} is {record.type}, which can't follow {before}"
    return None


def direction(records: Sequence[Record]) -> Direction:
    """Where the restore has to go.

    Raises:
        Damaged: ``journal_damaged``, if the records are in no order that Holdfast writes.
    """
    fault = out_of_order(records)
    if fault:
        raise Damaged(
            "journal_damaged",
            f"A restore's journal makes no sense: {fault}. Nothing was changed.",
            next_step="Leave the workload stopped and look at the journal before anything is started.",
        )
    return _DIRECTIONS[records[-1].type if records else None]


def volumes_of(records: Sequence[Record]) -> tuple[VolumeFacts, ...]:
    """The restore's volumes, with the identities of their staged trees as soon as STAGED named them."""
    facts = next((record.facts for record in records if isinstance(record, StagingRecord)), None)
    staged = next((record.staged for record in records if isinstance(record, StagedRecord)), {})
    if facts is None:
        return ()
    return tuple(replace(v, staged_identity=staged.get(v.index, v.staged_identity)) for v in facts.volumes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What was found of one volume.

    Attributes:
        staged_known: whether the journal names the staged tree's identity (STAGED was written); if not, a staged
            tree that is there is ``OTHER``.
        target, live_path, staged_path: for the explanation.
        detail: what else was noticed, in words.
    """

    live: TreeSide
    staged: TreeSide
    staged_known: bool = True
    target: str = ""
    live_path: str = ""
    staged_path: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPlan:
    """What to do, in this order: exchange (containers confirmed stopped), append ``record``, then the rest.

    Attributes:
        exchange: indices of the volumes to exchange so that live becomes ``to``. The others are there already, but
            their directories must be flushed all the same before ``record`` is appended.
        record: what to append after the exchanges.
        removable: indices of the volumes whose wrappers hold nothing that is needed, once ``record`` is durable.
        may_start: whether containers may be started, once ``record`` is durable. While the direction after it is
            TRIAL_PENDING, only as trial instances.
        problem: why nothing may be done; then everything else is empty and the workload stays stopped.
    """

    to: TreeSide | None = None
    exchange: tuple[int, ...] = ()
    record: RecordType | None = None
    removable: tuple[int, ...] = ()
    may_start: bool = False
    problem: Problem | None = None


_AFTER: Final[Mapping[Direction, tuple[TreeSide, RecordType | None]]] = {
    Direction.ABORT: (TreeSide.OLD, RecordType.ABORTED),
    Direction.FORWARD: (TreeSide.NEW, RecordType.SWAPPED),
    Direction.TRIAL_PENDING: (TreeSide.NEW, None),
    Direction.BACKWARD: (TreeSide.OLD, RecordType.REVERTED),
    Direction.ABORTED: (TreeSide.OLD, None),
    Direction.REVERTED: (TreeSide.OLD, None),
    Direction.CONFIRMED: (TreeSide.NEW, None),
}
_TIDY_UP: Final = frozenset({Direction.ABORTED, Direction.REVERTED, Direction.CONFIRMED})
_OTHER_SIDE: Final[Mapping[TreeSide, TreeSide]] = {TreeSide.OLD: TreeSide.NEW, TreeSide.NEW: TreeSide.OLD}


def decide(towards: Direction, observations: Mapping[int, Observation]) -> RecoveryPlan:
    """What to do about a restore whose journal says ``towards``, given what was found of each of its volumes.

    Args:
        observations: volume index → what was found; of *all* volumes. Empty only for a journal without a single
            whole record: its restore did nothing, and the file may be removed.
    """
    if towards is Direction.DONE:
        return RecoveryPlan(may_start=True)
    side, record = _AFTER[towards]
    if not observations:
        did_nothing = towards is Direction.ABORT
        return RecoveryPlan(may_start=did_nothing, problem=None if did_nothing else _unclear(towards, observations))
    if towards in _TIDY_UP:
        return _tidy_up(towards, side, observations)
    movable = towards is not Direction.TRIAL_PENDING
    if not all(_understood(towards, side, seen, movable=movable) for seen in observations.values()):
        return RecoveryPlan(problem=_unclear(towards, observations))
    indices = sorted(observations)
    return RecoveryPlan(
        to=side,
        exchange=tuple(index for index in indices if observations[index].live is not side),
        record=record,
        removable=tuple(indices) if towards is Direction.ABORT else (),
        may_start=True,
    )


def _understood(towards: Direction, side: TreeSide, seen: Observation, *, movable: bool) -> bool:
    if towards is Direction.ABORT and not seen.staged_known:
        return seen.live is TreeSide.OLD
    if seen.live is not side and not movable:
        return False
    return seen.live in _OTHER_SIDE and seen.staged is _OTHER_SIDE[seen.live]


def _tidy_up(towards: Direction, side: TreeSide, observations: Mapping[int, Observation]) -> RecoveryPlan:
    """The end is decided and containers may have run since, so that only contradictions are a problem.

    A live directory that is neither tree is none: another restore may have replaced it since. A missing one keeps
    the wrapper, which may then hold the only copy.
    """
    wrong = _OTHER_SIDE[side]
    if any(seen.live is wrong or seen.staged is side for seen in observations.values()):
        return RecoveryPlan(problem=_unclear(towards, observations))
    removable = tuple(
        index
        for index, seen in sorted(observations.items())
        if seen.live is not TreeSide.MISSING
        and (seen.staged in (wrong, TreeSide.MISSING) or (towards is Direction.ABORTED and not seen.staged_known))
    )
    return RecoveryPlan(to=side, removable=removable, may_start=True)


_NAMES: Final[Mapping[TreeSide, str]] = {
    TreeSide.OLD: "the data from before the restore",
    TreeSide.NEW: "the restored data",
    TreeSide.OTHER: "another directory than either",
    TreeSide.MISSING: "nothing",
}


def _unclear(towards: Direction, observations: Mapping[int, Observation]) -> Problem:
    lines = [
        f"volume {index} ({seen.target}): at {seen.live_path} is {_NAMES[seen.live]}, "
        f"at {seen.staged_path} is {_NAMES[seen.staged]}" + (f" ({seen.detail})" if seen.detail else "")
        for index, seen in sorted(observations.items())
    ]
    return Problem(
        code="recovery_unclear",
        message="An interrupted restore can't be finished by itself, because its directories are not where its "
        f"journal says. Nothing was changed and the workload stays stopped. Found: {'; '.join(lines) or 'no volume'}.",
        next_step="Mount what is missing or put the directories back where they were, then restart Holdfast: it looks "
        "again. Don't remove any of the directories named.",
        details={
            "direction": str(towards),
            "volumes": [
                {
                    "index": index,
                    "target": seen.target,
                    "live_path": seen.live_path,
                    "live": str(seen.live),
                    "staged_path": seen.staged_path,
                    "staged": str(seen.staged),
                    "detail": seen.detail,
                }
                for index, seen in sorted(observations.items())
            ],
        },
    )
