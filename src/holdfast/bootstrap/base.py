"""What everything else is built on: what was opened at the start, and what all parts share."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.bootstrap.data_directory import worker_settings_of
from holdfast.bootstrap.seams import Seams
from holdfast.config import Settings
from holdfast.engine.data_lock import DataLock
from holdfast.engine.fs import Fs
from holdfast.engine.holds import HoldFiles
from holdfast.engine.live import LiveRoots
from holdfast.engine.sealing import Sealing
from holdfast.engine.stores import Stores
from holdfast.runtime.port import ContainerRuntime
from holdfast.services.in_use import SnapshotsInUse
from holdfast.services.locks import DrainBarrier, LifecycleLocks
from holdfast.services.operations import Operations
from holdfast.services.readiness import Readiness
from holdfast.services.restore_files import RestoreFiles
from holdfast.services.restore_registry import RestoreRegistry
from holdfast.services.updates import Updates
from holdfast.services.workers import Workers
from holdfast.store.database import Database
from holdfast.store.deployments import DeploymentStore
from holdfast.store.operations import OperationStore
from holdfast.store.snapshots import SnapshotStateStore
from holdfast.store.workloads import WorkloadStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """It, ready made."""

    settings: Settings
    seams: Seams
    fs: Fs
    lock: DataLock
    installation: str
    database: Database
    runtime: ContainerRuntime
    roots: LiveRoots
    stores: Stores
    workload_store: WorkloadStore
    deployment_store: DeploymentStore
    operation_store: OperationStore
    snapshot_states: SnapshotStateStore
    registry: RestoreRegistry
    readiness: Readiness
    locks: LifecycleLocks
    barrier: DrainBarrier
    in_use: SnapshotsInUse
    updates: Updates
    operations: Operations
    workers: Workers
    files: RestoreFiles
    holds: HoldFiles
    sealing: Sealing


def base_of(
    settings: Settings,
    seams: Seams,
    lock: DataLock,
    installation: str,
    database: Database,
    runtime: ContainerRuntime,
    roots: LiveRoots,
    stores: Stores,
) -> Base:
    """Build it."""
    fs = seams.fs
    workload_store = WorkloadStore(database)
    deployment_store = DeploymentStore(database)
    operation_store = OperationStore(database)
    snapshot_states = SnapshotStateStore(database)

    registry = RestoreRegistry()
    readiness = Readiness(registry)
    locks = LifecycleLocks()
    barrier = DrainBarrier()
    in_use = SnapshotsInUse()
    updates = Updates()
    operations = Operations(operation_store, barrier, updates)
    workers = seams.workers(
        worker_settings_of(settings, installation),
        count=settings.workers,
        keep=[lock.fileno()],
        command=seams.worker_command,
    )
    files = seams.files(fs=fs, roots=roots, journal_dir=settings.journal_dir, workers=workers)
    holds = HoldFiles(fs, settings.holds_dir)
    sealing = Sealing(fs, settings.keys_dir)
    return Base(
        settings=settings,
        seams=seams,
        fs=fs,
        lock=lock,
        installation=installation,
        database=database,
        runtime=runtime,
        roots=roots,
        stores=stores,
        workload_store=workload_store,
        deployment_store=deployment_store,
        operation_store=operation_store,
        snapshot_states=snapshot_states,
        registry=registry,
        readiness=readiness,
        locks=locks,
        barrier=barrier,
        in_use=in_use,
        updates=updates,
        operations=operations,
        workers=workers,
        files=files,
        holds=holds,
        sealing=sealing,
    )
