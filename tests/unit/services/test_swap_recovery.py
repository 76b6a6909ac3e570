"""Interrupted restores are decided before anything is served: by the journal alone, idempotently, never by guess."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.unit.services.journal_bench import (
    TO_ABORTED,
    TO_BACKWARD,
    TO_COMMIT,
    TO_CONFIRMED,
    TO_DONE,
    TO_REVERTED,
    TO_SAFE,
    TO_SWAPPED,
    TO_TRIAL,
    JournalBench,
    journal_bench,
)

from holdfast.domain.errors import Conflict
from holdfast.domain.recovery import Direction
from holdfast.domain.restore_records import Record
from holdfast.domain.times import now
from holdfast.domain.workload import DesiredState, Workload, WorkloadSpec
from holdfast.engine.fs import Fs
from holdfast.engine.journal import read_journal
from holdfast.services.restore_registry import RestoreRegistry
from holdfast.services.swap_recovery import Decided, SwapRecovery
from holdfast.store.database import Database
from holdfast.store.workloads import WorkloadStore
from holdfast.testing.live_volumes import live_tree, staged_tree

BOTH = (0, 1)


class Disk(Fs):
    """A disk that fails as told.

    Attributes:
        exchanges_left: how many exchanges still work.
        removes: whether anything can be removed.
        crash_after: dies after so many exchanges, as a power cut would.
    """

    exchanges_left = 1000
    removes = True
    crash_after = 1000

    def exchange(self, dirfd_a: int, name_a: bytes, dirfd_b: int, name_b: bytes) -> None:
        if not self.exchanges_left:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.exchanges_left -= 1
        super().exchange(dirfd_a, name_a, dirfd_b, name_b)
        self.crash_after -= 1
        if not self.crash_after:
            raise PowerCutError

    def unlinkat(self, dirfd: int, name: bytes) -> None:
        if not self.removes:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        super().unlinkat(dirfd, name)


class PowerCutError(Exception):
    """Nobody handles it."""


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def bench(tmp_path: Path, disk: Disk) -> Iterator[JournalBench]:
    with journal_bench(tmp_path, disk) as bench:
        yield bench


@asynccontextmanager
async def recovering(bench: JournalBench) -> AsyncIterator[tuple[SwapRecovery, RestoreRegistry]]:
    """A recovery that knows three workloads."""
    database = Database.at(bench.base.parent / "state.db")
    await database.open()
    try:
        workloads = WorkloadStore(database)
        if not await workloads.list():
            for number in (1, 2, 3):
                spec = WorkloadSpec(name=f"w{number}", image="notes:1", project="home")
                await workloads.insert(
                    Workload(
                        id=f"w{number}",
                        spec=spec,
                        desired=DesiredState.STOPPED,
                        created_at=now(),
                        updated_at=now(),
                    )
                )
        registry = RestoreRegistry()
        yield SwapRecovery(files=bench.files, registry=registry, workloads=workloads), registry
    finally:
        await database.close()


async def decided(bench: JournalBench) -> tuple[Decided, RestoreRegistry]:
    async with recovering(bench) as (recovery, registry):
        result = await recovery.decide()
    for unfinished in result.unfinished:
        unfinished.journal.close()
    return result, registry


async def test_without_journals_there_is_nothing_to_decide(bench: JournalBench) -> None:
    found, registry = await decided(bench)
    assert (found.unfinished, found.blocked, found.unreadable) == ([], [], [])
    assert registry.all_undecided() == ()


@pytest.mark.parametrize(
    ("records", "exchanged", "side", "direction"),
    [
        (TO_SAFE, (), "old", Direction.ABORTED),
        (TO_SAFE[:1], (), "old", Direction.ABORTED),
        (TO_COMMIT, (), "new", Direction.TRIAL_PENDING),
        (TO_COMMIT, (0,), "new", Direction.TRIAL_PENDING),
        (TO_COMMIT, (1,), "new", Direction.TRIAL_PENDING),
        (TO_COMMIT, BOTH, "new", Direction.TRIAL_PENDING),
        (TO_SWAPPED, BOTH, "new", Direction.TRIAL_PENDING),
        (TO_TRIAL, BOTH, "new", Direction.TRIAL_PENDING),
        (TO_BACKWARD, BOTH, "old", Direction.REVERTED),
        (TO_BACKWARD, (0,), "old", Direction.REVERTED),
        (TO_BACKWARD, (), "old", Direction.REVERTED),
        (TO_REVERTED, (), "old", Direction.REVERTED),
        (TO_ABORTED, (), "old", Direction.ABORTED),
        (TO_CONFIRMED, BOTH, "new", Direction.CONFIRMED),
    ],
)
async def test_every_volume_ends_on_the_side_that_the_journal_names(
    bench: JournalBench, records: tuple[Record, ...], exchanged: tuple[int, ...], side: str, direction: Direction
) -> None:
    facts = bench.left("r1", *records, exchanged=exchanged)
    for _ in range(2):  # deciding again, after a crash in the middle, decides the same
        found, registry = await decided(bench)
        (unfinished,) = found.unfinished
        assert unfinished.facts.restore_id == "r1"
        assert unfinished.journal.direction is direction
        assert bench.sides(facts) == [side, side]
        assert read_journal(Fs(), str(bench.path_of(facts))).direction is direction
        assert registry.all_undecided() == ()
    assert bench.wrappers(facts) == [True, True], "removing comes later"


async def test_a_staging_that_was_cut_off_is_called_off(bench: JournalBench) -> None:
    facts = bench.left("r1", staged=False)
    found, _ = await decided(bench)
    assert [each.journal.direction for each in found.unfinished] == [Direction.ABORTED]
    assert bench.sides(facts) == ["old", "old"]


async def test_a_journal_that_is_done_or_began_nothing_is_removed(bench: JournalBench) -> None:
    done = bench.left("r1", *TO_DONE, exchanged=BOTH)
    empty = bench.files.journal_dir / "r2.journal"
    empty.write_bytes(b"\0" * 4096)
    found, registry = await decided(bench)
    assert found.unfinished == []
    assert not bench.path_of(done).exists()
    assert not empty.exists()
    assert registry.all_undecided() == ()


async def test_a_journal_that_is_done_and_cannot_be_removed_keeps_nobody_off(bench: JournalBench, disk: Disk) -> None:
    bench.left("r1", *TO_DONE, exchanged=BOTH)
    disk.removes = False
    found, registry = await decided(bench)
    assert (found.blocked, found.unreadable) == ([], [])
    assert registry.all_undecided() == ()


async def test_a_recovery_that_dies_between_two_exchanges_goes_on_where_it_was(bench: JournalBench, disk: Disk) -> None:
    facts = bench.left("r1", *TO_COMMIT)
    disk.crash_after = 1
    with pytest.raises(PowerCutError):
        await decided(bench)
    assert sorted(bench.sides(facts)) == ["new", "old"]
    found, _ = await decided(bench)
    assert bench.sides(facts) == ["new", "new"]
    assert found.unfinished[0].journal.direction is Direction.TRIAL_PENDING


async def test_an_exchange_that_fails_leaves_the_workload_to_a_person_and_is_tried_at_the_next_start(
    bench: JournalBench, disk: Disk
) -> None:
    facts = bench.left("r1", *TO_COMMIT, lock_ids=("w1", "w2"))
    disk.exchanges_left = 1
    found, registry = await decided(bench)
    assert found.unfinished == []
    ((blocked, error),) = found.blocked
    assert (blocked.restore_id, error.code) == ("r1", "exchange_failed")
    assert error.next_step
    for workload in ("w1", "w2"):
        with pytest.raises(Conflict):
            registry.require_decided(workload)
    registry.require_decided("w3")
    disk.exchanges_left = 2
    found, registry = await decided(bench)
    assert bench.sides(facts) == ["new", "new"]
    registry.require_decided("w1")


@pytest.mark.parametrize("lost", ["live", "staged"])
@pytest.mark.parametrize("records", [TO_COMMIT, TO_BACKWARD], ids=["forward", "backward"])
async def test_directories_that_are_not_where_they_must_be_are_left_alone_with_an_explanation(
    bench: JournalBench, lost: str, records: tuple[Record, ...]
) -> None:
    facts = bench.left("r1", *records)
    tree = live_tree(facts.volumes[1]) if lost == "live" else staged_tree(facts.volumes[1])
    away = bench.base / "away"
    tree.rename(away)
    found, registry = await decided(bench)
    ((_, error),) = found.blocked
    assert error.code == "recovery_unclear"
    assert str(tree) in error.message
    untouched = live_tree(facts.volumes[0]) / "which"
    assert untouched.read_text() == "old", "not even the volume that could have been exchanged"
    pending = registry.undecided("w1")
    assert pending is not None
    assert pending.restore_id == "r1"
    away.rename(tree)
    found, _ = await decided(bench)
    assert found.blocked == []


async def test_a_directory_of_the_same_name_is_not_taken_for_the_one_that_was_there(bench: JournalBench) -> None:
    facts = bench.left("r1", *TO_COMMIT)
    live = live_tree(facts.volumes[0])
    live.rename(bench.base / "away")
    live.mkdir()
    (live / "which").write_text("old")
    found, _ = await decided(bench)
    assert [error.code for _, error in found.blocked] == ["recovery_unclear"]


async def test_once_exchanged_nothing_is_exchanged_back_without_being_told_to(bench: JournalBench) -> None:
    facts = bench.left("r1", *TO_TRIAL, exchanged=(0,))
    found, _ = await decided(bench)
    assert [error.code for _, error in found.blocked] == ["recovery_unclear"]
    assert bench.sides(facts) == ["new", "old"]


async def test_a_damaged_journal_keeps_everybody_off_the_workloads_that_it_names(bench: JournalBench) -> None:
    facts = bench.left("r1", *TO_COMMIT, lock_ids=("w1", "w2"), exchanged=(0,))
    other = bench.left("r2", *TO_COMMIT, lock_ids=("w3",))
    path = bench.path_of(facts)
    first, second, *rest = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join((first, second[:-3] + b"x" + second[-2:], *rest)))
    damaged = path.read_bytes()
    found, registry = await decided(bench)
    assert [each.facts.restore_id for each in found.unfinished] == ["r2"]
    assert len(found.unreadable) == 1
    assert str(path) in found.unreadable[0]
    assert bench.sides(facts) == ["new", "old"], "untouched"
    assert path.read_bytes() == damaged
    assert bench.sides(other) == ["new", "new"]
    for workload in ("w1", "w2"):
        pending = registry.undecided(workload)
        assert pending is not None
        assert pending.restore_id is None
    registry.require_decided("w3")


@pytest.mark.parametrize("content", [b"what is this\n", b"\xff" * 300 + b"\n" + b"\xff" * 10])
async def test_a_journal_that_does_not_say_whose_it_is_keeps_everybody_off_all_workloads(
    bench: JournalBench, content: bytes
) -> None:
    (bench.files.journal_dir / "r1.journal").write_bytes(content)
    found, registry = await decided(bench)
    assert len(found.unreadable) == 1
    for workload in ("w1", "w2", "w3"):
        with pytest.raises(Conflict):
            registry.require_decided(workload)
    assert len(registry.all_undecided()) == 1


async def test_a_torn_last_record_was_never_written(bench: JournalBench) -> None:
    facts = bench.left("r1", *TO_COMMIT)
    path = bench.path_of(facts)
    content = path.read_bytes().rstrip(b"\0")
    path.write_bytes(content[:-10])
    found, _ = await decided(bench)
    assert [each.journal.direction for each in found.unfinished] == [Direction.ABORTED]
    assert bench.sides(facts) == ["old", "old"]


async def test_restores_of_different_workloads_are_decided_each_by_itself(bench: JournalBench) -> None:
    forward = bench.left("r1", *TO_COMMIT, lock_ids=("w1",))
    lost = bench.left("r2", *TO_COMMIT, lock_ids=("w2",))
    backward = bench.left("r3", *TO_BACKWARD, lock_ids=("w3",), exchanged=BOTH)
    live_tree(lost.volumes[0]).rename(bench.base / "away")
    found, registry = await decided(bench)
    assert [each.facts.restore_id for each in found.unfinished] == ["r1", "r3"]
    assert [facts.restore_id for facts, _ in found.blocked] == ["r2"]
    assert bench.sides(forward) == ["new", "new"]
    assert bench.sides(backward) == ["old", "old"]
    assert [item.workload_ids for item in registry.all_undecided()] == [("w2",)]
