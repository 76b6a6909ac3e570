"""What a worker can be asked to do.

A request names live directories by root and path below it, never by a path to open. Each kind of request says what its
result is (:attr:`Request.result`), so that both ends read it the same way.
"""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

import msgspec

from holdfast.domain.errors import Problem
from holdfast.domain.repository import CopyResult
from holdfast.domain.restore import RootRef, TreeSide, VolumeFacts
from holdfast.domain.snapshot import SnapshotManifest
from holdfast.engine.diff import VolumeDiff
from holdfast.engine.part_staging import CaughtUp, PartLook, PartsStaged
from holdfast.engine.repository.audit import AuditResult
from holdfast.engine.repository.browse import Comparison
from holdfast.engine.repository.manifests import VolumeTree
from holdfast.engine.repository.parts import Part
from holdfast.engine.repository.prune import PruneResult
from holdfast.engine.repository.second import Second
from holdfast.engine.snapshot_store import CaptureSource, WarmResult
from holdfast.engine.staging import StageResult
from holdfast.engine.stores import StoreSettings

R = TypeVar("R")


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker needs to know of the settings. Paths are absolute.

    Attributes:
        roots: the volumes base and the allowed roots.
        late_roots: where the container engine keeps its volumes.
        journals: the directory of the restores' journals; empty where nobody restores.
    """

    roots: tuple[str, ...]
    late_roots: tuple[str, ...] = ()
    stores: StoreSettings
    journals: str = ""


class Request(msgspec.Struct, Generic[R], frozen=True, kw_only=True):
    """A job whose result is an ``R``. ``result`` is the same type, for decoding it."""

    result: ClassVar[object]


class CaptureRequest(Request[SnapshotManifest], frozen=True, kw_only=True, tag="capture"):
    """Capture ``sources`` as the snapshot that ``draft`` describes."""

    result: ClassVar[object] = SnapshotManifest
    draft: SnapshotManifest
    sources: tuple[CaptureSource, ...]


class WarmRequest(Request[WarmResult], frozen=True, kw_only=True, tag="warm"):
    """Read ahead for a capture."""

    result: ClassVar[object] = WarmResult
    workload_id: str
    sources: tuple[CaptureSource, ...]


class StageRequest(Request[StageResult], frozen=True, kw_only=True, tag="stage"):
    """Build the staged trees of a restore."""

    result: ClassVar[object] = StageResult
    snapshot_id: str
    volumes: tuple[VolumeFacts, ...]
    second: Second | None = None


class CheckWrappedRequest(Request[None], frozen=True, kw_only=True, tag="check_wrapped"):
    """Compare what is in wrappers that lie in their volumes with a snapshot; see :func:`check_wrapped`."""

    result: ClassVar[object] = None
    snapshot_id: str
    volumes: dict[int, VolumeFacts]
    side: TreeSide
    second: Second | None = None


class LookAtPartRequest(Request[PartLook], frozen=True, kw_only=True, tag="look_at_part"):
    """See whether chosen paths of a volume can be restored, and how much that takes."""

    result: ClassVar[object] = PartLook
    snapshot_id: str
    part: Part
    live: RootRef


class StagePartsRequest(Request[PartsStaged], frozen=True, kw_only=True, tag="stage_parts"):
    """Build staged trees of chosen paths and the live rest; ``touched_ns``: see :func:`stage_parts`."""

    result: ClassVar[object] = PartsStaged
    snapshot_id: str
    workload_id: str
    volumes: tuple[VolumeFacts, ...]
    parts: tuple[Part, ...]
    touched_ns: int


class CatchUpRequest(Request[CaughtUp], frozen=True, kw_only=True, tag="catch_up"):
    """Bring the rest of staged trees up to what is live; see :func:`catch_up`."""

    result: ClassVar[object] = CaughtUp
    snapshot_id: str
    workload_id: str
    volumes: tuple[VolumeFacts, ...]
    parts: tuple[Part, ...]
    staged: tuple[VolumeTree, ...]
    touched_ns: int
    stopped_as: str | None


class VerifyRequest(Request[tuple[str, ...]], frozen=True, kw_only=True, tag="verify"):
    """Read a snapshot back; the result is what is damaged, in words."""

    result: ClassVar[object] = tuple[str, ...]
    snapshot_id: str
    second: Second | None = None


class PruneRequest(Request[PruneResult], frozen=True, kw_only=True, tag="prune"):
    """Free what no snapshot needs; ``without``: snapshots that a dry run takes for deleted."""

    result: ClassVar[object] = PruneResult
    dry_run: bool
    without: tuple[str, ...]
    unused_percent: int
    second: Second | None = None


class AuditRequest(Request[AuditResult], frozen=True, kw_only=True, tag="audit"):
    """Read a share of the repository back, above 0, at most 1."""

    result: ClassVar[object] = AuditResult
    share: float
    second: Second | None = None


class CheckRequest(Request[tuple[Problem, ...]], frozen=True, kw_only=True, tag="check"):
    """Tell why volumes of a snapshot in a second repository can't be restored, without reading their data."""

    result: ClassVar[object] = tuple[Problem, ...]
    snapshot_id: str
    volumes: tuple[int, ...]
    second: Second


class CopyRequest(Request[CopyResult], frozen=True, kw_only=True, tag="copy"):
    """Copy a snapshot to a second repository; ``limit_rate``: bytes a second, ``None`` for no bound."""

    result: ClassVar[object] = CopyResult
    snapshot_id: str
    second: Second
    limit_rate: int | None


class ImportRequest(Request[SnapshotManifest], frozen=True, kw_only=True, tag="import"):
    """Make an uploaded archive a snapshot. The upload is taken over."""

    result: ClassVar[object] = SnapshotManifest
    upload: str
    workload_id: str
    workload_name: str
    snapshot_id: str
    allow_links: bool
    actor: str


class MoveInRequest(Request[SnapshotManifest], frozen=True, kw_only=True, tag="move_in"):
    """Take a snapshot that is an archive into the repository."""

    result: ClassVar[object] = SnapshotManifest
    snapshot_id: str


class CompareRequest(Request[Comparison], frozen=True, kw_only=True, tag="compare"):
    """Tell what is other in a volume of another snapshot, or in a live directory, than in a volume of a snapshot."""

    result: ClassVar[object] = Comparison
    snapshot_id: str
    index: int
    other_id: str | None
    other_index: int
    live: RootRef | None


class DiffRequest(Request[VolumeDiff], frozen=True, kw_only=True, tag="diff"):
    """Compare a volume of a snapshot with what is live; ``live``: ``None`` if it is missing; ``paths``: only these."""

    result: ClassVar[object] = VolumeDiff
    snapshot_id: str
    index: int
    live: RootRef | None
    paths: tuple[bytes, ...] | None = None
    second: Second | None = None


class MeasureRequest(Request[int], frozen=True, kw_only=True, tag="measure"):
    """How much capturing the live trees may store, in bytes."""

    result: ClassVar[object] = int
    live: tuple[RootRef, ...]


class TreeUseRequest(Request[int], frozen=True, kw_only=True, tag="tree_use"):
    """How much a live tree takes on disk, in bytes."""

    result: ClassVar[object] = int
    live: RootRef


class ReapRequest(Request[None], frozen=True, kw_only=True, tag="reap"):
    """Remove the wrappers of a restore with what is in them, and what stood in for a missing directory."""

    result: ClassVar[object] = None
    volumes: tuple[VolumeFacts, ...]


class RemoveTreeRequest(Request[None], frozen=True, kw_only=True, tag="remove_tree"):
    """Remove a live directory with all that is in it, durably; fine if it is gone."""

    result: ClassVar[object] = None
    live: RootRef


AnyRequest = (
    CaptureRequest
    | CheckWrappedRequest
    | WarmRequest
    | StageRequest
    | LookAtPartRequest
    | StagePartsRequest
    | CatchUpRequest
    | VerifyRequest
    | PruneRequest
    | AuditRequest
    | CheckRequest
    | CopyRequest
    | ImportRequest
    | MoveInRequest
    | CompareRequest
    | DiffRequest
    | MeasureRequest
    | TreeUseRequest
    | ReapRequest
    | RemoveTreeRequest
)
