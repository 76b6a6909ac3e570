"""What is kept of how workloads were: a row a change, for a month."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import select

from holdfast.domain.health_history import FLAPPING, FLAPPING_WITHIN, KEEP, Health, Held
from holdfast.domain.workload import DesiredState, Workload
from holdfast.store.database import Database
from holdfast.store.health import HealthStore
from holdfast.store.tables import health
from holdfast.store.workloads import WorkloadStore
from holdfast.testing.installation import spec_of

BEGIN = 1_800_000_000
HEALTHY, DOWN, STOPPED, UNKNOWN = Health.HEALTHY, Health.DOWN, Health.STOPPED, Health.UNKNOWN


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database.at(tmp_path / "state.db")
    await database.open()
    for key in ("a", "b"):
        workload = Workload(id=key, spec=spec_of(key), desired=DesiredState.RUNNING, created_at="", updated_at="")
        await WorkloadStore(database).insert(workload, None)
    yield database
    await database.close()


@pytest.fixture
def store(database: Database) -> HealthStore:
    return HealthStore(database)


async def of(store: HealthStore, since: int = 0) -> list[tuple[int, Health]]:
    return [(held.at - BEGIN, held.state) for held in await store.read("a", since=BEGIN + since, until=1 << 40)]


async def test_a_row_is_made_when_something_changed_and_only_then(store: HealthStore, database: Database) -> None:
    assert await store.keep(BEGIN, {"a": HEALTHY, "b": STOPPED}, anew=True) == {"a", "b"}
    assert await store.keep(BEGIN + 60, {"a": HEALTHY, "b": STOPPED}, anew=False) == frozenset()
    assert await store.keep(BEGIN + 120, {"a": DOWN, "b": STOPPED}, anew=False) == {"a"}
    assert await of(store) == [(0, HEALTHY), (120, DOWN)]
    assert len(await database.rows(select(health))) == 4, "and one that says until when somebody looked"


async def test_the_last_state_before_a_time_is_told_with_it(store: HealthStore) -> None:
    for at, state in ((0, HEALTHY), (100, DOWN), (200, HEALTHY)):
        await store.keep(BEGIN + at, {"a": state}, anew=False)
    assert await of(store, since=150) == [(100, DOWN), (200, HEALTHY)]
    assert await store.read("a", since=BEGIN, until=BEGIN + 99) == [Held(BEGIN, HEALTHY)]
    assert (await store.read("a", since=BEGIN, until=BEGIN + 100))[-1] == Held(BEGIN + 100, DOWN)


async def test_one_that_crashes_in_a_loop_is_down_all_the_time_and_well_once_it_was_quiet(store: HealthStore) -> None:
    for at in range(0, 7_200, 15):
        await store.keep(BEGIN + at, {"a": DOWN if at % 30 else HEALTHY}, anew=False)
    found = await of(store)
    assert len(found) <= 7_200 / FLAPPING_WITHIN * 2 * (FLAPPING + 1)
    down = sum(until - at for (at, state), (until, _) in pairwise([*found, (7_200, HEALTHY)]) if state is DOWN)
    assert down > 0.8 * 7_200
    await store.keep(BEGIN + 7_200 + FLAPPING_WITHIN, {"a": HEALTHY}, anew=False)
    assert (await of(store))[-1][1] is HEALTHY


async def test_while_nobody_looked_it_is_unknown(store: HealthStore) -> None:
    await store.keep(BEGIN, {"a": HEALTHY}, anew=True)
    await store.keep(BEGIN + 60, {"a": HEALTHY}, anew=False)
    assert await store.keep(BEGIN + 500, {"a": HEALTHY}, anew=True) == {"a"}
    assert await of(store) == [(0, HEALTHY), (60, UNKNOWN), (500, HEALTHY)]
    await store.looked(BEGIN + 700)
    await store.keep(BEGIN + 710, {"a": DOWN}, anew=True)
    assert (await of(store))[3:] == [(700, UNKNOWN), (710, DOWN)]


async def test_what_is_older_than_is_kept_goes_but_for_what_may_hold_still(
    store: HealthStore, database: Database
) -> None:
    await store.keep(BEGIN, {"a": HEALTHY, "b": HEALTHY}, anew=False)
    await store.keep(BEGIN + 10, {"a": DOWN, "b": HEALTHY}, anew=False)
    await store.keep(BEGIN + 10 + KEEP, {"a": HEALTHY, "b": HEALTHY}, anew=False)
    assert await of(store) == [(10, DOWN), (10 + KEEP, HEALTHY)]
    assert [held.state for held in await store.read("b", since=BEGIN + KEEP, until=1 << 40)] == [HEALTHY]


async def test_what_a_workload_left_that_is_gone_goes(store: HealthStore, database: Database) -> None:
    await store.keep(BEGIN, {"a": HEALTHY, "gone": HEALTHY}, anew=False)
    await store.keep(BEGIN + 10, {"a": DOWN}, anew=False)
    assert {row.workload_id for row in await database.rows(select(health))} == {"", "a"}


async def test_after_the_clock_was_set_back_nothing_is_told_of_what_is_to_come(store: HealthStore) -> None:
    await store.keep(BEGIN, {"a": HEALTHY}, anew=False)
    await store.keep(BEGIN + 900, {"a": DOWN}, anew=False)
    await store.keep(BEGIN + 100, {"a": STOPPED}, anew=False)
    assert await of(store) == [(0, HEALTHY), (100, STOPPED)]
