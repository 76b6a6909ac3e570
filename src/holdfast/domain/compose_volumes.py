"""Volumes of a compose file as volumes of workloads.

A named volume becomes ``named`` where one service uses it, ``project_named`` where several do; a directory of the host
``absolute``; tmpfs ``ephemeral``; one without a name ``named`` after its target. What Holdfast could not keep its
promises about (volumes of others, other drivers, single files) is left out and named.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Final

from holdfast.domain.compose_findings import Findings, Path, driver_words, words
from holdfast.domain.compose_values import scalar, size
from holdfast.domain.told import told
from holdfast.domain.workload import Scope

_PATH: Final = (".", "/", "~")
_MODES: Final = frozenset({"rw", "nocopy", "cached", "delegated", "consistent"})
"""Options of a mount that are how Holdfast does it anyway, or change nothing on Linux."""
_FILES: Final = re.compile(
    r"/etc/(?:localtime|timezone|passwd|group|hosts|resolv\.conf)|/dev/.*"
    r"|.*\.(?:sock|socket|conf|cfg|cnf|ini|json|ya?ml|toml|env|pem|crt|cer|key|sh|sql|xml|html|js|php|txt|lua)"
    r"|.*/Caddyfile"
)
"""What is a single file by all appearances."""
_NOT_IN_SOURCES: Final = re.compile("[^A-Za-z0-9_.-]+")
_BIND_KEYS: Final = frozenset({"type", "source", "target", "read_only", "bind", "volume", "tmpfs"})
_HARMLESS: Final = frozenset({"bind.create_host_path", "volume.nocopy", "consistency"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a service's volumes are looked at with.

    Attributes:
        declared: the compose file's own top-level volumes; of each what stands below its name.
        shared: names of volumes that several services use.
        directory: absolute path of the compose file's directory; empty if it is not known.
        home: likewise, of whoever imports.
        project: Compose's name of the project.
    """

    declared: Mapping[str, object]
    shared: Set[str]
    directory: str
    home: str
    project: str


@dataclass(slots=True)
class _Mount:
    """A mount as the compose file writes it, short or long."""

    type: str
    source: str
    target: str
    read_only: bool = False
    size: str | int | None = None
    told: list[str] = field(default_factory=list)


def sources_used(value: object) -> set[str]:
    """The named volumes that a service's ``volumes`` use."""
    found = set()
    for entry in value if isinstance(value, list) else ():
        mount = _mount(entry)
        if mount is not None and mount.type == "volume" and mount.source:
            found.add(mount.source)
    return found


def volumes(
    value: object, tmpfs: object, path: Path, around: Surroundings, findings: Findings
) -> list[dict[str, object]]:
    """The ``volumes`` of a workload, from those of a service and from its ``tmpfs``.

    Args:
        path: of the service.
    """
    made: list[dict[str, object]] = []
    if value is not None and not isinstance(value, list):
        findings.wrong_type((*path, "volumes"), told("wanted_volumes", "a list of volumes"))
    for index, entry in enumerate(value if isinstance(value, list) else ()):
        place = (*path, "volumes", index)
        mount = _mount(entry)
        if mount is None or not mount.target:
            findings.left_out(
                place,
                told(
                    "import_volume_unreadable", "This is no volume that can be read.", "Write it into volumes by hand."
                ),
            )
            continue
        for option in mount.told:
            findings.left_out(
                place,
                told(
                    "import_mount_option",
                    "The option {option} of a mount.",
                    "Holdfast has no such option.",
                    option=words(option),
                ),
            )
        volume = _volume(mount, place, around, findings)
        if volume is not None:
            made.append(volume)
    entries = tmpfs if isinstance(tmpfs, list) else [] if tmpfs is None else [tmpfs]
    for index, entry in enumerate(entries):
        place = (*path, "tmpfs", index)
        if not isinstance(entry, str):
            findings.wrong_type(place, told("wanted_path", "a path, with options after a colon"))
            continue
        target, _, options = entry.partition(":")
        mount = _Mount(type="tmpfs", source="", target=_plain(target))
        for option in filter(None, options.split(",")):
            name, _, given = option.partition("=")
            mount.size = size(given) if name == "size" else mount.size
            if name != "size" or mount.size is None:
                findings.left_out(
                    place,
                    told(
                        "import_tmpfs_option",
                        "The option {option} of a tmpfs.",
                        "Holdfast has no such option.",
                        option=words(option),
                    ),
                )
        made.append(_ephemeral(mount))
    for first, second in _doubled(made):
        findings.left_out(
            (*path, "volumes"),
            told(
                "import_mounted_at_twice",
                "The volume {source} is mounted a second time, at {target}.",
                "A workload mounts a volume once: mount what holds both places, or use two volumes.",
                source=words(str(first["source"])),
                target=words(str(second["target"])),
            ),
        )
        made.remove(second)
    return made


def _doubled(made: list[dict[str, object]]) -> list[tuple[dict[str, object], dict[str, object]]]:
    seen: dict[tuple[object, object], dict[str, object]] = {}
    doubled = []
    for volume in made:
        if "source" in volume:
            first = seen.setdefault((volume["scope"], volume["source"]), volume)
            if first is not volume:
                doubled.append((first, volume))
    return doubled


def _mount(entry: object) -> _Mount | None:
    if isinstance(entry, str):
        return _short(entry)
    return _long(entry) if isinstance(entry, Mapping) else None


def _short(entry: str) -> _Mount | None:
    """``[source:]target[:options]``."""
    parts = entry.split(":")
    if len(parts) > 3 or not all(parts):
        return None
    if len(parts) == 1:
        return _Mount(type="volume", source="", target=_plain(entry))
    source, target = parts[:2]
    mount = _Mount(type="bind" if source.startswith(_PATH) else "volume", source=source, target=_plain(target))
    for option in parts[2].split(",") if len(parts) == 3 else ():
        if option == "ro":
            mount.read_only = True
        elif option not in _MODES:
            mount.told.append(option)
    return mount


def _long(entry: Mapping[str, object]) -> _Mount | None:
    kind, source, target = (entry.get(key, "") for key in ("type", "source", "target"))
    if not isinstance(kind, str) or not isinstance(source, str) or not isinstance(target, str):
        return None
    read_only = entry.get("read_only", False)
    mount = _Mount(
        type=kind or "volume", source=source, target=_plain(target), read_only=read_only in (True, "true", "True")
    )
    given = [str(key) for key in entry if key not in _BIND_KEYS and not str(key).startswith("x-")]
    for key in ("bind", "volume", "tmpfs"):
        options = entry.get(key)
        if isinstance(options, Mapping):
            given += [f"{key}.{option}" for option in options]
    tmpfs = entry.get("tmpfs")
    if isinstance(tmpfs, Mapping) and (mounted := size(tmpfs.get("size"))) is not None:
        mount.size = mounted
        given.remove("tmpfs.size")
    mount.told = [option for option in given if option not in _HARMLESS]
    return mount


def _volume(mount: _Mount, path: Path, around: Surroundings, findings: Findings) -> dict[str, object] | None:
    if mount.type == "tmpfs":
        return _ephemeral(mount)
    if "volume.subpath" in mount.told:
        findings.left_out(
            path,
            told(
                "import_volume_part",
                "Only a part of a volume is mounted.",
                "Give that part a volume of its own, and move its data there.",
            ),
        )
        return None
    if mount.type == "bind":
        return _bind(mount, path, around, findings)
    if mount.type == "volume":
        return _named(mount, path, around, findings)
    findings.left_out(
        path,
        told(
            "import_mount_type",
            "A mount of the type {type}.",
            "Holdfast mounts directories, Docker volumes and tmpfs.",
            type=words(mount.type),
        ),
    )
    return None


def _ephemeral(mount: _Mount) -> dict[str, object]:
    volume: dict[str, object] = {"target": mount.target, "scope": Scope.EPHEMERAL.value}
    return volume if mount.size is None else volume | {"size": mount.size}


def _bind(mount: _Mount, path: Path, around: Surroundings, findings: Findings) -> dict[str, object] | None:
    source = mount.source
    if source == "~" or source.startswith("~/"):
        source = around.home + source[1:] if around.home.startswith("/") else ""
    elif not source.startswith("/"):
        source = posixpath.join(around.directory, source) if around.directory else ""
    if not source.startswith("/"):
        findings.left_out(
            path,
            told(
                "import_relative_path",
                "The path {source} is relative, and to what is not known here.",
                "Write the volume with scope absolute and its whole path, or import the file with the command line.",
                source=words(mount.source),
            ),
        )
        return None
    source = _plain(source)
    if _FILES.fullmatch(source):
        findings.single_file(path, source)
        return None
    findings.note(
        path,
        told(
            "import_host_mount",
            "{source} is mounted from the host as it is.",
            "An admin has to allow a root above it (allowed_roots); apply it with an admin's token.",
            source=words(source),
        ),
    )
    return _written(mount, Scope.ABSOLUTE, source)


def _named(mount: _Mount, path: Path, around: Surroundings, findings: Findings) -> dict[str, object] | None:
    if not mount.source:
        source = _NOT_IN_SOURCES.sub("-", mount.target).strip("-._")[:100] or "data"
        findings.note(
            path,
            told(
                "import_volume_named",
                "The volume has no name in Compose; it is called {source} here, and kept.",
                "Nothing has to be done.",
                source=words(source),
            ),
        )
        return _written(mount, Scope.NAMED, source)
    declared = around.declared.get(mount.source)
    options = declared if isinstance(declared, Mapping) else {}
    known_as = f"{around.project}_{mount.source}"
    if isinstance(options.get("name"), str):
        known_as = str(options["name"])
    if options.get("external") not in (None, False):
        findings.left_out(
            path,
            told(
                "import_external_volume",
                "The volume {source} is external: it belongs to somebody else, and Holdfast leaves it alone.",
                "Write a volume of your own, with scope named, and copy what is needed into it.",
                source=words(mount.source),
            ),
        )
        return None
    driver = scalar(options.get("driver")) or "local"
    if driver != "local" or options.get("driver_opts"):
        findings.left_out(
            path,
            told(
                "import_volume_driver",
                "The volume {name} has {has}.",
                "Mount what it leads to on the host, and write the volume with scope absolute and that path.",
                name=words(mount.source),
                has=driver_words(driver),
            ),
        )
        return None
    if mount.source not in around.declared:
        findings.note(
            path,
            told(
                "import_volume_undeclared",
                "The volume {source} is not among the file's own volumes.",
                "Check its name; Compose refuses such a file.",
                source=words(mount.source),
            ),
        )
    findings.note(
        path,
        told(
            "import_new_volume",
            "A new, empty volume: neither the data of Compose's volume {volume} nor that of the image is in it.",
            "Deploy and stop the workload, then copy the data into the new volume's directory.",
            volume=words(known_as),
        ),
    )
    scope = Scope.PROJECT_NAMED if mount.source in around.shared else Scope.NAMED
    return _written(mount, scope, mount.source)


def _written(mount: _Mount, scope: Scope, source: str) -> dict[str, object]:
    volume: dict[str, object] = {"target": mount.target, "scope": scope.value, "source": source}
    return volume | {"read_only": True} if mount.read_only else volume


def _plain(path: str) -> str:
    """An absolute path in its plain form; another as it is, to be refused by whoever checks the declaration."""
    return "/" + posixpath.normpath(path).lstrip("/") if path.startswith("/") else path
