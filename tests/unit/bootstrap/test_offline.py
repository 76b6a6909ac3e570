"""What recovery without a server says."""

from __future__ import annotations

import pytest

from holdfast.bootstrap.offline import in_words
from holdfast.domain.recovery import Direction, Observation, RecoveryPlan, decide
from holdfast.domain.restore import TreeSide

DONE = RecoveryPlan(may_start=True)
OLD = "the data is what it was before"
NEW = "the restored data is in place"


@pytest.mark.parametrize(
    ("direction", "where"),
    [
        (Direction.ABORT, OLD),
        (Direction.FORWARD, NEW),
        (Direction.TRIAL_PENDING, NEW),
        (Direction.BACKWARD, OLD),
        (Direction.ABORTED, OLD),
        (Direction.REVERTED, OLD),
        (Direction.CONFIRMED, NEW),
        (Direction.DONE, "is over"),
    ],
)
def test_each_end_says_which_data_is_there_and_what_comes_next(direction: Direction, where: str) -> None:
    words = in_words(direction, DONE)
    assert where in words
    assert direction is Direction.DONE or "The server" in words
    assert str(direction) not in words.split()


@pytest.mark.parametrize("direction", [Direction.ABORT, Direction.FORWARD, Direction.BACKWARD])
def test_what_a_container_keeps_from_being_done_is_said(direction: Direction) -> None:
    plan = decide(direction, {0: Observation(live=TreeSide.OLD, staged=TreeSide.NEW)})
    assert plan.record is not None, "it is not carried out yet"
    assert "A container still has the data" in in_words(direction, plan)
