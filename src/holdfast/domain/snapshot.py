"""Snapshots: immutable captures of all supported volumes of a workload at one point in time.

A manifest is untrusted even when it is ours: it says *what* was captured (target, scope), never *where to*. The paths
of a restore come from the workload's current configuration (I6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from holdfast.domain.stopping import UncleanStop
from holdfast.domain.told import TextOrTold
from holdfast.domain.workload import Scope, Workload

MANIFEST_FORMAT: Final = 1
"""Version of the manifest that this program writes. A higher one is refused, a lower one is read."""


class Consistency(StrEnum):
    """How the writer was held while capturing, weakest last."""

    STOPPED = "stopped"
    PAUSED = "paused"
    HOOKED = "hooked"
    LIVE = "live"


class FolderFormat(StrEnum):
    """How a folder of a snapshot is handed out; the value is the suffix of the file."""

    TAR = "tar"
    ZIP = "zip"


class SnapshotReason(StrEnum):
    MANUAL = "manual"
    SAFETY = "safety"
    """Taken by a restore of the data that it is about to replace. Pinned until a person releases it (I5)."""
    BEFORE_DEPLOY = "before_deploy"
    SCHEDULED = "scheduled"
    IMPORTED = "imported"


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedVolume:
    """One volume inside a snapshot. ``source`` is for people to read; nothing is built from it.

    Attributes:
        index: its subdirectory in an archive.
        files, directories, links, bytes: what was captured; ``bytes`` is the logical size of regular files.
        disk_bytes: what staging it needs on disk, holes not counted.
    """

    index: int
    target: str
    scope: Scope
    source: str
    files: int = 0
    directories: int = 0
    links: int = 0
    bytes: int = 0
    disk_bytes: int = 0

    @property
    def inodes(self) -> int:
        """An upper bound of the inodes that staging it needs."""
        return self.files + self.directories + self.links + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What proves an archive whole: the BLAKE3 of the first ``bytes`` bytes of its uncompressed tar stream."""

    bytes: int
    blake3: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotManifest:
    """The stored description of one snapshot, written last: a snapshot without it does not exist.

    Attributes:
        stage: of the workload, when it was captured; a preview's tells that no other workload takes the snapshot over.
        own: whether Holdfast itself captured this content (then links, setuid and ``security.*`` xattrs are taken);
            ``False`` for what was imported without a valid MAC.
        allow_links: an import whose caller allowed symlinks and hardlinks.
        stored_bytes: what it takes in the store.
        stopped_cleanly: whether all that was stopped for it ended well and within its grace; ``None`` if nothing was.
        unclean_stops: what did not.
        image, image_id, image_digest, config_hash: what ran on the data, or would have run again if nothing did.
        warnings: what was skipped or changed while it was read, by name.
    """

    format: int = MANIFEST_FORMAT
    id: str
    workload_id: str
    workload_name: str
    stage: str = ""
    created_at: str
    reason: SnapshotReason
    consistency: Consistency
    volumes: tuple[CapturedVolume, ...]
    content: Content | None = None
    image: str = ""
    image_id: str = ""
    image_digest: str | None = None
    config_hash: str = ""
    stopped_cleanly: bool | None = None
    unclean_stops: tuple[UncleanStop, ...] = ()
    duration_seconds: float = 0.0
    stored_bytes: int = 0
    own: bool = True
    allow_links: bool = False
    note: str = ""
    actor: str = ""
    warnings: tuple[TextOrTold, ...] = ()

    @property
    def bytes(self) -> int:
        """Logical size of all volumes."""
        return sum(volume.bytes for volume in self.volumes)

    @property
    def files(self) -> int:
        return sum(volume.files for volume in self.volumes)


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyKept:
    """The safety snapshots of a workload that are still pinned: nothing but a person lets them go (I5).

    Attributes:
        stored_bytes: what they added to the store, all together.
        oldest_id, oldest_at: of the one that was taken first; empty if there is none.
    """

    count: int = 0
    stored_bytes: int = 0
    oldest_id: str = ""
    oldest_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """What there is to go back to for a workload, all its snapshots together.

    Attributes:
        has_data: whether it has volumes that snapshots hold; else there is nothing to protect.
        scheduled: whether snapshots are taken by themselves.
        last_at: when the newest was taken; ``None`` if there is none.
        verified_at: when one was last read back and found whole.
        proved_at: when one was last restored into a throw-away copy that was healthy on it.
    """

    workload_id: str
    has_data: bool
    scheduled: bool
    count: int = 0
    last_at: str | None = None
    verified_at: str | None = None
    proved_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot as listed: its manifest and what has been decided about it since.

    Attributes:
        pinned: can't be deleted or pruned until a person releases it.
        safety_for: id of the restore operation that took it as its safety snapshot.
        verified_at: when all of its content was last read back and found whole.
        proved_at: when it was last restored into a throw-away copy that was healthy and passed its check.
        damaged: what the last verification found, empty if nothing.
    """

    manifest: SnapshotManifest
    pinned: bool = False
    safety_for: str | None = None
    verified_at: str | None = None
    proved_at: str | None = None
    damaged: tuple[str, ...] = field(default=())

    @property
    def id(self) -> str:
        return self.manifest.id


def protection_of(workload: Workload, snapshots: Sequence[Snapshot]) -> Protection:
    """What the snapshots of a workload amount to."""
    return Protection(
        workload_id=workload.id,
        has_data=bool(workload.spec.captured_volumes),
        scheduled=workload.spec.snapshots.schedule is not None,
        count=len(snapshots),
        last_at=max((each.manifest.created_at for each in snapshots), default=None),
        verified_at=max(
            (each.verified_at for each in snapshots if each.verified_at and not each.damaged), default=None
        ),
        proved_at=max((each.proved_at for each in snapshots if each.proved_at), default=None),
    )
