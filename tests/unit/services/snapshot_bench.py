"""The services of snapshots, on real files and without worker processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from tests.unit.services.deploy_bench import STATEFUL, Bench

from holdfast.domain.errors import NotFound
from holdfast.domain.operation import Operation, OperationState
from holdfast.domain.snapshot import SnapshotManifest, SnapshotReason
from holdfast.domain.workload import Quiesce, Workload, WorkloadSpec
from holdfast.engine.fs import Fs
from holdfast.engine.holds import HoldFiles
from holdfast.engine.requests import WorkerSettings
from holdfast.engine.stores import open_stores
from holdfast.services.capture import Capture
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.deploy_snapshots import DeploySnapshots
from holdfast.services.hooks import HookRunner
from holdfast.services.in_use import SnapshotsInUse
from holdfast.services.quiesce import Quiescer
from holdfast.services.ran import RanVersions
from holdfast.services.restore_registry import RestoreRegistry
from holdfast.services.sharing import Sharing
from holdfast.services.snapshots import Snapshots
from holdfast.services.workloads import Workloads
from holdfast.store.snapshots import SnapshotStateStore
from holdfast.testing.quick_workers import QuickWorkers
from holdfast.testing.stores import store_settings

INSTALLATION = "01j00000000000000000000000"


class SnapshotBench(Bench):
    """A deployed workload can be captured, and what was captured be looked at, kept, deleted and checked."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        own = path / "own"
        for name in ("snapshots", "holds", "keys", "uploads", "repository"):
            (own / name).mkdir(parents=True)
        self.own = own
        self.store = open_stores(Fs(), self.live, store_settings(own))
        self.workers = QuickWorkers(
            WorkerSettings(
                roots=(str(self.base),),
                stores=store_settings(own),
            ),
            count=2,
        )
        self.registry = RestoreRegistry()
        self.holds = HoldFiles(Fs(), own / "holds")
        self.in_use = SnapshotsInUse()
        self.states = SnapshotStateStore(self.database)
        self.capture = self.capture_with(self.holds)
        self.before.real = DeploySnapshots(
            records=DeployRecords(self.deployments, self.workloads, self.images),
            sharing=Sharing(workloads=self.workloads, deployments=self.deployments, volumes=self.volumes),
            capture=self.capture,
            workers=self.workers,
        )
        self.snapshots = Snapshots(
            workloads=cast("Workloads", _Found(self)),
            store=self.store,
            states=self.states,
            operations=self.operations,
            workers=self.workers,
            capture=self.capture,
            in_use=self.in_use,
        )

    def capture_with(self, holds: HoldFiles) -> Capture:
        """Captures that write down what they hold in ``holds``."""
        return Capture(
            installation=INSTALLATION,
            workloads=self.workloads,
            volumes=self.volumes,
            sharing=Sharing(workloads=self.workloads, deployments=self.deployments, volumes=self.volumes),
            runtime=self.runtime,
            quiescer=Quiescer(self.runtime, INSTALLATION),
            hooks=HookRunner(self.runtime, self.secrets),
            holds=holds,
            store=self.store,
            locks=self.locks,
            workers=self.workers,
            registry=self.registry,
            ran=RanVersions(DeployRecords(self.deployments, self.workloads, self.images)),
        )

    def data_of(self, workload: Workload) -> Path:
        """Its first volume."""
        return Path(self.volumes.resolve(workload.spec, workload.spec.volumes[0]).path)

    async def filled(self, spec: WorkloadSpec = STATEFUL) -> Workload:
        """A workload that runs on some data."""
        workload = await self.deployed(spec)
        (self.data_of(workload) / "kept").write_text("taken")
        return workload

    async def taken(self, workload: Workload, quiesce: Quiesce = Quiesce.PAUSE) -> SnapshotManifest:
        """Capture it, as an operation."""
        return await self.within(
            lambda ctx: self.capture.take(ctx, workload.id, quiesce, reason=SnapshotReason.MANUAL, note="")
        )

    async def done(self, operation: Operation) -> Operation:
        """The operation once it has ended well."""
        end = await self.ended(operation)
        assert end.state is OperationState.SUCCEEDED, end.error
        return end


class _Found:
    """What snapshots need of the workloads' service."""

    def __init__(self, bench: SnapshotBench) -> None:
        self._bench = bench

    async def get(self, ref: str) -> Workload:
        found = await self._bench.workloads.find(ref)
        if found is None:
            raise NotFound("workload_unknown", f"There is no workload {ref}.", next_step="List them.")
        return found


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SnapshotBench]:
    """A bench whose files are below ``path``."""
    bench = SnapshotBench(path)
    await bench.database.open()
    try:
        yield bench
    finally:
        await bench.operations.close(0)
        await bench.database.close()
        bench.live.close()
