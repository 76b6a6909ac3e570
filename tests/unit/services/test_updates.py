"""Word of changes: what is told, what is left out, and that nobody slow makes it pile up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.domain.accounts import TokenScope
from holdfast.domain.operation import OperationKind, Progress
from holdfast.services.locks import DrainBarrier
from holdfast.services.operations import OperationContext, Operations
from holdfast.services.updates import EVERYTHING, MOST_WAITING, Update, Updates
from holdfast.store.database import Database
from holdfast.store.operations import OperationStore

Reader = tuple[Updates, AsyncIterator[tuple[str, frozenset[Update]]]]
SNAPSHOTS = Update(part=TokenScope.SNAPSHOTS)


@pytest.fixture
async def reader() -> Reader:
    """Updates, and somebody who looks on and has heard the beginning."""
    updates = Updates()
    reading = updates.follow()
    assert await anext(reading) == (updates.position, frozenset({EVERYTHING}))
    return updates, reading


async def test_what_comes_together_is_told_once(reader: Reader) -> None:
    updates, reading = reader
    for update in (SNAPSHOTS, Update(part=TokenScope.USERS), SNAPSHOTS):
        updates.tell(update)
    assert await anext(reading) == (updates.position, frozenset({SNAPSHOTS, Update(part=TokenScope.USERS)}))


async def test_whoever_reads_slowly_is_told_to_look_everywhere(
    reader: Reader,
) -> None:
    updates, reading = reader
    for number in range(MOST_WAITING + 1):
        updates.tell(Update(workload_id=str(number)))
    assert await anext(reading) == (updates.position, frozenset({EVERYTHING}))


async def test_who_comes_back_to_the_same_position_has_missed_nothing(reader: Reader) -> None:
    updates, _ = reader
    before = updates.position
    assert await anext(updates.follow()) == (before, frozenset({EVERYTHING}))
    updates.tell(SNAPSHOTS)
    later, _ = await anext(updates.follow())
    assert later != before
    assert Updates().position != Updates().position, "a server that was started anew knows nothing of before"


async def test_an_operation_tells_its_beginning_its_steps_and_its_end_but_no_progress(tmp_path: Path) -> None:
    told: list[Update] = []

    class Listening(Updates):
        def tell(self, update: Update) -> None:
            told.append(update)

    database = Database.at(tmp_path / "state.db")
    await database.open()
    operations = Operations(OperationStore(database), DrainBarrier(), Listening())
    at_work, go_on = asyncio.Event(), asyncio.Event()

    async def run(ctx: OperationContext) -> None:
        ctx.step("copying")
        at_work.set()
        await go_on.wait()
        told.clear()
        ctx.progress(Progress(done_bytes=1))
        assert told == []

    started = await operations.start(OperationKind.SNAPSHOT, "w1", "ann", run)
    await at_work.wait()
    of_operations = Update(part=TokenScope.OPERATIONS, workload_id="w1")
    assert told == [of_operations] * 3  # queued, running, at its first step
    go_on.set()
    assert (await operations.wait(started.id)).error is None
    assert told == [Update(workload_id="w1")]
    await operations.close(0)
    await database.close()
