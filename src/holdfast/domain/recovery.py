"""Recovery decides: what a restore's journal and the directories found on disk mean together.

Pure rules; :mod:`holdfast.engine.journal` reads and writes the records, :mod:`holdfast.engine.swap` looks and acts.

- The last durable direction record rules, never a guess (:func:`direction`). Records come in the order of
  ``restore_records.TRANSITIONS``; any other sequence is damage.
- I2: every volume ends on the side that the direction names. Only (live = old, staged = new) and (live = new,
  staged = old) are acted upon, and, between COMMIT and SWAPPED or BACKWARD and REVERTED, a swap of several steps of
  which every name is on one of the two sides; anything else is left as it is, with the workload stopped and an
  explanation. Of a directory that was missing, and is only made for the exchange, "nothing" is the old side until
  COMMIT.
- Deciding, acting and deciding again ends where the first decision pointed, wherever acting was cut off.
- I4: once SWAPPED is written containers may have written to the restored tree, so nothing is exchanged any more
  until BACKWARD is written, which requires them stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from holdfast.domain.errors import Damaged, Problem
from holdfast.domain.restore import RecordType, TreeSide
from holdfast.domain.restore_records import Record, out_of_order
from holdfast.domain.told import Told, told

_R: Final = RecordType


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
    _R.MADE: Direction.ABORT,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What was found of one volume.

    Attributes:
        staged_known: whether the journal names the staged tree's identity (STAGED was written); if not, a staged
            tree that is there is ``OTHER``.
        was_missing: whether there was nothing at the live path when the restore began.
        target, live_path, staged_path: for the explanation.
        detail: what else was noticed, in words.
    """

    live: TreeSide
    staged: TreeSide
    staged_known: bool = True
    was_missing: bool = False
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
        exchange=tuple(index for index in indices if observations[index].live in (_OTHER_SIDE[side], TreeSide.MIXED)),
        record=record,
        removable=tuple(indices) if towards is Direction.ABORT else (),
        may_start=True,
    )


def _understood(towards: Direction, side: TreeSide, seen: Observation, *, movable: bool) -> bool:
    if towards is Direction.ABORT:
        nothing_yet = seen.was_missing and seen.live is TreeSide.MISSING
        if not seen.staged_known:
            return seen.live is TreeSide.OLD or nothing_yet
        if nothing_yet:
            return seen.staged is TreeSide.NEW
    if seen.live is not side and not movable:
        return False
    if seen.live is seen.staged is TreeSide.MIXED:
        return towards in (Direction.FORWARD, Direction.BACKWARD)
    return seen.live in _OTHER_SIDE and seen.staged is _OTHER_SIDE[seen.live]


def _tidy_up(towards: Direction, side: TreeSide, observations: Mapping[int, Observation]) -> RecoveryPlan:
    """The end is decided and containers may have run since, so that only contradictions are a problem.

    A live directory that is neither tree is none: another restore may have replaced it since. A missing one keeps
    the wrapper, which may then hold the only copy; unless it was missing from the beginning.
    """
    wrong = _OTHER_SIDE[side]
    if any(seen.live is wrong or seen.staged is side for seen in observations.values()):
        return RecoveryPlan(problem=_unclear(towards, observations))
    removable = tuple(
        index
        for index, seen in sorted(observations.items())
        if (seen.live is not TreeSide.MISSING or seen.was_missing)
        and (seen.staged in (wrong, TreeSide.MISSING) or (towards is Direction.ABORTED and not seen.staged_known))
    )
    return RecoveryPlan(to=side, removable=removable, may_start=True)


_NAMES: Final[Mapping[TreeSide, Told]] = {
    TreeSide.OLD: told("tree_of_before", "the data from before the restore"),
    TreeSide.NEW: told("tree_restored", "the restored data"),
    TreeSide.MIXED: told("tree_mixed", "a part of both"),
    TreeSide.OTHER: told("tree_other", "another directory than either"),
    TreeSide.MISSING: told("tree_missing", "nothing"),
}


def what_is_where(observations: Mapping[int, Observation]) -> list[Told]:
    """What was found of each volume, a sentence each, for the person who decides."""
    return [
        told(
            "what_is_where",
            "Volume {volume} ({target}): at {live_path} is {live}, at {staged_path} is {staged}{detail}.",
            volume=index,
            target=seen.target,
            live_path=seen.live_path,
            live=_NAMES[seen.live],
            staged_path=seen.staged_path,
            staged=_NAMES[seen.staged],
            detail=f" ({seen.detail})" if seen.detail else "",
        )
        for index, seen in sorted(observations.items())
    ]


def _unclear(towards: Direction, observations: Mapping[int, Observation]) -> Problem:
    found = " ".join(map(str, what_is_where(observations)))
    return Problem(
        code="recovery_unclear",
        message="An interrupted restore can't be finished by itself, because its directories are not where its "
        f"journal says. Nothing was changed and the workload stays stopped. Found: {found}",
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
