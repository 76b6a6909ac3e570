"""The snapshots of a repository: ``manifests/<snapshot id>``, each the commit point of one.

A manifest is a JSON object with a MAC (:mod:`holdfast.engine.signed_json`), sealed as a whole where the repository is
encrypted::

    {"format": 1, "mac": "…", "snapshot": {…},
     "trees": [{"index": 0, "chunks": ["…"], "root": {"handle_type": 1, "handle": "…"}, "scan_started_ns": …}]}

Invariants:

- A snapshot exists with its manifest, which is written last, once, and never changed.
- What is read here was written by somebody with the repository's key, under this very name, and is within bounds.
- An unreadable manifest is reported, never passed over in silence: it may be all that holds on to its chunks.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from holdfast.domain.errors import Conflict, Damaged, HoldfastError, NotFound, Problem, Refused, Unavailable
from holdfast.domain.ids import is_id
from holdfast.domain.restore import Identity
from holdfast.domain.snapshot import SnapshotManifest
from holdfast.engine.manifest_codec import NewerFormat, from_document, to_document
from holdfast.engine.repository.blobs import BlobInfo, BlobStore
from holdfast.engine.repository.seal import RepositoryKeys, Sealer, open_object, seal_object
from holdfast.engine.signed_json import Malformed, is_authentic, parse_object, signed

MAX_STORED_BYTES: Final = 4 * 1024 * 1024

_FOLDER: Final = "manifests"
_FORMAT: Final = 1
_SEAL: Final = b"holdfast manifest"
_READERS: Final = 8
"""Manifests read side by side: of a remote store, waiting is what takes the time."""
_NEXT_STEP: Final = (
    "Restore another snapshot; this one can't be trusted. Check the disk, and who can write to the store."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeTree:
    """Where the tree of one captured volume is.

    Attributes:
        index: of the volume.
        chunks: ids of the chunks that, one after the other, are the tree's index; 32 bytes each.
        root: identity of the directory that was captured; ``None`` if it was none of this machine.
        scan_started_ns: when its capture began, sampled before its syncfs; nanoseconds since 1970.
    """

    index: int
    chunks: tuple[bytes, ...]
    root: Identity | None
    scan_started_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSnapshot:
    """A snapshot as it is stored: its manifest, and a tree for each of its volumes, in the same order."""

    manifest: SnapshotManifest
    trees: tuple[VolumeTree, ...]

    @property
    def id(self) -> str:
        return self.manifest.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All snapshots of a repository.

    Attributes:
        snapshots: the readable ones, oldest first.
        damaged: why each other one can't be read; ``details["snapshot"]`` is its id.
    """

    snapshots: tuple[StoredSnapshot, ...]
    damaged: tuple[Problem, ...]


class _Tree(msgspec.Struct, frozen=True, kw_only=True):
    """A :class:`VolumeTree` in JSON."""

    index: int
    chunks: Annotated[list[Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]], msgspec.Meta(max_length=4096)]
    root: Identity | None
    scan_started_ns: Annotated[int, msgspec.Meta(ge=0)]


class Manifests:
    """The manifests of one repository. Safe to use from several threads.

    Decoded manifests are kept in memory, by name and size: stored ones never change, unless the disk loses them.
    """

    def __init__(self, blobs: BlobStore, keys: RepositoryKeys, sealer: Sealer) -> None:
        self._blobs, self._keys, self._sealer = blobs, keys, sealer
        self._known: dict[BlobInfo, StoredSnapshot] = {}
        self._lock = threading.Lock()

    def write(self, snapshot: StoredSnapshot) -> None:
        """Store a manifest: from here on the snapshot exists, durably. All of its chunks must be durable already.

        Raises:
            Conflict: ``snapshot_exists``.
            Refused: ``manifest_out_of_bounds``, it could not be read again.
        """
        data = self._encode(snapshot)
        try:
            readable = len(data) <= MAX_STORED_BYTES and self._decode(data, snapshot.id) == snapshot
            why = "it is too large, or its trees are not those of its volumes"
        except (Malformed, NewerFormat, Damaged) as error:
            readable, why = False, str(error)
        if not readable:
            raise Refused([_out_of_bounds(why)])
        try:
            self._blobs.create(_name(snapshot.id), [data])
        except Conflict as error:
            raise Conflict(
                "snapshot_exists",
                f"There is a snapshot {snapshot.id} already.",
                next_step="Take the snapshot again; it gets another id.",
            ) from error

    def read(self, snapshot_id: str) -> StoredSnapshot:
        """One snapshot, read anew.

        Raises:
            NotFound: ``snapshot_unknown``.
            Damaged: ``manifest_malformed``, ``manifest_not_authentic``, ``blob_too_large``.
            Refused: ``snapshot_format_newer``.
        """
        if not is_id(snapshot_id):
            raise _unknown(snapshot_id)
        try:
            data = self._blobs.get(_name(snapshot_id), limit=MAX_STORED_BYTES)
        except NotFound as error:
            raise _unknown(snapshot_id) from error
        try:
            return self._decode(data, snapshot_id)
        except Damaged:
            self._forget(snapshot_id)
            raise
        except Malformed as error:
            self._forget(snapshot_id)
            raise Damaged(
                "manifest_malformed",
                f"The manifest {snapshot_id} can't be read: {error}.",
                next_step=_NEXT_STEP,
                details={"snapshot": snapshot_id},
            ) from error
        except NewerFormat as error:
            raise Refused([_newer(snapshot_id, error.version)]) from error

    def ids(self) -> list[str]:
        """The ids of all snapshots, readable or not, oldest first."""
        return [info.name.removeprefix(f"{_FOLDER}/") for info in self._listed()]

    def _forget(self, snapshot_id: str) -> None:
        """It was readable once and is no more: the next listing is to say so."""
        with self._lock:
            self._known = {info: stored for info, stored in self._known.items() if stored.id != snapshot_id}

    def load(self, *, anew: bool = False) -> Listing:
        """All snapshots. Those that were read before and are still there are not read again, unless ``anew`` says so.

        Raises:
            Unavailable: the store does not answer; that says nothing about the snapshots.
        """
        listed = self._listed()
        with self._lock:
            known = {} if anew else {info: self._known[info] for info in listed if info in self._known}
        fresh = [info for info in listed if info not in known]
        with ThreadPoolExecutor(min(_READERS, len(fresh) or 1), "manifests") as readers:
            found = list(readers.map(self._read_listed, fresh))
        damaged: list[Problem] = []
        for info, each in zip(fresh, found, strict=True):
            if isinstance(each, StoredSnapshot):
                known[info] = each
            elif each is not None:
                damaged.append(each)
        with self._lock:
            self._known = known
        return Listing(snapshots=tuple(known[info] for info in listed if info in known), damaged=tuple(damaged))

    def delete(self, snapshot_ids: Sequence[str]) -> None:
        """Delete snapshots, readable or not, durably. Their chunks stay until the repository is pruned.

        Raises:
            NotFound: ``snapshot_unknown``, one of them; none was deleted.
        """
        there = set(self.ids())
        for snapshot_id in snapshot_ids:
            if snapshot_id not in there:
                raise _unknown(snapshot_id)
        self._blobs.delete([_name(snapshot_id) for snapshot_id in snapshot_ids])

    def _listed(self) -> list[BlobInfo]:
        return [info for info in self._blobs.list_blobs(_FOLDER) if is_id(info.name.removeprefix(f"{_FOLDER}/"))]

    def _read_listed(self, info: BlobInfo) -> StoredSnapshot | Problem | None:
        snapshot_id = info.name.removeprefix(f"{_FOLDER}/")
        try:
            return self.read(snapshot_id)
        except NotFound:
            return None  # deleted since it was listed
        except Unavailable:
            raise
        except HoldfastError as error:
            return Problem(
                code=error.code,
                message=error.message,
                next_step=error.next_step,
                details={**error.details, "snapshot": snapshot_id},
            )

    # --- bytes ---------------------------------------------------------------------------------------------------

    def _encode(self, snapshot: StoredSnapshot) -> bytes:
        document: dict[str, object] = {
            "format": _FORMAT,
            "snapshot": to_document(snapshot.manifest),
            "trees": [
                {
                    "index": tree.index,
                    "chunks": [chunk.hex() for chunk in tree.chunks],
                    "root": msgspec.to_builtins(tree.root),
                    "scan_started_ns": tree.scan_started_ns,
                }
                for tree in snapshot.trees
            ],
        }
        return seal_object(self._sealer, _SEAL, signed(document, self._keys.manifest))

    def _decode(self, data: bytes, snapshot_id: str) -> StoredSnapshot:
        try:
            plain = open_object(self._sealer, _SEAL, data)
        except Damaged as error:
            raise _not_authentic(snapshot_id, "was not written with this repository's key, or was changed since") from (
                error
            )
        document = parse_object(plain, MAX_STORED_BYTES)
        if not is_authentic(document, self._keys.manifest):
            raise _not_authentic(snapshot_id, "was not written with this repository's key, or was changed since")
        version = document.get("format")
        if not isinstance(version, int) or version < 1:
            raise Malformed("its format is no version number")
        if version > _FORMAT:
            raise NewerFormat(version)
        manifest = from_document(document.get("snapshot"))
        if manifest.id != snapshot_id:
            raise _not_authentic(snapshot_id, "is that of another snapshot; somebody moved or renamed it")
        return StoredSnapshot(manifest=manifest, trees=_trees(document.get("trees"), manifest))


def _trees(listed: object, manifest: SnapshotManifest) -> tuple[VolumeTree, ...]:
    try:
        trees = msgspec.convert(listed, list[_Tree], strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise Malformed("one of its trees lacks a field, or has one of a wrong type") from error
    if [tree.index for tree in trees] != [volume.index for volume in manifest.volumes]:
        raise Malformed("its trees are not those of its volumes")
    return tuple(
        VolumeTree(
            index=tree.index,
            chunks=tuple(bytes.fromhex(chunk) for chunk in tree.chunks),
            root=tree.root,
            scan_started_ns=tree.scan_started_ns,
        )
        for tree in trees
    )


def _name(snapshot_id: str) -> str:
    return f"{_FOLDER}/{snapshot_id}"


def _unknown(snapshot_id: str) -> NotFound:
    return NotFound(
        "snapshot_unknown",
        f"There is no snapshot {snapshot_id[:64]!r}.",
        next_step="List the workload's snapshots, then use one of their ids.",
    )


def _not_authentic(snapshot_id: str, why: str) -> Damaged:
    return Damaged(
        "manifest_not_authentic",
        f"The manifest {snapshot_id} {why}.",
        next_step=_NEXT_STEP,
        details={"snapshot": snapshot_id},
    )


def _newer(snapshot_id: str, version: int) -> Problem:
    return Problem(
        code="snapshot_format_newer",
        message=f"The snapshot {snapshot_id} is of format {version}, which this version of Holdfast does not know.",
        next_step="Nothing was changed. Update Holdfast, then try again.",
        details={"snapshot": snapshot_id, "format": version},
    )


def _out_of_bounds(why: str) -> Problem:
    return Problem(
        code="manifest_out_of_bounds",
        message=f"The snapshot can't be described: {why}.",
        next_step="Nothing was changed. Correct the workload's volumes, then try again.",
    )
