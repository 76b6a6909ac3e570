"""Every object, built once, in the order in which they are needed.

Start: data directory and its lock → migrate → connect → decide and finish interrupted swaps → clean orphans → take up
interrupted operations, each with its locks → serve. Stop: the same backwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from holdfast.api.services import ApiServices
from holdfast.bootstrap.accounts import accounts_of
from holdfast.bootstrap.data_directory import (
    LOCK_WAIT,
    clean_temporaries,
    clean_uploads,
    installation_of,
    live_roots_of,
    make_directories,
    store_settings_of,
    worker_settings_of,
)
from holdfast.bootstrap.logs import kept_logs_of, tidy_kept_logs
from holdfast.bootstrap.metrics import metrics_of
from holdfast.bootstrap.previews import previews_of
from holdfast.bootstrap.seams import Seams
from holdfast.bootstrap.take_overs import take_overs_of
from holdfast.bootstrap.webhooks import webhooks_of
from holdfast.config import Settings
from holdfast.domain import edge as edge_kinds
from holdfast.domain.errors import HoldfastError
from holdfast.edge.caddy import end_own
from holdfast.engine.data_lock import DataLock
from holdfast.engine.holds import HoldFiles
from holdfast.engine.live import LiveRoots
from holdfast.engine.sealing import Sealing
from holdfast.engine.stores import Stores, open_stores
from holdfast.runtime.port import ContainerRuntime, EngineInfo
from holdfast.services.active_restores import ActiveRestores
from holdfast.services.alarms import Alarms
from holdfast.services.archive_moves import ArchiveMoves
from holdfast.services.capture import Capture
from holdfast.services.clones import Clones
from holdfast.services.container_import import ContainerImport
from holdfast.services.copies import Copies
from holdfast.services.data_returns import DataReturns
from holdfast.services.data_rollbacks import DataRollbacks
from holdfast.services.deploy_records import DeployRecords
from holdfast.services.deploy_snapshots import DeploySnapshots
from holdfast.services.deployer import Deployer
from holdfast.services.deployment_changes import DeploymentChanges
from holdfast.services.doctor import Doctor
from holdfast.services.drills import Drills
from holdfast.services.edge_watch import EdgeWatch
from holdfast.services.engine_volumes import EngineVolumes
from holdfast.services.engine_watch import EngineWatch
from holdfast.services.health_gate import HealthGate
from holdfast.services.hooks import SnapshotHooks
from holdfast.services.image_care import ImageCare
from holdfast.services.image_source import ImageSource
from holdfast.services.in_use import SnapshotsInUse
from holdfast.services.instances import Instances
from holdfast.services.last_snapshots import LastSnapshots
from holdfast.services.locks import DrainBarrier, Held, LifecycleLocks
from holdfast.services.log_keeping import LogKeeping
from holdfast.services.logs import Logs
from holdfast.services.notifications import Notifications
from holdfast.services.operations import OperationContext, Operations
from holdfast.services.preview_expiry import PreviewExpiry
from holdfast.services.probe_removal import remove_left_probes
from holdfast.services.promotions import Promotions
from holdfast.services.quiesce import Quiescer
from holdfast.services.ran import RanVersions
from holdfast.services.readiness import Readiness
from holdfast.services.reaper import Reaper
from holdfast.services.reconcile import Reconciler
from holdfast.services.registries import Registries
from holdfast.services.replacement import Replacement
from holdfast.services.repositories import Repositories
from holdfast.services.repository_care import RepositoryCare
from holdfast.services.restore import Restores
from holdfast.services.restore_images import RestoreImages
from holdfast.services.restore_parts import RestoreParts
from holdfast.services.restore_places import RestorePlaces
from holdfast.services.restore_plan import RestoreRequest
from holdfast.services.restore_preflight import RestorePreflight
from holdfast.services.restore_recovery import RestoreRecovery
from holdfast.services.restore_registry import RestoreRegistry
from holdfast.services.restore_run import RestoreRun
from holdfast.services.restore_sources import RestoreSources
from holdfast.services.restore_trial import RestoreTrial
from holdfast.services.rollbacks import Rollbacks
from holdfast.services.rollout import Rollout
from holdfast.services.scheduled_care import ScheduledCare
from holdfast.services.scheduled_drills import ScheduledDrills
from holdfast.services.scheduled_snapshots import ScheduledSnapshots, schedule_facts
from holdfast.services.scheduler import Scheduler
from holdfast.services.sealed_values import SealedValues
from holdfast.services.second_snapshots import SecondSnapshots
from holdfast.services.secrets import Secrets
from holdfast.services.sharing import Sharing
from holdfast.services.snapshot_files import SnapshotFiles
from holdfast.services.snapshots import Snapshots, former_workload
from holdfast.services.sources import Sources
from holdfast.services.swap_recovery import SwapRecovery
from holdfast.services.traffic import Traffic
from holdfast.services.trials import Trials
from holdfast.services.unreadable_snapshots import UnreadableSnapshots
from holdfast.services.volume_looks import LOWEST_PRIORITY
from holdfast.services.volume_removal import WorkerDataRemover
from holdfast.services.volumes import VolumeResolver
from holdfast.services.workload_deletion import WorkloadDeletion
from holdfast.services.workloads import Workloads
from holdfast.store.database import Database
from holdfast.store.deployments import DeploymentStore
from holdfast.store.notices import ChannelStore, Outbox
from holdfast.store.operations import OperationStore
from holdfast.store.previews import PreviewStore
from holdfast.store.registries import RegistryStore
from holdfast.store.repositories import RepositoryNames
from holdfast.store.schedules import ScheduleStore
from holdfast.store.secrets import SecretStore
from holdfast.store.snapshots import SnapshotStateStore
from holdfast.store.volume_states import VolumeStateStore
from holdfast.store.workloads import WorkloadStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdfast:
    """The whole system, running."""

    api: ApiServices
    settings: Settings
    operations: Operations
    reaper: Reaper
    reconciler: Reconciler
    scheduler: Scheduler
    preview_expiry: PreviewExpiry
    runtime: ContainerRuntime
    database: Database
    first_token: str | None
    """The first admin's token, if it was made just now."""


@asynccontextmanager
async def running(settings: Settings, seams: Seams | None = None) -> AsyncIterator[Holdfast]:
    """Build everything, recover what was interrupted, and take it all down again at the end.

    Raises:
        Busy: ``data_dir_in_use``.
        Failed: ``schema_newer``.
    """
    seams = seams or Seams()
    fs = seams.fs
    make_directories(settings, fs)
    with DataLock.acquire(settings.data_dir, LOCK_WAIT) as lock:
        clean_temporaries(settings, fs)
        installation = installation_of(settings, fs)
        database = seams.database(settings.database_file)
        await database.open()
        runtime = seams.runtime(settings)
        roots = live_roots_of(settings, fs)
        stores = await asyncio.to_thread(open_stores, fs, roots, store_settings_of(settings, installation))
        try:
            async with _assembled(settings, seams, lock, installation, database, runtime, roots, stores) as holdfast:
                yield holdfast
        finally:
            stores.close()
            await runtime.close()
            roots.close()
            await database.close()


async def _clean_orphans(stores: Stores) -> None:
    """Remove what interrupted captures left. A store that can't be used keeps nothing else from being served."""
    log = structlog.get_logger("bootstrap")
    try:
        for name in await asyncio.to_thread(stores.clean_orphans):
            log.warning("removed what an interrupted snapshot left", name=name)
    except HoldfastError as error:
        log.warning("the snapshots can't be used", code=error.code, reason=error.message, next_step=error.next_step)


async def _move_archives(moves: ArchiveMoves) -> None:
    """Begin to move old snapshots into the repository; what is wrong with them keeps nothing from being served."""
    try:
        await moves.start()
    except HoldfastError as error:
        structlog.get_logger("bootstrap").warning("old snapshots are not moved", code=error.code, reason=error.message)


@asynccontextmanager
async def _assembled(
    settings: Settings,
    seams: Seams,
    lock: DataLock,
    installation: str,
    database: Database,
    runtime: ContainerRuntime,
    roots: LiveRoots,
    stores: Stores,
) -> AsyncIterator[Holdfast]:
    fs = seams.fs
    workload_store = WorkloadStore(database)
    deployment_store = DeploymentStore(database)
    operation_store = OperationStore(database)
    snapshot_states = SnapshotStateStore(database)
    who = accounts_of(settings, database, fs, seams.password_cost)

    registry = RestoreRegistry()
    readiness = Readiness(registry)
    locks = LifecycleLocks()
    barrier = DrainBarrier()
    in_use = SnapshotsInUse()
    operations = Operations(operation_store, barrier)
    workers = seams.workers(
        worker_settings_of(settings, installation),
        count=settings.workers,
        keep=[lock.fileno()],
        command=seams.worker_command,
    )
    copy_workers = seams.workers(
        worker_settings_of(settings, installation), count=1, keep=[lock.fileno()], command=seams.worker_command
    )
    files = seams.files(fs=fs, roots=roots, journal_dir=settings.journal_dir, workers=workers)
    holds = HoldFiles(fs, settings.holds_dir)

    named = EngineVolumes(settings, installation, runtime, roots)
    volumes = VolumeResolver(settings, roots, VolumeStateStore(database), named)
    sealing = Sealing(fs, settings.keys_dir)
    secret_store = SecretStore(database)
    sealed_values = SealedValues(secret_store, sealing)
    kept_logs = kept_logs_of(settings, fs)
    log_keeping = LogKeeping(runtime, kept_logs, sealed_values)
    instances = Instances(runtime, installation, volumes, sealed_values, log_keeping)
    quiescer = Quiescer(runtime, installation)
    registries = Registries(RegistryStore(database), sealing, runtime)
    images = ImageSource(runtime, installation, registries.login_for)
    image_sources = Sources(images, engine=settings.docker_host, patience=settings.source_timeout)
    records = DeployRecords(deployment_store, workload_store, images)
    image_care = ImageCare(
        runtime=runtime,
        installation=installation,
        records=records,
        operations=operations,
        restore_pending=registry.unfinished,
    )
    ran = RanVersions(records)
    sharing = Sharing(workloads=workload_store, deployments=deployment_store, volumes=volumes)
    capture = Capture(
        installation=installation,
        workloads=workload_store,
        volumes=volumes,
        sharing=sharing,
        runtime=runtime,
        quiescer=quiescer,
        hooks=SnapshotHooks(runtime, sealed_values),
        holds=holds,
        store=stores,
        locks=locks,
        workers=workers,
        registry=registry,
        ran=ran,
    )
    deploy_snapshots = DeploySnapshots(records=records, sharing=sharing, capture=capture, workers=workers)
    rollout = Rollout(
        runtime=runtime,
        instances=instances,
        gate=HealthGate(runtime, settings, seams.clock),
        quiescer=quiescer,
        volumes=volumes,
        secrets=sealed_values,
    )

    async def restore_locked(ctx: OperationContext, held: Held, request: RestoreRequest) -> object:
        return await restores.carry_out_locked(ctx, held, request)  # restores redeploy, so that they are made later

    data_returns = DataReturns(
        records=records,
        instances=instances,
        rollout=rollout,
        sharing=sharing,
        undecided=registry.pending,
        restore=restore_locked,
    )
    edge = seams.edge(settings, installation)
    traffic = Traffic(edge=edge, records=records, instances=instances, clock=seams.clock)
    deployer = Deployer(
        operations=operations,
        barrier=barrier,
        locks=locks,
        require_decided=registry.require_decided,
        records=records,
        images=images,
        sources=image_sources,
        replacement=Replacement(
            records=records,
            images=images,
            image_care=image_care,
            instances=instances,
            rollout=rollout,
            snapshots=deploy_snapshots,
            data=data_returns,
            traffic=traffic,
        ),
        snapshots=deploy_snapshots,
        trials=Trials(records=records, rollout=rollout, instances=instances, traffic=traffic),
    )
    reaper = Reaper(files)
    deletion = WorkloadDeletion(
        store=workload_store,
        volumes=volumes,
        named=named,
        locks=locks,
        operations=operations,
        runtime=runtime,
        instances=instances,
        data=WorkerDataRemover(workers),
        last=LastSnapshots(capture=capture, sharing=sharing, volumes=volumes, workers=workers),
        leftovers=reaper,
        images=image_care,
        logs=log_keeping,
        restore_pending=registry.pending,
        traffic=traffic,
    )

    repositories = Repositories(settings=settings, installation=installation, fs=fs, names=RepositoryNames(database))

    async def former_id(name: str) -> str | None:
        return await former_workload(stores, workload_store, name, repositories.manifests)

    workloads = Workloads(
        store=workload_store,
        deployments=deployment_store,
        volumes=volumes,
        locks=locks,
        runtime=runtime,
        instances=instances,
        deletion=deletion,
        secrets=sealed_values,
        restore_pending=registry.pending,
        former_id=former_id,
        preview_of=PreviewStore(database).of,
        traffic=traffic,
        check_source=image_sources.check,
    )
    secrets = Secrets(
        workloads=workloads,
        store=secret_store,
        values=sealed_values,
        locks=locks,
        everyone=workload_store.list,
        require_decided=registry.require_decided,
    )
    snapshots = Snapshots(
        workloads=workloads,
        store=stores,
        states=snapshot_states,
        operations=operations,
        workers=workers,
        capture=capture,
        in_use=in_use,
    )
    parts = RestoreParts(stores)
    second = SecondSnapshots(
        repositories=repositories,
        operations=operations,
        workers=workers,
        in_use=in_use,
        unused_percent=settings.prune_unused_percent,
    )
    sources = RestoreSources(store=stores, repositories=repositories, second=second, in_use=in_use)
    preflight = RestorePreflight(
        settings=settings,
        installation=installation,
        fs=fs,
        sources=sources,
        sharing=sharing,
        places=RestorePlaces(fs=fs, roots=roots, volumes=volumes),
        images=RestoreImages(runtime=runtime, ran=ran),
        parts=parts,
        runtime=runtime,
        deployer=deployer,
        secrets=sealed_values,
        traffic=traffic,
    )
    restore_run = RestoreRun(
        files=files,
        reaper=reaper,
        preflight=preflight,
        quiescer=quiescer,
        runtime=runtime,
        snapshot_states=snapshot_states,
        traffic=traffic,
        warm_passes_max=settings.warm_passes_max,
    )
    trial = RestoreTrial(
        files=files,
        deployer=deployer,
        quiescer=quiescer,
        instances=instances,
        volumes=volumes,
        registry=registry,
        clock=seams.clock,
        reap_in_background=reaper.reap_in_background,
    )
    active = ActiveRestores(
        files=files,
        registry=registry,
        workloads=workload_store,
        deployments=deployment_store,
        images=images,
        traffic=traffic,
    )
    restores = Restores(
        workloads=workloads,
        volumes=volumes,
        snapshots=snapshots,
        operations=operations,
        operation_store=operation_store,
        locks=locks,
        workers=workers,
        files=files,
        registry=registry,
        in_use=in_use,
        preflight=preflight,
        run=restore_run,
        trial=trial,
        reaper=reaper,
        active=active,
        images=images,
        parts=parts,
        sources=sources,
        records=records,
    )
    rollbacks = Rollbacks(deployer=deployer, records=records, images=images)
    swaps = SwapRecovery(files=files, registry=registry, workloads=workload_store)
    reconciler = Reconciler(
        records=records,
        instances=instances,
        rollout=rollout,
        deployer=deployer,
        data=data_returns,
        operations=operations,
        locks=locks,
        restore_pending=registry.unfinished,
    )
    recovery = RestoreRecovery(
        swaps=swaps,
        registry=registry,
        operations=operations,
        locks=locks,
        restores=restores,
        active=active,
        run=restore_run,
        trial=trial,
        holds=holds,
        capture=capture,
        reap_in_background=reaper.reap_in_background,
        records=records,
        reconcile=reconciler.look,
    )
    care = RepositoryCare(
        settings=settings,
        workloads=workload_store,
        snapshots=snapshots,
        store=stores,
        states=snapshot_states,
        operations=operations,
        workers=workers,
        in_use=in_use,
        registry=registry,
    )
    copies = Copies(
        repositories=repositories,
        workloads=workloads,
        snapshots=snapshots,
        operations=operations,
        workers=copy_workers,
        in_use=in_use,
        limit_rate=settings.copy_limit_rate,
    )
    scheduled_snapshots = ScheduledSnapshots(
        settings=settings,
        workloads=workload_store,
        previews=PreviewStore(database),
        snapshots=snapshots,
        care=care,
        locks=locks,
    )
    clones = Clones(
        restores=restores,
        workloads=workloads,
        store=workload_store,
        deployments=deployment_store,
        snapshots=snapshots,
        volumes=volumes,
        images=images,
        sources=image_sources,
        secrets=secrets,
        locks=locks,
        operation_store=operation_store,
    )
    previews = previews_of(
        settings=settings,
        database=database,
        clock=seams.clock,
        workloads=workloads,
        snapshots=snapshots,
        clones=clones,
        deployer=deployer,
        deletion=deletion,
        secrets=secrets,
        volumes=volumes,
        locks=locks,
        operations=operations,
    )
    drills = Drills(
        operations=operations,
        workloads=workloads,
        store=workload_store,
        snapshots=snapshots,
        states=snapshot_states,
        clones=clones,
        deletion=deletion,
        instances=instances,
        runtime=runtime,
    )
    scheduled_drills = ScheduledDrills(
        settings=settings,
        workloads=workload_store,
        snapshots=snapshots,
        drills=drills,
    )
    scheduled_care = ScheduledCare(settings=settings, care=care, copies=copies, repositories=repositories)
    scheduler = Scheduler(
        clock=seams.clock,
        zone=settings.zone,
        store=ScheduleStore(database),
        operations=operations,
        work=[scheduled_snapshots, scheduled_care, scheduled_drills],
        most=max(1, settings.workers - 1),  # one is left for people
    )
    outbox = Outbox(database)
    notifications = Notifications(
        clock=seams.clock,
        sealing=sealing,
        channels=ChannelStore(database),
        outbox=outbox,
    )
    doctor = Doctor(
        settings=settings,
        runtime=runtime,
        fs=fs,
        database_check=database.check,
        snapshot_facts=snapshots.facts,
        unfinished_restores=restores.unfinished,
        schedule_facts=lambda: schedule_facts(scheduler, scheduled_snapshots),
        unreadable_secrets=secrets.unreadable,
        channel_facts=notifications.facts,
        leftovers=lambda: [(str(left), left.mend) for left in reaper.left()],
        edge=traffic.sync,
    )

    alarms = Alarms(clock=seams.clock, outbox=outbox, schedules=scheduler.list, space=doctor.space)

    take_overs = take_overs_of(
        settings,
        fs,
        workloads=workloads,
        deletion=deletion,
        secrets=secrets,
        volumes=volumes,
        sharing=sharing,
        runtime=runtime,
        instances=instances,
        deployer=deployer,
        records=records,
        capture=capture,
        states=snapshot_states,
        workers=workers,
        quiescer=quiescer,
        locks=locks,
        operations=operations,
        notice=registry.notice,
    )
    promotions = Promotions(deployer=deployer, records=records, instances=instances)
    hooks = webhooks_of(
        database=database,
        sealing=sealing,
        records=records,
        deployer=deployer,
        promotions=promotions,
        previews=previews.previews,
        operations=operations,
        runtime=runtime,
    )

    metrics = metrics_of(
        settings=settings,
        installation=installation,
        fs=fs,
        database=database,
        runtime=runtime,
        records=records,
        volumes=volumes,
        stores=stores,
        locks=locks,
        workers=seams.workers(
            worker_settings_of(settings, installation),
            count=1,
            keep=[lock.fileno()],
            command=(*LOWEST_PRIORITY, *seams.worker_command),
        ),
        images=image_care,
        operations=operations,
        readiness=readiness,
        schedules=scheduler.list,
        clock=seams.clock,
    )

    async def engine_arrived(info: EngineInfo) -> None:
        volumes.learn_engine_root(info.root_dir)
        await drills.clear()
        await reconciler.run()
        traffic.changed.set()
        await hooks.work.start()

    await operations.recover_unfinished()
    decided = await swaps.decide()
    trusted = (str(settings.volumes_base), *map(str, settings.allowed_roots), str(settings.docker_volumes))
    await remove_left_probes(fs, roots, trusted, volumes, await workload_store.list())
    await _clean_orphans(stores)
    await tidy_kept_logs(kept_logs, {workload.id for workload in await workload_store.list()})
    clean_uploads(settings)
    await repositories.clean()
    await recovery.resume(decided)
    await take_overs.recover()
    await _move_archives(ArchiveMoves(stores=stores, operations=operations, workers=workers, in_use=in_use))
    if settings.edge != edge_kinds.OWN:
        await end_own(settings.edge_dir)
    edge_watch = EdgeWatch(traffic, pause=edge.pause) if edge is not None else None
    watch = EngineWatch(runtime, readiness, engine_arrived, traffic.happened)
    watch.start()
    if edge_watch is not None:
        edge_watch.start()
    reaper.start()
    scheduler.start()
    alarms.start()
    previews.expiry.start()
    notifications.start()
    metrics.start()
    try:
        yield Holdfast(
            api=ApiServices(
                workloads=workloads,
                deployer=deployer,
                logs=Logs(runtime, instances, kept_logs, records.workload),
                metrics=metrics.metrics,
                disk=metrics.disk,
                monitoring=metrics.monitoring,
                rollbacks=rollbacks,
                data_rollbacks=DataRollbacks(
                    rollbacks=rollbacks, records=records, snapshots=snapshots, restores=restores
                ),
                promotions=promotions,
                snapshots=snapshots,
                snapshot_files=SnapshotFiles(
                    snapshots=snapshots,
                    workloads=workloads,
                    stores=stores,
                    volumes=volumes,
                    operations=operations,
                    workers=workers,
                    in_use=in_use,
                ),
                images=image_care,
                care=care,
                unreadable=UnreadableSnapshots(
                    store=stores, states=snapshot_states, workloads=workload_store, in_use=in_use
                ),
                registries=registries,
                secrets=secrets,
                deployment_changes=DeploymentChanges(records=records, secrets=sealed_values),
                repositories=repositories,
                second_snapshots=second,
                copies=copies,
                restores=restores,
                clones=clones,
                containers=ContainerImport(runtime, installation),
                take_overs=take_overs,
                drills=drills,
                previews=previews.previews,
                sources=image_sources,
                operations=operations,
                tokens=who.tokens,
                readiness=readiness,
                doctor=doctor,
                schedules=scheduler,
                notifications=notifications,
                webhooks=hooks.webhooks,
                uploads_dir=settings.uploads_dir,
                max_upload_bytes=settings.max_upload_bytes,
                disk_reserve_bytes=settings.disk_reserve_bytes,
            ),
            settings=settings,
            operations=operations,
            reaper=reaper,
            reconciler=reconciler,
            scheduler=scheduler,
            preview_expiry=previews.expiry,
            runtime=runtime,
            database=database,
            first_token=await who.tokens.ensure_first_admin(),
        )
    finally:
        await metrics.close()
        await notifications.close()
        await previews.expiry.close()
        await alarms.close()
        await scheduler.close()
        await watch.close()
        await hooks.work.close()
        if edge_watch is not None:
            await edge_watch.close()
        await operations.close(settings.drain_deadline)
        await reaper.close()
        repositories.close()
        if edge is not None:
            await edge.close()
