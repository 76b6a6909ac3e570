"""Mounts of a foreign container as volumes of a workload, on the data that it has.

A directory of the host becomes ``absolute``; a volume of the engine's, with or without a name of its own, ``named``
where one of the containers uses it, ``project_named`` where several do, each with its name as ``engine_volume``; tmpfs
``ephemeral``. What Holdfast could not keep its promises about is left out and named.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final

from holdfast.domain.compose_findings import Findings, Path, driver_words, words
from holdfast.domain.compose_values import size
from holdfast.domain.told import told
from holdfast.domain.workload import Scope

_COMPOSE_VOLUME: Final = "com.docker.compose.volume"
_ANONYMOUS: Final = re.compile("[0-9a-f]{64}")
_NOT_IN_SOURCES: Final = re.compile("[^A-Za-z0-9_.-]+")
_OWN_MOUNTS: Final = ("rprivate", "private", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignVolume:
    """What the engine says of a volume that a container mounts."""

    driver: str
    options: tuple[str, ...]
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What is known of the host beside the containers.

    Attributes:
        volumes: the engine's, by name.
        files: host paths that are mounted and are no directories.
        shared: names of the engine's volumes that several of the containers mount.
    """

    volumes: Mapping[str, ForeignVolume]
    files: Set[str]
    shared: Set[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedMounts:
    """``volumes`` of a declaration; ``lost``: targets that the container may write to and that are not among them."""

    volumes: list[dict[str, object]]
    lost: tuple[str, ...]


def mounts_of(container: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Directories and volumes that a container mounts, by target: the engine lists them in another order each time."""
    found = [mount for mount in container.get("Mounts") or () if mount.get("Type") != "tmpfs"]
    return sorted(found, key=lambda mount: str(mount.get("Destination")))


def engine_volumes_of(container: Mapping[str, Any]) -> list[str]:
    """The names of the engine's volumes that a container mounts."""
    return [str(mount["Name"]) for mount in mounts_of(container) if mount.get("Type") == "volume" and mount.get("Name")]


def carried_mounts(container: Mapping[str, Any], path: Path, host: Host, findings: Findings) -> CarriedMounts:
    """The mounts of a container as volumes.

    Args:
        path: of the container.
    """
    made: list[dict[str, object]] = []
    lost: list[str] = []
    used: set[tuple[object, object]] = set()
    parts = _mounted_in_part(container.get("HostConfig") or {})
    for mount in mounts_of(container):
        target = str(mount.get("Destination") or "")
        place = (*path, "volumes", target)
        if target in parts:
            findings.left_out(
                place,
                told(
                    "import_volume_subpath",
                    "Only a directory of the volume is mounted (volume-subpath).",
                    "Mount that directory by its path on the host, with scope absolute.",
                ),
            )
            volume = None
        else:
            volume = _volume(mount, target, place, host, findings)
        if volume is not None and (volume["scope"], volume["source"]) in used:
            findings.left_out(
                place,
                told(
                    "import_mounted_twice",
                    "The same volume is mounted a second time.",
                    "A workload mounts a volume once: mount what holds both places, or use two volumes.",
                ),
            )
            volume = None
        if volume is None:
            lost += [target] if mount.get("RW", True) else []
            continue
        used.add((volume["scope"], volume["source"]))
        made.append(volume)
    return CarriedMounts(volumes=[*made, *_tmpfs(container.get("HostConfig") or {}, path, findings)], lost=tuple(lost))


def _mounted_in_part(host_config: Mapping[str, Any]) -> set[str]:
    """The targets at which not a whole volume is mounted, but a directory of it."""
    mounts = host_config.get("Mounts") or ()
    return {str(mount.get("Target")) for mount in mounts if (mount.get("VolumeOptions") or {}).get("Subpath")}


def _volume(
    mount: Mapping[str, Any], target: str, path: Path, host: Host, findings: Findings
) -> dict[str, object] | None:
    if mount.get("Propagation") not in (*_OWN_MOUNTS, None):
        findings.left_out(
            (*path, "propagation"),
            told(
                "import_mount_propagation",
                "Mounts below it are not shared with the host.",
                "Check that none is needed.",
            ),
        )
    read_only = {} if mount.get("RW", True) else {"read_only": True}
    if mount.get("Type") == "bind":
        source = str(mount.get("Source") or "")
        if source in host.files:
            findings.single_file(path, source)
            return None
        plain = "/" + posixpath.normpath(source).lstrip("/")
        return {"target": target, "scope": Scope.ABSOLUTE.value, "source": plain, **read_only}
    name = str(mount.get("Name") or "")
    known = host.volumes.get(name)
    if mount.get("Type") != "volume" or known is None:
        findings.left_out(
            path,
            told(
                "import_mount_type_unknown",
                "A mount of the type {type} that can't be looked at.",
                "Holdfast mounts directories, Docker volumes and tmpfs.",
                type=words(str(mount.get("Type"))),
            ),
        )
        return None
    if known.driver != "local" or known.options:
        findings.left_out(
            path,
            told(
                "import_volume_driver",
                "The volume {name} has {has}.",
                "Mount what it leads to on the host, and write the volume with scope absolute and that path.",
                name=words(name),
                has=driver_words(known.driver),
            ),
        )
        return None
    scope = Scope.PROJECT_NAMED if name in host.shared else Scope.NAMED
    source = _source(name, target, known)
    return {"target": target, "scope": scope.value, "source": source, **read_only, "engine_volume": name}


def _source(name: str, target: str, known: ForeignVolume) -> str:
    """How the volume is called in the declaration: as Compose calls it, else as the engine does, else by its target."""
    wanted = target if _ANONYMOUS.fullmatch(name) else known.labels.get(_COMPOSE_VOLUME, name)
    return _NOT_IN_SOURCES.sub("-", wanted).strip("-._")[:100] or "data"


def _tmpfs(host_config: Mapping[str, Any], path: Path, findings: Findings) -> Iterator[dict[str, object]]:
    for target, options in (host_config.get("Tmpfs") or {}).items():
        volume: dict[str, object] = {"target": target, "scope": Scope.EPHEMERAL.value}
        for option in filter(None, str(options).split(",")):
            name, _, given = option.partition("=")
            found = size(given) if name == "size" else None
            if found is not None:
                volume["size"] = found
            else:
                findings.left_out(
                    (*path, "tmpfs", target),
                    told(
                        "import_tmpfs_option",
                        "The option {option} of a tmpfs.",
                        "Holdfast has no such option.",
                        option=words(option),
                    ),
                )
        yield volume
    for mount in host_config.get("Mounts") or ():
        if mount.get("Type") == "tmpfs":
            bytes_ = (mount.get("TmpfsOptions") or {}).get("SizeBytes")
            bound = {"size": bytes_} if bytes_ else {}
            yield {"target": mount.get("Target"), "scope": Scope.EPHEMERAL.value, **bound}
