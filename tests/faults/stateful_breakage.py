"""Products with one protection switched off, by a stand-in at a seam: what the stateful model has to see."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar, cast

import msgspec
from tests.faults.stateful_model import VERSIONS

from holdfast.config import Settings
from holdfast.domain.ids import new_id
from holdfast.domain.operation import Progress
from holdfast.domain.restore import TreeSide, VolumeFacts
from holdfast.domain.snapshot import SnapshotReason
from holdfast.domain.workload import RestartPolicy
from holdfast.engine.requests import CaptureRequest, PruneRequest, Request, StageRequest
from holdfast.engine.stores import Stores
from holdfast.runtime.port import ContainerSpec
from holdfast.services.restore_files import RestoreFiles
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.installation import Installation
from holdfast.testing.quick_workers import QuickWorkers, ThreadWorker

R = TypeVar("R")
Wrap = Callable[[Installation], Installation]


def _with(**seams: object) -> Wrap:
    return lambda place: replace(place, seams=replace(place.seams, **seams))  # type: ignore[arg-type] # as it is called


class OneVolumeOnly(RestoreFiles):
    """Exchanges the first volume of a restore and leaves the others."""

    async def exchange_all(self, volumes: Sequence[VolumeFacts], to: TreeSide) -> None:
        await super().exchange_all(volumes[:1], to)


class NeverBack(RestoreFiles):
    """Says that the data of before is live again, and leaves the restored data where it is."""

    async def exchange_all(self, volumes: Sequence[VolumeFacts], to: TreeSide) -> None:
        if to is TreeSide.NEW:
            await super().exchange_all(volumes, to)


class _Worker(ThreadWorker):
    @property
    def store(self) -> Stores:
        return self._engine._store

    def ids(self) -> list[str]:
        """All snapshots, oldest first."""
        return sorted(manifest.id for manifest in self.store.manifests())


def _workers(change: Callable[[_Worker, Request[object]], Request[object] | object]) -> Wrap:
    """Workers that are asked for something else than was meant, or answer without doing anything."""

    class Worker(_Worker):
        async def ask(self, request: Request[R], on_progress: Callable[[Progress], object]) -> R:
            changed = change(self, cast("Request[object]", request))
            if isinstance(changed, Request):
                return await super().ask(cast("Request[R]", changed), on_progress)
            return cast("R", changed)

    class Workers(QuickWorkers):
        async def start(self) -> ThreadWorker:
            return await asyncio.to_thread(Worker, self._settings)

    return _with(workers=Workers)


def _is_safety(request: object) -> bool:
    return isinstance(request, CaptureRequest) and request.draft.reason is SnapshotReason.SAFETY


def _no_safety(_worker: _Worker, request: Request[object]) -> Request[object] | object:
    """No safety snapshot is taken, though it is said to be."""
    return cast("CaptureRequest", request).draft if _is_safety(request) else request


def _unpinned_safety(_worker: _Worker, request: Request[object]) -> Request[object] | object:
    """What is pinned is not what is taken."""
    if not _is_safety(request):
        return request
    capture = cast("CaptureRequest", request)
    return msgspec.structs.replace(capture, draft=replace(capture.draft, id=new_id()))


def _half_a_safety(_worker: _Worker, request: Request[object]) -> Request[object] | object:
    """The safety snapshot holds only the first volume."""
    if not _is_safety(request):
        return request
    capture = cast("CaptureRequest", request)
    draft = replace(capture.draft, volumes=capture.draft.volumes[:1])
    return msgspec.structs.replace(capture, draft=draft, sources=capture.sources[:1])


def _another_snapshot(worker: _Worker, request: Request[object]) -> Request[object] | object:
    """What is staged is the oldest snapshot, whichever was meant."""
    if not isinstance(request, StageRequest):
        return request
    return msgspec.structs.replace(request, snapshot_id=worker.ids()[0])


def _greedy_prune(worker: _Worker, request: Request[object]) -> Request[object] | object:
    """A prune deletes the newest snapshot, which a restore has pinned."""
    if isinstance(request, PruneRequest) and not request.dry_run:
        worker.store.delete(worker.ids()[-1])
    return request


def _half_a_snapshot(_worker: _Worker, request: Request[object]) -> Request[object] | object:
    """A snapshot has the second volume's content twice."""
    if not isinstance(request, CaptureRequest):
        return request
    last = request.sources[-1]
    sources = tuple(replace(last, index=source.index) for source in request.sources)
    return msgspec.structs.replace(request, sources=sources)


class OldImage(FakeRuntime):
    """Makes every container of the first version, whatever was asked for."""

    async def create(self, spec: ContainerSpec) -> str:
        return await super().create(replace(spec, image=VERSIONS[0]))


class Armed(FakeRuntime):
    """Leaves restart policies as they are where they are to be disarmed."""

    async def set_restart_policy(self, container_id: str, policy: RestartPolicy, max_retries: int = 0) -> None:
        if policy is not RestartPolicy.NO:
            await super().set_restart_policy(container_id, policy, max_retries)


def _engine(kind: type[FakeRuntime]) -> Wrap:
    def wrap(place: Installation) -> Installation:
        def runtime(_settings: Settings) -> FakeRuntime:
            return kind(state_file=place.directory / "engine.json", root_dir=str(place.directory))

        return replace(place, runtime=runtime)

    return wrap


ONE_VOLUME_ONLY = _with(files=OneVolumeOnly)
NEVER_BACK = _with(files=NeverBack)
NO_SAFETY = _workers(_no_safety)
UNPINNED_SAFETY = _workers(_unpinned_safety)
HALF_A_SAFETY = _workers(_half_a_safety)
ANOTHER_SNAPSHOT = _workers(_another_snapshot)
GREEDY_PRUNE = _workers(_greedy_prune)
HALF_A_SNAPSHOT = _workers(_half_a_snapshot)
OLD_IMAGE = _engine(OldImage)
ARMED = _engine(Armed)
