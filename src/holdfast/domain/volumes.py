"""Where volumes live on the host: the rules, without looking at the disk.

=============  =================================  =======================================================
scope          below                              path
=============  =================================  =======================================================
absolute       a root that the operator allowed   as given
stage          the volumes base                   ``<workload>/<source>``
project        the volumes base                   ``@<project>/<source>``, shared by a project
named          the container engine's volumes     ``holdfast_<workload>_<source>/_data``
project_named  the container engine's volumes     ``holdfast-project_<project>_<source>/_data``, shared
=============  =================================  =======================================================

The scopes of the container engine's volumes may name one that was there before: ``<engine_volume>/_data``.

Neither ``@`` nor ``_`` can occur in a name, so that a project's directory is never a workload's, and one name of the
container engine's never stands for two volumes. Paths here are absolute, normalised texts; that no component of them is
a symlink is for the engine to find out, at each use.

Invariants:

- No two volumes of any workloads are at equal or nested paths, but for equal ones that a project shares.
- An absolute volume is strictly below an allowed root, and never the host's or Holdfast's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from holdfast.domain.errors import Problem
from holdfast.domain.workload import SHARED_SCOPES, Scope, Volume, WorkloadSpec

SYSTEM_DIRECTORIES: Final = (
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var/lib/containerd",
    "/var/lib/docker",
    "/var/run",
)
"""The host's own. No volume is one of them, below one, or a parent of one."""

ENGINE_DATA: Final = "_data"
"""What the container engine calls the directory of a volume that holds its data, beside what it keeps of it."""

_NUMBER: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
_MAX_ID: Final = 2**32 - 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A volume of a workload at its host path."""

    workload: str
    """The workload's name."""
    project: str
    target: str
    scope: Scope
    path: str

    def shares_with(self, other: Placed) -> bool:
        """Whether both are the same volume of the same project, mounted by two workloads on purpose."""
        return (
            self.scope in SHARED_SCOPES
            and other.scope is self.scope
            and self.project == other.project
            and self.workload != other.workload
            and self.path == other.path
        )


def relative_path(spec: WorkloadSpec, volume: Volume) -> str:
    """Where a volume of scope ``stage`` or ``project`` is below the volumes base."""
    match volume.scope:
        case Scope.STAGE:
            return f"{spec.name}/{volume.source}"
        case Scope.PROJECT:
            return f"@{spec.project}/{volume.source}"
        case _:
            raise ValueError(f"a volume of scope {volume.scope} has no path below the volumes base")


def engine_name(spec: WorkloadSpec, volume: Volume) -> str:
    """The name by which the container engine knows a volume of scope ``named`` or ``project_named``."""
    match volume.scope:
        case Scope.NAMED | Scope.PROJECT_NAMED if volume.engine_volume:
            return volume.engine_volume
        case Scope.NAMED:
            return f"holdfast_{spec.name}_{volume.source}"
        case Scope.PROJECT_NAMED:
            return f"holdfast-project_{spec.project}_{volume.source}"
        case _:
            raise ValueError(f"the container engine has no name for a volume of scope {volume.scope}")


def engine_path(spec: WorkloadSpec, volume: Volume) -> str:
    """Where such a volume is below the directory in which the engine keeps its volumes: in one of its own."""
    return f"{engine_name(spec, volume)}/{ENGINE_DATA}"


def is_below(path: str, root: str) -> bool:
    """Whether ``path`` is strictly below ``root``."""
    return path != root and path.startswith(root.rstrip("/") + "/")


def overlap(one: str, other: str) -> bool:
    """Whether two paths are equal or one is below the other."""
    return one == other or is_below(one, other) or is_below(other, one)


def choose_root(path: str, roots: Iterable[str]) -> str | None:
    """The longest of ``roots`` that ``path`` is strictly below; ``None`` if there is none."""
    return max((root for root in roots if is_below(path, root)), key=len, default=None)


def forbidden(path: str, *, own: str, volumes_base: str, engine_root: str | None = None) -> Problem | None:
    """Why ``path`` may not be an absolute volume, whatever the allowed roots say.

    Args:
        own: Holdfast's data directory.
        volumes_base: what is below it is fine, inside of ``own`` too; it itself is not.
        engine_root: where the container engine keeps its state.
    """
    if path == "/":
        return _forbidden(path, "it is the root of the host's file system")
    for system in SYSTEM_DIRECTORIES:
        if overlap(path, system):
            return _forbidden(path, f"{system} belongs to the host's system")
    if engine_root is not None and overlap(path, engine_root):
        return _forbidden(path, f"{engine_root} belongs to the container engine")
    if path == volumes_base or is_below(volumes_base, path):
        return _forbidden(path, f"it holds {volumes_base}, where Holdfast keeps the volumes of all workloads")
    if overlap(path, own) and not is_below(path, volumes_base):
        return _forbidden(path, f"{own} is Holdfast's own data directory")
    return None


def conflicts(mine: Sequence[Placed], others: Iterable[Placed]) -> list[Problem]:
    """What stands in the way of ``mine`` (the volumes of one workload) beside ``others``, and beside each other."""
    problems: list[Problem] = []
    seen: list[Placed] = [*others]
    for volume in mine:
        for other in seen:
            if overlap(volume.path, other.path) and not volume.shares_with(other):
                problems.append(_conflict(volume, other))
        seen.append(volume)
    return problems


def owner(user: str | None) -> tuple[int, int]:
    """Owner and group that a new volume directory needs for a container that runs as ``user``.

    Args:
        user: ``uid``, ``uid:gid`` or names, as in a configuration or an image; empty or ``None`` means root.

    A group that isn't numeric is 0, as the engine takes it for a bare uid. A user's name stands in the image's own
    ``/etc/passwd``, which is not read here: the directory then belongs to root, and the image has to change that
    itself (most do), or the configuration has to name a numeric ``user``.
    """
    name, _, group = (user or "").partition(":")
    uid = _number(name)
    if uid is None:
        return (0, 0)
    return (uid, _number(group) or 0)


def _number(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) and int(text) <= _MAX_ID else None


def _forbidden(path: str, why: str) -> Problem:
    return Problem(
        code="volume_path_forbidden",
        message=f"{path} can't be a volume: {why}.",
        next_step="Choose a directory of its own for the data, below one of the allowed roots.",
        details={"path": path},
    )


def _conflict(volume: Placed, other: Placed) -> Problem:
    whose = "this workload" if volume.workload == other.workload else f"the workload {other.workload}"
    relation = "is" if volume.path == other.path else "overlaps"
    return Problem(
        code="volume_conflict",
        message=f"{volume.path} (for {volume.target}) {relation} {other.path}, the volume {other.target} of {whose}.",
        next_step=(
            "Two writers in one directory destroy each other's data: choose another source. Workloads that are meant "
            "to share data do so with equal sources of the scope project or project_named, in the same project."
        ),
        details={
            "path": volume.path,
            "target": volume.target,
            "other_path": other.path,
            "other_target": other.target,
            "other_workload": other.workload,
        },
    )
