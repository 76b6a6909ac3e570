"""Looking how large volumes are, in the background, seldom, and in nobody's way.

- What a snapshot counted is taken over: only a volume that no snapshot tells about is walked, once a day, and while
  nobody is at work on its workload.
- Walks go one after the other, in a worker of the lowest priority that takes nobody's turn.
- What can't be looked at stays as it was last seen; who needs the volume says what is wrong with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final

import structlog

from holdfast.domain.disk import LOOK_AGAIN, TAKE_OVER, DiskItem, VolumeSize, found_by_snapshots
from holdfast.domain.errors import HoldfastError, Refused
from holdfast.domain.restore import RootRef
from holdfast.domain.snapshot import SnapshotManifest
from holdfast.domain.workload import Workload
from holdfast.engine.disk_use import Wrapper
from holdfast.engine.requests import TreeUseRequest
from holdfast.services.health_gate import Clock
from holdfast.services.instances import VolumePlaces
from holdfast.services.locks import LifecycleLocks
from holdfast.services.workers import Workers
from holdfast.store.volume_sizes import VolumeSizeStore

PAUSE: Final = 900.0
"""Seconds between two looks."""
LOWEST_PRIORITY: Final = ("nice", "-n", "19")
"""What a command begins with that gives way to all others."""


class VolumeLooks:
    """Looks, and remembers.

    Args:
        workloads: all of them.
        manifests: of all snapshots; blocks.
        workers: those that walk, one at a time and with the lowest priority.
        wrappers: where restores keep trees; blocks.
    """

    def __init__(
        self,
        *,
        workloads: Callable[[], Awaitable[Sequence[Workload]]],
        volumes: VolumePlaces,
        manifests: Callable[[], Iterable[SnapshotManifest]],
        sizes: VolumeSizeStore,
        locks: LifecycleLocks,
        workers: Workers,
        wrappers: Callable[[], Sequence[Wrapper]],
        clock: Clock,
    ) -> None:
        self._workloads = workloads
        self._volumes = volumes
        self._manifests = manifests
        self._sizes = sizes
        self._locks = locks
        self._workers = workers
        self._wrappers = wrappers
        self._clock = clock
        self._kept: Mapping[str, DiskItem] = {}
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("volume_looks")

    @property
    def kept(self) -> Mapping[str, DiskItem]:
        """How large the trees that restores keep were, by path."""
        return self._kept

    def start(self) -> None:
        """Begin to look, in the background."""
        self._task = asyncio.create_task(self._run(), name="volume looks")

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def look(self) -> None:
        """Take over what snapshots found; walk what none tells about.

        Raises:
            HoldfastError: snapshots or database can't be read.
        """
        found = await asyncio.to_thread(lambda: found_by_snapshots(self._manifests()))
        known = await self._sizes.newest()
        walked: dict[str, int | None] = {}  # a shared volume once for all
        for workload in await self._workloads():
            for volume in workload.spec.captured_volumes:
                key = (workload.id, volume.target)
                last = known[key].at if key in known else 0
                if key in found and found[key].at - last >= TAKE_OVER:
                    await self._sizes.add(found[key])
                elif self._clock.time() - last >= LOOK_AGAIN and self._locks.holder(workload.id) is None:
                    try:
                        ref = self._volumes.resolve(workload.spec, volume)
                    except Refused:
                        continue  # where it would be is forbidden by now
                    if ref.path not in walked:
                        walked[ref.path] = await self._walked(ref)
                    if (size := walked[ref.path]) is not None:
                        at = int(self._clock.time())
                        await self._sizes.add(VolumeSize(workload_id=key[0], target=key[1], at=at, bytes=size))
        await self._look_at_kept()

    async def _look_at_kept(self) -> None:
        kept = {}
        for wrapper in await asyncio.to_thread(self._wrappers):
            at = int(self._clock.time())
            size = await self._walked(wrapper.ref)
            kept[wrapper.ref.path] = DiskItem(name=wrapper.ref.path, bytes=size, at=None if size is None else at)
        self._kept = kept

    async def _walked(self, ref: RootRef) -> int | None:
        """How large a tree is; ``None`` if it can't be looked at, as one that was never deployed."""
        try:
            async with self._workers.session(None) as worker:
                return await worker.run(TreeUseRequest(live=ref))
        except HoldfastError as error:
            self._log.debug("a volume's size is not known", path=ref.path, code=error.code, reason=error.message)
            return None

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(PAUSE)
            try:
                await self.look()
            except HoldfastError as error:
                self._log.warning("sizes can't be looked at", code=error.code, reason=error.message)
            except Exception:  # noqa: BLE001 - a defect met once must not end all looking for good, and unseen
                self._log.exception("volume_looks_failed_unforeseen")
