"""What the server waits for, in words."""

from __future__ import annotations

from holdfast.domain.told import Told
from holdfast.services.readiness import Readiness
from holdfast.services.restore_registry import RestoreRegistry, Undecided


def test_with_nothing_to_wait_for_it_is_ready() -> None:
    assert Readiness(RestoreRegistry()).ready() == (True, [])


def test_a_part_that_is_not_there_yet_is_told_until_it_arrives() -> None:
    readiness = Readiness(RestoreRegistry())
    readiness.wait_for("engine", "the engine has not answered yet")
    readiness.wait_for("engine", "the engine does not answer")
    assert readiness.ready() == (False, ["the engine does not answer"])
    readiness.arrived("engine")
    readiness.arrived("engine")
    assert readiness.ready() == (True, [])


def test_each_part_is_waited_for_by_itself() -> None:
    readiness = Readiness(RestoreRegistry())
    readiness.wait_for("engine", "the engine")
    readiness.wait_for("disk", "a disk")
    readiness.arrived("engine")
    assert readiness.ready() == (False, ["a disk"])


def test_a_decision_that_is_waited_for_is_told_and_keeps_nobody_else_from_being_served() -> None:
    registry = RestoreRegistry()
    readiness = Readiness(registry)
    registry.set_undecided(Undecided(restore_id="r1", workload_ids=("a", "b"), told=Told("its time is over.")))
    ready, waiting = readiness.ready()
    assert ready
    assert waiting == ["a decision about a restore: its time is over."]
    registry.decided(("a", "b"))
    assert readiness.ready() == (True, [])


def test_what_only_a_person_can_mend_is_told_and_keeps_nobody_from_being_served() -> None:
    registry = RestoreRegistry()
    registry.notice("A hold file can't be read.")
    assert Readiness(registry).ready() == (True, ["A hold file can't be read."])
