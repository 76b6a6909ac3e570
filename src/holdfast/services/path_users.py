"""Containers that have a volume's path mounted beside those that are meant to: asked by restores, deploys and captures.

Paths are compared, not looked at: whether one is the other, or lies in it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence

from holdfast.domain.errors import Problem
from holdfast.domain.told import Told, told
from holdfast.domain.volumes import is_below
from holdfast.domain.workload import RestartPolicy
from holdfast.runtime.port import Container, Mount


def others_on_paths(
    containers: Iterable[Container], own_ids: Collection[str], paths: Sequence[str]
) -> tuple[list[Problem], list[Told]]:
    """Containers that mount one of ``paths``, an ancestor or a descendant, and that the restore does not hold.

    A running one refuses the restore; so does a stopped one that the engine would start by itself; any other stopped
    one is worth a warning.
    """
    strangers = (container for container in containers if container.id not in own_ids)
    return _users(strangers, paths, lambda path, mount: overlap(path, mount.source))


def writers_on_volumes(
    strangers: Iterable[Container], writable: Collection[str], read_only: Collection[str]
) -> tuple[list[Problem], list[Told]]:
    """Containers of others that could write to a volume, or put something else in its place.

    Args:
        strangers: containers that are not Holdfast's.
        writable: paths of volumes that the workload writes to: nobody else may, since two writers destroy data.
        read_only: paths of those that it only reads. Others may write there, but not to what is above: they could have
            a symlink stand where the volume was.
    """

    def may_write(path: str, mount: Mount) -> bool:
        if mount.read_only:
            return False
        if path in writable:
            return overlap(path, mount.source)
        return any(is_below(path, source) for source in (mount.source, os.path.realpath(mount.source)))

    return _users(strangers, [*writable, *read_only], may_write)


def overlap(path: str, source: str) -> bool:
    """Whether one is the other, or lies in it; a source that is a symlink counts for where it leads."""
    real = os.path.realpath(source)
    return any(
        a == b or a.startswith(b.rstrip("/") + "/") or b.startswith(a.rstrip("/") + "/")
        for a, b in ((path, source), (path, real))
    )


def _users(
    containers: Iterable[Container], paths: Sequence[str], uses: Callable[[str, Mount], bool]
) -> tuple[list[Problem], list[Told]]:
    problems: list[Problem] = []
    warnings: list[Told] = []
    for container in containers:
        touched = [path for path in paths if any(mount.source and uses(path, mount) for mount in container.mounts)]
        if not touched:
            continue
        if container.running or container.restart is RestartPolicy.ALWAYS:
            how = "runs" if container.running else "would be started by the engine by itself"
            problems.append(
                Problem(
                    code="path_in_use",
                    message=f"The container {container.name} mounts {touched[0]} and {how}.",
                    next_step=f"Stop and remove {container.name}, or take the mount away, then try again.",
                    details={"container": container.name, "paths": touched},
                )
            )
        else:
            warnings.append(
                told(
                    "path_of_stopped_container",
                    "The stopped container {container} mounts {path} as well.",
                    container=container.name,
                    path=touched[0],
                )
            )
    return problems, warnings
