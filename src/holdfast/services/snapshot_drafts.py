"""The part of a snapshot's manifest that is known before anything is captured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from holdfast.domain import times
from holdfast.domain.ids import new_id
from holdfast.domain.snapshot import CapturedVolume, Consistency, SnapshotManifest, SnapshotReason
from holdfast.domain.stopping import UncleanStop
from holdfast.domain.workload import Volume, Workload
from holdfast.services.ran import Ran


def draft_manifest(
    *,
    workload: Workload,
    volumes: Iterable[tuple[int, Volume]],
    reason: SnapshotReason,
    consistency: Consistency,
    actor: str,
    ran: Ran | None,
    note: str = "",
    stops: Sequence[UncleanStop] | None = None,
) -> SnapshotManifest:
    """A manifest to be completed by the snapshot store.

    Args:
        volumes: index in the snapshot and configuration of each volume.
        ran: what runs on this data, or ran on it last; ``None``: nothing ever did.
        stops: of what was stopped for it, those that did not end well; ``None`` if nothing was stopped.
    """
    return SnapshotManifest(
        id=new_id(),
        workload_id=workload.id,
        workload_name=workload.name,
        stage=workload.spec.stage,
        created_at=times.now(),
        reason=reason,
        consistency=consistency,
        volumes=tuple(
            CapturedVolume(index=index, target=volume.target, scope=volume.scope, source=volume.source)
            for index, volume in volumes
        ),
        image=ran.image.reference if ran else workload.spec.image,
        image_id=ran.image.id if ran else "",
        image_digest=ran.image.digest if ran else None,
        config_hash=ran.config_hash if ran else workload.spec.config_hash,
        stopped_cleanly=None if stops is None else not stops,
        unclean_stops=tuple(stops or ()),
        note=note,
        actor=actor,
    )
