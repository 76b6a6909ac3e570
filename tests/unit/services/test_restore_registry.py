"""One restore per workload, and none while a person has to decide."""

from __future__ import annotations

import pytest

from holdfast.domain.errors import Busy, Conflict
from holdfast.domain.told import Told
from holdfast.services.restore_registry import RestoreRegistry, Undecided

WAITING = Undecided(restore_id="r1", workload_ids=("a", "b"), told=Told("going back failed", next_step="Decide."))


def test_a_second_restore_of_a_workload_is_refused_with_the_first_ones_id() -> None:
    registry = RestoreRegistry()
    registry.begin("a", "r1")
    with pytest.raises(Busy) as caught:
        registry.begin("a", "r2")
    assert caught.value.code == "restore_in_flight"
    assert caught.value.details == {"restore_id": "r1"}
    assert caught.value.next_step
    assert registry.in_flight("a") == "r1"


def test_restores_of_different_workloads_go_side_by_side() -> None:
    registry = RestoreRegistry()
    registry.begin("a", "r1")
    registry.begin("b", "r2")
    assert (registry.in_flight("a"), registry.in_flight("b")) == ("r1", "r2")


def test_claiming_again_for_the_same_restore_changes_nothing() -> None:
    registry = RestoreRegistry()
    registry.begin("a", "r1")
    registry.begin("a", "r1")
    registry.end("a", "r1")
    assert registry.in_flight("a") is None


def test_only_the_restore_that_holds_a_claim_gives_it_back() -> None:
    registry = RestoreRegistry()
    registry.begin("a", "r1")
    registry.end("a", "r2")
    assert registry.in_flight("a") == "r1"
    registry.end("a", "r1")
    registry.end("a", "r1")
    registry.begin("a", "r3")


def test_what_waits_for_a_person_refuses_everything_on_all_workloads_concerned() -> None:
    registry = RestoreRegistry()
    registry.set_undecided(WAITING)
    for workload in WAITING.workload_ids:
        with pytest.raises(Conflict) as caught:
            registry.begin(workload, "r2")
        assert caught.value.code == "restore_undecided"
        assert WAITING.why in caught.value.message
        assert caught.value.next_step
        with pytest.raises(Conflict):
            registry.require_decided(workload)
        assert registry.in_flight(workload) is None
        assert registry.pending(workload) == WAITING.why
    registry.require_decided("c")
    registry.begin("c", "r3")


def test_a_decision_sets_its_workloads_free_and_no_others() -> None:
    registry = RestoreRegistry()
    other = Undecided(restore_id="r9", workload_ids=("c",), told=Told("its journal is damaged"))
    registry.set_undecided(WAITING)
    registry.set_undecided(other)
    registry.decided(WAITING.workload_ids)
    registry.begin("a", "r2")
    assert registry.undecided("b") is None
    assert registry.undecided("c") == other


def test_what_concerns_several_workloads_is_told_once() -> None:
    registry = RestoreRegistry()
    registry.set_undecided(WAITING)
    assert registry.all_undecided() == (WAITING,)


def test_in_flight_and_undecided_are_both_unfinished() -> None:
    registry = RestoreRegistry()
    registry.begin("c", "r3")
    registry.set_undecided(WAITING)
    assert [registry.unfinished(workload) for workload in "abcd"] == [True, True, True, False]
