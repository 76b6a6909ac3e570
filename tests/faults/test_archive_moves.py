"""What earlier versions kept as archives is in the repository soon after a start, and was never out of reach."""

from __future__ import annotations

from pathlib import Path

from holdfast.bootstrap import Holdfast
from holdfast.domain import times
from holdfast.domain.ids import new_id
from holdfast.domain.operation import Operation, OperationKind
from holdfast.domain.restore import RootRef
from holdfast.domain.snapshot import CapturedVolume, Consistency, SnapshotManifest, SnapshotReason
from holdfast.domain.workload import Workload
from holdfast.engine.archive.store import ArchiveStore
from holdfast.engine.fs import Fs
from holdfast.engine.job import QuietJob
from holdfast.engine.keys import load_or_create_key
from holdfast.engine.live import LiveRoots
from holdfast.engine.snapshot_store import CaptureSource
from holdfast.testing.installation import (
    TWO_VOLUMES,
    Installation,
    deployed,
    ended,
    installation,
    restore,
    snapshotted,
    succeeded,
)
from holdfast.testing.trees import build_sample_tree, describe_tree


def archived(place: Installation, workload: Workload) -> str:
    """Capture both volumes into an archive, while no server runs."""
    fs, settings = Fs(), place.settings
    with LiveRoots(fs, [str(place.volumes)]) as roots:
        key = load_or_create_key(fs, settings.archive_key_file)
        store = ArchiveStore(fs, settings.snapshots_dir, key, roots, settings.limits, reserve_bytes=0)
        draft = SnapshotManifest(
            id=new_id(),
            workload_id=workload.id,
            workload_name=workload.name,
            created_at=times.now(),
            reason=SnapshotReason.MANUAL,
            consistency=Consistency.STOPPED,
            volumes=tuple(
                CapturedVolume(index=index, target=volume.target, scope=volume.scope, source=volume.source)
                for index, volume in enumerate(TWO_VOLUMES)
            ),
        )
        sources = [
            CaptureSource(index=index, live=RootRef(root=str(place.volumes), relative=relative))
            for index, relative in enumerate(("notes/data", "@home/media"))
        ]
        return store.capture(draft, sources, QuietJob()).id


async def moving(holdfast: Holdfast) -> Operation:
    """How the move that the start began has ended."""
    page = await holdfast.operations.list(limit=100, cursor=None, workload_id=None)
    (found,) = [operation for operation in page.items if operation.kind is OperationKind.MOVE_IN]
    return await ended(holdfast, found)


async def test_archives_of_before_move_in_at_a_start_and_restore_like_any_other(tmp_path: Path) -> None:
    place = installation(tmp_path)
    data, media = place.volumes / "notes/data", place.volumes / "@home/media"
    async with place.running() as holdfast:
        workload = await deployed(holdfast)
        build_sample_tree(data)
        build_sample_tree(media)
    before = describe_tree(data), describe_tree(media)
    old = [archived(place, workload), archived(place, workload)]
    async with place.running() as holdfast:
        assert (await moving(holdfast)).outcome == {"moved": 2, "left": []}
        assert not list(place.settings.snapshots_dir.rglob("*.tar.zst"))
        (data / "new").write_text("written since")
        new = await snapshotted(holdfast, workload)
        listed = await holdfast.api.snapshots.list("notes", limit=10, cursor=None)
        assert [snapshot.id for snapshot in listed.items] == [new, *reversed(old)]
        await succeeded(holdfast, await restore(holdfast, workload, old[0]))
        assert (describe_tree(data), describe_tree(media)) == before


async def test_a_damaged_archive_is_told_of_and_stays(tmp_path: Path) -> None:
    place = installation(tmp_path)
    async with place.running() as holdfast:
        workload = await deployed(holdfast)
        build_sample_tree(place.volumes / "notes/data")
    damaged, whole = archived(place, workload), archived(place, workload)
    (path,) = place.settings.snapshots_dir.rglob(f"{damaged}.tar.zst")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + bytes(64) + content[len(content) // 2 + 64 :])
    async with place.running() as holdfast:
        end = await moving(holdfast)
        assert end.outcome == {"moved": 1, "left": [damaged]}
        assert any(damaged in line.message and line.level == "warning" for line in end.log)
        assert path.exists()
        assert (await holdfast.api.snapshots.get("notes", whole)).id == whole
