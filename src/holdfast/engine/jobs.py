"""How a worker does what it is asked to do (:mod:`holdfast.engine.requests`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import assert_never

from holdfast.domain.chosen_paths import ChosenPaths
from holdfast.domain.errors import HoldfastError
from holdfast.domain.repository import CopyResult
from holdfast.domain.restore import RootRef, VolumeFacts
from holdfast.domain.snapshot import SnapshotManifest
from holdfast.engine.archive.importer import ImportRequest as ArchiveImport
from holdfast.engine.diff import VolumeDiff, diff, measure
from holdfast.engine.disk_use import tree_use
from holdfast.engine.fs import Fs
from holdfast.engine.job import Job
from holdfast.engine.keys import load_or_create_key
from holdfast.engine.limits import Limits
from holdfast.engine.live import LiveRoots
from holdfast.engine.missing import remove_empty, remove_parents
from holdfast.engine.os_errors import translate
from holdfast.engine.part_staging import CaughtUp, PartsStaged, catch_up, look_at_part, stage_parts
from holdfast.engine.remove_tree import remove_tree
from holdfast.engine.repository.browse import Comparison
from holdfast.engine.repository.copying import pack_bytes_for
from holdfast.engine.repository.pace import TokenBucket
from holdfast.engine.repository.prune import PruneResult
from holdfast.engine.repository.second import Second, opened
from holdfast.engine.repository.store import RepositoryStore
from holdfast.engine.requests import (
    AnyRequest,
    AuditRequest,
    CaptureRequest,
    CatchUpRequest,
    CheckRequest,
    CheckWrappedRequest,
    CompareRequest,
    CopyRequest,
    DiffRequest,
    ImportRequest,
    LookAtPartRequest,
    MeasureRequest,
    MoveInRequest,
    PruneRequest,
    ReapRequest,
    RemoveTreeRequest,
    StagePartsRequest,
    StageRequest,
    TreeUseRequest,
    VerifyRequest,
    WarmRequest,
    WorkerSettings,
)
from holdfast.engine.snapshot_store import SnapshotStore
from holdfast.engine.staging import StageResult, stage
from holdfast.engine.stores import open_stores
from holdfast.engine.swap import remove_wrapper
from holdfast.engine.tree_check import check_wrapped


class Engine:
    """The engine as a worker has it: roots and store opened once, requests handled one after the other.

    Args:
        fs: the file system; ``None``: the ordinary one.
    """

    def __init__(self, settings: WorkerSettings, fs: Fs | None = None) -> None:
        self._stores = settings.stores
        self._fs = Fs() if fs is None else fs
        self._roots = LiveRoots(self._fs, settings.roots, settings.journals, late=settings.late_roots)
        self._store = open_stores(self._fs, self._roots, settings.stores)

    def handle(self, request: AnyRequest, job: Job) -> object:
        """Carry a request out. Raises ``HoldfastError`` subclasses."""
        match request:
            case CaptureRequest():
                return self._store.capture(request.draft, request.sources, job)
            case WarmRequest():
                return self._store.warm(request.workload_id, request.sources, job)
            case StageRequest():
                return self._stage(request, job)
            case CheckWrappedRequest():
                with self._snapshots(request.second) as store:
                    snapshot_id, volumes, side = request.snapshot_id, request.volumes, request.side
                    check_wrapped(self._fs, self._roots, store, snapshot_id, volumes, side, job)
                return None
            case LookAtPartRequest():
                parts = self._store.browsable(request.snapshot_id).parts
                return look_at_part(self._fs, self._roots, parts, request.snapshot_id, request.part, request.live, job)
            case StagePartsRequest():
                return self._stage_parts(request, job)
            case CatchUpRequest():
                return self._catch_up(request, job)
            case VerifyRequest():
                with self._snapshots(request.second) as store:
                    return store.verify(request.snapshot_id, job)
            case PruneRequest():
                return self._prune(request, job)
            case AuditRequest():
                with self._repository(request.second) as repository:
                    return repository.audit(job, request.share)
            case CheckRequest():
                with self._repository(request.second) as repository:
                    return tuple(repository.check(repository.manifest(request.snapshot_id), request.volumes))
            case CopyRequest():
                return self._copy(request, job)
            case ImportRequest():
                return self._import(request, job)
            case MoveInRequest():
                return self._store.move_in(request.snapshot_id, job)
            case CompareRequest():
                return self._compare(request, job)
            case DiffRequest():
                return self._diff(request, job)
            case MeasureRequest():
                return sum(measure(self._fs, self._roots, live, job) for live in request.live)
            case TreeUseRequest():
                return tree_use(self._fs, self._roots, request.live, job)
            case ReapRequest():
                self._reap(request.volumes, job)
                return None
            case RemoveTreeRequest():
                self._remove(request.live, job)
                return None
            case _:
                assert_never(request)

    def close(self) -> None:
        """Let go of stores and roots, where the process goes on."""
        self._store.close()
        self._roots.close()

    @contextmanager
    def _repository(self, second: Second | None) -> Iterator[RepositoryStore]:
        """The primary repository, or a second one."""
        if second is None:
            yield self._store.repository
            return
        with opened(self._fs, second) as repository:
            archive_key = load_or_create_key(self._fs, Path(self._stores.archive_key_file))
            yield RepositoryStore(self._fs, repository, self._roots, archive_key)

    @contextmanager
    def _snapshots(self, second: Second | None) -> Iterator[SnapshotStore]:
        """Where a snapshot is looked for: in all that is in the data directory, or in a second repository."""
        if second is None:
            yield self._store
            return
        with self._repository(second) as repository:
            yield repository

    def _stage(self, request: StageRequest, job: Job) -> StageResult:
        """Stage; what Holdfast captured itself is bounded by the disk alone."""
        with self._snapshots(request.second) as store:
            own = store.manifest(request.snapshot_id).own
            limits = Limits.for_own_snapshots() if own else self._stores.limits
            return stage(self._fs, self._roots, store, request.snapshot_id, request.volumes, limits, job)

    def _prune(self, request: PruneRequest, job: Job) -> PruneResult:
        with self._repository(request.second) as repository:
            return repository.prune(
                job,
                dry_run=request.dry_run,
                without=request.without,
                unused_percent=request.unused_percent,
                owner=request.second.owner if request.second is not None else "",
            )

    def _copy(self, request: CopyRequest, job: Job) -> CopyResult:
        rate = request.limit_rate
        pace = None if rate is None else TokenBucket(rate, job.check)
        with opened(self._fs, request.second, pace=pace) as target:
            return self._store.browsable(request.snapshot_id).copy_to(
                request.snapshot_id, target, job, owner=request.second.owner, pack_bytes=pack_bytes_for(rate)
            )

    def _stage_parts(self, request: StagePartsRequest, job: Job) -> PartsStaged:
        return stage_parts(
            self._fs,
            self._roots,
            self._store.browsable(request.snapshot_id),
            request.snapshot_id,
            request.workload_id,
            request.volumes,
            request.parts,
            request.touched_ns,
            job,
        )

    def _catch_up(self, request: CatchUpRequest, job: Job) -> CaughtUp:
        return catch_up(
            self._fs,
            self._roots,
            self._store.repository,
            request.snapshot_id,
            request.workload_id,
            request.volumes,
            request.parts,
            request.staged,
            request.touched_ns,
            request.stopped_as,
            job,
        )

    def _diff(self, request: DiffRequest, job: Job) -> VolumeDiff:
        chosen = None if request.paths is None else ChosenPaths(request.paths)
        with self._snapshots(request.second) as store:
            return diff(
                self._fs, self._roots, store, request.snapshot_id, request.index, request.live, job, chosen=chosen
            )

    def _compare(self, request: CompareRequest, job: Job) -> Comparison:
        store = self._store.browsable(request.snapshot_id)
        if request.live is not None:
            return store.compare_live(request.snapshot_id, request.index, request.live, job)
        assert request.other_id is not None
        return store.compare((request.snapshot_id, request.index), (request.other_id, request.other_index), job)

    def _import(self, request: ImportRequest, job: Job) -> SnapshotManifest:
        archive = ArchiveImport(
            upload=Path(request.upload),
            workload_id=request.workload_id,
            workload_name=request.workload_name,
            snapshot_id=request.snapshot_id,
            allow_links=request.allow_links,
            actor=request.actor,
        )
        return self._store.import_archive(archive, job)

    def _reap(self, volumes: Sequence[VolumeFacts], job: Job) -> None:
        """Remove every wrapper that can be removed; then tell of the first that could not."""
        failure: HoldfastError | None = None
        for facts in volumes:
            job.check()
            try:
                remove_empty(self._fs, self._roots, facts)
                remove_wrapper(self._fs, self._roots, facts, job)
                remove_parents(self._fs, self._roots, facts)
            except HoldfastError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def _remove(self, live: RootRef, job: Job) -> None:
        parent, name = self._roots.open_parent(live)
        try:
            remove_tree(self._fs, parent, name, job)
            self._fs.fsync(parent)
        except OSError as error:
            raise translate(error, f"removing {live.path}") from error
        finally:
            self._fs.close(parent)
        self._roots.remove_empty_parents(live)
