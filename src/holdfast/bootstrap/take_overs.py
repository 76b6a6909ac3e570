"""Imports of containers and their take-over, put together."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.config import Settings
from holdfast.engine.fs import Fs
from holdfast.engine.take_over_files import TakeOverFiles
from holdfast.runtime.port import ContainerRuntime
from holdfast.services.capture import Capture
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.deployer import Deployer
from holdfast.services.instances import Instances
from holdfast.services.locks import LifecycleLocks
from holdfast.services.operations import Operations
from holdfast.services.quiesce import Quiescer
from holdfast.services.secrets import Secrets
from holdfast.services.sharing import Sharing
from holdfast.services.take_over_checks import TakeOverChecks
from holdfast.services.take_over_return import TakeOverReturn
from holdfast.services.take_overs import TakeOvers
from holdfast.services.volumes import VolumeResolver
from holdfast.services.workers import Workers
from holdfast.services.workload_deletion import WorkloadDeletion
from holdfast.services.workloads import Workloads
from holdfast.store.snapshots import SnapshotStateStore


def take_overs_of(
    settings: Settings,
    fs: Fs,
    *,
    workloads: Workloads,
    deletion: WorkloadDeletion,
    secrets: Secrets,
    volumes: VolumeResolver,
    sharing: Sharing,
    runtime: ContainerRuntime,
    instances: Instances,
    deployer: Deployer,
    records: DeployRecords,
    capture: Capture,
    states: SnapshotStateStore,
    workers: Workers,
    quiescer: Quiescer,
    locks: LifecycleLocks,
    operations: Operations,
    notice: Callable[[str], None],
) -> TakeOvers:
    """Build them. What was cut off is taken up by ``recover``."""
    files = TakeOverFiles(fs, settings.take_overs_dir)
    return TakeOvers(
        checks=TakeOverChecks(workloads=workloads, volumes=volumes, instances=instances),
        workloads=workloads,
        secrets=secrets,
        sharing=sharing,
        runtime=runtime,
        deployer=deployer,
        records=records,
        capture=capture,
        states=states,
        workers=workers,
        quiescer=quiescer,
        back=TakeOverReturn(
            runtime=runtime, instances=instances, quiescer=quiescer, records=records, deletion=deletion, files=files
        ),
        locks=locks,
        operations=operations,
        files=files,
        notice=notice,
    )
