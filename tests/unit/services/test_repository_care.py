"""Deleting what workloads no longer keep, freeing what nothing needs, and reading back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.services.deploy_bench import STATEFUL
from tests.unit.services.snapshot_bench import SnapshotBench, opened

from holdfast.config import Settings
from holdfast.domain.errors import Busy, NotFound
from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.retention import Keep
from holdfast.domain.workload import SnapshotPolicy, Workload
from holdfast.services.repository_care import RepositoryCare


class CareBench:
    def __init__(self, bench: SnapshotBench) -> None:
        self.bench = bench
        self.care = RepositoryCare(
            settings=Settings(),
            workloads=bench.workloads,
            snapshots=bench.snapshots,
            store=bench.store,
            states=bench.states,
            operations=bench.operations,
            workers=bench.workers,
            in_use=bench.in_use,
            registry=bench.registry,
        )

    async def workload(self, keep: Keep | None) -> Workload:
        return await self.bench.filled(replace(STATEFUL, snapshots=SnapshotPolicy(keep=keep)))

    async def taken(self, workload: Workload, *contents: str) -> list[str]:
        """Snapshots of the workload, each with a content of its own, oldest first."""
        ids = []
        for content in contents:
            (self.bench.data_of(workload) / "kept").write_text(content * 1000)
            ids.append((await self.bench.taken(workload)).id)
        return ids

    async def pruned(self, ref: str | None = None, *, dry_run: bool = False) -> dict[str, Any]:
        operation = await self.bench.done(await self.care.prune(ref, dry_run=dry_run, actor="a"))
        return operation.outcome

    async def verified(self, percent: int = 100) -> Operation:
        return await self.bench.ended(await self.care.verify(percent=percent, actor="a"))

    def left(self) -> list[str]:
        return sorted(manifest.id for manifest in self.bench.store.manifests())


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[CareBench]:
    async with opened(tmp_path) as bench:
        yield CareBench(bench)


async def test_what_a_workload_no_longer_keeps_goes_and_frees_its_packs(bench: CareBench) -> None:
    workload = await bench.workload(Keep(last=2))
    ids = await bench.taken(workload, "a", "b", "c", "d")
    outcome = await bench.pruned()
    assert bench.left() == ids[2:]
    assert outcome["deleted_snapshots"] == 2
    assert outcome["freed_bytes"] > 0
    told = {each["id"]: each for each in outcome["snapshots"]}
    assert [told[each]["deleted"] for each in ids] == [True, True, False, False]
    assert told[ids[3]]["reasons"] == ["newest_good", "last"]
    for snapshot_id in ids[2:]:
        assert bench.bench.store.check(bench.bench.store.manifest(snapshot_id)) == ()


async def test_a_dry_run_tells_the_same_and_deletes_nothing(bench: CareBench) -> None:
    workload = await bench.workload(Keep(last=1))
    ids = await bench.taken(workload, "a", "b", "c")
    told = await bench.pruned(dry_run=True)
    assert bench.left() == ids
    assert (told["deleted_snapshots"], told["dry_run"]) == (2, True)
    assert told["deleted_packs"] + told["rewritten_packs"] > 0
    done = await bench.pruned()
    assert {**done, "dry_run": True, "freed_bytes": 0} == {**told, "freed_bytes": 0}


async def test_a_workload_that_says_nothing_keeps_everything(bench: CareBench) -> None:
    ids = await bench.taken(await bench.workload(None), "a", "b")
    outcome = await bench.pruned()
    assert (bench.left(), outcome["snapshots"]) == (ids, [])


async def test_pinned_read_and_newest_good_ones_stay(bench: CareBench) -> None:
    workload = await bench.workload(Keep(last=1))
    pinned, read, good, damaged = await bench.taken(workload, "a", "b", "c", "d")
    await bench.bench.snapshots.set_pinned(workload.id, pinned, True, actor="a")
    await bench.bench.states.verified(damaged, workload.id, "2026-11-23T09:00:00.000000Z", ("all of it",))
    with bench.bench.in_use.hold(read, "an export"):
        outcome = await bench.pruned()
    assert bench.left() == sorted([pinned, read, good, damaged])
    reasons = {each["id"]: each["reasons"] for each in outcome["snapshots"]}
    assert reasons == {
        pinned: ["pinned"],
        read: ["in_use"],
        good: ["newest_good", "last"],
        damaged: ["last"],
    }


async def test_the_way_back_of_a_restore_that_is_not_over_stays_though_somebody_released_it(bench: CareBench) -> None:
    workload = await bench.workload(Keep(last=1))
    safety, newest = await bench.taken(workload, "a", "b")
    await bench.bench.states.pin_safety(safety, workload.id, "r1")
    await bench.bench.snapshots.set_pinned(workload.id, safety, False, actor="a")
    bench.bench.registry.begin(workload.id, "r1")
    await bench.pruned()
    assert bench.left() == sorted([safety, newest])
    bench.bench.registry.end(workload.id, "r1")
    await bench.pruned()
    assert bench.left() == [newest]


async def test_one_workload_alone_can_be_pruned(bench: CareBench) -> None:
    workload = await bench.workload(Keep(last=1))
    other = replace(STATEFUL, name="other", project="other", snapshots=SnapshotPolicy(keep=Keep(last=1)))
    theirs = await bench.taken(await bench.bench.filled(other), "x", "y")
    own = await bench.taken(workload, "a", "b")
    await bench.pruned(workload.name)
    assert bench.left() == sorted([*theirs, own[1]])
    with pytest.raises(NotFound):
        await bench.care.prune("nobody", dry_run=False, actor="a")


async def test_one_prune_at_a_time(bench: CareBench) -> None:
    await bench.workload(Keep(last=1))
    first = await bench.care.prune(None, dry_run=False, actor="a", idempotency_key="once")
    async for operation in bench.bench.operations.events(first.id):
        if operation.steps:
            break
    with pytest.raises(Busy):
        await bench.care.prune(None, dry_run=False, actor="a")
    again = await bench.care.prune(None, dry_run=False, actor="a", idempotency_key="once")
    assert again.id == first.id, "the same request once more is no second one"
    await bench.bench.done(first)
    await bench.pruned()


async def test_a_verification_of_everything_says_so_of_every_snapshot(bench: CareBench) -> None:
    workload = await bench.workload(None)
    (snapshot,) = await bench.taken(workload, "a")
    assert (await bench.verified(50)).state is OperationState.SUCCEEDED
    assert (await bench.bench.snapshots.get(workload.id, snapshot)).verified_at is None
    assert (await bench.verified()).outcome["packs"] == 1
    assert (await bench.bench.snapshots.get(workload.id, snapshot)).verified_at is not None


async def test_damage_is_told_noted_and_healed(bench: CareBench) -> None:
    workload = await bench.workload(None)
    first, second = await bench.taken(workload, "a", "b")
    packs = sorted((bench.bench.own / "repository" / "packs").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    content = packs[1].read_bytes()
    packs[1].write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    failed = await bench.verified()
    assert failed.state is OperationState.FAILED
    assert failed.error is not None
    assert failed.error["code"] == "repository_damaged"
    assert (await bench.bench.snapshots.get(workload.id, second)).damaged
    assert not (await bench.bench.snapshots.get(workload.id, first)).damaged
    await bench.taken(workload, "b")
    assert (await bench.verified()).state is OperationState.SUCCEEDED
    assert not (await bench.bench.snapshots.get(workload.id, second)).damaged
