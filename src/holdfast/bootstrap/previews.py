"""Previews, put together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from holdfast.config import Settings
from holdfast.services.clones import Clones
from holdfast.services.deployer import Deployer
from holdfast.services.health_gate import Clock
from holdfast.services.locks import LifecycleLocks
from holdfast.services.operations import Operations
from holdfast.services.preview_expiry import PreviewExpiry
from holdfast.services.previews import Previews
from holdfast.services.secrets import Secrets
from holdfast.services.snapshots import Snapshots
from holdfast.services.volumes import VolumeResolver
from holdfast.services.workload_deletion import WorkloadDeletion
from holdfast.services.workloads import Workloads
from holdfast.store.database import Database
from holdfast.store.deployments import DeploymentStore
from holdfast.store.operations import OperationStore
from holdfast.store.previews import PreviewStore
from holdfast.store.workloads import WorkloadStore


@dataclass(frozen=True, slots=True)
class PreviewParts:
    """What makes previews, and what removes those that have expired."""

    previews: Previews
    expiry: PreviewExpiry


def previews_of(
    *,
    settings: Settings,
    database: Database,
    clock: Clock,
    workloads: Workloads,
    snapshots: Snapshots,
    clones: Clones,
    deployer: Deployer,
    deletion: WorkloadDeletion,
    secrets: Secrets,
    volumes: VolumeResolver,
    locks: LifecycleLocks,
    operations: Operations,
) -> PreviewParts:
    """Build them. Nothing expires before the expiry is started."""
    store = PreviewStore(database)
    changed = asyncio.Event()
    previews = Previews(
        store=store,
        workloads=workloads,
        workload_store=WorkloadStore(database),
        deployments=DeploymentStore(database),
        operation_store=OperationStore(database),
        snapshots=snapshots,
        clones=clones,
        deployer=deployer,
        deletion=deletion,
        secrets=secrets,
        volumes=volumes,
        locks=locks,
        clock=clock,
        most=settings.max_previews,
        changed=changed,
    )
    expiry = PreviewExpiry(previews=previews, store=store, operations=operations, clock=clock, changed=changed)
    return PreviewParts(previews, expiry)
