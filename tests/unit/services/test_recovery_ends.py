"""Whether an operation that ended has seen to the containers of a restore that was called off."""

from __future__ import annotations

import pytest

from holdfast.domain.operation import Operation, OperationKind, OperationState
from holdfast.domain.recovery import Direction
from holdfast.services.restore_recovery import _ended_as


@pytest.mark.parametrize(
    ("code", "seen_to"),
    [
        ("restore_interrupted", True),
        ("no_space", True),
        ("commit_uncertain", False),
        ("database_no_space", False),
        ("database_error", False),
    ],
)
def test_one_that_the_database_ended_may_not_have_let_them_go(code: str, seen_to: bool) -> None:
    operation = Operation(
        id="01j00000000000000000000000",
        kind=OperationKind.RESTORE,
        state=OperationState.FAILED,
        workload_id="w",
        actor="test",
        created_at="2026-11-26T03:00:00.000000Z",
        error={"code": code, "message": "It failed."},
    )
    assert _ended_as(operation, Direction.ABORTED) is seen_to
