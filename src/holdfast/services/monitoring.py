"""Figures for other programs that watch this one, gathered when they ask: from what is known, asking no engine.

What workloads use, and how many of their instances run, is what the last sample found; with samples switched off, or
while the engine does not answer, nothing is told of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from holdfast import __version__
from holdfast.domain.backup import KeptBackups
from holdfast.domain.errors import HoldfastError
from holdfast.domain.snapshot import SnapshotManifest
from holdfast.domain.times import parse
from holdfast.domain.workload import DesiredState, Workload
from holdfast.engine.space import FilesystemSpace
from holdfast.services.metrics import Metrics
from holdfast.services.operations import Operations
from holdfast.services.readiness import Readiness
from holdfast.services.scheduler import Standing
from holdfast.store.volume_sizes import VolumeSizeStore

_LOOKS: Final = 3
_LOOK_SECONDS: Final = 0.01

Values: TypeAlias = Mapping[tuple[str, ...], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Figures of one name.

    Attributes:
        labels: what tells them apart.
        values: each by the values of its labels.
        counts: whether it only ever grows while this server runs.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    values: Values
    counts: bool = False


class Monitoring:
    """Gathers the figures.

    Args:
        workloads: all of them.
        manifests: of all snapshots; blocks.
        schedules: how all stand.
        backups: of Holdfast's own state, that are kept.
        filesystems: those that Holdfast's data and volumes are on.
    """

    def __init__(
        self,
        *,
        workloads: Callable[[], Awaitable[Sequence[Workload]]],
        manifests: Callable[[], Iterable[SnapshotManifest]],
        schedules: Callable[[], Awaitable[tuple[Standing, ...]]],
        backups: Callable[[], Awaitable[KeptBackups]],
        filesystems: Callable[[], Awaitable[Sequence[FilesystemSpace]]],
        sizes: VolumeSizeStore,
        metrics: Metrics,
        operations: Operations,
        readiness: Readiness,
    ) -> None:
        self._workloads = workloads
        self._manifests = manifests
        self._schedules = schedules
        self._backups = backups
        self._filesystems = filesystems
        self._sizes = sizes
        self._metrics = metrics
        self._operations = operations
        self._readiness = readiness

    async def figures(self) -> tuple[Family, ...]:
        """All that is known now.

        Raises:
            HoldfastError: the database or the snapshots can't be read.
        """
        workloads = {workload.id: workload for workload in await self._workloads()}
        ready, _ = self._readiness.ready()
        return (
            Family(name="holdfast_info", help="The server.", labels=("version",), values={(__version__,): 1}),
            Family(
                name="holdfast_ready", help="Whether it can do its work: 1, or 0 while it waits.", values={(): ready}
            ),
            Family(
                name="holdfast_event_loop_lag_seconds",
                help="How much too late the server came to what it had put off, at worst, during this scrape.",
                values={(): await _lag()},
            ),
            *self._of_operations(),
            *self._of_workloads(workloads),
            *await self._of_snapshots(workloads),
            await self._of_volumes(workloads),
            await self._of_schedules(),
            *await self._of_backups(),
            *await self._of_filesystems(),
        )

    def _of_operations(self) -> tuple[Family, ...]:
        ended: Values = {(str(kind), str(state)): count for (kind, state), count in self._operations.ended.items()}
        return (
            Family(
                name="holdfast_operations_unfinished",
                help="Operations that run or wait.",
                values={(): self._operations.unfinished},
            ),
            Family(
                name="holdfast_operations_ended",
                help="Operations that ended since the server was started.",
                labels=("kind", "state"),
                values=ended,
                counts=True,
            ),
            Family(
                name="holdfast_operations_seconds",
                help="How long those took, together.",
                labels=("kind",),
                values={(str(kind),): seconds for kind, seconds in self._operations.seconds.items()},
                counts=True,
            ),
            Family(
                name="holdfast_restores_downtime_seconds",
                help="For how long restores kept workloads down since the server was started, together.",
                values={(): self._operations.downtime},
                counts=True,
            ),
        )

    def _of_workloads(self, workloads: Mapping[str, Workload]) -> tuple[Family, ...]:
        last = {key: sampled for key, sampled in self._metrics.last.items() if key in workloads}
        used = {(workloads[key].name,): sampled.used for key, sampled in last.items() if sampled.used is not None}

        def gauge(name: str, words: str, values: Values) -> Family:
            return Family(name=f"holdfast_workload_{name}", help=words, labels=("workload",), values=values)

        return (
            gauge(
                "wanted",
                "Whether it should run: 1, or 0.",
                {(each.name,): each.desired is DesiredState.RUNNING for each in workloads.values()},
            ),
            gauge(
                "unprotected",
                "Whether it has data that no schedule captures: 1, or 0.",
                {
                    (each.name,): bool(each.spec.captured_volumes) and not each.spec.snapshots.schedule
                    for each in workloads.values()
                },
            ),
            gauge(
                "instances",
                "Instances that run; none for a workload that has none.",
                {(workloads[key].name,): sampled.instances for key, sampled in last.items()},
            ),
            gauge(
                "cpu_cores",
                "Cores that were busy, on average of the last sample.",
                {name: each.cpu / each.seconds / 1000 for name, each in used.items()},
            ),
            gauge(
                "memory_bytes",
                "Memory, without what the kernel only keeps of files.",
                {name: each.memory for name, each in used.items()},
            ),
            gauge(
                "received_bytes_per_second",
                "Bytes received a second, on average of the last sample.",
                {name: each.received / each.seconds for name, each in used.items()},
            ),
            gauge(
                "sent_bytes_per_second",
                "Bytes sent a second, on average of the last sample.",
                {name: each.sent / each.seconds for name, each in used.items()},
            ),
        )

    async def _of_snapshots(self, workloads: Mapping[str, Workload]) -> tuple[Family, ...]:
        manifests = await asyncio.to_thread(lambda: list(self._manifests()))
        count: dict[tuple[str, ...], float] = {(workload.name,): 0 for workload in workloads.values()}
        held: dict[tuple[str, ...], float] = {(workload.name,): 0 for workload in workloads.values()}
        stored: dict[tuple[str, ...], float] = {(workload.name,): 0 for workload in workloads.values()}
        newest: dict[tuple[str, ...], float] = {}
        for manifest in manifests:
            if manifest.workload_id in workloads:
                name = (workloads[manifest.workload_id].name,)
                count[name] += 1
                held[name] += manifest.bytes
                stored[name] += manifest.stored_bytes
                newest[name] = max(newest.get(name, 0), parse(manifest.created_at).timestamp())
        labels = ("workload",)
        return (
            Family(name="holdfast_snapshots", help="Snapshots that there are.", labels=labels, values=count),
            Family(
                name="holdfast_snapshots_bytes",
                help="What they hold, each counted whole.",
                labels=labels,
                values=held,
            ),
            Family(
                name="holdfast_snapshots_stored_bytes",
                help="What they added to the repository when they were taken.",
                labels=labels,
                values=stored,
            ),
            Family(
                name="holdfast_snapshot_newest_timestamp_seconds",
                help="When the newest was taken, in seconds since 1970; none for a workload without one.",
                labels=labels,
                values=newest,
            ),
        )

    async def _of_volumes(self, workloads: Mapping[str, Workload]) -> Family:
        sizes = await self._sizes.newest()
        return Family(
            name="holdfast_volume_bytes",
            help="How large a volume was when it was looked at last.",
            labels=("workload", "target"),
            values={
                (workloads[key].name, target): size.bytes for (key, target), size in sizes.items() if key in workloads
            },
        )

    async def _of_schedules(self) -> Family:
        return Family(
            name="holdfast_schedule_well",
            help="Whether a schedule does what it should: 1, or 0 where it failed, missed a run or is overdue.",
            labels=("kind", "name"),
            values={
                (str(each.schedule.kind), each.schedule.name): each.health.well for each in await self._schedules()
            },
        )

    async def _of_backups(self) -> tuple[Family, ...]:
        kept = (await self._backups()).backups
        return (
            Family(name="holdfast_backups", help="Backups of its own state that it keeps.", values={(): len(kept)}),
            Family(
                name="holdfast_backup_newest_timestamp_seconds",
                help="When the newest was made, in seconds since 1970; none where there is none.",
                values={(): parse(kept[0].created_at).timestamp()} if kept else {},
            ),
        )

    async def _of_filesystems(self) -> tuple[Family, ...]:
        try:
            spaces = await self._filesystems()
        except HoldfastError:
            spaces = ()  # the doctor says which can't be looked at; it keeps nobody from knowing the rest
        labels = ("mount_point",)
        return (
            Family(
                name="holdfast_filesystem_free_bytes",
                help="What is free, without what is reserved for root.",
                labels=labels,
                values={(space.mount_point,): space.free_bytes for space in spaces},
            ),
            Family(
                name="holdfast_filesystem_size_bytes",
                help="How large the filesystem is.",
                labels=labels,
                values={(space.mount_point,): space.total_bytes for space in spaces},
            ),
        )


async def _lag() -> float:
    """Seconds. The worst of a few looks."""
    loop, worst = asyncio.get_running_loop(), 0.0
    for _ in range(_LOOKS):
        due = loop.time() + _LOOK_SECONDS
        await asyncio.sleep(_LOOK_SECONDS)
        worst = max(worst, loop.time() - due)
    return worst
