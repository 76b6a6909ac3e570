"""What takes space on this host's disks, put together from what is known: no volume is walked for it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.config import Settings
from holdfast.domain.disk import Cause, CauseUse, DiskItem, Forecast, cause_use, volume_uses
from holdfast.domain.errors import HoldfastError
from holdfast.domain.workload import Workload
from holdfast.engine.disk_use import Wrapper, directory_use, wrappers
from holdfast.engine.fs import Fs
from holdfast.engine.snapshot_store import SnapshotStore
from holdfast.engine.space import FilesystemSpace
from holdfast.services.filesystems import Filesystems
from holdfast.services.image_care import KeptImage
from holdfast.services.instances import VolumePlaces
from holdfast.services.volume_looks import VolumeLooks
from holdfast.store.volume_sizes import VolumeSizeStore


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskReport:
    """The filesystems that volumes and Holdfast's own data are on, how each fills, and what takes space."""

    filesystems: tuple[FilesystemSpace, ...]
    forecasts: Mapping[str, Forecast | None]
    """By mount point; ``None`` while it can't be told."""
    causes: tuple[CauseUse, ...]


class Disk:
    """Tells what takes space.

    Args:
        workloads: all of them.
        images: the images that are kept; may raise ``Unavailable``.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        fs: Fs,
        workloads: Callable[[], Awaitable[Sequence[Workload]]],
        volumes: VolumePlaces,
        snapshots: SnapshotStore,
        sizes: VolumeSizeStore,
        looks: VolumeLooks,
        images: Callable[[], Awaitable[Sequence[KeptImage]]],
        filesystems: Filesystems,
    ) -> None:
        self._settings = settings
        self._fs = fs
        self._workloads = workloads
        self._volumes = volumes
        self._snapshots = snapshots
        self._sizes = sizes
        self._looks = looks
        self._images = images
        self._filesystems = filesystems

    async def report(self) -> DiskReport:
        """Everything, by its cause.

        Raises:
            HoldfastError: Holdfast's own directories or snapshots can't be read.
        """
        workloads = await self._workloads()
        paths = {
            (workload.id, volume.target): path
            for workload in workloads
            for volume in workload.spec.captured_volumes
            if (path := self._path(workload, volume.target))
        }
        volumes, trials = volume_uses(workloads, paths, await self._sizes.newest())
        names = {workload.id: workload.name for workload in workloads}
        own = await asyncio.to_thread(self._own, names)
        filesystems = await self._filesystems.all()
        return DiskReport(
            filesystems=filesystems,
            forecasts=await self._filesystems.forecasts(filesystems),
            causes=(volumes, trials, own[0], await self._of_images(), *own[1:]),
        )

    def _path(self, workload: Workload, target: str) -> str:
        volume = next(each for each in workload.spec.captured_volumes if each.target == target)
        try:
            return self._volumes.resolve(workload.spec, volume).path
        except HoldfastError:
            return ""  # where it would be is forbidden: nothing of it was ever made

    async def _of_images(self) -> CauseUse:
        try:
            images = await self._images()
        except HoldfastError as error:
            return CauseUse(cause=Cause.IMAGES, bytes=0, problem=error)
        return cause_use(
            Cause.IMAGES,
            (DiskItem(name=", ".join(image.names) or image.id, bytes=image.size) for image in images),
        )

    def _own(self, names: Mapping[str, str]) -> tuple[CauseUse, ...]:
        """What is in the data directory: snapshots, logs, leftovers, the database, all else."""
        settings = self._settings
        repository = directory_use(self._fs, settings.repository_dir)
        archives = directory_use(self._fs, settings.snapshots_dir)
        logs = directory_use(self._fs, settings.logs_dir)
        uploads = directory_use(self._fs, settings.uploads_dir)
        told = (settings.repository_dir, settings.snapshots_dir, settings.logs_dir, settings.uploads_dir)
        apart = {  # volumes anywhere below: containers write there, as deep and as much as they like
            path.relative_to(settings.data_dir).parts[0]
            for path in (*told, settings.volumes_base)
            if path.is_relative_to(settings.data_dir)
        }
        rest = directory_use(self._fs, settings.data_dir, leave_out=apart)
        database = {name: size for name, size in rest.items() if name.startswith(settings.database_file.name)}
        return (
            cause_use(Cause.SNAPSHOTS, self._of_workloads(), total=sum(repository.values()) + sum(archives.values())),
            cause_use(Cause.LOGS, (DiskItem(name=names.get(key, key), bytes=size) for key, size in logs.items())),
            cause_use(
                Cause.LEFTOVERS,
                [
                    *(self._kept(wrapper) for wrapper in wrappers(self._fs, settings.journal_dir)),
                    *(DiskItem(name=f"received: {name}", bytes=size) for name, size in uploads.items()),
                ],
            ),
            cause_use(Cause.DATABASE, (DiskItem(name=name, bytes=size) for name, size in database.items())),
            cause_use(
                Cause.OTHER, (DiskItem(name=name, bytes=size) for name, size in rest.items() if name not in database)
            ),
        )

    def _of_workloads(self) -> list[DiskItem]:
        """What the snapshots of each workload added when they were taken."""
        added: dict[str, int] = defaultdict(int)
        for manifest in self._snapshots.manifests():
            added[manifest.workload_name] += manifest.stored_bytes
        return [DiskItem(name=name, bytes=size) for name, size in added.items()]

    def _kept(self, wrapper: Wrapper) -> DiskItem:
        name = f"{wrapper.workload_name}:{wrapper.target}, restore {wrapper.restore_id} ({wrapper.ref.path})"
        looked = self._looks.kept.get(wrapper.ref.path)
        return DiskItem(
            name=name, bytes=None if looked is None else looked.bytes, at=None if looked is None else looked.at
        )
