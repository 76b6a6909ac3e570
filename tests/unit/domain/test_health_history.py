"""How a workload was, from what is kept of it."""

from __future__ import annotations

from holdfast.domain.health_history import FLAPPING, MOST_STATES, Health, Held, health_history, is_flapping

HEALTHY, UNHEALTHY, DOWN, STOPPED, UNKNOWN = (
    Health.HEALTHY,
    Health.UNHEALTHY,
    Health.DOWN,
    Health.STOPPED,
    Health.UNKNOWN,
)


def test_the_first_state_is_what_held_when_the_time_begins() -> None:
    rows = [Held(10, HEALTHY), Held(50, DOWN), Held(70, HEALTHY)]
    assert health_history(rows, since=40, until=69) == (Held(40, HEALTHY), Held(50, DOWN))


def test_what_changed_in_the_last_second_is_told() -> None:
    rows = [Held(10, HEALTHY), Held(70, DOWN)]
    assert health_history(rows, since=40, until=70) == (Held(40, HEALTHY), Held(70, DOWN))


def test_what_keeps_changing_is_believed_when_it_gets_worse_and_not_when_it_gets_better() -> None:
    for last, found in ((DOWN, UNHEALTHY), (DOWN, HEALTHY), (UNHEALTHY, HEALTHY)):
        assert not is_flapping(last, found, FLAPPING - 1)
        assert is_flapping(last, found, FLAPPING)
    for last, found in ((HEALTHY, DOWN), (UNHEALTHY, DOWN), (DOWN, STOPPED), (UNHEALTHY, UNKNOWN), (STOPPED, HEALTHY)):
        assert not is_flapping(last, found, FLAPPING)


def test_what_nobody_saw_is_unknown() -> None:
    assert health_history([], since=0, until=9) == (Held(0, UNKNOWN),)
    assert health_history([Held(5, STOPPED)], since=0, until=9) == (Held(0, UNKNOWN), Held(5, STOPPED))


def test_states_that_are_the_same_are_one() -> None:
    rows = [Held(1, HEALTHY), Held(5, HEALTHY), Held(7, UNHEALTHY)]
    assert health_history(rows, since=1, until=9) == (Held(1, HEALTHY), Held(7, UNHEALTHY))


def test_of_very_many_changes_none_that_is_bad_gets_lost() -> None:
    rows = [Held(at, HEALTHY if at % 2 else DOWN) for at in range(20_000)]
    rows += [Held(20_000, HEALTHY), Held(90_000, UNHEALTHY), Held(90_001, HEALTHY)]
    found = health_history(rows, since=0, until=100_000)
    assert len(found) <= 2 * MOST_STATES
    assert found[0] == Held(0, DOWN)
    (unhealthy,) = [each for each in found if each.state is UNHEALTHY]
    assert 0 <= 90_000 - unhealthy.at < 100
    assert found[-1].state is HEALTHY
    assert [each.at for each in found] == sorted({each.at for each in found})


def test_of_very_many_changes_none_is_told_later_than_asked_for() -> None:
    rows = [Held(at, HEALTHY if at % 2 else DOWN) for at in range(20_000)]
    for until in range(19_900, 20_000):
        last = health_history(rows, since=0, until=until)[-1]
        assert last.at <= until
        assert last.state is rows[until].state
