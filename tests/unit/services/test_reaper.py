"""What settled restores displaced is removed, and what can't be removed now is tried again later."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import structlog
from tests.unit.services.journal_bench import (
    TO_ABORTED,
    TO_CONFIRMED,
    TO_REVERTED,
    InThread,
    JournalBench,
    journal_bench,
)

from holdfast.domain.errors import Failed, HoldfastError
from holdfast.domain.restore import RestoreFacts, VolumeFacts
from holdfast.domain.restore_records import Record
from holdfast.engine.fs import Fs
from holdfast.engine.journal import Journal, read_journal
from holdfast.services.reaper import Reaper


class Stuck(Fs):
    """A disk on which no directory can be removed while ``stuck``."""

    stuck = False

    def rmdirat(self, dirfd: int, name: bytes) -> None:
        if self.stuck:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().rmdirat(dirfd, name)


@pytest.fixture
def disk() -> Stuck:
    return Stuck()


@pytest.fixture
def bench(tmp_path: Path, disk: Stuck) -> Iterator[JournalBench]:
    with journal_bench(tmp_path, disk) as bench:
        yield bench


async def reopened(bench: JournalBench, facts: RestoreFacts) -> Journal:
    return await bench.files.reopen(str(bench.path_of(facts)))


@pytest.mark.parametrize(
    ("records", "exchanged", "side"),
    [(TO_CONFIRMED, (0, 1), "new"), (TO_ABORTED, (), "old"), (TO_REVERTED, (), "old")],
    ids=["confirmed", "aborted", "reverted"],
)
async def test_the_tree_that_is_not_live_goes_and_the_journal_with_it(
    bench: JournalBench, records: tuple[Record, ...], exchanged: tuple[int, ...], side: str
) -> None:
    facts = bench.left("r1", *records, exchanged=exchanged)
    await Reaper(bench.files).reap(await reopened(bench, facts))
    assert bench.sides(facts) == [side, side]
    assert bench.wrappers(facts) == [False, False]
    assert not bench.path_of(facts).exists()


async def test_in_the_background_it_can_be_waited_for(bench: JournalBench) -> None:
    all_facts = [bench.left(f"r{number}", *TO_CONFIRMED, exchanged=(0, 1)) for number in range(3)]
    reaper = Reaper(bench.files)
    for facts in all_facts:
        reaper.reap_in_background(await reopened(bench, facts))
    await reaper.idle()
    assert [bench.path_of(facts).exists() for facts in all_facts] == [False] * 3


async def test_what_cannot_be_removed_keeps_its_journal_and_goes_the_next_time(
    bench: JournalBench, disk: Stuck
) -> None:
    facts = bench.left("r1", *TO_CONFIRMED, exchanged=(0, 1))
    reaper = Reaper(bench.files)
    disk.stuck = True
    with structlog.testing.capture_logs() as logs:
        reaper.reap_in_background(await reopened(bench, facts))
        await reaper.idle()
        reaper.try_again()
        await reaper.idle()
    assert [entry["event"] for entry in logs] == ["not reaped yet"] * 2
    (left,) = reaper.left(facts.workload_id)
    assert ".holdfast-" in left.why.message
    assert left.why.next_step
    assert reaper.left("another workload") == ()
    assert bench.sides(facts) == ["new", "new"]
    assert read_journal(disk, str(bench.path_of(facts))).records[-1] == TO_CONFIRMED[-1]
    disk.stuck = False
    reaper.try_again(facts.workload_id)
    await reaper.idle()
    assert reaper.left() == ()
    assert bench.wrappers(facts) == [False, False]
    assert not bench.path_of(facts).exists()


@pytest.mark.parametrize("deaths", [1, 2])
async def test_where_only_who_removes_it_died_another_does_it_at_once(
    bench: JournalBench, deaths: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = bench.left("r1", *TO_CONFIRMED, exchanged=(0, 1))
    reap, left_to_die = InThread.reap, iter([True] * deaths)

    async def reap_or_die(files: InThread, volumes: Sequence[VolumeFacts]) -> None:
        if next(left_to_die, False):
            raise Failed("worker_died", "The worker process ended unexpectedly (killed by SIGKILL).")
        await reap(files, volumes)

    monkeypatch.setattr(InThread, "reap", reap_or_die)
    left = await Reaper(bench.files).reap_or_leave(await reopened(bench, facts))
    assert (left is not None) == (deaths > 1), "it is tried again once, and then now and then"
    assert bench.path_of(facts).exists() == (deaths > 1)


async def test_what_cannot_be_removed_is_tried_again_by_itself(bench: JournalBench, disk: Stuck) -> None:
    facts = bench.left("r1", *TO_CONFIRMED, exchanged=(0, 1))
    reaper = Reaper(bench.files, retry_seconds=0)
    disk.stuck = True
    assert await reaper.reap_or_leave(await reopened(bench, facts)) is not None
    disk.stuck = False
    reaper.start()
    deadline = time.monotonic() + 20
    while reaper.left():
        assert time.monotonic() < deadline, "it was not tried again"
        await asyncio.sleep(0.01)
    await reaper.close()
    assert bench.wrappers(facts) == [False, False]


async def test_everything_of_a_workload_goes_or_it_is_told_what_stays(bench: JournalBench, disk: Stuck) -> None:
    kept = bench.left("r1", *TO_REVERTED)
    left = bench.left("r2", *TO_CONFIRMED, exchanged=(0, 1))
    reaper = Reaper(bench.files)
    disk.stuck = True
    await reaper.reap_or_leave(await reopened(bench, left))
    with pytest.raises(HoldfastError):
        await reaper.clear(kept.workload_id)
    disk.stuck = False
    await reaper.clear(kept.workload_id)
    assert [bench.path_of(facts).exists() for facts in (kept, left)] == [False, False]
    assert bench.wrappers(kept) + bench.wrappers(left) == [False] * 4


async def test_a_reaping_that_fails_lets_go_of_the_journal_file(bench: JournalBench, disk: Stuck) -> None:
    facts = bench.left("r1", *TO_CONFIRMED, exchanged=(0, 1))
    disk.stuck = True
    journal = await reopened(bench, facts)
    with pytest.raises(HoldfastError):
        await Reaper(bench.files).reap(journal)
    held = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)]
    assert str(bench.path_of(facts)) not in held


async def test_only_a_settled_restore_is_reaped(bench: JournalBench) -> None:
    facts = bench.left("r1", *TO_CONFIRMED[:-1], exchanged=(0, 1))
    with pytest.raises(HoldfastError) as caught:
        await Reaper(bench.files).reap(await reopened(bench, facts))
    assert caught.value.code == "journal_needed"
    assert bench.wrappers(facts) == [True, True], "it may still have to go back"
    assert bench.path_of(facts).exists()


def _is_open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")
