"""The manifest as JSON: inside of an archive (``manifest.json``) and beside it in the store (``<id>.json``).

Invariants:

- What decodes here is within bounds (see :mod:`holdfast.engine.manifest_codec`). JSON of any shape, size and depth
  leads to a ``HoldfastError`` or to such a manifest.
- The two uses have keys of their own, so that neither passes for the other.
- Nothing here builds a path (I6).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

import msgspec
from blake3 import blake3

from holdfast.domain.errors import Damaged, Refused
from holdfast.domain.snapshot import MANIFEST_FORMAT, CapturedVolume, SnapshotManifest
from holdfast.engine.archive.problems import refused
from holdfast.engine.manifest_codec import (
    MAX_VOLUMES,
    NewerFormat,
    check_manifest,
    check_volumes,
    from_document,
    to_document,
)
from holdfast.engine.signed_json import Malformed, is_authentic, parse, parse_object, signed

MAX_MANIFEST_BYTES: Final = 1024 * 1024

_FIELDS: Final = ("index", "target", "scope", "source")


class Use(Enum):
    """What a MAC vouches for; the value is BLAKE3's key-derivation context."""

    ARCHIVE = "holdfast 2026-11 manifest inside of an archive"
    STORE = "holdfast 2026-11 manifest beside an archive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """What an archive says about itself.

    Attributes:
        volumes: what a foreign archive states; counts are zero.
        own: the whole manifest, if its MAC proves that this installation wrote it.
    """

    volumes: tuple[CapturedVolume, ...]
    own: SnapshotManifest | None


def _derived(key: bytes, use: Use) -> bytes:
    return blake3(key, derive_key_context=use.value).digest()


def _convert(document: dict[str, object]) -> SnapshotManifest:
    try:
        return from_document(document)
    except NewerFormat as error:
        raise _newer(error.version) from error


def _newer(version: int) -> Refused:
    return refused(
        "archive_format_newer",
        f"The snapshot is of format {version}; this version of Holdfast reads up to {MANIFEST_FORMAT}.",
        next_step="Nothing was changed. Update Holdfast, then try again.",
    )


def check_draft(manifest: SnapshotManifest) -> None:
    """Make sure that what will be written can be read again.

    Raises:
        Refused: ``manifest_out_of_bounds``.
    """
    try:
        check_manifest(manifest)
    except Malformed as error:
        raise refused(
            "manifest_out_of_bounds",
            f"The snapshot can't be described: {error}.",
            next_step="Nothing was changed. Correct the workload's volumes, then try again.",
        ) from error


def encode(manifest: SnapshotManifest, key: bytes, use: Use) -> bytes:
    """The manifest as canonical JSON with its MAC."""
    return signed(to_document(manifest), _derived(key, use))


def decode_stored(data: bytes, key: bytes, name: str) -> SnapshotManifest:
    """The manifest beside an archive. ``name`` is its file's, for messages.

    Raises:
        Damaged: ``manifest_malformed``, ``manifest_not_authentic``.
        Refused: ``archive_format_newer``.
    """
    next_step = "Restore another snapshot; this one can't be trusted. Check the disk, and who can write to the store."
    try:
        document = parse_object(data, MAX_MANIFEST_BYTES)
        if not is_authentic(document, _derived(key, Use.STORE)):
            raise Damaged(
                "manifest_not_authentic",
                f"The manifest {name} was not written by this installation, or was changed since.",
                next_step=next_step,
                details={"file": name},
            )
        return _convert(document)
    except Malformed as error:
        raise Damaged(
            "manifest_malformed",
            f"The manifest {name} can't be read: {error}.",
            next_step=next_step,
            details={"file": name},
        ) from error


def decode_embedded(data: bytes, key: bytes) -> Embedded:
    """The ``manifest.json`` of an archive: ours, or a foreign list of volumes with keys in any capitalisation.

    Raises:
        Refused: ``archive_manifest_malformed``, ``archive_format_newer``.
    """
    try:
        document = parse(data, MAX_MANIFEST_BYTES)
        if isinstance(document, dict):
            if is_authentic(document, _derived(key, Use.ARCHIVE)):
                own = _convert(document)
                return Embedded(volumes=own.volumes, own=own)
            _refuse_newer(document)
            document = document.get("volumes")
        return Embedded(volumes=_foreign_volumes(document), own=None)
    except Malformed as error:
        raise refused(
            "archive_manifest_malformed",
            f"The archive's manifest.json can't be used: {error}.",
            next_step="Nothing was changed. It must list index, target, scope and source of each volume; see the "
            "reference of the archive format.",
        ) from error


def _refuse_newer(document: dict[str, object]) -> None:
    version = document.get("format", MANIFEST_FORMAT)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise Malformed("its format is no version number")
    if version > MANIFEST_FORMAT:
        raise _newer(version)


def _foreign_volumes(listed: object) -> tuple[CapturedVolume, ...]:
    if not isinstance(listed, list) or not listed:
        raise Malformed("it lists no volumes")
    if len(listed) > MAX_VOLUMES:
        raise Malformed(f"it names more than {MAX_VOLUMES} volumes")
    volumes = tuple(_foreign_volume(item) for item in listed)
    check_volumes(volumes)
    return volumes


def _foreign_volume(item: object) -> CapturedVolume:
    if not isinstance(item, dict):
        raise Malformed("a volume in it is no object")
    fields: dict[str, object] = {}
    for key, value in item.items():
        name = key.lower()
        if name in fields:
            raise Malformed("a volume in it has a field twice")
        if name in _FIELDS:
            fields[name] = value
    try:
        return msgspec.convert({"source": "", **fields}, CapturedVolume, strict=True)
    except msgspec.ValidationError as error:
        raise Malformed("a volume in it lacks a field or has one of a wrong type") from error
