"""What a restore is about to do, once every check has passed: the plan that preflight hands to the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from holdfast.domain.restore import ContainerFacts, OnUnhealthy, Redeploy, RootRef
from holdfast.domain.restore_mapping import MappedVolume
from holdfast.domain.snapshot import SnapshotManifest
from holdfast.domain.workload import DesiredState, Workload
from holdfast.engine.diff import VolumeDiff


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRequest:
    """What was asked for.

    Attributes:
        volumes: container targets to restore; ``None`` for all.
        on_unhealthy: ``None`` leaves it to the state that the workload is found in.
        with_image: return to the image that ran when the snapshot was taken, too.
    """

    workload_id: str
    snapshot_id: str
    volumes: tuple[str, ...] | None = None
    on_unhealthy: OnUnhealthy | None = None
    with_image: bool = False
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedVolume:
    """One volume and where it lives now, derived from the current configuration alone."""

    mapped: MappedVolume
    live: RootRef

    @property
    def index(self) -> int:
        return self.mapped.captured.index

    @property
    def target(self) -> str:
        return self.mapped.configured.target


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePlan:
    """A restore that passed its preflight.

    Attributes:
        lock_ids: every workload whose lock must be held: this one and those that share one of its volumes.
        containers: the containers of those workloads, as they were found.
        redeploys: what is started again once the data is in place; empty if nothing ran.
        warnings: what a person should know and no reason to refuse.
    """

    workload: Workload
    manifest: SnapshotManifest
    volumes: tuple[PlannedVolume, ...]
    lock_ids: tuple[str, ...]
    containers: tuple[ContainerFacts, ...]
    redeploys: tuple[Redeploy, ...]
    desired: DesiredState
    on_unhealthy: OnUnhealthy
    warnings: tuple[str, ...]

    @property
    def image_id(self) -> str:
        """What the restored workload runs afterwards; empty if it stays stopped."""
        return next((r.image_id for r in self.redeploys if r.workload_id == self.workload.id), "")


def describe_plan(plan: RestorePlan, diffs: Sequence[VolumeDiff], live_bytes: int) -> dict[str, object]:
    """A dry run's outcome."""
    taken = plan.manifest
    rate = taken.bytes / taken.duration_seconds if taken.duration_seconds else 0.0
    return {
        "result": "dry_run",
        "snapshot_id": taken.id,
        "snapshot_taken_at": taken.created_at,
        "volumes": [
            {
                "target": volume.target,
                "path": volume.live.path,
                "restored_bytes": volume.mapped.captured.bytes,
                "restored_files": volume.mapped.captured.files,
                **msgspec.to_builtins(diff),
            }
            for volume, diff in zip(plan.volumes, diffs, strict=True)
        ],
        "live_bytes": live_bytes,
        "also_stopped": [w for w in plan.lock_ids if w != plan.workload.id],
        "runs_afterwards": plan.image_id or None,
        "image": plan.workload.spec.image,
        "on_unhealthy": plan.on_unhealthy,
        "safety_snapshot": True,
        "expected_safety_seconds": round(live_bytes / rate, 1) if rate else None,
        "warnings": list(plan.warnings),
    }
