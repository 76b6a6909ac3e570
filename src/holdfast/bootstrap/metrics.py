"""Metrics and what takes space, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from holdfast.config import Settings
from holdfast.domain.accounts import TokenScope
from holdfast.domain.backup import KeptBackups
from holdfast.engine.disk_use import wrappers
from holdfast.engine.fs import Fs
from holdfast.engine.stores import Stores
from holdfast.runtime.port import ContainerRuntime
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.disk import Disk
from holdfast.services.filesystems import Filesystems
from holdfast.services.health_gate import Clock
from holdfast.services.health_watch import HealthWatch
from holdfast.services.image_care import ImageCare
from holdfast.services.locks import LifecycleLocks
from holdfast.services.metrics import Metrics
from holdfast.services.monitoring import Monitoring
from holdfast.services.operations import Operations
from holdfast.services.readiness import Readiness
from holdfast.services.scheduler import Standing
from holdfast.services.sightings import Sightings
from holdfast.services.updates import Update, Updates
from holdfast.services.volume_looks import VolumeLooks
from holdfast.services.volumes import VolumeResolver
from holdfast.services.workers import Workers
from holdfast.store.database import Database
from holdfast.store.free_space import FreeSpaceStore
from holdfast.store.health import HealthStore
from holdfast.store.metrics import MetricsStore
from holdfast.store.volume_sizes import VolumeSizeStore


@dataclass(frozen=True, slots=True)
class MetricsParts:
    """What tells, and what looks in the background."""

    metrics: Metrics
    disk: Disk
    monitoring: Monitoring
    looks: VolumeLooks
    filesystems: Filesystems
    health: HealthWatch

    def start(self) -> None:
        """Begin to look."""
        self.metrics.start()
        self.looks.start()
        self.filesystems.start()
        self.health.start()

    async def close(self) -> None:
        """Look no more."""
        await self.metrics.close()
        await self.looks.close()
        await self.filesystems.close()
        await self.health.close()


def metrics_of(
    *,
    settings: Settings,
    installation: str,
    fs: Fs,
    database: Database,
    runtime: ContainerRuntime,
    records: DeployRecords,
    volumes: VolumeResolver,
    stores: Stores,
    locks: LifecycleLocks,
    workers: Workers,
    images: ImageCare,
    operations: Operations,
    readiness: Readiness,
    schedules: Callable[[], Awaitable[tuple[Standing, ...]]],
    backups: Callable[[], Awaitable[KeptBackups]],
    sightings: Sightings,
    updates: Updates,
    health_pause: float,
    clock: Clock,
) -> MetricsParts:
    """Build them. Nothing is looked at before they are started."""
    sizes = VolumeSizeStore(database)
    looks = VolumeLooks(
        workloads=records.workloads,
        volumes=volumes,
        manifests=stores.manifests,
        sizes=sizes,
        locks=locks,
        workers=workers,
        wrappers=lambda: wrappers(fs, settings.journal_dir),
        clock=clock,
    )
    metrics = Metrics(
        runtime=runtime,
        installation=installation,
        workload=records.workload,
        store=MetricsStore(database),
        sizes=sizes,
        interval=settings.metrics_interval,
        clock=clock,
    )
    filesystems = Filesystems(settings=settings, fs=fs, store=FreeSpaceStore(database), clock=clock)
    disk = Disk(
        settings=settings,
        fs=fs,
        workloads=records.workloads,
        volumes=volumes,
        snapshots=stores,
        sizes=sizes,
        looks=looks,
        images=images.kept,
        filesystems=filesystems,
    )
    monitoring = Monitoring(
        workloads=records.workloads,
        manifests=stores.manifests,
        schedules=schedules,
        backups=backups,
        filesystems=filesystems.all,
        sizes=sizes,
        metrics=metrics,
        operations=operations,
        readiness=readiness,
    )
    health = HealthWatch(
        installation=installation,
        containers=sightings.all,
        workloads=records.workloads,
        workload=records.workload,
        store=HealthStore(database),
        tell=lambda key: updates.tell(Update(part=TokenScope.METRICS, workload_id=key)),
        clock=clock,
        pause=health_pause,
    )
    return MetricsParts(metrics, disk, monitoring, looks, filesystems, health)
