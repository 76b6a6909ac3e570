"""Removing the empty directories that a killed server left beside volumes, at the next start."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress

import structlog

from holdfast.domain.errors import HoldfastError, Refused
from holdfast.domain.restore import RootRef
from holdfast.domain.workload import Workload
from holdfast.engine.fs import Fs
from holdfast.engine.live import LiveRoots
from holdfast.engine.probes import remove_left_directories
from holdfast.services.volumes import VolumeResolver


async def remove_left_probes(
    fs: Fs, roots: LiveRoots, root_paths: Collection[str], volumes: VolumeResolver, workloads: Iterable[Workload]
) -> None:
    """Remove what trying an exchange left, beside all workloads' volumes and in the roots. Failures are only told.

    Args:
        root_paths: the volumes base and the allowed roots.
    """
    beside = {RootRef(root=root, relative="any") for root in root_paths}
    for workload in workloads:
        for volume in workload.spec.captured_volumes:
            with suppress(Refused):  # a root that is not allowed any more; nothing is touched there
                beside.add(volumes.resolve(workload.spec, volume))
    await asyncio.to_thread(_remove, fs, roots, beside)


def _remove(fs: Fs, roots: LiveRoots, beside: Iterable[RootRef]) -> None:
    log = structlog.get_logger("probe_removal")
    for where, dirfd in _opened(roots, beside):
        try:
            for name in remove_left_directories(fs, dirfd):
                log.warning("an empty directory of ours could not be removed", path=f"{where}/{name}")
        except OSError as error:
            log.warning("could not look for what a killed server left", path=where, reason=error.strerror)
        finally:
            fs.close(dirfd)


def _opened(roots: LiveRoots, beside: Iterable[RootRef]) -> Iterator[tuple[str, int]]:
    """The directories that hold volumes, and volumes that are mount points: their paths, and descriptors to close.

    Without those that are not there: what is missing is told where it is needed.
    """
    refs = sorted(beside, key=lambda ref: ref.path)
    for root, parent in sorted({(ref.root, ref.parent_relative) for ref in refs}):
        with suppress(HoldfastError):
            yield f"{root}/{parent}", roots.open_parent(RootRef(root=root, relative=f"{parent}/any".lstrip("/")))[0]
    for ref in refs:
        with suppress(HoldfastError):
            if roots.is_mount_point(ref):
                yield ref.path, roots.open(ref)
