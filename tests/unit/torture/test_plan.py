"""A round follows from the seed and its number alone, and every action meets every victim on every layout."""

from __future__ import annotations

from itertools import count, islice

from torture.plan import BLOCK, ITSELF, LAYOUTS, Action, Victim, planned

CYCLE = 2 * BLOCK * len(LAYOUTS)


def test_a_round_is_the_same_whenever_it_is_planned() -> None:
    assert [planned(7, number) for number in range(1, 100)] == [planned(7, number) for number in range(1, 100)]
    assert planned(7, 33) != planned(8, 33)


def test_every_action_meets_every_victim_on_every_layout() -> None:
    met = {(plan.action, plan.victim, plan.layout) for plan in (planned(3, number + 1) for number in range(CYCLE))}
    possible = {(a, v, layout) for a in Action for v in Victim for layout in LAYOUTS}
    without_workers = {(Action.DEPLOY, Victim.WORKER, layout) for layout in LAYOUTS}
    refused = {(Action.PATHS, v, layout) for v in Victim for layout in LAYOUTS if layout[-1].endswith(ITSELF)}
    assert possible - met == without_workers | refused


def test_every_record_and_step_is_a_moment_sooner_or_later() -> None:
    signs = {str(planned(3, number).moment.sign) for number in islice(count(1), 5 * CYCLE)}
    assert {"request", "record COMMIT", "record SWAPPED", "record BACKWARD", "step capturing", "step pruning"} <= signs
