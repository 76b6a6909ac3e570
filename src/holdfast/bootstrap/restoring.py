"""Snapshots and restores, and what is done with them."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.bootstrap.base import Base
from holdfast.bootstrap.data_directory import worker_settings_of
from holdfast.bootstrap.deploying import Deploying
from holdfast.services.active_restores import ActiveRestores
from holdfast.services.clones import Clones
from holdfast.services.copies import Copies
from holdfast.services.drills import Drills
from holdfast.services.reconcile import Reconciler
from holdfast.services.repository_care import RepositoryCare
from holdfast.services.restore import Restores
from holdfast.services.restore_images import RestoreImages
from holdfast.services.restore_parts import RestoreParts
from holdfast.services.restore_places import RestorePlaces
from holdfast.services.restore_preflight import RestorePreflight
from holdfast.services.restore_recovery import RestoreRecovery
from holdfast.services.restore_run import RestoreRun
from holdfast.services.restore_sources import RestoreSources
from holdfast.services.restore_trial import RestoreTrial
from holdfast.services.second_snapshots import SecondSnapshots
from holdfast.services.snapshots import Snapshots
from holdfast.services.swap_recovery import SwapRecovery


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoring:
    """What they are made of, as far as others need it."""

    snapshots: Snapshots
    second: SecondSnapshots
    restores: Restores
    swaps: SwapRecovery
    reconciler: Reconciler
    recovery: RestoreRecovery
    care: RepositoryCare
    copies: Copies
    clones: Clones
    drills: Drills


def restoring_of(base: Base, deploying: Deploying) -> Restoring:
    """Build them."""
    snapshots = Snapshots(
        workloads=deploying.workloads,
        store=base.stores,
        states=base.snapshot_states,
        operations=base.operations,
        workers=base.workers,
        capture=deploying.capture,
        in_use=base.in_use,
    )
    parts = RestoreParts(base.stores)
    second = SecondSnapshots(
        repositories=deploying.repositories,
        operations=base.operations,
        workers=base.workers,
        in_use=base.in_use,
        unused_percent=base.settings.prune_unused_percent,
    )
    sources = RestoreSources(store=base.stores, repositories=deploying.repositories, second=second, in_use=base.in_use)
    preflight = RestorePreflight(
        settings=base.settings,
        installation=base.installation,
        fs=base.fs,
        sources=sources,
        sharing=deploying.sharing,
        places=RestorePlaces(fs=base.fs, roots=base.roots, volumes=deploying.volumes),
        images=RestoreImages(runtime=base.runtime, ran=deploying.ran),
        parts=parts,
        runtime=base.runtime,
        deployer=deploying.deployer,
        secrets=deploying.sealed_values,
        traffic=deploying.traffic,
    )
    restore_run = RestoreRun(
        files=base.files,
        reaper=deploying.reaper,
        preflight=preflight,
        quiescer=deploying.quiescer,
        runtime=base.runtime,
        snapshot_states=base.snapshot_states,
        traffic=deploying.traffic,
        warm_passes_max=base.settings.warm_passes_max,
    )
    trial = RestoreTrial(
        files=base.files,
        deployer=deploying.deployer,
        quiescer=deploying.quiescer,
        instances=deploying.instances,
        volumes=deploying.volumes,
        registry=base.registry,
        clock=base.seams.clock,
        reap_in_background=deploying.reaper.reap_in_background,
    )
    active = ActiveRestores(
        files=base.files,
        registry=base.registry,
        workloads=base.workload_store,
        deployments=base.deployment_store,
        images=deploying.images,
        traffic=deploying.traffic,
    )
    restores = Restores(
        workloads=deploying.workloads,
        volumes=deploying.volumes,
        snapshots=snapshots,
        operations=base.operations,
        operation_store=base.operation_store,
        locks=base.locks,
        workers=base.workers,
        files=base.files,
        registry=base.registry,
        in_use=base.in_use,
        preflight=preflight,
        run=restore_run,
        trial=trial,
        reaper=deploying.reaper,
        active=active,
        images=deploying.images,
        parts=parts,
        sources=sources,
        records=deploying.records,
    )
    swaps = SwapRecovery(files=base.files, registry=base.registry, workloads=base.workload_store)
    reconciler = Reconciler(
        records=deploying.records,
        instances=deploying.instances,
        rollout=deploying.rollout,
        deployer=deploying.deployer,
        data=deploying.data_returns,
        operations=base.operations,
        locks=base.locks,
        restore_pending=base.registry.unfinished,
    )
    recovery = RestoreRecovery(
        swaps=swaps,
        registry=base.registry,
        operations=base.operations,
        locks=base.locks,
        restores=restores,
        active=active,
        run=restore_run,
        trial=trial,
        holds=base.holds,
        capture=deploying.capture,
        reap_in_background=deploying.reaper.reap_in_background,
        records=deploying.records,
        reconcile=reconciler.look,
    )
    care = RepositoryCare(
        settings=base.settings,
        workloads=base.workload_store,
        snapshots=snapshots,
        store=base.stores,
        states=base.snapshot_states,
        operations=base.operations,
        workers=base.workers,
        in_use=base.in_use,
        registry=base.registry,
    )
    copies = Copies(
        repositories=deploying.repositories,
        workloads=deploying.workloads,
        snapshots=snapshots,
        operations=base.operations,
        workers=base.seams.workers(
            worker_settings_of(base.settings, base.installation),
            count=1,
            keep=[base.lock.fileno()],
            command=base.seams.worker_command,
        ),
        in_use=base.in_use,
        limit_rate=base.settings.copy_limit_rate,
    )
    clones = Clones(
        restores=restores,
        workloads=deploying.workloads,
        store=base.workload_store,
        deployments=base.deployment_store,
        snapshots=snapshots,
        volumes=deploying.volumes,
        images=deploying.images,
        sources=deploying.image_sources,
        secrets=deploying.secrets,
        locks=base.locks,
        operation_store=base.operation_store,
    )
    drills = Drills(
        operations=base.operations,
        workloads=deploying.workloads,
        store=base.workload_store,
        snapshots=snapshots,
        states=base.snapshot_states,
        clones=clones,
        deletion=deploying.deletion,
        instances=deploying.instances,
        runtime=base.runtime,
    )
    return Restoring(
        snapshots=snapshots,
        second=second,
        restores=restores,
        swaps=swaps,
        reconciler=reconciler,
        recovery=recovery,
        care=care,
        copies=copies,
        clones=clones,
        drills=drills,
    )
