"""What is kept of what workloads used: finely for a day, coarsely for a month."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from holdfast.domain.metrics import ROLLED_UP, SAMPLED, MetricsQuery, Span, Used
from holdfast.store.database import Database
from holdfast.store.metrics import MetricsStore
from holdfast.store.tables import usage

QUARTERS, HOURS = ROLLED_UP
BEGIN = 1_800_000_000
DAY = 86400
assert BEGIN % 3600 == 0


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database.at(tmp_path / "state.db")
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def store(database: Database) -> MetricsStore:
    return MetricsStore(database)


def used(at: int, *, cpu: int = 600, memory: int = 10) -> Used:
    return Used(at=at, seconds=60, cpu=cpu, cpu_max=cpu // 60, memory=memory, memory_max=memory, received=5, sent=1)


async def keep(store: MetricsStore, *times: int) -> None:
    for at in times:
        await store.keep(at + 60, {"a": used(at), "b": used(at, cpu=6)})


async def ats(store: MetricsStore, span: Span, since: int = 0) -> list[int]:
    query = MetricsQuery(since=since, until=1 << 40, step=60, span=span)
    return [value.at for value in await store.read("a", query)]


async def kept(database: Database) -> dict[int, int]:
    """How many rows there are of each span."""
    rows = await database.rows(select(usage.c.span, func.count().label("many")).group_by(usage.c.span))
    return {row.span: row.many for row in rows}


async def test_a_workload_s_values_are_its_own_and_in_order(store: MetricsStore) -> None:
    await keep(store, BEGIN + 60, BEGIN + 120)
    query = MetricsQuery(since=BEGIN, until=BEGIN + 121, step=60, span=SAMPLED)
    assert await store.read("a", query) == [used(BEGIN + 60), used(BEGIN + 120)]
    assert [value.cpu for value in await store.read("b", query)] == [6, 6]
    assert await store.read("c", query) == []


async def test_what_is_over_is_rolled_up_once_and_the_rest_is_told_from_samples(store: MetricsStore) -> None:
    await store.keep(BEGIN + 120, {"a": used(BEGIN + 60, cpu=6000, memory=30)})
    await store.keep(BEGIN + 180, {"a": used(BEGIN + 120, cpu=600, memory=10)})
    await keep(store, BEGIN + 960, BEGIN + 1020)
    query = MetricsQuery(since=BEGIN, until=BEGIN + 1021, step=900, span=QUARTERS)
    together = Used(at=BEGIN, seconds=120, cpu=6600, cpu_max=100, memory=20, memory_max=30, received=10, sent=2)
    assert await store.read("a", query) == [together, used(BEGIN + 960), used(BEGIN + 1020)]
    assert await ats(store, HOURS) == [BEGIN + 60, BEGIN + 120, BEGIN + 960, BEGIN + 1020]
    await keep(store, BEGIN + 3660)
    assert await ats(store, QUARTERS) == [BEGIN, BEGIN + 900, BEGIN + 3660]
    assert await ats(store, HOURS) == [BEGIN, BEGIN + 3660]


async def test_what_a_server_left_that_was_down_is_rolled_up_by_the_next(
    store: MetricsStore, database: Database
) -> None:
    await keep(store, BEGIN + 60, BEGIN + 840, BEGIN + 960)
    await keep(MetricsStore(database), BEGIN + 3 * DAY)
    assert await ats(store, QUARTERS) == [BEGIN, BEGIN + 900, BEGIN + 3 * DAY]
    assert await kept(database) == {0: 2, 900: 4, 3600: 2}


async def test_values_go_when_their_time_is_over(store: MetricsStore, database: Database) -> None:
    await keep(store, BEGIN + 60)
    await keep(store, BEGIN + 60 + 8 * DAY)
    assert await kept(database) == {0: 2, 3600: 2}
    await keep(store, BEGIN + 60 + 38 * DAY)
    assert await kept(database) == {0: 2, 3600: 2}
    assert await ats(store, HOURS) == [BEGIN + 8 * DAY, BEGIN + 60 + 38 * DAY]


async def test_a_clock_that_was_ahead_leaves_nothing_in_the_way(store: MetricsStore, database: Database) -> None:
    await keep(store, BEGIN + 60, BEGIN + 400 * DAY, BEGIN + 400 * DAY + 900)
    await keep(store, BEGIN + 120, BEGIN + 960)
    assert await ats(store, SAMPLED) == [BEGIN + 120, BEGIN + 960]
    assert await ats(store, QUARTERS) == [BEGIN, BEGIN + 960]
    assert await kept(database) == {0: 4, 900: 2}


async def test_the_same_moment_twice_is_kept_once(store: MetricsStore) -> None:
    await keep(store, BEGIN + 60, BEGIN + 60)
    assert await ats(store, SAMPLED) == [BEGIN + 60]
