"""Taking a snapshot of a running workload: hold the writer, capture, let it go as it was.

- The lifecycle locks of the workload and of all that share its volumes are held for the quiesce window, and the volumes
  are resolved again after taking them (I9).
- What will be paused, stopped or hooked is on disk first (a hold file); it is undone at the next start, whatever dies.
- The consistency that is recorded is what was really achieved: the weakest writer's. A snapshot during which somebody
  let a writer go is not kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from holdfast.domain.errors import Failed, NotFound, Problem, Refused
from holdfast.domain.restore import ContainerFacts
from holdfast.domain.snapshot import Consistency, SnapshotManifest, SnapshotReason
from holdfast.domain.stopping import UncleanStop
from holdfast.domain.told import Told, told
from holdfast.domain.workload import Quiesce, Workload
from holdfast.engine.holds import Hold, HoldFiles
from holdfast.engine.requests import CaptureRequest, WarmRequest
from holdfast.engine.snapshot_store import CaptureSource, SnapshotStore
from holdfast.runtime.port import LABEL_INSTALLATION, LABEL_WORKLOAD, Container, ContainerRuntime, ContainerState
from holdfast.services.hooks import HookRunner, OpenHold, check_hooks, release_failed
from holdfast.services.locks import LifecycleLocks
from holdfast.services.operations import OperationContext
from holdfast.services.path_users import overlap
from holdfast.services.quiesce import Quiescer, facts_of
from holdfast.services.ran import Ran, RanVersions
from holdfast.services.restore_registry import RestoreRegistry
from holdfast.services.retrying import until_engine_answers
from holdfast.services.sharing import Sharing
from holdfast.services.snapshot_drafts import draft_manifest
from holdfast.services.unclean_stops import tell_unclean_stops
from holdfast.services.volumes import VolumeResolver
from holdfast.services.workers import Workers, WorkerSession
from holdfast.store.workloads import WorkloadStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmed:
    """A capture that has read ahead while the writers run: what is left to read is what they change from here on.

    Attributes:
        ran: what runs on the data, or ran on it last.
    """

    worker: WorkerSession
    workload: Workload
    sources: tuple[CaptureSource, ...]
    ran: Ran | None


@dataclass(slots=True, kw_only=True)
class _Held:
    """How well the writers are held.

    Attributes:
        containers: those that are held.
        hooked: since when those run that hooks hold, by id.
        stops: of those that were stopped, which did not end well; ``None`` if none was stopped.
        not_undone: once they are let go, what could not be undone.
    """

    consistency: Consistency
    containers: tuple[ContainerFacts, ...] = ()
    hooked: Mapping[str, str] = field(default_factory=dict)
    stops: tuple[UncleanStop, ...] | None = None
    not_undone: tuple[Told, ...] = ()


class Capture:
    """Captures workloads."""

    def __init__(
        self,
        *,
        installation: str,
        workloads: WorkloadStore,
        volumes: VolumeResolver,
        sharing: Sharing,
        runtime: ContainerRuntime,
        quiescer: Quiescer,
        hooks: HookRunner,
        holds: HoldFiles,
        store: SnapshotStore,
        locks: LifecycleLocks,
        workers: Workers,
        registry: RestoreRegistry,
        ran: RanVersions,
    ) -> None:
        self._installation = installation
        self._workloads = workloads
        self._volumes = volumes
        self._sharing = sharing
        self._runtime = runtime
        self._quiescer = quiescer
        self._hooks = hooks
        self._holds = holds
        self._store = store
        self._locks = locks
        self._workers = workers
        self._registry = registry
        self._ran = ran

    async def take(
        self, ctx: OperationContext, workload_id: str, quiesce: Quiesce, *, reason: SnapshotReason, note: str
    ) -> SnapshotManifest:
        """Take one snapshot of all captured volumes.

        Raises:
            Refused: a volume is not what it was; with every problem.
            NotFound: the workload was deleted meanwhile.
            Failed: ``pre_snapshot_failed``, ``pre_snapshot_timeout``, ``hold_lost``: there is no snapshot.
                ``post_snapshot_failed``: there is one, and what it was taken of may still be held.
        """
        async with self._workers.session(ctx) as worker:
            ctx.step("waiting")
            async with self._lock(ctx, workload_id) as workload:
                ctx.step("checking")
                warmed = await self.warm(ctx, worker, workload)
                ctx.step("quiescing")
                ctx.check()
                return await self.finish(ctx, warmed, quiesce, reason=reason, note=note)

    async def warm(self, ctx: OperationContext, worker: WorkerSession, workload: Workload) -> Warmed:
        """Read ahead what a workload's volumes hold. Who calls holds its lock, and those of all that share one.

        Args:
            workload: configured as what ran on the data.

        Raises:
            Refused: a volume is not what it was; with every problem.
        """
        sources = await self._sources(workload)
        ctx.step("warming")
        await worker.run(WarmRequest(workload_id=workload.id, sources=sources))
        ran = await self._ran_on(workload)  # before it is stopped: then nothing tells any more
        return Warmed(worker=worker, workload=workload, sources=sources, ran=ran)

    async def finish(
        self,
        ctx: OperationContext,
        warmed: Warmed,
        quiesce: Quiesce,
        *,
        reason: SnapshotReason,
        note: str,
        stops: Sequence[UncleanStop] | None = None,
        own: bool = True,
    ) -> SnapshotManifest:
        """Hold what writes, and capture, under the same locks.

        Args:
            stops: if the caller has stopped the workload, what of it did not end well.
            own: whether the workload's own containers are held, and not only those of who shares a volume.

        Raises:
            Failed: as :meth:`take`.
        """
        workload = warmed.workload
        paths = [source.live.path for source in warmed.sources]
        ids = await self._sharing.lockable(workload) - (frozenset() if own else {workload.id})
        async with self._held(ctx, workload, quiesce, paths, sorted(ids)) as held:
            ctx.step("capturing")
            draft = draft_manifest(
                workload=workload,
                volumes=enumerate(workload.spec.captured_volumes),
                reason=reason,
                consistency=held.consistency,
                actor=ctx.actor,
                ran=warmed.ran,
                note=note,
                stops=held.stops if stops is None else (*stops, *(held.stops or ())),
            )
            manifest: SnapshotManifest = await warmed.worker.run(CaptureRequest(draft=draft, sources=warmed.sources))
            await self._require_held(ctx, held, manifest)
            ctx.outcome["snapshot_id"] = manifest.id
        ctx.log_lines(manifest.warnings, level="warning")
        if held.not_undone:
            stands = f"The snapshot {manifest.id} was taken and is complete."
            raise release_failed(held.not_undone, what_stands=stands, snapshot_id=manifest.id)
        return manifest

    @asynccontextmanager
    async def _lock(self, ctx: OperationContext, workload_id: str) -> AsyncIterator[Workload]:
        """Lock the workload and its sharers; look again until the locked set is the right one."""
        while True:
            before = await self._sharers(workload_id)
            holder = told("a_snapshot", "snapshot {id}", id=ctx.id)
            async with self._locks.hold(before, holder, on_wait=ctx.waiting, waits_in=ctx.interruptible):
                if await self._sharers(workload_id) == before:
                    for locked in before:
                        self._registry.require_decided(locked)
                    yield await self._get(workload_id)
                    return

    async def _sharers(self, workload_id: str) -> frozenset[str]:
        return await self._sharing.lockable(await self._get(workload_id))

    async def _get(self, workload_id: str) -> Workload:
        workload = await self._workloads.get(workload_id)
        if workload is None:
            raise NotFound(
                "workload_unknown",
                "The workload was deleted before its snapshot could be taken.",
                next_step="List the workloads with `holdfast workload list`.",
            )
        return workload

    async def problems(self, workload: Workload) -> list[Problem]:
        """Why a workload's volumes can't be captured as they are."""
        return await self._volumes.check_before_start(workload)

    async def _sources(self, workload: Workload) -> tuple[CaptureSource, ...]:
        problems = await self.problems(workload)
        if problems:
            raise Refused(problems)
        return tuple(
            CaptureSource(index=index, live=self._volumes.resolve(workload.spec, volume))
            for index, volume in enumerate(workload.spec.captured_volumes)
        )

    async def _ran_on(self, workload: Workload) -> Ran | None:
        """What runs on the data, or ran on it last."""
        running = await self._ran.running(workload.id, await self._own([workload.id]))
        return running or await self._ran.last(workload.id)

    async def _own(self, workload_ids: Sequence[str]) -> list[Container]:
        found = await self._runtime.containers({LABEL_INSTALLATION: self._installation})
        return [container for container in found if container.labels.get(LABEL_WORKLOAD) in workload_ids]

    @asynccontextmanager
    async def _held(
        self, ctx: OperationContext, workload: Workload, quiesce: Quiesce, paths: Sequence[str], ids: Sequence[str]
    ) -> AsyncIterator[_Held]:
        """Hold every writer still for the block.

        Args:
            ids: of the workloads whose containers are held.
        """
        own = await self._own(ids)
        strangers = await self._strangers({container.id for container in own}, paths)
        for name in strangers:
            ctx.log(
                told(
                    "captured_live",
                    "the container {container} writes here too and can't be held: captured live",
                    container=name,
                ),
                level="warning",
            )
        facts = tuple(facts_of(container) for container in own)
        running = [container for container in facts if container.running]
        if quiesce is Quiesce.NONE or not running:
            calm = not running and not strangers
            yield _Held(consistency=Consistency.STOPPED if calm else Consistency.LIVE)
            return
        if quiesce is Quiesce.HOOKS:
            check_hooks(workload)  # it may be configured otherwise since it was asked for
        holding = OpenHold(self._holds, Hold(operation_id=ctx.id, quiesce=quiesce, containers=facts))
        await holding.begin()
        try:
            held = await self._hold(ctx, holding)
            if strangers:
                held.consistency = Consistency.LIVE
            yield held
        except BaseException:
            await asyncio.shield(self.let_go(ctx, holding.hold))
            raise
        held.not_undone = await asyncio.shield(self.let_go(ctx, holding.hold))

    async def _hold(self, ctx: OperationContext, holding: OpenHold) -> _Held:
        """Stop, pause or hook what a hold names, as it says."""
        facts = holding.hold.containers
        workloads = {workload.id: workload.spec for workload in await self._workloads.list()}
        match holding.hold.quiesce:
            case Quiesce.STOP:
                graces = {workload_id: spec.stop_grace for workload_id, spec in workloads.items()}
                stops = await self._quiescer.stop(facts, graces)
                await tell_unclean_stops(ctx, stops)
                return _Held(consistency=Consistency.STOPPED, containers=facts, stops=stops)
            case Quiesce.HOOKS:
                # What a person paused is held better than by a hook, and can't run one.
                awake = [container for container in facts if container.running and not container.paused]
                hooks = {id_: spec.hooks for id_, spec in workloads.items() if spec.hooks.pre_snapshot}
                hooked = [container for container in awake if container.workload_id in hooks]
                since = await self._hooks.before(ctx, holding, hooks, hooked)
                await self._quiescer.pause(container for container in awake if container.workload_id not in hooks)
                achieved = Consistency.HOOKED if hooked else Consistency.PAUSED
                return _Held(consistency=achieved, containers=facts, hooked=since)
            case _:
                await self._quiescer.pause(facts)
                return _Held(consistency=Consistency.PAUSED, containers=facts)

    async def _require_held(self, ctx: OperationContext, held: _Held, manifest: SnapshotManifest) -> None:
        """Keep the snapshot only if nobody let a writer go while it was taken: it would not be what it says.

        Raises:
            Failed: ``hold_lost``.
        """
        for facts in held.containers:
            try:
                now = await until_engine_answers(ctx, partial(self._runtime.inspect, facts.id))
            except NotFound:
                continue  # it writes nothing any more
            if facts.id in held.hooked:
                lost = not now.running or now.started_at != held.hooked[facts.id]
            else:
                lost = now.state in (ContainerState.RUNNING, ContainerState.RESTARTING)
            if lost:
                await asyncio.to_thread(self._store.delete, manifest.id)
                raise Failed(
                    "hold_lost",
                    f"The container {facts.name} did not stay held while the snapshot was taken: it is {now.state}, "
                    f"started {now.started_at}. The snapshot was not kept.",
                    next_step="Find out who starts or unpauses containers meanwhile, then take the snapshot again.",
                    details={"container": facts.name},
                )

    async def let_go(self, ctx: OperationContext, hold: Hold) -> tuple[Told, ...]:
        """Put the held containers back as they were, waiting for the engine if need be, and forget the hold.

        Returns:
            What could not be undone of the hooks.
        """
        try:
            result = await until_engine_answers(ctx, lambda: self._quiescer.let_go(hold.containers))
        finally:
            not_undone = await self._hooks.after(ctx, hold)
        for name in result.gone:
            ctx.log(
                told("container_gone", "the container {container} is gone and was not started again", container=name),
                level="warning",
            )
        await asyncio.to_thread(self._holds.remove, hold.operation_id)
        return not_undone

    async def _strangers(self, own_ids: set[str], paths: Sequence[str]) -> list[str]:
        """Running containers that are not Holdfast's to hold and mount one of the paths for writing."""
        return [
            container.name
            for container in await self._runtime.containers()
            if container.id not in own_ids
            and container.running
            and any(
                not m.read_only and m.source and overlap(path, m.source) for m in container.mounts for path in paths
            )
        ]
