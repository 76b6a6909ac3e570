"""What a restore is about to do, once every check has passed: the plan that preflight hands to the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import msgspec

from holdfast.domain.chosen_paths import ChosenPaths, shown
from holdfast.domain.deployment import Deployment, Rollback
from holdfast.domain.errors import Problem
from holdfast.domain.restore import (
    ClonedFrom,
    ContainerFacts,
    ImageFacts,
    LiveBefore,
    OnUnhealthy,
    Redeploy,
    RootRef,
    SwapWay,
)
from holdfast.domain.restore_mapping import MappedVolume
from holdfast.domain.snapshot import SnapshotManifest
from holdfast.domain.told import Told, as_json
from holdfast.domain.workload import DesiredState, Workload
from holdfast.engine.diff import VolumeDiff
from holdfast.engine.repository.second import Second
from holdfast.engine.requests import DiffRequest
from holdfast.services.ran import Ran


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """The version that runs on the restored data, where that is an earlier deployment's: its image, its configuration.

    Attributes:
        adopt: whether that configuration becomes the workload's, together with the data.
        laid_out: whether the data goes where the volumes were for that deployment, and not where they are now.
        returns_from: the failed deployment that this is the way back of; empty if it is none.
    """

    deployment: Deployment
    adopt: bool
    laid_out: bool
    returns_from: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRequest:
    """What was asked for.

    Attributes:
        volumes: container targets to restore; ``None`` for all.
        paths: of these, or of all, only these paths, as the container sees them; empty for whole volumes.
        on_unhealthy: ``None`` leaves it to the state that the workload is found in.
        with_image: return to the image that ran when the snapshot was taken, too.
        runs: what runs on the data, if it is neither what runs now nor the image of then.
        create_missing: a directory that is missing is made.
        accept_replaced: a directory that is another one than the one last seen is replaced like any other.
        cloned_from: whose snapshot it is, if it is another workload's: only a clone may bring that here.
        renames: captured target → the target that it goes to, where they differ; a clone's.
        notices: what a person should know besides what the preflight finds.
        starts: what a workload that never ran is to run on the data; its id is empty where it is yet to be pulled.
        repository: the second repository that the snapshot is taken from; ``None`` for what is in the data directory.
    """

    workload_id: str
    snapshot_id: str
    volumes: tuple[str, ...] | None = None
    paths: tuple[bytes, ...] = ()
    on_unhealthy: OnUnhealthy | None = None
    with_image: bool = False
    runs: Runs | None = None
    create_missing: bool = False
    accept_replaced: bool = False
    cloned_from: ClonedFrom | None = None
    renames: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[Told, ...] = ()
    starts: ImageFacts | None = None
    repository: str | None = None
    actor: str

    def laid_out(self, workload: Workload) -> Workload:
        """The workload, configured as its volumes lie where the data goes."""
        return workload if self.runs is None or not self.runs.laid_out else self.running(workload)

    def wanting(self, workload: Workload) -> Workload:
        """The workload as laid out, with those volumes alone that are made where they are missing."""
        laid_out = self.laid_out(workload)
        if not self.create_missing or self.paths:
            return replace(laid_out, spec=replace(laid_out.spec, volumes=()))
        wanted = tuple(v for v in laid_out.spec.volumes if self.volumes is None or v.target in self.volumes)
        return replace(laid_out, spec=replace(laid_out.spec, volumes=wanted))

    def running(self, workload: Workload) -> Workload:
        """The workload that is restored, configured as it runs on the data."""
        if self.runs is None:
            return workload
        return replace(workload, spec=Rollback.of(workload, self.runs.deployment).spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenPart:
    """What is chosen of one volume, where it is not the whole of it.

    Attributes:
        names, bytes: how much that is in the snapshot; known once it was looked at, as the others.
        staged_bytes, staged_inodes: what the staged tree will hold, all else in the volume included.
    """

    chosen: ChosenPaths
    names: int = 0
    bytes: int = 0
    staged_bytes: int = 0
    staged_inodes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedVolume:
    """One volume and where it lives now, derived from the current configuration alone.

    Attributes:
        before: what is at the live path.
        missing_parents: how many directories above a missing one are missing as well.
        part: what of it is restored; ``None`` for all of it.
        way: how its trees change places.
        children: how many names are in its root, where they are swapped one by one.
    """

    mapped: MappedVolume
    live: RootRef
    before: LiveBefore = LiveBefore.AS_SEEN
    missing_parents: int = 0
    part: ChosenPart | None = None
    way: SwapWay = SwapWay.EXCHANGE
    children: int = 0

    @property
    def staged_bytes(self) -> int:
        """How much is going to be staged."""
        return self.mapped.captured.disk_bytes if self.part is None else self.part.staged_bytes

    @property
    def staged_inodes(self) -> int:
        return self.mapped.captured.inodes if self.part is None else self.part.staged_inodes

    @property
    def paths(self) -> tuple[str, ...]:
        """The chosen paths as the container sees them, for people."""
        root = self.target.encode().rstrip(b"/")
        return () if self.part is None else tuple(shown(root + b"/" + path) for path in self.part.chosen.paths)

    @property
    def index(self) -> int:
        return self.mapped.captured.index

    @property
    def target(self) -> str:
        return self.mapped.configured.target


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedImages:
    """What a restore runs afterwards.

    Attributes:
        before: what the workload ran on the data that is to be replaced; ``None`` if it was never deployed.
        redeploys: what is started again once the data is in place; empty if nothing ran.
        to_pull: of these images, those that are not on this host but can be pulled by their digest.
        problems: why it can't be; then nothing else counts.
    """

    before: Ran | None
    redeploys: tuple[Redeploy, ...]
    to_pull: tuple[ImageFacts, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Told, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStop:
    """A workload that runs and is stopped for the restore, and how many seconds it gets to end by itself."""

    workload: str
    grace_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePlan:
    """A restore that passed its preflight.

    Attributes:
        lock_ids: every workload whose lock must be held: this one and those that share one of its volumes.
        containers: the containers of those workloads, as they were found.
        stops: those of them that run.
        images: what ran, and what runs afterwards.
        runs: the deployment whose version that is, as it was asked for.
        warnings: what a person should know and no reason to refuse.
        second: what opens the second repository that the snapshot is taken from, if it is.
    """

    workload: Workload
    manifest: SnapshotManifest
    volumes: tuple[PlannedVolume, ...]
    lock_ids: tuple[str, ...]
    containers: tuple[ContainerFacts, ...]
    stops: tuple[PlannedStop, ...]
    images: PlannedImages
    desired: DesiredState
    on_unhealthy: OnUnhealthy
    with_image: bool
    warnings: tuple[Told, ...]
    runs: Runs | None = None
    cloned_from: ClonedFrom | None = None
    second: Second | None = None

    @property
    def image(self) -> ImageFacts | None:
        """What the restored workload runs afterwards; ``None`` if it stays stopped."""
        return next((r.image for r in self.images.redeploys if r.workload_id == self.workload.id), None)

    @property
    def in_parts(self) -> bool:
        """Whether only chosen paths are restored."""
        return any(volume.part is not None for volume in self.volumes)

    @property
    def paths(self) -> tuple[str, ...]:
        """The chosen paths as containers see them, for people; none where whole volumes are restored."""
        return tuple(path for volume in self.volumes for path in volume.paths)

    @property
    def comparisons(self) -> tuple[DiffRequest, ...]:
        """What has to be asked to know what would change, for each volume."""
        return tuple(
            DiffRequest(
                snapshot_id=self.manifest.id,
                index=volume.index,
                live=volume.live if volume.live in self.there else None,
                paths=None if volume.part is None else volume.part.chosen.paths,
                second=self.second,
            )
            for volume in self.volumes
        )

    @property
    def there(self) -> tuple[RootRef, ...]:
        """The live directories that there are."""
        return tuple(volume.live for volume in self.volumes if volume.before is not LiveBefore.MISSING)


def _extent(volume: PlannedVolume) -> dict[str, object]:
    """How much of a volume is restored."""
    if volume.part is None:
        captured = volume.mapped.captured
        return {"restored_bytes": captured.bytes, "restored_files": captured.files, "paths": None}
    part = volume.part
    return {"restored_bytes": part.bytes, "restored_files": part.names, "paths": list(volume.paths)}


def describe_plan(
    plan: RestorePlan, diffs: Sequence[VolumeDiff], live_bytes: int, last_downtime: object
) -> dict[str, object]:
    """A dry run's outcome.

    Args:
        last_downtime: seconds for which the newest restore kept this workload down; ``None`` if there was none.
    """
    taken = plan.manifest
    return told_of_clone(plan.cloned_from, plan.workload.name) | {
        "result": "dry_run",
        "snapshot_id": taken.id,
        "snapshot_taken_at": taken.created_at,
        **({"paths": list(plan.paths)} if plan.in_parts else {}),
        "volumes": [
            {
                "target": volume.target,
                "path": volume.live.path,
                "before": volume.before,
                "swap": volume.way,
                **_extent(volume),
                **msgspec.to_builtins(diff),
            }
            for volume, diff in zip(plan.volumes, diffs, strict=True)
        ],
        "live_bytes": live_bytes,
        "also_stopped": [w for w in plan.lock_ids if w != plan.workload.id],
        "stops": msgspec.to_builtins(plan.stops),
        "runs_afterwards": plan.image.id if plan.image else None,
        "image": plan.image.reference if plan.image else None,
        "taken_with": taken.image or None,
        "taken_with_id": taken.image_id or None,
        **_told_of_runs(plan.runs, plan.workload),
        "on_unhealthy": plan.on_unhealthy,
        "safety_snapshot": True,
        "last_downtime_seconds": last_downtime,
        "warnings": [as_json(warning) for warning in plan.warnings],
    }


def _told_of_runs(runs: Runs | None, workload: Workload) -> dict[str, object]:
    """What a dry run says besides, where an earlier deployment's version is going to run."""
    if runs is None:
        return {}
    changes = Rollback.of(workload, runs.deployment).changes
    return {"deployment_id": runs.deployment.id, "configuration_changes": [asdict(change) for change in changes]}


def told_of_clone(source: ClonedFrom | None, name: str) -> dict[str, object]:
    """What an outcome says of a clone besides: whose data it is, and to whom it goes."""
    if source is None:
        return {}
    return {"workload": name, "cloned_from": {"id": source.workload_id, "name": source.workload_name}}
