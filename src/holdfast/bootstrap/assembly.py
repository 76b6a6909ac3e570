"""Every object, built once, in the order in which they are needed.

Start: data directory and its lock → migrate → connect → decide and finish interrupted swaps → clean orphans → take up
interrupted operations, each with its locks → serve. Stop: the same backwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from holdfast.api.services import ApiServices
from holdfast.bootstrap.accounts import accounts_of
from holdfast.bootstrap.backups import backups_of, state_swap_of
from holdfast.bootstrap.base import Base, base_of
from holdfast.bootstrap.data_directory import (
    LOCK_WAIT,
    clean_backups,
    clean_temporaries,
    clean_uploads,
    installation_of,
    live_roots_of,
    make_directories,
    store_settings_of,
    worker_settings_of,
)
from holdfast.bootstrap.deploying import Deploying, deploying_of
from holdfast.bootstrap.keeping import keeping_of
from holdfast.bootstrap.logs import tidy_kept_logs
from holdfast.bootstrap.metrics import metrics_of
from holdfast.bootstrap.previews import previews_of
from holdfast.bootstrap.restoring import Restoring, restoring_of
from holdfast.bootstrap.seams import Seams
from holdfast.bootstrap.take_overs import take_overs_of
from holdfast.bootstrap.webhooks import webhooks_of
from holdfast.config import Settings
from holdfast.domain import edge as edge_kinds
from holdfast.domain.accounts import TokenScope
from holdfast.domain.errors import HoldfastError
from holdfast.edge.caddy import end_own
from holdfast.engine.data_lock import DataLock
from holdfast.engine.stores import Stores, open_stores
from holdfast.runtime.port import LABEL_INSTALLATION, LABEL_WORKLOAD, ContainerEvent, ContainerRuntime, EngineInfo
from holdfast.services.archive_moves import ArchiveMoves
from holdfast.services.audit import Audit
from holdfast.services.backup_restores import tell
from holdfast.services.container_import import ContainerImport
from holdfast.services.data_rollbacks import DataRollbacks
from holdfast.services.deployment_changes import DeploymentChanges
from holdfast.services.edge_watch import EdgeWatch
from holdfast.services.engine_watch import EngineWatch
from holdfast.services.locks import Held
from holdfast.services.logs import Logs
from holdfast.services.operations import OperationContext, Operations
from holdfast.services.preview_expiry import PreviewExpiry
from holdfast.services.probe_removal import remove_left_probes
from holdfast.services.reaper import Reaper
from holdfast.services.reconcile import Reconciler
from holdfast.services.removal_watch import RemovalWatch
from holdfast.services.restore_plan import RestoreRequest
from holdfast.services.scheduler import Scheduler
from holdfast.services.snapshot_files import SnapshotFiles
from holdfast.services.state_swap import StateSwap
from holdfast.services.unreadable_snapshots import UnreadableSnapshots
from holdfast.services.updates import Update
from holdfast.services.volume_looks import LOWEST_PRIORITY
from holdfast.store.audit import AuditStore
from holdfast.store.database import Database


class _Part(Protocol):
    """What does something by itself from its start to its end."""

    def start(self) -> None: ...

    async def close(self) -> None: ...


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
    restart: asyncio.Event
    """Set when the server is to end, and to start anew."""


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
        swap = state_swap_of(settings, seams)
        settled = await asyncio.to_thread(swap.settle)
        clean_temporaries(settings, fs)
        installation = installation_of(settings, fs)
        database = seams.database(settings.database_file)
        await database.open()
        runtime = seams.runtime(settings)
        roots = live_roots_of(settings, fs)
        stores = await asyncio.to_thread(open_stores, fs, roots, store_settings_of(settings, installation))
        try:
            base = base_of(settings, seams, lock, installation, database, runtime, roots, stores)
            if settled is not None:
                await tell(settled, database, base.operations)
                await asyncio.to_thread(swap.drop)
            async with _assembled(base, swap) as holdfast:
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
async def _assembled(base: Base, swap: StateSwap) -> AsyncIterator[Holdfast]:
    settings = base.settings
    restart = asyncio.Event()

    async def restore_locked(ctx: OperationContext, held: Held, request: RestoreRequest) -> object:
        return await restoring.restores.carry_out_locked(ctx, held, request)

    deploying = deploying_of(base, restore_locked)
    restoring = restoring_of(base, deploying)
    own = backups_of(base, deploying.repositories, swap, restart.set)
    keeping = keeping_of(base, deploying, restoring, own)
    who = accounts_of(settings, base.database, base.fs, base.seams.password_cost)
    previews = previews_of(
        settings=settings,
        database=base.database,
        clock=base.seams.clock,
        workloads=deploying.workloads,
        snapshots=restoring.snapshots,
        clones=restoring.clones,
        deployer=deploying.deployer,
        deletion=deploying.deletion,
        secrets=deploying.secrets,
        volumes=deploying.volumes,
        locks=base.locks,
        operations=base.operations,
    )
    take_overs = take_overs_of(
        settings,
        base.fs,
        workloads=deploying.workloads,
        deletion=deploying.deletion,
        secrets=deploying.secrets,
        volumes=deploying.volumes,
        sharing=deploying.sharing,
        runtime=base.runtime,
        instances=deploying.instances,
        deployer=deploying.deployer,
        records=deploying.records,
        capture=deploying.capture,
        states=base.snapshot_states,
        workers=base.workers,
        quiescer=deploying.quiescer,
        locks=base.locks,
        operations=base.operations,
        notice=base.registry.notice,
    )
    hooks = webhooks_of(
        database=base.database,
        sealing=base.sealing,
        records=deploying.records,
        deployer=deploying.deployer,
        promotions=deploying.promotions,
        previews=previews.previews,
        operations=base.operations,
        runtime=base.runtime,
    )
    metrics = metrics_of(
        settings=settings,
        installation=base.installation,
        fs=base.fs,
        database=base.database,
        runtime=base.runtime,
        records=deploying.records,
        volumes=deploying.volumes,
        stores=base.stores,
        locks=base.locks,
        workers=base.seams.workers(
            worker_settings_of(settings, base.installation),
            count=1,
            keep=[base.lock.fileno()],
            command=(*LOWEST_PRIORITY, *base.seams.worker_command),
        ),
        images=deploying.image_care,
        operations=base.operations,
        readiness=base.readiness,
        schedules=keeping.scheduler.list,
        backups=own.backups.list,
        sightings=deploying.sightings,
        updates=base.updates,
        health_pause=base.seams.health_pause,
        clock=base.seams.clock,
    )

    removals = RemovalWatch(
        installation=base.installation,
        records=deploying.records,
        look=restoring.reconciler.look,
        pause=base.seams.removal_pause,
    )

    async def engine_arrived(info: EngineInfo) -> None:
        deploying.volumes.learn_engine_root(info.root_dir)
        await restoring.drills.clear()
        await restoring.reconciler.run()
        deploying.traffic.changed.set()
        await hooks.work.start()

    def engine_followed(followed: bool) -> None:  # noqa: FBT001 - the state, as it is told
        deploying.sightings.follow(followed)
        metrics.health.follow(followed)
        base.updates.tell(Update(part=TokenScope.WORKLOADS))

    def container_event(event: ContainerEvent) -> None:
        deploying.sightings.happened(event)
        deploying.traffic.happened(event)
        removals.happened(event)
        metrics.health.happened(event)
        if event.labels.get(LABEL_INSTALLATION) == base.installation:
            base.updates.tell(Update(part=TokenScope.WORKLOADS, workload_id=event.labels.get(LABEL_WORKLOAD)))

    await _recover(base, deploying, restoring)
    await take_overs.recover()
    await _move_archives(
        ArchiveMoves(stores=base.stores, operations=base.operations, workers=base.workers, in_use=base.in_use)
    )
    if settings.edge != edge_kinds.OWN:
        await end_own(settings.edge_dir)
    async with AsyncExitStack() as until_the_end:

        def begin(part: _Part) -> None:
            until_the_end.push_async_callback(part.close)
            part.start()

        if deploying.edge is not None:
            until_the_end.push_async_callback(deploying.edge.close)
        until_the_end.callback(deploying.repositories.close)
        audit = Audit(AuditStore(base.database))
        until_the_end.push_async_callback(audit.close)
        begin(deploying.reaper)
        until_the_end.push_async_callback(base.operations.close, settings.drain_deadline)
        if deploying.edge is not None:
            begin(EdgeWatch(deploying.traffic, pause=deploying.edge.pause))
        until_the_end.push_async_callback(hooks.work.close)
        begin(removals)
        begin(EngineWatch(base.runtime, base.readiness, engine_arrived, container_event, engine_followed))
        for part in (keeping.scheduler, keeping.alarms, previews.expiry, keeping.notifications, metrics):
            begin(part)
        yield Holdfast(
            api=ApiServices(
                workloads=deploying.workloads,
                deployer=deploying.deployer,
                logs=Logs(base.runtime, deploying.instances, deploying.kept_logs, deploying.records.workload),
                metrics=metrics.metrics,
                health=metrics.health,
                disk=metrics.disk,
                monitoring=metrics.monitoring,
                rollbacks=deploying.rollbacks,
                data_rollbacks=DataRollbacks(
                    rollbacks=deploying.rollbacks,
                    records=deploying.records,
                    snapshots=restoring.snapshots,
                    restores=restoring.restores,
                ),
                promotions=deploying.promotions,
                snapshots=restoring.snapshots,
                snapshot_files=SnapshotFiles(
                    snapshots=restoring.snapshots,
                    workloads=deploying.workloads,
                    stores=base.stores,
                    volumes=deploying.volumes,
                    operations=base.operations,
                    workers=base.workers,
                    in_use=base.in_use,
                ),
                images=deploying.image_care,
                care=restoring.care,
                unreadable=UnreadableSnapshots(
                    store=base.stores, states=base.snapshot_states, workloads=base.workload_store, in_use=base.in_use
                ),
                registries=deploying.registries,
                secrets=deploying.secrets,
                deployment_changes=DeploymentChanges(records=deploying.records, secrets=deploying.sealed_values),
                repositories=deploying.repositories,
                second_snapshots=restoring.second,
                copies=restoring.copies,
                restores=restoring.restores,
                clones=restoring.clones,
                containers=ContainerImport(base.runtime, base.installation),
                take_overs=take_overs,
                drills=restoring.drills,
                previews=previews.previews,
                sources=deploying.image_sources,
                operations=base.operations,
                updates=base.updates,
                accounts=who.accounts,
                sessions=who.sessions,
                tokens=who.tokens,
                readiness=base.readiness,
                doctor=keeping.doctor,
                schedules=keeping.scheduler,
                notifications=keeping.notifications,
                webhooks=hooks.webhooks,
                audit=audit,
                backups=own.backups,
                backup_restores=own.restores,
                uploads_dir=settings.uploads_dir,
                max_upload_bytes=settings.max_upload_bytes,
                disk_reserve_bytes=settings.disk_reserve_bytes,
                proxies=settings.proxies,
                tls=settings.trusted_proxy or bool(settings.tls_certificate),
            ),
            settings=settings,
            operations=base.operations,
            reaper=deploying.reaper,
            reconciler=restoring.reconciler,
            scheduler=keeping.scheduler,
            preview_expiry=previews.expiry,
            runtime=base.runtime,
            database=base.database,
            first_token=await who.tokens.ensure_first_admin(),
            restart=restart,
        )


async def _recover(base: Base, deploying: Deploying, restoring: Restoring) -> None:
    """Finish what was interrupted, before anything is served."""
    settings, stores = base.settings, base.stores
    await base.operations.recover_unfinished()
    decided = await restoring.swaps.decide()
    trusted = (str(settings.volumes_base), *map(str, settings.allowed_roots), str(settings.docker_volumes))
    workloads = await base.workload_store.list()
    await remove_left_probes(base.fs, base.roots, trusted, deploying.volumes, workloads)
    await _clean_orphans(stores)
    await tidy_kept_logs(deploying.kept_logs, {workload.id for workload in workloads})
    clean_uploads(settings)
    clean_backups(settings)
    await deploying.repositories.clean()
    await restoring.recovery.resume(decided)
