"""Snapshots and what is asked of them, on the wire."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from holdfast.api.parameters import PrintableText
from holdfast.api.schemas.told import ToldView
from holdfast.domain.snapshot import Consistency, Snapshot, SnapshotReason
from holdfast.domain.stopping import UncleanEnd
from holdfast.domain.workload import Quiesce, Scope


class CapturedVolumeView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    index: Annotated[int, Field(description="Its subdirectory in an archive.")]
    target: str
    scope: Scope
    source: Annotated[str, Field(description="Where it was, for people to read; a restore never uses it.")]
    files: int
    directories: int
    links: int
    bytes: Annotated[int, Field(description="Logical size of its regular files.")]
    disk_bytes: Annotated[int, Field(description="What it takes on disk, holes not counted.")]


class UncleanStopView(BaseModel):
    """A container that was told to stop and did not end well."""

    model_config = ConfigDict(from_attributes=True)

    container: str
    end: UncleanEnd
    exit_code: int
    grace_seconds: Annotated[float, Field(description="How long it had to end by itself.")]
    brief: Annotated[str, Field(description="What went wrong, for people.", examples=["killed after 10 s"])]
    words: Annotated[str, Field(description="The same in a sentence.")]


class SnapshotView(BaseModel):
    """An immutable capture of all volumes of a workload, and what has been decided about it since."""

    id: str
    workload_id: str
    workload_name: str
    created_at: str
    reason: SnapshotReason
    consistency: Consistency
    volumes: list[CapturedVolumeView]
    bytes: Annotated[int, Field(description="Logical size of all volumes.")]
    files: int
    stored_bytes: Annotated[int, Field(description="What it takes in the store.")]
    image: Annotated[str, Field(description="What ran on the data, or would have run again if nothing did.")]
    image_id: str
    image_digest: Annotated[str | None, Field(description="By which its registry knows it; null if none does.")]
    config_hash: str
    stopped_cleanly: Annotated[
        bool | None,
        Field(description="Whether all that was stopped for it ended well and within its grace; null if nothing was."),
    ]
    unclean_stops: Annotated[list[UncleanStopView], Field(description="What did not; empty if nothing.")]
    duration_seconds: float
    own: Annotated[bool, Field(description="Whether this installation captured it; false for foreign archives.")]
    note: str
    actor: str
    warnings: Annotated[list[ToldView], Field(description="What was skipped or changed while it was read, by name.")]
    pinned: Annotated[bool, Field(description="Can't be deleted until a person releases it.")]
    safety_for: Annotated[str | None, Field(description="The restore that took it as its safety snapshot.")]
    verified_at: Annotated[str | None, Field(description="When all of it was last read back and found whole.")]
    proved_at: Annotated[
        str | None,
        Field(description="When it was last restored into a throw-away copy that was healthy and passed its check."),
    ]
    damaged: Annotated[list[str], Field(description="What the last verification found; empty if nothing.")]

    @classmethod
    def of(cls, snapshot: Snapshot) -> SnapshotView:
        """The view of ``snapshot``."""
        manifest = snapshot.manifest
        return cls(
            id=manifest.id,
            workload_id=manifest.workload_id,
            workload_name=manifest.workload_name,
            created_at=manifest.created_at,
            reason=manifest.reason,
            consistency=manifest.consistency,
            volumes=[CapturedVolumeView.model_validate(volume) for volume in manifest.volumes],
            bytes=manifest.bytes,
            files=manifest.files,
            stored_bytes=manifest.stored_bytes,
            image=manifest.image,
            image_id=manifest.image_id,
            image_digest=manifest.image_digest,
            config_hash=manifest.config_hash,
            stopped_cleanly=manifest.stopped_cleanly,
            unclean_stops=[UncleanStopView.model_validate(stop) for stop in manifest.unclean_stops],
            duration_seconds=manifest.duration_seconds,
            own=manifest.own,
            note=manifest.note,
            actor=manifest.actor,
            warnings=[ToldView.of(warning) for warning in manifest.warnings],
            pinned=snapshot.pinned,
            safety_for=snapshot.safety_for,
            verified_at=snapshot.verified_at,
            proved_at=snapshot.proved_at,
            damaged=list(snapshot.damaged),
        )


class ProtectionView(BaseModel):
    """What there is to go back to for a workload, all its snapshots together."""

    model_config = ConfigDict(from_attributes=True)

    workload_id: str
    has_data: Annotated[bool, Field(description="Whether it has volumes that snapshots hold.")]
    scheduled: Annotated[bool, Field(description="Whether snapshots are taken by themselves.")]
    count: Annotated[int, Field(description="How many snapshots there are.")]
    last_at: Annotated[str | None, Field(description="When the newest was taken; null if there is none.")]
    verified_at: Annotated[str | None, Field(description="When one was last read back and found whole.")]
    proved_at: Annotated[str | None, Field(description="When one was last restored into a throw-away copy, and fit.")]


class ProtectionsView(BaseModel):
    items: list[ProtectionView]


class DrillBody(BaseModel, extra="forbid"):
    command: Annotated[
        list[Annotated[str, Field(max_length=32_768)]] | None,
        Field(
            min_length=1,
            max_length=1000,
            description="Program and arguments that have to end with 0 in the healthy copy; the workload's "
            "`snapshots.drill.command` if left out.",
        ),
    ] = None


class SnapshotRequest(BaseModel, extra="forbid"):
    quiesce: Annotated[
        Quiesce | None,
        Field(description="How the writer is held while capturing; as the workload declares it if left out."),
    ] = None
    note: Annotated[PrintableText, Field(description="Why it is taken, for people.", max_length=500)] = ""


class SnapshotPatch(BaseModel, extra="forbid"):
    pinned: bool
