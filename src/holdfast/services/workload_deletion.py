"""Deleting a workload: its instances go and their logs, its snapshots stay, its data stays unless asked otherwise.

Invariants:

- Only containers with this installation's label are removed.
- Data is removed only on request, and then only the directories of scope ``stage`` and ``named``, and those of scope
  ``project`` and ``project_named`` that nobody else uses: never an absolute one or a volume of the engine's that was
  there before, never one that another workload has configured or any container has mounted.
  What restores left beside them goes with them; without that nobody could ask for its removal any more.
- Where a last snapshot is asked for, no data is removed before that is complete. It is taken once the instances have
  ended, so that it holds all that they wrote.
- The workload is forgotten last. Cut off in the middle, deleting it again goes on.
- While a directory is being removed, no workload can be configured onto it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol

from holdfast.domain.errors import Conflict, NotFound, Problem, Refused
from holdfast.domain.operation import Operation, OperationKind
from holdfast.domain.restore import RootRef
from holdfast.domain.told import told
from holdfast.domain.volumes import Placed, overlap
from holdfast.domain.workload import DesiredState, RestartPolicy, Workload, WorkloadSpec
from holdfast.runtime.port import ContainerRuntime
from holdfast.services import path_users
from holdfast.services.engine_volumes import EngineVolumes
from holdfast.services.instances import Instances
from holdfast.services.locks import Held, LifecycleLocks
from holdfast.services.operations import OperationContext, Operations
from holdfast.services.quiesce import facts_of, unclean_stop
from holdfast.services.traffic import Traffic
from holdfast.services.unclean_stops import tell_unclean_stops
from holdfast.services.volumes import VolumeResolver
from holdfast.store.workloads import WorkloadStore


class DataRemover(Protocol):
    """Removes directories of volumes, each with all that is in it; one that is missing is fine."""

    async def remove(self, volumes: Sequence[RootRef], ctx: OperationContext) -> None: ...


class Leftovers(Protocol):
    """What settled restores of a workload left beside its volumes, trees that they keep for looking at among it."""

    async def clear(self, workload_id: str) -> None: ...

    async def kept(self, workload_id: str) -> list[str]: ...


class LogsOfWorkload(Protocol):
    """What was kept of the logs of a workload's instances."""

    async def forget(self, workload_id: str) -> None: ...


class ImagesOfWorkload(Protocol):
    """The images that were kept for a workload's sake."""

    async def tidy(self, workload_id: str, ctx: OperationContext) -> None: ...


class LastSnapshot(Protocol):
    """The snapshot of a workload's data right before that is removed."""

    async def lock_ids(self, workload: Workload) -> frozenset[str]: ...

    def warmed(
        self, held: Held, workload: Workload, ctx: OperationContext
    ) -> AbstractAsyncContextManager[Callable[[], Awaitable[None]]]: ...


class WorkloadDeletion:
    """Deletes workloads.

    Args:
        restore_pending: why a restore of a workload waits for a person's decision; ``None`` if none does.
    """

    def __init__(
        self,
        *,
        store: WorkloadStore,
        volumes: VolumeResolver,
        named: EngineVolumes,
        locks: LifecycleLocks,
        operations: Operations,
        runtime: ContainerRuntime,
        instances: Instances,
        data: DataRemover,
        last: LastSnapshot,
        leftovers: Leftovers,
        images: ImagesOfWorkload,
        logs: LogsOfWorkload,
        restore_pending: Callable[[str], str | None],
        traffic: Traffic,
    ) -> None:
        self._store = store
        self._volumes = volumes
        self._named = named
        self._locks = locks
        self._operations = operations
        self._runtime = runtime
        self._instances = instances
        self._data = data
        self._last = last
        self._leftovers = leftovers
        self._images = images
        self._logs = logs
        self._restore_pending = restore_pending
        self._traffic = traffic
        self.configuring: Final = asyncio.Lock()
        """One configuration is checked and stored at a time: two at once could each be fine, and both together not."""
        self._going: Counter[str] = Counter()
        """Paths that are being removed right now."""

    async def start(
        self,
        workload: Workload,
        *,
        delete_data: bool,
        last_snapshot: bool = False,
        still: Callable[[], Awaitable[bool]] | None = None,
        captured: Callable[[], Awaitable[object]] | None = None,
        actor: str,
        idempotency_key: str | None = None,
    ) -> Operation:
        """Start deleting. What forbids it is told at once, and looked at again under the lock.

        Args:
            last_snapshot: whether the data is captured before it is removed.
            still: awaited once its turn has come: whether it is to go all the same.
            captured: awaited once the last snapshot is complete, before any data is removed: one of what is left after
                that would be of nothing whole.

        Raises:
            Conflict: ``restore_undecided``.
            Refused: ``volume_shared``, ``volume_in_use``, or a volume is not the directory last seen.
        """
        self.require_decided(workload)
        if delete_data:
            await self._require_removable(workload)
        return await self._operations.start(
            OperationKind.DELETE,
            workload.id,
            actor,
            lambda ctx: self._run(
                ctx, workload, delete_data=delete_data, last_snapshot=last_snapshot, still=still, captured=captured
            ),
            idempotency_key=idempotency_key,
        )

    def problems(self, spec: WorkloadSpec) -> list[Problem]:
        """What in ``spec`` would be put where something is being removed."""
        return [
            Problem(
                code="volume_being_removed",
                message=f"{place.path} (for {place.target}) is being removed with the workload that used it.",
                next_step="Wait until that operation has ended, then try again.",
                details={"path": place.path, "target": place.target},
            )
            for place in self._volumes.placed(spec)
            if any(overlap(place.path, path) for path in self._going)
        ]

    def require_decided(self, workload: Workload) -> None:
        """Raise ``Conflict`` (``restore_undecided``) while a restore of the workload waits for a person."""
        why = self._restore_pending(workload.id)
        if why is not None:
            raise Conflict(
                "restore_undecided",
                f"A restore of {workload.name} waits for your decision: {why}",
                next_step="Decide first: keep the restored data, or revert to the old.",
                details={"workload_id": workload.id},
            )

    async def _run(
        self,
        ctx: OperationContext,
        known: Workload,
        *,
        delete_data: bool,
        last_snapshot: bool,
        still: Callable[[], Awaitable[bool]] | None,
        captured: Callable[[], Awaitable[object]] | None,
    ) -> dict[str, object]:
        ids = await self._last.lock_ids(known) if last_snapshot else {known.id}
        async with self._locks.hold(
            ids, told("a_deletion", "delete {id}", id=ctx.id), on_wait=ctx.waiting, waits_in=ctx.interruptible
        ) as held:
            workload = await self._store.get(known.id)
            if workload is None:
                raise NotFound(
                    "workload_unknown",
                    "The workload was deleted in the meantime.",
                    next_step="Nothing is left to do.",
                    details={"workload": known.id},
                )
            if still is not None and not await still():
                ctx.log(
                    told("preview_updated", "{workload} stays: it was updated in the meantime", workload=workload.name)
                )
                return {"instances": [], "removed": [], "kept": []}
            self.require_decided(workload)
            going = self._removable(workload) if delete_data else []
            async with self._claimed(workload, going):
                if last_snapshot:
                    async with self._last.warmed(held, workload, ctx) as capture:
                        removed = await self._end_instances(ctx, workload, delete_data=delete_data)
                        await capture()
                    if captured is not None:
                        await captured()
                else:
                    removed = await self._end_instances(ctx, workload, delete_data=delete_data)
                if going:
                    ctx.step("removing_data")
                    await self._volumes.forget(workload, going)
                    await self._data.remove(going, ctx)
                    await self._named.remove(workload.spec)
                ctx.step("forgetting")
                await self.forget(workload, ctx)
            trees = await self._leftovers.kept(workload.id)
        kept = [
            {"path": place.path, "reason": _why_kept(place, workload.spec, delete_data=delete_data)}
            for place in self._volumes.placed(workload.spec)
            if not any(ref.path == place.path for ref in going)
        ]
        kept += [{"path": path, "reason": "a restore was taken back, and keeps this for looking at"} for path in trees]
        return {
            "workload": workload.name,
            "instances": removed,
            "removed": [ref.path for ref in going],
            "kept": kept,
        }

    async def _end_instances(self, ctx: OperationContext, workload: Workload, *, delete_data: bool) -> list[str]:
        """Pass the point of no return: remove what restores left, if the data goes, and the instances."""
        ctx.point_of_no_return()
        if delete_data:  # while the live directories are there, by which it is known what is theirs
            ctx.step("removing_leftovers")
            await self._leftovers.clear(workload.id)
        return await self._remove_instances(ctx, workload)

    async def forget(self, workload: Workload, ctx: OperationContext) -> None:
        """Forget a workload that has no instances any more, and what was kept for its sake. Touches no data."""
        await self._remove_network(workload)
        await self._store.delete(workload.id)
        self._traffic.changed.set()
        await self._logs.forget(workload.id)
        await self._images.tidy(workload.id, ctx)

    async def _remove_instances(self, ctx: OperationContext, workload: Workload) -> list[str]:
        """Stop and remove the workload's containers. Nothing brings them back: it should not run any more."""
        await self._store.set_desired(workload.id, DesiredState.STOPPED)
        ctx.step("stopping")
        containers = await self._instances.of(workload.id)
        for container in containers:
            if container.running:
                await self._runtime.set_restart_policy(container.id, RestartPolicy.NO)
                grace = workload.spec.stop_grace
                unclean = unclean_stop(container.name, await self._runtime.stop(container.id, grace), grace)
                await tell_unclean_stops(ctx, [unclean] if unclean else [])
        ctx.step("removing_instances")
        for container in containers:
            await self._instances.remove(facts_of(container), force=True)
        return [container.name for container in containers]

    async def _remove_network(self, workload: Workload) -> None:
        """The project's network goes with its last workload."""
        project = workload.spec.project
        if not any(other.spec.project == project for other in await self._store.list() if other.id != workload.id):
            await self._runtime.remove_network(self._instances.network_name(project))

    def _removable(self, workload: Workload) -> list[RootRef]:
        spec = workload.spec
        return [self._volumes.resolve(spec, v) for v in spec.captured_volumes if v.own]

    async def _require_removable(self, workload: Workload) -> None:
        """Refuse to remove what somebody else uses (configured, or mounted), and what is not what was last seen."""
        everyone = await self._store.list()
        sharers = self._volumes.sharers(workload, everyone) - {workload.id}
        problems = [_shared(workload, other) for other in everyone if other.id in sharers]
        problems.extend(await self._volumes.check_before_removal(workload))
        own = {container.id for container in await self._instances.of(workload.id)}
        for container in await self._runtime.containers():
            for ref in self._removable(workload):
                if container.id not in own and any(
                    mount.source and path_users.overlap(ref.path, mount.source) for mount in container.mounts
                ):
                    problems.append(_in_use(ref.path, container.name))
        if problems:
            raise Refused(problems)

    @asynccontextmanager
    async def _claimed(self, workload: Workload, refs: Sequence[RootRef]) -> AsyncIterator[None]:
        """Make sure that nobody else uses ``refs``, nor can be configured to until the end of the block."""
        paths = Counter(ref.path for ref in refs)
        async with self.configuring:
            if refs:
                await self._require_removable(workload)
            self._going += paths
        try:
            yield
        finally:
            self._going -= paths


def _why_kept(place: Placed, spec: WorkloadSpec, *, delete_data: bool) -> str:
    if not delete_data:
        return "data is only removed when asked for"
    if any(volume.target == place.target and volume.engine_volume for volume in spec.volumes):
        return "volumes of the engine that were there before are never removed: they belong to whoever made them"
    return f"directories of scope {place.scope.value} are never removed: they belong to whoever made them"


def _shared(workload: Workload, other: Workload) -> Problem:
    return Problem(
        code="volume_shared",
        message=f"The workload {other.name} uses project volumes of {workload.name} too.",
        next_step=f"Delete {workload.name} without its data, or take the volume out of {other.name} first.",
        details={"other_workload": other.name},
    )


def _in_use(path: str, container: str) -> Problem:
    return Problem(
        code="volume_in_use",
        message=f"The container {container} has {path} mounted.",
        next_step="Remove that container first, or delete the workload without its data.",
        details={"path": path, "container": container},
    )
