"""What somebody removes by hand is looked at; what Holdfast removes itself is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.services.deploy_bench import STATELESS, Bench, opened

from holdfast.domain.deployment import DeploymentState, DeployReason
from holdfast.domain.operation import OperationState
from holdfast.domain.workload import Workload
from holdfast.services.reconcile import Reconciled
from holdfast.services.removal_watch import RemovalWatch


class Watched:
    """A bench whose engine tells a watch of what happens, and what the watch had looked at."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.found: list[Reconciled] = []
        self.watch = RemovalWatch(installation=bench.installation, records=bench.records, look=self._look, pause=0.01)
        self.end = bench.runtime.engine.listen(self.watch.happened)

    async def _look(self, workload_id: str) -> Reconciled:
        found = await self.bench.reconciler.look(workload_id)
        self.found.append(found)
        return found

    async def remove(self, workload: Workload) -> None:
        for container in await self.bench.there(workload):
            await self.bench.runtime.remove(container.id, force=True)


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    async with opened(tmp_path) as bench:
        watched = Watched(bench)
        yield watched
        watched.end()


async def mended(watched: Watched) -> Reconciled:
    """The one look that was taken, once what it began has ended well."""
    (found,) = watched.found
    assert found.operation_id is not None
    ended = await watched.bench.ended(await watched.bench.operations.get(found.operation_id))
    assert ended.state is OperationState.SUCCEEDED
    return found


async def test_a_removed_instance_is_deployed_again_while_the_server_runs(watched: Watched) -> None:
    workload = await watched.bench.deployed()
    watched.watch.start()
    await watched.remove(workload)
    async with asyncio.timeout(10):
        while not watched.found:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    assert [each.code for each in (await mended(watched)).differences] == ["instance_missing"]
    await watched.watch.close()
    assert len(await watched.bench.running(workload)) == 1
    newest = await watched.bench.newest(workload)
    assert (newest.reason, newest.state) == (DeployReason.RECONCILE, DeploymentState.SUCCEEDED)


async def test_what_deployments_and_deletions_remove_is_not_looked_at(watched: Watched) -> None:
    bench = watched.bench
    workload = await bench.deployed()
    bench.runtime.add_image("notes:2")
    await bench.ended(await bench.deployer.deploy(workload.id, image="notes:2", actor="ann"))
    calls = len(bench.runtime.calls)
    await watched.watch.look()
    assert watched.found == []
    assert len(bench.runtime.calls) == calls
    await watched.remove(workload)
    await bench.workloads.delete(workload.id)
    await watched.watch.look()
    assert watched.found == []


async def test_who_is_at_work_is_let_finish_and_then_it_is_looked_at(watched: Watched) -> None:
    workload = await watched.bench.deployed()
    async with watched.bench.locks.hold([workload.id], "snapshot s1"):
        await watched.remove(workload)
        await watched.watch.look()
        assert watched.found.pop().skipped
        assert await watched.bench.there(workload) == ()
    await watched.watch.look()
    await mended(watched)
    await watched.watch.look()
    assert len(watched.found) == 1


async def test_what_is_meant_to_be_stopped_stays_removed(watched: Watched) -> None:
    workload = await watched.bench.deployed(STATELESS)
    await watched.bench.ended(await watched.bench.deployer.stop(workload.id, actor="ann"))
    await watched.remove(workload)
    await watched.watch.look()
    assert [each.differences for each in watched.found] == [()]
    assert await watched.bench.there(workload) == ()


async def test_what_another_holdfast_removes_is_none_of_its_business(watched: Watched) -> None:
    workload = await watched.bench.deployed()
    other = RemovalWatch(installation="01jother", records=watched.bench.records, look=watched._look)
    end = watched.bench.runtime.engine.listen(other.happened)
    await watched.remove(workload)
    await other.look()
    end()
    assert watched.found == []
