"""Which deployment a version was left by, and so which snapshot holds what it left."""

from __future__ import annotations

from dataclasses import replace

from holdfast.domain.deployment import Deployment, DeploymentState, DeployReason, left_by
from holdfast.domain.workload import WorkloadSpec

ONE = Deployment(
    id="1",
    workload_id="w",
    state=DeploymentState.SUCCEEDED,
    reason=DeployReason.DEPLOY,
    spec=WorkloadSpec(name="notes", image="notes", project="home"),
    image_id="sha256:one",
    digest=None,
    operation_id=None,
    started_at="2026-01-01T00:00:00Z",
)
AGAIN = replace(ONE, id="2", reason=DeployReason.START)
FAILED = replace(ONE, id="3", image_id="sha256:two", state=DeploymentState.RETURNED)
TWO = replace(ONE, id="4", image_id="sha256:two")
THREE = replace(ONE, id="5", spec=replace(ONE.spec, env=(("MODE", "three"),)))
HISTORY = (THREE, TWO, FAILED, AGAIN, ONE)


def test_a_version_is_left_by_the_first_success_of_another_one_after_it() -> None:
    assert left_by(HISTORY, ONE) == left_by(HISTORY, AGAIN) == TWO
    assert left_by(HISTORY, TWO) == THREE


def test_from_a_failed_attempt_to_leave_the_present_version_its_own_snapshot_leads_back() -> None:
    attempts = [replace(FAILED, id=str(number), snapshot_id=snapshot) for number, snapshot in ((7, "s7"), (6, "s6"))]
    assert left_by((replace(FAILED, id="8"), *attempts, ONE), ONE) == attempts[0]
    assert left_by((*attempts, *HISTORY), ONE) == TWO


def test_the_present_version_was_not_left_and_one_that_came_back_was_left_twice() -> None:
    assert left_by(HISTORY, THREE) is None
    back = replace(ONE, id="6")
    assert left_by((back, *HISTORY), back) is None
    assert left_by((back, *HISTORY), ONE) == TWO
