"""The manifest as JSON: inside of an archive (``manifest.json``) and beside it in the store (``<id>.json``).

Invariants:

- What decodes here is within bounds: size, number of volumes, indices 0..n-1, normalised and unique targets, ids
  that are ids. JSON of any shape, size and depth leads to a ``HoldfastError`` or to such a manifest.
- A MAC is compared in constant time. The two uses have keys of their own, so that neither passes for the other.
- Nothing here builds a path (I6).
"""

from __future__ import annotations

import hmac
import json
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import msgspec
from blake3 import blake3

from holdfast.domain.errors import Damaged
from holdfast.domain.ids import is_id
from holdfast.domain.snapshot import MANIFEST_FORMAT, CapturedVolume, SnapshotManifest
from holdfast.engine.archive.names import MAX_VOLUMES
from holdfast.engine.archive.problems import refused

MAX_MANIFEST_BYTES: Final = 1024 * 1024

_MAX_TEXT: Final = 4096
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


class _Malformed(Exception):
    """Why a document is no manifest; never leaves this module."""


def _canonical(document: dict[str, object]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _mac(document: dict[str, object], key: bytes, use: Use) -> str:
    derived = blake3(key, derive_key_context=use.value).digest()
    return blake3(_canonical({k: v for k, v in document.items() if k != "mac"}), key=derived).hexdigest()


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key occurs twice")
    return document


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _parse(data: bytes) -> object:
    if len(data) > MAX_MANIFEST_BYTES:
        raise _Malformed("it is too large")
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _Malformed("it is not valid JSON") from error


def _parse_object(data: bytes) -> dict[str, object]:
    document = _parse(data)
    if not isinstance(document, dict):
        raise _Malformed("it is no object")
    return document


def _authentic(document: dict[str, object], key: bytes, use: Use) -> bool:
    stated = document.get("mac")
    if not isinstance(stated, str) or not stated.isascii():
        return False
    try:
        return hmac.compare_digest(stated, _mac(document, key, use))
    except (ValueError, RecursionError):
        return False


def _check_volumes(volumes: Sequence[CapturedVolume]) -> None:
    if len(volumes) > MAX_VOLUMES:
        raise _Malformed(f"it names more than {MAX_VOLUMES} volumes")
    if sorted(volume.index for volume in volumes) != list(range(len(volumes))):
        raise _Malformed("its volumes are not numbered 0, 1, … without gaps")
    if len({volume.target for volume in volumes}) != len(volumes):
        raise _Malformed("two of its volumes have the same target")
    for volume in volumes:
        target = volume.target
        normal = target.startswith("/") and not target.startswith("//") and posixpath.normpath(target) == target
        if not normal or target == "/" or len(target) > _MAX_TEXT or not target.isprintable():
            raise _Malformed("the target of a volume is no normalised absolute path")
        if len(volume.source) > _MAX_TEXT or not volume.source.isprintable():
            raise _Malformed("the source of a volume is no readable text")
        if min(volume.files, volume.directories, volume.links, volume.bytes, volume.disk_bytes) < 0:
            raise _Malformed("a count of a volume is negative")


def _check(manifest: SnapshotManifest) -> None:
    if not is_id(manifest.id) or not is_id(manifest.workload_id):
        raise _Malformed("an id in it is no id")
    _check_volumes(manifest.volumes)


def _convert(document: dict[str, object]) -> SnapshotManifest:
    version = document.get("format")
    if isinstance(version, int) and not isinstance(version, bool) and version > MANIFEST_FORMAT:
        raise refused(
            "archive_format_newer",
            f"The snapshot is of format {version}; this version of Holdfast reads up to {MANIFEST_FORMAT}.",
            next_step="Nothing was changed. Update Holdfast, then try again.",
        )
    try:
        manifest = msgspec.convert(document, SnapshotManifest, strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise _Malformed("a field of it is missing or of a wrong type") from error
    _check(manifest)
    return manifest


def check_draft(manifest: SnapshotManifest) -> None:
    """Make sure that what will be written can be read again.

    Raises:
        Refused: ``manifest_out_of_bounds``.
    """
    try:
        _check(manifest)
    except _Malformed as error:
        raise refused(
            "manifest_out_of_bounds",
            f"The snapshot can't be described: {error}.",
            next_step="Nothing was changed. Correct the workload's volumes, then try again.",
        ) from error


def encode(manifest: SnapshotManifest, key: bytes, use: Use) -> bytes:
    """The manifest as canonical JSON with its MAC."""
    document: dict[str, object] = msgspec.to_builtins(manifest)
    return _canonical({**document, "mac": _mac(document, key, use)})


def decode_stored(data: bytes, key: bytes, name: str) -> SnapshotManifest:
    """The manifest beside an archive. ``name`` is its file's, for messages.

    Raises:
        Damaged: ``manifest_malformed``, ``manifest_not_authentic``.
        Refused: ``archive_format_newer``.
    """
    next_step = "Restore another snapshot; this one can't be trusted. Check the disk, and who can write to the store."
    try:
        document = _parse_object(data)
        if not _authentic(document, key, Use.STORE):
            raise Damaged(
                "manifest_not_authentic",
                f"The manifest {name} was not written by this installation, or was changed since.",
                next_step=next_step,
                details={"file": name},
            )
        return _convert(document)
    except _Malformed as error:
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
        document = _parse(data)
        if isinstance(document, dict):
            if _authentic(document, key, Use.ARCHIVE):
                own = _convert(document)
                return Embedded(volumes=own.volumes, own=own)
            _refuse_newer(document)
            document = document.get("volumes")
        return Embedded(volumes=_foreign_volumes(document), own=None)
    except _Malformed as error:
        raise refused(
            "archive_manifest_malformed",
            f"The archive's manifest.json can't be used: {error}.",
            next_step="Nothing was changed. It must list index, target, scope and source of each volume; see the "
            "reference of the archive format.",
        ) from error


def _refuse_newer(document: dict[str, object]) -> None:
    version = document.get("format", MANIFEST_FORMAT)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise _Malformed("its format is no version number")
    if version > MANIFEST_FORMAT:
        _convert(document)


def _foreign_volumes(listed: object) -> tuple[CapturedVolume, ...]:
    if not isinstance(listed, list) or not listed:
        raise _Malformed("it lists no volumes")
    if len(listed) > MAX_VOLUMES:
        raise _Malformed(f"it names more than {MAX_VOLUMES} volumes")
    volumes = tuple(_foreign_volume(item) for item in listed)
    _check_volumes(volumes)
    return volumes


def _foreign_volume(item: object) -> CapturedVolume:
    if not isinstance(item, dict):
        raise _Malformed("a volume in it is no object")
    fields: dict[str, object] = {}
    for key, value in item.items():
        name = key.lower()
        if name in fields:
            raise _Malformed("a volume in it has a field twice")
        if name in _FIELDS:
            fields[name] = value
    try:
        return msgspec.convert({"source": "", **fields}, CapturedVolume, strict=True)
    except msgspec.ValidationError as error:
        raise _Malformed("a volume in it lacks a field or has one of a wrong type") from error
