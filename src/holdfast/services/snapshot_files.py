"""Looking into snapshots: folders, one file, a folder as a stream, and what differs.

What is in a snapshot is hostile: it is handed out as bytes, and never interpreted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import msgspec

from holdfast.domain.errors import InvalidInput, NotFound
from holdfast.domain.operation import Operation, OperationKind
from holdfast.domain.snapshot import CapturedVolume, FolderFormat, Snapshot
from holdfast.engine.entries import Entry, EntryKind, display_path
from holdfast.engine.job import QuietJob
from holdfast.engine.repository.browse import Folder
from holdfast.engine.requests import CompareRequest
from holdfast.engine.stores import Stores
from holdfast.services.in_use import SnapshotsInUse
from holdfast.services.operations import OperationContext, Operations
from holdfast.services.pump import Write, pumped
from holdfast.services.snapshots import Snapshots
from holdfast.services.volumes import VolumeResolver
from holdfast.services.workers import Workers
from holdfast.services.workloads import Workloads


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """Something to be sent: the name of a file, its size in bytes where it is known, and its content."""

    name: str
    size: int | None
    content: AsyncIterator[bytes]


class SnapshotFiles:
    """What people see and take out of snapshots."""

    def __init__(
        self,
        *,
        snapshots: Snapshots,
        workloads: Workloads,
        stores: Stores,
        volumes: VolumeResolver,
        operations: Operations,
        workers: Workers,
        in_use: SnapshotsInUse,
    ) -> None:
        self._snapshots = snapshots
        self._workloads = workloads
        self._stores = stores
        self._volumes = volumes
        self._operations = operations
        self._workers = workers
        self._in_use = in_use

    async def folder(
        self, ref: str, snapshot_id: str, *, target: str | None, path: bytes, after: bytes, limit: int
    ) -> Folder:
        """A page of what lies directly in a folder.

        Args:
            target: of the volume; may be left out where the snapshot has only one.

        Raises:
            NotFound: ``snapshot_unknown``, ``file_unknown``; ``volume_unknown``, the snapshot has none of that target.
            InvalidInput: ``volume_not_named``; it has several.
            Conflict: ``snapshot_not_moved``.
        """
        volume = _volume(await self._snapshots.get(ref, snapshot_id), target)

        def look() -> Folder:
            store = self._stores.browsable(snapshot_id)
            return store.folder(snapshot_id, volume.index, path, after=after, limit=limit)

        return await asyncio.to_thread(look)

    async def download(
        self, ref: str, snapshot_id: str, *, target: str | None, path: bytes, kind: FolderFormat
    ) -> Download:
        """A file as it is, or a folder as a tar or zip stream. Raises as :meth:`folder`.

        Raises:
            InvalidInput: ``file_not_downloadable``; it is a symlink.
        """
        volume = _volume(await self._snapshots.get(ref, snapshot_id), target)
        store = await asyncio.to_thread(self._stores.browsable, snapshot_id)
        entry = await asyncio.to_thread(store.entry, snapshot_id, volume.index, path)
        if entry.kind is EntryKind.SYMLINK:
            raise _symlink(entry)
        name = display_path(path.rpartition(b"/")[2]) if path else volume.target.strip("/").replace("/", "-")
        if entry.kind is EntryKind.DIRECTORY:

            def send_folder(write: Write) -> None:
                store.send_folder(snapshot_id, volume.index, path, kind, write, QuietJob())

            return Download(name=f"{name}.{kind}", size=None, content=self._sent(snapshot_id, send_folder))

        def send_file(write: Write) -> None:
            store.send_file(snapshot_id, volume.index, path, write, QuietJob())

        return Download(name=name, size=entry.size, content=self._sent(snapshot_id, send_file))

    async def _sent(self, snapshot_id: str, send: Callable[[Write], None]) -> AsyncIterator[bytes]:
        with self._in_use.hold(snapshot_id, "a download"):
            async for piece in pumped(send):
                yield piece

    async def compare(self, ref: str, snapshot_id: str, *, against: str | None, actor: str) -> Operation:
        """Tell what is other in a later snapshot, or in the live data, than in this one: a comparison per volume.

        Args:
            against: id of another snapshot of the workload; ``None`` for the live data, which is compared by metadata.
        """
        old = await self._snapshots.get(ref, snapshot_id)
        new = None if against is None else await self._snapshots.get(ref, against)
        await asyncio.to_thread(self._stores.browsable, old.id)
        if new is not None:
            await asyncio.to_thread(self._stores.browsable, new.id)

        async def run(ctx: OperationContext) -> dict[str, object]:
            ctx.step("comparing")
            with self._in_use.hold(old.id, f"comparison {ctx.id}"), self._in_use.hold(against or old.id, "the same"):
                async with self._workers.session(ctx) as worker:
                    requests = await self._requests(old, new)
                    volumes = [
                        {"target": volume.target, **msgspec.to_builtins(await worker.run(request))}
                        for volume, request in requests
                    ]
            return {"snapshot_id": old.id, "against": against, "volumes": volumes}

        return await self._operations.start(OperationKind.COMPARE, old.manifest.workload_id, actor, run)

    async def _requests(self, old: Snapshot, new: Snapshot | None) -> list[tuple[CapturedVolume, CompareRequest]]:
        """One request for each volume that both sides have, by its target."""
        found: list[tuple[CapturedVolume, CompareRequest]] = []
        workload = await self._workloads.get(old.manifest.workload_id)
        live = {volume.target: volume for volume in workload.spec.captured_volumes}
        for volume in old.manifest.volumes:
            if new is not None:
                other = next((each for each in new.manifest.volumes if each.target == volume.target), None)
                if other is not None:
                    request = CompareRequest(
                        snapshot_id=old.id, index=volume.index, other_id=new.id, other_index=other.index, live=None
                    )
                    found.append((volume, request))
            elif volume.target in live:
                place = self._volumes.resolve(workload.spec, live[volume.target])
                request = CompareRequest(
                    snapshot_id=old.id, index=volume.index, other_id=None, other_index=0, live=place
                )
                found.append((volume, request))
        return found


def _volume(snapshot: Snapshot, target: str | None) -> CapturedVolume:
    volumes = snapshot.manifest.volumes
    targets = ", ".join(volume.target for volume in volumes)
    if target is None:
        if len(volumes) != 1:
            raise InvalidInput(
                "volume_not_named",
                f"The snapshot has {len(volumes)} volumes: {targets}.",
                next_step="Say which one is meant (--volume, volume).",
            )
        return volumes[0]
    found = next((volume for volume in volumes if volume.target == target), None)
    if found is None:
        raise NotFound(
            "volume_unknown", f"The snapshot has no volume {target[:300]}.", next_step=f"It has these: {targets}."
        )
    return found


def _symlink(entry: Entry) -> InvalidInput:
    return InvalidInput(
        "file_not_downloadable",
        f"{display_path(entry.path)} is a symbolic link to {display_path(entry.link_target)}.",
        next_step="Download what it leads to, if that is in the snapshot; links are never followed.",
    )
