"""Random work on real servers, disturbed at random, keeps what the model says; and the model sees when it is not kept.

With ``make test``: a small number of sequences, the same in every run. With ``make torture`` (``HOLDFAST_TORTURE=1``):
many, others each time; a failure prints its steps, and with ``HOLDFAST_STATEFUL_SEED`` the same run comes again.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.faults import stateful_breakage as broken
from tests.faults.stateful_bench import ModelViolatedError
from tests.faults.stateful_breakage import Wrap
from tests.faults.stateful_machine import Machine, Wish
from tests.faults.stateful_model import VERSIONS

from holdfast.domain.restore import OnUnhealthy
from holdfast.domain.workload import Quiesce

TORTURE = os.environ.get("HOLDFAST_TORTURE") == "1"
EXAMPLES, STEPS = (int(os.environ.get("HOLDFAST_STATEFUL_EXAMPLES", "150")), 40) if TORTURE else (5, 25)
FIRST, SECOND = 0, 1
"""Snapshots as they were taken: of the notes, with data on which they live, and without."""


@pytest.mark.timeout(4 * 3600 if TORTURE else 600)
def test_whatever_is_done_and_disturbed_all_is_as_the_model_says(figure: Callable[[str, int], None]) -> None:
    class Counted(Machine):
        count = staticmethod(figure)

    chosen = int(os.environ.get("HOLDFAST_STATEFUL_SEED", random.SystemRandom().randrange(2**32) if TORTURE else 6))
    try:
        run_state_machine_as_test(
            seed(chosen)(Counted),
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                database=None,
                phases=[Phase.generate, Phase.shrink] if TORTURE else [Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
    except BaseException as error:
        error.add_note(f"To see it again: HOLDFAST_STATEFUL_SEED={chosen}, with the same HOLDFAST_TORTURE.")
        raise


def restored(machine: Machine, pick: int = FIRST, on_unhealthy: OnUnhealthy | None = None) -> None:
    machine.write("notes", "/data", "a", "x")
    machine.write("notes", "/media", "a", "x")
    machine.restore(Wish(pick=pick, on_unhealthy=on_unhealthy), None)


def taken_back(machine: Machine) -> None:
    restored(machine, SECOND, OnUnhealthy.REVERT)


def undone(machine: Machine) -> None:
    restored(machine)
    machine.undo("notes", None)


def pruned(machine: Machine) -> None:
    restored(machine)
    machine.prune(None)


def captured(machine: Machine) -> None:
    machine.snapshot("notes", Quiesce.STOP, None)


def redeployed(machine: Machine) -> None:
    machine.deploy("notes", VERSIONS[1], None)


def removed_by_hand(machine: Machine) -> None:
    redeployed(machine)
    machine.by_hand("notes", True)
    machine.restart(None)


def stopped(machine: Machine) -> None:
    machine.stop("notes", None)


@pytest.mark.parametrize(
    ("product", "work", "told"),
    [
        # In these two the product's own look at the volumes refuses to start anything, which the model sees first.
        pytest.param(broken.ONE_VOLUME_ONLY, restored, "ended as restored_deploy_failed", id="one-volume-only"),
        pytest.param(broken.NEVER_BACK, taken_back, "ended as reverted_unhealthy", id="never-back"),
        pytest.param(broken.NO_SAFETY, restored, "no snapshot was taken", id="no-safety"),
        pytest.param(broken.UNPINNED_SAFETY, restored, "is not pinned", id="unpinned-safety"),
        pytest.param(broken.HALF_A_SAFETY, restored, "does not hold what was live", id="half-a-safety"),
        pytest.param(broken.ANOTHER_SNAPSHOT, undone, "holds", id="another-snapshot"),
        pytest.param(broken.GREEDY_PRUNE, pruned, "snapshots are gone", id="greedy-prune"),
        pytest.param(broken.HALF_A_SNAPSHOT, captured, "does not hold what was live", id="half-a-snapshot"),
        pytest.param(broken.OLD_IMAGE, removed_by_hand, "runs", id="old-image"),
        pytest.param(broken.ARMED, stopped, "the engine would start it", id="armed"),
    ],
)
def test_the_model_sees_a_protection_that_is_off(product: Wrap, work: Callable[[Machine], None], told: str) -> None:
    machine = Machine()
    try:
        machine.begin("shelf")
        machine.servers.replace_product(product)
        with pytest.raises(ModelViolatedError, match=told):
            work(machine)
    finally:
        machine.close()


def test_the_same_work_is_right_with_nothing_switched_off() -> None:
    machine = Machine()
    machine.begin("shelf")
    for work in (restored, taken_back, undone, pruned, captured, removed_by_hand, stopped):
        work(machine)
    machine.teardown()


def test_where_it_is_open_what_runs_a_deployment_may_find_it_there_already() -> None:
    machine = Machine()
    machine.begin("notes")
    machine.world = machine.world.change("shelf", unsure=True)  # as after a stop, or a deletion, that was cut off
    machine.deploy("shelf", VERSIONS[0], None)
    machine.teardown()
