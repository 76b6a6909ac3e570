"""What a foreign container has written beside its mounts: that goes with the container, and no new one has it."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping
from typing import Any, Final

from holdfast.domain.compose_findings import Findings, Path, words
from holdfast.domain.told import some, told
from holdfast.domain.volumes import is_below

_PASSING: Final = (
    *("/tmp", "/var/tmp", "/run", "/var/run", "/var/lock", "/var/cache", "/dev", "/proc", "/sys"),  # noqa: S108 - named
    *("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/mtab"),
)
"""Nobody counts on what is there: it is made anew with each start, by the program or by the engine."""


def tell_layer(container: Mapping[str, Any], changed: Collection[str], path: Path, findings: Findings) -> None:
    """Name what a container has written beside its mounts.

    Args:
        path: of the container.
    """
    host = container.get("HostConfig") or {}
    mounts = [str(mount.get("Destination")) for mount in container.get("Mounts") or ()]
    tmpfs = [*(host.get("Tmpfs") or {}), *(str(mount.get("Target")) for mount in host.get("Mounts") or ())]
    written = written_beside(changed, [*mounts, *tmpfs])
    if written:
        findings.left_out(
            (*path, "layer"),
            told(
                "import_layer_lost",
                "It has written {paths} beside its volumes: that goes with it, and no new one has it.",
                "See all of it with docker diff. What is needed belongs in a directory that is mounted: docker cp.",
                paths=some([words(each) for each in written], 1),
            ),
        )


def written_beside(changed: Collection[str], targets: Collection[str]) -> list[str]:
    """The changed paths that are neither in a mount nor of passing use; of directories, what is in them.

    Args:
        changed: what was added to the image's files, or is other than there.
        targets: where something is mounted.
    """
    above = {parent for path in (*changed, *targets) for parent in _parents(path)}
    apart = (*_PASSING, *targets)
    return sorted(
        path for path in {*changed} - above if not any(path == place or is_below(path, place) for place in apart)
    )


def _parents(path: str) -> list[str]:
    found = []
    while path not in ("/", ""):
        path = posixpath.dirname(path)
        found.append(path)
    return found
