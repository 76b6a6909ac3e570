"""A snapshot's manifest to and from what JSON can say: the same inside of an archive, beside one, and in a repository.

What decodes here is within bounds: number of volumes, indices 0..n-1, normalised and unique targets, ids that are ids.
Nothing here builds a path (I6).
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import Final

import msgspec

from holdfast.domain.ids import is_id
from holdfast.domain.snapshot import MANIFEST_FORMAT, CapturedVolume, SnapshotManifest
from holdfast.engine.signed_json import Malformed

MAX_VOLUMES: Final = 256
MAX_TEXT: Final = 4096
"""Characters of a target or source."""


class NewerFormat(Exception):
    """A manifest of a format that this program does not know; its argument is that format."""

    def __init__(self, version: int) -> None:
        super().__init__(f"it is of format {version}; this version of Holdfast reads up to {MANIFEST_FORMAT}")
        self.version = version


def to_document(manifest: SnapshotManifest) -> dict[str, object]:
    """The manifest as an object of JSON."""
    document: dict[str, object] = msgspec.to_builtins(manifest)
    return document


def from_document(document: object) -> SnapshotManifest:
    """The manifest that an object of JSON describes.

    Raises:
        Malformed: it describes none.
        NewerFormat: it may describe one, but not to us.
    """
    version = document.get("format") if isinstance(document, dict) else None
    if isinstance(version, int) and not isinstance(version, bool) and version > MANIFEST_FORMAT:
        raise NewerFormat(version)
    try:
        manifest = msgspec.convert(document, SnapshotManifest, strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise Malformed("a field of it is missing or of a wrong type") from error
    check_manifest(manifest)
    return manifest


def check_manifest(manifest: SnapshotManifest) -> None:
    """Make sure that a manifest is within bounds. Raises ``Malformed``."""
    if not is_id(manifest.id) or not is_id(manifest.workload_id):
        raise Malformed("an id in it is no id")
    check_volumes(manifest.volumes)


def check_volumes(volumes: Sequence[CapturedVolume]) -> None:
    """Make sure that the volumes of a manifest are within bounds. Raises ``Malformed``."""
    if len(volumes) > MAX_VOLUMES:
        raise Malformed(f"it names more than {MAX_VOLUMES} volumes")
    if sorted(volume.index for volume in volumes) != list(range(len(volumes))):
        raise Malformed("its volumes are not numbered 0, 1, … without gaps")
    if len({volume.target for volume in volumes}) != len(volumes):
        raise Malformed("two of its volumes have the same target")
    for volume in volumes:
        target = volume.target
        normal = target.startswith("/") and not target.startswith("//") and posixpath.normpath(target) == target
        if not normal or target == "/" or len(target) > MAX_TEXT or not target.isprintable():
            raise Malformed("the target of a volume is no normalised absolute path")
        if len(volume.source) > MAX_TEXT or not volume.source.isprintable():
            raise Malformed("the source of a volume is no readable text")
        if min(volume.files, volume.directories, volume.links, volume.bytes, volume.disk_bytes) < 0:
            raise Malformed("a count of a volume is negative")
