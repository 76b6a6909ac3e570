"""Clones: a snapshot of one workload restored into another one, or into a new one.

A clone is a restore in all that matters: the same preflight, journal, safety snapshot and way back, in the operation
history of the workload that the data goes to. What differs is told here.

- Only data travels. Where it goes, and what runs on it, is the target's configuration alone (I6); the other workload
  is not locked, not stopped, and none of its directories is written to.
- Into a new workload: the workload is on record before anything is made for it, its data is in place before anything
  of it runs, and what runs first is its own deployment, on trial like that of any restore. Until COMMIT a failure takes
  the record away again; a server that died leaves it, without data or with all of it, and the same request goes on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from holdfast.domain import clone as rules
from holdfast.domain.clone import LikeSource
from holdfast.domain.deploy_plan import DeployStep, check_spec
from holdfast.domain.errors import Busy, Conflict, HoldfastError, Problem, Refused
from holdfast.domain.ids import new_id
from holdfast.domain.operation import Operation, OperationKind
from holdfast.domain.preview import Preview
from holdfast.domain.restore import ClonedFrom, ImageFacts, OnUnhealthy
from holdfast.domain.snapshot import Snapshot
from holdfast.domain.times import now
from holdfast.domain.told import told
from holdfast.domain.workload import DesiredState, Workload, WorkloadSpec
from holdfast.services.confirmation import require_confirmed
from holdfast.services.image_source import ImageSource, Version
from holdfast.services.locks import LifecycleLocks
from holdfast.services.operations import OperationContext
from holdfast.services.restore import Restores
from holdfast.services.restore_plan import RestoreRequest
from holdfast.services.restore_trial import Outcome
from holdfast.services.secrets import Secrets
from holdfast.services.snapshots import Snapshots
from holdfast.services.sources import Sources
from holdfast.services.volumes import VolumeResolver
from holdfast.services.workloads import Workloads
from holdfast.store.deployments import DeploymentStore
from holdfast.store.operations import OperationStore
from holdfast.store.workloads import WorkloadStore

_OTHER_PORT: Final = (
    "Publish another one (--port, ports), or give a configuration of its own (--file, declaration) that does."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneWish:
    """What was asked for, wherever the data goes.

    Attributes:
        confirm: the snapshot's id, once more; not asked for a dry run.
        volumes: container targets of the workload that the data goes to; ``None`` for all.
        renames: captured target → the target that it goes to, where they differ.
        with_image: run the image that ran when the snapshot was taken.
    """

    snapshot_id: str
    actor: str
    confirm: str | None = None
    volumes: tuple[str, ...] | None = None
    renames: dict[str, str] = field(default_factory=dict)
    with_image: bool = False
    dry_run: bool = False
    idempotency_key: str | None = None


class Clones:
    """Restores snapshots of one workload into another, or into a new one."""

    def __init__(
        self,
        *,
        restores: Restores,
        workloads: Workloads,
        store: WorkloadStore,
        deployments: DeploymentStore,
        snapshots: Snapshots,
        volumes: VolumeResolver,
        images: ImageSource,
        sources: Sources,
        secrets: Secrets,
        locks: LifecycleLocks,
        operation_store: OperationStore,
    ) -> None:
        self._restores = restores
        self._workloads = workloads
        self._store = store
        self._deployments = deployments
        self._snapshots = snapshots
        self._volumes = volumes
        self._images = images
        self._sources = sources
        self._secrets = secrets
        self._locks = locks
        self._operation_store = operation_store

    async def into(
        self,
        wish: CloneWish,
        ref: str,
        *,
        on_unhealthy: OnUnhealthy | None = None,
        create_missing: bool = False,
        accept_replaced: bool = False,
    ) -> Operation:
        """Restore a snapshot of another workload into the workload ``ref``, or say what that would do.

        Raises:
            NotFound: ``snapshot_unknown``, ``workload_unknown``.
            Refused: ``clone_into_itself``, ``clone_shares_volume``; and all that forbids a restore.
            ConfirmationMissing, Busy: as for a restore.
        """
        workload = await self._workloads.get(ref)
        snapshot = await self._snapshots.anywhere(wish.snapshot_id)
        if snapshot.manifest.workload_id == workload.id:
            raise Refused([_into_itself(workload, snapshot)])
        request = dataclasses.replace(
            _request(wish, workload, snapshot),
            on_unhealthy=on_unhealthy,
            create_missing=create_missing,
            accept_replaced=accept_replaced,
        )
        if wish.dry_run:
            return await self._restores.rehearse(OperationKind.CLONE, request, workload)
        require_confirmed(wish.confirm, wish.snapshot_id)
        return await self._restores.begin(OperationKind.CLONE, request, workload, idempotency_key=wish.idempotency_key)

    async def new(
        self, wish: CloneWish, wanted: WorkloadSpec | LikeSource, *, preview: Preview | None = None
    ) -> Operation:
        """Make a workload, restore a snapshot into it, and only then have it run for the first time.

        Args:
            wanted: its configuration, or how it differs from that of the workload that the snapshot is of.
            preview: put on record with it: what it is a preview of.

        Raises:
            NotFound: ``snapshot_unknown``.
            Conflict: ``clone_name_taken``; one that was only made, of the same configuration, is gone on with.
            Refused: ``clone_source_gone``, ``clone_shares_volume``, ``port_conflict``, all that forbids such a
                configuration or a restore. No workload was made.
            ConfirmationMissing: as for a restore.
        """
        snapshot = await self._snapshots.anywhere(wish.snapshot_id)
        known = await self._known(wish, wanted.name)
        if known is not None:
            return known
        spec = wanted if isinstance(wanted, WorkloadSpec) else await self._like_source(wish, wanted, snapshot)
        existing = await self._only_made(spec)
        await self._check(spec, snapshot, wanted, existing)
        starts = await self._foreseen(spec, wish, snapshot)
        if wish.dry_run:
            at = now()
            foreseen = existing or Workload(
                id=new_id(), spec=spec, desired=DesiredState.STOPPED, created_at=at, updated_at=at
            )
            request = _first_request(wish, foreseen, snapshot, starts, wanted)
            return await self._restores.rehearse(OperationKind.CLONE, request, foreseen)
        require_confirmed(wish.confirm, wish.snapshot_id)
        made = await self._workloads.apply(spec, actor=wish.actor, create=existing is None, preview=preview)
        assert made.workload is not None  # an apply always has one
        workload = made.workload
        try:
            if isinstance(wanted, LikeSource):
                workload = await self._with_secrets(workload, snapshot)
        except HoldfastError:
            if made.created:
                await self._unmade(workload.id)
            raise
        request = _first_request(wish, workload, snapshot, starts, wanted)

        async def first(ctx: OperationContext, carry_out: Callable[[RestoreRequest], Awaitable[Outcome]]) -> Outcome:
            try:
                final = (
                    request if wish.with_image else dataclasses.replace(request, starts=await self._pulled(spec, ctx))
                )
                return await carry_out(final)
            except HoldfastError:
                if made.created and "result" not in ctx.outcome and await self._unmade(workload.id):
                    ctx.log(
                        told("clone_not_made", "{workload} was not made: nothing is left of it", workload=spec.name)
                    )
                raise

        try:
            return await self._restores.begin(
                OperationKind.CLONE, request, workload, idempotency_key=wish.idempotency_key, first=first
            )
        except HoldfastError:
            if made.created:
                await self._unmade(workload.id)
            raise

    # Steps

    async def _known(self, wish: CloneWish, name: str) -> Operation | None:
        """The operation that the same request started before, by its key."""
        if wish.idempotency_key is None:
            return None
        known = await self._operation_store.find_by_key(wish.actor, wish.idempotency_key)
        if known is None or known.kind is not OperationKind.CLONE or known.workload_id is None:
            return None
        workload = await self._store.get(known.workload_id)
        return known if workload is not None and workload.name == name else None

    async def _like_source(self, wish: CloneWish, wanted: LikeSource, snapshot: Snapshot) -> WorkloadSpec:
        manifest = snapshot.manifest
        source = await self._store.get(manifest.workload_id)
        if source is None:
            raise Refused(
                [
                    Problem(
                        code="clone_source_gone",
                        message=f"The workload {manifest.workload_name}, of which the snapshot is, is not there any "
                        "more, and its configuration went with it.",
                        next_step="Give the new workload a configuration of its own: --file (declaration).",
                        details={"workload": manifest.workload_name},
                    )
                ]
            )
        return wanted.spec(source.spec, image=manifest.image if wish.with_image else None)

    async def _only_made(self, spec: WorkloadSpec) -> Workload | None:
        """The workload that an earlier attempt left: of this very configuration, and never deployed.

        Raises:
            Conflict: ``clone_name_taken``; it is another one, or it has run.
        """
        existing = await self._store.find(spec.name)
        if existing is None:
            return None
        if existing.spec.without_values != spec or await self._deployments.last_successful(existing.id) is not None:
            raise Conflict(
                "clone_name_taken",
                f"There is a workload named {spec.name} already.",
                next_step=f"Clone into it (--into {spec.name}, into), or choose another name.",
                details={"name": spec.name, "id": existing.id},
            )
        return existing

    async def _with_secrets(self, workload: Workload, snapshot: Snapshot) -> Workload:
        """A workload that was just made, with the values of its source's secrets: the data may belong to them."""
        source = await self._store.get(snapshot.manifest.workload_id)
        return workload if source is None else await self._secrets.copy(source, workload)

    async def _check(
        self, spec: WorkloadSpec, snapshot: Snapshot, wanted: WorkloadSpec | LikeSource, existing: Workload | None
    ) -> None:
        """Whether such a workload can stand beside the others, its source above all."""
        others = [other for other in await self._store.list() if other.name != spec.name]
        problems = rules.port_problems(spec, others, _OTHER_PORT)
        source = next((other for other in others if other.id == snapshot.manifest.workload_id), None)
        if source is not None and isinstance(wanted, LikeSource):
            problems += rules.shared_problems(self._volumes.placed(spec), self._volumes.placed(source.spec))
            problems += await self._secrets.problems(source, spec)
        elif existing is not None:
            problems += await self._secrets.problems(existing)
        elif spec.secrets:
            problems.append(rules.secrets_before_data(spec))
        told = {(problem.details.get("target"), problem.details.get("path")) for problem in problems}
        try:
            await self._workloads.preview(spec)
        except Refused as refusal:
            problems += [p for p in refusal.problems if (p.details.get("target"), p.details.get("path")) not in told]
        if problems:
            raise Refused(problems)

    async def _foreseen(self, spec: WorkloadSpec, wish: CloneWish, snapshot: Snapshot) -> ImageFacts:
        """What is to run first, as far as that is known without asking a registry."""
        if wish.with_image:
            taken = snapshot.manifest
            return ImageFacts(id=taken.image_id, reference=taken.image, digest=taken.image_digest)
        if spec.plugin is not None:
            return ImageFacts(id="", reference=spec.image_words)
        here = await self._images.here(spec.image)
        return ImageFacts(id="", reference=spec.image) if here is None else _facts(here)

    async def _pulled(self, spec: WorkloadSpec, ctx: OperationContext) -> ImageFacts:
        """What is to run first, on this host by now; before anything is made that runs on it.

        Raises:
            Refused: such an image can't run with this configuration.
            HoldfastError: it can't be had.
        """
        ctx.step(DeployStep.RESOLVING)
        version = await self._sources.resolve(spec, ctx)
        problems = check_spec(spec, image_has_healthcheck=version.has_healthcheck)
        if problems:
            raise Refused(problems)
        return _facts(version)

    async def _unmade(self, workload_id: str) -> bool:
        """Forget a workload of which nothing was made but its record. Whether it is forgotten."""
        if await self._restores.undecided(workload_id) is not None:
            return False
        with suppress(Busy):
            async with self._locks.hold_briefly([workload_id], told("a_failed_clone", "a clone that failed")):
                if await self._deployments.list(workload_id, limit=1):
                    return False
                await self._store.delete(workload_id)
                return True
        return False


def _request(wish: CloneWish, workload: Workload, snapshot: Snapshot) -> RestoreRequest:
    manifest = snapshot.manifest
    return RestoreRequest(
        workload_id=workload.id,
        snapshot_id=wish.snapshot_id,
        volumes=wish.volumes,
        with_image=wish.with_image,
        cloned_from=ClonedFrom(workload_id=manifest.workload_id, workload_name=manifest.workload_name),
        renames=wish.renames,
        actor=wish.actor,
    )


def _first_request(
    wish: CloneWish,
    workload: Workload,
    snapshot: Snapshot,
    starts: ImageFacts,
    wanted: WorkloadSpec | LikeSource,
) -> RestoreRequest:
    """There is nothing to go back to, so that the data stays where it was brought, healthy or not."""
    copied = None
    if isinstance(wanted, LikeSource):
        copied = rules.copied_as_it_is(workload.spec, snapshot.manifest.workload_name)
    return dataclasses.replace(
        _request(wish, workload, snapshot),
        create_missing=True,
        on_unhealthy=OnUnhealthy.KEEP,
        notices=(copied,) if copied else (),
        starts=starts,
    )


def _facts(version: Version) -> ImageFacts:
    return ImageFacts(id=version.image_id, reference=version.reference, digest=version.digest)


def _into_itself(workload: Workload, snapshot: Snapshot) -> Problem:
    return Problem(
        code="clone_into_itself",
        message=f"The snapshot is one of {workload.name} itself, so that this is a restore.",
        next_step=f"Restore it: holdfast restore {workload.name} {snapshot.id}",
        details={"workload": workload.name},
    )
