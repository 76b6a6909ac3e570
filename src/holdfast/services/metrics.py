"""Metrics: what each workload uses of the machine, sampled now and then, and told for the last month.

Nobody waits for a sample: an engine that does not answer leaves a gap, and the next sample is about all that time.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from holdfast.domain.disk import VolumeSize, sizes_since
from holdfast.domain.errors import HoldfastError
from holdfast.domain.metrics import MetricsQuery, Totals, Used, metrics_query, points, used_since
from holdfast.domain.workload import Resources, Workload
from holdfast.runtime.port import LABEL_INSTALLATION, LABEL_WORKLOAD, ContainerRuntime
from holdfast.services.health_gate import Clock
from holdfast.store.metrics import MetricsStore
from holdfast.store.volume_sizes import VolumeSizeStore


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadMetrics:
    """What a workload used.

    Attributes:
        limits: what its instances may use, each, as configured.
        points: oldest first; a step in which nothing ran has none.
        volumes: how large its volumes were, oldest first: each time they were looked at since the first step began,
            and the last time before.
    """

    query: MetricsQuery
    limits: Resources
    points: tuple[Used, ...]
    volumes: tuple[VolumeSize, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """What a sample found of a workload: how many instances run, and what they used, if that is known already."""

    instances: int
    used: Used | None


class Metrics:
    """Takes samples, and tells of them.

    Args:
        installation: the id of this Holdfast.
        workload: finds one by its id or name, or raises ``NotFound``.
        interval: seconds between two samples; 0: none is taken.
    """

    def __init__(
        self,
        *,
        runtime: ContainerRuntime,
        installation: str,
        workload: Callable[[str], Awaitable[Workload]],
        store: MetricsStore,
        sizes: VolumeSizeStore,
        interval: float,
        clock: Clock,
    ) -> None:
        self._runtime = runtime
        self._installation = installation
        self._workload = workload
        self._store = store
        self._sizes = sizes
        self._interval = interval
        self._clock = clock
        self._before: Mapping[str, Mapping[str, Totals]] = {}
        self._last: Mapping[str, Sampled] = {}
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("metrics")

    @property
    def last(self) -> Mapping[str, Sampled]:
        """What the last sample found, by the workloads' ids; nothing if it failed."""
        return self._last

    def start(self) -> None:
        """Begin to take samples, in the background."""
        if self._interval:
            self._task = asyncio.create_task(self._run(), name="metrics")

    async def close(self) -> None:
        """Take no more samples."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def sample(self) -> None:
        """Keep what workloads used since the last sample.

        Raises:
            HoldfastError: the engine does not answer, or the database fails. Nothing is kept; nothing is lost for the
                next sample.
        """
        totals: dict[str, dict[str, Totals]] = defaultdict(dict)
        try:
            usages = await self._runtime.usage({LABEL_INSTALLATION: self._installation})
        except HoldfastError:
            self._last = {}
            raise
        for usage in usages:
            totals[usage.labels.get(LABEL_WORKLOAD, "")][usage.container_id] = usage.totals
        at = int(self._clock.time())
        used = {key: used_since(self._before.get(key, {}), now, at) for key, now in totals.items()}
        self._last = {key: Sampled(instances=len(totals[key]), used=used[key]) for key in totals}
        await self._store.keep(at, {key: value for key, value in used.items() if value is not None})
        self._before = totals

    async def of(
        self, ref: str, *, since: int | None = None, until: int | None = None, step: int | None = None
    ) -> WorkloadMetrics:
        """What a workload used from ``since`` up to ``until`` (seconds since 1970), in steps of so many seconds.

        Args:
            ref: the workload's id or name.

        Raises:
            NotFound: ``workload_unknown``.
            InvalidInput: ``metrics_range_empty``.
        """
        workload = await self._workload(ref)
        interval = round(self._interval) or 1
        query = metrics_query(since=since, until=until, step=step, now=int(self._clock.time()), interval=interval)
        values: Sequence[Used] = await self._store.read(workload.id, query)
        sizes = await self._sizes.of(workload.id, until=query.until)
        return WorkloadMetrics(
            query=query,
            limits=workload.spec.resources,
            points=points(values, query.step),
            volumes=sizes_since(sizes, query.since),
        )

    async def _run(self) -> None:
        failing = False
        while True:
            await self._clock.sleep(self._interval)
            try:
                await self.sample()
                failing = False
            except HoldfastError as error:
                if not failing:
                    self._log.warning("what is used can't be told", code=error.code, reason=error.message)
                failing = True
            except Exception:  # noqa: BLE001 - a defect met once must not end all sampling for good, and unseen
                self._log.exception("metrics_failed_unforeseen")
