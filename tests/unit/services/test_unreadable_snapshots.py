"""Snapshots whose manifest can't be read are told of, and deleted alone by who names one twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.services.snapshot_bench import SnapshotBench, opened

from holdfast.domain.errors import ConfirmationMissing, Conflict, HoldfastError, NotFound, Refused
from holdfast.domain.ids import new_id
from holdfast.engine.requests import PruneRequest
from holdfast.services.operations import OperationContext
from holdfast.services.unreadable_snapshots import UnreadableSnapshots


class Damaged:
    """A workload with three snapshots of contents that differ, the manifest of the middle one flipped in one bit."""

    def __init__(self, bench: SnapshotBench, ids: list[str]) -> None:
        self.bench = bench
        self.first, self.broken, self.last = ids
        self.service = UnreadableSnapshots(
            store=bench.store, states=bench.states, workloads=bench.workloads, in_use=bench.in_use
        )

    def manifest(self) -> Path:
        return self.bench.own / "repository" / "manifests" / self.broken

    async def delete(self, snapshot_id: str | None = None) -> None:
        asked = snapshot_id or self.broken
        await self.service.delete(asked, confirm=asked, actor="ann")

    def left(self) -> list[str]:
        return sorted(manifest.id for manifest in self.bench.store.manifests())

    async def prune(self) -> None:
        async def run(ctx: OperationContext) -> None:
            async with self.bench.workers.session(ctx) as worker:
                await worker.run(PruneRequest(dry_run=False, without=(), unused_percent=1))

        await self.bench.within(run)


@pytest.fixture
async def damaged(tmp_path: Path) -> AsyncIterator[Damaged]:
    async with opened(tmp_path) as bench:
        workload = await bench.filled()
        ids = []
        for number in range(3):
            (bench.data_of(workload) / f"file-{number}").write_text(f"{number}" * 5000)
            ids.append((await bench.taken(workload)).id)
        found = Damaged(bench, ids)
        await bench.states.pin_safety(found.broken, workload.id, "01j0000000000000000000000r")
        content = bytearray(found.manifest().read_bytes())
        content[len(content) // 2] ^= 1
        found.manifest().write_bytes(content)
        yield found


async def test_they_are_listed_with_what_is_known_all_the_same(damaged: Damaged) -> None:
    (found,) = await damaged.service.list()
    assert (found.id, found.workload, found.pinned) == (damaged.broken, "notes", True)
    assert found.safety_for == "01j0000000000000000000000r"
    assert found.code in ("manifest_malformed", "manifest_not_authentic")
    assert (await damaged.bench.snapshots.facts()).unreadable == (damaged.broken,)


async def test_deleting_one_leaves_all_others_whole_and_lets_a_prune_go_on(damaged: Damaged) -> None:
    with pytest.raises(Refused) as caught:
        await damaged.prune()
    assert caught.value.code == "prune_snapshot_unreadable"
    assert "delete-damaged" in caught.value.next_step
    await damaged.delete()
    assert await damaged.service.list() == []
    assert damaged.left() == [damaged.first, damaged.last]
    assert await damaged.bench.states.get(damaged.broken) is None
    await damaged.prune()
    for snapshot_id in damaged.left():
        done = await damaged.bench.done(await damaged.bench.snapshots.verify("notes", snapshot_id, actor="ann"))
        assert done.outcome["snapshot_id"] == snapshot_id


@pytest.mark.parametrize(("confirm", "error"), [(None, ConfirmationMissing), ("01j", Refused)])
async def test_it_has_to_be_named_twice(damaged: Damaged, confirm: str | None, error: type[Exception]) -> None:
    with pytest.raises(error):
        await damaged.service.delete(damaged.broken, confirm=confirm, actor="ann")
    assert damaged.manifest().exists()


async def test_what_can_be_read_is_not_deleted_this_way(damaged: Damaged) -> None:
    with pytest.raises(Conflict) as caught:
        await damaged.delete(damaged.first)
    assert caught.value.code == "snapshot_readable"
    assert damaged.first in damaged.left()


async def test_what_the_disk_does_not_give_out_is_no_damage(damaged: Damaged) -> None:
    damaged.manifest().unlink()
    damaged.manifest().mkdir()
    (damaged.manifest() / "kept").touch()
    with pytest.raises(HoldfastError):
        await damaged.delete()
    assert (damaged.manifest() / "kept").exists()


async def test_what_is_not_there_is_unknown(damaged: Damaged) -> None:
    for unknown in (new_id(), "../packs"):
        with pytest.raises(NotFound) as caught:
            await damaged.delete(unknown)
        assert caught.value.code == "snapshot_unknown"


async def test_one_that_is_used_stays(damaged: Damaged) -> None:
    with damaged.bench.in_use.hold(damaged.broken, "a verification"), pytest.raises(Conflict) as caught:
        await damaged.delete()
    assert caught.value.code == "snapshot_in_use"
    assert damaged.manifest().exists()
